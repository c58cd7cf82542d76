"""Warnings: what would surprise, as lines on stderr and in --json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from convcli.cli import main


def test_warnings_are_lines_on_stderr_and_a_field_of_json(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (40, 40), 9).save("x.png")
    Path("x.png").write_bytes(Path("x.png").read_bytes()[:-20])
    words = ("apply", "x.png", "-k", "box", "--allow-truncated", "--json")
    result = CliRunner().invoke(main, words)
    (warning,) = json.loads(result.stdout)["warnings"]
    assert warning.startswith("x.png is damaged: ")
    assert result.stderr == f"warning: {warning}\n"
    assert (
        CliRunner().invoke(main, words, color=True).stderr == f"\x1b[33mwarning:\x1b[0m {warning}\n"
    )
    monkeypatch.setenv("NO_COLOR", "1")
    assert CliRunner().invoke(main, words, color=True).stderr == f"warning: {warning}\n"
