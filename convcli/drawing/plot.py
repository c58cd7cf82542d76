"""Draw axes with ticks, lines and pictures on parts of a canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convcli.drawing.canvas import Box, Canvas, Point, short_number, text_width
from convcli.drawing.palette import RGB, Theme
from convcli.drawing.sampling import Pixels, envelope

TEXT = 12
"""The size of text in pixels."""

LINE = 1.6
"""The width of a line in pixels."""

LEFT, TOP, RIGHT, BOTTOM = 52, 26, 14, 40
"""The margins of a plot for its title, ticks and labels."""


class Plot:
    """Axes on a part of a canvas, on which lines are drawn.

    box: the area with title, ticks and labels. x, y: the values at the ends of the axes. below:
    what the x axis shows.

    >>> from convcli.drawing.palette import LIGHT
    >>> canvas = Canvas(200, 160, LIGHT.page)
    >>> plot = Plot(canvas, (0, 0, 200, 160), (0, 10), (-1, 1), LIGHT, title="sine")
    >>> plot.area
    (52, 26, 186, 120)
    >>> plot.at(0, 1), plot.at(10, -1)
    ((52.0, 26.0), (186.0, 120.0))
    """

    def __init__(
        self,
        canvas: Canvas,
        box: Box,
        x: tuple[float, float],
        y: tuple[float, float],
        theme: Theme,
        *,
        title: str = "",
        below: str = "",
    ) -> None:
        left, top, right, bottom = box
        self.canvas, self.theme = canvas, theme
        self.area: Box = (left + LEFT, top + TOP, right - RIGHT, bottom - BOTTOM)
        self.x, self.y = _wider(x), _wider(y)
        canvas.rectangle(self.area, theme.card, theme.line)
        write_title(canvas, (self.area[0], top, right, self.area[1]), title, theme)
        self._draw_ticks()
        middle = (self.area[0] + self.area[2]) / 2
        canvas.text((middle, bottom - 4), below, TEXT - 1, theme.quiet, anchor="ms")

    def at(self, x: float, y: float) -> Point:
        """Return the pixel of a value; a value outside the axes is outside the area."""
        left, top, right, bottom = self.area
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    def line(
        self,
        values: Sequence[float] | NDArray[Any],
        colour: RGB,
        width: float = LINE,
        *,
        within: tuple[float, float] | None = None,
    ) -> None:
        """Draw evenly spaced values; NaN is a gap.

        within: the places of the first and the last; by default the ends of the x axis. Of more
        values than there are pixels, each column shows the lowest and the highest.
        """
        room = self.area[2] - self.area[0]
        given = np.asarray(values)
        columns = len(given)
        ends: list[NDArray[Any]] = [given]
        if len(given) > 2 * room:
            columns = room
            ends = list(envelope(given, columns))
        places = np.linspace(*(within or self.x), columns)
        known = np.isfinite(ends[0])
        for is_known, run in groupby(range(columns), key=known.__getitem__):
            if is_known:
                points = [self.at(float(places[at]), float(end[at])) for at in run for end in ends]
                if len(points) == 1:
                    points = [points[0], (points[0][0] + 1, points[0][1])]
                self.canvas.line(points, colour, width)

    def write_names(self, names: Sequence[str], colours: Sequence[RGB]) -> None:
        """Write the names of curves in their colours, at the right above the plot."""
        right = float(self.area[2])
        for name, colour in reversed(list(zip(names, colours, strict=False))):
            at = (right, self.area[1] - TOP / 2)
            self.canvas.text(at, name, TEXT, colour, anchor="rm")
            right -= text_width(name, TEXT) + 12

    def _draw_ticks(self) -> None:
        left, top, right, bottom = self.area
        quiet = self.theme.quiet
        for value in ticks(*self.x, max((right - left) // 60, 2)):
            x = round(self.at(value, 0)[0])
            self.canvas.rectangle((x, top, x + 1, bottom + 4), self.theme.grid)
            self.canvas.text((x, bottom + 7), short_number(value), TEXT - 1, quiet, anchor="ma")
        for value in ticks(*self.y, max((bottom - top) // 36, 2)):
            y = round(self.at(0, value)[1])
            strong = value == 0 and self.y[0] < 0
            colour = self.theme.quiet if strong else self.theme.grid
            self.canvas.rectangle((left - 4, y, right, y + 1), colour)
            self.canvas.text((left - 7, y), short_number(value), TEXT - 1, quiet, anchor="rm")


def curve_colours(theme: Theme) -> tuple[RGB, ...]:
    """Return the colours of the curves in a plot, in order."""
    return (theme.input, theme.above_text, theme.output, theme.accent)


def write_title(canvas: Canvas, box: Box, title: str, theme: Theme) -> None:
    """Write a line of text at the left of an area, shortened if it is too long."""
    left, top, right, bottom = box
    canvas.text(
        (left, (top + bottom) / 2), shortened(title, right - left), TEXT, theme.text, anchor="lm"
    )


def shortened(text: str, width: float, size: float = TEXT) -> str:
    """Return a text of at most this width in pixels, with an ellipsis if its end is left out.

    >>> shortened("sobel-x", 100), shortened("a much longer title", 60)
    ('sobel-x', 'a much l…')
    """
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text}…"


def paste(canvas: Canvas, pixels: Pixels, at: tuple[int, int]) -> None:
    """Place a picture (H, W, 3) with its left top at a pixel (x, y)."""
    canvas.image.paste(Image.fromarray(pixels), at)


def stretched(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return a picture in another size, its sides not in proportion: (H, W, 3).

    Enlarged pixels stay sharp, reduced ones are means.
    """
    rows, columns = pixels.shape[:2]
    smaller = height < rows or width < columns
    way = Image.Resampling.BOX if smaller else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize((width, height), way))


def draw_picture(canvas: Canvas, box: Box, pixels: Pixels, theme: Theme) -> Box:
    """Draw a picture (H, W, 3) as large as the area allows, its sides in proportion, in its middle.

    Enlarged pixels stay sharp squares of whole size. Returns the area of the picture.
    """
    left, top, right, bottom = box
    rows, columns = pixels.shape[:2]
    scale = min((right - left) / columns, (bottom - top) / rows)
    scale = math.floor(scale) if scale >= 1 else scale
    width, height = max(round(columns * scale), 1), max(round(rows * scale), 1)
    x, y = left + (right - left - width) // 2, top + (bottom - top - height) // 2
    way = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    canvas.image.paste(Image.fromarray(pixels).resize((width, height), way), (x, y))
    area = (x, y, x + width, y + height)
    canvas.rectangle((x - 1, y - 1, x + width + 1, y + height + 1), None, theme.line)
    return area


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return at most some `count` round values between two others: multiples of 1, 2 or 5.

    >>> ticks(0, 10, 5), ticks(-0.3, 0.3, 3), ticks(0, 0.5, 5)
    ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [-0.2, 0.0, 0.2], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    """
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def value_range(*series: Sequence[float] | NDArray[np.generic]) -> tuple[float, float]:
    """Return the smallest and the largest finite value of all series; (0, 0) if there is none."""
    arrays = [np.asarray(values, np.float64) for values in series]
    finite = np.concatenate([values[np.isfinite(values)].ravel() for values in arrays])
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _wider(ends: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of an axis, apart from each other."""
    low, high = ends
    if high > low:
        return low, high
    return (low - 1.0, high + 1.0) if abs(low) < 1e15 else (low - abs(low), high + abs(high))
