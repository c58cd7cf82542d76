"""Fitting values into a type piece by piece and by any number of threads gives what fitting them whole gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from convcli.engine.rounding import round_into
from convcli.jobs import postprocess
from convcli.jobs.postprocess import Ledger, finite_range
from convcli.options import Policy

SHAPES = [(1,), (5000,), (70, 60), (3, 70, 60), (2, 3, 1700), (70, 60, 3)]


def values(shape: tuple[int, ...], *, odd: bool = False) -> np.ndarray:
    made = np.random.default_rng(0).normal(100, 120, shape).astype(np.float32)
    if odd:
        made.flat[::97] = np.nan
        made.flat[5::101] = np.inf
    return made


def to_dtype(given: np.ndarray, out: np.ndarray, policy: Policy) -> Ledger:
    made, ledger = postprocess.to_dtype(given, out.dtype, policy, out=out)
    assert made is out
    return ledger


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postprocess, "FIT_VALUES", 500)
    monkeypatch.setattr(postprocess, "WORTH_SHARING", 0)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("policy", ["clip", "rescale", "offset", "abs", "error"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_pieces_make_the_whole(
    shape: tuple[int, ...],
    dtype: str,
    policy: Policy,
    odd: bool,
    set_threads: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = values(shape, odd=odd)
    whole, cut = np.empty(shape, dtype), np.empty(shape, dtype)
    ledgers = []
    for out, size, count in ((whole, given.size, 1), (cut, 500, 3)):
        monkeypatch.setattr(postprocess, "FIT_VALUES", size)
        set_threads(count)
        ledgers.append(to_dtype(given, out, policy))
    np.testing.assert_array_equal(whole, cut)
    np.testing.assert_equal(vars(ledgers[0]), vars(ledgers[1]))
    assert ledgers[0].total == given.size


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_clipped_is_counted(shape: tuple[int, ...], odd: bool) -> None:
    given, out = values(shape, odd=odd), np.empty(shape, np.uint8)
    ledger, expected = to_dtype(given, out, "clip"), np.empty(shape, np.uint8)
    with np.errstate(invalid="ignore"):
        round_into(given, expected)
    np.testing.assert_array_equal(out, expected)
    assert (ledger.below, ledger.above) == (np.sum(given < -0.5), np.sum(given >= 255.5))
    assert ledger.not_finite == np.sum(~np.isfinite(given))
    np.testing.assert_equal((ledger.low, ledger.high), finite_range(given))


def test_values_are_only_read_and_any_strides_are_written() -> None:
    given = values((60, 70, 3))
    given.flags.writeable = False
    room = np.zeros((60, 70, 4), np.uint8)
    to_dtype(given, room[..., :3], "clip")
    expected = np.empty((60, 70, 3), np.uint8)
    to_dtype(given, expected, "clip")
    np.testing.assert_array_equal(room[..., :3], expected)
    assert not room[..., 3].any()
