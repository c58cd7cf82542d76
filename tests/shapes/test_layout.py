"""Test how a kernel's axes match an input's, and that the engine uses the same match."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from convcli import ChannelError, ConvError, conv_layer, correlate
from convcli.engine.calls import run_problem
from convcli.engine.layer_form import from_layer, to_layer, to_problem
from convcli.shapes.layout import infer_layout, infer_spatial_dims
from convcli.shapes.spec import ConvSpec

SPATIAL = {1: (9,), 2: (9, 8), 3: (7, 6, 5)}
WINDOW = {1: (3,), 2: (3, 2), 3: (3, 2, 3)}
every_dims = pytest.mark.parametrize("dims", [1, 2, 3])
every_layout = pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
batches = pytest.mark.parametrize("batch", [(), (2,)], ids=["one", "batch"])


def out(dims: int) -> tuple[int, ...]:
    return tuple(n - k + 1 for n, k in zip(SPATIAL[dims], WINDOW[dims], strict=True))


def laid(shape: tuple[int, ...], channels: int, layout: str) -> tuple[int, ...]:
    return (channels, *shape) if layout == "channels_first" else (*shape, channels)


@every_dims
def test_a_window_on_a_plain_input(dims):
    a = infer_layout(SPATIAL[dims], WINDOW[dims], dims=dims)
    assert (a.channel_mode, a.channels, a.channel_axis, a.output_channel_axis) == (
        "each",
        1,
        None,
        None,
    )
    assert (a.spatial, a.window, a.with_spatial(out(dims))) == (
        SPATIAL[dims],
        WINDOW[dims],
        out(dims),
    )


@every_dims
@every_layout
@batches
def test_the_table(dims, layout, batch):
    """Check each row of the module's table, in both layouts, for one input and for a batch."""
    first = layout == "channels_first"
    x = (*batch, *laid(SPATIAL[dims], 6, layout))
    window = laid(WINDOW[dims], 6, layout)
    rows = [
        ("each", WINDOW[dims], {}, 6),
        ("sum", window, {}, 1),
        ("sum", WINDOW[dims], {"channels": "sum"}, 1),
        ("depthwise", window, {"channels": "each"}, 6),
        ("bank", (4, *window), {}, 4),
        ("bank", (4, *laid(WINDOW[dims], 3, layout)), {"groups": 2}, 4),
        ("bank", (12, *laid(WINDOW[dims], 1, layout)), {"groups": 6}, 12),
    ]
    for reading, kernel, options, filters in rows:
        a = infer_layout(x, kernel, dims=dims, layout=layout, **options)
        assert (a.channel_mode, a.channels, a.filters) == (reading, 6, filters)
        assert (a.spatial, a.window, a.batch_axes) == (SPATIAL[dims], WINDOW[dims], len(batch))
        assert a.channel_axis == (len(batch) if first else len(x) - 1)
        assert a.output_channel_axis == a.channel_axis
        assert a.with_spatial(out(dims)) == (*batch, *laid(out(dims), filters, layout))
        assert tuple(kernel[axis] for axis in a.window_axes) == a.window
        assert tuple(x[axis] for axis in a.spatial_axes) == a.spatial


@every_dims
@every_layout
@batches
def test_every_reading_runs_as_the_layer_it_means(dims, layout, batch):
    """Compare the engine's result, and its predicted shape, with a layer computed by loops."""
    rng, first = np.random.default_rng(0), layout == "channels_first"
    x = rng.integers(-9, 9, (*batch, *laid(SPATIAL[dims], 4, layout))).astype(float)
    deep, shallow = laid(WINDOW[dims], 4, layout), laid(WINDOW[dims], 2, layout)
    cases = [
        (WINDOW[dims], {}),
        (WINDOW[dims], {"channels": "sum"}),
        (deep, {}),
        (deep, {"channels": "each"}),
        ((6, *deep), {}),
        ((6, *shallow), {"groups": 2}),
    ]
    for kernel, options in cases:
        w = rng.integers(-9, 9, kernel).astype(float)
        a = infer_layout(x.shape, kernel, dims=dims, layout=layout, **options)
        y = from_layer(run_problem(to_problem(x, w, a, ConvSpec.of(dims)), None, "auto"), a)
        assert y.shape == a.with_spatial(out(dims))
        images = x if batch else x[None]
        images = np.moveaxis(images, 1, -1) if first else images
        bank = by_hand(w, a.channel_mode, layout, dims, **options)
        expected = conv_layer(images, bank, groups=4 // bank.shape[-1], method="direct")
        expected = expected if batch else expected[0]
        assert_array_equal(y, np.moveaxis(expected, -1, len(batch)) if first else expected)


def by_hand(w, reading, layout, dims, channels=None, groups=1):
    """Return the bank (O, *K, C/groups) that a kernel means for four channels."""
    if reading == "each":
        return np.stack([w[..., None]] * 4)
    if w.ndim == dims:
        return np.stack([w] * 4, axis=-1)[None]
    if layout == "channels_first":
        w = np.moveaxis(w, -1 - dims, -1)
    return (
        w
        if reading == "bank"
        else np.moveaxis(w, -1, 0)[..., None]
        if reading == "depthwise"
        else w[None]
    )


def test_a_layer_without_channels_gets_them():
    x, w = np.arange(20.0).reshape(4, 5), np.arange(12.0).reshape(3, 2, 2, 1)
    a = infer_layout(x.shape, w.shape)
    form = to_layer(x, w, a)
    assert (a.channel_mode, a.dims, a.filters, form.x.shape, form.w.shape) == (
        "bank",
        2,
        3,
        (1, 4, 5, 1),
        (3, 2, 2, 1),
    )
    y = from_layer(run_problem(to_problem(x, w, a, ConvSpec.of(2)), None, "auto"), a)
    assert_array_equal(y, np.stack([correlate(x, kernel[..., 0]) for kernel in w], axis=-1))


@pytest.mark.parametrize(
    ("shape", "kernel", "channels", "dims"),
    [
        ((9,), (3,), None, 1),
        ((28, 28), (3, 3), None, 2),
        ((28, 28), (3,), None, 1),
        ((28, 28, 3), (3, 3), None, 2),
        ((28, 28, 3), (3, 3, 3), None, 2),
        ((28, 28, 4), (3, 3, 3), None, 2),
        ((28, 28, 28), (3, 3, 3), None, 3),
        ((28, 28, 5), (3, 3, 5), None, 2),
        ((28, 28, 5), (3, 3, 3), None, 3),
        ((28, 28, 3), (8, 3, 3, 3), None, 2),
        ((28, 28), (8, 3, 3), None, 1),
        ((28, 28), (3, 3, 1), None, 2),
        ((28, 28), (8, 3, 3, 1), None, 2),
        ((2, 28, 28, 3), (8, 3, 3, 3), None, 2),
        ((2, 28, 28, 3), (3, 3, 3), None, 3),
        ((2, 28, 28, 3), (3, 3), None, 2),
        ((28, 28), (3, 3), "sum", 1),
        ((28, 28, 28), (3, 3, 28), "each", 2),
    ],
)
def test_what_the_shapes_settle(shape, kernel, channels, dims):
    assert infer_spatial_dims(shape, kernel, channels) == dims


@pytest.mark.parametrize(
    ("shape", "kernel", "options", "message"),
    [
        (
            (9, 9, 9, 9, 9),
            (3, 3),
            {},
            "the kernel 3x3 does not imply how the input 9x9x9x9x9 is read; use --dims",
        ),
        ((9, 9), (3, 3), {"dims": 3}, "dims 3; the input 9x9 has 2 axes; use 1 to 2"),
        ((9, 9), (3, 3), {"dims": 0}, "dims 0"),
        (
            (9, 9, 9, 9),
            (3,),
            {"dims": 1},
            "the input 9x9x9x9 has 3 axes besides its 1 spatial ones",
        ),
        (
            (9, 9),
            (3,),
            {"dims": 2},
            "the kernel 3 does not fit 2 spatial axes; expected 2 to 4 axes",
        ),
        (
            (9,),
            (1, 1, 1, 3),
            {"dims": 1},
            "the kernel 1x1x1x3 does not fit 1 spatial axis; expected 1 to 3 axes",
        ),
        (
            (9, 9, 3),
            (3, 3),
            {"groups": 3},
            "groups 3 with the kernel 3x3; groups divide the channels of a bank",
        ),
        ((9, 9, 3), (4, 3, 3, 3), {"channels": "each"}, "channels each with a bank of kernels"),
    ],
)
def test_what_does_not_fit(shape, kernel, options, message):
    with pytest.raises(ConvError) as caught:
        infer_layout(shape, kernel, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "kernel", "options", "counts"),
    [
        ((9, 9, 5), (3, 3, 4), {"dims": 2}, ("has 4 channels", "the input has 5", "expected 5")),
        ((9, 9, 5), (8, 3, 3, 4), {}, ("has 4 channels", "the input has 5", "expected 5")),
        (
            (9, 9, 6),
            (8, 3, 3, 6),
            {"groups": 2},
            ("has 6 channels in 2 groups", "the input has 6", "expected 3"),
        ),
        ((9, 9, 6), (9, 3, 3, 3), {"groups": 2}, ("9 kernels in 2 groups",)),
        (
            (5, 9, 9),
            (8, 4, 3, 3),
            {"layout": "channels_first"},
            ("has 4 channels", "the input has 5"),
        ),
        ((9, 9), (8, 3, 3, 3), {"dims": 2}, ("has 3 channels", "the input has 1")),
        ((9, 9, 3), (3, 3, 1), {"dims": 2}, ("has 1 channel,", "the input has 3")),
        (
            (1, 9, 9, 5),
            (8, 3, 3, 4),
            {"transposed": True},
            ("takes 8 channels", "the input has 5", "expected a first"),
        ),
        ((1, 9, 9, 8), (8, 3, 3, 4), {"transposed": True, "groups": 3}, ("8 kernels in 3 groups",)),
    ],
)
def test_channel_counts_are_named(shape, kernel, options, counts):
    with pytest.raises(ChannelError) as caught:
        infer_layout(shape, kernel, **options)
    assert all(count in str(caught.value) for count in counts)


@pytest.mark.parametrize(
    ("shape", "kernel", "remedy"),
    [
        (
            (28, 28, 1),
            (32, 1, 3, 3),
            "write the kernel as 32x3x3x1, or the input as 1x28x28 with",
        ),
        (
            (3, 224, 224),
            (64, 3, 7, 7),
            "add --layout channels_first if both have their channels first",
        ),
        ((3, 224, 224), (64, 7, 7, 3), "write the input with its channels last, 224x224x3"),
        (
            (28, 28),
            (32, 1, 3, 3),
            "add --layout channels_first if the kernel has its channels first",
        ),
        (
            (8, 28, 28, 3),
            (32, 3, 5, 5),
            "write the kernel as 32x5x5x3, or the input as 3x28x28 with",
        ),
        ((28, 28, 3), (3, 3, 4), "give a kernel with as many channels as the input"),
        ((28, 28), (32, 3, 3, 3), "give a kernel with as many channels as the input"),
    ],
)
def test_channels_in_the_other_order_are_recognised(shape, kernel, remedy):
    with pytest.raises(ChannelError) as caught:
        infer_layout(shape, kernel)
    assert remedy in str(caught.value)


def test_a_transposed_bank_maps_its_filters_back_to_channels():
    a = infer_layout((2, 9, 9, 8), (8, 3, 3, 5), transposed=True)
    assert (a.channels, a.filters, a.with_spatial((11, 11))) == (8, 5, (2, 11, 11, 5))
    a = infer_layout((2, 8, 9, 9), (8, 5, 3, 3), transposed=True, groups=2, layout="channels_first")
    assert (a.channels, a.filters, a.with_spatial((11, 11))) == (8, 10, (2, 10, 11, 11))
