"""Backwards: the input size that a chain needs for an output size.

Along one axis every layer's output size grows with its input's, or stays, so the inputs that give an output between
two sizes lie between two sizes themselves. Found by halving, layer by layer from the last, they are exact for
every padding and rounding without a formula for each.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from convcli.errors import InputError, ShapeError
from convcli.network.graph import INPUT, Network, Node
from convcli.network.layers import Tensor
from convcli.network.receptive_field import Field
from convcli.shapes.axis import Axis
from convcli.shapes.parse import show

LARGEST = 1 << 20
"""Sizes beyond this count as without an end."""

MOST_TRIED = 4096
"""So many sizes are laid through a network whose branches meet, to see which of them fit."""

TRIALS = tuple(1 << power for power in range(13))

Lay = Callable[[Tensor], Network]


@dataclass(frozen=True)
class Need:
    """The input sizes along one axis that give the wanted output: `sizes` in order, or all from `least` on."""

    least: int
    most: int | None
    sizes: tuple[int, ...] = ()  # given only where some between least and most do not fit


def input_for(lay: Lay, x: Tensor | None, wanted: Sequence[int], channels: int | None = 3) -> tuple[Need, ...]:
    """Find the input sizes for which a network's output has the spatial sizes `wanted`.

    lay: puts the layers on an input. x: an input that they fit, or None to look for one with as many axes as
    `wanted`. Raises ShapeError, naming the layer, where no input does.

    >>> from convcli.network.parser import parse
    >>> chain = parse("conv:64,k=11,s=4 maxpool:3,s=2")
    >>> input_for(lambda x: Network.of(x, chain), None, (27, 27))[0]
    Need(least=227, most=234, sizes=())
    """
    network = lay(x) if x else _first_that_fits(lay, len(wanted), channels)
    if not network.output.spatial:
        raise InputError(
            "the chain ends flat", "expected spatial axes at its end", "leave out the layers from flatten or gap on"
        )
    if len(wanted) != len(network.output.spatial):
        raise InputError(
            f"--input-for {show(wanted)}", f"the output {show(network.output.spatial)} has other axes", "name each axis"
        )
    return tuple(_axis(lay, network, axis, size) for axis, size in enumerate(wanted))


def _first_that_fits(lay: Lay, dims: int, channels: int | None) -> Network:
    for size in TRIALS:
        try:
            return lay(Tensor((size,) * dims, channels))
        except ShapeError as error:
            refusal = error
    raise refusal


def _axis(lay: Lay, network: Network, axis: int, wanted: int) -> Need:
    least, most = _range(network, axis, wanted)
    if not any(node.merges for node in network.nodes):
        return Need(least, most)
    return _tried(lay, network, axis, wanted, least, most)


def _range(network: Network, axis: int, wanted: int) -> tuple[int, int | None]:
    """Walk from the last layer to the first with the sizes that are wanted of each."""
    needed: dict[int, tuple[int, int | None]] = {len(network.nodes) - 1: (wanted, wanted)}
    for index in range(len(network.nodes) - 1, -1, -1):
        node, (least, most) = network.nodes[index], needed.pop(index)
        if node.axes:
            least, most = _before(node, index, axis, least, most)
        for source in node.inputs:
            low, high = needed.get(source, (1, None))
            needed[source] = max(low, least), high if most is None else most if high is None else min(high, most)
    least, most = needed[INPUT]
    if most is not None and most < least:
        raise ShapeError(f"no input size gives {wanted}", "the branches need different ones", "choose another size")
    return least, most


def _before(node: Node, index: int, axis: int, least: int, most: int | None) -> tuple[int, int | None]:
    """The inputs of one layer that give an output from `least` to `most`."""

    def out(n: int) -> int:
        return _out(node, axis, n)

    low = _first(lambda n: out(n) >= least)
    high = None if most is None else _first(lambda n: out(n) > most)
    if low is None or (high is not None and high <= low):
        near = f": {low - 1} gives {out(low - 1)} and {low} gives {out(low)}" if low and low > 1 else ""
        raise ShapeError(
            f"layer {index + 1} {node.text!r} never gives {least if least == most else f'{least} to {most}'}{near}",
            remedy="choose another size, or change its padding",
        )
    return low, None if high is None else high - 1


def _out(node: Node, axis: int, n: int) -> int:
    """The size that a layer gives for a size along one axis; 0 where the input is too small."""
    assert node.op is not None
    sizes = list(node.x.spatial)
    sizes[axis] = n
    try:
        return node.op.settle(replace(node.x, spatial=tuple(sizes))).axes[axis].out
    except ShapeError:
        return 0


def _first(holds: Callable[[int], bool]) -> int | None:
    """The least size from which on something holds, or None if that is beyond the largest."""
    high = 1
    while not holds(high):
        high *= 2
        if high > LARGEST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _tried(lay: Lay, network: Network, axis: int, wanted: int, least: int, most: int | None) -> Need:
    """Lay each size, because branches must agree where they meet."""
    last = min(most if most is not None else LARGEST, least + MOST_TRIED - 1)
    fit = tuple(n for n in range(least, last + 1) if _fits(lay, network, axis, n, wanted))
    if not fit:
        raise ShapeError(f"no input size gives {wanted}", "the branches agree for none", "choose another size")
    gapless = fit[-1] - fit[0] + 1 == len(fit)
    return Need(fit[0], fit[-1] if most is not None or not gapless else None, () if gapless else fit)


def _fits(lay: Lay, network: Network, axis: int, n: int, wanted: int) -> bool:
    sizes = list(network.x.spatial)
    sizes[axis] = n
    try:
        return lay(replace(network.x, spatial=tuple(sizes))).output.spatial[axis] == wanted
    except ShapeError:
        return False


TAPS = range(1, 12)
STRIDES = range(1, 9)
DILATIONS = range(1, 5)
MOST_FOUND = 10

Sizes = tuple[int, ...]


@dataclass(frozen=True, order=True, slots=True)
class Link:
    """One layer of a chain, alike along every axis."""

    p: int
    d: int
    k: int
    s: int
    output_padding: int = 0
    transposed: bool = False

    def axis(self, n: int) -> Axis:
        return Axis(n, self.k, self.s, self.d, self.p, self.p, self.output_padding, self.transposed)

    @property
    def token(self) -> str:
        """The layer as the command line takes it, for one filter.

        >>> Link(k=4, s=2, p=1, d=1, transposed=True).token
        'deconv:1,k=4,s=2,p=1'
        """
        given = (("s", self.s, 1), ("p", self.p, 0), ("d", self.d, 1), ("out_padding", self.output_padding, 0))
        rest = [f"{key}={value}" for key, value, default in given if value != default]
        return ",".join([f"{'deconv' if self.transposed else 'conv'}:1", f"k={self.k}", *rest])


@dataclass(frozen=True, order=True, slots=True)
class Chain:
    """Layers that lead from one size to another; they sort by cost."""

    macs: int
    count: int
    links: tuple[Link, ...]
    sizes: tuple[Sizes, ...]  # of the input and behind each layer
    field: int  # receptive field


def solve(
    start: Sequence[int], goal: Sequence[int], *, rf: int | None = None, max_layers: int = 2
) -> tuple[Chain, ...]:
    """Find the cheapest chains of at most `max_layers` layers, at most `MOST_FOUND` of them.

    rf: the receptive field that a chain must have, in samples of the input.
    Raises InputError where the axes differ in number, or where nothing leads there.

    >>> [link.token for link in solve((224, 224), (112, 112), rf=7, max_layers=1)[0].links]
    ['conv:1,k=7,s=2,p=3']
    >>> [link.token for link in solve((14,), (28,))[0].links]
    ['deconv:1,k=2,s=2']
    """
    first, last = tuple(start), tuple(goal)
    if len(first) != len(last):
        raise InputError(f"from {show(first)} to {show(last)}", "expected as many axes in both")
    search = _Search(last, rf, any(m > n for n, m in zip(first, last, strict=True)))
    for layers in range(1, max_layers + 1):
        search.go((first,), (), Field(), 0, layers)
    if not search.found:
        seen = f" with a receptive field of {rf}" if rf else ""
        raise InputError(
            f"no chain of {max_layers} {'layer' if max_layers == 1 else 'layers or fewer'} leads from {show(first)} "
            f"to {show(last)}{seen}",
            f"tried windows of up to {TAPS[-1]}, strides up to {STRIDES[-1]}, dilations up to {DILATIONS[-1]}",
            "allow more with --max-layers" + (", or give another --rf" if rf else ""),
        )
    return tuple(search.found)


class _Search:
    """Chains to one goal, the best of them kept in order."""

    def __init__(self, goal: Sizes, rf: int | None, grows: bool) -> None:
        self.goal, self.rf, self.grows = goal, rf, grows
        self.found: list[Chain] = []

    def go(self, sizes: tuple[Sizes, ...], links: tuple[Link, ...], field: Field, macs: int, layers: int) -> None:
        """Try every way to go on with `layers` more layers."""
        steps = _ends(sizes[-1], self.goal, self.grows) if layers == 1 else _steps(sizes[-1], self.grows)
        for cost, link, out in steps:
            if macs + cost + self.least(out) * (layers - 1) > self.bound:
                return  # steps come by rising cost of their own
            seen = field.through(link.axis(sizes[-1][0]))
            if self.rf and seen.size > self.rf:
                continue
            if layers > 1:
                if self.leads(out):
                    self.go((*sizes, out), (*links, link), seen, macs + cost, layers - 1)
            elif self.rf in (None, seen.size):
                self.keep(Chain(macs + cost, len(links) + 1, (*links, link), (*sizes, out), seen.size))

    @property
    def bound(self) -> float:
        """What a chain may cost to be among the best."""
        return self.found[-1].macs if len(self.found) == MOST_FOUND else math.inf

    def least(self, out: Sizes) -> int:
        """The least that one more layer can cost."""
        return 0 if self.grows else math.prod(self.goal)

    def leads(self, out: Sizes) -> bool:
        """Whether the goal still lies ahead."""
        return all(n <= m if self.grows else n >= m for n, m in zip(out, self.goal, strict=True))

    def keep(self, chain: Chain) -> None:
        bisect.insort(self.found, chain)
        del self.found[MOST_FOUND:]


Step = tuple[int, Link, Sizes]


@cache
def _steps(sizes: Sizes, grows: bool) -> list[Step]:
    """Every layer that may follow on these sizes, with its cost and what comes out, the cheapest first."""
    found = []
    for link in _links(grows):
        axes = [link.axis(n) for n in sizes]
        if all(axis.reach <= axis.padded and axis.out >= 1 for axis in axes):
            found.append(_step(link, axes))
    return sorted(found)


@cache
def _ends(sizes: Sizes, goal: Sizes, grows: bool) -> list[Step]:
    """Those of them that reach the goal."""
    return [step for step in _steps(sizes, grows) if step[2] == goal]


def _step(link: Link, axes: list[Axis]) -> Step:
    moved = math.prod(axis.n if axis.transposed else axis.out for axis in axes)
    return moved * link.k ** len(axes), link, tuple(axis.out for axis in axes)


@cache
def _links(grows: bool) -> list[Link]:
    return list(_all_links(grows))


def _all_links(transposed: bool) -> Iterator[Link]:
    for k in TAPS:
        for s in STRIDES[:k]:
            for d in DILATIONS if k > 1 and s == 1 else (1,):
                for p in range((d * (k - 1) + 1) // 2 + 1 if k > 1 else 1):
                    for extra in range(s if transposed else 1):
                        if k * s > 1:
                            yield Link(p, d, k, s, extra, transposed)
