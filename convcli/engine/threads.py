"""Run work on several threads: numpy and its matrix products release the interpreter's lock.

Each worker runs matrix products on its own core, so BLAS is limited to one thread meanwhile. The
order of the tiles may vary, but the tiles do not, and the result of a tile does not depend on the
thread that computes it.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import count
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from convcli.engine.blas import single_threaded
from convcli.engine.buffers import scratch_buffer
from convcli.limits import threads
from convcli.system import core_count, on_own_core

Item = TypeVar("Item")

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_size = 0
_helpers: list[int] = []
"""Native ids of the pool's threads."""


def share_out(
    work: Callable[[Item], object],
    items: Iterable[Item],
    *,
    workers: int,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Call work(item) for every item, on up to `workers` threads, including the calling one.

    There are no more threads than cores: four on two cores took up to 1.8 times as long as two.
    The first exception stops the work and is raised. Threads start at distant items, because
    adjacent tiles would wait for the same new page of memory.
    around: creates the context manager that each thread works in.
    """
    todo = list(items)
    workers = min(workers, len(todo), core_count())
    if workers <= 1:
        with single_threaded, around():
            for item in todo:
                work(item)
        trim_scratch()
        return
    each = -(-len(todo) // max(workers, 1))
    order = (item for first in range(each) for item in todo[first::each])
    share = _Share(deque(partial(work, item) for item in order), around)
    with single_threaded:
        # If the system allows no more threads, the existing ones do the work.
        with suppress(RuntimeError):
            for _ in range(workers - 1):
                _executor().submit(share.help)
        with on_own_core(_helpers):
            share.finish()


class _Share:
    """A queue of work for the calling thread and its helpers.

    The calling thread waits only for helpers that have started. If other processes occupy the
    cores, a helper may start after all the work is done.
    """

    def __init__(
        self,
        waiting: deque[Callable[[], object]],
        around: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.waiting = waiting
        self.around = around
        self.helping = 0
        self.over = False
        self.errors: list[BaseException] = []
        self.changed = threading.Condition()

    def finish(self) -> None:
        """Work until the queue is empty, wait for the helpers, and raise their first error."""
        try:
            self._take()
        finally:
            self.waiting.clear()
            with self.changed:
                self.over = True
                self.changed.wait_for(lambda: not self.helping)
        for error in self.errors:
            raise error

    def help(self) -> None:
        """Work as a helper until the queue is empty."""
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
                    break
                work()
        trim_scratch()


def _executor() -> ThreadPoolExecutor:
    """Return the process's thread pool: starting threads takes as long as a small convolution."""
    global _pool, _size
    with _lock:
        if _pool is None or _size < threads():
            _size = threads()
            _helpers.clear()
            _pool = ThreadPoolExecutor(_size, "convcli", initializer=_register)
        return _pool


def _register() -> None:
    _helpers.append(threading.get_native_id())


def _forget() -> None:
    """Replace the pool and the lock in a forked child, where the parent's threads do not exist."""
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()
    _helpers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class _Buffers(threading.local):
    """The scratch arrays of a thread, by the number of their owner and their name."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, str], _Held] = {}
        self.size = 0

    def find(self, key: tuple[int, str], shape: tuple[int, ...], dtype: DTypeLike) -> _Held:
        """Return an array of this shape and type, in the memory of the last one if it fits."""
        held = self.held.get(key)
        if held is not None and held.array.shape == shape and held.array.dtype == dtype:
            return held
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        buffer = None if held is None else held.buffer
        if buffer is None or buffer.size < size:
            self.size += size - (0 if buffer is None else buffer.size)
            self.held.pop(key, None)
            held = buffer = None  # one at a time, to save memory
            buffer = scratch_buffer((size,), np.uint8)
        held = self.held[key] = _Held(buffer, buffer[:size].view(kind).reshape(shape))
        return held

    def trim(self) -> None:
        """Release the arrays if they are large."""
        if self.size > KEPT:
            self.held.clear()
            self.size = 0


class _Held:
    """A scratch array, and views of it that its user made."""

    def __init__(self, buffer: NDArray[Any], array: NDArray[Any]) -> None:
        self.buffer, self.array = buffer, array
        self.user: object = None
        self.views: Any = None


KEPT = 1 << 20
"""Bytes of scratch arrays that a thread keeps for the next call: those of a small picture."""

_scratch = _Buffers()
_owners = count()

Views = TypeVar("Views")


def trim_scratch() -> None:
    """Release the calling thread's scratch arrays if they are large."""
    _scratch.trim()


class Scratch:
    """Named scratch arrays that each thread reuses from tile to tile.

    A thread keeps small ones for the next call, and releases large ones when its work ends.
    """

    def __init__(self) -> None:
        self.owner = next(_owners)

    def __call__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialized array, which the thread's next call with this name overwrites."""
        return _scratch.find((self.owner, name), shape, dtype).array

    def views(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        user: object,
        make: Callable[[NDArray[Any]], Views],
    ) -> Views:
        """Return what `make` returns for such an array, made once for each user of the array."""
        held = _scratch.find((self.owner, name), shape, dtype)
        if held.user is not user:
            held.user, held.views = user, make(held.array)
        views: Views = held.views
        return views
