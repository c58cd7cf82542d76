"""Draw a kernel: its taps, sections through its largest tap, and its response in decibels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convcli.drawing.canvas import Box, Canvas, short_number
from convcli.drawing.palette import LIGHT, Theme
from convcli.drawing.plot import LINE, Plot, curve_colours, paste, value_range, write_title
from convcli.drawing.sampling import Pixels, diverging, enlarged, reduced
from convcli.kernels import Kernel, kernel_sections, response, response_curves
from convcli.kernels.model import Taps
from convcli.shapes.parse import show

SIDE = 300
"""Width and height of the area of the taps; the plots are as high."""

PLOT = 400
"""Width of a plot."""

MARGIN, HEADING = 16, 34

PLANES = 9
"""Maximum number of planes of a kernel of three axes or more."""

RANGE = 80.0
"""Decibels from the largest gain down to the lowest that is drawn."""

NUMBERED = 30
"""Smallest side of a cell, in pixels, in which the tap is written."""

GRIDDED = 6
"""Smallest side of a cell, in pixels, that has a border."""

DARKEST = 380
"""Sum of red, green and blue of a cell below which its number is white."""

MARKED = 41
"""Largest number of taps of a section that are marked as points on its line."""


def kernel_figure(kernel: Kernel, theme: Theme = LIGHT) -> Pixels:
    """Draw a kernel: taps, sections and response side by side -> (H, W, 3) uint8.

    >>> from convcli.kernels import kernel
    >>> kernel_figure(kernel("sobel-x")).shape
    (384, 1180, 3)
    """
    flat = kernel.taps.ndim == 1
    width = (0 if flat else SIDE + 2 * MARGIN) + 2 * PLOT + 3 * MARGIN
    canvas = Canvas(width, HEADING + SIDE + 50, theme.page)
    top, bottom = HEADING, canvas.size[1] - MARGIN // 2
    name = f"{kernel.name}, {show(kernel.shape)}, sum {short_number(response(kernel).flat)}"
    write_title(canvas, (MARGIN, 0, width - MARGIN, HEADING), name, theme)
    left = MARGIN
    if not flat:
        _draw_taps(canvas, (left, top + 26, left + SIDE, top + 26 + SIDE), kernel.taps, theme)
        left += SIDE + 2 * MARGIN
    _draw_sections(canvas, (left, top, left + PLOT, bottom), kernel, theme)
    left += PLOT + MARGIN
    _draw_response(canvas, (left, top, left + PLOT, bottom), kernel, theme)
    return canvas.array()


def cells(area: Box, shape: Sequence[int]) -> list[list[Box]]:
    """Return the squares of a grid of cells in the middle of an area, row by row.

    >>> cells((0, 0, 9, 9), (1, 3))
    [[(0, 3, 3, 6), (3, 3, 6, 6), (6, 3, 9, 6)]]
    """
    left, top, right, bottom = area
    rows, columns = shape
    side = max(min((right - left) // columns, (bottom - top) // rows), 1)
    x = left + (right - left - side * columns) // 2
    y = top + (bottom - top - side * rows) // 2
    return [
        [
            (x + side * j, y + side * i, x + side * (j + 1), y + side * (i + 1))
            for j in range(columns)
        ]
        for i in range(rows)
    ]


def _draw_taps(canvas: Canvas, area: Box, taps: Taps, theme: Theme) -> None:
    """Draw every plane of the last two axes as cells, the first planes only if there are many."""
    planes = taps.reshape(-1, *taps.shape[-2:])
    shown = planes[:PLANES]
    grid = math.ceil(math.sqrt(len(shown)))
    left, top, right, _ = area
    counted = f", {len(shown)} of {len(planes)} planes" if len(planes) > len(shown) else ""
    write_title(canvas, (left, top - 26, right, top), f"taps{counted}", theme)
    side = (SIDE - 8 * (grid - 1)) // grid
    largest = float(np.abs(taps).max()) or 1.0
    for number, plane in enumerate(shown):
        x, y = (left + (number % grid) * (side + 8), top + (number // grid) * (side + 8))
        _draw_plane(canvas, (x, y, x + side, y + side), plane, largest, theme)


def _draw_plane(canvas: Canvas, area: Box, plane: Taps, largest: float, theme: Theme) -> None:
    side = area[2] - area[0]
    if max(plane.shape) > side:
        plane = reduced(plane, side, side)
    tints = diverging(plane / largest, theme)
    boxes = cells(area, plane.shape)
    left, top, right, _ = boxes[0][0]
    width = right - left
    if width < GRIDDED:
        paste(canvas, enlarged(tints, width), (left, top))
    else:
        for row, values, fills in zip(boxes, plane.tolist(), tints.tolist(), strict=True):
            for box, value, fill in zip(row, values, fills, strict=True):
                text = short_number(value) if width >= NUMBERED else ""
                canvas.cell(
                    box, tuple(fill), text, theme.card if sum(fill) < DARKEST else theme.text
                )
                canvas.rectangle(box, None, theme.grid)
    end, bottom = boxes[-1][-1][2:]
    canvas.rectangle((left - 1, top - 1, end + 1, bottom + 1), None, theme.line)


def _draw_sections(canvas: Canvas, box: Box, kernel: Kernel, theme: Theme) -> None:
    """Draw the taps along every axis through the largest one, by their distance from the middle."""
    centre, sections = kernel_sections(kernel)
    lines = [section.taps for section in sections]
    reach = max(map(len, lines)) / 2
    low, high = value_range(*lines, [0.0])
    space = 0.05 * (high - low)
    title = "taps" if len(centre) == 1 else f"taps through {list(centre)}"
    ends = (low - space, high + space)
    below = "samples from the middle"
    plot = Plot(canvas, box, (-reach, reach), ends, theme, title=f"{title}, along", below=below)
    for line, colour in zip(lines, curve_colours(theme), strict=False):
        first = (1 - len(line)) / 2
        points = [plot.at(first + number, value) for number, value in enumerate(line.tolist())]
        if len(points) > 1:
            canvas.line(points, colour, LINE)
        if len(line) <= MARKED:
            for x, y in points:
                canvas.rectangle((round(x) - 2, round(y) - 2, round(x) + 3, round(y) + 3), colour)
    plot.write_names([section.along for section in sections], curve_colours(theme))


def _draw_response(canvas: Canvas, box: Box, kernel: Kernel, theme: Theme) -> None:
    """Draw the gains along every line of `response_curves` in decibels."""
    curves = [each for each in response_curves(kernel) if not each.silent]
    highest = max((each.decibels(-math.inf).max() for each in curves), default=0.0)
    lowest = min((each.decibels(highest - RANGE).min() for each in curves), default=-RANGE)
    ends = (float(lowest) - 2, float(highest) + 5)
    title = "gain in dB, along" if curves else "gain: 0 at every frequency"
    plot = Plot(canvas, box, (0, 0.5), ends, theme, title=title, below="cycles per sample")
    for each, colour in zip(curves, curve_colours(theme), strict=False):
        plot.line(each.decibels(highest - RANGE), colour)
    plot.write_names([each.along for each in curves], curve_colours(theme))
