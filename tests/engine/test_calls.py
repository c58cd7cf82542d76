"""Test calls that are planned once and run again, and the order of axes that they compute in."""

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from convcli import ConvError, conv_layer, convolve, correlate
from convcli.engine import calls as remembered
from convcli.engine import threads
from convcli.engine.memory_order import in_memory_order
from convcli.engine.problem import layer_problem, spatial_problem

rng = np.random.default_rng


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """Begin with no calls."""
    monkeypatch.setattr(remembered, "calls", remembered.RememberedCalls())
    return remembered.calls


def picture(*shape):
    return rng(0).standard_normal(shape).astype(np.float32)


def test_a_repeated_call_is_planned_once(calls):
    w = rng(1).standard_normal((3, 3))
    results = {correlate(picture(9, 9), w, padding=padding).tobytes() for padding in (1, 1, 1)}
    assert len(results) == len(calls.held) == 1
    convolve(picture(9, 9), w, padding=1)
    correlate(picture(9, 8), w, padding=1)
    correlate(picture(9, 9).astype(np.float64), w, padding=1)
    correlate(picture(9, 9), w, padding=1, boundary="edge")
    assert len(calls.held) == 5


@pytest.mark.parametrize("taps", [9, 900])
def test_a_kernel_may_change_in_place(taps):
    x, w = picture(1000), rng(1).standard_normal(taps).astype(np.float32)
    before = correlate(x, w)
    w[-1] += 1
    assert_allclose(correlate(x, w) - before, x[taps - 1 :], atol=1e-3)


def test_a_bank_and_a_bias_may_change_in_place():
    x, w, bias = picture(2, 7, 7, 3), rng(1).standard_normal((4, 3, 3, 3)), np.zeros(4)
    before = conv_layer(x, w, bias)
    bias[1] = 5
    assert_allclose(conv_layer(x, w, bias)[..., 1], before[..., 1] + 5, atol=1e-5)
    w[...] = 0
    assert_array_equal(conv_layer(x, w, bias)[..., 1], 5)


def test_results_share_no_memory():
    x, w = picture(40, 40), np.ones((3, 3))
    first, second = correlate(x, w), correlate(x, w)
    assert not np.shares_memory(first, second)
    second[...] = 0
    assert_array_equal(correlate(x, w), first)


def test_equal_options_of_another_type_are_checked():
    x, w = picture(9, 9), np.ones((3, 3))
    for good, bad in ((1, 1.0), ((1, 2), (1, 2.0))):
        correlate(x, w, stride=good)
        with pytest.raises(ConvError, match="whole number"):
            correlate(x, w, stride=bad)


def test_options_without_a_hash(calls):
    x, w = picture(9, 9), np.ones((3, 3))
    assert_array_equal(correlate(x, w, stride=[2, 1]), correlate(x, w, stride=(2, 1)))
    assert len(calls.held) == 1


def test_samples_that_decide_the_plan(calls):
    """Sums of small samples under heavy taps need float64; so do sums of large integers."""
    w = np.full((3, 3), 1e30, np.float32)
    for scale in (1, 1e-42):
        x = np.full((9, 9), scale, np.float32)
        assert_allclose(correlate(x, w), 9e30 * np.float64(x[0, 0]), rtol=1e-5)
    large = np.full((9, 9), 2**40)
    for shift in (0, 1):
        y = correlate(large + shift, np.full((3, 3), 2**18), dtype="int64")
        assert (y == 9 * 2**58 + 9 * shift * 2**18).all()
    assert not calls.held


def test_the_number_of_threads_may_change(set_threads):
    x, w = picture(1500, 1500), rng(1).standard_normal((3, 3))
    results = set()
    for count in (1, 2, 3, 1):
        set_threads(count)
        results.add(correlate(x, w).tobytes())
    assert len(results) == 1


def test_several_threads_run_one_call():
    w, inputs = rng(1).standard_normal((5, 5)), [picture(90, 80) * scale for scale in range(8)]
    expected = [correlate(x, w) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda at: correlate(inputs[at % 8], w), range(200)))
    for at, y in enumerate(results):
        assert_array_equal(y, expected[at % 8])


def test_remembered_calls_are_bounded(calls, monkeypatch):
    x = picture(40, 40)
    monkeypatch.setattr(remembered, "MOST_CALLS", 3)
    for number in range(6):
        correlate(x, np.full((3, 3), number))
    assert len(calls.held) == 3
    monkeypatch.setattr(remembered, "MOST_BYTES", 1)
    for number in range(6):
        correlate(x, np.full((3, 3), number))
    assert calls.size == sum(size for _, _, size in calls.held.values())
    monkeypatch.setattr(remembered, "MOST_TAPS", 1)
    assert_allclose(
        correlate(x, np.ones((3, 3))), correlate(x, np.ones((3, 3)), method="direct"), atol=1e-5
    )


# The order of axes.


@pytest.mark.parametrize("method", ["direct", "gemm", "separable", "fft", "auto"])
@pytest.mark.parametrize("memory", list(permutations(range(3))))
@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (1, 2), (2,), (0, 1, 2)])
def test_any_order_of_axes_in_memory(axes, memory, method):
    x = picture(23, 17, 9)
    w = rng(1).standard_normal((4, 3, 2)[: len(axes)])
    options = {
        "axes": axes,
        "stride": (1, 2, 1)[: len(axes)],
        "dilation": (2, 1, 1)[: len(axes)],
        "padding": ((1, 2), (0, 3), (2, 0))[: len(axes)],
        "boundary": "reflect",
    }
    expected = correlate(x, w, **options, method="direct")
    view = x.transpose(memory).copy().transpose(np.argsort(memory))
    out = np.zeros_like(expected.T).T
    for y in (
        correlate(view, w, **options, method=method),
        correlate(view, w, **options, method=method, out=out),
        correlate(view[::-1].copy()[::-1], w, **options, method=method),
    ):
        assert y.shape == expected.shape
        assert_allclose(y, expected, atol=1e-5)
    assert_allclose(out, expected, atol=1e-5)


def test_the_last_axis_has_the_smallest_stride():
    w, turned = np.ones((3, 5)), (5, 3)
    for x, axes, shape, window in (
        (picture(20, 30), (0, 1), (20, 30, 1), w.shape),
        (picture(20, 30).T, (0, 1), (20, 30, 1), turned),
        (picture(20, 30, 3), (0, 1), (20, 30, 3), w.shape),
        (np.moveaxis(picture(3, 20, 30), 0, -1), (0, 1), (3, 20, 30, 1), w.shape),
        (np.asfortranarray(picture(3, 20, 30)), (1, 2), (30, 20, 3), turned),
        (np.broadcast_to(picture(30), (20, 30)), (0, 1), (20, 30, 1), w.shape),
        (picture(20, 30, 3)[..., ::-1], (0, 1), (20, 30, 3), w.shape),
    ):
        problem = in_memory_order(spatial_problem(x, w, axes=axes))
        assert (problem.x.shape, problem.w.shape) == (shape, window)


def test_a_result_has_the_memory_order_of_its_input():
    x, w = picture(20, 30), np.ones((3, 3))
    assert correlate(x, w).flags.c_contiguous
    assert correlate(np.asfortranarray(x), w).flags.f_contiguous


def test_layers_in_any_order_of_their_spatial_axes():
    x, w = picture(2, 12, 11, 4), rng(1).standard_normal((5, 3, 2, 4))
    options = {"stride": (1, 2), "padding": ((1, 0), (2, 2))}
    expected = conv_layer(x, w, **options, method="direct")
    for memory in permutations(range(4)):
        view = x.transpose(memory).copy().transpose(np.argsort(memory))
        assert_allclose(conv_layer(view, w, **options), expected, atol=1e-5)
    turned = x.swapaxes(1, 2).copy().swapaxes(1, 2)
    problem = layer_problem(turned, w, None, groups=1, layout="channels_last")
    assert in_memory_order(problem).w.shape == (5, 2, 3, 4)


@pytest.mark.parametrize("method", ["direct", "gemm", "separable", "fft", "auto"])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64"])
def test_samples_with_gaps_between_them(dtype, method):
    wide = (rng(0).random((40, 60, 5)) * 200).astype(dtype)
    w = rng(1).standard_normal((3, 4))
    for view in (wide[..., ::-1], wide[..., :3], wide[..., 1::2], wide[::-2, ::2], wide[:, ::-1]):
        for options in ({}, {"padding": "same", "boundary": "reflect"}, {"stride": 2}):
            expected = correlate(view.copy(), w, axes=(0, 1), **options, method="direct")
            y = correlate(view, w, axes=(0, 1), **options, method=method)
            assert_allclose(y, expected, atol=1e-2)


def test_scratch_arrays_of_a_thread_are_bounded():
    for side in (20, 300, 2000):
        correlate(picture(side, side), rng(1).standard_normal((5, 5)))
        assert threads._scratch.size <= threads.KEPT
        held = {id(held.buffer): held.buffer.size for held in threads._scratch.held.values()}
        assert sum(held.values()) == threads._scratch.size
