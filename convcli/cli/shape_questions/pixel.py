"""`convcli shape ... --at I,J`: the receptive field of an output, and its inverse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcli.cli.report.shape import at_json, at_lines
from convcli.cli.report.terminal import echo
from convcli.cli.report.text import print_json
from convcli.cli.shape_questions.words import read_network
from convcli.network import receptive_field


def answer(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Show both boxes of samples; the second only if the index lies within the input."""
    network = read_network(words, given["dims"], given["layout"])
    index = _from_start(given["at"], network.output.spatial)
    sees = receptive_field.sees(network, index)
    reaches = None
    if all(i < n for i, n in zip(index, network.x.spatial, strict=True)):
        reaches = receptive_field.reaches(network, index)
    if given["as_json"]:
        print_json("shape at", at_json(network, index, sees, reaches))
    else:
        lines = at_lines(network, index, sees, reaches)
        echo(lines[1:] if given["quiet"] else lines)


def _from_start(index: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Return an index whose negative entries count from the end of the output."""
    if len(index) != len(sizes):
        return tuple(index)
    return tuple(i + n if i < 0 else i for i, n in zip(index, sizes, strict=True))
