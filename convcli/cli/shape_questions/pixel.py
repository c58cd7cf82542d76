"""`convcli shape ... --at I,J`: the input that one output depends on, and the outputs that one input reaches."""

from __future__ import annotations

from typing import Any

from convcli.cli.report.shape import at_json, at_lines
from convcli.cli.report.terminal import echo
from convcli.cli.report.text import print_json
from convcli.cli.shape_questions.words import read_network
from convcli.network import receptive_field


def answer(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Show both boxes of samples; the second only if the index lies within the input."""
    network = read_network(words, given["dims"], given["layout"])
    index = given["at"]
    sees = receptive_field.sees(network, index)
    reaches = None
    if all(i < n for i, n in zip(index, network.x.spatial, strict=True)):
        reaches = receptive_field.reaches(network, index)
    if given["as_json"]:
        print_json("shape at", at_json(network, index, sees, reaches))
    else:
        echo(at_lines(network, index, sees, reaches))
