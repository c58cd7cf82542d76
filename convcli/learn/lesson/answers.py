"""Answers to the lesson's questions: numbers and shapes in the ways that people write them."""

from __future__ import annotations

import math
import re
from typing import Any

_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:[,_' ]\d{3})+(?:\.\d+)?")
_BETWEEN = re.compile(r"\s*(?:[,;x×*]|\bby\b)\s*|\s+")


def parse_answer(text: str, *, thousands: bool) -> list[float] | None:
    """Return the numbers of an answer, or None if it holds anything else.

    Brackets, a name in front (`y = 26`) and what joins the numbers do not matter. thousands: read
    1,100 as one number.

    >>> parse_answer("(26, 26, 1)", thousands=False), parse_answer("26×26", thousands=False)
    ([26.0, 26.0, 1.0], [26.0, 26.0])
    >>> parse_answer("9,472", thousands=True), parse_answer("y[0] = -1/2", thousands=True)
    ([9472.0], [-0.5])
    >>> parse_answer("many", thousands=True) is None
    True
    """
    words = text.casefold().rpartition("=")[2].replace("−", "-").strip(" \t\r\n.()[]{}")
    if thousands and _THOUSANDS.fullmatch(words):
        words = re.sub(r"[,_' ]", "", words)
    try:
        return [_number(part) for part in _BETWEEN.split(words)]
    except (ValueError, ZeroDivisionError):
        return None


def _number(text: str) -> float:
    """Read a number or a fraction.

    >>> _number("3/4")
    0.75
    """
    over, _, under = text.partition("/")
    return float(over) / float(under) if under else float(text)


def is_right(text: str, expected: Any) -> bool | None:
    """Return whether an answer gives the expected number or numbers; None if it has no numbers.

    expected: a number, or a list; one of integers is a shape, whose axes of 1 at the end do not
    matter. One number may stand for several that are equal.

    >>> is_right("26", [26, 26]), is_right("26 x 26 x 1", [26, 26]), is_right("8, 4", [8.0, 4.0])
    (True, True, True)
    >>> is_right("5", [5.0, 1.0]), is_right("26, 25", 26), is_right("?", 26)
    (False, False, None)
    """
    several = isinstance(expected, list)
    given = parse_answer(text, thousands=not several)
    if given is None:
        return None
    wanted = expected if several else [expected]
    if several and all(isinstance(size, int) for size in wanted):
        given, wanted = _without_ones(given), _without_ones(wanted)
    if len(given) == 1 and len(set(wanted)) == 1:
        given = given * len(wanted)
    return len(given) == len(wanted) and all(map(math.isclose, given, wanted))


def _without_ones(shape: list[Any]) -> list[Any]:
    """Return a shape without axes of 1 at its end."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
