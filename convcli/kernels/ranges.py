"""Ranges: one reference that means a bank of named kernels, such as `gabor:theta=0..165/15`."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from itertools import product
from typing import NamedTuple

from convcli.errors import KernelError
from convcli.kernels.bank import is_named
from convcli.kernels.parameters import RANGE

MAX_KERNELS = 4096
"""Kernels that one reference means at most."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)


def expand_ranges(reference: str) -> tuple[str, ...]:
    """Return the references that one with ranges means; the last range varies fastest.

    A range is `first..last/step`; the step is 1 by default, and `last` is included if a step
    reaches it. Raises KernelError for a range that is none, or that means too many kernels.

    >>> expand_ranges("gabor:theta=0..90/45,sigma=2")
    ('gabor:theta=0,sigma=2', 'gabor:theta=45,sigma=2', 'gabor:theta=90,sigma=2')
    >>> expand_ranges("box")
    ('box',)
    """
    name, colon, typed = reference.partition(":")
    if RANGE not in typed or not is_named(reference):
        return (reference,)
    parts = [_parse(item) for item in typed.split(",")]
    count = math.prod(part.size for part in parts)
    if count > MAX_KERNELS:
        raise KernelError(
            f"{reference[:80]} means {count:,} kernels",
            f"expected at most {MAX_KERNELS:,}",
            "use a larger step",
        )
    banks = product(*(part.written() for part in parts))
    return tuple(f"{name}{colon}{','.join(values)}" for values in banks)


class _Part(NamedTuple):
    """A parameter with a range of values, or with one, which is a part of its text."""

    text: str
    first: Decimal | None = None
    step: Decimal = Decimal(1)
    size: int = 1

    def written(self) -> list[str]:
        if self.first is None:
            return [self.text]
        return [f"{self.text}{self.first + place * self.step}" for place in range(self.size)]


def _parse(item: str) -> _Part:
    if RANGE not in item:
        return _Part(item)
    key, equals, text = item.rpartition("=")
    ends, _, step = text.partition("/")
    first, _, last = ends.partition(RANGE)
    numbers = [part.strip() for part in (first, last, step or "1")]
    if not all(map(_NUMBER.fullmatch, numbers)):
        raise KernelError(f"range {text[:40]}", "expected first..last/step, as in 0..165/15")
    low, high, by = map(Decimal, numbers)
    if not by or (high - low) / by < 0:
        raise KernelError(
            f"range {text[:40]} has no value", "expected a step that leads from first to last"
        )
    return _Part(key + equals, low, by, int((high - low) / by) + 1)
