"""Which samples of the input one output sees, and which outputs one sample reaches: exactly, index by index.

Along an axis a convolution's output o sees the samples `stride*o + dilation*t - lo` for every tap t. A transposed
convolution sends its input along the same map, so each direction of each is one of two walks: `_spread` and
`_gather`. Holes are kept: what lies between two dilated taps, or under a stride's step, is not counted as seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convcli.errors import InputError
from convcli.network.graph import INPUT, Network
from convcli.shapes.spec import Axis, show

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
