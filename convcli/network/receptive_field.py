"""The part of the input that each output depends on.

These are the receptive field, the jump (effective stride), the effective padding and the centre.

Along one axis, a layer whose window reaches over `r` samples from `lo` before the first adds
`(r-1)*jump` to the field of view, moves its centre by `((r-1)/2 - lo)*jump`, and multiplies the
jump by its stride; a transposed layer does the same with a step of `jump/stride`. Output number i
is then centred on `centre + i*jump`, and the effective padding is what the first window reaches
beyond the input, `(size-1)/2 - centre`.

Source: Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks",
Distill 2019. As there, where paths meet the widest one counts, and paths whose jumps or centres
differ are misaligned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from convcli.errors import InputError
from convcli.network.graph import INPUT, Network
from convcli.shapes.axis import Axis
from convcli.shapes.parse import show

if TYPE_CHECKING:
    from fractions import Fraction

Number: TypeAlias = "int | Fraction"


class Field(NamedTuple):
    """A receptive field along one axis, in samples of the input.

    >>> Field().through(Axis(224, 7, 2, lo=3, hi=3)).through(Axis(112, 3, 2, lo=1, hi=1))
    Field(extent=10, jump=4, middle=0)
    """

    extent: Number = 0  # from the first sample to the last; one less than the size
    jump: Number = 1
    middle: Number = 0  # twice the centre of the first output, which keeps it whole without upsampling

    def through(self, axis: Axis) -> Field:
        """Return the field after one more layer."""
        span = axis.reach - 1
        if axis.transposed:
            step = _divide(self.jump, axis.stride)
            return Field(self.extent + span * step, step, self.middle + (2 * axis.lo - span) * step)
        jump = self.jump
        return Field(self.extent + span * jump, jump * axis.stride, self.middle + (span - 2 * axis.lo) * jump)

    @property
    def size(self) -> int:
        """Samples in the field; after upsampling, where outputs differ, the largest number."""
        return int(self.extent) + 1

    @property
    def padding(self) -> float:
        return float(self.extent - self.middle) / 2

    @property
    def centre(self) -> float:
        return float(self.middle) / 2


class View(NamedTuple):
    """The fields of one layer, one an input axis, and whether the paths to it are aligned."""

    fields: tuple[Field, ...]
    aligned: bool = True


def views(network: Network) -> list[View]:
    """Return the view of every layer, in the order of the nodes."""
    found: list[View] = []
    start = View((Field(),) * len(network.x.spatial))
    for node in network.nodes:
        given = [start if at == INPUT else found[at] for at in node.inputs]
        if node.merges:
            found.append(_meet(given))
        elif node.axes:
            found.append(View(_through(given[0].fields, node.axes), given[0].aligned))
        else:
            found.append(given[0])
    return found


def _through(fields: tuple[Field, ...], axes: tuple[Axis, ...]) -> tuple[Field, ...]:
    """Return the fields after one layer; equal axes are computed once."""
    if len(set(fields)) == 1 and len(set(axes)) == 1:
        return (fields[0].through(axes[0]),) * len(fields)
    return tuple(field.through(axis) for field, axis in zip(fields, axes, strict=True))


def _meet(given: list[View]) -> View:
    aligned = all(view.aligned for view in given) and all(
        len({(field.jump, field.middle) for field in fields}) == 1
        for fields in zip(*(view.fields for view in given), strict=True)
    )
    widest = tuple(
        max(fields, key=lambda field: field.extent) for fields in zip(*(view.fields for view in given), strict=True)
    )
    return View(widest, aligned)


def _divide(jump: Number, stride: int) -> Number:
    if isinstance(jump, int) and jump % stride == 0:
        return jump // stride
    from fractions import Fraction

    step = Fraction(jump) / stride
    return step.numerator if step.denominator == 1 else step


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
    """Find the input samples that the output at a position depends on, padding left out.

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
            wanted = [_to_input(axis, points) for axis, points in zip(node.axes, wanted, strict=True)]
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
            points = [_to_output(axis, found) for axis, found in zip(node.axes, points, strict=True)]
        reached.append(points)
    return _box(reached[-1])


def _to_input(axis: Axis, points: set[int]) -> set[int]:
    return (_windows_over if axis.transposed else _samples_under)(axis, points, axis.n)


def _to_output(axis: Axis, points: set[int]) -> set[int]:
    return (_samples_under if axis.transposed else _windows_over)(axis, points, axis.out)


def _samples_under(axis: Axis, points: Iterable[int], limit: int) -> set[int]:
    """Return the samples under the taps of some windows."""
    taps = range(-axis.lo, axis.reach - axis.lo, axis.dilation)
    samples = (point * axis.stride + tap for point in points for tap in taps)
    return {sample for sample in samples if 0 <= sample < limit}


def _windows_over(axis: Axis, points: Iterable[int], limit: int) -> set[int]:
    """Return the windows that have a tap on some of the samples."""
    taps = range(-axis.lo, axis.reach - axis.lo, axis.dilation)
    steps = (point - tap for point in points for tap in taps)
    return {step // axis.stride for step in steps if step % axis.stride == 0 and 0 <= step // axis.stride < limit}


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
        raise InputError(f"--at {position}", f"the {what} {show(spatial)} has {len(spatial)} spatial axes", "name each")
    if not all(0 <= i < n for i, n in zip(index, spatial, strict=True)):
        raise InputError(f"--at {position} lies outside the {what} {show(spatial)}", "indices start at 0")
