"""Results' memory is taken again when nobody holds it, and never before."""

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
from convcli.engine import buffers
from convcli.engine.buffers import LINE, Kept, result_buffer, scratch_buffer
from convcli.engine.execute import give_back

LEAST, MOST = buffers._results.least, buffers._results.most

SIDE = 1100
"""Of a float32 picture whose result is large enough."""


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in (buffers._results, buffers._working):
        monkeypatch.setattr(kept, "pieces", [])


def known(kept: Kept) -> list[int]:
    return [piece.size - LINE for piece in kept.pieces]


def address(values: np.ndarray) -> int:
    return int(values.ctypes.data)


def test_unused_memory_is_taken_again() -> None:
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
def test_what_anyone_holds_is_left_alone(hold: Callable[[np.ndarray], Any], give: Callable[..., np.ndarray]) -> None:
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


def test_a_result_of_another_size_takes_it_only_where_it_fits() -> None:
    size, results = 2 * LEAST, buffers._results
    result_buffer((size,), np.uint8)
    assert known(results) == [size]
    result_buffer((size // 2,), np.uint8)
    assert known(results) == [size]
    result_buffer((2 * size,), np.uint8)
    assert known(results) == [2 * size]
    result_buffer((size - LINE,), np.uint8)
    assert known(results) == [size - LINE]


def test_so_much_is_known_at_most_and_not_what_is_small_or_larger() -> None:
    held = [result_buffer((MOST // 4,), np.uint8) for _ in range(6)]
    assert sum(known(buffers._results)) <= MOST <= sum(known(buffers._results)) + MOST // 4
    small, large = result_buffer((LEAST - 1,), np.uint8), result_buffer((MOST + 1,), np.uint8)
    assert small.base is None
    assert all(piece is not large.base for piece in buffers._results.pieces)
    assert len(held) == 6


def test_what_is_worked_in_goes_from_run_to_run_in_all_its_sizes() -> None:
    sizes = [1 << 17, 1 << 19, 1 << 21]
    for _ in range(3):
        arrays = [scratch_buffer((size,), np.uint8) for size in sizes]
        arrays.clear()
        assert known(buffers._working) == sizes
    held = [scratch_buffer((buffers._working.most // 4,), np.uint8) for _ in range(5)]
    assert sum(known(buffers._working)) <= buffers._working.most
    assert len(held) == 5


def test_small_arrays_to_work_in_leave_large_pieces_to_those_who_want_them() -> None:
    large, small = 1 << 22, 1 << 17
    first = address(scratch_buffer((large,), np.uint8))
    held = scratch_buffer((small,), np.uint8)
    assert known(buffers._working) == [large, small]
    assert address(scratch_buffer((large,), np.uint8)) == first
    assert address(held) != first
    larger = scratch_buffer((2 * large + LINE,), np.uint8)
    assert known(buffers._working) == [small, larger.size], "what is smaller is given back for it"


def test_what_nobody_works_in_any_more_can_be_given_back() -> None:
    held, _ = scratch_buffer((1 << 20,), np.uint8), scratch_buffer((1 << 19,), np.uint8)
    del _
    buffers.release_unused()
    assert known(buffers._working) == [held.size]


def test_nor_what_layers_were_worked_in() -> None:
    convcli.conv_layer(np.ones((1, 200, 200, 16)), np.ones((16, 3, 3, 16)))
    give_back()
    assert known(buffers._working) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("where", [buffers.heap, buffers.pages])
def test_what_is_given_back_is_the_system_s_again(
    where: Callable[[int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffers._working, "make", where)
    size = 1 << 24
    held = scratch_buffer((size,), np.uint8)
    held[...] = 1
    before = resident()
    del held
    assert before - resident() < size / 2
    give_back()
    assert before - resident() > size / 2


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def test_where_no_pages_are_to_be_had_the_heap_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert buffers.pages(100).shape == (100,)


@pytest.mark.parametrize("give", [result_buffer, scratch_buffer])
@pytest.mark.parametrize("size", [LEAST, 3 * LEAST + 52, MOST + 20])
def test_it_begins_with_a_line_of_the_cache(give: Callable[..., np.ndarray], size: int) -> None:
    assert address(give((size // 4,), np.float32)) % LINE == 0


def test_threads_never_share_one() -> None:
    def work(number: int) -> bool:
        mine = result_buffer((LEAST,), np.uint8)
        mine[...] = number
        total = mine[::4096].astype(int).sum()
        return bool(total == number * len(mine[::4096]))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, [i % 200 for i in range(400)]))
