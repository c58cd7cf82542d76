"""`convcli shape ... --emit TARGET`: the network as code, as an ONNX model or as TOML."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli import options
from convcli.cli.shape_questions.words import input_warnings, read_network
from convcli.network import emit_torch
from convcli.network.graph import Network
from convcli.network.load import is_network_file


def answer(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Write the network to a file, or to stdout."""
    from convcli.cli.report.text import print_warnings

    output = given["output"]
    options.check_overwrite(given["overwrite"], output, "belongs to an output; add -o FILE")
    network = read_network(words, given["dims"], given["layout"])
    print_warnings(input_warnings(words, given["dims"], given["layout"]))
    target = given["emit"]
    if target == "onnx":
        _write(_onnx(network), given)
        return
    text = _text(network, words, target)
    if output in (None, "-"):
        click.echo(text)
    else:
        _write(f"{text}\n".encode(), given)


def _text(network: Network, words: tuple[str, ...], target: str) -> str:
    """Return the network as code or as TOML."""
    if target == "torch":
        return emit_torch.torch(network)
    if target == "keras":
        from convcli.network.emit_keras import keras

        return keras(network)
    if is_network_file(words[-1]):
        raise click.UsageError(f"{words[-1]} is a network's file; expected layers to write as one")
    return emit_torch.toml(network, " ".join(words[1:]))


def _onnx(network: Network) -> bytes:
    from convcli.network import emit_onnx

    return emit_onnx.serialise(network)


def _write(content: bytes, given: dict[str, Any]) -> None:
    """Write to the given file, or to stdout, and report it unless --quiet is given."""
    from convcli.cli.report.text import print_warnings, print_written
    from convcli.io import save_bytes

    form = given["emit"]
    target = given["output"] or "-"
    written = save_bytes(target, content, form, overwrite=given["overwrite"], binary=form == "onnx")
    print_warnings(written.warnings)
    if not given["quiet"]:
        print_written(written)
