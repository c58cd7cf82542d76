"""`convcli shape ... --emit TARGET`: the network as code, as an ONNX model or as TOML."""

from __future__ import annotations

import sys
from typing import Any

import click

from convcli.cli.shape_questions.words import read_network
from convcli.network import emit_torch
from convcli.network.load import is_network_file


def answer(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Write the network to stdout."""
    network = read_network(words, given["dims"], given["layout"])
    target = given["emit"]
    if target == "torch":
        click.echo(emit_torch.torch(network))
    elif target == "keras":
        from convcli.network.emit_keras import keras

        click.echo(keras(network))
    elif target == "onnx":
        from convcli.network import emit_onnx

        if sys.stdout.isatty():
            raise click.UsageError("--emit onnx on a terminal; expected a file or a pipe; add > net.onnx")
        sys.stdout.buffer.write(emit_onnx.serialise(network))
    elif is_network_file(words[-1]):
        raise click.UsageError(f"{words[-1]} is such a file already; expected layers to write into one")
    else:
        click.echo(emit_torch.toml(network, " ".join(words[1:])))
