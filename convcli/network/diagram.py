"""Place a network's layers in rows of boxes, without overlaps, and route the edges between them.

A layer's row is the length of the longest path to it. An edge over several rows has a narrow cell
in every row between, so that it never crosses a box. Within the rows, cells are ordered so that few
edges cross, and then moved as close to their neighbours as their widths allow.

Source: Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system
structures", 1981.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from convcli.errors import LimitError
from convcli.network.graph import Network

MOST_CELLS = 20_000
"""Maximum number of boxes and of rows that edges pass: a picture of more is of no use."""

SWEEPS = 6
"""Passes over the rows, down and up, that order and that move the cells; more change little."""

PASSING = 14.0
"""Width of the cell of an edge that passes a row."""

LIGHT = 1e-3
"""The weight of an arm without boxes beside that of a box, 1: the boxes stay in one line."""

Point = tuple[float, float]


class Box(NamedTuple):
    """A layer's box. node: its index in the network; of an input, as in `Network.inputs`."""

    node: int
    x: float
    y: float
    width: float
    height: float


class Edge(NamedTuple):
    """A line from a box to another, by the indices of their nodes.

    points: its ends, and the two ends of every row that it passes between.
    """

    source: int
    target: int
    points: tuple[Point, ...]


class Diagram(NamedTuple):
    """Boxes and edges; all coordinates are from 0 to width and height."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]


class Sizes(NamedTuple):
    """The size of every box, and the gaps between boxes side by side and between rows."""

    width: float
    height: float
    across: float = 18.0
    down: float = 30.0


@dataclass
class _Cell:
    """A box, or an edge that passes a row; above and below are its neighbours' cells."""

    width: float
    weight: float
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    x: float = 0.0  # of its centre


def place_boxes(network: Network, sizes: Sizes) -> Diagram:
    """Return the boxes of the inputs and the layers, and the edges between them.

    Raises LimitError if there are more than MOST_CELLS.

    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> net = Network.of(Tensor((8, 8), 4), parse("residual[conv:4,k=3,p=1] relu"))
    >>> made = place_boxes(net, Sizes(100, 40))
    >>> [(box.node, box.y) for box in made.boxes]
    [(-1, 0.0), (0, 70.0), (1, 140.0), (2, 210.0)]
    >>> [(edge.source, edge.target) for edge in made.edges]
    [(-1, 0), (0, 1), (-1, 1), (1, 2)]
    """
    rows = _Rows(network, sizes)
    rows.order_cells()
    rows.move_cells()
    return rows.diagram()


class _Rows:
    """The cells of a diagram, row by row."""

    def __init__(self, network: Network, sizes: Sizes) -> None:
        self.sizes = sizes
        self.cells: list[_Cell] = []
        self.row_of = _rows_of(network)
        self.rows: list[list[int]] = [[] for _ in range(max(self.row_of.values()) + 1)]
        self.cell_of = {
            node: self.add(row, _Cell(sizes.width, 1.0)) for node, row in self.row_of.items()
        }
        self.readers = Counter(source for node in network.nodes for source in node.inputs)
        self.paths: list[tuple[int, int, list[int]]] = []
        for target, node in enumerate(network.nodes):
            for source in node.inputs:
                self.paths.append((source, target, self.route(source, target)))

    def add(self, row: int, cell: _Cell) -> int:
        if len(self.cells) == MOST_CELLS:
            raise LimitError(
                "a diagram of too many layers",
                f"expected at most {MOST_CELLS:,} boxes and passing edges",
                "use smaller counts",
            )
        self.cells.append(cell)
        self.rows[row].append(len(self.cells) - 1)
        return len(self.cells) - 1

    def route(self, source: int, target: int) -> list[int]:
        """Add a cell in every row between two boxes, and return the path of cells."""
        between = range(self.row_of[source] + 1, self.row_of[target])
        weight = LIGHT if self.readers[source] > 1 else 1.0
        passing = [self.add(row, _Cell(PASSING, weight)) for row in between]
        path = [self.cell_of[source], *passing, self.cell_of[target]]
        for upper, lower in pairwise(path):
            self.cells[upper].below.append(lower)
            self.cells[lower].above.append(upper)
        return path

    def order_cells(self) -> None:
        """Order every row by its neighbours' mean places, and keep the order that crosses least."""
        best = [list(row) for row in self.rows]
        fewest = self.crossings()
        for sweep in range(SWEEPS):
            if not fewest:
                break
            upward = bool(sweep % 2)
            for row, near in self._sweep(upward):
                places = {cell: at for at, cell in enumerate(near)}
                means = {}
                for at, cell in enumerate(row):
                    found = [places[each] for each in self._neighbours(cell, upward)]
                    means[cell] = sum(found) / len(found) if found else at
                row.sort(key=means.__getitem__)
            crossed = self.crossings()
            if crossed < fewest:
                fewest = crossed
                best = [list(row) for row in self.rows]
        self.rows = best

    def _sweep(self, upward: bool) -> list[tuple[list[int], list[int]]]:
        """Return every row but the first of a pass, with the row that comes before it."""
        rows = self.rows[::-1] if upward else self.rows
        return [(row, near) for near, row in pairwise(rows)]

    def _neighbours(self, cell: int, upward: bool) -> list[int]:
        return self.cells[cell].below if upward else self.cells[cell].above

    def crossings(self) -> int:
        """Count the pairs of edges that cross."""
        total = 0
        for near, row in pairwise(self.rows):
            place = {cell: at for at, cell in enumerate(near)}
            seen: list[int] = []
            for cell in row:
                ends = sorted(place[each] for each in self.cells[cell].above)
                total += sum(len(seen) - bisect_right(seen, end) for end in ends)
                for end in ends:
                    insort(seen, end)
        return total

    def move_cells(self) -> None:
        """Move every cell close to its neighbours, first down, then up and down again."""
        for row in self.rows:
            self._settle(row, [0.0] * len(row))
        for sweep in range(SWEEPS + 1):  # the last goes down
            upward = bool(sweep % 2)
            for row, _ in self._sweep(upward):
                self._settle(row, [self._pull(cell, upward) for cell in row])

    def _pull(self, cell: int, upward: bool) -> float:
        """Return the weighted mean of the neighbours' centres."""
        near = [self.cells[each] for each in self._neighbours(cell, upward)]
        total = sum(each.weight for each in near)
        return sum(each.x * each.weight for each in near) / total if near else self.cells[cell].x

    def _settle(self, row: Sequence[int], wanted: Sequence[float]) -> None:
        """Set a row's centres: as close to the wanted ones as the widths allow."""
        cells = [self.cells[number] for number in row]
        offset = 0.0
        offsets = []
        for number, cell in enumerate(cells):
            if number:
                offset += (cells[number - 1].width + cell.width) / 2 + self.sizes.across
            offsets.append(offset)
        targets = [centre - shift for centre, shift in zip(wanted, offsets, strict=True)]
        fitted = _increasing(targets, [cell.weight for cell in cells])
        for cell, value, shift in zip(cells, fitted, offsets, strict=True):
            cell.x = value + shift

    def diagram(self) -> Diagram:
        left = min(cell.x - cell.width / 2 for cell in self.cells)
        right = max(cell.x + cell.width / 2 for cell in self.cells)
        pitch = self.sizes.height + self.sizes.down
        width, height = self.sizes[:2]
        boxes = tuple(
            Box(node, self._x(cell) - left - width / 2, self.row_of[node] * pitch, width, height)
            for node, cell in self.cell_of.items()
        )
        edges = []
        for source, target, path in self.paths:
            top = self.row_of[source] * pitch
            points = [(self._x(path[0]) - left, top + height)]
            for number, cell in enumerate(path[1:-1], 1):
                x = self._x(cell) - left
                points += [(x, top + number * pitch), (x, top + number * pitch + height)]
            points.append((self._x(path[-1]) - left, top + (len(path) - 1) * pitch))
            edges.append(Edge(source, target, tuple(points)))
        total = (len(self.rows) - 1) * pitch + height
        return Diagram(right - left, total, boxes, tuple(edges))

    def _x(self, cell: int) -> float:
        return self.cells[cell].x


def _rows_of(network: Network) -> dict[int, int]:
    """Return the row of every input and layer; an input is next to the first that reads it."""
    rows = dict.fromkeys(network.inputs, 0)
    first: dict[int, int] = {}
    for index, node in enumerate(network.nodes):
        rows[index] = max((rows[source] + 1 for source in node.inputs), default=0)
        for source in node.inputs:
            first[source] = min(first.get(source, rows[index]), rows[index])
    for source in network.inputs:
        rows[source] = first.get(source, 1) - 1
    return rows


def _increasing(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the nearest values, by weighted squares, that never decrease.

    >>> _increasing([3.0, 1.0, 5.0], [1.0, 1.0, 1.0]), _increasing([2.0, 0.0], [3.0, 1.0])
    ([2.0, 2.0, 5.0], [1.5, 1.5])
    """
    runs: list[tuple[float, float, int]] = []  # mean, weight, count
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = value, weight, 1
        while runs and runs[-1][0] > mean:
            before, heavier, more = runs.pop()
            mean = (mean * total + before * heavier) / (total + heavier)
            total, count = total + heavier, count + more
        runs.append((mean, total, count))
    return [mean for mean, _, count in runs for _ in range(count)]
