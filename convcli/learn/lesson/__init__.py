"""The lesson: a tour in steps, each with commands, facts that they compute, and a question.

`steps.toml` holds the steps. It contains no results: a text names facts, whose values come from the
`--json` of a command. A caller gives the function that runs a command.
"""

from __future__ import annotations

import operator
import re
import shlex
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, NamedTuple

from convcli.errors import CheckError, InputError
from convcli.shapes.parse import show

Record = Mapping[str, Any]
"""What a command prints with `--json`."""

Runner = Callable[[str], Record]
"""Runs a command, given without the word `convcli`, and returns its record."""

Facts = Mapping[str, Any]

CLAIMS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "reverses": lambda one, other: bool(one == other[::-1]),
}
"""The relations that a claim may state of two facts."""


class Source(NamedTuple):
    """Where a value comes from: a command, and a path in its record."""

    run: str
    at: str

    def value(self, run: Runner) -> Any:
        return value_at(run(self.run), self.at)


@dataclass(frozen=True)
class Step:
    """One step of the lesson. runs: commands; files: the contents of those that they read."""

    number: int
    title: str
    idea: str
    runs: tuple[str, ...]
    notice: str
    facts: Mapping[str, Source]
    claims: tuple[str, ...]
    ask: str
    answer: Source
    files: Mapping[str, str]

    def files_of(self, run: str) -> dict[str, str]:
        """Return the files of a command, in the order of its words."""
        return {word: self.files[word] for word in shlex.split(run) if word in self.files}

    def measure(self, run: Runner) -> dict[str, Any]:
        """Compute the facts. Raises CheckError if a claim about them is false."""
        facts = {name: source.value(run) for name, source in self.facts.items()}
        for claim in self.claims:
            left, relation, right = claim.split()
            if not CLAIMS[relation](facts[left], facts[right]):
                raise CheckError(
                    f"step {self.number} claims {left} {relation} {right}",
                    f"computed {facts[left]} and {facts[right]}",
                    "please report this",
                )
        return facts


def read_lesson() -> tuple[Step, ...]:
    """Return all steps in order.

    >>> steps = read_lesson()
    >>> steps[3].title, steps[3].runs
    ('The size of the output: n - k + 1', ('shape 100x80 -k 7x5',))
    """
    import tomllib

    text = files("convcli.learn.lesson").joinpath("steps.toml").read_text(encoding="utf-8")
    lesson = tomllib.loads(text)
    return tuple(
        _step(number, entry, lesson["files"]) for number, entry in enumerate(lesson["step"], 1)
    )


def _step(number: int, entry: Record, contents: Mapping[str, str]) -> Step:
    runs, question = entry["runs"], entry["question"]
    facts = entry.get("facts", {})
    return Step(
        number,
        entry["title"],
        _one_line(entry["idea"]),
        tuple(runs),
        _one_line(entry["notice"]),
        {name: Source(fact.get("of", runs[0]), fact["at"]) for name, fact in facts.items()},
        tuple(entry.get("claims", ())),
        _one_line(question["ask"]),
        Source(question["run"], question["at"]),
        contents,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def parse_steps(text: str) -> tuple[Step, ...]:
    """Return the steps that a text selects: `7`, `7-` (to the end) or `7-9`. Raises InputError.

    >>> [step.number for step in parse_steps("7-9")], len(parse_steps("24-"))
    ([7, 8, 9], 1)
    """
    steps = read_lesson()
    found = re.fullmatch(r"([0-9]{1,9})(-?)([0-9]{0,9})", text.strip())
    if found is not None and (found[2] or not found[3]):
        first = int(found[1])
        last = int(found[3] or len(steps)) if found[2] else first
        if 1 <= first <= last <= len(steps):
            return steps[first - 1 : last]
    raise InputError(
        f"step {text!r}",
        f"expected a number from 1 to {len(steps)}, or several as 3-5 or 3-",
        "see 'convcli lesson --list'",
    )


def value_at(record: Any, path: str) -> Any:
    """Return the value at a path: names, indices, slices, and * for every item, joined by dots.

    >>> record = {"steps": [{"value": 17.0}, {"value": 12.0}, {"value": 21.0}]}
    >>> value_at(record, "steps.0.value"), value_at(record, "steps.*.value")
    (17.0, [17.0, 12.0, 21.0])
    >>> value_at(record, "steps.1:3.value")
    [12.0, 21.0]
    """
    head, _, rest = path.partition(".")
    if not head:
        return record
    if head == "*" or ":" in head:
        parts = (int(part) if part else None for part in head.split(":"))
        items = record if head == "*" else record[slice(*parts)]
        return [value_at(item, rest) for item in items]
    return value_at(record[int(head) if isinstance(record, list) else head], rest)


class _Filler(string.Formatter):
    """A formatter that writes lists and whole floats as people do."""

    def format_field(self, value: Any, spec: str) -> str:
        if isinstance(value, list):
            return show(value) if spec == "x" else ", ".join(map(_number, value))
        return format(value, spec) if spec else _number(value)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def fill(text: str, facts: Facts) -> str:
    """Write the values of facts into a text.

    >>> fill("{n:,} outputs {y}, {size:x}", {"n": 1000, "y": [17.0, -0.5], "size": [26, 26]})
    '1,000 outputs 17, -0.5, 26x26'
    """
    return _Filler().vformat(text, (), facts)
