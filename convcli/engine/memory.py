"""Memory of results, taken again once nobody holds them: fresh pages cost as much as the arithmetic of a 3x3.

The system clears every page before it hands it out: 6 to 8 ms for 64 MB, as long as a 3x3 takes to compute as many.
So the memory of a large result stays known here, and when no array, view or buffer on it is left, the next result of
about its size takes it over. What is unused and does not fit is given back before fresh memory is asked for.
"""

from __future__ import annotations

import math
import sys
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LEAST = 1 << 22
"""Bytes of a result whose memory is worth knowing: the C library takes smaller pieces again by itself."""

MOST = 1 << 27
"""Bytes that are known at a time, and so the most that lie unused until the next result."""

_known: list[NDArray[np.uint8]] = []
"""Memory of results, oldest first: in use as long as anything but this list refers to it."""


def fresh(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An uninitialised array, which shares its memory with no other.

    >>> first = fresh((1024, 2048), np.float32)
    >>> second = fresh((1024, 2048), np.float32)
    >>> np.shares_memory(first, second)
    False
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if not LEAST <= size <= MOST or not _COUNTED:
        return np.empty(shape, kind)
    memory = _unused(size)
    if memory is None:
        memory = np.empty(size, np.uint8)
    with suppress(IndexError):
        while sum(other.size for other in tuple(_known)) + memory.size > MOST:
            _known.pop(0)
    _known.append(memory)
    return memory[:size].view(kind).reshape(shape)


def _unused(size: int) -> NDArray[np.uint8] | None:
    """Known memory that nobody uses and that `size` bytes fill by half at least; all else unused is forgotten."""
    found, used = None, []
    with suppress(IndexError):
        while True:
            memory = _known.pop()
            if sys.getrefcount(memory) > _ALONE:
                used.append(memory)
            elif memory.size // 2 <= size <= memory.size:
                found = memory
    _known.extend(reversed(used))
    return found


def _alone() -> int:
    """How often an array is counted that one name in a function refers to."""
    memory = np.empty(1, np.uint8)
    return sys.getrefcount(memory)


_COUNTED = hasattr(sys, "getrefcount") and getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether the interpreter counts who refers to an array, at once and for all threads."""

_ALONE = _alone() if _COUNTED else 0
