"""Test plots by the pixels that they set."""

from __future__ import annotations

import numpy as np
import pytest

from convcli.drawing.canvas import Canvas
from convcli.drawing.palette import DARK, LIGHT, Theme
from convcli.drawing.plot import Plot, draw_picture, ticks
from convcli.drawing.sampling import diverging, enlarged, envelope, reduced

RNG = np.random.default_rng(3)
BLUE = LIGHT.input


def lit(canvas: Canvas, colour: tuple[int, int, int]) -> np.ndarray:
    """Return where the canvas has a colour, or a mixture that is mostly it."""
    return np.abs(canvas.array().astype(int) - colour).max(axis=-1) < 80


def test_means_of_blocks() -> None:
    values = RNG.normal(size=(10, 13, 3))
    rows, columns = np.arange(4) * 10 // 4, np.arange(5) * 13 // 5
    wanted = [
        [values[a:b, c:d].mean((0, 1)) for c, d in zip(columns, [*columns[1:], 13], strict=True)]
        for a, b in zip(rows, [*rows[1:], 10], strict=True)
    ]
    assert np.allclose(reduced(values, 4, 5), wanted)
    assert np.array_equal(reduced(values, 99, 99), values)
    small = np.full((4, 4), 255, np.uint8)
    assert reduced(small, 1, 1).item() == 255
    assert enlarged(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), 3)[5, 2].tolist() == [6, 7, 8]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_scale_around_zero_is_monotone_and_has_zero_in_the_middle(theme: Theme) -> None:
    colours = diverging(np.linspace(-1, 1, 21), theme).astype(int)
    assert tuple(colours[10]) == theme.cell
    assert tuple(colours[0]) == theme.below_text
    assert tuple(colours[-1]) == theme.above_text
    assert np.array_equal(diverging(np.array([np.nan]), theme), diverging(np.array([0.0]), theme))


def test_an_envelope_holds_every_value_and_its_columns_touch() -> None:
    values = np.cumsum(RNG.normal(size=1000))
    low, high = envelope(values, 37)
    assert low.min() == values.min()
    assert high.max() == values.max()
    assert (low[1:] <= high[:-1]).all()
    assert (high[1:] >= low[:-1]).all()
    gapped = values.copy()
    gapped[300:600] = np.nan
    gapped[10] = np.inf
    low, high = envelope(gapped, 10)
    assert np.isnan(low).tolist() == [False] * 3 + [True] * 3 + [False] * 4
    assert np.isnan(envelope([np.nan, 1.0], 3)[0])[0]


@pytest.mark.parametrize(
    ("low", "high", "count"), [(0, 1, 5), (-3.2e-9, 4e-9, 4), (1e6, 1e6 + 1, 3), (-80, 12, 6)]
)
def test_ticks_are_round_and_inside(low: float, high: float, count: int) -> None:
    found = ticks(low, high, count)
    assert 2 <= len(found) <= count + 1
    assert all(low - 1e-12 <= value <= high + 1e-12 for value in found)
    steps = np.diff(found)
    assert np.allclose(steps, steps[0])


@pytest.mark.parametrize("count", [2, 7, 150, 5000])
def test_a_line_passes_through_its_values(count: int) -> None:
    canvas = Canvas(300, 200, LIGHT.page)
    values = np.sin(np.linspace(0, 6, count))
    plot = Plot(canvas, (0, 0, 300, 200), (0, count - 1), (-1.2, 1.2), LIGHT)
    plot.line(values, BLUE)
    where = lit(canvas, BLUE)
    for at in np.linspace(0, count - 1, 9).astype(int):
        x, y = plot.at(at, values[at])
        near = where[round(y) - 3 : round(y) + 4, max(round(x) - 2, 0) : round(x) + 3]
        assert near.any()
    assert not where[: plot.area[1] - 2].any()


def test_gaps_and_single_values() -> None:
    canvas = Canvas(300, 200, LIGHT.page)
    plot = Plot(canvas, (0, 0, 300, 200), (0, 8), (0, 2), LIGHT)
    plot.line([1, np.nan, np.nan, np.nan, 1, np.nan, np.nan, np.inf, 1], BLUE)
    where = lit(canvas, BLUE)
    row = where[round(plot.at(0, 1)[1]) - 2 : round(plot.at(0, 1)[1]) + 3].any(axis=0)
    for at, shown in enumerate([True, False, False, False, True, False, False, False, True]):
        x = round(plot.at(at, 1)[0])
        assert row[x - 3 : x + 4].any() == shown, at


def test_an_axis_of_one_value_is_widened() -> None:
    plot = Plot(Canvas(300, 200, LIGHT.page), (0, 0, 300, 200), (0, 0), (5, 5), LIGHT)
    assert plot.y == (4, 6)
    assert plot.x == (-1, 1)


def test_small_pictures_are_enlarged_to_squares_and_large_ones_reduced() -> None:
    canvas = Canvas(100, 80, LIGHT.page)
    pixels = RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    left, top, right, bottom = draw_picture(canvas, (0, 0, 100, 80), pixels, LIGHT)
    assert (right - left, bottom - top) == (100, 75)
    assert np.array_equal(canvas.array()[top:bottom:25, left:right:25][:3, :4], pixels)
    canvas = Canvas(100, 80, LIGHT.page)
    box = draw_picture(canvas, (10, 10, 60, 60), np.full((500, 1000, 3), 7, np.uint8), LIGHT)
    assert (box[2] - box[0], box[3] - box[1]) == (50, 25)
