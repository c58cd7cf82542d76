"""Compare kernels with factors of equal taps, whose passes add neighbours, with `direct`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import BOUNDARIES, examples, geometries
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from tuning import tune

import convcli
from convcli import correlate
from convcli.engine.analysis import MOST_DIVIDED
from convcli.engine.methods.base import Method
from convcli.engine.planning.facts import tolerance

rng = np.random.default_rng
SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None]] = {
    "signal": ((3001,), (51,), None),
    "signals": ((300, 40), (7,), (0,)),
    "rows": ((40, 300), (6,), (1,)),
    "image": ((203, 150), (3, 17), None),
    "wide image": ((33, 5000), (5, 7), None),
    "colours": ((70, 61, 3), (4, 31), (0, 1)),
    "narrow": ((300, 5, 2), (3, 3), (0, 1)),
    "batch": ((9, 40, 31), (3, 3), (1, 2)),
    "volume": ((20, 22, 34), (3, 4, 5), None),
    "narrow volume": ((20, 22, 6), (3, 4, 3), None),
    "four axes": ((7, 8, 6, 9), (2, 3, 2, 3), None),
}


@pytest.fixture(autouse=True)
def _adds_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every factor of equal taps be added, however short it is."""
    tune(monkeypatch, ADD=0.0, ADD_NARROW=0.0)


def samples(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype.startswith("float"):
        return rng(0).standard_normal(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng(0).integers(info.min, info.max, shape, dtype, endpoint=True)


def compare(x: np.ndarray, w: np.ndarray, method: str = "separable", **options: Any) -> None:
    """Compare with `direct`, and integers for equality."""
    y, expected = (correlate(x, w, **options, method=each) for each in (method, "direct"))
    assert y.dtype == expected.dtype
    if x.dtype.kind in "iu" and (w == np.rint(w)).all():
        assert_array_equal(y, expected)
    else:
        kind = y.dtype.name if y.dtype.kind == "f" else "float32"
        largest = max(np.abs(x.astype(float)).max(), abs(options.get("cval", 0)))
        bound = 2 * tolerance(kind, w.size) * np.abs(w).sum() * largest
        assert np.abs(y.astype(float) - expected).max() <= bound + (y.dtype.kind != "f")


@given(data=st.data())
@examples(120)
def test_small_problems(data: st.DataObject) -> None:
    geometry = data.draw(geometries())
    dtype = data.draw(st.sampled_from(("float32", "float64", "uint8", "int8", "int16")))
    w = np.full(geometry.window, data.draw(st.sampled_from((1.0, -2.0, 0.1, 0.0, 1 / 3))))
    compare(samples(geometry.spatial, dtype), w, **geometry.given)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int8", "uint16"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("case", SHAPES.values(), ids=SHAPES)
def test_boxes(case: Any, dilation: int, boundary: str, dtype: str) -> None:
    shape, window, axes = case
    x, options = samples(shape, dtype), {"axes": axes, "dilation": dilation, "boundary": boundary}
    for taps in (1.0, 1 / np.prod(window)):
        for padding in ("valid", "same", "full"):
            if padding == "valid" or boundary in ("constant", "wrap", "edge"):
                compare(x, np.full(window, taps), padding=padding, **options)
    if dtype == "uint8":
        w = np.full(window, 1 / np.prod(window))
        compare(x, w, padding="same", dtype="uint8", **options)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "factors",
    [
        ([1, 1, 1], [-1, 0, 1]),
        ([-1, 0, 1], [1, 1, 1]),
        ([0.5] * 4, [0.2, 0.3, 0.5]),
        ([1, 1, 1], [1, 2, 1], [1, 1]),
        ([1, 2, 1], [1, 1, 1], [1, -1]),
        ([1, 2, 1], [1, 3, 1], [1, 1, 1]),
    ],
    ids=str,
)
def test_kernels_with_some_factors_of_equal_taps(
    factors: Any, stride: int, boundary: str, dtype: str
) -> None:
    x, w = samples((40, 50, 60)[-len(factors) :], dtype), np.asarray(factors[0])
    for factor in factors[1:]:
        w = np.multiply.outer(w, factor)
    compare(x, w, stride=stride, padding="same", boundary=boundary, cval=2.5)
    compare(x, w, stride=stride, padding="same", boundary=boundary)


@pytest.mark.parametrize("cval", [0.0, 7.0, 0.25, 1000.0, -3.0])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_a_constant_that_the_type_of_the_samples_may_not_hold(dtype: str, cval: float) -> None:
    for shape, window in (((60, 70), (5, 9)), ((20, 31, 40), (3, 4, 5))):
        compare(samples(shape, dtype), np.ones(window), padding="full", cval=cval)


@pytest.mark.parametrize("k", [2, 16, 17, 256, 257, 258, 300])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_sums_at_the_limit_of_16_bits(dtype: str, k: int) -> None:
    """Sums of the largest samples are exact in signals and pictures."""
    info = np.iinfo(dtype)
    for value in (info.min, info.max):
        for window in ((k,), (k, 1), (1, k), (2, k), (k, 2)):
            x = np.full([n + 40 for n in window], value, dtype)
            assert (
                correlate(x, np.ones(window), method="separable") == value * np.prod(window)
            ).all()


QUOTIENTS = {
    "box": (np.ones((3, 3)), 9),
    "wide box": (np.ones((3, 17)), 51),
    "large box": (np.ones((31, 29)), 899),
    "fuller box": (np.ones((3, 3)), 5),
    "negative box": (-np.ones((5, 3)), 15),
    "cross": (np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]), 5),
    "weighted": (np.outer([1, 3, 1], [1, 1, 1]), 15),
    "signs": (np.array([[-1, 2, 4], [1, -3, 8]]), 11),
    "even": (np.outer([1, 2, 1], [1, 2, 1]), 16),
}


@pytest.mark.parametrize("method", ["auto", "direct", "separable", "gemm", "fft"])
@pytest.mark.parametrize("source", ["uint8", "int8", "uint16", "bool"])
@pytest.mark.parametrize("case", QUOTIENTS.values(), ids=QUOTIENTS)
def test_whole_sums_are_divided_exactly(case: Any, source: str, method: str) -> None:
    whole, number = case
    x = samples((60, 70, 3), source) if source != "bool" else rng(0).random((60, 70, 3)) < 0.5
    x[:40, :40] = x.max()
    options = {"axes": (0, 1), "padding": "same", "boundary": "edge"}
    sums = correlate(x.astype("int64"), whole, dtype="int64", method="direct", **options)
    for taps in ("float32", "float64"):
        w = (whole / number).astype(taps)
        for result in ("uint8", "int8", "int16", "uint16", "int32"):
            if number % 2 and np.abs(sums).max() < MOST_DIVIDED:
                info = np.iinfo(result)
                expected = np.clip((sums + number // 2) // number, info.min, info.max)
                y = correlate(x, w, dtype=result, method=method, **options)
                assert_array_equal(y, expected)
        y = correlate(x, w, method=method, **options)
        bound = tolerance("float32", w.size) * np.abs(w).sum() * abs(x.astype(int)).max()
        assert y.dtype == "float32"
        assert np.abs(y - sums / number).max() <= bound


@pytest.mark.parametrize(
    ("w", "options", "divisor"),
    [
        (np.full((3, 3), 1 / 9), {"dtype": "uint8"}, 9),
        (np.full((3, 3), np.float32(1 / 9)), {"dtype": "uint8"}, 9),
        (np.full((2, 2), 1 / 4), {"dtype": "uint8"}, 1),
        (np.full((2, 2), 1 / 4), {}, 4),
        (np.full((3, 3), 1 / 9), {"dtype": "float64"}, 1),
        (np.full((3, 3), 1 / 9), {"dtype": "float16"}, 1),
        (np.full((3, 3), 1 / 9), {"padding": "same", "cval": 0.5}, 1),
        (np.full((3, 3), 0.1111), {"dtype": "uint8"}, 1),
        (np.full((3, 3), 1e-9), {"dtype": "uint8"}, 1),
        (np.full((201, 201), 1 / 201**2), {"dtype": "uint8"}, 1),
        (np.ones((3, 3)), {"dtype": "uint8"}, 1),
        (np.full((3, 3), np.nan), {"dtype": "uint8"}, 1),
        (np.zeros((3, 3)), {"dtype": "uint8"}, 1),
    ],
)
def test_when_sums_are_divided(w: Any, options: Any, divisor: int) -> None:
    x = np.zeros((300, 300), np.uint8)
    assert convcli.plan(x, w, **options).facts.divisor == divisor
    assert convcli.plan(x.astype("float32"), w, **options).facts.divisor == 1


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    "w",
    [np.ones((7, 6)), np.outer(np.ones(7), [1, 2, 3]), np.outer([1, 2, 5, 0, 1], [1, 2, 3])],
    ids=["box", "mixed", "bands"],
)
def test_what_is_not_finite_reaches_its_windows_only(w: Any, bad: float, boundary: str) -> None:
    x = rng(0).standard_normal((61, 70)).astype(np.float32)
    x[11, 69] = x[40, 0] = x[60, 30] = bad
    for shape in ((61, 70), (61, 14, 5)):
        taps = w if len(shape) == 2 else w[..., None] * np.ones(2)
        options = {"padding": "same", "boundary": boundary}
        y, expected = (
            correlate(x.reshape(shape), taps, **options, method=each)
            for each in ("separable", "direct")
        )
        assert_array_equal(np.isfinite(y), np.isfinite(expected))


def test_sums_that_overflow_before_they_are_scaled() -> None:
    x = rng(0).uniform(1e38, 3e38, (40, 50)).astype(np.float32)
    for w in (np.full((5, 5), 1 / 25), np.outer(np.full(5, 1 / 5), [0.25, 0.5, 0.25])):
        compare(x, w)
        assert np.isfinite(correlate(x, w, method="separable")).all()


@pytest.mark.parametrize("window", [(31, 31), (5, 5, 5)])
def test_tiles_are_independent_of_threads(
    window: tuple[int, ...], set_threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Method, "worth_sharing", 0)
    tune(monkeypatch, ADDED=1 << 14, BAND_TILE=1 << 14)
    x = samples((150, 170, 20)[: len(window)], "float32")
    for w in (np.ones(window), np.ones(window) * np.arange(1, window[-1] + 1)):
        results = set()
        for count in (1, 2, 3):
            set_threads(count)
            y = correlate(x, w, padding="same", boundary="reflect", method="separable")
            results.add(y.tobytes())
        assert len(results) == 1
        compare(x, w, padding="same", boundary="reflect")


def test_equal_taps_are_found_without_a_name() -> None:
    x = np.zeros((1000, 1000), np.float32)
    for w, flat in (
        (np.full((9, 9), 0.1), (True, True)),
        (convcli.kernel("box:size=5"), (True, True)),
        (np.outer(np.full(9, 0.3), np.arange(9)), (True, False)),
        (np.outer(np.arange(9), np.ones(9)), (False, True)),
    ):
        assert convcli.plan(x, w).facts.flat == flat
    assert convcli.plan(x, rng(0).random((9, 9))).facts.flat == ()
    assert convcli.plan(x.ravel(), np.full(9, 0.1)).facts.flat == (True,)
