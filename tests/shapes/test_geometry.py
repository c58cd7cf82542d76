"""Test Geometry, which applies options to shapes, and Axis, which finds samples under taps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcli.errors import InputError
from convcli.shapes.axis import Axis
from convcli.shapes.geometry import Geometry
from convcli.shapes.layout import infer_layout
from convcli.shapes.spec import ConvSpec


def test_dims_of_its_own_come_first():
    shape, kernel = (9, 9, 3), (3, 3, 3)
    assert Geometry().conv_layout(shape, kernel, dims=2) == infer_layout(shape, kernel, dims=2)
    assert Geometry(dims=3).conv_layout(shape, kernel, dims=2) == infer_layout(
        shape, kernel, dims=3
    )


def test_its_options_reach_layout_and_spec():
    geometry = Geometry(
        stride=2, dilation=3, padding="same", boundary="wrap", groups=2, layout="channels_first"
    )
    expected = ConvSpec.of(2, stride=2, dilation=3, padding="same", boundary="wrap", groups=2)
    assert geometry.conv_spec(2) == expected
    conv_layout = geometry.conv_layout((4, 20, 30), (6, 2, 3, 3))
    assert (conv_layout.channel_mode, conv_layout.groups, conv_layout.spatial) == (
        "bank",
        2,
        (20, 30),
    )


def test_a_bad_option_is_named():
    with pytest.raises(InputError, match="stride 0"):
        Geometry(stride=0).conv_spec(2)


@given(
    st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 5), st.integers(0, 9)
)
def test_the_samples_under_the_taps_span_the_window(k, stride, dilation, lo, output):
    axis = Axis(50, k, stride, dilation, lo, lo)
    samples = axis.sample(output, np.arange(k))
    assert (samples[0], samples[-1] + 1) == axis.under(output, output + 1)
    assert set(np.diff(samples)) <= {dilation}
