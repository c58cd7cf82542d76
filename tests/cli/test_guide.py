"""`convcli guide`: every page is shipped, found by name, and fits a pipe and a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from convcli.cli import main
from convcli.cli.report.guide import formatted
from convcli.learn.guide import read_page, topics

GUIDE = Path(__file__).parents[2] / "convcli" / "guide"


def run(*words: str) -> str:
    result = CliRunner().invoke(main, ["guide", *words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_topics_are_the_files() -> None:
    assert sorted(topics()) == sorted(path.stem for path in GUIDE.glob("*.md"))


def test_without_a_topic_all_are_listed_with_their_titles() -> None:
    lines = run().splitlines()
    for topic, title in topics().items():
        assert any(line.split(None, 1) == [topic, title] for line in lines), topic


def test_list_is_one_name_a_line() -> None:
    assert run("--list").splitlines() == list(topics())


@pytest.mark.parametrize("topic", topics())
def test_a_page_in_a_pipe_is_the_file(topic: str) -> None:
    assert run(topic) == (GUIDE / f"{topic}.md").read_text(encoding="utf-8")
    assert read_page(topic).title


@pytest.mark.parametrize("topic", topics())
def test_a_page_on_a_terminal_has_no_markup_left(
    topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = formatted(read_page(topic))
    assert read_page(topic).title in shown
    assert "```" not in shown
    assert "\n## " not in shown


@pytest.mark.parametrize(("less", "styled"), [(None, True), ("-R", True), ("-X", False)])
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_styles_reach_a_pager_that_shows_them(
    less: str | None, styled: bool, tmp_path: Path
) -> None:
    pager = tmp_path / "less"
    pager.write_text('#!/bin/sh\necho "LESS=$LESS"\ncat\n', encoding="utf-8")
    pager.chmod(0o755)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("LESS", "PAGER", "NO_COLOR")
    }
    environment |= {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "TERM": "xterm"}
    if less is not None:
        environment["LESS"] = less
    shown = on_a_terminal([sys.executable, "-m", "convcli", "guide", "batch"], environment)
    assert f"LESS={less or '-R'}" in shown
    assert ("\x1b[" in shown) == styled


def on_a_terminal(words: list[str], environment: dict[str, str]) -> str:
    """Run a program on a pseudo-terminal, and return what it wrote there."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        read = b""
        while part := _read(ours):
            read += part
    os.close(ours)
    return read.decode()


def _read(terminal: int) -> bytes:
    """Read from a pseudo-terminal; Linux raises OSError at its end."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_json_holds_the_page() -> None:
    record = json.loads(run("kernels", "--json"))
    assert record["title"] == "Kernels"
    assert record["text"] == (GUIDE / "kernels.md").read_text(encoding="utf-8")


def test_a_mistyped_topic_gets_a_suggestion() -> None:
    result = CliRunner().invoke(main, ["guide", "kernel"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: no topic 'kernel'; expected one of lesson, ")
    assert result.stderr.endswith("did you mean 'kernels'?\n")
