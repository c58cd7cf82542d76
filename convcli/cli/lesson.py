"""`convcli lesson`: a guided tour, and its quiz."""

from __future__ import annotations

import click

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.cli.types import Parsed
from convcli.learn.lesson import Step, parse_steps, read_lesson

EXAMPLES = """\b
Examples:
  convcli lesson
  convcli lesson 11
  convcli lesson 19-22
  convcli lesson --quiz
"""


@click.command("lesson", cls=Command, epilog=EXAMPLES)
@click.argument(
    "steps",
    metavar="[N]",
    type=Parsed("n", parse_steps),
    required=False,
    shell_complete=complete.lesson_steps,
)
@click.option("--quiz", is_flag=True, help="Ask a question for each step, and check the answers.")
@click.option("--list", "listed", is_flag=True, help="List the steps.")
@options.stacked()
def command(steps: tuple[Step, ...] | None, quiz: bool, listed: bool, as_json: bool) -> None:
    """Take a guided tour from fully connected layers to the gradient of a kernel.

    Each step explains one idea, runs a command, and says what to notice in its output. N selects a
    step, 7- the steps from 7 to the end, and 7-9 these steps. On a terminal, the tour waits after
    each step: Enter continues, q leaves.

    With --quiz, answer a question for each step, and see the command that computes the answer. In
    a pipe, one answer per line is read. The exit code is 1 if an answer is wrong.
    """
    from convcli.cli.lesson_quiz import run_quiz
    from convcli.cli.lesson_tour import list_steps, run_tour

    if listed and (quiz or steps is not None):
        raise click.UsageError("--list shows all steps; expected it alone; leave the rest out")
    if listed:
        list_steps(as_json=as_json)
    elif quiz:
        run_quiz(steps or read_lesson(), as_json=as_json)
    else:
        run_tour(steps or read_lesson(), as_json=as_json)
