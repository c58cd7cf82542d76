"""Compare every method with `direct` on generated cases, and test its special cases."""

import os
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import BOUNDARIES, VIEWS, examples, geometries
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from tuning import registered, registered_products, tune

import convcli
from convcli import correlate
from convcli.engine import threads
from convcli.engine.blas import find_blas
from convcli.engine.methods.base import Method
from convcli.engine.methods.dots import Dots
from convcli.engine.methods.full_rank import FullRank
from convcli.engine.planning.facts import tolerance

METHODS = ("gemm", "products", "full_rank", "separable", "fft", "auto")
every_method = pytest.mark.parametrize("method", METHODS)
rng = np.random.default_rng


@pytest.fixture(autouse=True, scope="module")
def named_methods() -> Iterator[None]:
    """Give methods names of their own: for few taps or small work, `gemm` means another one."""
    with registered(FullRank, "full_rank"), registered(Dots, "dots"), registered_products():
        yield


def close(y, expected, x, w) -> None:
    """Return whether two results agree within the error that the contract allows both."""
    bound = 2 * tolerance(y.dtype.name, w.size)
    assert y.dtype == expected.dtype
    assert_allclose(
        y, expected, rtol=0, atol=bound * np.abs(w).sum() * np.abs(x.astype(float)).max()
    )


@every_method
@given(data=st.data())
@examples(120)
def test_small_problems(data, method):
    geometry = data.draw(geometries())
    dtype = data.draw(st.sampled_from(("float32", "float64")))
    x = rng(data.draw(st.integers(0, 99))).standard_normal(geometry.spatial).astype(dtype)
    w = rng(data.draw(st.integers(0, 99))).standard_normal(geometry.window)
    view = data.draw(st.sampled_from(VIEWS))(x)
    y = correlate(view, w, **geometry.given, method=method)
    close(y, correlate(x, w, **geometry.given, method="direct"), np.append(x, geometry.cval), w)


SHAPES = {
    "signal": ((3001,), (9,), None),
    "long kernel": ((5000,), (700,), None),
    "signals": ((300, 40), (7,), (0,)),
    "rows": ((40, 300), (7,), (1,)),
    "image": ((203, 150), (3, 3), None),
    "even kernel": ((203, 150), (6, 8), None),
    "wide image": ((20, 5000), (5, 7), None),
    "many rows": ((31, 33), (25, 29), None),
    "colours": ((70, 61, 3), (4, 3), (0, 1)),
    "channels": ((40, 31, 48), (3, 5), (0, 1)),
    "narrow": ((300, 5, 2), (3, 3), (0, 1)),
    "batch": ((9, 40, 31), (3, 3), (1, 2)),
    "volume": ((20, 22, 24), (3, 4, 5), None),
    "four axes": ((7, 8, 6, 9), (2, 3, 2, 3), None),
}


@every_method
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("case", SHAPES.values(), ids=SHAPES)
def test_strips_and_their_remainders(case, dilation, stride, method):
    shape, window, axes = case
    padding = "valid" if dilation == 1 else "same"
    options = {
        "axes": axes,
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
        "boundary": "symmetric",
    }
    for dtype in ("float32", "float64", "uint8"):
        x = (rng(0).standard_normal(shape) * 50).astype(dtype)
        for w in (rng(1).standard_normal(window), rng(2).integers(-3, 4, window)):
            y, expected = (correlate(x, w, **options, method=each) for each in (method, "direct"))
            close(y, expected, x, w)
            if dtype == "uint8" and w.dtype.kind == "i":
                assert_array_equal(y, expected, "whole numbers are exact")


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_rows_of_the_output_that_do_not_lie_side_by_side(axes, dtype, method):
    x, w = rng(0).standard_normal((140, 150)).astype(dtype), np.outer([1, 2, 3, 2, 4], [1, 3.5, 2])
    expected = correlate(x, w if axes == (0, 1) else w.T, method="direct")
    close(correlate(x, w, axes=axes, method=method), expected, x, w)
    n, m = expected.shape
    room = np.full((2 * m, 3 * n), 7.0, dtype)
    for out in (
        room[:m, :n].T,
        room.T[: 2 * n : 2, :m],
        room.ravel()[: 2 * n * m : 2].reshape(n, m)[::-1, ::-1],
    ):
        out[...] = 7
        close(correlate(x, w, axes=axes, method=method, out=out), expected, x, w)
        out[...] = 7
        assert (room == 7).all(), "nothing is written beside it"


@every_method
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_windows_that_see_nothing_but_padding(boundary, method):
    x, w = rng(0).integers(-9, 9, (3, 7, 5)).astype(np.int16), rng(1).integers(-3, 4, (2, 2, 1))
    options = {"stride": (1, 100, 1), "padding": ((9, 8), (4, 3), (5, 6)), "boundary": boundary}
    padded = np.pad(x, options["padding"], mode=boundary)
    expected = correlate(padded, w, method="direct", stride=options["stride"])
    assert_array_equal(correlate(x, w, **options, method=method), expected)


@every_method
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_where_its_window_goes(bad, boundary, method):
    x = rng(0).standard_normal((61, 70)).astype(np.float32)
    x[11, 69] = x[40, 0] = x[60, 30] = bad
    w = np.outer([1.0, 0, 2, 1, 1], [1, 2, 3, 4, 0])
    options = {"padding": "same", "boundary": boundary}
    y, expected = (correlate(x, w, **options, method=each) for each in (method, "direct"))
    assert_array_equal(np.isfinite(y), np.isfinite(expected))
    finite = np.isfinite(expected)
    assert_allclose(y[finite], expected[finite], atol=1e-3)


@every_method
def test_a_kernel_that_is_not_finite(method):
    x, w = rng(0).standard_normal((30, 40)), rng(1).standard_normal((5, 3))
    w[2, 1] = np.inf
    if method == "separable":
        with pytest.raises(convcli.ConvError, match="nan or inf among its taps"):
            correlate(x, w, method=method)
    else:
        assert_array_equal(
            correlate(x, w, method=method), np.where(x[2:-2, 1:-1] > 0, np.inf, -np.inf)
        )


@every_method
def test_values_whose_squares_overflow(method):
    x = np.full((40, 50), 1e30, np.float32)
    y = correlate(x, np.full((3, 3), 1 / 9), method=method)
    assert_allclose(y, np.float32(1e30), rtol=1e-6)


@pytest.mark.parametrize("taps", [1, 2, 9])
@pytest.mark.parametrize("size", [3, 7])
def test_random_signs_under_few_taps(size, taps):
    """Test the worst input found for a transform, whose error is relative to all samples' RMS."""
    x = np.sign(rng(0).standard_normal((1500, 1500))).astype(np.float32)
    w = np.zeros((size, size))
    w.flat[:taps] = 1 / taps
    y, exact = (correlate(x, w, method="fft", dtype=dtype) for dtype in (np.float32, np.float64))
    assert np.abs(y - exact).max() <= tolerance("float32", size**2)
    assert (convcli.plan(x, w, method="fft").accumulator == "float64") == (size == 3)


def test_whole_numbers_too_large_to_be_rounded_are_refused():
    x, w = np.zeros((300, 300), np.int64), np.ones((40, 40))
    assert "would not be exact" in dict(convcli.plan(x, w).rejected)["fft"]
    with pytest.raises(convcli.ConvError, match="whole numbers as large as these"):
        correlate(x, w, method="fft")


@pytest.mark.parametrize("groups", [1, 2, 16])
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"dilation": 2}, {"stride": 3, "dilation": 2, "padding": "same"}]
)
@pytest.mark.parametrize("space", [(50,), (30, 41), (9, 8, 31)], ids=len)
def test_layers_in_groups(space, options, groups, monkeypatch):
    """Windows are read in place, copied, or used per channel; lines are cut into pieces."""
    tune(monkeypatch, LINE=100)
    x = rng(0).standard_normal((2, *space, 32)).astype(np.float32)
    for filters in (32, 48):
        w = (
            rng(1)
            .standard_normal((filters, *[5, 3, 2][: len(space)], 32 // groups))
            .astype(np.float32)
        )
        y = convcli.conv_layer(x, w, groups=groups, **options, method="gemm")
        close(y, convcli.conv_layer(x, w, groups=groups, **options, method="direct"), x, w[0])
        whole = [np.rint(9 * array) for array in (x, w)]
        y, expected = (
            convcli.conv_layer(*whole, groups=groups, **options, method=m)
            for m in ("gemm", "direct")
        )
        assert_array_equal(y, expected)


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2}, {"dilation": 2}, {"stride": 3, "dilation": 2, "padding": "same"}],
)
@pytest.mark.parametrize("space", [(50,), (30, 41), (9, 14, 31)], ids=len)
def test_a_depthwise_layer(space, options, monkeypatch):
    tune(monkeypatch, LINE=100)
    for dtype in ("float32", "float64"):
        x = rng(0).standard_normal((2, *space, 32)).astype(dtype)
        w = rng(1).standard_normal((32, *[5, 6, 7][-len(space) :], 1)).astype(dtype)
        for bad in (0, np.nan):
            x[(1, *(n // 3 for n in space), 3)] = bad
            y, expected = (
                convcli.conv_layer(x, w, groups=32, **options, method=method)
                for method in ("gemm", "direct")
            )
            assert_allclose(y, expected, atol=1e-4 if dtype == "float32" else 1e-12)
        whole = [np.rint(9 * np.nan_to_num(array)) for array in (x, w)]
        y, expected = (
            convcli.conv_layer(*whole, groups=32, **options, method=method)
            for method in ("gemm", "direct")
        )
        assert_array_equal(y, expected)


def test_large_kernels_are_transformed():
    x = np.zeros((2000, 2000), np.float32)
    assert convcli.plan(x, rng(0).standard_normal((31, 31))).method == "fft"
    assert convcli.plan(x.ravel(), rng(0).standard_normal(2000)).method == "fft"
    assert "fft" in dict(convcli.plan(x, rng(0).standard_normal((3, 3))).rejected)


@every_method
@pytest.mark.parametrize("size", [31, 81])
def test_flat_inputs_under_long_boxes(size, method):
    """Equal terms are all rounded in the same direction."""
    w = np.full((size, size), 1 / size**2)
    for value in rng(size).uniform(0.5, 1, 20).astype(np.float32):
        y = correlate(np.full((size + 3, size + 20), value), w, method=method)
        assert np.abs(y / np.float64(value) - 1).max() <= tolerance("float32", size**2)


def test_the_same_bytes_whatever_the_threads(set_threads):
    x, w = rng(0).standard_normal((700, 900)).astype(np.float32), rng(1).standard_normal((7, 7))
    bank = rng(2).standard_normal((8, 5, 5, 4)).astype(np.float32)
    results = set()
    for count in (1, 2, 3, 8):
        set_threads(count)
        images = [correlate(x, w, method=method).tobytes() for method in ("direct", *METHODS)]
        layer = convcli.conv_layer(x.reshape(1, 700, 225, 4), bank).tobytes()
        results.add((*images, layer))
    assert len(results) == 1


def test_the_product_library_gets_its_threads_back():
    library = find_blas()
    if library is None:
        pytest.skip("numpy brings no OpenBLAS of its own")
    before = library.get_threads()
    seen = []
    threads.share_out(lambda _: seen.append(library.get_threads()), range(4), workers=2)
    assert seen == [1] * 4
    assert library.get_threads() == before


def test_an_exception_in_a_worker_is_raised_and_ends_the_work():
    done = []

    def work(item: int) -> None:
        if item == 3:
            raise ValueError("three")
        done.append(item)

    with pytest.raises(ValueError, match="three"):
        threads.share_out(work, range(1000), workers=2)
    assert len(done) < 1000


def test_a_thread_that_wakes_when_all_is_done_is_not_waited_for(monkeypatch):
    awake, done = threading.Event(), []
    submit = ThreadPoolExecutor.submit
    monkeypatch.setattr(
        ThreadPoolExecutor,
        "submit",
        lambda pool, call: submit(pool, lambda: awake.wait() and call()),
    )
    threads.share_out(done.append, range(10), workers=2)
    assert sorted(done) == list(range(10))
    awake.set()
    threads.share_out(done.append, range(10, 20), workers=2)
    assert sorted(done) == list(range(20))


def test_what_a_thread_has_in_hand_is_waited_for():
    begun, done = threading.Barrier(2, timeout=60), []

    def work(item: int) -> None:
        begun.wait()
        done.append(item)

    threads.share_out(work, range(20), workers=2)
    assert sorted(done) == list(range(20))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinities")
def test_threads_avoid_the_core_of_the_calling_thread():
    allowed, found, own = os.sched_getaffinity(0), [], []
    begun = threading.Barrier(2, timeout=60)

    def work(_: int) -> None:
        begun.wait()
        main = threading.current_thread() is threading.main_thread()
        (own if main else found).append(os.sched_getaffinity(0))

    for _ in range(20):  # the first calls start the threads
        threads.share_out(work, range(2), workers=2)
    assert os.sched_getaffinity(0) == allowed
    assert len(found[-1]) == max(len(allowed) - 1, 1)
    assert found[-1] <= allowed
    assert len(own[-1]) == 1
    assert found[-1] == allowed - own[-1] or len(allowed) == 1


def test_the_plan_says_what_it_rejected():
    x = np.zeros((500, 500), np.float32)
    gaussian = convcli.plan(x, np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256)
    assert gaussian.method == "separable"
    assert {name for name, _ in gaussian.rejected} >= {"direct", "gemm"}
    assert "product of 1-D factors" in gaussian.reason
    assert convcli.plan(x, rng(0).standard_normal((7, 7))).method == "gemm"
    assert convcli.plan(x[:5, :5], np.ones((2, 2))).method == "gemm"
    assert 0 < gaussian.seconds < 1


def test_separable_is_rejected_for_the_true_reason():
    sobel, cross = np.outer([1, 2, 1], [-1, 0, 1]), np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    small, large = np.zeros((90, 90), np.float32), np.zeros((1000, 1000), np.float32)
    assert (
        "would take longer than they save" in dict(convcli.plan(small, sobel).rejected)["separable"]
    )
    assert "not a short sum" not in str(convcli.plan(large, sobel).rejected)
    assert (
        "not a short sum of exact products"
        in dict(convcli.plan(large, cross).rejected)["separable"]
    )
    assert (
        "not a short sum of exact products"
        in dict(convcli.plan(large, cross * np.nan).rejected)["separable"]
    )


@pytest.mark.parametrize("method", ["separable", "fft"])
def test_a_bank_is_neither_separable_nor_transformed(method):
    with pytest.raises(convcli.ConvError, match=f"method {method}"):
        convcli.conv_layer(np.ones((1, 5, 5, 2)), np.ones((2, 3, 3, 2)), method=method)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(16384, 16384), (2048, 16384), (16384, 16384, 3), (16384, 400), (100_000_000,)]
)
def test_working_memory_is_bounded(shape, dtype, set_threads):
    """By what the plan states, for two threads."""
    set_threads(2)
    x, dims = np.broadcast_to(np.array(0, dtype), shape), min(len(shape), 2)
    for k in (3, 9, 25, 31, 101):
        for w in (np.ones((k,) * dims), rng(0).standard_normal((k,) * dims)):
            for options in ({}, {"stride": 2}, {"dtype": "uint8"}):
                plan = convcli.plan(
                    x, w, axes=range(dims), padding="same", boundary="reflect", **options
                )
                assert plan.memory <= 64 << 20, (plan.memory, k, options, plan.tile, plan.method)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("shape", "window", "options"),
    [
        ((900, 1100), (3, 3), {}),
        ((900, 1100), (3, 3), {"dtype": "uint8", "padding": "same"}),
        ((900, 1100, 3), (9, 9), {"padding": "same", "boundary": "wrap"}),
        ((900, 1100), (25, 1), {"padding": "same", "boundary": "edge"}),
        ((900, 1100), (7, 7), {"method": "separable", "stride": 2}),
        ((900, 1100), (31, 31), {"method": "fft"}),
        ((900, 1100), (3, 3), {"method": "direct", "padding": "same"}),
        ((60, 70, 80), (3, 3, 3), {"padding": "same"}),
        ((3_000_000,), (65,), {}),
        ((3_000_000,), (65,), {"padding": "same", "boundary": "reflect"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_plan_states_what_is_held(dtype, shape, window, options, threads, set_threads):
    set_threads(threads)
    x, w = rng(0).integers(0, 256, shape).astype(dtype), rng(1).random(window)
    options = {"axes": range(len(window)), **options}
    if options.get("method") == "separable":
        w = np.outer(w[0], w[1])
    _held(x, w, convcli.correlate, options)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("shape", "bank", "options"),
    [
        ((8, 28, 28, 64), (64, 3, 3, 64), {"padding": "same"}),
        ((4, 60, 60, 3), (32, 7, 7, 3), {"stride": 2}),
        ((4, 40, 40, 32), (32, 3, 3, 4), {"groups": 8, "padding": "same"}),
        ((4, 60, 60, 32), (32, 3, 3, 1), {"groups": 32, "padding": "same"}),
        ((8, 7, 7, 256), (256, 3, 3, 256), {}),
    ],
    ids=str,
)
def test_the_plan_states_what_a_layer_holds(shape, bank, options, threads, set_threads):
    """Besides the kernels, which stand turned over as often as they do as they are."""
    set_threads(threads)
    x, w = (rng(0).standard_normal(size).astype(np.float32) for size in (shape, bank))
    _held(x, w, convcli.conv_layer, options)


def _held(x, w, operation, options):
    plan = convcli.plan(
        x, w, **({"groups": 1} if operation is convcli.conv_layer else {}) | options
    )
    tracemalloc.start()
    try:
        operation(x, w, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    spent = peak - plan.output_bytes - 4 * w.nbytes
    assert spent <= plan.memory + (256 << 10), (spent, plan.memory, plan)


@pytest.mark.parametrize("padding", [((0, 0), (0, 1)), ((2, 0), (0, 3)), "same"])
@pytest.mark.parametrize(("width", "channels"), [(22, 1), (31, 1), (9, 3), (40, 1)])
def test_a_narrow_picture_is_not_cut_across(width, channels, padding, monkeypatch):
    """Its rows are woven into the band whole: cut where padding begins, they were read beyond their
    end.
    """
    monkeypatch.setattr(Method, "worth_sharing", 0)
    x, w = (
        rng(width).random((3000, width, channels), np.float32),
        np.outer(rng(1).random(4), rng(2).random(2)),
    )
    for stride in (1, 2):
        given = {"axes": (0, 1), "padding": padding, "boundary": "reflect", "stride": stride}
        exact = correlate(x, w, method="direct", **given)
        assert_allclose(correlate(x, w, method="separable", **given), exact, rtol=1e-5)


def test_nor_under_a_kernel_that_reaches_far():
    x, down, across = (
        rng(0).random((53_100, 22), np.float32),
        rng(1).random(53_000),
        rng(2).random(3),
    )
    y = correlate(x, np.outer(down, across), method="separable")
    assert_allclose(y[77, 13], down @ x[77 : 77 + 53_000, 13:16].astype(float) @ across, rtol=1e-5)


@pytest.mark.parametrize("k", [3, 5, 9, 11])
@pytest.mark.parametrize("width", [100, 4900, 5004, 5011, 5020, 9000])
def test_a_kernel_is_one_piece_at_any_width(width, k):
    """A piece more is a pass more over all outputs: at some widths a row once had a few values too
    many.
    """
    w = rng(k).standard_normal((k, k)).astype(np.float32)
    plan = convcli.plan(np.broadcast_to(np.float32(0), (300, width)), w, method="gemm")
    assert len(plan.implementation.prepare(w, plan).pieces) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("taps", range(1, 11))
def test_short_signals_are_dot_products(taps, dtype):
    w = rng(taps).standard_normal(taps)
    for shape, axes in (((1000,), None), ((3, 90), (1,)), ((taps,), None)):
        x = (rng(0).standard_normal(shape) * 50).astype(dtype)
        for padding in ("valid", "same", "full"):
            options = {"axes": axes, "padding": padding}
            y, expected = (correlate(x, w, **options, method=m) for m in ("dots", "direct"))
            close(y, expected, x, w)


def test_the_signals_that_dot_products_are_for():
    assert "dot product" in convcli.plan(np.zeros(20_000, np.float32), np.arange(9)).reason
    with pytest.raises(convcli.ConvError, match="up to 10 taps"):
        correlate(np.zeros(30_000), np.arange(11), method="dots")


def test_small_work_is_one_product_over_copied_windows():
    x, w = rng(0).standard_normal((16, 16, 4)), rng(1).standard_normal((3, 3))
    small, large = (convcli.plan(np.tile(x, (n, 1, 1)), w, axes=(0, 1)) for n in (1, 90))
    assert "copied windows" in small.reason
    assert dict(small.rejected)["fft"] == "the work is too small for it to be faster"
    assert "copied windows" not in large.reason
    assert "times the work" in dict(large.rejected)["fft"]
    assert small.threads == 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "bool"])
def test_small_work_fills_an_output_with_gaps(dtype):
    x = (rng(0).standard_normal((2, 9, 12, 4)) * 50).astype(dtype)
    w = rng(1).standard_normal((3, 2))
    filled = np.full((2, 18, 36, 4), 7, np.float32)
    options = {"axes": (1, 2), "padding": "same", "dilation": (1, 2)}
    y = correlate(x, w, **options, dtype="float32", out=filled[:, ::2, ::3])
    close(y, correlate(x, w, **options, dtype="float32", method="direct"), x, w)
    filled[:, ::2, ::3] = 7
    assert (filled == 7).all()


def test_an_overflow_of_a_part_of_a_dot_product():
    x = np.array([3e38, 3e38, -3e38, 1, np.inf, 1, np.nan, 1, 1], np.float32)
    with np.errstate(all="raise"):
        y = correlate(x, np.ones(3))
    assert_array_equal(y, np.float32([3e38, 1, np.inf, np.inf, np.nan, np.nan, np.nan]))
