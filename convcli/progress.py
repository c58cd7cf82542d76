"""Progress of a long computation, reported through a callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

Progress: TypeAlias = Callable[[float], None]
"""A function that is called with the completed share of the work, from 0 to 1."""


def silent(share: float) -> None:
    """Ignore the progress."""


def steps(progress: Progress, total: int) -> Iterator[Progress]:
    """Yield a callback for each of `total` equal steps, which reports to `progress`.

    >>> first, second = steps(print, 2)
    >>> first(1.0), second(0.5)
    0.5
    0.75
    (None, None)
    """
    for number in range(total):
        yield lambda share, done=number: progress((done + share) / total)  # type: ignore[misc]
