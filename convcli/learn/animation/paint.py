"""Draw the frames of an animation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from convcli.drawing.canvas import (
    READABLE,
    Box,
    Canvas,
    fitting_size,
    short_number,
    shortened,
    text_width,
)
from convcli.drawing.palette import RGB, Theme
from convcli.learn.animation.layout import Grid, Layout, Names, source_label
from convcli.learn.animation.scene import EMPTY, SAMPLE, Frame, Index, Pair, Scene
from convcli.learn.animation.text import caption, number
from convcli.learn.page.layer import Floats

T = TypeVar("T")

TINTS = 20
"""Colours on each side of zero. With their smoothed text they fit a GIF's palette of 256."""

SUBSCRIPT = 34
"""The smallest cell in pixels that shows a tap's weight beside the sample."""


class Scale(NamedTuple):
    """How values of one kind are shown.

    largest: the end of the scale of colours. digits, size: of numbers; they are not shown if the
    size is 0.
    """

    largest: float
    digits: int
    size: float


class Words(NamedTuple):
    """The text of a picture. value: returns the name of a frame's value, such as y[1,2]."""

    title: str
    names: Names
    value: Callable[[Frame], str]


class Painter:
    """Draws a scene's frames. numbers: whether numbers are written."""

    def __init__(
        self,
        scene: Scene,
        layout: Layout,
        theme: Theme,
        words: Words,
        *,
        numbers: bool,
    ) -> None:
        self.scene, self.layout, self.theme = scene, layout, theme
        self.words, self.numbers = words, numbers
        pairs = list(itertools.chain.from_iterable(scene.pairs))
        self.scales = {
            "source": self._scale([pair.values for pair in pairs]),
            "weights": self._scale([pair.weights for pair in pairs]),
            "products": self._scale([part for frame in scene.frames for part in frame.products]),
            "result": self._scale([scene.result[list(scene.channels)]]),
        }
        self._begun: tuple[int, int, Canvas] | None = None

    def paint(self, frame_number: int) -> Canvas:
        """Draw one frame: the result so far, the window, its products, and their sum.

        Frames are drawn fastest in their order.
        """
        frame = self.scene.frames[frame_number]
        canvas = self._result_so_far(frame_number).copy()
        for row, grid in enumerate(self.layout.sources):
            for window in frame.windows:
                self._window(canvas, grid, window)
                if self._has_subscripts(grid):
                    self._subscripts(canvas, grid, window, self._pairs(frame)[row].weights)
        self._products(canvas, frame)
        self._outline(canvas, self.layout.results[frame.channel], frame.target, self.theme.accent)
        self._caption(canvas, frame, frame_number)
        return canvas

    def _pairs(self, frame: Frame) -> tuple[Pair, ...]:
        return self.scene.pairs[frame.channel]

    def _scale(self, arrays: Sequence[Floats]) -> Scale:
        values = np.unique(np.concatenate([array.ravel() for array in arrays]))
        largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0
        room = 0.86 * self.layout.unit
        for digits in (3, 2, 1):
            texts = {short_number(float(value), digits) for value in values.tolist()}
            widest = max(text_width(text, 100.0) for text in texts)
            size = min(0.42 * self.layout.unit, 100 * room / widest)
            if self.numbers and size >= READABLE:
                return Scale(largest, digits, size)
        return Scale(largest, 0, 0.0)

    # What several frames have in common.

    def _result_so_far(self, frame_number: int) -> Canvas:
        """Return the picture of a frame's channel, with all values up to this frame."""
        channel = self.scene.frames[frame_number].channel
        known, first, canvas = self._begun or (-1, 0, None)
        if canvas is None or known != channel or first > frame_number + 1:
            first, canvas = 0, self._draw_base(channel)
        for frame in self.scene.frames[first : frame_number + 1]:
            grid = self.layout.results[frame.channel]
            self._cell(canvas, grid, frame.target, frame.value, "result")
            self._frame(canvas, grid.area(0, 0, grid.rows, grid.columns), self.theme.output)
        self._begun = channel, frame_number + 1, canvas
        return canvas

    def _draw_base(self, channel: int) -> Canvas:
        layout, theme = self.layout, self.theme
        canvas = Canvas(layout.width, layout.height, theme.page)
        self._heading(canvas, self.words.title, layout.margin, "lm")
        pairs = self.scene.pairs[channel]
        for label in layout.labels:
            text = label.text
            if label.row is not None:
                text = source_label(self.words.names, pairs[label.row])
            at, colour = (label.left, label.middle), getattr(theme, label.colour)
            canvas.text(at, text, layout.text, colour, anchor="lm")
        for grid, pair in zip(layout.sources, pairs, strict=False):
            self._source(canvas, grid, pair.values)
        if len(self.scene.slides) == 2:
            for grid, pair in zip(layout.weights, pairs, strict=False):
                for index in np.ndindex(pair.weights.shape):
                    self._cell(canvas, grid, index, float(pair.weights[index]), "weights")
        for grid in layout.results.values():
            for row, column in np.ndindex(grid.rows, grid.columns):
                canvas.rectangle(grid.box(row, column), theme.page, theme.grid)
            self._frame(canvas, grid.area(0, 0, grid.rows, grid.columns), theme.output)
        return canvas

    def _heading(self, canvas: Canvas, text: str, left: float, anchor: str) -> None:
        layout = self.layout
        room = 0.84 * (layout.width - 2 * layout.margin)
        size = fitting_size([text], room, layout.line, layout.text) or READABLE
        at = left, layout.margin + 0.5 * layout.text
        canvas.text(at, shortened(text, size, room), size, self.theme.quiet, anchor=anchor)

    def _source(self, canvas: Canvas, grid: Grid, values: Floats) -> None:
        for index in np.ndindex(values.shape):
            kind = self.scene.kinds[index]
            if kind == EMPTY:
                self._empty(canvas, grid, index)
            else:
                self._cell(canvas, grid, index, float(values[index]), "source", kind != SAMPLE)
        spans = [
            (-slide.start, -slide.start + slide.spread * (slide.samples - 1) + 1)
            for slide in self.scene.slides
        ]
        (top, bottom), (left, right) = _two(spans, (0, 1))
        self._frame(canvas, grid.area(top, left, bottom, right), self.theme.input)

    # Cells.

    def _cell(
        self,
        canvas: Canvas,
        grid: Grid,
        index: Index,
        value: float,
        kind: str,
        hatched: bool = False,
    ) -> None:
        """Draw a value. hatched: for padding."""
        box, theme, scale = grid.box(*_row(index)), self.theme, self.scales[kind]
        tint = theme.tint(value / scale.largest, TINTS)
        outlined = grid.line and tint == theme.cell
        canvas.rectangle(box, tint, theme.grid if outlined else None)
        if hatched:
            canvas.hatch(box, theme.hatch, max(grid.unit // 5, 3))
        left, top, right, bottom = box
        if scale.size:
            middle = (left + right) / 2, (top + bottom) / 2
            text = short_number(value, scale.digits)
            canvas.text(middle, text, scale.size, theme.text)
        elif np.isnan(value):
            canvas.line([(left, top), (right, bottom)], theme.quiet)
            canvas.line([(left, bottom), (right, top)], theme.quiet)

    def _empty(self, canvas: Canvas, grid: Grid, index: Index) -> None:
        """Draw a place without a value: a dot."""
        box = left, top, right, bottom = grid.box(*_row(index))
        canvas.rectangle(box, self.theme.page, self.theme.grid)
        across, down, dot = (left + right) // 2, (top + bottom) // 2, max(grid.unit // 14, 1)
        canvas.rectangle((across - dot, down - dot, across + dot, down + dot), self.theme.line)

    def _frame(self, canvas: Canvas, box: Box, colour: RGB, width: int = 0) -> None:
        """Draw a line around cells."""
        left, top, right, bottom = box
        width = width or max(self.layout.unit // 20, 1)
        outer = left - width, top - width, right + width, bottom + width
        canvas.rectangle(outer, None, colour, width)

    def _outline(self, canvas: Canvas, grid: Grid, index: Index, colour: RGB) -> None:
        """Draw a thick line along the edge of a cell."""
        self._thick(canvas, grid, grid.box(*_row(index)), colour)

    def _thick(self, canvas: Canvas, grid: Grid, box: Box, colour: RGB) -> None:
        left, top, right, bottom = box
        outer, width = grid.line, max(round(grid.unit / 13), 1)
        box = left - outer, top - outer, right + outer, bottom + outer
        canvas.rectangle(box, None, colour, width + outer)

    # What differs from frame to frame.

    def _window(self, canvas: Canvas, grid: Grid, window: Index) -> None:
        """Draw the window: a thick line around it, and around each tap if it is dilated."""
        rows, columns = self._places(window)
        area = grid.area(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        dense = rows.step == columns.step == 1
        for row, column in itertools.product(rows, columns):
            if dense:
                self._frame(canvas, grid.box(row, column), self.theme.text, grid.line or 1)
            else:
                self._outline(canvas, grid, (row, column), self.theme.text)
        if dense:
            self._thick(canvas, grid, area, self.theme.text)
        else:
            self._frame(canvas, area, self.theme.text)

    def _places(self, window: Index) -> tuple[range, range]:
        """Return the rows and columns under a window's taps."""
        pairs = zip(self.scene.slides, window, strict=True)
        rows, columns = _two([slide.columns(i) for slide, i in pairs], range(1))
        return rows, columns

    def _has_subscripts(self, grid: Grid) -> bool:
        return self.numbers and len(self.scene.slides) == 2 and grid.unit >= SUBSCRIPT

    def _subscripts(self, canvas: Canvas, grid: Grid, window: Index, weights: Floats) -> None:
        """Write the weight of each tap into the sample's cell."""
        places = itertools.product(*self._places(window))
        for place, weight in zip(places, weights.ravel().tolist(), strict=True):
            _, _, right, bottom = grid.box(*place)
            at = right - 0.1 * grid.unit, bottom - 0.19 * grid.unit
            text = f"x{short_number(weight)}"
            canvas.text(at, text, 0.22 * grid.unit, self.theme.text, anchor="rm")

    def _products(self, canvas: Canvas, frame: Frame) -> None:
        strip = len(self.scene.slides) == 1
        for row, grid in enumerate(self.layout.products):
            products, weights = frame.products[row], self._pairs(frame)[row].weights
            shown = self._places(frame.windows[0])[1] if strip else range(0)
            for index in np.ndindex(products.shape):
                place = (shown[index[0]],) if strip else index
                if strip:
                    own = self.layout.weights[row]
                    self._cell(canvas, own, place, float(weights[index]), "weights")
                if frame.used[index]:
                    self._cell(canvas, grid, place, float(products[index]), "products")
                else:
                    self._empty(canvas, grid, place)
                if strip and grid is self.layout.products[-1]:
                    self._funnel(canvas, grid, place, frame)
        if self.numbers:
            for at, text in zip(self.layout.sums, self._sums(frame), strict=True):
                canvas.text(at, text, self.layout.text, self.theme.quiet, anchor="lm")

    def _sums(self, frame: Frame) -> list[str]:
        """Return the partial sums of the pairs that are shown; the last also has that of others."""
        sums, shown = [float(part.sum()) for part in frame.products], len(self.layout.sums)
        texts = [f"sum {number(value, 4)}" for value in sums[:shown]]
        if texts and len(sums) > shown:
            rest = number(sum(sums[shown:]), 4)
            texts[-1] += f"; {len(sums) - shown} more channels {rest}"
        return texts

    def _funnel(self, canvas: Canvas, grid: Grid, place: Index, frame: Frame) -> None:
        """Draw a line from a product to the value that it is added to."""
        left, _, right, bottom = grid.box(*_row(place))
        result = self.layout.results[frame.channel].box(*_row(frame.target))
        start, end = ((left + right) / 2, bottom + 2), ((result[0] + result[2]) / 2, result[1] - 4)
        canvas.line([start, end], self.theme.line, max(grid.unit / 24, 1))

    def _caption(self, canvas: Canvas, frame: Frame, frame_number: int) -> None:
        layout = self.layout
        counter = f"{frame_number + 1} / {len(self.scene.frames)}"
        self._heading(canvas, counter, layout.width - layout.margin, "rm")
        if self.numbers:
            for row, line in enumerate(caption(self.words.value(frame), frame, layout.width)):
                at = layout.margin, layout.caption + row * layout.line
                canvas.text(at, line, layout.text, self.theme.text, anchor="lm")


def _row(index: Index) -> tuple[int, int]:
    """Return an index as row and column; one axis is a row."""
    return (index[0], index[1]) if len(index) == 2 else (0, index[0])


def _two(axes: list[T], first: T) -> list[T]:
    """Return the rows and the columns; one axis has `first` as its rows."""
    return axes if len(axes) == 2 else [first, *axes]
