"""Test suggestions: a typing error gets one, a name that is not near any known one does not."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from convcli.cli import COMMANDS, main
from convcli.errors import nearest
from convcli.io.formats import suffixes
from convcli.kernels import references
from convcli.options import BOUNDARIES, PADDINGS


@pytest.mark.parametrize(
    ("given", "known", "meant"),
    [
        ("gausian", references(), "gaussian"),
        ("guassian", references(), "gaussian"),
        ("sobl-x", references(), "sobel-x"),
        ("laplacain", references(), "laplacian"),
        ("blurr", references(), "blur"),
        ("edge", references(), "edges"),
        ("outlines", references(), "outline"),
        ("sharpn", references(), "sharpen"),
        ("aply", COMMANDS, "apply"),
        ("kernel", COMMANDS, "kernels"),
        ("reflct", BOUNDARIES, "reflect"),
        ("smae", PADDINGS, "same"),
        (".jgp", suffixes(), ".jpg"),
        ("photo.pgn", ["photo.png", "soft.png"], "photo.png"),
        ("phoot.png", ["photo.png", "soft.png"], "photo.png"),
        # other words, however many letters they share
        ("nope.png", ["soft.png", "logo.png"], ""),
        ("a.png", ["soft.png"], ""),
        ("median", references(), ""),
        ("bilateral", references(), ""),
        ("erode", references(), ""),
        (".avif", suffixes(), ""),
        (".heic", suffixes(), ""),
        ("resize", COMMANDS, ""),
        ("mirror", BOUNDARIES, ""),
        ("zero", PADDINGS, ""),
    ],
)
def test_a_typo_and_no_more(given: str, known: list[str], meant: str) -> None:
    assert nearest(given, known) == meant


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--paddin", "no option --paddin; did you mean '--padding'?"),
        ("--dryrun", "no option --dryrun; did you mean '--dry-run'?"),
        ("--grey", "no option --grey; did you mean '--gray'?"),
        ("--sigma", "no option --sigma; see 'main apply --help'"),
    ],
)
def test_options_too(option: str, told: str) -> None:
    result = CliRunner().invoke(main, ["apply", "x.png", "-k", "box", option])
    assert result.stderr == f"Error: {told}\n"
