"""Receptive fields: the part of the input that each output depends on, or "sees".

Each has a size, a jump (effective stride), an effective padding and a centre.

Along one axis the windows that a layer's outputs see are periodic. After convolutions, each is the
one before it moved by the jump; after a transposed convolution of stride `s`, which puts `s`
outputs on one input, `s` different windows alternate. The window of an output is the hull of the
windows of the samples under its taps. The field is the largest window; the effective padding is the
part of the first output's window that is outside the input.

Source: Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks",
Distill 2019. As there, paths whose jumps or centres differ are misaligned; if paths merge, an
output sees what any of them sees.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from convcli.errors import InputError, LimitError
from convcli.network.graph import INPUT, Network, Node
from convcli.network.layers import FIELD
from convcli.shapes.axis import Axis
from convcli.shapes.parse import show

if TYPE_CHECKING:
    from fractions import Fraction

Number: TypeAlias = "int | Fraction"
Window: TypeAlias = "tuple[int, int] | None"
"""The indices of the first and last sample that an output sees; None if it sees none."""

MOST_PHASES = 1 << 16
"""The most windows of one period."""


class Field(NamedTuple):
    """The receptive fields of all outputs along one axis.

    In samples of the input, without regard to its ends.

    >>> Field().through(Axis(224, 7, 2, lo=3, hi=3)).through(Axis(112, 3, 2, lo=1, hi=1))
    Field(windows=((-5, 5),), advance=4)
    >>> Field().through(Axis(4, 3, 2, transposed=True))
    Field(windows=((-1, 0), (0, 0)), advance=1)
    """

    windows: tuple[Window, ...] = ((0, 0),)
    """The windows of the first outputs, one period; the next is `advance` samples further on."""
    advance: int = 1

    def through(self, axis: Axis) -> Field:
        """Return the field after one more layer.

        Raises LimitError for a period of more than MOST_PHASES windows.
        """
        period = len(self.windows)
        if axis.transposed:
            count = period * axis.stride
            advance = self.advance
        else:
            shared = math.gcd(period, axis.stride)
            count = period // shared
            advance = self.advance * (axis.stride // shared)
        if count > MOST_PHASES:
            raise LimitError(
                f"layers that enlarge by {count:,} in all",
                f"fields are followed up to {MOST_PHASES:,}",
                "use less",
            )
        reach = period if not self._ordered else 1
        given = axis.windows_over if axis.transposed else axis.taps
        return Field(tuple([self._hull(given(output), reach) for output in range(count)]), advance)

    def window(self, output: int) -> Window:
        """Return the first and the last sample that an output sees."""
        turn, phase = divmod(output, len(self.windows))
        found = self.windows[phase]
        return found and (found[0] + turn * self.advance, found[1] + turn * self.advance)

    @property
    def _ordered(self) -> bool:
        """True if every output sees something, and windows never move back."""
        run = [self.window(output) for output in range(len(self.windows) + 1)]
        return all(
            one and two and one[0] <= two[0] and one[1] <= two[1] for one, two in pairwise(run)
        )

    def _hull(self, outputs: range, reach: int) -> Window:
        """Return the hull of the windows of some outputs.

        Its ends are among the windows of the first and the last `reach` outputs.
        """
        head = [window for window in map(self.window, outputs[:reach]) if window]
        tail = [window for window in map(self.window, outputs[-reach:]) if window]
        if not head or not tail:
            return None
        return min(first for first, _ in head), max(last for _, last in tail)

    @property
    def jump(self) -> Number:
        """Samples from one output's centre to the next one's, on average."""
        return _divide(self.advance, len(self.windows))

    @property
    def size(self) -> int:
        """Samples from the field's first to its last; the largest, if outputs differ."""
        return max((last - first + 1 for first, last in filter(None, self.windows)), default=0)

    @property
    def padding(self) -> float:
        """Samples before the input's first that are in the first window that is not empty."""
        return float(-self._first[0])

    @property
    def centre(self) -> float:
        """The middle of the first window that is not empty."""
        return sum(self._first) / 2

    @property
    def _first(self) -> tuple[int, int]:
        return next(filter(None, self.windows), (0, 0))

    @property
    def line(self) -> tuple[Number, Number]:
        """The jump, and twice the first centre, both on average: the centres as a straight line."""
        jump = self.jump
        middles = [sum(seen) - 2 * phase * jump for phase, seen in enumerate(self.windows) if seen]
        return jump, _divide(sum(middles), len(middles)) if middles else 0

    def joined(self, other: Field) -> Field:
        """Return the field of two paths that merge.

        If their jumps differ, the larger field.
        """
        if self == other:
            return self
        if self.jump != other.jump:
            return max(self, other, key=lambda field: field.size)
        count = math.lcm(len(self.windows), len(other.windows))
        pairs = [
            list(filter(None, (self.window(output), other.window(output))))
            for output in range(count)
        ]
        hulls = (
            (min(first for first, _ in pair), max(last for _, last in pair)) if pair else None
            for pair in pairs
        )
        return Field(tuple(hulls), self.advance * (count // len(self.windows)))


class View(NamedTuple):
    """The fields of one layer, one per input axis, and whether the paths to it are aligned.

    known: whether the fields are known, despite layers of a file whose field is not.
    blind: whether the layer sees only other inputs than the first.
    """

    fields: tuple[Field, ...]
    aligned: bool = True
    known: bool = True
    blind: bool = False


def views(network: Network) -> list[View]:
    """Return the view of every layer, in the order of the nodes."""
    found: list[View] = []

    def source(at: int) -> View:
        if at == INPUT:
            return start
        return found[at] if at > INPUT else blind

    start = View((Field(),) * len(network.x.spatial))
    blind = start._replace(known=not start.fields, blind=True)
    for node in network.nodes:
        sources = [source(at) for at in node.inputs]
        given = [view for view in sources if not view.blind] or sources[:1]
        found.append(_after(node, given))
    return found


def _after(node: Node, given: list[View]) -> View:
    """Return the view of a node from those of its inputs."""
    if node.merges:
        view = _meet(given)
    elif node.axes:
        view = given[0]._replace(fields=_through(given[0].fields, node.axes))
    else:
        view = given[0]
    unknown = FIELD in node.step.unknown or not all(each.known for each in given)
    return view._replace(known=not (unknown and view.fields), blind=given[0].blind)


def _through(fields: tuple[Field, ...], axes: tuple[Axis, ...]) -> tuple[Field, ...]:
    """Return the fields after one layer; equal axes are computed once."""
    if len(set(fields)) == 1 and len(set(axes)) == 1:
        return (fields[0].through(axes[0]),) * len(fields)
    return tuple(field.through(axis) for field, axis in zip(fields, axes, strict=True))


def _meet(given: list[View]) -> View:
    by_axis = list(zip(*(view.fields for view in given), strict=True))
    straight = all(len({field.line for field in fields}) == 1 for fields in by_axis)
    joined = tuple(reduce(Field.joined, fields) for fields in by_axis)
    return View(joined, straight and all(view.aligned for view in given))


def _divide(number: Number, by: int) -> Number:
    """Divide, and return a Fraction only if the quotient is not whole."""
    if isinstance(number, int) and number % by == 0:
        return number // by
    from fractions import Fraction

    quotient = Fraction(number) / by
    return quotient.numerator if quotient.denominator == 1 else quotient


Samples = frozenset[int]


@dataclass(frozen=True)
class Box:
    """Indices along each axis; the box is their product."""

    axes: tuple[tuple[int, ...], ...]

    @property
    def empty(self) -> bool:
        return not all(self.axes)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First and last along each axis. Not for an empty box."""
        return tuple((axis[0], axis[-1]) for axis in self.axes)

    @property
    def gapless(self) -> bool:
        """True if every sample between the first and the last belongs to the box."""
        return all(axis[-1] - axis[0] + 1 == len(axis) for axis in self.axes if axis)


def sees(network: Network, index: Sequence[int]) -> Box:
    """Find the input samples, without padding, that the output at a position depends on.

    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> net = Network.of(Tensor((9, 9), 1), parse("conv:1,k=3,p=1 conv:1,k=3,s=2,p=1"))
    >>> sees(net, (0, 2)).spans
    ((0, 2), (2, 6))
    """
    _check(index, network.output.spatial, "output")
    needed: dict[int, list[set[int]]] = {len(network.nodes) - 1: [{i} for i in index]}
    for number in range(len(network.nodes) - 1, -1, -1):
        node = network.nodes[number]
        wanted = needed.pop(number)
        if node.axes:
            wanted = [
                _to_input(axis, points) for axis, points in zip(node.axes, wanted, strict=True)
            ]
        for source in node.inputs:
            into = needed.setdefault(source, [set() for _ in wanted])
            for mine, points in zip(into, wanted, strict=True):
                mine |= points
    return _box(needed[INPUT])


def reaches(network: Network, index: Sequence[int]) -> Box:
    """Find the outputs that depend on the input sample at a position.

    The box is empty if none does.
    """
    _check(index, network.x.spatial, "input")
    if not network.output.spatial:
        _check(index, network.output.spatial, "output")
    reached: list[list[set[int]]] = []
    start = [{i} for i in index]
    for node in network.nodes:
        given = [start if source == INPUT else reached[source] for source in node.inputs]
        points = [set().union(*axis) for axis in zip(*given, strict=True)]
        if node.axes:
            points = [
                _to_output(axis, found) for axis, found in zip(node.axes, points, strict=True)
            ]
        reached.append(points)
    return _box(reached[-1])


def _to_input(axis: Axis, points: set[int]) -> set[int]:
    return (_windows_over if axis.transposed else _samples_under)(axis, points, axis.n)


def _to_output(axis: Axis, points: set[int]) -> set[int]:
    return (_samples_under if axis.transposed else _windows_over)(axis, points, axis.out)


def _samples_under(axis: Axis, points: Iterable[int], limit: int) -> set[int]:
    """Return the samples under the taps of windows."""
    return {sample for point in points for sample in axis.taps(point) if 0 <= sample < limit}


def _windows_over(axis: Axis, points: Iterable[int], limit: int) -> set[int]:
    """Return the windows that have a tap on any of the samples."""
    return {
        window for point in points for window in axis.windows_over(point) if 0 <= window < limit
    }


def _box(axes: Sequence[set[int]]) -> Box:
    sides = tuple(tuple(sorted(axis)) for axis in axes)
    return Box(sides if all(sides) else tuple(() for _ in sides))


def _check(index: Sequence[int], spatial: tuple[int, ...], what: str) -> None:
    position = ",".join(map(str, index))
    if not spatial:
        raise InputError(
            f"the {what} is flat: each of its values sees all of the input",
            remedy="leave out the layers from flatten or gap on, or use gap:keep=yes",
        )
    if len(index) != len(spatial):
        raise InputError(
            f"--at {position}",
            f"the {what} {show(spatial)} has {len(spatial)} spatial axes",
            "name each",
        )
    if not all(0 <= i < n for i, n in zip(index, spatial, strict=True)):
        raise InputError(
            f"--at {position} is outside the {what} {show(spatial)}", "indices start at 0"
        )
