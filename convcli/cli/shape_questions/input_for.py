"""`convcli shape --input-for SIZE LAYER...`: the input size that gives an output size."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli.report.shape import needs_json, needs_lines
from convcli.cli.report.terminal import echo
from convcli.cli.report.text import print_json
from convcli.cli.shape_questions.words import input_shape
from convcli.network.graph import read_input
from convcli.network.inverse import input_for
from convcli.network.load import is_network_file, network_builder


def answer(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Show the smallest input size, and for each axis all that give the output size."""
    wanted = given["input_for"]
    layout = given["layout"]
    if not words:
        raise click.UsageError(
            "--input-for alone; expected layers, or a file, that give this output"
        )
    x = None
    layers = words
    if words[0][:1].isdigit():
        x = read_input(input_shape(words[0]), given["dims"], layout)
        layers = words[1:]
    build = network_builder(layers, layout)
    if x is None and is_network_file(layers[0]):
        x = build(None).x
    needs = input_for(build, x, wanted)
    if given["as_json"]:
        print_json("shape input-for", needs_json(wanted, needs))
    else:
        lines = needs_lines(wanted, needs)
        echo(lines[:1] if given["quiet"] else lines)
