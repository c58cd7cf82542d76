"""Results' memory is taken again when nobody holds it, and never before."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import convcli
from convcli.engine import memory
from convcli.engine.memory import LEAST, MOST, fresh

SIDE = 1100
"""Of a float32 picture whose result is large enough."""


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_known", [])


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


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_what_anyone_holds_is_left_alone(hold: Callable[[np.ndarray], Any]) -> None:
    result = fresh((SIDE, SIDE), np.float32)
    result[...] = 7
    at, held = address(result), hold(result)
    del result
    for _ in range(3):
        other = fresh((SIDE, SIDE), np.float32)
        assert address(other) != at
        other[...] = 0
    assert held is not None
    del held
    gc.collect()
    assert at in {address(fresh((SIDE, SIDE), np.float32)), address(fresh((SIDE, SIDE), np.float32))}


def test_a_result_of_another_size_takes_it_only_where_it_fits() -> None:
    def known() -> list[int]:
        return [kept.size for kept in memory._known]

    size = 2 * LEAST
    fresh((size,), np.uint8)
    assert known() == [size]
    fresh((size // 2,), np.uint8)
    assert known() == [size]
    fresh((2 * size,), np.uint8)
    assert known() == [2 * size]
    fresh((size - 1,), np.uint8)
    assert known() == [size - 1]


def test_so_much_is_known_at_most_and_not_what_is_small_or_larger() -> None:
    held = [fresh((MOST // 4,), np.uint8) for _ in range(6)]
    assert sum(kept.size for kept in memory._known) == MOST
    small, large = fresh((LEAST - 1,), np.uint8), fresh((MOST + 1,), np.uint8)
    assert small.base is None
    assert large.base is None
    assert len(held) == 6


def test_threads_never_share_one() -> None:
    def work(number: int) -> bool:
        mine = fresh((LEAST,), np.uint8)
        mine[...] = number
        total = mine[::4096].astype(int).sum()
        return bool(total == number * len(mine[::4096]))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, [i % 200 for i in range(400)]))
