"""Compare gradients with sums by the definition, and with the adjoint: <A x, u> = <x, A' u>."""

import cases
import numpy as np
import pytest
import reference
from cases import LayerCase, examples, geometries, layers
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from tuning import tune

from convcli import (
    ConvError,
    conv_layer,
    conv_transpose,
    conv_transpose_gradients,
    convolve,
    convolve_gradients,
    correlate,
    correlate_gradients,
    gradients,
    limits,
)
from convcli.grad import kernel_gradient

SIGNED = ("int8", "int32", "uint8", "float32", "float64", ">f8")
rng = np.random.default_rng


@given(layers(SIGNED), st.integers(0, 99))
@examples(150)
def test_gradients_are_the_literal_sums(case: LayerCase, seed: int):
    dy = rng(seed).integers(-8, 9, (len(case.x), *case.geometry.sizes, len(case.w))).astype(float)
    expected = reference.gradients(case.x, case.w, dy, groups=case.groups, **case.geometry.literal)
    options = {"groups": case.groups, **case.geometry.given}
    for given_, wanted in zip(gradients(case.x, case.w, dy, **options), expected, strict=True):
        assert_array_equal(given_, wanted)
    swapped = (cases.first(array) for array in (case.x, case.w, dy))
    dx, dw, db = gradients(*swapped, layout="channels_first", **options)
    assert_array_equal(dx, cases.first(expected[0]))
    assert_array_equal(dw, cases.first(expected[1]))
    assert_array_equal(db, expected[2])
    assert dx.flags.c_contiguous
    assert dw.flags.c_contiguous


@given(layers(SIGNED), st.integers(0, 99))
@examples(60)
def test_tiles_and_strands_change_nothing(case: LayerCase, seed: int):
    """The values of dw are the same for any tiles, and its bytes for any number of threads."""
    dy = rng(seed).standard_normal((len(case.x), *case.geometry.sizes, len(case.w)))
    options = {"groups": case.groups, **case.geometry.given}
    whole = gradients(case.x, case.w, dy, **options).dw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_gradient, "TILE_VALUES", 8)
        tune(
            patch,
            SHARE_VALUES=40,
            SHARE_RUN=2,
            PRODUCT=12,
            KERNELS=2,
            TAP_VALUES=9,
            LINE=7,
            STRETCH=2,
        )
        tiled = gradients(case.x, case.w, dy, **options).dw
        limits.set_threads(1)
        try:
            assert gradients(case.x, case.w, dy, **options).dw.tobytes() == tiled.tobytes()
        finally:
            limits.set_threads(None)
    assert_allclose(tiled, whole, rtol=1e-5, atol=1e-4)


@given(layers(("float64",)), st.integers(0, 99))
@examples(150)
def test_the_adjoint_identities(case: LayerCase, seed: int):
    """A layer is linear in x (without cval), w and bias: <dy, y> is <dx, x>, <dw, w>, <db, b>."""
    options = {"groups": case.groups, **case.geometry.given, "cval": 0.0}
    y = conv_layer(case.x, case.w, **options)
    dy = rng(seed).integers(-8, 9, y.shape).astype(float)
    dx, dw, db = gradients(case.x, case.w, dy, **options)
    assert np.vdot(dy, y) == np.vdot(dx, case.x) == np.vdot(dw, case.w)
    bias = rng(seed).integers(-8, 9, len(case.w)).astype(float)
    assert np.vdot(dy, conv_layer(case.x, case.w, bias, **options) - y) == np.vdot(db, bias)


@given(st.data())
@examples(150)
def test_conv_transpose_is_the_adjoint_and_the_literal_sum(data):
    geometry = data.draw(geometries(st.integers(1, 3), ("constant",)))
    groups, depth, share = (data.draw(st.integers(1, 2)) for _ in range(3))
    w = data.draw(cases.arrays((groups * share, *geometry.window, depth), SIGNED))
    bias = data.draw(st.none() | cases.arrays((groups * depth,), SIGNED))
    u = (
        rng(data.draw(st.integers(0, 99)))
        .integers(-8, 9, (2, *geometry.sizes, len(w)))
        .astype(float)
    )
    shared = {"stride": geometry.stride, "dilation": geometry.dilation}
    options = {
        **shared,
        "padding": geometry.pads,
        "output_padding": geometry.unused,
        "groups": groups,
    }
    y = conv_transpose(u, w, bias, **options)
    assert y.shape == (2, *geometry.spatial, groups * depth)
    literal = {**shared, "pads": geometry.pads, "output_padding": geometry.unused, "groups": groups}
    assert_array_equal(y, reference.conv_transpose(u, w, bias, **literal))
    swapped = conv_transpose(
        cases.first(u), cases.first(w), bias, layout="channels_first", **options
    )
    assert_array_equal(swapped, cases.first(y))
    x = rng(7).integers(-8, 9, (2, *geometry.spatial, groups * depth)).astype(float)
    forward = {**shared, "padding": geometry.pads, "groups": groups}
    assert np.vdot(u, conv_layer(x, w, **forward)) == np.vdot(conv_transpose(u, w, **options), x)
    assert_array_equal(gradients(x, w, u, **forward).dx, conv_transpose(u, w, **options))


@given(st.data())
@examples(150)
def test_conv_transpose_gradients_are_those_of_its_literal_sum(data):
    """<dy, y> is <dx, x> and <dw, w>; dw is that of the layer with x and dy exchanged."""
    geometry = data.draw(geometries(st.integers(1, 3), ("constant",)))
    groups, depth, share = (data.draw(st.integers(1, 2)) for _ in range(3))
    extra = tuple(
        data.draw(st.integers(0, max(s, d) - 1))
        for s, d in zip(geometry.stride, geometry.dilation, strict=True)
    )
    w = data.draw(cases.arrays((groups * share, *geometry.window, depth), SIGNED))
    x = data.draw(cases.arrays((2, *geometry.sizes, len(w)), SIGNED))
    options = {
        "stride": geometry.stride,
        "dilation": geometry.dilation,
        "groups": groups,
        "output_padding": extra,
    }
    reach = zip(
        geometry.stride,
        geometry.sizes,
        extra,
        geometry.dilation,
        geometry.window,
        geometry.pads,
        strict=True,
    )
    assume(all(s * (n - 1) + o + d * (k - 1) + 1 > sum(pads) for s, n, o, d, k, pads in reach))
    y = conv_transpose(x, w, padding=geometry.pads, **options)
    assert_array_equal(y, reference.conv_transpose(x, w, None, pads=geometry.pads, **options))
    dy = rng(3).integers(-8, 9, y.shape).astype(float)
    dx, dw, db = conv_transpose_gradients(x, w, dy, padding=geometry.pads, **options)
    assert (dx.shape, dw.shape) == (x.shape, w.shape)
    flat = {"pads": geometry.pads, **options}
    for at in rng(0).integers(0, x.size, 4):
        unit = np.zeros(x.size)
        unit[at] = 1
        assert dx.flat[at] == np.vdot(
            dy, reference.conv_transpose(unit.reshape(x.shape), w, None, **flat)
        )
    for at in rng(1).integers(0, w.size, 4):
        unit = np.zeros(w.size)
        unit[at] = 1
        assert dw.flat[at] == np.vdot(
            dy, reference.conv_transpose(x, unit.reshape(w.shape), None, **flat)
        )
    assert_array_equal(db, dy.sum(axis=tuple(range(dy.ndim - 1))))
    swapped = conv_transpose_gradients(
        *(cases.first(array) for array in (x, w, dy)),
        layout="channels_first",
        padding=geometry.pads,
        **options,
    )
    for ours, wanted in zip(swapped, (cases.first(dx), cases.first(dw), db), strict=True):
        assert_array_equal(ours, wanted)


@given(geometries(st.integers(1, 3)), st.data())
@examples(150)
def test_plain_gradients_are_the_literal_sums(geometry, data):
    """Lines along the other axes are filtered independently: dw is a sum over them."""
    dims, more = len(geometry.spatial), data.draw(st.integers(0, 2))
    x = data.draw(cases.arrays((*geometry.spatial, *(2, 3)[:more]), SIGNED))
    axes = tuple(data.draw(st.permutations(range(dims + more)))[:dims])
    lead = np.moveaxis(np.zeros(x.shape), range(dims), axes)
    x = np.moveaxis(x, range(dims), axes)
    w = data.draw(cases.arrays(geometry.window, SIGNED))
    y = correlate(x, w, axes=axes, **geometry.given)
    dy = rng(5).integers(-8, 9, y.shape).astype(float)
    lines = np.moveaxis(x, axes, range(-dims, 0)).reshape(-1, *geometry.spatial)
    deltas = np.moveaxis(dy, axes, range(-dims, 0)).reshape(-1, *geometry.sizes)
    wanted = [
        reference.gradients(
            line[None, ..., None], w[None, ..., None], delta[None, ..., None], **geometry.literal
        )
        for line, delta in zip(lines, deltas, strict=True)
    ]
    dx, dw = correlate_gradients(x, w, dy, axes=axes, **geometry.given)
    assert dx.shape == lead.shape
    assert_array_equal(
        np.moveaxis(dx, axes, range(-dims, 0)).reshape(lines.shape),
        [g[0][0, ..., 0] for g in wanted],
    )
    assert_array_equal(dw, np.sum([g[1][0, ..., 0] for g in wanted], axis=0))
    assert (
        np.vdot(dw, w) == np.vdot(dy, correlate(x, w, axes=axes, **{**geometry.given, "cval": 0.0}))
        or geometry.cval
    )
    flipped = convolve_gradients(x, np.flip(w), dy, axes=axes, **geometry.given)
    assert_array_equal(flipped.dx, dx)
    assert_array_equal(np.flip(flipped.dw), dw)
    assert dx.flags.c_contiguous
    assert flipped.dw.flags.c_contiguous


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 4}, {"groups": 64}], ids=str)
def test_float32_keeps_to_the_bound(options):
    """The error of float32 is within 1e-5 of sum|one factor| * max|other factor|."""
    groups = options.get("groups", 1)
    x = rng(0).random((2, 40, 40, 64), np.float32) + 1
    w = rng(1).random((64, 3, 3, 64 // groups), np.float32) + 1
    dy = np.full(conv_layer(x, w, padding=1, **options).shape, 0.1, np.float32)
    close = gradients(x, w, dy, padding=1, **options)
    exact = gradients(x.astype(float), w.astype(float), dy.astype(float), padding=1, **options)
    scales = (
        9 * 64 / groups * 2 * 0.1,
        dy[..., 0].sum(dtype=float) * 2,
        dy[..., 0].sum(dtype=float),
    )
    for ours, wanted, scale in zip(close, exact, scales, strict=True):
        assert ours.dtype == np.float32
        assert abs(ours - wanted).max() <= 1e-5 * scale


@pytest.mark.parametrize("channels", [1, 2])
def test_a_line_longer_than_a_stretch_loses_no_sample(channels):
    x, w = np.ones((1, 1, 500_000, channels), np.float32), np.ones((channels, 1, 3, 1), np.float32)
    dy = np.ones((1, 1, 499_998, channels), np.float32)
    np.testing.assert_array_equal(gradients(x, w, dy, groups=channels).dw, 499_998)


@pytest.mark.parametrize(
    ("filters", "channels", "groups"),
    [(16, 16, 1), (8, 1, 1), (16, 32, 4), (32, 32, 32), (1, 1, 1)],
)
def test_flat_inputs_make_equal_terms(filters, channels, groups):
    """Equal terms round in one direction: dw is their number times their value within 1e-5."""
    for value in rng(0).uniform(0.5, 1, 8).astype(np.float32):
        x, dy = np.full((2, 50, 50, channels), value), np.full((2, 48, 48, filters), value)
        dw = gradients(x, np.ones((filters, 3, 3, channels // groups)), dy, groups=groups).dw
        assert abs(dw / (2 * 48 * 48 * np.square(value, dtype=np.float64)) - 1).max() <= 1e-5


@pytest.mark.parametrize("space", [(300,), (40, 50), (20, 22, 24)], ids=len)
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"dilation": 2}], ids=str)
def test_float32_is_near_float64(space, options):
    """Test long and short lines with every kind of layer."""
    for channels, groups in ((64, 64), (8, 8), (1, 1), (12, 4), (64, 1)):
        x = rng(0).standard_normal((3, *space, channels), np.float32)
        w = np.ones((channels, *[3] * len(space), channels // groups), np.float32)
        y = conv_layer(x, w, groups=groups, padding="same", **options)
        dy = rng(1).standard_normal(y.shape, np.float32)
        close, exact = (
            gradients(
                *(array.astype(kind) for array in (x, w, dy)),
                groups=groups,
                padding="same",
                **options,
            ).dw
            for kind in (np.float32, np.float64)
        )
        assert_allclose(close, exact, rtol=0, atol=1e-6 * abs(dy).sum() / channels * abs(x).max())


# In one dimension, by the formulas.


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_one_dimension_with_stride_1(k):
    """The valid correlation of x with delta is dw; the full convolution of delta with w is dx."""
    x, w = rng(0).integers(-9, 9, 12), rng(1).integers(-9, 9, k)
    delta = rng(2).integers(-9, 9, 12 - k + 1)
    dx, dw, db = gradients(x[None, :, None], w[None, :, None], delta[None, :, None])
    assert_array_equal(dw[0, :, 0], correlate(x, delta))
    assert_array_equal(
        dw[0, :, 0], [sum(delta[j] * x[i + j] for j in range(len(delta))) for i in range(k)]
    )
    assert_array_equal(dx[0, :, 0], convolve(delta, w, padding="full"))
    assert_array_equal(dx[0, :, 0], np.convolve(delta, w))
    assert db.tolist() == [delta.sum()]


def test_one_dimension_with_stride_padding_and_dilation():
    """Stride puts zeros between the deltas, padding crops dx, dilation dilates the kernel."""
    x, w, delta = np.arange(8.0), np.array([1.0, 10.0, 100.0]), np.array([1.0, 2.0, 3.0])
    dx = gradients(x[None, :, None], w[None, :, None], delta[None, :, None], stride=2).dx[0, :, 0]
    assert dx.tolist() == [*np.convolve([1, 0, 2, 0, 3], w), 0]
    x = np.arange(5.0)
    options = {"stride": 2, "padding": 1}
    dx = gradients(x[None, :, None], w[None, :, None], delta[None, :, None], **options).dx[0, :, 0]
    assert dx.tolist() == np.convolve([1, 0, 2, 0, 3], w)[1:-1].tolist()
    x = np.arange(7.0)
    dx = gradients(x[None, :, None], w[None, :, None], delta[None, :, None], dilation=2).dx[0, :, 0]
    assert dx.tolist() == np.convolve(delta, [1, 0, 10, 0, 100]).tolist()


def test_what_a_boundary_repeats_gets_the_share_of_all_its_copies():
    x, w, dy = (
        np.zeros((1, 3, 1)),
        np.ones((1, 3, 1)),
        np.array([1.0, 10.0, 100.0]).reshape(1, 3, 1),
    )
    shares = {
        "constant": [11, 111, 110],
        "edge": [12, 111, 210],
        "symmetric": [12, 111, 210],
        "reflect": [11, 212, 110],
        "wrap": [111, 111, 111],
    }
    for boundary, expected in shares.items():
        assert (
            gradients(x, w, dy, padding="same", boundary=boundary).dx.ravel().tolist() == expected
        )


# NaN and infinity.


def test_nan_in_the_upstream_gradient_reaches_what_its_window_covered():
    dy = np.zeros((1, 5, 1))
    dy[0, 2] = np.nan
    dx, dw, db = gradients(np.ones((1, 7, 1)), np.ones((1, 3, 1)), dy)
    assert np.isnan(dx[0, :, 0]).tolist() == [False, False, True, True, True, False, False]
    assert np.isnan(dw).all()
    assert np.isnan(db).all()


def test_nan_in_one_output_leaves_the_others_their_bias():
    dy = np.ones((1, 40, 3), np.float32)
    dy[0, 7, 1] = np.nan
    assert_array_equal(gradients(np.ones((1, 40, 1)), np.ones((3, 1, 1)), dy).db, [40, np.nan, 40])


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int32"])
@pytest.mark.parametrize("places", [1, 15, 16, 33, 100_003])
def test_the_bias_adds_up_all_places(dtype, places):
    """Equal deltas are rounded in the same direction; whole ones are exact."""
    worst = {"float32": 1e-6, "float64": 1e-14}
    value = np.array(0.1 if dtype in worst else 201, dtype)
    db = gradients(
        np.ones((1, places, 1)), np.ones((2, 1, 1)), np.full((1, places, 2), value), dtype="float64"
    ).db
    narrow = gradients(
        np.ones((1, places, 1), "f4"), np.ones((2, 1, 1)), np.full((1, places, 2), value)
    ).db
    exact = float(value) * places
    assert np.abs(db - exact).max() <= worst.get(dtype, 0) * exact
    assert np.abs(narrow - np.float32(exact)).max() <= 1e-6 * exact


@pytest.mark.parametrize(
    ("dtype", "result"), [("uint8", "float32"), ("int32", "float64"), ("float32", "float32")]
)
def test_types_are_those_of_the_layer(dtype, result):
    x, w, dy = np.ones((1, 5, 1), dtype), np.ones((2, 3, 1)), np.ones((1, 3, 2))
    assert {array.dtype.name for array in gradients(x, w, dy)} == {result}
    assert {array.dtype.name for array in gradients(x, w, dy, dtype="float64")} == {"float64"}
    assert conv_transpose(np.ones((1, 3, 2), dtype), w).dtype == result


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x, w: gradients(x, w, np.ones((1, 6, 2))),
            "gradient is 1x6x2; the layer's output is 1x5x2",
        ),
        (
            lambda x, w: gradients(x, w, np.ones((1, 5, 2)), dtype="int32"),
            "dtype int32; expected float32 or float64",
        ),
        (
            lambda x, w: gradients(x, w, np.ones((1, 5, 2)), dtype="flat"),
            "dtype 'flat'; expected a number type",
        ),
        (
            lambda x, w: gradients(x, w, np.ones((1, 5, 2)) * 1j),
            "the upstream gradient holds complex128 values",
        ),
        (
            lambda x, w: gradients(x[0], w, np.ones((1, 5, 2))),
            "expected x (N, *S, C) and w (O, *K, C/groups)",
        ),
        (
            lambda x, w: conv_transpose(x, w),
            "the transposed kernel 2x3x1 takes 2 channels, the input has 1",
        ),
        (lambda x, w: conv_transpose(x.repeat(2, 2), w, [1, 2, 3]), "bias 3; expected (1,)"),
        (lambda x, w: conv_transpose(x.repeat(2, 2), w, padding=5), "padding takes away all"),
        (
            lambda x, w: conv_transpose(x.repeat(2, 2), w, layout="first"),
            "layout 'first'; expected channels_last or",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(ConvError) as caught:
        call(np.ones((1, 7, 1)), np.ones((2, 3, 1)))
    assert message in str(caught.value)


# Against PyTorch, where it is installed.


@given(layers(("float64",), ("constant",)), st.integers(0, 99))
@examples(60)
def test_torch_agrees(case: LayerCase, seed: int):
    torch = pytest.importorskip("torch")
    geometry = case.geometry
    assume(all(lo == hi for lo, hi in geometry.pads))
    x, w = (
        torch.tensor(np.ascontiguousarray(cases.first(array)), requires_grad=True)
        for array in (case.x, case.w)
    )
    functional = torch.nn.functional
    dims = len(geometry.spatial)
    names = {"stride": geometry.stride, "dilation": geometry.dilation, "groups": case.groups}
    torch_pads = tuple(lo for lo, _ in geometry.pads)
    y = getattr(functional, f"conv{dims}d")(x, w, padding=torch_pads, **names)
    dy = rng(seed).integers(-8, 9, tuple(y.shape)).astype(float)
    y.backward(torch.tensor(dy))
    options = {"groups": case.groups, **geometry.given, "cval": 0.0, "layout": "channels_first"}
    assert_allclose(
        conv_layer(cases.first(case.x), cases.first(case.w), **options),
        y.detach().numpy(),
        atol=1e-12,
    )
    dx, dw, _ = gradients(cases.first(case.x), cases.first(case.w), dy, **options)
    assert_allclose(dx, x.grad.numpy(), atol=1e-12)
    assert_allclose(dw, w.grad.numpy(), atol=1e-12)
    names["output_padding"] = geometry.unused
    back = getattr(functional, f"conv_transpose{dims}d")(
        torch.tensor(dy), w.detach(), padding=torch_pads, **names
    )
    ours = conv_transpose(
        dy, cases.first(case.w), layout="channels_first", padding=geometry.pads, **names
    )
    assert_allclose(ours, back.numpy(), atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("stride", "dilation", "pad", "extra"), [(1, 1, 0, 0), (2, 1, 1, 1), (3, 2, 2, 2), (2, 3, 1, 2)]
)
def test_conv_transpose_gradients_agree_with_torch(stride, dilation, pad, extra, groups):
    torch = pytest.importorskip("torch")
    x, w = (
        rng(seed).standard_normal(shape) for seed, shape in enumerate([(2, 4, 5, 4), (4, 3, 2, 3)])
    )
    leaves = [torch.tensor(np.array(cases.first(a))).requires_grad_() for a in (x, w)]
    bias = torch.zeros(3 * groups, dtype=torch.float64, requires_grad=True)
    options = {
        "stride": stride,
        "dilation": dilation,
        "padding": pad,
        "output_padding": extra,
        "groups": groups,
    }
    y = torch.nn.functional.conv_transpose2d(*leaves, bias, **options)
    dy = rng(9).standard_normal(tuple(y.shape))
    y.backward(torch.tensor(dy))
    ours = conv_transpose_gradients(
        cases.first(x), cases.first(w), dy, layout="channels_first", **options
    )
    for own, leaf in zip(ours, (*leaves, bias), strict=True):
        assert_allclose(own, leaf.grad.numpy(), rtol=1e-12, atol=1e-12)
