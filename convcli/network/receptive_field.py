"""What each output sees of the input: receptive field, jump (effective stride), effective padding, centre.

Along one axis, a layer whose window reaches over `r` samples from `lo` before the first adds `(r-1)*jump` to the
field of view, moves its centre by `((r-1)/2 - lo)*jump`, and multiplies the jump by its stride; a transposed layer
does the same with a step of `jump/stride`. Output number i is then centred on `centre + i*jump`, and the effective
padding is what the first window reaches beyond the input, `(size-1)/2 - centre`.

Source: Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019. As
there, where paths meet the widest one counts, and paths whose jumps or centres differ are misaligned.
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
    """The view along one axis, in samples of the input.

    >>> Field().through(Axis(224, 7, 2, lo=3, hi=3)).through(Axis(112, 3, 2, lo=1, hi=1))
    Field(extent=10, jump=4, middle=0)
    """

    extent: Number = 0  # from the first sample to the last; one less than the size
    jump: Number = 1
    middle: Number = 0  # twice the centre of the first output, which keeps it whole without upsampling

    def through(self, axis: Axis) -> Field:
        """Detected through one more layer."""
        span = axis.reach - 1
        if axis.transposed:
            step = _divide(self.jump, axis.stride)
            return Field(self.extent + span * step, step, self.middle + (2 * axis.lo - span) * step)
        jump = self.jump
        return Field(self.extent + span * jump, jump * axis.stride, self.middle + (span - 2 * axis.lo) * jump)

    @property
    def size(self) -> int:
        """Samples seen; behind upsampling, where outputs differ, the most that one sees."""
        return int(self.extent) + 1

    @property
    def padding(self) -> float:
        return float(self.extent - self.middle) / 2

    @property
    def centre(self) -> float:
        return float(self.middle) / 2


class View(NamedTuple):
    """The fields of one layer, one for each axis of the input, and whether the paths to it are aligned."""

    fields: tuple[Field, ...]
    aligned: bool = True


def views(network: Network) -> list[View]:
    """What every layer sees, in the order of the nodes."""
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
    """One step along every axis; axes that are alike are stepped once."""
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
    def whole(self) -> bool:
        """Whether every sample between the first and the last belongs to it."""
        return all(axis[-1] - axis[0] + 1 == len(axis) for axis in self.axes if axis)


def sees(network: Network, at: Sequence[int]) -> Box:
    """Find the input samples that the output at a position depends on, padding left out.

    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> net = Network.of(Tensor((9, 9), 1), parse("conv:1,k=3,p=1 conv:1,k=3,s=2,p=1"))
    >>> sees(net, (0, 2)).spans
    ((0, 2), (2, 6))
    """
    _check(at, network.output.spatial, "output")
    needed: dict[int, list[set[int]]] = {len(network.nodes) - 1: [{index} for index in at]}
    for index in range(len(network.nodes) - 1, -1, -1):
        node, wanted = network.nodes[index], needed.pop(index)
        if node.axes:
            wanted = [_back(axis, points) for axis, points in zip(node.axes, wanted, strict=True)]
        for source in node.inputs:
            into = needed.setdefault(source, [set() for _ in wanted])
            for mine, points in zip(into, wanted, strict=True):
                mine |= points
    return _box(needed[INPUT])


def reaches(network: Network, at: Sequence[int]) -> Box:
    """Find the outputs that depend on the input sample at a position; the box is empty if none does."""
    _check(at, network.x.spatial, "input")
    if not network.output.spatial:
        _check(at, network.output.spatial, "output")
    reached: list[list[set[int]]] = []
    start = [{index} for index in at]
    for node in network.nodes:
        given = [start if source == INPUT else reached[source] for source in node.inputs]
        points = [set().union(*axis) for axis in zip(*given, strict=True)]
        if node.axes:
            points = [_on(axis, found) for axis, found in zip(node.axes, points, strict=True)]
        reached.append(points)
    return _box(reached[-1])


def _back(axis: Axis, points: set[int]) -> set[int]:
    return (_gather if axis.transposed else _spread)(axis, points, axis.n)


def _on(axis: Axis, points: set[int]) -> set[int]:
    return (_spread if axis.transposed else _gather)(axis, points, axis.out)


def _spread(axis: Axis, points: Iterable[int], limit: int) -> set[int]:
    """Go from windows to what lies under their taps."""
    taps = range(-axis.lo, axis.reach - axis.lo, axis.dilation)
    return {at for point in points for tap in taps if 0 <= (at := point * axis.stride + tap) < limit}


def _gather(axis: Axis, points: Iterable[int], limit: int) -> set[int]:
    """Go from samples to the windows that have a tap on them."""
    taps = range(-axis.lo, axis.reach - axis.lo, axis.dilation)
    steps = (point - tap for point in points for tap in taps)
    return {step // axis.stride for step in steps if step % axis.stride == 0 and 0 <= step // axis.stride < limit}


def _box(axes: Sequence[set[int]]) -> Box:
    sides = tuple(tuple(sorted(axis)) for axis in axes)
    return Box(sides if all(sides) else tuple(() for _ in sides))


def _check(at: Sequence[int], spatial: tuple[int, ...], what: str) -> None:
    place = ",".join(map(str, at))
    if not spatial:
        raise InputError(
            f"the {what} is flat: each of its values sees all of the input",
            remedy="leave out the layers from flatten or gap on, or use gap:keep=yes",
        )
    if len(at) != len(spatial):
        raise InputError(f"--at {place}", f"the {what} {show(spatial)} has {len(spatial)} spatial axes", "name each")
    if not all(0 <= index < n for index, n in zip(at, spatial, strict=True)):
        raise InputError(f"--at {place} lies outside the {what} {show(spatial)}", "indices start at 0")
