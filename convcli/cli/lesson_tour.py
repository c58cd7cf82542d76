"""The tour of `convcli lesson`: show steps, and run their commands."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import click

from convcli.cli.in_process import output_of, record_of, run_command
from convcli.cli.report import lesson as report
from convcli.cli.report.terminal import dim, echo, is_terminal
from convcli.cli.report.text import print_json
from convcli.learn.lesson import Step, read_lesson


def list_steps(*, as_json: bool) -> None:
    """Print the numbers and titles of all steps."""
    steps = read_lesson()
    if as_json:
        rows = [{"number": step.number, "title": step.title} for step in steps]
        print_json("lesson list", {"steps": rows})
    else:
        echo(report.list_lines(steps))


def run_tour(steps: Sequence[Step], *, as_json: bool) -> None:
    """Show steps in order, and wait after each on a terminal, or print them as JSON."""
    run = cache(record_of)
    with sample_folder(steps):
        if as_json:
            rows = [
                report.step_json(step, [output_of(line) for line in step.runs], step.measure(run))
                for step in steps
            ]
            print_json("lesson", {"steps": rows})
            return
        total = len(read_lesson())
        waits = is_terminal(sys.stdin) and is_terminal(sys.stdout)
        for step, after in zip(steps, [*steps[1:], None], strict=True):
            echo(report.title_lines(step, total))
            show_runs(step, step.runs)
            echo([*report.notice_lines(step, step.measure(run)), ""])
            if after and waits and not _continues(after):
                return


def _continues(step: Step) -> bool:
    """Ask whether to continue with a step; if not, say how to do it later."""
    answer = ask(dim("Enter: next step, q: leave > "))
    if answer is not None and answer.strip().casefold() not in LEAVE:
        echo([""])
        return True
    echo([f"Continue with 'convcli lesson {step.number}-'."])
    return False


LEAVE = ("q", "quit", "exit")
"""What leaves the tour or the quiz; so does the end of the input (Ctrl-D)."""


def show_runs(step: Step, lines: Sequence[str]) -> None:
    """Print commands of a step, and run them; each file that they read is written once."""
    written: set[str] = set()
    for line in lines:
        files = step.files_of(line)
        new = {name: content for name, content in files.items() if name not in written}
        written |= files.keys()
        echo(report.command_lines(line, new))
        if sys.stdout is not None:
            sys.stdout.flush()  # the command may write to stdout's bytes
        run_command(line)


def ask(prompt: str) -> str | None:
    """Print a prompt, and return the line that is typed; None at the end of the input.

    A line that does not come from a terminal is printed after the prompt.
    """
    click.echo(prompt, nl=False)
    try:
        line = input()
    except (EOFError, KeyboardInterrupt) as end:
        click.echo()
        if isinstance(end, KeyboardInterrupt):
            raise
        return None
    if not is_terminal(sys.stdin):
        click.echo(line)
    return line


@contextlib.contextmanager
def sample_folder(steps: Sequence[Step]) -> Iterator[None]:
    """Change to a temporary folder that has the files of the steps."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="convcli-lesson-") as name, contextlib.chdir(name):
        for file, content in steps[0].files.items():
            Path(file).write_text(content, encoding="utf-8")
        yield
