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
from typing import NamedTuple

from convcli.drawing.canvas import Box, text_width
from convcli.errors import LimitError
from convcli.learn.animation.scene import Pair, Scene
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
        tiles = range(1, len(scene.channels) + 1)
        trials = list(itertools.product(tiles, [False, True]))
    arranged = _columns if len(scene.slides) == 2 else _strips
    for unit in range(size // LARGEST, SMALLEST - 1, -1):
        for columns, beside in trials:
            layout = Layout(size, unit, text_size(size))
            frame = _Frame(scene, names, layout, caption_lines, columns, beside)
            if arranged(frame) and layout.height <= size:
                return layout
    raise LimitError(
        f"{show(slide.length for slide in scene.slides)} values in, and "
        f"{show((*scene.result.shape[1:], len(scene.channels)))} out",
        f"a cell would have less than {SMALLEST} pixels at --size {size}",
        f"use --crop {size // (6 if len(scene.slides) == 1 else 18)}, a larger --size, or one "
        "channel with --channel",
    )


@dataclass(frozen=True)
class _Frame:
    """What is arranged. tiles: results beside each other. beside: products beside the weights."""

    scene: Scene
    names: Names
    layout: Layout
    caption_lines: int
    tiles: int
    beside: bool

    @property
    def rows(self) -> int:
        return min(max(map(len, self.scene.pairs)), ROWS)

    def results(self) -> list[tuple[int, str]]:
        """Return the channels of the result, and their labels."""
        several = len(self.scene.result) > 1
        names = (f"{self.names.result}, channel {c}" for c in self.scene.channels)
        return [
            (channel, name if several else self.names.result)
            for channel, name in zip(self.scene.channels, names, strict=True)
        ]

    @property
    def widest_source(self) -> str:
        """The widest label of a source, whose channels differ between channels of the result."""
        return max(
            (source_label(self.names, pair) for pairs in self.scene.pairs for pair in pairs),
            key=len,
        )

    def finish(self, bottom: int) -> None:
        """Place the caption below everything else."""
        layout = self.layout
        layout.caption = bottom + 0.9 * layout.line
        layout.height = bottom + layout.line * self.caption_lines + layout.margin


def _columns(frame: _Frame) -> bool:
    """Arrange two spatial axes; return whether they fit the width."""
    layout, scene, names = frame.layout, frame.scene, frame.names
    unit, line = layout.unit, layout.line
    high, wide = (slide.length for slide in scene.slides)
    down, across = (slide.taps for slide in scene.slides)
    out_rows, out_columns = scene.result.shape[1:]
    results = frame.results()
    gap = max(round(1.3 * layout.text), round(0.6 * unit))

    # The widths of the columns.
    def width(cells: int, labels: Sequence[str]) -> int:
        return max(cells * unit, round(max(text_width(text, layout.text) for text in labels)))

    tile = width(out_columns, [name for _, name in results])
    tiles = frame.tiles * tile + (frame.tiles - 1) * (gap // 2)
    widths = [
        width(wide, [frame.widest_source]),
        width(across, [names.weights]),
        width(across, ["products"]),
    ]
    if not frame.beside:
        widths[1:] = [max(widths[1:])]
    widths.append(tiles)
    free = layout.width - 2 * layout.margin - gap * (len(widths) - 1) - sum(widths)
    if free < 0:
        return False
    lefts = [layout.margin + free // 2]
    for size in widths[:-1]:
        lefts.append(lefts[-1] + size + gap)

    # The heights of the rows.
    sums = line if frame.rows > 1 else 0
    gap_below = line // 4
    middle = line + down * unit + sums
    if not frame.beside:
        middle += line + down * unit + gap_below
    row = max(line + high * unit, middle) + line // 2
    tile_row = line + out_rows * unit + line // 2
    tile_rows = -(-len(results) // frame.tiles)
    body = max(frame.rows * row, tile_rows * tile_row)
    top = layout.margin + line

    def place(
        left: int, top: int, rows: int, columns: int, name: str, colour: str, row: int | None = None
    ) -> Grid:
        layout.labels.append(Label(left, top + 0.4 * line, name, colour, row))
        return Grid(left, top + line, unit, rows, columns)

    begin = top + (body - frame.rows * row) // 2
    for number in range(frame.rows):
        own = begin + (row - line // 2 - line - high * unit) // 2
        layout.sources.append(place(lefts[0], own, high, wide, "", "input", number))
        own = begin + (row - line // 2 - middle) // 2
        weights = place(lefts[1], own, down, across, names.weights, "quiet")
        layout.weights.append(weights)
        left, own = (lefts[2], own) if frame.beside else (lefts[1], weights.bottom + gap_below)
        layout.products.append(place(left, own, down, across, "products", "quiet"))
        if sums:
            layout.sums.append((left, layout.products[-1].bottom + 0.5 * line))
        begin += row
    begin = top + (body - tile_rows * tile_row) // 2
    for number, (channel, name) in enumerate(results):
        tile_down, tile_across = divmod(number, frame.tiles)
        left = lefts[-1] + tile_across * (tile + gap // 2)
        own = begin + tile_down * tile_row
        layout.results[channel] = place(left, own, out_rows, out_columns, name, "output")
    frame.finish(top + body)
    return True


def _strips(frame: _Frame) -> bool:
    """Arrange one spatial axis, with labels on the left; return whether it fits the width."""
    layout, scene, names = frame.layout, frame.scene, frame.names
    unit, line = layout.unit, layout.line
    (slide,), out = scene.slides, scene.result.shape[1]
    results = frame.results()
    texts = [frame.widest_source, names.weights, "products", *(name for _, name in results)]
    side = round(max(text_width(text, layout.text) for text in texts) + layout.text)
    cells = max(slide.length, out)
    free = layout.width - 2 * layout.margin - side - cells * unit
    if free < 0:
        return False
    label = layout.margin + free // 2
    step = unit + unit // 4
    top = layout.margin + line + line // 2

    def place(left: int, columns: int, name: str, colour: str, row: int | None = None) -> Grid:
        layout.labels.append(Label(label, top + unit / 2, name, colour, row))
        return Grid(left, top, unit, 1, columns)

    strips = (
        (layout.sources, "", "input"),
        (layout.weights, names.weights, "quiet"),
        (layout.products, "products", "quiet"),
    )
    for number in range(frame.rows):
        for grids, name, colour in strips:
            row = number if grids is layout.sources else None
            grids.append(place(label + side, slide.length, name, colour, row))
            top += step
        if frame.rows > 1:
            layout.sums.append((label + side, top + 0.3 * line))
            top += line
    top += max(unit, line)

    # With steps of 1, a value of the result is below the centre of its window.
    shift = (cells - out) / 2
    if slide.step == 1:
        shift = slide.first - slide.start + (slide.reach - 1) / 2
    left = label + side + round(min(max(shift, 0), cells - out) * unit)
    for channel, name in results:
        layout.results[channel] = place(left, out, name, "output")
        top += step
    frame.finish(top)
    return True
