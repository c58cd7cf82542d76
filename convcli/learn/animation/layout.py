"""Where a frame shows what: the grids of cells, their labels, and the lines of text.

With two spatial axes, the source is on the left, the result on the right, and the weights and their
products between them, above each other or side by side. With one axis, the weights slide below the
source, then come the products and the result. Several channels are rows, each with its own
products.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from convcli.drawing.canvas import Box, text_width
from convcli.errors import LimitError
from convcli.learn.animation.scene import Pair, Scene
from convcli.learn.animation.slide import Slide
from convcli.shapes.parse import show

SMALLEST = 4
"""The smallest side of a cell in pixels."""

LARGEST = 10
"""The width of a picture, divided by the largest side of a cell."""

ROWS = 4
"""The most channels of the source that are shown; the sum has the others too."""

FONT = 46
"""The width of a picture, divided by the size of its text."""

SMALL, LARGE = 10, 22
"""The smallest and the largest size of text in pixels."""


class Grid(NamedTuple):
    """Cells of one size: the pixel at the left top, the side of a cell, and how many there are."""

    left: int
    top: int
    unit: int
    rows: int
    columns: int

    @property
    def line(self) -> int:
        """The width of the line between two cells."""
        return 1 if self.unit >= 8 else 0

    @property
    def bottom(self) -> int:
        return self.top + self.rows * self.unit

    def box(self, row: int, column: int) -> Box:
        """Return the area of a cell, without the line between it and the next ones."""
        return self.area(row, column, row + 1, column + 1)

    def area(self, top: int, left: int, bottom: int, right: int) -> Box:
        """Return the area of cells; bottom and right are outside it."""
        return (
            self.left + left * self.unit,
            self.top + top * self.unit,
            self.left + right * self.unit - self.line,
            self.top + bottom * self.unit - self.line,
        )


class Label(NamedTuple):
    """A line of text: its left end, the middle of its height, and the name of its colour.

    row: that of the pair whose source it names, else None.
    """

    left: float
    middle: float
    text: str
    colour: str
    row: int | None = None


class Names(NamedTuple):
    """The words of a picture: what each grid is called."""

    source: str
    weights: str
    result: str


@dataclass
class Layout:
    """The places of everything on a picture.

    text: the size of text. sources, weights, products: one grid for each pair that is shown; with
    one spatial axis, that of weights and products begins where the source does. results: one for
    each channel. sums: the places of the pairs' partial sums. caption: the middle of the first line
    of the sum.
    """

    width: int
    unit: int
    text: float
    height: int = 0
    caption: float = 0.0
    sources: list[Grid] = field(default_factory=list)
    weights: list[Grid] = field(default_factory=list)
    products: list[Grid] = field(default_factory=list)
    results: dict[int, Grid] = field(default_factory=dict)
    sums: list[tuple[float, float]] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    @property
    def margin(self) -> int:
        return margin(self.width)

    @property
    def line(self) -> int:
        """The height of a line of text."""
        return round(1.6 * self.text)


def source_label(names: Names, pair: Pair) -> str:
    """Return the label of a pair's source."""
    return names.source if pair.channel is None else f"{names.source}, channel {pair.channel}"


def text_size(width: int) -> float:
    """Return the size of the text on a picture."""
    return min(max(width / FONT, SMALL), LARGE)


def margin(width: int) -> int:
    """Return the pixels that are left free along the edges of a picture."""
    return max(width // 40, 8)


def arrange(scene: Scene, names: Names, size: int, caption_lines: int) -> Layout:
    """Return the layout with the largest cells that fit `size` pixels in width, and in height.

    Raises LimitError if cells would be smaller than SMALLEST.
    """
    trials: Sequence[tuple[int, bool]] = [(1, False)]
    if len(scene.slides) == 2:
        trials = list(itertools.product(range(1, len(scene.channels) + 1), [False, True]))
    for unit in range(size // LARGEST, SMALLEST - 1, -1):
        for tiles, beside in trials:
            layout = Layout(size, unit, text_size(size))
            if len(scene.slides) == 2:
                fits = _Columns(scene, names, layout, caption_lines, tiles, beside).arrange()
            else:
                fits = _Strips(scene, names, layout, caption_lines).arrange()
            if fits and layout.height <= size:
                return layout
    raise LimitError(
        f"{show(slide.length for slide in scene.slides)} values in, and "
        f"{show((*scene.result.shape[1:], len(scene.channels)))} out",
        f"a cell would have less than {SMALLEST} pixels at --size {size}",
        f"use --crop {size // (6 if len(scene.slides) == 1 else 18)}, a larger --size, or one "
        "channel with --channel",
    )


@dataclass(frozen=True)
class _Arrangement:
    """What both kinds of layouts share."""

    scene: Scene
    names: Names
    layout: Layout
    caption_lines: int

    @property
    def rows(self) -> int:
        return min(max(map(len, self.scene.pairs)), ROWS)

    @cached_property
    def results(self) -> list[tuple[int, str]]:
        """The channels of the result, and their labels."""
        several, name = len(self.scene.result) > 1, self.names.result
        return [(c, f"{name}, channel {c}" if several else name) for c in self.scene.channels]

    @property
    def widest_source(self) -> str:
        """The widest label of a source, whose channels differ between channels of the result."""
        pairs = itertools.chain.from_iterable(self.scene.pairs)
        return max((source_label(self.names, pair) for pair in pairs), key=len)

    def widest(self, *labels: str) -> int:
        return round(max(text_width(label, self.layout.text) for label in labels))

    def finish(self, bottom: int) -> None:
        """Place the caption below everything else."""
        layout = self.layout
        layout.caption = bottom + 0.9 * layout.line
        layout.height = bottom + layout.line * self.caption_lines + layout.margin


@dataclass(frozen=True)
class _Columns(_Arrangement):
    """The layout of two spatial axes. tiles: results side by side. beside: weights and products."""

    tiles: int
    beside: bool

    def arrange(self) -> bool:
        """Place everything; return whether it fits the width."""
        layout, line = self.layout, self.layout.line
        lefts = self._lefts()
        if lefts is None:
            return False
        tile_rows = -(-len(self.results) // self.tiles)
        tile = line + self.scene.result.shape[1] * layout.unit + line // 2
        body = max(self.rows * self._row, tile_rows * tile)
        top = layout.margin + line
        begin = top + (body - self.rows * self._row) // 2
        for number in range(self.rows):
            self._place_pair(number, lefts, begin + number * self._row)
        begin = top + (body - tile_rows * tile) // 2
        for number, (channel, name) in enumerate(self.results):
            down, across = divmod(number, self.tiles)
            left = lefts[-1] + across * (self._tile + self._gap // 2)
            size = self.scene.result.shape[1:]
            layout.results[channel] = self._grid(left, begin + down * tile, size, name, "output")
        self.finish(top + body)
        return True

    # The widths of the columns, and the height of a row.

    @property
    def _gap(self) -> int:
        return max(round(1.3 * self.layout.text), round(0.6 * self.layout.unit))

    @property
    def _tile(self) -> int:
        """The width of a result."""
        labels = self.widest(*(name for _, name in self.results))
        cells: int = self.scene.result.shape[2]
        return max(cells * self.layout.unit, labels)

    @property
    def _window(self) -> tuple[int, int]:
        down, across = (slide.taps for slide in self.scene.slides)
        return down, across

    @property
    def _source(self) -> tuple[int, int]:
        high, wide = (slide.length for slide in self.scene.slides)
        return high, wide

    def _lefts(self) -> list[int] | None:
        """Return the left ends of the columns; None if they do not fit."""
        layout, across = self.layout, self._window[1] * self.layout.unit
        middle = [max(across, self.widest(name)) for name in (self.names.weights, "products")]
        widths = [
            max(self._source[1] * layout.unit, self.widest(self.widest_source)),
            *(middle if self.beside else [max(middle)]),
            self.tiles * self._tile + (self.tiles - 1) * (self._gap // 2),
        ]
        free = layout.width - 2 * layout.margin - self._gap * (len(widths) - 1) - sum(widths)
        if free < 0:
            return None
        steps = (width + self._gap for width in widths[:-1])
        return list(itertools.accumulate(steps, initial=layout.margin + free // 2))

    @property
    def _middle(self) -> int:
        """The height of weights and products with their labels, and their partial sum."""
        line, each = self.layout.line, self.layout.line + self._window[0] * self.layout.unit
        sums = line if self.rows > 1 else 0
        return sums + (each if self.beside else 2 * each + line // 4)

    @property
    def _row(self) -> int:
        line = self.layout.line
        return max(line + self._source[0] * self.layout.unit, self._middle) + line // 2

    def _place_pair(self, number: int, lefts: list[int], top: int) -> None:
        """Place a source, its weights and their products, each in the middle of the row."""
        layout, line = self.layout, self.layout.line
        room = self._row - line // 2
        own = top + (room - line - self._source[0] * layout.unit) // 2
        layout.sources.append(self._grid(lefts[0], own, self._source, "", "input", number))
        own = top + (room - self._middle) // 2
        weights = self._grid(lefts[1], own, self._window, self.names.weights, "quiet")
        layout.weights.append(weights)
        left, own = (lefts[2], own) if self.beside else (lefts[1], weights.bottom + line // 4)
        products = self._grid(left, own, self._window, "products", "quiet")
        layout.products.append(products)
        if self.rows > 1:
            layout.sums.append((left, products.bottom + 0.5 * line))

    def _grid(
        self,
        left: int,
        top: int,
        size: tuple[int, ...],
        name: str,
        colour: str,
        row: int | None = None,
    ) -> Grid:
        """Return a grid of this size (rows, columns) below its label."""
        layout = self.layout
        layout.labels.append(Label(left, top + 0.4 * layout.line, name, colour, row))
        return Grid(left, top + layout.line, layout.unit, size[0], size[1])


@dataclass(frozen=True)
class _Strips(_Arrangement):
    """The layout of one spatial axis: strips below one another, with labels on their left."""

    def arrange(self) -> bool:
        """Place everything; return whether it fits the width."""
        layout, line = self.layout, self.layout.line
        (slide,), out = self.scene.slides, self.scene.result.shape[1]
        labels = [self.widest_source, self.names.weights, "products"]
        side = self.widest(*labels, *(name for _, name in self.results)) + round(layout.text)
        cells = max(slide.length, out)
        free = layout.width - 2 * layout.margin - side - cells * layout.unit
        if free < 0:
            return False
        label = layout.margin + free // 2
        top = layout.margin + line + line // 2
        for number in range(self.rows):
            top = self._place_pair(number, label, label + side, top)
        top += max(layout.unit, line)
        left = label + side + round(self._shift(slide, cells, out) * layout.unit)
        for channel, name in self.results:
            layout.results[channel] = self._strip(label, left, top, out, name, "output")
            top += self._step
        self.finish(top)
        return True

    @property
    def _step(self) -> int:
        """The height from one strip to the next."""
        return self.layout.unit + self.layout.unit // 4

    def _place_pair(self, number: int, label: int, left: int, top: int) -> int:
        """Place a source, its weights and their products; return the top of what is below."""
        layout, length = self.layout, self.scene.slides[0].length
        for grids, name, colour, row in (
            (layout.sources, "", "input", number),
            (layout.weights, self.names.weights, "quiet", None),
            (layout.products, "products", "quiet", None),
        ):
            grids.append(self._strip(label, left, top, length, name, colour, row))
            top += self._step
        if self.rows > 1:
            layout.sums.append((left, top + 0.3 * layout.line))
            top += layout.line
        return top

    @staticmethod
    def _shift(slide: Slide, cells: int, out: int) -> float:
        """Return the place of the first value of the result.

        With steps of 1, a value is below the centre of its window; else all are in the middle.
        """
        if slide.step != 1:
            return (cells - out) / 2
        return min(max(slide.first - slide.start + (slide.reach - 1) / 2, 0), cells - out)

    def _strip(
        self,
        label: int,
        left: int,
        top: int,
        cells: int,
        name: str,
        colour: str,
        row: int | None = None,
    ) -> Grid:
        layout = self.layout
        layout.labels.append(Label(label, top + layout.unit / 2, name, colour, row))
        return Grid(left, top, layout.unit, 1, cells)
