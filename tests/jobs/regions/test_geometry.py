"""Regions partition an output, and the samples that each reads are those its windows cover."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from convcli.engine.padding import boundary_index
from convcli.jobs.regions.geometry import Grid, samples_under, touching
from convcli.options import BOUNDARIES
from convcli.shapes.axis import Axis

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=3)


@given(SIZES, st.data())
def test_blocks_cover_every_value_once(shape: list[int], data: st.DataObject) -> None:
    block = [data.draw(st.integers(1, n + 2)) for n in shape]
    grid, seen = Grid(tuple(shape), tuple(block)), np.zeros(shape, int)
    for number in range(len(grid)):
        seen[tuple(slice(*span) for span in grid.spans(number))] += 1
    assert (seen == 1).all()
    for axis in range(len(shape)):
        assert {grid.spans(number)[axis] for number in range(len(grid))} == set(grid.along(axis))


@st.composite
def axes(draw: st.DrawFn) -> list[Axis]:
    """Return the axes of one or two kernels with equally many outputs."""
    n, stride, out = draw(st.integers(1, 12)), draw(st.integers(1, 4)), draw(st.integers(1, 12))
    made = []
    for _ in range(draw(st.integers(1, 2))):
        k, dilation, lo = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(0, 20))
        reach = dilation * (k - 1) + 1
        hi = (out - 1) * stride + reach - n - lo
        made.append(Axis(n, k, stride, dilation, lo, max(hi, 0)))
    out = min(axis.out for axis in made)
    return made if out > 0 and all(axis.out == out for axis in made) else made[:1]


@given(axes(), st.sampled_from(BOUNDARIES), st.data())
def test_the_samples_are_those_under_the_windows(
    kernels: list[Axis], boundary: str, data: st.DataObject
) -> None:
    out = kernels[0].out
    if out < 1:
        return
    first = data.draw(st.integers(0, out - 1))
    wanted = (first, data.draw(st.integers(first + 1, out)))
    span = touching(kernels, wanted) if boundary == "constant" else wanted
    assert span[0] <= wanted[0] < wanted[1] <= span[1] <= out
    n = kernels[0].n
    samples = samples_under(kernels, span, boundary)  # type: ignore[arg-type]
    ends = [end for part in samples.spans for end in part]
    assert ends == sorted(set(ends))  # ascending, and merged where they meet
    assert ends[0] >= 0
    assert ends[-1] <= n
    held = np.concatenate([np.arange(*part) for part in samples.spans])
    if samples.order is not None:
        held = held[samples.order]
    assert len(held) == samples.length
    for axis, window in zip(kernels, samples.windows, strict=True):
        lo, hi = window.padding
        seen = [-1] * lo + list(held[slice(*window.span)]) + [-1] * hi
        for output in range(*span):
            at = axis.sample(output, np.arange(axis.k))
            under = at - axis.sample(span[0], 0)
            expected = boundary_index(at, n, boundary)  # type: ignore[arg-type]
            assert [seen[place] for place in under] == list(expected)
