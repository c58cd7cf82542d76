"""Bytes of activations alive at once, while a network runs and while it trains.

The model: every layer writes a tensor of its own (nothing works in place; `flatten` is a view), and a tensor lives
until the last layer that reads it has run. Training keeps every tensor for the backward pass, which goes through
the layers from the last to the first; the gradient of a tensor lives from the last layer that read it until the
layer that made it has run backwards, and the tensor goes with it. Weights and their gradients are not counted here.
"""

from __future__ import annotations

from collections.abc import Sequence

from convcli.network.graph import INPUT, Network, Node


def inference_peak(network: Network) -> int:
    """The most values alive at once in a forward pass, for one item of a batch.

    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> inference_peak(Network.of(Tensor((8,), 1), parse("conv:4,k=3,p=1 relu gap")))
    64
    """
    owner = _owners(network.nodes)
    last = _last_readers(network.nodes, owner)
    alive = peak = network.x.size
    for index, node in enumerate(network.nodes):
        if not node.view:
            alive += node.output.size
        peak = max(peak, alive)
        for at in {owner[at] for at in node.inputs}:
            if last[at] == index:
                alive -= network.tensor(at).size
    return peak


def training_peak(network: Network) -> int:
    """The most values alive at once in a forward and a backward pass, for one item of a batch."""
    nodes, owner = network.nodes, _owners(network.nodes)
    alive = network.x.size + sum(node.output.size for node in nodes if not node.view)
    graded = {owner[len(nodes) - 1]}
    alive += network.output.size
    peak = alive
    for index in range(len(nodes) - 1, -1, -1):
        for at in {owner[at] for at in nodes[index].inputs} - graded:
            graded.add(at)
            alive += network.tensor(at).size
        peak = max(peak, alive)
        if not nodes[index].view:
            alive -= 2 * nodes[index].output.size
    return peak


def _owners(nodes: Sequence[Node]) -> dict[int, int]:
    """Whose memory each node's output is: its own, or that of the input it is a view of."""
    owner = {INPUT: INPUT}
    for index, node in enumerate(nodes):
        owner[index] = owner[node.inputs[0]] if node.view else index
    return owner


def _last_readers(nodes: Sequence[Node], owner: dict[int, int]) -> dict[int, int]:
    """The last node that reads each tensor; what the network gives is kept."""
    last: dict[int, int] = {}
    for index, node in enumerate(nodes):
        for at in node.inputs:
            last[owner[at]] = index
    last[owner[len(nodes) - 1]] = len(nodes)
    return last
