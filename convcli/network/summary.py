"""All that is reported of a network, as records: a row for each layer, and the totals."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from convcli.network.costs import Count, Rival, Versus, rivals, rivals_in_all
from convcli.network.graph import Network, Node
from convcli.network.memory import inference_peak, training_peak
from convcli.network.receptive_field import View, views
from convcli.shapes.spec import Axis


class Row(NamedTuple):
    """One layer. What has an entry for each spatial axis of the network's input is a tuple."""

    number: int
    layer: str
    path: str
    output: str
    formula: str
    parameters: int
    work: int
    share: float  # of the work of all layers
    memory: int  # bytes of the output, for the whole batch
    field: tuple[int, ...]
    jump: tuple[float, ...]
    padding: tuple[float, ...]
    centre: tuple[float, ...]
    dropped: tuple[int, ...]  # padded samples at the end that the floor leaves out
    lost: bool  # whether some of those are samples of the input, not of its padding
    aligned: bool
    rivals: tuple[Rival, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """A network's rows and totals, with the conventions that they are counted by."""

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


def summarise(
    network: Network, count: Count | None = None, *, dtype: str = "float32", versus: Versus | None = None
) -> Summary:
    """Tell everything about every layer.

    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> net = Network.of(Tensor((224, 224), 3), parse("conv:64,k=7,s=2,p=3 maxpool:3,s=2,p=1"))
    >>> row = summarise(net).rows[-1]
    >>> row.output, row.field, row.jump, row.padding, row.dropped
    ('56x56x64', (11, 11), (4.0, 4.0), (5.0, 5.0), (1, 1))
    """
    count = count or Count()
    size = itemsize(dtype)
    work = [count.work(node) for node in network.nodes]
    total = sum(work)
    rows = tuple(
        _row(network, number, node, view, done, done / total if total else 0.0, size * count.batch, versus)
        for number, (node, view, done) in enumerate(zip(network.nodes, views(network), work, strict=True), 1)
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


def itemsize(dtype: str) -> int:
    """Bytes of one number of a type.

    >>> itemsize("float32"), itemsize("int8"), itemsize("bfloat16")
    (4, 1, 2)
    """
    return int(re.sub(r"\D", "", dtype)) // 8


def _row(
    network: Network,
    number: int,
    node: Node,
    view: View,
    work: int,
    share: float,
    size: int,
    versus: Versus | None,
) -> Row:
    return Row(
        number,
        node.text,
        node.path,
        network.show(node.output),
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
        rivals(node, versus) if versus else (),
    )


def formulas(node: Node) -> str:
    """How the output's sizes come about, axes that are alike told once.

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
