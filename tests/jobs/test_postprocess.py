"""Conversion to a dtype does not depend on the pieces and threads that it is divided into."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from convcli.engine.rounding import round_into
from convcli.errors import ConvError
from convcli.jobs import postprocess
from convcli.jobs.postprocess import Ledger, combine, finite_range
from convcli.options import Combine, Policy

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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("kind", "how", "given", "right"),
    [
        ("float32", "magnitude", [3e25, 4e25], 5e25),
        ("float32", "magnitude", [3e-30, 4e-30], 5e-30),
        ("float64", "magnitude", [3e200, -4e200], 5e200),
        ("float64", "magnitude", [3e-200, 4e-200], 5e-200),
        ("float64", "magnitude", [-1e300], 1e300),
        ("float64", "magnitude", [np.inf, 1.0], np.inf),
        ("float64", "magnitude", [np.inf, np.nan], np.nan),
        ("float64", "magnitude", [1e200, 1e200, 1e200], np.sqrt(3) * 1e200),
        ("float64", "mean", [1.6e308, 1.2e308], 1.4e308),
        ("float32", "mean", [3e38, 3e38, 3e38], 3e38),
        ("float64", "mean", [5e-324, 5e-324], 5e-324),
        ("float64", "mean", [np.inf, -np.inf], np.nan),
        ("float64", "sum", [1.6e308, 1.2e308], np.inf),
    ],
)
def test_combining_neither_overflows_nor_underflows(
    kind: str, how: Combine, given: list[float], right: float
) -> None:
    results = [np.array([value, 3.0], kind) for value in given]
    made = combine(results, how, 0)
    assert made.dtype == kind
    np.testing.assert_allclose(
        made[0], np.array(right, kind), rtol=1e-6 if kind == "float32" else 1e-15
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16"])
def test_ranges_of_every_size_are_rescaled(kind: str, dtype: str) -> None:
    limits = np.finfo(kind)
    ends = [float(limits.max), float(limits.smallest_subnormal), float(limits.tiny), 1.0]
    for most in ends:
        given = (
            np.array([0, most, 2 * most], kind) if most < 1 else np.array([-most, 0, most], kind)
        )
        made = postprocess.to_dtype(given, np.dtype(dtype), "rescale")[0]
        right = {"uint8": [0, 128, 255], "int16": [-32768, 0, 32767]}.get(dtype, [0, 0.5, 1])
        np.testing.assert_array_equal(made, np.array(right, dtype))


@pytest.mark.parametrize(
    ("dtype", "middle"), [("uint8", 128), ("int8", 0), ("int64", 0), ("uint64", 2**63)]
)
def test_the_middle_of_a_type(dtype: str, middle: int) -> None:
    made, _ = postprocess.to_dtype(np.zeros(3), np.dtype(dtype), "offset")
    assert made.tolist() == [middle] * 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("dtype", "edge"), [("float16", 65520.0), ("float32", float(2**128 - 2**103))]
)
def test_what_a_float_type_cannot_hold_is_clipped_and_counted(dtype: str, edge: float) -> None:
    given = np.array([-2 * edge, -np.inf, 1.0, np.nextafter(edge, 0), edge, np.nan])
    made, ledger = postprocess.to_dtype(given, np.dtype(dtype), "clip")
    most = float(np.finfo(dtype).max)
    np.testing.assert_array_equal(made, np.array([-most, -np.inf, 1, most, most, np.nan], dtype))
    assert (ledger.below, ledger.above, ledger.not_finite, ledger.nan) == (1, 1, 2, 1)
    with pytest.raises(ConvError, match=f"do not fit {dtype}; 2 of 6 would be clipped"):
        postprocess.to_dtype(given, np.dtype(dtype), "error")[1].check()
