"""Compare sums of shifted rows with `direct`, for kernels of few taps."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from cases import BOUNDARIES, VIEWS, examples, geometries
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from tuning import registered, tune

import convcli
from convcli import correlate
from convcli.engine.methods.taps import Taps
from convcli.engine.planning.facts import tolerance
from convcli.engine.tap_sums import TapSum, tap_sum

rng = np.random.default_rng


@pytest.fixture(autouse=True, scope="module")
def taps() -> Iterator[None]:
    with registered(Taps, "taps"):
        yield


KERNELS = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "negative": [[0, -1], [0, 0]],
    "one weight": [[0, 0, -2.5]],
    "negatives": [[-1, 0, -1], [0, -1, 0]],
    "weighted negatives": [[-3, 0, -3], [0, -3, 0]],
    "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "sobel-x": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "sobel-y": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "outline": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "binomial": [[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]],
    "scaled columns": [[2, 0, -6, 1], [4, 0, -12, 2]],
    "unlike and whole": [[1, -2, 3], [4, 5, -6], [-3, 2, -7]],
    "unlike rows": [[0.3], [-0.7], [1.1], [0.4]],
    "unlike": [[0.3, 0, -0.7], [0, 1.1, 0]],
}
every_kernel = pytest.mark.parametrize(
    "w", [np.array(taps) for taps in KERNELS.values()], ids=KERNELS
)


def agree(x, w, **options):
    """Test the method against `direct`, and return its result."""
    options = {"axes": range(x.ndim), **options}
    y, exact = (correlate(x, w, method=each, **options) for each in ("taps", "direct"))
    assert y.dtype == exact.dtype
    assert_array_equal(np.isfinite(y), np.isfinite(exact))
    if convcli.plan(x, w, **options).facts.integral is not None:
        assert_array_equal(y, exact)
        return y
    largest = np.abs(x[np.isfinite(x)].astype(float)).max(initial=abs(options.get("cval", 0)))
    bound = 2 * tolerance("float64" if y.dtype == "float64" else "float32", w.size)
    finite = np.isfinite(y)
    error = np.abs(y[finite].astype(float) - exact[finite]).max(initial=0)
    assert error <= bound * np.abs(w).sum() * largest + (y.dtype.kind != "f")
    return y


@every_kernel
@pytest.mark.parametrize("stride", [1, 2, (3, 1), (1, 3)], ids=str)
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((40, 51), (0, 1)), ((33, 21, 3), (0, 1)), ((2, 3, 20, 31), (2, 3)), ((31, 9, 16), (0, 1))],
    ids=str,
)
def test_pictures(shape, axes, dilation, stride, w):
    options = {"axes": axes, "stride": stride, "dilation": dilation}
    for dtype in ("uint8", "int16", "float32", "float64", "bool"):
        x = (rng(0).standard_normal(shape) * 90).astype(dtype)
        for padding in ({}, {"padding": "same", "boundary": "reflect"}):
            for result in (None, "uint8"):
                agree(x, w, dtype=result, **options, **padding)


@every_kernel
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("cval", [0.0, 7.0, 900.0, 0.5])
def test_boundaries(cval, boundary, w):
    x = rng(0).integers(0, 256, (23, 31, 3), np.uint8)
    for stride in (1, 2):
        options = {"padding": ((3, 1), (0, 4)), "boundary": boundary, "cval": cval}
        agree(x, w, axes=(0, 1), stride=stride, dtype=np.int16, **options)


@given(data=st.data())
@examples(150)
def test_small_problems(data):
    geometry = data.draw(geometries())
    x = rng(data.draw(st.integers(0, 99))).integers(-9, 9, geometry.spatial)
    x = x.astype(data.draw(st.sampled_from(("int8", "uint16", "float16", "float32", "int64"))))
    w = rng(data.draw(st.integers(0, 99))).integers(-2, 3, geometry.window)
    if w.any():
        agree(data.draw(st.sampled_from(VIEWS))(x), w, **geometry.given)


@pytest.mark.parametrize("dims", [1, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_other_numbers_of_axes(stride, dims):
    shape = (40, 31, 12, 9)[:dims] if dims > 1 else (5000,)
    smooth, slope = np.array([1, 2, 1]), np.array([-1, 0, 1])
    w = slope
    for _ in range(dims - 1):
        w = np.multiply.outer(smooth, w)
    for dtype in ("uint8", "float32"):
        x = rng(0).integers(0, 256, shape).astype(dtype)
        agree(x, w, stride=stride, padding="same", boundary="edge")


@pytest.mark.parametrize(
    ("dtype", "taps", "accumulator"),
    [
        ("uint8", [64, -64], "int16"),
        ("uint8", [128, -1], "float32"),
        ("int8", [255, -1], "float32"),
        ("int8", [254, 1], "int16"),
        ("uint16", [250, -6], "float32"),
        ("uint16", [250, -7], "int32"),
        ("uint16", [32767, -1], "int32"),
        ("uint16", [32767, -2], "float64"),
    ],
)
def test_the_narrowest_type_that_holds_every_sum(dtype, taps, accumulator):
    info = np.iinfo(dtype)
    x = rng(0).choice(np.array([info.min, info.max], dtype), (50, 60))
    for w in (np.array([taps]), np.array([taps]).T, -np.array([taps])):
        plan = convcli.plan(x, w, method="taps")
        assert plan.accumulator == accumulator
        for result in (None, "int64", "uint8", "int16", "float64"):
            agree(x, w, dtype=result)


@every_kernel
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_finite_reaches_every_window_that_covers_it(dtype, bad, w, monkeypatch):
    """Also under a tap of zero, in the corners of tiles, which no other tap sees."""
    tune(monkeypatch, TILE_BYTES=1 << 12)
    for place in np.ndindex(9, 8):
        x = rng(0).standard_normal((9, 8)).astype(dtype)
        x[place] = bad
        for stride in (1, 2):
            agree(x, w, stride=stride, padding="same")


def test_samples_whose_sums_overflow_float32():
    w = np.array([[0.1, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.1, 0.1]])
    for value in (1e19, 1e30, 3.4e38):
        x = np.full((20, 30), value, np.float32)
        y = correlate(x, w, method="taps")
        np.testing.assert_allclose(y, np.float32(value) * 0.9, rtol=1e-6)


@pytest.mark.parametrize("shape", [(900, 1100, 3), (60, 70, 80), (300_000,), (40, 50, 60, 2)])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": "same"}], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_the_plan_states_what_is_held(dtype, options, shape, set_threads):
    set_threads(2)
    dims = {1: 1, 3: 2 if shape[-1] == 3 else 3, 4: 3}[len(shape)]
    x = np.zeros(shape, dtype)
    for factor in ([1, 2, 1], [0.3, 0.2]):
        w = np.array(factor)
        for _ in range(dims - 1):
            w = np.multiply.outer(w, [-1.0, 0, 1])
        given = {"axes": range(dims), "method": "taps", **options}
        plan = convcli.plan(x, w, **given)
        tracemalloc.start()
        try:
            correlate(x, w, **given)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak - plan.output_bytes <= plan.memory + (256 << 10)


def test_the_same_bytes_whatever_the_threads(set_threads):
    x = rng(0).standard_normal((700, 900, 3)).astype(np.float32)
    results = set()
    for count in (1, 2, 3):
        set_threads(count)
        for options in ({}, {"stride": 2, "padding": "same"}):
            w = np.array(KERNELS["unlike"])
            results.add(
                (str(options), correlate(x, w, axes=(0, 1), method="taps", **options).tobytes())
            )
    assert len(results) == 2


def test_many_taps_are_refused():
    x = np.zeros((50, 50), np.float32)
    with pytest.raises(convcli.ConvError, match="would round too often"):
        correlate(x, rng(0).random((4, 5)), method="taps")
    with pytest.raises(convcli.ConvError, match="many taps"):
        correlate(x, rng(0).random((10, 10)), method="taps")
    for w in (np.zeros((3, 3)), np.full((3, 3), np.nan)):
        with pytest.raises(convcli.ConvError, match="many taps"):
            correlate(x, w, method="taps")


def test_it_is_chosen_for_few_taps():
    picture, colour = np.zeros((1000, 1000), np.float32), np.zeros((1000, 1000, 3), np.uint8)
    for name in ("laplacian", "sharpen", "sobel-x", "roberts-x"):
        w = convcli.kernel(name).taps
        assert isinstance(convcli.plan(picture, w).implementation, Taps)
        assert isinstance(convcli.plan(colour, w, axes=(0, 1)).implementation, Taps)
    for w in (rng(0).random((3, 3)), np.ones((9, 9))):
        assert not isinstance(convcli.plan(picture, w).implementation, Taps)


def operations(total: TapSum) -> int:
    """Return the number of operations as the sum is computed."""
    count = sum(operations(each) for each in total.columns) - 1
    for number, (weight, parts) in enumerate(total.groups):
        flipped = number == 0 and parts[0].sign < 0
        count += len(parts) + (weight != 1 or flipped)
    return count


@every_kernel
def test_operations_are_counted(w):
    found = tap_sum(w)
    assert found is not None
    assert found.counts.operations == operations(found)
    assert found.counts.operations <= 2 * np.count_nonzero(w)
