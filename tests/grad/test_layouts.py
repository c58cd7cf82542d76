"""Compare gradients in a user's shapes with explicit matrices, as an independent reference."""

import numpy as np
import pytest
from cases import LayerCase, examples, layers
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

from convcli import ConvError, conv_layer, gradients
from convcli.engine.layer_form import forward, to_layer
from convcli.grad.layouts import from_layer_gradients, layout_gradients, to_layer_upstream
from convcli.grad.toeplitz import size, toeplitz, unrolled
from convcli.shapes.layout import infer_layout
from convcli.shapes.spec import ConvSpec

rng = np.random.default_rng


@given(layers(("float64",)))
@examples(150)
def test_the_matrices_are_the_layer(case: LayerCase):
    """Y = M x + the share of the padding constant, and y = X w; the transposes yield dx and dw."""
    spec = ConvSpec.of(len(case.geometry.spatial), groups=case.groups, **case.geometry.given)
    options = {"groups": case.groups, **case.geometry.given}
    y = conv_layer(case.x, case.w, **options)
    matrix = toeplitz(np.asarray(case.w), case.x.shape[1:-1], spec)
    assert matrix.size == size(case.w, case.x, spec)
    outside = conv_layer(np.zeros(case.x.shape), case.w, **options)
    assert_array_equal((case.x.reshape(len(case.x), -1) @ matrix.T).reshape(y.shape) + outside, y)
    dy = rng(4).integers(-8, 9, y.shape).astype(float)
    dx, dw, _ = gradients(case.x, case.w, dy, **options)
    assert_array_equal((dy.reshape(len(dy), -1) @ matrix).reshape(dx.shape), dx)
    rows = unrolled(np.asarray(case.x), case.w.shape[1:-1], spec)
    share, depth = len(case.w) // case.groups, case.w.shape[-1]
    for filter_, kernel in enumerate(case.w):
        group = filter_ // share
        seen = rows[..., group * depth : (group + 1) * depth].reshape(len(rows), -1)
        assert_array_equal(seen @ kernel.ravel(), y.reshape(len(rows), -1)[:, filter_])
        assert_array_equal(dy.reshape(len(rows), -1)[:, filter_] @ seen, dw[filter_].ravel())


READINGS = [
    ((7, 6), (3, 2), {}),
    ((7, 6, 3), (3, 2), {}),
    ((2, 7, 6, 3), (3, 2), {"dims": 2}),
    ((7, 6, 3), (3, 2), {"channels": "sum"}),
    ((7, 6, 3), (3, 2, 3), {}),
    ((7, 6, 3), (3, 2, 3), {"channels": "each"}),
    ((7, 6, 4), (6, 3, 2, 2), {"groups": 2}),
    ((2, 7, 6, 3), (5, 3, 2, 3), {}),
    ((3, 7, 6), (5, 3, 3, 2), {"layout": "channels_first"}),
    ((3, 7, 6), (3, 2), {"layout": "channels_first", "dims": 2}),
    ((3, 7, 6), (3, 3, 2), {"layout": "channels_first", "channels": "each", "dims": 2}),
    ((2, 3, 9), (3, 2), {"layout": "channels_first", "dims": 1}),
    ((9,), (4,), {}),
    ((9,), (4, 3, 1), {"dims": 1}),
    ((5, 5, 5), (2, 2, 2), {"dims": 3}),
]


@pytest.mark.parametrize("op", ["correlate", "convolve"])
@pytest.mark.parametrize(("shape", "kernel", "reading"), READINGS, ids=str)
def test_every_reading_has_its_adjoint(shape, kernel, reading, op):
    """<dy, y> is <dx, x> and <dw, w> in the user's shapes; the layer's form has equal gradients."""
    x, w = rng(0).integers(-9, 9, shape).astype(float), rng(1).integers(-9, 9, kernel).astype(float)
    conv_layout = infer_layout(shape, kernel, **reading)
    spec = ConvSpec.of(
        conv_layout.dims, padding=1, boundary="wrap", stride=2, groups=conv_layout.groups
    )
    y = forward(x, w, conv_layout, spec, op=op)
    dy = rng(2).integers(-9, 9, y.shape).astype(float)
    found = layout_gradients(x, w, dy, conv_layout, spec, op=op)
    assert (found.dx.shape, found.dw.shape) == (shape, kernel)
    assert np.vdot(dy, y) == np.vdot(found.dx, x) == np.vdot(found.dw, w)
    bias = np.arange(1.0, 1 + len(found.db))
    shifted = forward(x, w, conv_layout, spec, op=op, bias=bias)
    assert np.vdot(dy, shifted - y) == np.vdot(found.db, bias)
    form = to_layer(x, w if op == "correlate" else np.flip(w, conv_layout.window_axes), conv_layout)
    options = {"padding": 1, "boundary": "wrap", "stride": 2, "groups": form.groups}
    layer = gradients(form.x, form.w, to_layer_upstream(dy, conv_layout), **options)
    for own, other in zip(found, from_layer_gradients(layer, conv_layout, op), strict=True):
        assert_allclose(own, other, rtol=1e-14)
        assert own.flags.c_contiguous


def test_an_upstream_gradient_of_another_shape_names_both():
    conv_layout = infer_layout((7, 6, 3), (3, 2))
    with pytest.raises(ConvError, match="the upstream gradient is 5x4x3; the output is 5x5x3"):
        layout_gradients(
            np.ones((7, 6, 3)), np.ones((3, 2)), np.ones((5, 4, 3)), conv_layout, ConvSpec.of(2)
        )
