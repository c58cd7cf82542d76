"""How far a long computation has come, as it reports it to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

Progress: TypeAlias = Callable[[float], None]
"""Called with the share of the work that is done, from 0 to 1."""


def silent(share: float) -> None:
    """Show nothing."""


def steps(progress: Progress, total: int) -> Iterator[Progress]:
    """Yield what each of `total` equal steps reports its own progress to.

    >>> first, second = steps(print, 2)
    >>> first(1.0), second(0.5)
    0.5
    0.75
    (None, None)
    """
    for number in range(total):
        yield lambda share, done=number: progress((done + share) / total)  # type: ignore[misc]
