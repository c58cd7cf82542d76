"""Compare direct with the definition, gemm with direct, and both with scipy, numpy and ONNX."""

from collections.abc import Iterator

import cases
import numpy as np
import onnx
import onnx.reference
import pytest
import reference
import scipy.ndimage
import scipy.signal
from cases import LayerCase, arrays, examples, geometries, layers
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from tuning import registered_products, tune

import convcli
from convcli import conv_layer, convolve, correlate
from convcli.engine.methods import direct
from convcli.engine.methods.base import Method
from convcli.engine.methods.full_rank import FullRank
from convcli.engine.tiling import Chunk
from convcli.engine.tiling import tiles as cut

METHODS = ("direct", "gemm", "products")

SMALL_TILES = {
    "PANEL_BYTES": (160, 800, 4000),
    "SMALL": (40, 900_000),
    "NARROW_TAPS": (0, 49),
    "PANEL_ROWS": (4, 8),
    "PANEL_WIDTH": (1, 8),
    "FULL_TILE": ((10, 100), (200, 1000)),
    "BAND_TILE": (10, 1000),
    "BAND_WIDTH": (5, 1 << 13),
}
"""What cuts a picture of a few samples into several tiles, and those into several panels."""
rng = np.random.default_rng


@pytest.fixture(autouse=True, scope="module")
def products() -> Iterator[None]:
    """Test the methods for larger work on small arrays too."""
    with registered_products():
        yield


# Against the definition.


@given(st.data())
@examples(250)
def test_correlate_is_the_literal_sum(data):
    geometry = data.draw(geometries())
    x, w = data.draw(arrays(geometry.spatial)), data.draw(arrays(geometry.window))
    y = correlate(x, w, **geometry.given, method="direct")
    assert_array_equal(y, reference.correlate(x, w, **geometry.literal))
    assert_array_equal(correlate(x, w, **geometry.given, method="gemm"), y)
    assert y.dtype == (
        np.float64 if x.dtype.itemsize > (4 if x.dtype.kind == "f" else 2) else np.float32
    )


@given(st.data())
@examples(60)
def test_convolve_is_correlate_with_the_kernel_flipped(data):
    geometry = data.draw(geometries())
    x, w = data.draw(arrays(geometry.spatial)), data.draw(arrays(geometry.window))
    for method in METHODS:
        y = convolve(x, w, **geometry.given, method=method)
        assert_array_equal(y, reference.correlate(x, np.flip(w), **geometry.literal))


@given(st.data())
@examples(100)
def test_the_kernel_slides_along_the_axes_it_is_given_in_their_order(data):
    geometry = data.draw(geometries(st.integers(1, 3)))
    order = data.draw(st.permutations(range(len(geometry.spatial) + data.draw(st.integers(0, 2)))))
    axes = order[: len(geometry.spatial)]
    shape = [2] * len(order)
    for axis, n in zip(axes, geometry.spatial, strict=True):
        shape[axis] = n
    x, w = data.draw(arrays(tuple(shape))), data.draw(arrays(geometry.window))
    expected = reference.correlate_along(x, w, axes, **geometry.literal)
    signed = [axis - len(order) if data.draw(st.booleans()) else axis for axis in axes]
    for method in METHODS:
        assert_array_equal(correlate(x, w, axes=signed, **geometry.given, method=method), expected)


@given(layers())
@examples(150)
def test_conv_layer_is_the_literal_sum_in_both_layouts(case: LayerCase):
    expected = reference.conv_layer(
        case.x, case.w, case.bias, groups=case.groups, **case.geometry.literal
    )
    options = {"groups": case.groups, **case.geometry.given}
    for method in METHODS:
        y = conv_layer(case.x, case.w, case.bias, **options, method=method)
        assert_array_equal(y, expected)
        swapped = cases.first(case.x), cases.first(case.w)
        y = conv_layer(*swapped, case.bias, layout="channels_first", **options, method=method)
        assert_array_equal(y, cases.first(expected))


@given(st.data())
@examples(150)
def test_tiles_of_any_size_give_the_same(data):
    """Tiles of a row or two: their edges fall inside the padding, and past it."""
    geometry = data.draw(geometries(st.integers(1, 3)))
    channels = data.draw(st.integers(1, 2))
    x = data.draw(arrays((2, *geometry.spatial, channels)))
    w = data.draw(arrays((2, *geometry.window, channels)))
    flat = w[0, ..., 0]
    layer = reference.conv_layer(x, w, **geometry.literal)
    along = range(1, 1 + len(geometry.spatial))
    lines = reference.correlate_along(x, flat, list(along), **geometry.literal)
    with pytest.MonkeyPatch.context() as patch:
        tune(patch, TILE_VALUES=data.draw(st.integers(1, 40)))
        for name, values in SMALL_TILES.items():
            tune(patch, **{name: data.draw(st.sampled_from(values))})
        for method in (Method, FullRank):
            patch.setattr(method, "worth_sharing", data.draw(st.sampled_from((0, 1))))
        few = st.integers(1, 9)
        for name in (
            "TILE_PLACES",
            "SHORT_RUN",
            "SHARE_VALUES",
            "ROW_VALUES",
            "FEWEST",
            "COLUMN_VALUES",
            "BLOCKS",
            "PRODUCT",
            "SHARE_RUN",
        ):
            tune(patch, **{name: data.draw(few)})
        for name, value in {
            "TILE_MACS": 1,
            "SHORTEST_RUN": 1,
            "FEW_PLACES": data.draw(st.sampled_from((0, 9, 999))),
            "IN_VAIN": data.draw(st.sampled_from((1, 99))),
        }.items():
            tune(patch, **{name: value})
        tune(patch, STRETCH=data.draw(few))
        for method in METHODS:
            assert_array_equal(conv_layer(x, w, **geometry.given, method=method), layer)
            assert_array_equal(
                correlate(x, flat, axes=along, **geometry.given, method=method), lines
            )


def test_a_tile_is_a_strip_of_rows_of_one_item_or_several_items(monkeypatch):
    plan, cuts = (
        convcli.plan(np.zeros((8, 32, 32, 3), np.float32), np.zeros((3, 3)), axes=(1, 2)),
        {},
    )
    for values in (1, 30 * 3 * 5, 30 * 30 * 3 * 2, 1 << 30):
        tune(monkeypatch, TILE_VALUES=values)
        cuts[values] = direct.METHOD.tile(plan)
    assert list(cuts.values()) == [(1, 1, 30), (1, 5, 30), (2, 30, 30), (8, 30, 30)]


@pytest.mark.parametrize("rows", [(0, 1500), (700, 701), (3, 1499)])
@pytest.mark.parametrize(
    "options", [{}, {"padding": "same"}, {"padding": "same", "stride": 3}, {"padding": "full"}]
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("window", [(3, 3), (25, 25), (1, 9)])
def test_tiles_cover_a_picture_once_and_few_of_them_see_its_padding(
    window, channels, options, rows
):
    plan = convcli.plan(
        np.zeros((1500, 1501, channels), np.float32), np.ones(window), axes=(0, 1), **options
    )
    rows = (rows[0] // plan.spec.stride[0], min(-(-rows[1] // plan.spec.stride[0]), plan.sizes[0]))
    seen = np.zeros(plan.sizes, int)
    number, beside = 0, 0
    for _, spans in cut(plan, Chunk((0, 1), rows)):
        seen[tuple(slice(*span) for span in spans)] += 1
        first, last = plan.axes[1].under(*spans[1])
        number, beside = number + 1, beside + (first < 0 or last > plan.axes[1].n)
    assert (seen[slice(*rows)] == 1).all()
    assert seen.sum() == seen[slice(*rows)].size
    assert beside <= (max(number // 2, 2) if plan.axes[1].lo else 0) or not (
        plan.implementation.pads_rows(plan)
        and plan.is_parallel
        and not plan.implementation.pads_inner(plan)
    )


# Computed by hand.


@pytest.mark.parametrize("method", METHODS)
def test_worked_examples(method):
    x = np.arange(1, 10).reshape(3, 3)
    assert_array_equal(correlate(x, [[1, 0], [0, -1]], method=method), [[-4, -4], [-4, -4]])
    assert_array_equal(convolve(x, [[1, 0], [0, -1]], method=method), [[4, 4], [4, 4]])
    assert_array_equal(
        correlate([1, 2, 3], [1, 10, 100], padding="same", method=method), [210, 321, 32]
    )
    assert_array_equal(
        correlate([1, 2, 3], [1, 1], padding="full", cval=5, method=method), [6, 3, 5, 8]
    )
    assert_array_equal(
        correlate([1, 2, 3, 4, 5], [1, 1], stride=2, dilation=2, method=method), [4, 8]
    )
    x, w = np.arange(6).reshape(1, 3, 2), np.array([[[1, 2]], [[-1, 0]]])
    assert_array_equal(conv_layer(x, w, [10, 20], method=method), [[[12, 20], [18, 18], [24, 16]]])
    assert_array_equal(
        conv_layer(x, [[[1]], [[3]]], groups=2, method=method),
        [[[0, 3], [2, 9], [4, 15]]],
        "depthwise",
    )


@pytest.mark.parametrize("method", METHODS)
def test_zeros_give_zeros_and_an_impulse_gives_the_kernel(method):
    w = rng(0).integers(-9, 9, (3, 4, 2)).astype(float)
    assert not correlate(np.zeros((5, 5, 5)), w, padding="same", method=method).any()
    impulse = np.zeros((5, 7, 3))
    impulse[2, 3, 1] = 1
    y = convolve(impulse, w, padding="full", method=method)
    assert_array_equal(y[2:5, 3:7, 1:3], w)
    assert np.count_nonzero(y) == np.count_nonzero(w)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_a_layer_of_one_kernel_and_one_channel_is_a_filter(layout):
    x, w = rng(0).standard_normal((2, 40, 50, 1)), rng(1).standard_normal((1, 3, 5, 1))
    arrays = (
        [x, w] if layout == "channels_last" else [np.moveaxis(array, -1, 1) for array in (x, w)]
    )
    y = convcli.conv_layer(*arrays, [2.0], layout=layout, padding="same")
    expected = 2 + convcli.correlate(x[..., 0], w[0, ..., 0], axes=(1, 2), padding="same")
    assert_allclose(y[..., 0] if layout == "channels_last" else y[:, 0], expected, atol=1e-12)
    facts = convcli.plan(*arrays, layout=layout).facts
    assert (facts.filters, facts.window) == (None, (3, 5))


def test_auto_takes_a_product_for_sums_over_channels_and_goes_lanewise_for_a_kernel_each():
    x, w = np.zeros((1, 40, 40, 4)), np.zeros((8, 3, 3, 4))
    assert convcli.plan(x, w).method == "gemm"
    depthwise = convcli.plan(x, np.zeros((4, 3, 3, 1)), groups=4)
    assert (depthwise.method, depthwise.reason[:26]) == ("gemm", "a kernel for every channel")
    assert convcli.plan(x, w, method="direct").reason == "as asked"


# Against other packages.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("constant", "constant"),
        ("edge", "nearest"),
        ("reflect", "mirror"),
        ("symmetric", "reflect"),
        ("wrap", "wrap"),
    ],
)
@pytest.mark.parametrize(
    "shapes", [((40,), (7,)), ((9, 11), (3, 5)), ((8, 9), (4, 2)), ((6, 7, 5), (3, 2, 3))]
)
def test_scipy_ndimage(shapes, ours, theirs, method):
    """An even kernel's centre is at k//2 there, as in `same-lower`."""
    x, w = (rng(seed).standard_normal(shape) for seed, shape in enumerate(shapes))
    y = correlate(x, w, padding="same-lower", boundary=ours, cval=2.5, method=method)
    assert_allclose(y, scipy.ndimage.correlate(x, w, mode=theirs, cval=2.5), atol=1e-12)
    if all(k % 2 for k in w.shape):
        y = convolve(x, w, padding="same", boundary=ours, cval=2.5, method=method)
        assert_allclose(y, scipy.ndimage.convolve(x, w, mode=theirs, cval=2.5), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("padding", ["full", "valid"])
@pytest.mark.parametrize(
    "shapes", [((30,), (8,)), ((9, 10), (3, 4)), ((5, 6, 7), (2, 3, 2)), ((3, 4, 3, 4), (2,) * 4)]
)
def test_scipy_signal(shapes, padding, method):
    x, w = (rng(seed).standard_normal(shape) for seed, shape in enumerate(shapes))
    y = correlate(x, w, padding=padding, method=method)
    assert_allclose(y, scipy.signal.correlate(x, w, padding, method="direct"), atol=1e-12)
    y = convolve(x, w, padding=padding, method=method)
    assert_allclose(y, scipy.signal.convolve(x, w, padding, method="direct"), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("padding", ["full", "valid"])
@pytest.mark.parametrize("k", [1, 2, 7, 20])
def test_numpy_convolve(k, padding, method):
    x, w = rng(0).standard_normal(20), rng(1).standard_normal(k)
    assert_allclose(
        convolve(x, w, padding=padding, method=method), np.convolve(x, w, padding), atol=1e-12
    )


def onnx_run(op: str, x, w, bias=None, **attributes):
    """Run one node with ONNX's reference evaluator."""
    names = ["x", "w"] + ([] if bias is None else ["b"])
    declare = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, names, ["y"], **attributes)],
        "one",
        [declare(name, onnx.TensorProto.DOUBLE, None) for name in names],
        [declare("y", onnx.TensorProto.DOUBLE, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    feeds = {"x": x, "w": w} if bias is None else {"x": x, "w": w, "b": bias}
    return onnx.reference.ReferenceEvaluator(model).run(None, feeds)[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"dilation": 2},
        {"padding": 1},
        {"stride": 2, "dilation": 2, "padding": 2},
        {"groups": 2},
        {"groups": 4, "stride": 3},
        {"padding": "same"},
        {"padding": "same-lower"},
        {"padding": "same", "stride": 2},
        {"padding": "same-lower", "stride": 2},
    ],
    ids=str,
)
def test_onnx_conv(dims, options, method):
    groups = options.get("groups", 1)
    x = rng(0).standard_normal((2, 4, *(7, 6, 8)[:dims]))
    w = rng(1).standard_normal((4, 4 // groups, *(3, 2, 3)[:dims]))
    bias = rng(2).standard_normal(4)
    y = conv_layer(x, w, bias, layout="channels_first", method=method, **options)
    assert_allclose(y, onnx_run("Conv", x, w, bias, **onnx_attributes(dims, options)), atol=1e-12)


def onnx_attributes(dims: int, options: dict) -> dict:
    padding = options.get("padding", 0)
    where = (
        {"auto_pad": {"same": "SAME_UPPER", "same-lower": "SAME_LOWER"}[padding]}
        if isinstance(padding, str)
        else {"pads": [padding] * (2 * dims)}
    )
    extra = (
        {"output_padding": [options["output_padding"]] * dims}
        if "output_padding" in options
        else {}
    )
    return {
        "strides": [options.get("stride", 1)] * dims,
        "dilations": [options.get("dilation", 1)] * dims,
        "group": options.get("groups", 1),
        **where,
        **extra,
    }


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"dilation": 2},
        {"padding": 1},
        {"stride": 3, "output_padding": 2},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"groups": 2},
        {"groups": 4, "stride": 2},
        {"padding": "same", "stride": 2},
        {"padding": "same-lower", "stride": 2},
    ],
    ids=str,
)
def test_onnx_conv_transpose(dims, options):
    """Run each group separately: ONNX 1.23 fails for several output channels per group."""
    groups = options.get("groups", 1)
    x = rng(0).standard_normal((2, 4, *(4, 3, 5)[:dims]))
    w = rng(1).standard_normal((4, 4 // groups, *(3, 2, 3)[:dims]))
    y = convcli.conv_transpose(x, w, layout="channels_first", **options)
    attributes = {**onnx_attributes(dims, options), "group": 1}
    pairs = zip(np.split(x, groups, axis=1), np.split(w, groups), strict=True)
    parts = [onnx_run("ConvTranspose", part, bank, **attributes) for part, bank in pairs]
    assert_allclose(y, np.concatenate(parts, axis=1), atol=1e-12)


# Invalid arguments.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: correlate(np.ones((5, 5)), np.ones((7, 7))),
            "kernel 7x7 exceeds the padded input 5x5; use --padding",
        ),
        (
            lambda: correlate(np.ones(5), np.ones((3, 3))),
            "kernel 3x3 has 2 axes, the input 5 has 1; expected the same number",
        ),
        (
            lambda: correlate(np.ones((5, 5)), np.ones(3), axes=(2,)),
            "axes (2,) for kernel 3 on input 5x5",
        ),
        (lambda: correlate(np.ones((5, 5)), np.ones((3, 3)), axes=(0, -2)), "axes (0, -2)"),
        (lambda: correlate(np.ones((5, 5)), np.float64(2), axes=()), "a kernel without axes"),
        (lambda: correlate(np.float64(2), np.float64(2)), "a kernel without axes"),
        (lambda: correlate(np.ones((5, 5)), np.ones(3), axes=1), "axes 1; expected whole numbers"),
        (
            lambda: correlate(np.ones((5, 5)), np.ones(3), axes="0"),
            "axes '0'; expected whole numbers",
        ),
        (lambda: correlate([[1, 2], [3]], np.ones(3)), "the input has rows of different lengths"),
        (
            lambda: correlate(np.ones(5), np.ones(3), out=[0, 0, 0]),
            "out is a list; expected an array to fill",
        ),
        (
            lambda: correlate(np.ones(5), np.ones(3), cval=10**400),
            "expected a number that a float can hold",
        ),
        (lambda: convcli.output_shape(5, 3), "a size 5 alone; expected one for each axis"),
        (
            lambda: convcli.output_shape((5,), 3),
            "a kernel size 3 alone; expected one for each axis",
        ),
        (lambda: correlate(np.ones(0), np.ones(3)), "the input 0 is empty"),
        (lambda: correlate(np.ones(3), np.ones(0)), "the kernel 0 is empty"),
        (
            lambda: correlate(np.ma.ones(3), np.ones(3)),
            r"the input is a masked array; expected one without a mask; fill",
        ),
        (lambda: correlate(np.ones(3), np.ma.ones(3)), "the kernel is a masked array"),
        (
            lambda: correlate(np.ones(3) * 1j, np.ones(3)),
            "the input holds complex128 values; expected real",
        ),
        (lambda: correlate(np.ones(3), ["a"]), "the kernel holds <U1 values; expected real"),
        (
            lambda: correlate(np.ones(3), np.ones(3), method="gem"),
            "method 'gem'; expected one of auto, direct, gemm",
        ),
        (
            lambda: correlate(np.ones(3), np.ones(3), boundary="mirror"),
            "boundary 'mirror'; expected one of constant",
        ),
        (
            lambda: correlate(np.ones(3), np.ones(3), dtype="complex64"),
            "dtype complex64; expected an integer or",
        ),
        (
            lambda: correlate(np.ones(3), np.ones(3), dtype="bool"),
            "dtype bool; expected an integer or",
        ),
        (
            lambda: correlate(np.ones(3), np.ones(3), dtype="float33"),
            "dtype 'float33'; expected a number type",
        ),
        (lambda: correlate(np.ones(3), np.ones(3), cval="high"), "cval 'high'; expected a number"),
        (
            lambda: conv_layer(np.ones((5, 5)), np.ones((3, 3))),
            "input 5x5 with kernel 3x3; expected x (N, *S, C)",
        ),
        (
            lambda: conv_layer(np.ones((1, 5, 2)), np.ones((4, 3, 3))),
            "has 3 channels, the input has 2",
        ),
        (
            lambda: conv_layer(np.ones((1, 5, 2)), np.ones((4, 3, 2)), [1, 2]),
            "bias 2; expected (4,)",
        ),
        (
            lambda: conv_layer(np.ones((1, 5, 2)), np.ones((4, 3, 2)), layout="channel_last"),
            "did you mean",
        ),
        (
            lambda: conv_layer(np.ones((1, 5, 2)), np.ones((4, 3, 2)), groups=0),
            "groups 0; expected 1 or more",
        ),
        (
            lambda: convcli.conv_transpose(np.ones((1, 5, 4)), np.ones((4, 3, 2)), stride=2**62),
            "that memory can hold",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(convcli.ConvError) as caught:
        call()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("x", "w", "right"),
    [
        ([1e30], [1e-50], [1e-20]),
        ([1e-30], [1e50], [1e20]),
        ([0, 3], [1e39, 1], [3]),
        ([3, 3], [1e-39, 1e-39], [6e-39]),
        ([1e30, 0], [5e-324, 2], [0]),
    ],
)
@pytest.mark.parametrize("method", ["auto", "direct", "gemm", "separable", "fft"])
def test_taps_outside_the_range_of_float32_keep_their_values(x, w, right, method):
    y = correlate(np.array(x, np.float32), np.array(w), method=method)
    assert y.dtype == np.float32
    contract = 1e-6 * np.abs(w).sum() * np.abs(x).max() if method == "fft" else 0
    np.testing.assert_allclose(y, np.array(right, np.float32), rtol=1e-6, atol=contract)


def test_layers_and_gradients_take_taps_outside_the_range_of_float32():
    w = np.array([1e39, 1]).reshape(1, 2, 1)
    x = np.array([0, 3], np.float32).reshape(1, 2, 1)
    assert conv_layer(x, w).ravel().tolist() == [3]
    np.testing.assert_array_equal(
        convcli.conv_transpose(x, w).ravel(), np.array([0, np.inf, 3], np.float32)
    )
    dx, dw, _ = convcli.gradients(x, w, np.zeros((1, 1, 1), np.float32))
    assert dx.ravel().tolist() == [0, 0]
    assert dw.ravel().tolist() == [0, 0]


@pytest.mark.parametrize("method", ["auto", "direct", "gemm", "separable", "fft"])
def test_other_operands_outside_the_range_of_float32_keep_their_values(method):
    x = np.array([[0, 3], [1, 2]], np.float32)
    w = np.full((2, 2), 1e-10)
    y = correlate(x, w, padding=1, cval=1e39, method=method)
    assert_allclose(y[1, 1], 6e-10, rtol=1e-6, atol=1e-6 * 4e29 if method == "fft" else 0)
    assert_allclose(y[0, 0], 3e29, rtol=1e-6)
    small = np.array([[1e-40, 3e-40], [2e-40, 6e-40]], np.float32)
    heavy = np.outer([1e-5, 3e-5], [1e25, 7e25])
    right = (small.astype(float) * heavy).sum()
    assert_allclose(correlate(small, heavy, method=method)[0, 0], right, rtol=1e-6)
    large = np.array([[3e38, 3e38], [-3e38, -3e38]], np.float32)
    assert_allclose(
        correlate(large, np.array([[1.0, 1], [1, 0.5]]), method=method)[0, 0], 1.5e38, rtol=1e-6
    )
    if method != "fft":
        y = correlate(np.array([[255, 255]], np.uint8), [[3e38, -3e38]], method=method)
        assert abs(y[0, 0]) <= 1e-14 * 2 * 255 * 3e38


@pytest.mark.parametrize("method", ["auto", "direct", "gemm", "separable", "fft"])
@pytest.mark.parametrize(
    "taps", [np.full((2, 2), 5e-324), np.outer([1, 3], [2e-322, 5e-322]), np.full((2, 2), 1e300)]
)
def test_taps_at_the_ends_of_float64_keep_their_values(taps, method):
    x = np.array([[1.0, 1], [1, 0.5]]) * (1e300 if taps.max() < 1 else 1e-300)
    assert_allclose(correlate(x, taps, method=method)[0, 0], float((x * taps).sum()), rtol=1e-14)


def test_biases_and_gradients_keep_what_leaves_float32_on_the_way():
    w = np.full((1, 2, 1), 3.0)
    x = np.array([[[-1e38], [-1e38]]], np.float32)
    assert_allclose(conv_layer(x, w, [6.5e38]), 5e37, rtol=1e-5)
    assert_allclose(convcli.conv_transpose(x[:, :1], w, [4e38]).ravel(), [1e38, 1e38], rtol=1e-5)
    up = np.array([[[1e30], [-1e30]]], np.float32)
    dw = convcli.gradients(np.abs(x), np.ones((1, 1, 1)), up).dw
    assert dw.ravel().tolist() == [0]
    tiny = np.full((1, 2, 1), 1e-30, np.float32)
    assert_allclose(
        convcli.gradients(tiny, np.ones((1, 1, 1)), np.full_like(tiny, 1e-12)).dw, 2e-42, rtol=1e-3
    )
    dw = convcli.gradients(
        tiny, np.ones((1, 2, 1)), np.full((1, 3, 1), 1e-40, np.float32), padding=1, cval=1e60
    ).dw
    assert_allclose(dw.ravel(), 1e20, rtol=1e-4)
    high = np.array([3e38, 3e38, -3e38, -3e38], np.float32).reshape(1, 4, 1)
    assert convcli.gradients(high, np.ones((1, 1, 1)), high).db.tolist() == [0]


INTEGERS = ("int64", "uint64", "int32", "uint8")


def exactly(x, w, dtype):
    """Return the sums of whole numbers of signals, in Python's integers, saturated."""
    sums = np.correlate(
        np.array([int(v) for v in x], object), np.array([int(v) for v in w], object), "valid"
    )
    info = np.iinfo(dtype)
    return [min(max(int(total), int(info.min)), int(info.max)) for total in sums]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("method", ["auto", "direct", "gemm", "separable", "fft"])
@pytest.mark.parametrize(
    ("x", "w"),
    [
        (np.array([2**53 + 1, 5]), [1]),
        (np.array([2**53 + 1], np.uint64), [1]),
        (np.array([2**64 - 1, 2**63, 0], np.uint64), [1]),
        (np.array([2**64 - 1, 2**63, 1], np.uint64), [1, -1]),
        (np.array([2**52 + 1, 2**52]), [1, 1]),
        (np.array([2**53 + 1, 2**53]), [1.0, -1.0]),
        (np.array([-(2**63), 2**63 - 1]), [1]),
        (np.array([-(2**63), 2**63 - 1, -1]), [3, 3]),
        (np.array([2**62, 2**62 - 1, 7], ">i8"), [2**40, -(2**40)]),
        (np.array([3, 0, 255], np.uint8), [2**53 - 1, 2**54 + 4]),
        (np.array([3, 1], np.uint8), np.array([2**63 - 1, -(2**63)])),
        (np.array([True, True]), np.array([2**60 + 1, -(2**60)])),
        (np.array([1, 1], np.uint8), [2.0**80, -(2.0**80)]),
    ],
)
def test_whole_numbers_are_exact_beyond_the_mantissa_of_float64(x, w, method, dtype):
    assert correlate(x, w, dtype=dtype, method=method).tolist() == exactly(x, w, dtype)
    assert convolve(x, w[::-1], dtype=dtype, method=method).tolist() == exactly(x, w, dtype)


def test_a_plan_tells_that_integers_keep_sums_exact():
    x = np.full((64, 64), 2**60)
    exact = convcli.plan(x, np.ones((3, 3)), dtype="int64")
    assert "their last 64 bits are added as integers" in str(exact)
    assert exact.seconds > convcli.plan(x, np.ones((3, 3)), dtype="float64").seconds
    assert not convcli.plan(x >> 30, np.ones((3, 3)), dtype="int64").facts.exact


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_layers_of_whole_numbers_are_exact_beyond_the_mantissa_of_float64(layout):
    x = rng(0).integers(-(2**60), 2**60, (2, 7, 6, 4))
    w = rng(1).integers(-9, 9, (6, 3, 3, 2))
    bias = np.array([2**60 + 1, -(2**61), 0, 1, 5, -7])
    options = {"stride": 2, "padding": 1, "groups": 2, "dtype": "int64"}
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(object)
    right = np.zeros((2, 4, 3, 6), object)
    for n, i, j, o in np.ndindex(*right.shape):
        seen = padded[n, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3, o // 3 * 2 : o // 3 * 2 + 2]
        right[n, i, j, o] = int((seen * w[o].astype(object)).sum()) + int(bias[o])
    right = np.clip(right, -(2**63), 2**63 - 1)
    if layout == "channels_first":
        x, w, right = (np.moveaxis(array, -1, 1) for array in (x, w, right))
    assert conv_layer(x, w, bias, layout=layout, **options).tolist() == right.tolist()


def test_padding_and_out_are_exact_beyond_the_mantissa_of_float64():
    x = np.array([2**53 + 1, 2**53 + 3])
    assert correlate(x, [1, 1], padding=1, cval=2.0**60, dtype="int64").tolist() == [
        2**60 + 2**53 + 1,
        2**54 + 4,
        2**60 + 2**53 + 3,
    ]
    out = np.empty(2, np.int64)
    assert correlate(x, [1], out=out).tolist() == x.tolist()
    assert correlate(x, [1, 1, 1], padding="same", boundary="edge", dtype="int64").tolist() == [
        3 * 2**53 + 5,
        3 * 2**53 + 7,
    ]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda: correlate(np.array([2**62, 2**62]), np.array([2**60, -(2**60)]), dtype="int64"),
            "2**122",
        ),
        (
            lambda: conv_layer(np.full((1, 1, 1), 2**60), np.ones((1, 1, 1)), [0.5], dtype="int64"),
            "a bias with fractions",
        ),
        (lambda: correlate([1.0], [1], padding=1, cval=2**53 + 1), "cval 9007199254740993"),
    ],
)
def test_whole_numbers_that_cannot_be_exact_are_refused(call, told):
    with pytest.raises(convcli.ConvError) as caught:
        call()
    assert told in str(caught.value)


def test_whole_numbers_up_to_2_to_the_53_are_exact_in_integer_types():
    assert correlate(np.array([2**53]), [1], dtype="int64").tolist() == [2**53]
    assert correlate(np.array([2**52 - 1, 2**52]), [1, 1], dtype="int64").tolist() == [2**53 - 1]
    assert correlate(np.array([-(2**53)]), [1], dtype="int64").tolist() == [-(2**53)]
