"""Shapes and networks from the words of `convcli shape`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from convcli.errors import InputError
from convcli.options import Layout
from convcli.shapes.parse import parse_shape

if TYPE_CHECKING:
    from convcli.network.graph import Network


def input_shape(word: str) -> tuple[int, ...]:
    """Parse the input's shape. Raises BadParameter, which names the argument."""
    context = click.get_current_context()
    argument = next(param for param in context.command.params if param.name == "words")
    try:
        return parse_shape(word)
    except InputError as error:
        raise click.BadParameter(str(error), context, argument, "'SHAPE'") from None


def input_warnings(words: tuple[str, ...], dims: int | None, layout: Layout) -> list[str]:
    """Return warnings about how the input's shape is read; none if a file defines it."""
    from convcli.network.load import is_network_file
    from convcli.shapes.hints import batch_warning, channels_first_warning

    if dims is not None or is_network_file(words[0]):
        return []
    shape = input_shape(words[0])
    return [
        text
        for text in (channels_first_warning(shape, layout), batch_warning(shape, layout))
        if text
    ]


def read_network(words: tuple[str, ...], dims: int | None, layout: Layout) -> Network:
    """Build the network of a file, or of a shape that layers or a file follow."""
    from convcli.network.graph import read_input
    from convcli.network.load import check_network_suffix, is_network_file, network_builder

    if not words:
        raise click.UsageError(
            "no shape; expected SHAPE and layers, SHAPE and -k KERNEL, or FILE; see --help"
        )
    reads_otherwise = dims is not None or layout != "channels_last"
    if words[-1].endswith(".onnx") and (len(words) > 1 or reads_otherwise):
        raise click.UsageError(
            f"{words[-1]} has its own input; expected the file alone; leave the rest out"
        )
    if not is_network_file(words[0]):
        if len(words) == 2 and "." in words[1] and ":" not in words[1]:
            check_network_suffix(words[1])
        build = network_builder(words[1:], layout)
        return build(read_input(input_shape(words[0]), dims, layout))
    if len(words) > 1:
        remedy = f"; try: {words[1]} {words[0]}" if words[1][:1].isdigit() else ""
        raise click.UsageError(
            f"{words[1]!r} after {words[0]}; expected the file alone, or a shape before it{remedy}"
        )
    if reads_otherwise:
        raise click.UsageError(
            "--dims and --layout are read from the file; give a shape before the file to use them"
        )
    return network_builder(words, layout)(None)
