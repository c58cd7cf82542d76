"""`convcli shape ... --at I,J`: the receptive field of an output, and its inverse.

With --plot PICTURE -o FILE, the field is drawn over a picture, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from convcli.cli import options
from convcli.cli.report.shape import at_json, at_lines
from convcli.cli.report.terminal import echo
from convcli.cli.report.text import print_json, print_warnings, print_written, written_json
from convcli.cli.shape_questions.words import read_network
from convcli.network import receptive_field

if TYPE_CHECKING:
    from convcli.io import Written
    from convcli.network.graph import Network


def answer(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Show both boxes of samples; the second only if the index lies within the input."""
    _check_files(given)
    network = read_network(words, given["dims"], given["layout"])
    index = _from_start(given["at"], network.output.spatial)
    sees = receptive_field.sees(network, index)
    reaches = None
    if all(i < n for i, n in zip(index, network.x.spatial, strict=True)):
        reaches = receptive_field.reaches(network, index)
    written = _draw(network, index, given) if given["plot"] is not None else None
    warnings = written.warnings if written else ()
    if given["as_json"]:
        record = at_json(network, index, sees, reaches)
        print_json("shape at", {**record, "plot": written_json(written)}, warnings)
    else:
        lines = at_lines(network, index, sees, reaches)
        echo(lines[1:] if given["quiet"] else lines)
        if not given["quiet"]:
            print_written(written)
    print_warnings(warnings)


def _check_files(given: dict[str, Any]) -> None:
    """Raise UsageError for --plot without --at, and unless --plot and -o are both given."""
    picture, output = given["plot"], given["output"]
    if given["at"] is None:
        raise click.UsageError("--plot draws what one output sees; add --at I,J")
    if picture is not None and output is None:
        raise click.UsageError(
            f"--plot reads {picture} and leaves it as it is; name the picture to write with -o FILE"
        )
    if output is not None and picture is None:
        raise click.UsageError("-o belongs to a picture of the field; add --plot PICTURE")
    message = "belongs to a picture of the field; add --plot PICTURE -o FILE"
    options.check_overwrite(given["overwrite"], output, message)


def _draw(network: Network, index: tuple[int, ...], given: dict[str, Any]) -> Written:
    from convcli.learn.figures.field import FieldRequest, run_field

    files = given["plot"], given["output"]
    return run_field(FieldRequest(network, index, *files, overwrite=given["overwrite"]))


def _from_start(index: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Return an index whose negative entries count from the end of the output."""
    if len(index) != len(sizes):
        return tuple(index)
    return tuple(i + n if i < 0 else i for i, n in zip(index, sizes, strict=True))
