"""Test the contract of the numbers: exact integers, bounded errors of floats, the same bytes."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import reference
from cases import BOUNDARIES, examples, geometries
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from tuning import registered_products, tune

from convcli import ConvError, conv_layer, conv_transpose, convolve, correlate, gradients
from convcli.engine.planning.facts import tolerance
from convcli.engine.rounding import round_into

ROOT = Path(__file__).parents[2]
METHODS = ("direct", "gemm", "products")
every_method = pytest.mark.parametrize("method", METHODS)
rng = np.random.default_rng


@pytest.fixture(autouse=True, scope="module")
def products() -> Iterator[None]:
    """Test the methods for larger work on small arrays too."""
    with registered_products():
        yield


# Integers are exact.


@every_method
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint32"])
def test_integers_are_exact_beyond_the_mantissa_of_float32(dtype, method):
    info = np.iinfo(dtype)
    x = rng(0).integers(info.min, info.max, (9, 9, 2), dtype, endpoint=True)
    w = rng(1).integers(-99_999, 99_999, (3, 3))
    seen = np.lib.stride_tricks.sliding_window_view(x.astype(object), (3, 3), (0, 1))
    exact = np.array((seen * w.astype(object)).sum((-2, -1)).tolist())
    assert np.abs(exact).max() > 1 << 24
    assert_array_equal(correlate(x, w, axes=(0, 1), dtype="int64", method=method), exact)
    assert_array_equal(correlate(x, w, axes=(0, 1), dtype="float64", method=method), exact)
    y = correlate(x, w, axes=(0, 1), method=method)
    assert_array_equal(y, exact.astype(y.dtype), "rounded once, at the end")
    layer = conv_layer(x[None], np.stack([w, -w])[..., None] * [1, 2], dtype="int64", method=method)
    assert_array_equal(layer[0, ..., 0], exact[..., 0] + 2 * exact[..., 1])
    assert_array_equal(layer[0, ..., 1], -layer[0, ..., 0])


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whole_numbers_in_floats_are_exact_up_to_the_mantissa(dtype, method):
    limit = 1 << (24 if dtype == "float32" else 53)
    x = np.array([limit // 4, limit // 4 + 1, limit // 4 - 1, limit // 4], dtype)
    assert correlate(x, [1, 1, 1, 1], method=method)[0] == limit
    assert correlate(x, [1, 1, 1, 1], method=method).dtype == dtype


@every_method
def test_a_long_sum_of_integers_is_exact(method):
    x, w = np.full(67_000, 255, np.uint8), np.ones(66_001)
    assert_array_equal(correlate(x, w, dtype="int64", method=method), np.full(1000, 255 * 66_001))


@every_method
def test_nothing_wraps(method):
    x = np.full((6, 6), 200, np.uint8)
    assert_array_equal(
        correlate(x, np.ones((3, 3), np.uint8), method=method), np.full((4, 4), 1800)
    )
    assert_array_equal(
        correlate(x, np.ones((3, 3)), dtype="uint8", method=method), np.full((4, 4), 255)
    )
    assert_array_equal(
        correlate(x, -np.ones((3, 3)), dtype="uint8", method=method), np.zeros((4, 4))
    )
    laplacian = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    assert not correlate(x, laplacian, method=method).any()
    assert not correlate(x, laplacian, padding="same", boundary="edge", method=method).any()
    small = np.full((6, 6), -128, np.int8)
    assert_array_equal(correlate(small, [[-1]], method=method), np.full((6, 6), 128))


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
)
def test_integer_results_round_half_to_even_and_saturate(dtype):
    info = np.iinfo(dtype)
    values = np.array(
        [0.5, 1.5, 2.5, 3.49, -0.5, -1.5, -2.5, np.nan, np.inf, -np.inf, 1e300, -1e300]
    )
    low = (lambda v: v) if info.min else (lambda v: max(v, 0))
    expected = [0, 2, 2, 3, 0, low(-2), low(-2), 0, info.max, info.min, info.max, info.min]
    assert_array_equal(correlate(values, [1.0], dtype=dtype), np.array(expected, dtype))
    edge = float(info.max)
    ends = np.array(
        [edge, np.nextafter(edge, np.inf), 2 * edge, float(info.min), 2.0 * info.min - 1]
    )
    y = correlate(ends, [1.0], dtype=dtype)
    assert y.tolist() == [info.max] * 3 + [info.min] * 2
    inside = np.nextafter(edge, 0)
    assert correlate([inside], [1.0], dtype=dtype)[0] == (
        round(inside) if edge > info.max else info.max
    )


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_float32_values_saturate_in_types_wider_than_their_mantissa(dtype):
    info = np.iinfo(dtype)
    out = np.empty(5, dtype)
    round_into(np.array([np.inf, info.max, np.nan, -1e30, 16777216], np.float32), out)
    assert out.tolist() == [info.max, info.max, 0, info.min, 16777216]


@every_method
@pytest.mark.parametrize("source", ["uint8", "int8", "int16", "uint16"])
@pytest.mark.parametrize("target", ["uint8", "int8", "int16"])
@pytest.mark.parametrize("cval", [0.0, 900.0, np.nan])
def test_what_is_known_of_the_sums_changes_none(source, target, cval, method):
    """Kernels whose sums fit the type for any input, barely fit, or do not fit."""
    info, taps = np.iinfo(source), rng(0).random((3, 3))
    x = rng(1).choice([info.min, info.max, 0, 1], (40, 50)).astype(source)
    x[:9, :9], x[9:18, :9] = info.max, info.min
    for scale in (0.5, 1.0, 1.0 + 1e-9, 1.1, -1.0, np.inf):
        w = np.full((3, 3), 1e38) if scale == np.inf else scale * taps / taps.sum()
        options = {"padding": "same", "cval": cval, "method": method}
        with np.errstate(invalid="ignore"):
            expected = np.empty(x.shape, target)
            round_into(correlate(x, w, **options), expected)
        assert_array_equal(correlate(x, w, dtype=target, **options), expected)


def test_the_extremes_of_64_bits_pass_through():
    for dtype in ("int64", "uint64"):
        info = np.iinfo(dtype)
        x = np.array([info.min, info.max, 0, 1 << 52], dtype)
        assert correlate(x, [1], dtype=dtype).tolist() == x.tolist()


# Floats are bounded.


def worst_error(y, exact, w, x) -> float:
    """Return the largest error in units of the bound; each kernel of a bank has its own sum|w|."""
    taps = np.abs(np.asarray(w, np.longdouble)).reshape(y.shape[-1] if w.ndim == x.ndim else 1, -1)
    scale = taps.sum(-1) * np.abs(x).max().astype(np.longdouble)
    return float((np.abs(y.astype(np.longdouble) - exact) / scale).max()) / tolerance(
        y.dtype.name, taps.shape[1]
    )


@pytest.mark.parametrize(
    ("terms", "dtype", "bound"),
    [
        (1, "float32", 1e-6),
        (48, "float32", 1e-6),
        (49, "float32", 1e-5),
        (48, "float64", 1e-14),
        (49, "float64", 1e-13),
    ],
)
def test_the_bound_itself(terms, dtype, bound):
    assert tolerance(dtype, terms) == bound


def exact_correlation(x, w):
    """Correlate in extended precision, tap by tap; x may have one more axis, of channels."""
    sizes = [n - k + 1 for n, k in zip(x.shape, w.shape, strict=True)]
    total = np.zeros(sizes, np.longdouble)
    for tap in np.ndindex(*w.shape):
        seen = x[tuple(slice(t, t + size) for t, size in zip(tap, sizes, strict=True))]
        total += seen.astype(np.longdouble) * np.longdouble(w[tap])
    return total


HARD = {
    "3x3": (3, 3),
    "5x5": (5, 5),
    "7x7": (7, 7),
    "24x24": (24, 24),
    "25x25": (25, 25),
    "63x63": (63, 63),
    "1025 taps": (1025,),
    "17x17x17": (17, 17, 17),
}


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("window", HARD.values(), ids=HARD)
def test_the_error_of_a_correlation(window, dtype, method):
    """Use random values, equal terms (rounded in one direction), and one dominant tap."""
    shape = tuple(k + 3 for k in window)
    signed, positive = rng(0).standard_normal(shape), rng(1).random(shape)
    flat = [np.full(shape, value) for value in (0.1, 0.3, 0.7, 1 / 3, 0.9)]
    tall = np.full(window, 0.02)
    tall[(0,) * len(window)] = 1.3
    kernels = [
        rng(2).standard_normal(window),
        np.ones(window),
        np.full(window, 0.1),
        np.full(window, 1 / 3),
        tall,
    ]
    for x in (signed, positive, *flat):
        x = x.astype(dtype)
        for w in kernels:
            y = correlate(x, w, method=method)
            assert worst_error(y[..., None], exact_correlation(x, w)[..., None], w, x) <= 1


def test_no_constant_breaks_the_bound_under_a_small_kernel():
    """Thousands of constants keep to the bound; sums of equal terms round in the same direction."""
    for k in (2, 3, 4, 5, 7, 8, 24):
        w = np.ones((k, k))
        x = np.broadcast_to(rng(k).uniform(0.5, 1, 5000).astype(np.float32), (k, k, 5000))
        for method in METHODS:
            y = correlate(x, w, axes=(0, 1), method=method)[0, 0]
            error = np.abs(y - x[0, 0].astype(float) * k * k) / (k * k * x[0, 0])
            assert error.max() <= tolerance("float32", k * k)


@every_method
@pytest.mark.parametrize("terms", [9, 16, 27, 64, 600])
def test_no_constant_breaks_the_bound_of_a_layer(terms, method):
    """One large term and many small ones, each rounded at the large one's magnitude."""
    x = np.broadcast_to(
        rng(terms).uniform(0.5, 1, 2000).astype(np.float32)[:, None], (1, 2000, terms)
    )
    for low, tall in rng(1).uniform([0.01, 0.5], [1, 8], (40, 2)):
        w = np.full((8, 1, terms), low, np.float32)
        w[..., 0] = tall
        exact = x[0, :, 0].astype(float) * w[0].astype(float).sum()
        y = conv_layer(x, w, method=method)[0, :, 0]
        assert np.abs(y / exact - 1).max() <= tolerance("float32", terms)


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "bank", [(4, 3, 3, 512), (8, 3, 3, 16), (1, 1, 1, 4096), (5, 7, 7, 3), (3, 1, 1, 20)], ids=str
)
def test_the_error_of_a_layer(bank, dtype, method):
    filters, *window, depth = bank
    shape = (1, *(k + 2 for k in window), depth)
    inputs = [
        rng(0).standard_normal(shape),
        rng(1).random(shape),
        np.full(shape, 0.1),
        np.full(shape, 0.7),
    ]
    tall = np.full(bank, 0.02)
    tall[..., 0] = 1.3
    kernels = [rng(2).standard_normal(bank), np.full(bank, 0.1), np.full(bank, 1 / 3), tall]
    for x in (x.astype(dtype) for x in inputs):
        for w in (w.astype(dtype) for w in kernels):
            y = conv_layer(x, w, method=method)
            exact = np.stack(
                [exact_correlation(x[0], w[o])[..., 0] for o in range(filters)], axis=-1
            )
            assert worst_error(y, exact[None], w, x) <= 1


@pytest.mark.parametrize("terms", [27, 96, 147, 150, 160, 256, 576, 4608])
def test_unlike_taps_keep_to_the_bound_at_their_worst(terms):
    """Use kernels of one sign, and inputs close to their maximum: constant ones and noise."""
    taps = rng(terms).random((16, 1, terms)).astype(np.float32)
    flat = np.broadcast_to(rng(0).uniform(0.5, 1, 2048).astype(np.float32)[:, None], (2048, terms))
    noise = (1 - rng(1).random((2048, terms)) / 16).astype(np.float32)
    x = np.concatenate([flat, noise])[None]
    for w in (taps, np.sort(taps, axis=-1)[..., ::-1], np.sort(taps**2, axis=-1)[..., ::-1]):
        exact = x[0].astype(float) @ w[:, 0].astype(float).T
        scale = w[:, 0].astype(float).sum(axis=1) * x.max(axis=(0, 2), keepdims=True)[0]
        assert (np.abs(conv_layer(x, w)[0] - exact) / scale).max() <= tolerance("float32", terms)


WORST = (2, 48, 49, 383, 384, 385, 1000, 4608)


def worst_taps(terms: int) -> list[np.ndarray]:
    """Return equal taps of inexact values, and taps with one large one, which rounds the others."""
    tall = [np.r_[1.0, np.full(terms - 1, low)] for low in (1e-4 / 3, 3e-7)]
    return [np.full(terms, 0.1), np.full(terms, 1 / 3), np.ones(terms), *tall]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["direct", "gemm", "separable", "fft", "auto"])
@pytest.mark.parametrize("terms", WORST)
def test_flat_inputs_are_the_worst_of_a_correlation(terms, method, dtype):
    """Test a signal, and a picture if the taps form a rectangle, with many constants."""
    flat = np.r_[0.1, 1 / 3, 0.7, 1.0, rng(terms).uniform(0.5, 1, 60)].astype(dtype)
    sides = next(n for n in (64, 25, 24, 8, 7, 6, 5, 2, 1) if terms % n == 0)
    for w in worst_taps(terms):
        for window in {(terms,), (terms // sides, sides)}:
            taps = w.reshape(window)
            x = np.broadcast_to(flat, (*(k + 1 for k in window), flat.size))
            y = correlate(x, taps, axes=range(len(window)), method=method)
            exact = flat.astype(np.longdouble) * taps.astype(np.longdouble).sum()
            assert y.dtype == dtype
            assert np.abs(y / exact - 1).max() <= tolerance(dtype, terms)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["direct", "gemm"])
@pytest.mark.parametrize("terms", WORST)
def test_flat_inputs_are_the_worst_of_a_layer(terms, method, dtype):
    """All terms are channels, or channels times windows of three taps, which are read in place."""
    flat = np.r_[0.1, 1 / 3, 0.7, 1.0, rng(terms).uniform(0.5, 1, 60)].astype(dtype)
    for w in worst_taps(terms):
        for k in (1, 3) if terms % 3 == 0 else (1,):
            bank = np.broadcast_to(w.astype(dtype).reshape(k, -1), (4, k, terms // k))
            x = np.broadcast_to(flat[:, None, None], (flat.size, 40, terms // k))
            y = conv_layer(x, bank, method=method)
            exact = flat.astype(np.longdouble) * w.astype(dtype).astype(np.longdouble).sum()
            assert np.abs(y / exact[:, None, None] - 1).max() <= tolerance(dtype, terms)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [2, 5, 7, 20, 21])
def test_flat_inputs_are_the_worst_of_a_depthwise_layer(k, dtype):
    flat = np.r_[0.1, 1 / 3, 0.7, rng(k).uniform(0.5, 1, 61)].astype(dtype)
    x = np.broadcast_to(flat, (1, k + 20, k + 20, flat.size))
    for w in worst_taps(k * k):
        bank = np.broadcast_to(w.astype(dtype).reshape(k, k), (flat.size, k, k))[..., None]
        exact = flat.astype(np.longdouble) * w.astype(dtype).astype(np.longdouble).sum()
        y = conv_layer(x, bank, groups=flat.size)
        assert np.abs(y / exact - 1).max() <= tolerance(dtype, k * k)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.1, 0.7])
def test_the_error_of_the_adjoints(value, dtype):
    """Outputs of the transposed layer and of dx sum 512 channels; dw and db sum 4096 deltas."""
    bound = tolerance(dtype, 4096)
    x, w = np.full((2, 36, 512), value, dtype), np.full((512, 3, 4), value, dtype)
    square = np.longdouble(x[0, 0, 0]) ** 2
    y = conv_transpose(x, w)[:, 2:-2]
    assert np.abs(y / (3 * 512 * square) - 1).max() <= bound
    x, dy = np.full((1, 4098, 4), value, dtype), np.full((1, 4096, 512), value, dtype)
    dx, dw, db = gradients(x, w, dy)
    assert np.abs(dx[:, 2:-2] / (3 * 512 * square) - 1).max() <= bound
    assert np.abs(dw / (4096 * square) - 1).max() <= bound
    assert np.abs(db / (4096 * np.longdouble(dy[0, 0, 0])) - 1).max() <= bound
    assert y.dtype == dx.dtype == dw.dtype == db.dtype == dtype


def test_transposed_integers_are_exact_beyond_the_mantissa_of_float32():
    x, w = np.full((1, 1, 3), 65535, np.uint16), np.array([[[65535]], [[-65535]], [[1]]])
    assert conv_transpose(x, w).ravel().tolist() == [65535]


# A NaN or an infinity changes only the outputs whose windows cover it.


@given(st.data())
@examples(120)
def test_what_is_not_finite_reaches_the_outputs_whose_window_covers_it(data):
    geometry = data.draw(geometries(st.integers(1, 3)))
    bad = data.draw(st.sampled_from((np.nan, np.inf, -np.inf)))
    x, marked = np.ones(geometry.spatial), np.zeros(geometry.spatial)
    for _ in range(data.draw(st.integers(1, 2))):
        at = tuple(data.draw(st.integers(0, n - 1)) for n in geometry.spatial)
        x[at], marked[at] = bad, 1
    w = rng(data.draw(st.integers(0, 99))).integers(-2, 3, geometry.window).astype(float)
    covered = (
        reference.correlate(marked, np.ones(geometry.window), **{**geometry.literal, "cval": 0.0})
        > 0
    )
    with np.errstate(invalid="ignore"):
        expected = reference.correlate(x, w, **geometry.literal)
    for method in METHODS:
        for dtype in ("float32", "float64"):
            y = correlate(x.astype(dtype), w, **geometry.given, method=method)
            assert_array_equal(np.isfinite(y), ~covered)
            assert_array_equal(y, expected)


@every_method
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_nan_in_one_channel_stays_in_its_group(boundary, method):
    x, w = np.ones((2, 7, 7, 4), np.float32), rng(0).standard_normal((6, 3, 3, 2))
    x[1, 3, 3, 2] = np.nan
    y = conv_layer(x, w, groups=2, padding="same", boundary=boundary, method=method)
    expected = np.zeros(y.shape, bool)
    expected[1, 2:5, 2:5, 3:] = True
    assert_array_equal(np.isnan(y), expected)


@every_method
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
@pytest.mark.parametrize("size", [5, 43])
def test_a_nan_outside_reaches_the_windows_that_leave_the_input(size, dtype, method):
    x = np.ones((size, size), dtype)
    y = correlate(x, np.zeros((3, 3)), padding="same", cval=np.nan, method=method)
    inner = np.zeros(x.shape, bool)
    inner[1:-1, 1:-1] = True
    assert_array_equal(np.isnan(y), ~inner)


@every_method
def test_a_nan_in_the_kernel_reaches_everything_of_its_filter(method):
    w = np.ones((2, 3, 1))
    w[0, 1] = np.nan
    y = conv_layer(np.ones((1, 5, 1)), w, method=method)
    assert_array_equal(np.isnan(y), np.broadcast_to([True, False], y.shape))


# The same bytes.

BYTES = """
import hashlib
import numpy as np
import convcli
rng = np.random.default_rng(0)
digest = hashlib.sha256()
for dtype in ("float32", "float64"):
    x = rng.standard_normal((3, 37, 41, 24)).astype(dtype)
    w = rng.standard_normal((17, 3, 3, 24)).astype(dtype)
    long, taps = rng.standard_normal(40_000).astype(dtype), rng.standard_normal(1025)
    for method in ("auto", "direct", "gemm"):
        digest.update(convcli.conv_layer(x, w, stride=2, padding="same", method=method).tobytes())
        digest.update(convcli.conv_layer(x, w[:1], method=method).tobytes())
        digest.update(convcli.correlate(x, w[0, ..., :1, 0], axes=(1, 2), method=method).tobytes())
        digest.update(convcli.correlate(long, taps, method=method).tobytes())
print(digest.hexdigest())
"""


def test_the_same_bytes_run_after_run_whatever_the_threads():
    digests = set()
    for threads in ("1", "2", "2"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        run = subprocess.run(
            [sys.executable, "-c", BYTES],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(run.stdout)
    assert len(digests) == 1


@every_method
def test_the_same_result_in_any_memory_order(method):
    x, w = (
        rng(0).standard_normal((6, 20, 21, 5)).astype(np.float32),
        rng(1).standard_normal((4, 3, 3, 5)),
    )
    y = conv_layer(x, w, method=method)
    for view in (np.flip(np.flip(x).copy()), x.astype(">f4")):
        assert conv_layer(view, w, method=method).tobytes() == y.tobytes()
    bound = 2 * tolerance("float32", w[0].size) * np.abs(w).sum() * np.abs(x).max()
    for view in (np.asfortranarray(x), x.transpose(3, 1, 0, 2).copy().transpose(2, 1, 3, 0)):
        assert np.abs(conv_layer(view, w, method=method) - y).max() <= bound


# Inputs are not changed.


@every_method
def test_inputs_are_never_modified(method):
    x, w, bias = (
        rng(0).standard_normal((2, 9, 9, 4)),
        rng(1).standard_normal((4, 3, 3, 2)),
        rng(2).standard_normal(4),
    )
    arrays = (x, w, bias)
    before = [hashlib.sha256(array).hexdigest() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    for boundary in BOUNDARIES:
        options = {"padding": 2, "boundary": boundary, "groups": 2}
        y = conv_layer(x, w, bias, method=method, **options)
        gradients(x, w, y, **options)
        conv_transpose(x, w, None, groups=2)
        correlate(x, w[0, ..., 0], axes=(1, 2), padding="same", boundary=boundary, method=method)
        convolve(x, w[0, ..., 0], axes=(1, 2), method=method, dtype="uint8")
    assert [hashlib.sha256(array).hexdigest() for array in arrays] == before


@every_method
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_read_only_memory_map_of_any_stride_order(tmp_path, order, method):
    values = rng(0).integers(0, 255, (11, 12, 13), np.uint8)
    np.save(tmp_path / "x.npy", values)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")[::-1].transpose(order)
    w = rng(1).integers(-3, 4, (3, 2))
    plain = np.array(values[::-1].transpose(order))
    y = correlate(x, w, axes=(0, 2), padding="same", boundary="wrap", method=method)
    assert_array_equal(
        y, correlate(plain, w, axes=(0, 2), padding="same", boundary="wrap", method="direct")
    )
    assert type(y) is np.ndarray


# out=


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64", "float16"])
def test_out_is_filled_and_returned(dtype, method):
    x, w = rng(0).integers(0, 9, (8, 9, 3)), np.ones((3, 3))
    expected = correlate(x, w, axes=(0, 1), dtype=dtype, method=method)
    out = np.full((6, 7, 3), 99, dtype)
    for _ in range(2):
        assert correlate(x, w, axes=(0, 1), out=out, method=method) is out
        assert_array_equal(out, expected)
    strided = np.zeros((3, 14, 6), dtype).transpose(2, 1, 0)[:, ::2]
    assert correlate(x, w, axes=(0, 1), out=strided, method=method) is strided
    assert_array_equal(strided, expected)


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        (np.empty((5, 5)), {}, "out is 5x5 float64; expected 4x4 float64"),
        (
            np.empty((4, 4), np.float32),
            {"dtype": "float64"},
            "out is 4x4 float32; expected 4x4 float64",
        ),
        (np.empty((4, 4), bool), {}, "dtype bool; expected an integer or a float"),
        (
            np.broadcast_to(0.0, (4, 4)),
            {},
            "out is read-only; expected an array that can be written",
        ),
    ],
    ids=["shape", "dtype", "bool", "read-only"],
)
def test_an_out_that_does_not_fit(out, options, message):
    with pytest.raises(ConvError) as caught:
        correlate(np.ones((6, 6)), np.ones((3, 3)), out=out, **options)
    assert message in str(caught.value)


@every_method
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_out_may_be_the_input_or_the_kernel_or_lie_across_them(padding, method, monkeypatch):
    """Row by row, so that a row written would be read again."""
    tune(monkeypatch, TILE_VALUES=1)
    values, w = rng(0).standard_normal((12, 12)), rng(1).standard_normal((5, 1))
    options = {"padding": padding, "method": method}
    expected = correlate(values, w, **options)
    rows = len(expected)
    x = values.copy()
    assert_array_equal(correlate(x, w, out=x[:rows], **options), expected)
    room = np.concatenate([values, np.zeros((2, 12))])
    assert_array_equal(correlate(room[:12], w, out=room[2 : 2 + rows], **options), expected)
    square = rng(2).standard_normal((5, 5))
    expected = correlate(values, square, padding="same", method=method)
    taps = np.zeros((12, 12))
    taps[:5, :5] = square
    assert_array_equal(
        correlate(values, taps[:5, :5], padding="same", out=taps, method=method), expected
    )
