"""Backwards: the input size that a chain needs for an output size.

Along one axis every layer's output size grows with its input's, or stays, so the inputs that give an output between
two sizes lie between two sizes themselves. Found by halving, layer by layer from the last, they are exact for
every padding and rounding without a formula for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from convcli.errors import InputError, ShapeError
from convcli.network.graph import INPUT, Network, Node
from convcli.network.layers import Tensor
from convcli.shapes.spec import show

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
