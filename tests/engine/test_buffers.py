"""Test that the memory of arrays is reused after the last reference to it is gone."""

from __future__ import annotations

import gc
import mmap
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcli
from convcli.engine.buffers import LINE, BufferPool, release_unused, result_buffer, scratch_buffer

MIN, MAX = 1 << 16, 1 << 22

SIDE = 1100
"""Of a float32 picture whose result is large enough to be used again."""


@pytest.fixture
def pool() -> BufferPool:
    return BufferPool(min_size=MIN, max_free=MAX)


def bytes_of(pool: BufferPool, size: int) -> np.ndarray:
    return pool.empty((size,), np.uint8)


def address(values: np.ndarray) -> int:
    return int(values.ctypes.data)


def test_the_memory_of_a_result_is_used_again() -> None:
    x, w = np.ones((SIDE, SIDE), np.float32), np.ones((3, 3), np.float32)
    result = convcli.correlate(x, w)
    first = address(result)
    del result
    assert address(convcli.correlate(x, w)) == first


HOLDERS: dict[str, Callable[[np.ndarray], Any]] = {
    "itself": lambda a: a,
    "a view": lambda a: a[3:, ::2],
    "a view of a view": lambda a: a[1:].reshape(-1)[5:9].T,
    "another type's view": lambda a: a.view(np.uint8),
    "a buffer": memoryview,
    "a buffer's array": lambda a: np.frombuffer(memoryview(a).cast("B"), np.uint8),
    "its interface": lambda a: np.from_dlpack(a),
    "an iterator": lambda a: a.flat,
}


@pytest.mark.parametrize("give", [result_buffer, scratch_buffer])
@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_what_anyone_holds_is_left_alone(
    hold: Callable[[np.ndarray], Any], give: Callable[..., np.ndarray]
) -> None:
    result = give((SIDE, SIDE), np.float32)
    result[...] = 7
    at, held = address(result), hold(result)
    del result
    for _ in range(3):
        other = give((SIDE, SIDE), np.float32)
        assert address(other) != at
        other[...] = 0
    assert held is not None
    del held
    gc.collect()
    assert at in {address(give((SIDE, SIDE), np.float32)), address(give((SIDE, SIDE), np.float32))}


def test_an_array_of_another_size_takes_free_memory_only_where_it_fits(pool: BufferPool) -> None:
    size = 8 * MIN
    bytes_of(pool, size)
    assert pool.free_bytes == size
    bytes_of(pool, size // 2)
    assert pool.free_bytes == size
    bytes_of(pool, 2 * size)
    assert pool.free_bytes == 2 * size, "what is too small makes room"
    bytes_of(pool, size - LINE)
    assert pool.free_bytes == size - LINE, "and what is more than twice as large"


def test_so_much_is_kept_at_most_and_nothing_that_is_small_or_larger(pool: BufferPool) -> None:
    held = [bytes_of(pool, MAX // 4) for _ in range(6)]
    assert pool.free_bytes == 0
    held.clear()
    assert pool.free_bytes == MAX
    small, large = bytes_of(pool, MIN - 1), bytes_of(pool, MAX + 1)
    assert small.base is None
    del small, large
    assert pool.free_bytes == 0


def test_arrays_of_all_sizes_are_used_again(pool: BufferPool) -> None:
    sizes = [2 * MIN, 8 * MIN, 32 * MIN]
    seen = set()
    for _ in range(3):
        arrays = [bytes_of(pool, size) for size in sizes]
        seen.add(tuple(map(address, arrays)))
        arrays.clear()
        assert pool.free_bytes == sum(sizes)
    assert len(seen) == 1


def test_free_memory_can_be_released(pool: BufferPool) -> None:
    held, free = bytes_of(pool, 16 * MIN), bytes_of(pool, 8 * MIN)
    del free
    pool.release()
    assert pool.free_bytes == 0
    del held
    assert pool.free_bytes == 16 * MIN


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("give", [result_buffer, scratch_buffer])
def test_what_is_released_is_the_system_s_again(give: Callable[..., np.ndarray]) -> None:
    size = 1 << 24
    release_unused()
    give((size,), np.uint8)[...] = 1
    before = resident()
    release_unused()
    assert before - resident() > size / 2


def test_a_layer_leaves_nothing_unused() -> None:
    release_unused()
    before = resident()
    convcli.conv_layer(np.ones((1, 600, 600, 16)), np.ones((16, 3, 3, 16)))
    release_unused()
    assert resident() - before < 1 << 23


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def test_where_no_pages_are_to_be_had_the_heap_answers(
    pool: BufferPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert pool.empty((3, MIN), np.uint8).shape == (3, MIN)
    assert pool.free_bytes == 0


@pytest.mark.parametrize("size", [MIN, 3 * MIN + 52, MAX + 20])
def test_an_array_begins_with_a_line_of_the_cache(pool: BufferPool, size: int) -> None:
    for _ in range(2):
        assert address(pool.empty((size // 4,), np.float32)) % LINE == 0


def test_threads_never_share_one(pool: BufferPool) -> None:
    def work(number: int) -> bool:
        mine = bytes_of(pool, MIN * (1 + number % 3))
        mine[...] = number
        return bool((mine == number).all())

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, [i % 200 for i in range(2000)]))
