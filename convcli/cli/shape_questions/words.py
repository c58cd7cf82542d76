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


def read_network(words: tuple[str, ...], dims: int | None, layout: Layout) -> Network:
    """Build the network of a file alone, or of a shape and the layers, or a file, that follow it."""
    from convcli.network.graph import read_input
    from convcli.network.load import is_network_file, network_builder

    if not words:
        raise click.UsageError("nothing to tell the shape of; expected SHAPE and layers, or FILE; see the examples")
    reads_otherwise = dims is not None or layout != "channels_last"
    if words[-1].endswith(".onnx") and (len(words) > 1 or reads_otherwise):
        raise click.UsageError(f"{words[-1]} brings its own input; expected the file alone; leave the rest out")
    if not is_network_file(words[0]):
        build = network_builder(words[1:], layout)
        return build(read_input(input_shape(words[0]), dims, layout))
    if len(words) > 1:
        raise click.UsageError(f"{words[1]!r} after {words[0]}; expected the file alone, or a shape before it")
    if reads_otherwise:
        raise click.UsageError("--dims and --layout stand in the file; or give a shape before it")
    return network_builder(words, layout)(None)
