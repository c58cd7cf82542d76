"""Summarise a network as records: a row for each layer, and the totals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from convcli.network.graph import Instance, Network, Node
from convcli.network.layers import FIELD, PARAMETERS, WORK
from convcli.network.receptive_field import View, views
from convcli.options import Unit, Versus, itemsize
from convcli.shapes.axis import Axis


def inference_peak(network: Network) -> int:
    """Return the peak number of values in memory in a forward pass, for one item of a batch.

    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> inference_peak(Network.of(Tensor((8,), 1), parse("conv:4,k=3,p=1 relu gap")))
    64
    """
    owner = _owners(network)
    last = _last_readers(network, owner)
    alive = peak = sum(x.size for x in network.inputs.values())
    for index, node in enumerate(network.nodes):
        if not node.view:
            alive += node.output.size
        peak = max(peak, alive)
        for at in {owner[at] for at in node.inputs}:
            if last[at] == index:
                alive -= network.tensor(at).size
    return peak


def training_peak(network: Network) -> int:
    """Return the peak number of values in memory in a forward and a backward pass, per item."""
    # After the forward pass: all inputs and outputs, and the gradients of the network's outputs.
    nodes = network.nodes
    owner = _owners(network)
    alive = sum(x.size for x in network.inputs.values())
    alive += sum(node.output.size for node in nodes if not node.view)
    graded = {owner[end] for end in network.outputs}
    alive += sum(network.tensor(at).size for at in graded)
    # Backward: a node creates its inputs' gradients, then its output and its gradient are freed.
    peak = alive
    for index in range(len(nodes) - 1, -1, -1):
        for at in {owner[at] for at in nodes[index].inputs} - graded:
            graded.add(at)
            alive += network.tensor(at).size
        peak = max(peak, alive)
        if not nodes[index].view:
            alive -= 2 * nodes[index].output.size
    return peak


def _owners(network: Network) -> dict[int, int]:
    """Return which node owns the memory of each output: itself, or the node that it views."""
    owner = {at: at for at in network.inputs}
    for index, node in enumerate(network.nodes):
        owner[index] = owner[node.inputs[0]] if node.view else index
    return owner


def _last_readers(network: Network, owner: dict[int, int]) -> dict[int, int]:
    """Return the last node that reads each tensor; the network's outputs are never freed."""
    last: dict[int, int] = {}
    for index, node in enumerate(network.nodes):
        for at in node.inputs:
            last[owner[at]] = index
    last.update({owner[end]: len(network.nodes) for end in network.outputs})
    return last


@dataclass(frozen=True)
class Count:
    """How work is counted: the unit, biases, and the size of the batch.

    >>> Count("flops", with_bias=True).convention
    '1 flop is one multiplication or addition of a weight, additions of biases included'
    """

    unit: Unit = "macs"
    with_bias: bool = False
    batch: int = 1

    @property
    def convention(self) -> str:
        one = "mac is one multiply-add"
        if self.unit == "flops":
            one = "flop is one multiplication or addition"
        biases = "included" if self.with_bias else "left out"
        return f"1 {one} of a weight, additions of biases {biases}"

    def work(self, node: Node) -> int:
        """Return a layer's work; a bias adds one for each output."""
        step = node.step
        added = step.output.size if self.with_bias and step.macs and step.biases else 0
        return self.of(step.macs, added)

    def of(self, macs: int, additions: int = 0) -> int:
        return self.batch * (macs * (2 if self.unit == "flops" else 1) + additions)

    def total(self, network: Network) -> int:
        return sum(map(self.work, network.nodes))


class Rival(NamedTuple):
    """The cost of another layer between the same shapes: parameters, and MACs for one item."""

    name: str
    parameters: int
    macs: int


def rivals(node: Node, versus: Versus) -> tuple[Rival, ...]:
    """Compare a layer with others between the same shapes; empty for a layer without a window.

    `dense`: locally connected (weights not shared between output positions) and fully connected.
    `separable`: a depthwise convolution with the same window, then one of 1x1 across the channels.

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
    step = node.step
    outputs = node.output.size
    biases = outputs if step.biases else 0
    return (
        Rival("locally connected", step.macs + biases, step.macs),
        Rival("fully connected", node.x.size * outputs + biases, node.x.size * outputs),
    )


def _separable(node: Node) -> tuple[Rival, ...]:
    if node.op is None or node.op.kind.name != "conv" or node.op["g"] != 1:
        return ()
    channels = node.x.depth
    filters = node.output.depth
    weights = channels * math.prod(axis.k for axis in node.axes) + channels * filters
    biases = channels + filters if node.step.biases else 0
    return (
        Rival("depthwise separable", weights + biases, weights * math.prod(node.output.spatial)),
    )


def rivals_in_all(network: Network, versus: Versus) -> tuple[Rival, ...]:
    """Compare the network with one in which every layer that has a rival is replaced by it."""
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


class Row(NamedTuple):
    """One layer. Tuples have an entry for each spatial axis of the network's input."""

    number: int
    last: int  # the number of the last layer, if rows are folded into one
    layer: str
    path: str
    instance: Instance | None
    output: tuple[int, ...]
    formula: str
    parameters: int
    work: int
    share: float | None  # of the work of all layers, if that is known
    memory: int  # bytes of the output, for the whole batch
    field: tuple[int, ...]
    jump: tuple[float, ...]
    padding: tuple[float, ...]
    centre: tuple[float, ...]
    dropped: tuple[int, ...]  # padded samples at the end that no window reaches
    lost: bool  # whether some of those are samples of the input, not padding
    aligned: bool
    unknown: frozenset[str]  # which of FIELD, WORK and PARAMETERS are not known
    rivals: tuple[Rival, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """A network's rows and totals, with the conventions of counting."""

    network: Network
    count: Count
    dtype: str
    rows: tuple[Row, ...]
    parameters: int
    work: int
    activations: int  # bytes of every output together
    weights: int  # bytes of the parameters
    inference: int  # the most bytes of activations alive at once
    training: int
    versus: Versus | None
    rivals: tuple[Rival, ...]

    @property
    def complete(self) -> bool:
        """Whether the parameters and the work of all layers are known."""
        return not any(row.unknown & {PARAMETERS, WORK} for row in self.rows)


def summarise(
    network: Network,
    count: Count | None = None,
    *,
    dtype: str = "float32",
    versus: Versus | None = None,
) -> Summary:
    """Compute a row for every layer, and the totals.

    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> net = Network.of(Tensor((224, 224), 3), parse("conv:64,k=7,s=2,p=3 maxpool:3,s=2,p=1"))
    >>> row = summarise(net).rows[-1]
    >>> row.output, row.field, row.jump, row.padding, row.dropped
    ((56, 56, 64), (11, 11), (4.0, 4.0), (5.0, 5.0), (1, 1))
    """
    count = count or Count()
    size = itemsize(dtype)
    work = [count.work(node) for node in network.nodes]
    total = sum(work)
    counted = not any(WORK in node.step.unknown for node in network.nodes)
    rows = tuple(
        _row(
            network,
            number,
            node,
            view,
            done,
            _share(done, total) if counted else None,
            size * count.batch,
            versus,
        )
        for number, (node, view, done) in enumerate(
            zip(network.nodes, views(network), work, strict=True), 1
        )
    )
    return Summary(
        network,
        count,
        dtype,
        rows,
        parameters=network.parameters,
        work=total,
        activations=sum(row.memory for row in rows),
        weights=size * network.parameters,
        inference=size * count.batch * inference_peak(network),
        training=size * count.batch * training_peak(network),
        versus=versus,
        rivals=rivals_in_all(network, versus) if versus else (),
    )


def _share(work: int, total: int) -> float:
    return work / total if total else 0.0


def _row(
    network: Network,
    number: int,
    node: Node,
    view: View,
    work: int,
    share: float | None,
    size: int,
    versus: Versus | None,
) -> Row:
    return Row(
        number,
        number,
        node.text,
        node.path,
        node.instance,
        node.output.shape(network.layout),
        formulas(node),
        node.parameters,
        work,
        share,
        0 if node.view else size * node.output.size,
        tuple([field.size for field in view.fields]),
        tuple([float(field.jump) for field in view.fields]),
        tuple([field.padding for field in view.fields]),
        tuple([field.centre for field in view.fields]),
        tuple([axis.unused for axis in node.axes]),
        any(axis.unused > axis.hi for axis in node.axes),
        view.aligned,
        node.step.unknown - {FIELD} | ({FIELD} if not view.known else frozenset()),
        rivals(node, versus) if versus else (),
    )


def formulas(node: Node) -> str:
    """Return the formulas of the output's sizes; equal axes have one.

    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> net = Network.of(Tensor((28, 28), 1), parse("conv:8,k=3x5 flatten"))
    >>> [formulas(node) for node in net.nodes]
    ['28 - 3 + 1 = 26, 28 - 5 + 1 = 24', '26*24*8 = 4992']
    """
    if node.axes and not node.output.spatial:
        return _flat(node.axes, node)
    return ", ".join(dict.fromkeys(axis.formula for axis in node.axes))


def _flat(axes: Sequence[Axis], node: Node) -> str:
    if not node.view:
        return ""
    factors = (*(axis.n for axis in axes), node.x.depth)
    return f"{'*'.join(map(str, factors))} = {math.prod(factors)}"
