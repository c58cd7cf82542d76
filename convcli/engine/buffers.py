"""Memory that is taken again once nobody holds it: fresh pages cost as much as the arithmetic of a 3x3.

The system clears every page before it hands it out: 6 to 8 ms for 64 MB, as long as a 3x3 takes to compute as many.
So the memory of a large result stays known here, and when no array, view or buffer on it is left, the next result of
about its size takes it over; what the threads work in goes from run to run likewise. All of it begins with a line of
the cache: stores that cross two lines take nearly twice as long.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE = 64
"""Bytes of a line of the cache."""


def heap(size: int) -> NDArray[np.uint8]:
    """So many uninitialised bytes from the C library."""
    return np.empty(size, np.uint8)


def pages(size: int) -> NDArray[np.uint8]:
    """So many bytes in pages of their own, which the system has again once nobody holds them.

    The C library keeps for itself what it gets back, up to 32 MiB a thread.
    """
    if sys.platform != "win32":
        with suppress(OSError):
            return np.frombuffer(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
    return heap(size)


@cache
def system() -> ctypes.CDLL:
    """What this process was linked with: its C library."""
    return ctypes.CDLL(None)


class Kept:
    """Pieces of memory that are known: in use as long as anything but the list of them refers to one.

    least: bytes of a piece that is worth knowing, for the C library takes smaller ones again by itself. most: bytes
    that are known at a time, and so the most that lie unused. What is unused and does not fit is given back before
    fresh memory is asked for; larger pieces may be left for those who want as much, if that is `patient`. make: where
    fresh ones come from.
    """

    def __init__(self, least: int, most: int, patient: bool, make: Callable[[int], NDArray[np.uint8]]) -> None:
        self.least, self.most, self.patient, self.make = least, most, patient, make
        self.pieces: list[NDArray[np.uint8]] = []
        self.lock = threading.Lock()

    def __call__(self, size: int) -> NDArray[np.uint8]:
        """So many uninitialised bytes, which nobody else has."""
        if size > self.most or not _COUNTED:
            return _lined(self.make(size + LINE), size)
        with self.lock:
            piece = self._unused(size + LINE)
            return _lined(self._fresh(size + LINE) if piece is None else piece, size)

    def _unused(self, size: int) -> NDArray[np.uint8] | None:
        """The first piece that nobody uses and that `size` bytes fill by half at least."""
        for piece in self.pieces:
            if sys.getrefcount(piece) == _UNUSED and piece.size // 2 <= size <= piece.size:
                return piece
        return None

    def give_back(self, below: float = math.inf) -> None:
        """Know no more what nobody uses, of less than so many bytes."""
        self.pieces = [piece for piece in self.pieces if piece.size >= below or sys.getrefcount(piece) > _UNUSED]

    def _fresh(self, size: int) -> NDArray[np.uint8]:
        self.give_back(size if self.patient else math.inf)
        made = self.make(size)
        self.pieces.append(made)
        while sum(piece.size for piece in self.pieces) > self.most + LINE:
            self.pieces.pop(0)
        return made


def _lined(piece: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    start = -piece.__array_interface__["data"][0] % LINE
    return piece[start : start + size]


def _unused() -> int:
    """How often an array in a list is counted that a loop looks at."""
    return next(sys.getrefcount(piece) for piece in [np.empty(1, np.uint8)])


_COUNTED = hasattr(sys, "getrefcount") and getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether the interpreter counts who refers to an array, at once and for all threads."""

_UNUSED = _unused() if _COUNTED else 0

_results = Kept(1 << 22, 1 << 27, False, heap)
_working = Kept(1 << 16, 1 << 25, True, pages)


def result_buffer(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An uninitialised array for a result, which shares its memory with no other.

    >>> first = result_buffer((1024, 2048), np.float32)
    >>> second = result_buffer((1024, 2048), np.float32)
    >>> np.shares_memory(first, second)
    False
    """
    return _array(_results, shape, dtype)


def scratch_buffer(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An uninitialised array to work in, likewise."""
    return _array(_working, shape, dtype)


def release_unused() -> None:
    """Know no more what threads worked in, and have the C library give back what it keeps."""
    with _working.lock:
        _working.give_back()
    if sys.platform == "linux" and (trim := getattr(system(), "malloc_trim", None)):  # not every C library's
        trim(0)


def _array(kept: Kept, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    return np.empty(shape, kind) if size < kept.least else kept(size).view(kind).reshape(shape)


def _forget() -> None:
    """In a forked child the lock may be held for good."""
    for kept in (_results, _working):
        kept.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
