"""Limit OpenBLAS to one thread while the engine's own threads multiply matrices."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

SYMBOLS = (("scipy_", "64_"), ("", "64_"), ("scipy_", ""), ("", ""))
"""Prefix and suffix of the names of OpenBLAS's functions, in the builds of numpy's wheels."""

_lock = threading.Lock()
_users = 0
_threads_before = 1


class Blas(NamedTuple):
    """The functions of a BLAS that get and set its number of threads."""

    get_threads: Callable[[], int]
    set_threads: Callable[[int], object]


@cache
def find_blas() -> Blas | None:
    """Return the OpenBLAS of numpy's wheel; None if numpy was built with another BLAS."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")):
            if (blas := _load(path)) is not None:
                return blas
    return None


def _load(path: Path) -> Blas | None:
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    for prefix, suffix in SYMBOLS:
        get = getattr(library, f"{prefix}openblas_get_num_threads{suffix}", None)
        put = getattr(library, f"{prefix}openblas_set_num_threads{suffix}", None)
        if get is not None and put is not None:
            return Blas(get, put)
    return None


class _SingleThreaded:
    """Limits BLAS to one thread; the last of several overlapping users restores the number."""

    def __enter__(self) -> None:
        global _users, _threads_before
        blas = find_blas()
        if blas is None:
            return
        with _lock:
            if not _users:
                _threads_before = blas.get_threads()
                if _threads_before != 1:
                    blas.set_threads(1)
            _users += 1

    def __exit__(self, *_: object) -> None:
        global _users
        blas = find_blas()
        if blas is None:
            return
        with _lock:
            _users -= 1
            if not _users and _threads_before != 1:
                blas.set_threads(_threads_before)


single_threaded = _SingleThreaded()


def _reset() -> None:
    """Restore the number of threads in a forked child, where the parent's threads do not exist."""
    global _lock, _users
    if _users and (blas := find_blas()) is not None:
        blas.set_threads(_threads_before)
    _lock = threading.Lock()
    _users = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset)
