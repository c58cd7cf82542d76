"""`convcli shape ... --diagram FILE`: the network as an SVG picture."""

from __future__ import annotations

from typing import Any

from convcli.cli import options
from convcli.cli.shape_questions.words import input_warnings, read_network
from convcli.errors import FileError
from convcli.network.svg import svg


def answer(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Write the picture to a file, or to stdout, and report it unless --quiet is given."""
    from convcli.cli.report.text import print_json, print_warnings, print_written, written_json
    from convcli.io import save_text

    target = given["diagram"]
    options.check_stdout(given["as_json"], target, "write the picture to a file")
    if target != "-" and not target.lower().endswith(".svg"):
        raise FileError(
            f"{target} is not the name of an SVG file",
            "expected a name that ends in .svg",
            "such as --diagram net.svg",
        )
    network = read_network(words, given["dims"], given["layout"])
    warnings = input_warnings(words, given["dims"], given["layout"])
    written = save_text(target, svg(network), "svg", overwrite=given["overwrite"])
    warnings += written.warnings
    print_warnings(warnings)
    if given["as_json"]:
        print_json("shape diagram", {"diagram": written_json(written)}, warnings)
    elif not given["quiet"]:
        print_written(written)
