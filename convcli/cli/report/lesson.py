"""The report of a lesson: a step, a question with its answer, a score, and their JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click

from convcli.cli.report.terminal import bold, width, wrapped
from convcli.cli.report.text import columns
from convcli.learn.lesson import Facts, Step, fill
from convcli.shapes.parse import counted

WIDEST = 80
"""Columns of a paragraph at most, also in a pipe."""

NO_BREAK = "\N{NO-BREAK SPACE}"


class Result(NamedTuple):
    """A question with the answer that was given, None for none, and whether it is right."""

    step: Step
    ask: str
    expected: Any
    given: str | None
    right: bool


def list_lines(steps: Sequence[Step]) -> list[str]:
    """Return a line per step, with its number."""
    return [
        *_paragraph("Take the tour with 'convcli lesson', or read a step with 'convcli lesson N':"),
        *columns([(str(step.number), step.title) for step in steps]),
    ]


def title_lines(step: Step, total: int) -> list[str]:
    """Return a step's number, title and idea."""
    title = wrapped(f"{step.number}/{total}  {step.title}", width())
    return [*map(bold, title), "", *_paragraph(step.idea)]


def command_lines(run: str, files: Mapping[str, str]) -> list[str]:
    """Return a command as it is typed, after the commands that write these files."""
    writes = [
        f"printf '{content}' > {name}".replace("\n", r"\n") for name, content in files.items()
    ]
    return ["", *(click.style(f"$ {line}", fg="cyan") for line in (*writes, f"convcli {run}"))]


def notice_lines(step: Step, facts: Facts) -> list[str]:
    return ["", *_paragraph(fill(step.notice, facts), "Notice:")]


def question_lines(ask: str) -> list[str]:
    return ["", *_paragraph(ask, "Question:")]


def verdict_lines(result: Result) -> list[str]:
    """Return whether an answer is right, and the right one."""
    answer = shown(result.expected)
    if result.right:
        return [f"{click.style('right', fg='green')}: {answer}"]
    return [f"{click.style('wrong', fg='red')}: the answer is {answer}"]


def shown(expected: Any) -> str:
    """Format a number, numbers, or a shape.

    >>> shown(9472), shown([26, 26]), shown([8.0, 4.0, 0.0])
    ('9,472', '26x26', '8, 4, 0')
    """
    if isinstance(expected, int):
        return fill("{value:,}", {"value": expected})
    is_shape = isinstance(expected, list) and all(isinstance(size, int) for size in expected)
    return fill("{value:x}" if is_shape else "{value}", {"value": expected})


def score_lines(results: Sequence[Result], asked: int) -> list[str]:
    """Return the score, and how many questions were not answered."""
    lines = ["", bold(f"{sum(r.right for r in results)} of {len(results)} right")]
    if len(results) < asked:
        lines.append(f"{counted(asked - len(results), 'question')} not answered")
    return lines


def step_json(step: Step, outputs: Sequence[str], facts: Facts) -> dict[str, Any]:
    return {
        "number": step.number,
        "title": step.title,
        "idea": step.idea,
        "runs": [
            {"command": run, "files": step.files_of(run), "output": output}
            for run, output in zip(step.runs, outputs, strict=True)
        ],
        "notice": fill(step.notice, facts),
        "facts": facts,
        "claims": step.claims,
        "question": fill(step.ask, facts),
    }


def result_json(result: Result) -> dict[str, Any]:
    return {
        "number": result.step.number,
        "question": result.ask,
        "answer": result.expected,
        "given": result.given,
        "right": result.right,
        "run": result.step.answer.run,
    }


def _paragraph(text: str, word: str = "") -> list[str]:
    """Wrap a paragraph, but no formula in it, which is in backquotes; its first word is bold."""
    whole = re.sub("`[^`]*`", lambda found: found[0].replace(" ", NO_BREAK), f"{word} {text}")
    columns = min(width() or WIDEST, WIDEST)
    lines = [line.replace(NO_BREAK, " ") for line in wrapped(whole.strip(), columns)]
    return [bold(word) + lines[0].removeprefix(word), *lines[1:]] if word else lines
