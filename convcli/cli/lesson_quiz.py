"""The quiz of `convcli lesson`: ask a question per step, and check the answers."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from convcli.cli.in_process import record_of
from convcli.cli.lesson_tour import LEAVE, ask, sample_folder, show_runs
from convcli.cli.report import lesson as report
from convcli.cli.report.lesson import Result
from convcli.cli.report.terminal import bold, echo, is_terminal
from convcli.cli.report.text import print_json
from convcli.errors import CheckError, InputError
from convcli.learn.lesson import Runner, Step, fill, read_lesson
from convcli.learn.lesson.answers import is_right
from convcli.shapes.parse import counted

HELP = "expected a number, or numbers such as 26x26 or 1, 2, 3; q leaves"


def run_quiz(steps: Sequence[Step], *, as_json: bool) -> None:
    """Ask the questions of steps.

    Raises CheckError if an answer is wrong, or if the input ends early and is not a terminal.
    """
    if sys.stdin is None:
        raise InputError(
            "standard input is closed", "expected an answer per line", "leave --quiz out"
        )
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    with sample_folder(steps), _conversation(as_json):
        results = _ask_all(steps)
        echo(report.score_lines(results, len(steps)))
    if as_json:
        rows = [report.result_json(result) for result in results]
        right = sum(result.right for result in results)
        print_json("lesson quiz", {"questions": rows, "right": right, "asked": len(steps)})
    _check(results, steps)


def _conversation(as_json: bool) -> contextlib.AbstractContextManager[Any]:
    """Send questions where they are read: not into the JSON, nor into a file if someone types."""
    if is_terminal(sys.stdin) and (as_json or not is_terminal(sys.stdout)):
        return contextlib.redirect_stdout(sys.stderr)
    if as_json:
        return contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8"))
    return contextlib.nullcontext()


def _ask_all(steps: Sequence[Step]) -> list[Result]:
    """Ask the questions in order, until the end of the input or a word that leaves."""
    run = cache(record_of)
    total = len(read_lesson())
    results: list[Result] = []
    for step in steps:
        if results:
            echo([""])
        result = _ask_step(step, total, run)
        if result is None:
            break
        results.append(result)
        echo(report.verdict_lines(result))
        show_runs(step, [step.answer.run])
    return results


def _ask_step(step: Step, total: int, run: Runner) -> Result | None:
    """Ask one question; return None if the quiz is left."""
    question = fill(step.ask, step.measure(run))
    echo([*report.title_lines(step, total), *report.question_lines(question)])
    expected = step.answer.value(run)
    while True:
        given = ask(bold("answer > "))
        if given is None or given.strip().casefold() in LEAVE:
            return None
        right = is_right(given, expected)
        if right is not None or not is_terminal(sys.stdin):
            return Result(step, question, expected, given, bool(right))
        echo([HELP])


def _check(results: Sequence[Result], steps: Sequence[Step]) -> None:
    wrong = [result.step.number for result in results if not result.right]
    if wrong:
        raise CheckError(
            f"{counted(len(wrong), 'wrong answer')} of {len(results)}",
            remedy=f"read 'convcli lesson {wrong[0]}'",
        )
    if len(results) < len(steps) and not is_terminal(sys.stdin):
        raise CheckError(
            f"standard input has {counted(len(results), 'answer')}",
            f"expected {len(steps)}, one per line",
            f"continue with 'convcli lesson {steps[len(results)].number}- --quiz'",
        )
