"""Tiles over the cores: numpy and its matrix products release the interpreter's lock, so plain threads do.

Each worker runs matrix products on its own core, so the product library (OpenBLAS, as numpy's wheels bring it) is
held to one thread meanwhile, and has its own setting back afterwards. The order of the work is free and its cut is
not: what a tile computes does not depend on who runs it, or beside whom.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from convcli.cores import threads
from convcli.engine.memory import system, working

Item = TypeVar("Item")

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_size = 0
_holders = 0
_before = 1


def share_out(
    work: Callable[[Item], object],
    items: Iterable[Item],
    *,
    workers: int,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Call work(item) for every item, over so many threads; the first exception ends it and is raised.

    The calling thread is one of them. They begin far from each other: neighbours would wait for the same fresh page.
    around: makes the context that each thread works in.
    """
    todo = list(items)
    workers = min(workers, len(todo))
    each = -(-len(todo) // max(workers, 1))
    waiting = deque(item for first in range(each) for item in todo[first::each])
    with _one_product_thread():
        cores = _cores() if workers > 1 else []
        starts = [*cores, *[None] * (workers - 1)][: workers - 1]
        futures = [_executor().submit(_drain, work, waiting, around, core) for core in starts]
        try:
            _drain(work, waiting, around)
        finally:
            waiting.clear()
            errors = [error for future in futures if (error := future.exception())]
        for error in errors:
            raise error


def _cores() -> list[int]:
    """The cores of this process but the one that the calling thread runs on, from the next one on.

    Threads that wake each other are often put on the same core, and stay there for as long as 50 ms.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores, own = sorted(os.sched_getaffinity(0)), system().sched_getcpu()
    return [core for core in cores if core > own] + [core for core in cores if core < own]


def _move(core: int) -> None:
    """Move the calling thread to a core, where it is free to leave."""
    with suppress(OSError):
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, [core])
        os.sched_setaffinity(0, cores)


def _drain(
    work: Callable[[Item], object],
    waiting: deque[Item],
    around: Callable[[], AbstractContextManager[object]],
    core: int | None = None,
) -> None:
    if core is not None:
        _move(core)
    try:
        with around():
            while True:
                try:
                    item = waiting.popleft()
                except IndexError:
                    return
                work(item)
    except BaseException:
        waiting.clear()
        raise


def _executor() -> ThreadPoolExecutor:
    """One pool for the process, kept: starting threads costs as much as a small convolution."""
    global _pool, _size
    with _lock:
        if _pool is None or _size < threads():
            _size = threads()
            _pool = ThreadPoolExecutor(_size, "convcli")
        return _pool


def _forget() -> None:
    """In a forked child the parent's threads do not exist, and its lock may be held for good."""
    global _pool, _lock, _holders
    if _holders and (library := _library()) is not None:
        library.set(_before)
    _pool, _lock, _holders = None, threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Scratch(threading.local):
    """Working arrays that each thread keeps between tiles, by name, and leaves to those of the next run."""

    def __init__(self) -> None:
        self.buffers: dict[str, NDArray[Any] | None] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An uninitialised array, overwritten by the next call with the same name on the same thread."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        buffer = self.buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self.buffers[name] = None  # given back first: both at once would be twice the memory
            buffer = self.buffers[name] = working((size,), np.uint8)
        return buffer[:size].view(kind).reshape(shape)


class _Library(NamedTuple):
    get: Callable[[], int]
    set: Callable[[int], object]


@contextmanager
def _one_product_thread() -> Iterator[None]:
    """Hold the product library to one thread; the last of overlapping holders gives the setting back."""
    global _holders, _before
    library = _library()
    if library is None:
        yield
        return
    with _lock:
        if not _holders:
            _before = library.get()
            if _before != 1:
                library.set(1)
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders and _before != 1:
                library.set(_before)


@cache
def _library() -> _Library | None:
    """The OpenBLAS that numpy's own wheel carries; None where numpy was built against something else."""
    package = Path(np.__file__).parent
    folders = (package.parent / "numpy.libs", package / ".dylibs")
    for path in (path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*openblas*"))):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for prefix, suffix in (("scipy_", "64_"), ("", "64_"), ("scipy_", ""), ("", "")):
            get = getattr(library, f"{prefix}openblas_get_num_threads{suffix}", None)
            put = getattr(library, f"{prefix}openblas_set_num_threads{suffix}", None)
            if get is not None and put is not None:
                return _Library(get, put)
    return None
