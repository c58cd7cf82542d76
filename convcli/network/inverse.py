"""Invert the size formula: find the inputs for an output size, and layers between two sizes.

Along one axis a layer's output size never decreases as its input grows, so the inputs for a range
of outputs are a range too. Bisection finds its ends, layer by layer from the last, exactly for
every padding and rounding.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from convcli.errors import InputError, LimitError, ShapeError
from convcli.network.graph import INPUT, Network, Node
from convcli.network.layers import Tensor
from convcli.network.receptive_field import Field
from convcli.shapes.axis import Axis
from convcli.shapes.parse import show

LARGEST = 1 << 20
"""A size beyond this counts as unlimited: 1048576 samples."""

TRIED = 4096
"""The most sizes that are tried along an axis of a network with branches."""

TRIALS = tuple(1 << power for power in range(13))
"""Input sizes that are tried for one that fits the layers: 1, 2, 4, ... 4096."""

Build = Callable[[Tensor], Network]


@dataclass(frozen=True)
class Need:
    """The input sizes along one axis: those in `sizes`, or else all from `smallest` to `largest`.

    largest: None if there is no limit.
    """

    smallest: int
    largest: int | None
    sizes: tuple[int, ...] = ()  # given only if some between smallest and largest do not fit


def input_for(
    build: Build, x: Tensor | None, wanted: Sequence[int], channels: int | None = 3
) -> tuple[Need, ...]:
    """Find the input sizes for which a network's output has the spatial sizes `wanted`.

    build: applies the layers to an input. x: an input that they fit, or None to find one with the
    number of axes of `wanted`. Raises ShapeError, naming the layer, if no input size fits.

    >>> from convcli.network.parser import parse
    >>> chain = parse("conv:64,k=11,s=4 maxpool:3,s=2")
    >>> input_for(lambda x: Network.of(x, chain), None, (27, 27))[0]
    Need(smallest=227, largest=234, sizes=())
    """
    network = build(x) if x else _first_that_fits(build, len(wanted), channels)
    if not network.output.spatial:
        raise InputError(
            "the chain ends flat",
            "expected spatial axes at its end",
            "leave out the layers from flatten or gap on",
        )
    if len(wanted) != len(network.output.spatial):
        raise InputError(
            f"--input-for {show(wanted)}",
            f"the output {show(network.output.spatial)} has other axes",
            "name each axis",
        )
    return tuple(_axis(build, network, axis, size) for axis, size in enumerate(wanted))


def _first_that_fits(build: Build, dims: int, channels: int | None) -> Network:
    for size in TRIALS:
        try:
            return build(Tensor((size,) * dims, channels))
        except ShapeError as error:
            refusal = error
    raise refusal


def _axis(build: Build, network: Network, axis: int, wanted: int) -> Need:
    smallest, largest = _range(network, axis, wanted)
    if not any(node.merges for node in network.nodes):
        return Need(smallest, largest)
    return _tried(build, network, axis, wanted, smallest, largest)


def _range(network: Network, axis: int, wanted: int) -> tuple[int, int | None]:
    """Return the range of input sizes for which every layer can give the output size.

    Goes from the last layer to the first with the range of sizes that each must give.
    """
    needed: dict[int, tuple[int, int | None]] = {len(network.nodes) - 1: (wanted, wanted)}
    for index in range(len(network.nodes) - 1, -1, -1):
        node = network.nodes[index]
        smallest, largest = needed.pop(index)
        if node.axes:
            smallest, largest = _before(node, index, axis, smallest, largest)
        for source in node.inputs:
            low, high = needed.get(source, (1, None))
            needed[source] = max(low, smallest), _lower(high, largest)
    smallest, largest = needed[INPUT]
    if largest is not None and largest < smallest:
        raise ShapeError(
            f"no input size gives {wanted}",
            "the branches need different ones",
            "choose another size",
        )
    return smallest, largest


def _lower(one: int | None, other: int | None) -> int | None:
    """Return the lower of two limits, of which None is no limit."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _before(
    node: Node, index: int, axis: int, smallest: int, largest: int | None
) -> tuple[int, int | None]:
    """Return the range of inputs for which a layer gives an output from `smallest` to `largest`."""

    def out(n: int) -> int:
        return _out(node, axis, n)

    low = _first(lambda n: out(n) >= smallest)
    high = None if largest is None else _first(lambda n: out(n) > largest)
    if low is None or (high is not None and high <= low):
        near = (
            f": {low - 1} gives {out(low - 1)} and {low} gives {out(low)}"
            if low and low > 1
            else ""
        )
        wanted = str(smallest) if smallest == largest else f"{smallest} to {largest}"
        raise ShapeError(
            f"layer {index + 1} {node.text!r} never gives {wanted}{near}",
            remedy="choose another size, or change its padding",
        )
    return low, None if high is None else high - 1


def _out(node: Node, axis: int, n: int) -> int:
    """Return a layer's output size for an input size along one axis; 0 if that is too small."""
    assert node.op is not None
    sizes = list(node.x.spatial)
    sizes[axis] = n
    try:
        return node.op.apply_to(replace(node.x, spatial=tuple(sizes))).axes[axis].out
    except ShapeError:
        return 0


def _first(holds: Callable[[int], bool]) -> int | None:
    """Return the smallest size from which on `holds` is true, or None if it is beyond LARGEST."""
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


def _tried(
    build: Build, network: Network, axis: int, wanted: int, smallest: int, largest: int | None
) -> Need:
    """Find the sizes that fit by building each: branches must have equal sizes where they merge."""
    last = min(largest if largest is not None else LARGEST, smallest + TRIED - 1)
    fit = tuple(n for n in range(smallest, last + 1) if _fits(build, network, axis, n, wanted))
    if not fit:
        raise ShapeError(
            f"no input size gives {wanted}", "the branches agree for none", "choose another size"
        )
    gapless = fit[-1] - fit[0] + 1 == len(fit)
    return Need(
        fit[0], fit[-1] if largest is not None or not gapless else None, () if gapless else fit
    )


def _fits(build: Build, network: Network, axis: int, n: int, wanted: int) -> bool:
    sizes = list(network.x.spatial)
    sizes[axis] = n
    try:
        return build(replace(network.x, spatial=tuple(sizes))).output.spatial[axis] == wanted
    except ShapeError:
        return False


# The layers that `solve` tries, which include those of common networks, and the chains it returns.
TAPS = range(1, 12)
STRIDES = range(1, 9)
DILATIONS = range(1, 5)
CHAINS = 10
MOST_TRIED = 1 << 18
"""The most layers that a search tries, some two seconds."""

Sizes = tuple[int, ...]


@dataclass(frozen=True, order=True, slots=True)
class Link:
    """One layer of a chain, the same along every axis."""

    p: int
    d: int
    k: int
    s: int
    output_padding: int = 0
    transposed: bool = False

    def axis(self, n: int) -> Axis:
        return Axis(n, self.k, self.s, self.d, self.p, self.p, self.output_padding, self.transposed)

    @property
    def window(self) -> Axis:
        """The layer without input size and padding, on which its field does not depend."""
        return Axis(1, self.k, self.s, self.d, transposed=self.transposed)

    @property
    def token(self) -> str:
        """The layer in the command line's language, with one filter.

        >>> Link(k=4, s=2, p=1, d=1, transposed=True).token
        'deconv:1,k=4,s=2,p=1'
        """
        given = (
            ("s", self.s, 1),
            ("p", self.p, 0),
            ("d", self.d, 1),
            ("out_padding", self.output_padding, 0),
        )
        rest = [f"{key}={value}" for key, value, default in given if value != default]
        return ",".join([f"{'deconv' if self.transposed else 'conv'}:1", f"k={self.k}", *rest])


@lru_cache(maxsize=1 << 14)
def field_of(windows: tuple[Axis, ...]) -> Field:
    """Return the receptive field of layers, one after another."""
    return field_of(windows[:-1]).through(windows[-1]) if windows else Field()


@dataclass(frozen=True, order=True, slots=True)
class Chain:
    """Layers that lead from one size to another. Chains sort by cost."""

    macs: int
    count: int
    links: tuple[Link, ...]
    sizes: tuple[Sizes, ...]  # of the input and after each layer
    field: int  # receptive field


def solve(
    start: Sequence[int], goal: Sequence[int], *, rf: int | None = None, max_layers: int = 2
) -> tuple[Chain, ...]:
    """Find the cheapest chains of at most `max_layers` layers, at most `CHAINS` of them.

    rf: the receptive field that a chain must have, in samples of the input.
    Raises InputError if the numbers of axes differ, or if no chain leads there, and LimitError
    after MOST_TRIED layers.

    >>> [link.token for link in solve((224, 224), (112, 112), rf=7, max_layers=1)[0].links]
    ['conv:1,k=7,s=2,p=3']
    >>> [link.token for link in solve((14,), (28,))[0].links]
    ['deconv:1,k=2,s=2']
    """
    first = tuple(start)
    last = tuple(goal)
    if len(first) != len(last):
        raise InputError(
            f"from {show(first)} to {show(last)}", "expected the same number of axes in both"
        )
    search = _Search(last, rf, any(m > n for n, m in zip(first, last, strict=True)))
    for layers in range(1, max_layers + 1):
        search.extend((first,), (), 0, layers)
    if not search.found:
        seen = f" with a receptive field of {rf}" if rf else ""
        length = "1 layer" if max_layers == 1 else f"{max_layers} layers or fewer"
        raise InputError(
            f"no chain of {length} leads from {show(first)} to {show(last)}{seen}",
            f"tried windows of up to {TAPS[-1]}, strides up to {STRIDES[-1]}, "
            f"dilations up to {DILATIONS[-1]}",
            "allow more with --max-layers" + (", or give another --rf" if rf else ""),
        )
    return tuple(search.found)


class _Search:
    """A search for chains to one size, which keeps the cheapest in order."""

    def __init__(self, goal: Sizes, rf: int | None, grows: bool) -> None:
        self.goal = goal
        self.rf = rf
        self.grows = grows
        self.found: list[Chain] = []
        self.met: set[Sizes] = set()
        self.tried = 0

    def count(self, layers: int) -> None:
        """Count layers that are tried. Raises LimitError above MOST_TRIED."""
        self.tried += layers
        if self.tried > MOST_TRIED:
            raise LimitError(
                f"a search that tries more than {MOST_TRIED:,} layers",
                "expected a smaller one",
                "use fewer --max-layers",
            )

    def extend(
        self, sizes: tuple[Sizes, ...], links: tuple[Link, ...], macs: int, layers: int
    ) -> None:
        """Try every chain that continues with `layers` more layers."""
        steps = (
            _ends(sizes[-1], self.goal, self.grows)
            if layers == 1
            else _steps(sizes[-1], self.grows)
        )
        if sizes[-1] not in self.met:
            self.met.add(sizes[-1])
            self.count(len(_links(self.grows)))
        for cost, link, out in steps:
            self.count(1)
            if macs + cost + self.lowest_cost(layers - 1) > self.bound:
                return  # the next steps cost at least the same
            chain = (*links, link)
            size = field_of(tuple(link.window for link in chain)).size
            if self.rf and size > self.rf:
                continue  # further layers of the same kind never make the field smaller
            if layers > 1:
                if self.can_reach(out, layers - 1):
                    self.extend((*sizes, out), chain, macs + cost, layers - 1)
            elif self.rf in (None, size):
                self.add(Chain(macs + cost, len(chain), chain, (*sizes, out), size))

    @property
    def bound(self) -> float:
        """The cost that a chain must not exceed to be among the best."""
        return self.found[-1].macs if len(self.found) == CHAINS else math.inf

    def lowest_cost(self, layers: int) -> int:
        """Return a lower bound of the cost of more layers: 1 for each of their outputs.

        Each layer may enlarge an axis by 1, so the outputs before the goal may be smaller than it.
        """
        if self.grows:
            return 0
        return sum(math.prod(max(m - later, 1) for m in self.goal) for later in range(layers))

    def can_reach(self, out: Sizes, layers: int) -> bool:
        """Return whether more layers may lead from `out` to the goal.

        A padded window of an even size enlarges an axis by 1; a transposed one shrinks it by 1.
        """
        if self.grows:
            return all(n - layers <= m for n, m in zip(out, self.goal, strict=True))
        return all(n + layers >= m for n, m in zip(out, self.goal, strict=True))

    def add(self, chain: Chain) -> None:
        bisect.insort(self.found, chain)
        del self.found[CHAINS:]


Step = tuple[int, Link, Sizes]


@lru_cache(maxsize=1 << 8)
def _steps(sizes: Sizes, grows: bool) -> list[Step]:
    """Return every layer for these sizes with its cost and output, the cheapest first."""
    found = []
    for link in _links(grows):
        axes = [link.axis(n) for n in sizes]
        if all(axis.out >= 1 and (axis.transposed or axis.reach <= axis.padded) for axis in axes):
            found.append(_step(link, axes))
    return sorted(found)


@lru_cache(maxsize=1 << 14)
def _ends(sizes: Sizes, goal: Sizes, grows: bool) -> list[Step]:
    """Return the layers that lead from these sizes to the goal."""
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
