"""Bound what the inference of shapes takes, which grows exponentially in some small models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from convcli.errors import InputError, LimitError
from convcli.shapes.parse import MOST_AXES

MOST_CALLS = 100_000
"""The most nodes of a model whose functions are expanded."""

MOST_VALUES = 1_000_000
"""The most integers of a tensor that are followed from node to node, as sizes are."""

_INTEGERS = (6, 7)  # TensorProto's int32 and int64
_SET = frozenset(["Reshape", "Expand", "Resize", "Upsample", "Slice", "Pad", "Tile"])


def check_functions(model: Any) -> None:
    """Raise LimitError for a model whose functions expand to more than MOST_CALLS nodes.

    Raises InputError for a function that calls itself.
    """
    functions = {(each.domain, each.name): each.node for each in model.functions}
    costs: dict[tuple[str, str], int] = {}  # 0 while a function is counted

    def cost(nodes: Iterable[Any]) -> int:
        total = 0
        for node in _nested(nodes):
            key = node.domain, node.op_type
            if key in functions and key not in costs:
                costs[key] = 0
                costs[key] = cost(functions[key])
            if costs.get(key) == 0:
                raise InputError(f"the function {node.op_type!r} calls itself")
            total += 1 + costs.get(key, 0)
            if total > MOST_CALLS:
                raise LimitError(
                    f"functions that expand to more than {MOST_CALLS:,} nodes",
                    remedy="export the model without functions",
                )
        return total

    cost(model.graph.node)


def sizes_stay_small(model: Any) -> bool:
    """Return whether no concatenation of sizes in a model has more than MOST_VALUES values.

    The model must have passed `check_functions`.
    """
    functions = {(each.domain, each.name): each for each in model.functions}
    counts = {each.name: _integers(each) for each in model.graph.initializer}
    return _count_sizes(model.graph.node, counts, functions)


def _count_sizes(
    nodes: Iterable[Any], counts: dict[str, int], functions: dict[tuple[str, str], Any]
) -> bool:
    """Add the most integers of each tensor that is computed from shapes to `counts`.

    Returns False as soon as one has more than MOST_VALUES.
    """
    for node in _nested(nodes):
        given = [counts.get(name, 0) for name in node.input]
        function = functions.get((node.domain, node.op_type))
        if function is not None:
            inner = dict(zip(function.input, given, strict=False))
            if not _count_sizes(function.node, inner, functions):
                return False
            found = [inner.get(name, 0) for name in function.output]
        elif node.op_type == "Shape":
            found = [MOST_AXES]
        elif node.op_type == "Constant":
            found = [sum(_integers(attribute.t) for attribute in node.attribute)]
        elif node.op_type == "Concat":
            found = [sum(given)]
        else:  # some have other inputs that are settings
            found = [max(given[:1] if node.op_type in _SET else given, default=0)]
        if max(found, default=0) > MOST_VALUES:
            return False
        counts.update(zip(node.output, found * len(node.output), strict=False))
    return True


def _integers(tensor: Any) -> int:
    return math.prod(tensor.dims) if tensor.data_type in _INTEGERS else 0


def _nested(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yield nodes, and those of the graphs in their attributes."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nested(graph.node)
