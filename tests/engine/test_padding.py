"""Compare parts of the padded input with numpy.pad."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcli.engine.padding import padded_block
from convcli.options import BOUNDARIES, Boundary

FAR = 9
"""Most samples between a part and the ends of an axis: more than the axis has."""


@st.composite
def parts(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...], list[tuple[int, int]]]:
    """Draw an array with items and channels, its spatial axes, and a part along each of those."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    items = draw(st.sampled_from([(), (2,)]))
    x = np.arange(
        2 * np.prod((*items, *sizes)), dtype=draw(st.sampled_from([np.uint8, np.float32]))
    )
    starts = [draw(st.integers(-FAR, n + FAR - 1)) for n in sizes]
    spans = [
        (start, draw(st.integers(start + 1, n + FAR)))
        for start, n in zip(starts, sizes, strict=True)
    ]
    return x.reshape(*items, *sizes, 2), tuple(range(len(items), len(items) + len(sizes))), spans


@pytest.mark.parametrize("boundary", BOUNDARIES)
@given(parts())
def test_a_part_is_that_of_the_padded_whole(
    boundary: Boundary, part: tuple[np.ndarray, tuple[int, ...], list[tuple[int, int]]]
) -> None:
    x, axes, spans = part
    widths = [(FAR, FAR) if axis in axes else (0, 0) for axis in range(x.ndim)]
    padded = np.pad(
        x, widths, boundary, **({"constant_values": 3} if boundary == "constant" else {})
    )
    index = (slice(None),) * axes[0] + tuple(
        slice(start + FAR, stop + FAR) for start, stop in spans
    )
    made = padded_block(x, axes, spans, boundary, 3, np.dtype(np.float32))
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, padded[index])
