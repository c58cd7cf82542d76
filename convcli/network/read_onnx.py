"""Read a network from an ONNX file.

Convolutions, pools and products are read as convcli's own layers (onnx_readers.py), other nodes by
their declared shapes (onnx_kinds.py). Needs the onnx package, `pip install onnx`.

A tensor `(N, C, *S)` has spatial axes, `(N, F)` is flat, and the batch N is ignored: `--batch` sets
it. Unknown kinds are listed in `Network.opaque`; their outputs have the shapes that onnx infers,
and their steps list what is unknown, such as the receptive fields after them. Fields are those of
the first input; every node that leads to an output is read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convcli.errors import (
    ConvError,
    FileError,
    InputError,
    LimitError,
    ShapeError,
    brief,
    is_there,
    nearest_file,
    printable,
)
from convcli.limits import Limits, show_bytes
from convcli.network.graph import INPUT, Network, Node
from convcli.network.layers import Op, Step
from convcli.network.onnx_kinds import (
    BIAS_INPUT,
    RESHAPING,
    SHAPE_KEEPING,
    SILENT,
    WEIGHTLESS,
    Call,
    Shape,
    declared_step,
    opaque,
    tensor,
)
from convcli.network.onnx_limits import check_functions, sizes_stay_small
from convcli.network.onnx_readers import READERS, WEIGHTED, is_known
from convcli.shapes.parse import check_countable
from convcli.stores import location

LARGEST = 2**31 - 1
"""The most bytes of a model, protobuf's limit."""
KEEP_APART = "save its weights as external data, which are not read"
COPIES = 4
"""Copies of a model in memory: the file, its message, and two in the inference of shapes."""

FLOATS = frozenset([1, 10, 11, 16])
"""TensorProto's types of initialisers that are parameters: float32, float16, float64, bfloat16."""

NARROW = frozenset([2, 3, *range(17, 26)])
"""TensorProto's types of quantised weights: integers and floats of at most 8 bits."""

SMALL = 64
"""The most values of an initialiser that is a setting, such as pads, whose values are read."""


def load(path: str) -> Network:
    """Read a model.

    Raises FileError for one that cannot be read, InputError for shapes that it does not declare.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(
            f"{path} is an ONNX model", "reading it needs the onnx package", "pip install onnx"
        ) from None
    place = location(path)
    if isinstance(place, Path) and not is_there(place, Path.is_file):
        remedy = nearest_file(place) or "check its name"
        raise FileError(f"there is no file {path!r}", remedy=remedy)
    path = str(place)
    try:
        with place.open("rb") as stream:
            _check_size(path, stream.seek(0, os.SEEK_END))
            stream.seek(0)
            return of_model(onnx.load(stream, load_external_data=False), place.stem)
    except ConvError:
        raise
    except Exception as error:  # a damaged model may raise anything in the onnx package
        found = f"{type(error).__name__}: {brief(error)}"
        raise FileError(
            f"{path} is not a valid ONNX model ({found})", "expected a .onnx file"
        ) from None


def _check_size(path: str, size: int) -> None:
    if size > LARGEST:
        raise LimitError(
            f"{path} has {show_bytes(size)}", f"expected at most {show_bytes(LARGEST)}", KEEP_APART
        )
    Limits.of().check_memory(path, COPIES * size, KEEP_APART)


def of_model(model: Any, name: str = "") -> Network:
    """Build a network from a loaded model; an open batch is read as 1."""
    from onnx import helper, shape_inference

    for given in model.graph.input:
        dims = given.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    # During the inference, nodes that keep their input's shape are replaced by identities,
    # because onnx may not know their kinds.
    kept = [
        (number, type(node)())
        for number, node in enumerate(model.graph.node)
        if node.op_type in SHAPE_KEEPING
    ]
    for number, copy in kept:
        node = model.graph.node[number]
        copy.CopyFrom(node)
        node.CopyFrom(helper.make_node("Identity", [node.input[0]], [node.output[0]]))
    # Its graph does not keep the inferred model alive, so this variable does.
    check_functions(model)
    inferred = shape_inference.infer_shapes(model, data_prop=sizes_stay_small(model))
    for number, copy in kept:
        inferred.graph.node[number].CopyFrom(copy)
        model.graph.node[number].CopyFrom(copy)
    opset = next(
        (each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 13
    )
    return _Reader(inferred.graph, name, opset).network()


class _Reader:
    """Reads the nodes of a graph.

    sources: the node that computes each tensor that depends on an input.
    weights: the number of values in each initialiser that may be parameters.
    roots: the initialiser that each constant tensor is computed from, or its own name.
    settings: the outputs of Constant nodes.
    counted: the roots that earlier nodes read, whose parameters are shared and counted once.
    """

    def __init__(self, graph: Any, name: str, opset: int) -> None:
        self.graph = graph
        self.name = name
        self.opset = opset
        self.shapes = _shapes(graph)
        self.initialisers = {each.name: each for each in graph.initializer}
        inputs = [given.name for given in graph.input if given.name not in self.initialisers]
        if not inputs:
            raise InputError("the model has no input")
        self.inputs = tuple(tensor(self.declared(each)) for each in inputs)
        self.sources = {each: INPUT - number for number, each in enumerate(inputs)}
        self.nodes: list[Node] = []
        self.opaque: dict[str, None] = {}
        self.weights = {
            each.name: math.prod(each.dims) for each in graph.initializer if _may_be_weights(each)
        }
        self.roots = {each: each for each in self.initialisers}
        self.settings: set[str] = set()
        self.counted: set[str] = set()

    def declared(self, name: str) -> Shape:
        shape = self.shapes.get(name)
        if shape is None:
            raise InputError(
                f"{name!r} has no declared shape",
                "expected fixed sizes, but for the batch",
                "export with fixed sizes",
            )
        return shape

    def network(self) -> Network:
        ends = [output.name for output in self.graph.output]
        for node in _leading_to(ends, self.graph.node):
            sources = [self.sources[name] for name in node.input if name in self.sources]
            if sources and node.op_type not in SILENT:
                self.read(node, sources)
            elif all(name in self.roots for name in node.input if name):
                made_of = (
                    ()
                    if node.op_type in SILENT
                    else (self.roots[name] for name in node.input if name)
                )
                if node.op_type == "Constant":
                    self.settings.update(node.output)
                root = max(made_of, key=lambda name: self.weights.get(name, 0), default=None)
                self.roots.update({name: root or name for name in node.output})
        if not self.nodes:
            raise InputError("the model has no node that its input reaches")
        outputs = tuple(
            self.sources[name] for name in ends if self.sources.get(name, INPUT) > INPUT
        )
        return Network(
            self.inputs[0],
            tuple(self.nodes),
            "channels_first",
            self.name,
            tuple(self.opaque),
            others=self.inputs[1:],
            ends=outputs,
        )

    def read(self, node: Any, sources: list[int]) -> None:
        # What is known of the node before its arithmetic.
        given = [
            self.inputs[INPUT - at] if at <= INPUT else self.nodes[at].output for at in sources
        ]
        names = tuple(node.input)
        kind = printable(node.op_type)
        call = Call(
            kind,
            _attributes(node),
            given[0],
            names,
            tuple(self.shapes.get(name) for name in names),
            tuple(name in self.roots for name in names),
            self.shapes.get(node.output[0]),
            tuple(self.values(name) for name in names),
            self.opset,
        )
        # Its output and cost.
        spatial = [each.spatial for each in given]
        try:
            op, step = self.resolve(call, node, spatial)
        except InputError as error:
            message = f"node {node.name or node.output[0]!r} ({kind}): {error.given}"
            raise ShapeError(message, error.expected, error.remedy) from None
        if len(step.axes) != len(self.inputs[0].spatial):
            step = step._replace(axes=())
        step = self.parameters(call, step)
        check_countable(math.prod(step.output.shape()))
        joins = len(sources) > 1 and kind not in READERS
        self.nodes.append(Node(kind, "", None if joins else op, tuple(sources), given[0], step))
        for name in node.output:
            self.sources[name] = len(self.nodes) - 1

    def values(self, name: str) -> list[Any] | None:
        """Return the values of a small initialiser, such as pads."""
        from onnx import TensorProto, numpy_helper

        found = self.initialisers.get(name)
        if (
            found is None
            or math.prod(found.dims) > SMALL
            or found.data_location == TensorProto.EXTERNAL
        ):
            return None
        listed: list[Any] = numpy_helper.to_array(found).ravel().tolist()
        return listed

    def parameters(self, call: Call, step: Step) -> Step:
        """Count a node's parameters: the initialisers that no earlier node read."""
        constants = {
            number: self.roots[name] for number, name in enumerate(call.names) if call.fixed[number]
        }
        fresh = {number: root for number, root in constants.items() if root not in self.counted}
        self.counted.update(constants.values())
        if call.kind == "BatchNormalization":
            fresh = {number: root for number, root in fresh.items() if root not in self.settings}
        if call.kind in WEIGHTED:
            weights = fresh.get(call.weights_input)
            biases = fresh.get(BIAS_INPUT.get(call.kind, 2) or 2) if call.biased else None
            return step._replace(
                weights=self.weights.get(weights, step.weights) if weights else 0,
                biases=self.weights.get(biases, step.biases) if biases else 0,
            )
        quantises = "Quantize" in call.kind or call.kind.startswith("QLinear")
        if quantises or call.kind in WEIGHTLESS:
            return step
        return step._replace(weights=sum(self.weights.get(root, 0) for root in set(fresh.values())))

    def resolve(self, call: Call, node: Any, spatial: list[Shape]) -> tuple[Op, Step]:
        if not is_known(call.kind):
            self.opaque[call.kind] = None
        if call.kind in READERS:
            return READERS[call.kind](call)
        if call.declared is None and not any(
            name and name not in self.shapes for name in call.names
        ):
            raise InputError(
                f"{node.output[0]!r} has no declared shape",
                "onnx infers none for this kind of node",
                "declare it in the model, as value_info",
            )
        nested = any(item.HasField("g") or item.graphs for item in node.attribute)
        step = declared_step(call, tensor(self.declared(node.output[0])), spatial, nested)
        return opaque(call.kind, step, view=call.kind in RESHAPING), step


def _may_be_weights(initialiser: Any) -> bool:
    """Return whether an initialiser may be parameters: floats, or several quantised values."""
    return initialiser.data_type in FLOATS or (
        initialiser.data_type in NARROW and math.prod(initialiser.dims) > 1
    )


def _leading_to(names: Sequence[str], nodes: Sequence[Any]) -> list[Any]:
    """Return the nodes that tensors depend on, in order."""
    needed = set(names)
    found = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            found.append(node)
    return found[::-1]


def _shapes(graph: Any) -> dict[str, Shape]:
    """Return the shapes of all tensors whose sizes are all known."""
    found = {weights.name: tuple(weights.dims) for weights in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        dims = kind.shape.dim
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            found.setdefault(value.name, tuple(dim.dim_value for dim in dims))
    return found


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    values = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return {
        key: value.decode() if isinstance(value, bytes) else value for key, value in values.items()
    }
