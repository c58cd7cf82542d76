"""How many threads share the work: standard library only, for plans say what memory they take together."""

from __future__ import annotations

import os

_count: int | None = None


def threads() -> int:
    """How many threads share the work: `set_threads`, else CONVCLI_THREADS, else the cores of this process."""
    if _count is not None:
        return _count
    given = os.environ.get("CONVCLI_THREADS", "")
    if given.isascii() and given.isdigit():
        return max(int(given), 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(count: int | None) -> None:
    """Share work over `count` threads from now on; None goes back to the environment's choice."""
    global _count
    _count = None if count is None else max(count, 1)
