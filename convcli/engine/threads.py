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
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from convcli.engine.buffers import scratch_buffer, system
from convcli.limits import threads

Item = TypeVar("Item")

MASK = 1024
"""Bytes of a set of cores: as many as the system may ask for."""

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
    share = _Share(deque(partial(work, item) for first in range(each) for item in todo[first::each]), around)
    with _one_product_thread():
        cores = _cores() if workers > 1 else []
        for core in [*cores, *[None] * (workers - 1)][: workers - 1]:
            _executor().submit(share.help, core)
        share.finish()


class _Share:
    """Work that waits for threads to take it, one piece after the other.

    The thread that wants it done waits for what others have in hand, and not for those that have yet to begin: where
    other processes hold the cores, a thread may wake after all is done.
    """

    def __init__(
        self, waiting: deque[Callable[[], object]], around: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self.waiting, self.around = waiting, around
        self.helping, self.over, self.errors = 0, False, list[BaseException]()
        self.changed = threading.Condition()

    def finish(self) -> None:
        """Do what nobody else does, and wait for the rest; the first error of another thread is raised here."""
        try:
            self._take()
        finally:
            self.waiting.clear()
            with self.changed:
                self.over = True
                self.changed.wait_for(lambda: not self.helping)
        for error in self.errors:
            raise error

    def help(self, core: int | None) -> None:
        """Take part, on a core of one's own."""
        if core is not None:
            _move(core)
        with self.changed:
            if self.over:
                return
            self.helping += 1
        try:
            self._take()
        except BaseException as error:
            self.waiting.clear()
            self.errors.append(error)
        finally:
            with self.changed:
                self.helping -= 1
                self.changed.notify()

    def _take(self) -> None:
        with self.around():
            while True:
                try:
                    work = self.waiting.popleft()
                except IndexError:
                    return
                work()


def _cores() -> list[int]:
    """The cores of this process but the one that the calling thread runs on, from the next one on.

    Threads that wake each other are often put on the same core, and stay there for as long as 50 ms.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores, own = sorted(os.sched_getaffinity(0)), system().sched_getcpu()
    return [core for core in cores if core > own] + [core for core in cores if core < own]


def _move(core: int) -> None:
    """Move the calling thread to a core, where it is free to leave.

    By way of the C library: os.sched_setaffinity would hold the interpreter's lock until the core has time for it.
    """
    for cores in ({core}, os.sched_getaffinity(0)):
        mask = sum(1 << number for number in cores).to_bytes(MASK, "little")
        system().sched_setaffinity(0, ctypes.c_size_t(MASK), mask)


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
            buffer = self.buffers[name] = scratch_buffer((size,), np.uint8)
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
