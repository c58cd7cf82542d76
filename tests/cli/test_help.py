"""What `--help` shows: examples first, options under headings, defaults, and no more than 80
columns.
"""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from convcli.cli import COMMANDS, main
from convcli.cli.help import HEADINGS, Command

HELPED = [
    name for name in COMMANDS if isinstance(main.get_command(click.Context(main), name), Command)
]


def shown(*words: str) -> str:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, [*words, "--help"])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", HELPED)
def test_no_line_is_wider_than_a_terminal(name: str) -> None:
    assert [line for line in shown(name).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", HELPED)
def test_examples_come_before_options_and_headings_in_their_order(name: str) -> None:
    text = shown(name)
    found = [heading for heading in ("Examples", *HEADINGS) if f"{heading}:\n" in text]
    places = [text.index(f"{heading}:\n") for heading in found]
    assert found[0] == "Examples"
    assert places == sorted(places)


@pytest.mark.parametrize("name", HELPED)
def test_every_option_is_listed_once(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    text = shown(name)
    for param in command.get_params(click.Context(command)):
        if isinstance(param, click.Option):
            listed = [
                line
                for line in text.splitlines()
                if re.match(f"  {', '.join(param.opts)}( |$)", line)
            ]
            assert len(listed) == 1, param.opts


def test_the_most_used_options_of_apply_have_headings_of_their_own() -> None:
    text = shown("apply").partition("\nKernel:\n")[2]
    assert "\nOptions:\n" not in text
    assert "[default: valid]" in " ".join(text.split())
    assert (
        text.index("--kernel")
        < text.index("--padding")
        < text.index("--output")
        < text.index("--raw-shape")
    )


@pytest.mark.parametrize(
    ("short", "long", "name"),
    [
        ("-n", "--dry-run", "apply"),
        ("-f", "--overwrite", "apply"),
        ("-j", "--jobs", "batch"),
        ("-r", "--recursive", "batch"),
    ],
)
def test_short_forms(short: str, long: str, name: str) -> None:
    assert f"  {short}, {long}" in shown(name)
    assert CliRunner().invoke(main, ["-V"]).stdout.startswith("convcli, version")


def test_the_help_command_shows_a_command_s_help() -> None:
    narrow = CliRunner(env={"COLUMNS": "80"})
    assert (
        narrow.invoke(main, ["help", "apply"]).stdout.partition("\n")[2]
        == shown("apply").partition("\n")[2]
    )
    assert "Commands:" in CliRunner().invoke(main, ["help"]).stdout
    assert "did you mean 'shape'?" in CliRunner().invoke(main, ["help", "shap"]).stderr


def test_a_second_name_is_taken_for_an_output_without_its_option() -> None:
    result = CliRunner().invoke(main, ["apply", "in.png", "out.png", "-k", "box"])
    assert result.exit_code == 2
    assert (
        result.stderr
        == "Error: Got unexpected extra argument (out.png); name the output with -o FILE\n"
    )
