"""Completion: the script of each shell, and what is suggested for each kind of word."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from convcli.cli import main
from convcli.cli.completion import INSTALL, VARIABLE


def suggested(*words: str) -> list[tuple[str, str]]:
    """The type and the value of every suggestion for the last word."""
    completer = ShellComplete(main, {}, "convcli", VARIABLE)
    return [
        (item.type, item.value) for item in completer.get_completions(list(words[:-1]), words[-1])
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_says_how_to_install_it(shell: str) -> None:
    first, _, script = CliRunner().invoke(main, ["completion", shell]).stdout.partition("\n")
    assert first == f"# To install it, {INSTALL[shell]}"
    assert VARIABLE in script
    assert (
        json.loads(CliRunner().invoke(main, ["completion", shell, "--json"]).stdout)["script"]
        == script
    )


def test_bash_asks_the_program_itself() -> None:
    environment = {
        **os.environ,
        VARIABLE: "bash_complete",
        "COMP_WORDS": "convcli app",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from convcli.cli import main; main(prog_name='convcli')"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "plain,apply\n", done.stderr


def test_an_unknown_shell_is_refused() -> None:
    result = CliRunner().invoke(main, ["completion", "bsh"])
    assert result.exit_code == 2
    assert "did you mean 'bash'?" in result.stderr


@pytest.mark.parametrize(
    "command", ["apply", "batch", "explain", "animate", "grad", "gradcheck", "laws", "bench"]
)
def test_kernels_complete_by_name_else_as_files(command: str) -> None:
    assert ("plain", "sobel-x") in suggested(command, "-k", "sob")
    assert suggested(command, "-k", "./mine") == [("file", "./mine")]


def test_other_words_complete() -> None:
    assert ("plain", "gradcheck") in suggested("gr")
    assert ("plain", "--padding") in suggested("apply", "--pad")
    assert ("plain", "reflect") in suggested("apply", "--boundary", "r")
    assert ("plain", "png") in suggested("apply", "--format", "p")
    assert ("plain", "gaussian") in suggested("kernels", "show", "gau")
    assert ("plain", "gradients") in suggested("guide", "g")
    assert [value for _, value in suggested("lesson", "2")] == ["2", *map(str, range(20, 25))]
    assert ("plain", "same-lower") in suggested("apply", "--padding", "sa")
    assert ("plain", "same") in suggested("shape", "28x28", "--padding", "sa")
    assert [value for _, value in suggested("help", "b")] == ["batch", "bench"]
    assert suggested("batch", "--scheduler", "da") == [("plain", "dask")]
    assert suggested("batch", "--scheduler", "./s") == [("file", "./s")]
    assert suggested("apply", "pho") == [("file", "pho")]
    assert suggested("shape", "networks/res") == [("file", "networks/res")]


def test_kernels_completes_its_commands_and_the_names_of_kernels() -> None:
    assert ("plain", "list") in suggested("kernels", "l")
    assert ("plain", "laplacian") in suggested("kernels", "l")
    assert suggested("kernels", "./mine") == [("file", "./mine")]
    assert all(value.startswith("-") for _, value in suggested("kernels", "--"))
