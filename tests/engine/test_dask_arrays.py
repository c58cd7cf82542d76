"""A dask array is convolved block by block, later, with the result of the array in memory."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import convcli
from convcli.engine.dask_arrays import spatial_cuts
from convcli.engine.problem import is_dask_array
from convcli.limits import shared_threads, threads
from convcli.options import BOUNDARIES
from convcli.shapes.axis import Axis
from convcli.shapes.spec import ConvSpec

da = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")

C = {"float32": 1e-5, "float64": 1e-13}
"""The contract's bounds of the error, as shares of sum|w| max|x|."""

QUICK = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@pytest.fixture(autouse=True)
def one_thread_at_a_time():
    with dask.config.set(scheduler="synchronous"):
        yield


@st.composite
def chunkings(draw, shape):
    """Chunks of every size, also of 0 and 1 and beyond the kernel's."""
    chunks = []
    for size in shape:
        left, parts = size, []
        while left:
            parts.append(draw(st.integers(0, left)) if len(parts) < 6 else left)
            left -= parts[-1]
        chunks.append(tuple(parts))
    return tuple(chunks)


@st.composite
def cases(draw):
    dims = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, (40, 14, 8)[dims - 1])) for _ in range(dims))
    kernel = tuple(draw(st.integers(1, 5)) for _ in range(dims))
    paddings = st.one_of(
        st.sampled_from(["same", "same-lower", "full", "valid"]),
        st.tuples(*[st.tuples(st.integers(0, 9), st.integers(0, 9))] * dims),
    )
    options = {
        "stride": draw(st.integers(1, 4)),
        "dilation": draw(st.integers(1, 3)),
        "padding": draw(paddings),
        "boundary": draw(st.sampled_from(BOUNDARIES)),
        "cval": draw(st.sampled_from([0.0, 2.0, -0.5])),
        "method": draw(st.sampled_from(["auto", "direct", "gemm", "separable", "fft"])),
    }
    kind = draw(st.sampled_from(["uint8", "int16", "float32", "float64"]))
    return shape, kernel, options, kind, draw(chunkings(shape)), draw(st.integers(0, 2**31))


def operands(shape, kernel, kind, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 200, shape) if kind[0] in "ui" else rng.standard_normal(shape)
    whole = rng.random() < 0.5
    w = rng.integers(-3, 4, kernel) if whole else rng.standard_normal(kernel)
    return x.astype(kind), w


def fits(shape, kernel, options):
    spec = ConvSpec.of(
        len(shape), **{name: options[name] for name in ("stride", "dilation", "padding")}
    )
    try:
        spec.axes(shape, kernel)
    except convcli.ShapeError:
        return False
    return True


def assert_equal(y, expected, x, w, options):
    """Check the numbers: the same bytes for sums that are whole or direct, else the contract."""
    if (x.dtype.kind in "ui" and w.dtype.kind == "i" and options["cval"] % 1 == 0) or (
        options["method"] == "direct"
    ):
        assert y.tobytes() == expected.tobytes()
        return
    largest = max(np.abs(x.astype(float)).max(), abs(options["cval"]))
    bound = C[expected.dtype.name] * np.abs(w).sum() * largest
    assert np.abs(y - expected).max() <= bound


@QUICK
@given(cases())
def test_the_result_is_that_of_the_array_in_memory(case):
    shape, kernel, options, kind, chunks, seed = case
    x, w = operands(shape, kernel, kind, seed)
    if not fits(shape, kernel, options):
        with pytest.raises(convcli.ShapeError):
            convcli.correlate(da.from_array(x, chunks), w, **options)
        return
    y = convcli.correlate(da.from_array(x, chunks), w, **options)
    expected = convcli.correlate(x, w, **options)
    sizes = convcli.output_shape(
        shape, kernel, **{name: options[name] for name in ("stride", "dilation", "padding")}
    )
    assert is_dask_array(y)
    assert y.shape == sizes
    assert y.dtype == expected.dtype
    assert all(min(sizes) > 0 for sizes in y.chunks)
    assert_equal(y.compute(), expected, x, w, options)
    for place in np.ndindex(y.numblocks):  # each block has the size that its chunk says
        block = y.blocks[place]
        assert block.compute().shape == block.shape


@QUICK
@given(cases(), st.booleans(), st.integers(1, 3), st.integers(1, 3))
def test_layers_and_other_axes(case, first, channels, filters):
    shape, kernel, options, kind, chunks, seed = case
    x, _ = operands((2, *shape, channels), kernel, kind, seed)
    rng = np.random.default_rng(seed)
    w, bias = rng.integers(-3, 4, (filters, *kernel, channels)), rng.integers(-9, 9, filters)
    parts = ((1, 1), *chunks, (1,) * channels)
    if first:
        x, w, parts = np.moveaxis(x, -1, 1), np.moveaxis(w, -1, 1), (parts[0], parts[-1], *chunks)
    options["layout"] = "channels_first" if first else "channels_last"
    options["method"] = "auto"
    if not fits(shape, kernel, options):
        return
    y = convcli.conv_layer(da.from_array(x, parts), w, bias, **options)
    expected = convcli.conv_layer(x, w, bias, **options)
    assert y.shape == expected.shape
    assert_equal(y.compute(), expected, x, w, options)


@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (2, 0), (-1,)])
def test_axes_may_be_any(axes):
    x = np.random.default_rng(0).integers(0, 200, (9, 8, 7), np.uint8)
    w = np.arange(1, 1 + 3 ** len(axes)).reshape((3,) * len(axes))
    for function in (convcli.correlate, convcli.convolve):
        y = function(da.from_array(x, (4, 3, 2)), w, axes=axes, padding="same", boundary="wrap")
        expected = function(x, w, axes=axes, padding="same", boundary="wrap")
        assert np.array_equal(y.compute(), expected)
        assert y.chunks == da.from_array(x, (4, 3, 2)).rechunk(y.chunks).chunks


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float64"])
def test_the_type_is_known(dtype):
    x = np.random.default_rng(0).integers(0, 200, (20, 20), np.uint8)
    y = convcli.correlate(da.from_array(x, 7), [[1, 2], [3, 4]], dtype=dtype)
    assert y.dtype == dtype == y.compute().dtype
    assert np.array_equal(y.compute(), convcli.correlate(x, [[1, 2], [3, 4]], dtype=dtype))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("special", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["auto", "fft"])
def test_nan_reaches_its_windows_at_every_seam(boundary, special, method):
    for at in range(24):
        x = np.random.default_rng(0).random((24, 9))
        x[at, at % 9] = special
        options = {"padding": "same", "boundary": boundary, "method": method}
        w = np.random.default_rng(1).random((5, 3))
        y = convcli.correlate(da.from_array(x, (5, 4)), w, **options).compute()
        expected = convcli.correlate(x, w, **options)
        assert np.array_equal(np.isnan(y), np.isnan(expected))
        assert np.array_equal(np.isinf(y), np.isinf(expected))


MODES = {
    "constant": "constant",
    "edge": "nearest",
    "reflect": "mirror",
    "symmetric": "reflect",
    "wrap": "wrap",
}


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_scipy_says_the_same(boundary):
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(0)
    x, w = rng.random((23, 17, 11)), rng.random((5, 3, 3))
    y = convcli.correlate(da.from_array(x, (6, 5, 4)), w, padding="same", boundary=boundary)
    expected = ndimage.correlate(x, w, mode=MODES[boundary])
    np.testing.assert_allclose(y.compute(), expected, rtol=1e-12)


def exploding(*_: Any) -> np.ndarray:
    raise AssertionError("computed")


def test_nothing_is_computed_at_the_call():
    x = da.from_delayed(dask.delayed(exploding)(), (40, 40), "float32").rechunk(10)
    y = convcli.correlate(x, np.ones((3, 3)), padding="same")
    with pytest.raises(AssertionError, match="computed"):
        y.compute()


def test_an_array_beyond_any_memory_is_planned():
    x = da.zeros((40_000, 40_000, 40_000), chunks=10_000, dtype=np.float32)
    y = convcli.correlate(x, np.full((3, 3, 3), 1e9), padding="same")
    assert y.shape == x.shape
    assert y.chunks == x.chunks
    assert convcli.plan(x, np.ones((3, 3, 3))).output[:3] == (39_998,) * 3


def test_the_kernel_is_copied():
    w = np.ones(3)
    y = convcli.correlate(da.ones(9, chunks=4), w)
    w[:] = 7
    assert (y.compute() == 3).all()


@pytest.mark.parametrize(("dims", "most"), [(1, 3), (2, 9), (3, 27)])
def test_a_chunk_takes_a_task_for_each_neighbour(dims, most):
    x = da.zeros((60,) * dims, chunks=10)
    y = convcli.correlate(x, np.ones((5,) * dims), padding="same")
    tasks = len(y.dask) - len(x.dask) - 1
    assert tasks <= most * x.npartitions


def test_chunks_of_one_sample_share_blocks():
    x = da.zeros((50, 50), chunks=1)
    y = convcli.correlate(x, np.ones((9, 9)), padding="same")
    assert y.npartitions <= 49
    assert len(y.dask) - len(x.dask) <= 5 * x.npartitions


def test_the_same_call_has_the_same_name():
    x = da.ones(30, chunks=10)
    calls = [convcli.correlate(x, [1, 2, 3], padding=p).name for p in ("same", "same", "valid")]
    assert calls[0] == calls[1] != calls[2]


def test_tasks_can_be_sent():
    y = convcli.correlate(da.ones((9, 9), chunks=4), np.ones((3, 3)), padding="same")
    assert pickle.loads(pickle.dumps(y)).sum().compute() == 625


def test_threads_of_dask_share_ours():
    together = threading.Barrier(2)
    seen = []

    def work():
        with shared_threads():
            together.wait()
            seen.append(threads())
            together.wait()

    others = [threading.Thread(target=work) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert sorted(seen)[0] == max(threads() // 2, 1)
    x = np.random.default_rng(0).integers(0, 99, (300, 300), np.uint8)
    y = convcli.correlate(da.from_array(x, 40), np.ones((5, 5)), padding="same")
    assert np.array_equal(
        y.compute(scheduler="threads"), convcli.correlate(x, np.ones((5, 5)), padding="same")
    )


def test_a_store_is_read_chunk_by_chunk(tmp_path):
    zarr = pytest.importorskip("zarr")
    x = np.random.default_rng(0).integers(0, 999, (30, 20), np.int16)
    store = zarr.create_array(tmp_path / "x.zarr", data=x, chunks=(8, 8))
    y = convcli.correlate(da.from_zarr(store), [[1, 0, -1]], padding="same", dtype="int16")
    expected = convcli.correlate(x, [[1, 0, -1]], padding="same", dtype="int16")
    assert np.array_equal(y.compute(), expected)


REFUSED = {
    "out": (lambda x: convcli.correlate(x, [1], out=np.empty(9)), "y.store"),
    "sizes": (lambda x: convcli.correlate(x[x > 1], [1]), "compute_chunk_sizes"),
    "kernel": (lambda x: convcli.correlate(np.ones(9), x), "the kernel is a dask array"),
    "gradients": (lambda x: convcli.correlate_gradients(x, [1], x), "the input is a dask array"),
    "transpose": (lambda x: convcli.conv_transpose(x, [1]), "the input is a dask array"),
    "complex": (lambda x: convcli.correlate(x * 1j, [1]), "complex128 values"),
    "empty": (lambda x: convcli.correlate(x[:0], [1]), "is empty"),
    "large kernel": (lambda x: convcli.correlate(x, np.ones(10)), "exceeds the padded input"),
    "method": (lambda x: convcli.correlate(x, [1], method="ffd"), "did you mean"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    call, words = REFUSED[what]
    with pytest.raises(convcli.ConvError, match=words):
        call(da.ones(9, chunks=4))


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 5), st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_blocks_cover_the_output_once(n, k, stride, data):
    lo, hi = data.draw(st.integers(0, 30)), data.draw(st.integers(0, 30))
    axis = Axis(n=n, k=k, stride=stride, lo=lo, hi=hi)
    if axis.reach > axis.padded:
        return
    (chunks,) = data.draw(chunkings((n,)))
    for boundary in BOUNDARIES:
        cuts = spatial_cuts(axis, chunks, boundary)
        assert sum(cut.size for cut in cuts) == axis.out
        for cut in cuts:
            seen = sum(len(np.arange(chunks[p.chunk])[p.samples]) for p in cut.pieces)
            assert seen
            assert (seen + sum(cut.pads) - axis.reach) // stride + 1 == cut.size
