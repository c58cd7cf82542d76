"""What is counted as work, and what other layers between the same shapes would cost.

Tools differ by convention (VGG16 alone is published as 15.35 G, 15.47 G, 15.48 G and 30.71 G), so a count always
carries its own: see `Count.convention`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from convcli.network.graph import Network, Node

Unit = Literal["macs", "flops"]
UNITS: tuple[str, ...] = get_args(Unit)
Versus = Literal["dense", "separable"]
VERSUS: tuple[str, ...] = get_args(Versus)


@dataclass(frozen=True)
class Count:
    """How work is counted: in `macs` or `flops`, with the additions of biases or without, for a whole batch.

    >>> Count("flops", with_bias=True).convention
    '1 flop is one multiplication or addition of a weight, additions of biases included'
    """

    unit: Unit = "macs"
    with_bias: bool = False
    batch: int = 1

    @property
    def convention(self) -> str:
        one = "mac is one multiply-add" if self.unit == "macs" else "flop is one multiplication or addition"
        return f"1 {one} of a weight, additions of biases {'included' if self.with_bias else 'left out'}"

    def work(self, node: Node) -> int:
        """A layer's work. A bias is one more addition for each output; normalisation is not counted."""
        step = node.step
        added = step.output.size if self.with_bias and step.macs and step.biases else 0
        return self.of(step.macs, added)

    def of(self, macs: int, additions: int = 0) -> int:
        return self.batch * (macs * (2 if self.unit == "flops" else 1) + additions)

    def total(self, network: Network) -> int:
        return sum(map(self.work, network.nodes))


class Rival(NamedTuple):
    """What another way to map the same shapes costs: its parameters, and its MACs for one item of a batch."""

    name: str
    parameters: int
    macs: int


def rivals(node: Node, versus: Versus) -> tuple[Rival, ...]:
    """A layer with weights against others of the same shapes; nothing for one that has no window.

    `dense`: locally connected (the window's weights unshared, a set for each output position) and fully connected.
    `separable`: a depthwise convolution with the same window, and one of 1x1 across the channels.

    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> net = Network.of(Tensor((227, 227), 3), parse("conv:96,k=11,s=4"))
    >>> net.parameters, [rival.parameters for rival in rivals(net.nodes[0], "dense")]
    (34944, [105705600, 44892355200])
    """
    if not node.axes or not node.step.macs or not node.output.spatial:
        return ()
    return _dense(node) if versus == "dense" else _separable(node)


def _dense(node: Node) -> tuple[Rival, ...]:
    step, outputs = node.step, node.output.size
    biases = outputs if step.biases else 0
    return (
        Rival("locally connected", step.macs + biases, step.macs),
        Rival("fully connected", node.x.size * outputs + biases, node.x.size * outputs),
    )


def _separable(node: Node) -> tuple[Rival, ...]:
    if node.op is None or node.op.kind.name != "conv" or node.op["g"] != 1:
        return ()
    channels, filters = node.x.depth, node.output.depth
    weights = channels * math.prod(axis.k for axis in node.axes) + channels * filters
    biases = channels + filters if node.step.biases else 0
    return (Rival("depthwise separable", weights + biases, weights * math.prod(node.output.spatial)),)


def rivals_in_all(network: Network, versus: Versus) -> tuple[Rival, ...]:
    """Every layer that has a rival replaced by it, the others as they are."""
    found: dict[str, list[int]] = {}
    rest = [0, 0]
    for node in network.nodes:
        against = rivals(node, versus)
        for rival in against:
            sums = found.setdefault(rival.name, [0, 0])
            sums[0] += rival.parameters
            sums[1] += rival.macs
        if not against:
            rest[0] += node.parameters
            rest[1] += node.step.macs
    return tuple(Rival(name, sums[0] + rest[0], sums[1] + rest[1]) for name, sums in found.items())
