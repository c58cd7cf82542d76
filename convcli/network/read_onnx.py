"""An ONNX file as a network.

Convolutions, pools and products by our own arithmetic, the rest by declared shapes.

Needs the onnx package, `pip install 'convcli[onnx]'`; nothing else here does. A tensor `(N, C, *S)`
is read with its spatial axes, `(N, F)` is flat, and the batch N is left to `--batch`. Nodes that
this module does not know are named in `Network.opaque` and pass on what the file's shape inference
declares; receptive fields go past them as if every position stayed. A model with several outputs is
followed to the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convcli.errors import ConvError, FileError, InputError, LimitError, ShapeError, brief, nearest_file
from convcli.limits import Limits, show_bytes
from convcli.network.graph import INPUT, Network, Node
from convcli.network.layers import KINDS, Kind, Op, Step, Tensor, pool
from convcli.shapes.axis import Axis

LARGEST = 2**31 - 1
"""Bytes of a model at most, which is protobuf's limit."""
KEEP_APART = "save its weights as external data, which are not read"
COPIES = 4
"""How often a model is held at once: the file, its message, and what the inference of shapes makes
of it."""

FLOATS = frozenset([1, 10, 11, 16])
"""The types of initialisers that are parameters, as TensorProto numbers them: of 32, 16 and 64 bits, and bfloat16."""

Shape = tuple[int, ...]
AUTO_PAD = {"SAME_UPPER": "same", "SAME_LOWER": "same-lower", "VALID": "valid"}
_ELEMENTWISE = """
Abs Add And Cast Ceil Celu Clip Cos Div Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log
LogSoftmax Max Mean Min Mish Mod Mul Neg Not Or Pow PRelu Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax Softplus
Softsign Sqrt Sub Sum Tanh ThresholdedRelu Where
"""
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
RESHAPING = frozenset(["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"])
SHAPE_KEEPING = frozenset(
    ["FastGelu", "GroupNormalization", "QuickGelu", "RMSNormalization", "SimplifiedLayerNormalization"]
)
"""Kinds that onnx infers no shape for, and whose output has their input's."""
WEIGHTLESS = frozenset(["Clip", "Dropout", "Pad", "QuantizeLinear", "DequantizeLinear", "Resize", "Upsample"])
"""Kinds whose constants are settings."""
SILENT = frozenset(["Constant", "ConstantOfShape", "Shape"])


def load(path: str) -> Network:
    """Read a model.

    Raises FileError for one that cannot be read, InputError for shapes that it does not tell.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(
            f"{path} is an ONNX model", "reading one takes the onnx package", "pip install 'convcli[onnx]'"
        ) from None
    if not Path(path).is_file():
        raise FileError(f"there is no file {path!r}", remedy=nearest_file(Path(path)) or "check its name")
    size = Path(path).stat().st_size
    if size > LARGEST:
        raise LimitError(f"{path} has {show_bytes(size)}", f"expected at most {show_bytes(LARGEST)}", KEEP_APART)
    Limits.of().check_memory(path, COPIES * size, KEEP_APART)
    try:
        return of_model(onnx.load(path, load_external_data=False), Path(path).stem)
    except ConvError:
        raise
    except Exception as error:  # the onnx package and the parts of a model that are not what they should be raise any
        found = f"{type(error).__name__}: {brief(error)}"
        raise FileError(f"{path} is no ONNX model that holds together ({found})", "expected a .onnx file") from None


def of_model(model: Any, name: str = "") -> Network:
    """Make a network of a loaded model, whose open batch is taken as 1."""
    from onnx import helper, shape_inference

    for given in model.graph.input:
        dims = given.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    kept = [(number, type(node)()) for number, node in enumerate(model.graph.node) if node.op_type in SHAPE_KEEPING]
    for number, copy in kept:
        node = model.graph.node[number]
        copy.CopyFrom(node)
        node.CopyFrom(helper.make_node("Identity", [node.input[0]], [node.output[0]]))
    inferred = shape_inference.infer_shapes(model, data_prop=True)  # keep it: its graph does not keep it alive
    for number, copy in kept:
        inferred.graph.node[number].CopyFrom(copy)
    return _Reader(inferred.graph, name).network()


@dataclass(frozen=True)
class _Call:
    """One node of the file: its attributes, the shapes of its inputs, and its declared output."""

    kind: str
    attributes: Mapping[str, Any]
    x: Tensor
    shapes: tuple[Shape | None, ...]  # of every input
    fixed: tuple[bool, ...]  # for every input, whether it is made of constants alone
    declared: Shape | None  # of the first output

    def get(self, key: str, default: Any) -> Any:
        return self.attributes.get(key, default)

    def weights(self, number: int) -> Shape:
        shape = self.shapes[number] if number < len(self.shapes) else None
        if shape is None:
            raise InputError(f"the weights of {self.kind} have no declared shape")
        return shape

    @property
    def biased(self) -> bool:
        return len(self.shapes) > 2

    @property
    def weights_input(self) -> int:
        """Which input the weights are: a product's other operand may be the activation."""
        return 0 if self.fixed[0] else 1


class _Reader:
    """Reads the nodes of a graph.

    `sources`: the node that gives each tensor that depends on the input. `weights`: the values in each
    initialiser of floats. `roots`: the initialiser that each constant tensor is made of, or its own name.
    `counted`: the roots that a node read before, whose parameters are shared.
    """

    def __init__(self, graph: Any, name: str) -> None:
        self.graph = graph
        self.name = name
        self.shapes = _shapes(graph)
        constant = {weights.name for weights in graph.initializer}
        inputs = [given.name for given in graph.input if given.name not in constant]
        if not inputs:
            raise InputError("the model has no input")
        self.x = _tensor(self.declared(inputs[0]))
        self.sources = {inputs[0]: INPUT}
        self.nodes: list[Node] = []
        self.opaque: dict[str, None] = {}
        self.weights = {each.name: math.prod(each.dims) for each in graph.initializer if each.data_type in FLOATS}
        self.roots = {each: each for each in constant}
        self.counted: set[str] = set()

    def declared(self, name: str) -> Shape:
        shape = self.shapes.get(name)
        if shape is None:
            raise InputError(
                f"{name!r} has no declared shape", "expected fixed sizes, but for the batch", "export with fixed sizes"
            )
        return shape

    def network(self) -> Network:
        for node in _leading_to(self.graph.output[0].name, self.graph.node):
            sources = [self.sources[name] for name in node.input if name in self.sources]
            if sources and node.op_type not in SILENT:
                self.read(node, sources)
            elif all(name in self.roots for name in node.input if name):
                made_of = () if node.op_type in SILENT else (self.roots[name] for name in node.input if name)
                root = next((name for name in made_of if name in self.weights), None)
                self.roots.update({name: root or name for name in node.output})
        if not self.nodes:
            raise InputError("the model has no node that its input reaches")
        return Network(self.x, tuple(self.nodes), "channels_first", self.name, tuple(self.opaque))

    def read(self, node: Any, sources: list[int]) -> None:
        x = self.x if sources[0] == INPUT else self.nodes[sources[0]].output
        given = [name for name in node.input if name]
        call = _Call(
            node.op_type,
            _attributes(node),
            x,
            tuple(self.shapes.get(name) for name in given),
            tuple(name in self.roots for name in given),
            self.shapes.get(node.output[0]),
        )
        try:
            op, step = self.resolve(call, node)
        except InputError as error:
            message = f"node {node.name or node.output[0]!r} ({node.op_type}): {error.given}"
            raise ShapeError(message, error.expected, error.remedy) from None
        if len(step.axes) != len(self.x.spatial):
            step = step._replace(axes=())
        step = self.parameters(call, given, step)
        joins = len(sources) > 1 and node.op_type not in READERS
        self.nodes.append(Node(node.op_type, "", None if joins else op, tuple(sources), x, step))
        for name in node.output:
            self.sources[name] = len(self.nodes) - 1

    def parameters(self, call: _Call, given: Sequence[str], step: Step) -> Step:
        """Count a node's parameters: what it reads of initialisers that no node before it read."""
        constants = {number: self.roots[name] for number, name in enumerate(given) if call.fixed[number]}
        fresh = {number: root for number, root in constants.items() if root not in self.counted}
        self.counted.update(constants.values())
        if call.kind in WEIGHTED:
            weights = fresh.get(call.weights_input)
            biases = fresh.get(2)
            return step._replace(
                weights=self.weights.get(weights, step.weights) if weights else 0,
                biases=self.weights.get(biases, step.biases) if biases else 0,
            )
        if call.kind in WEIGHTLESS or call.kind in READERS:
            return step
        return step._replace(weights=sum(self.weights.get(root, 0) for root in set(fresh.values())))

    def resolve(self, call: _Call, node: Any) -> tuple[Op, Step]:
        if call.kind in READERS:
            return READERS[call.kind](call)
        if call.kind not in ELEMENTWISE | RESHAPING | {"Concat"}:
            self.opaque[call.kind] = None
        if call.declared is None and None not in call.shapes:
            raise InputError(
                f"{node.output[0]!r} has no declared shape",
                "onnx infers none for this kind of node",
                "declare it in the model, as value_info",
            )
        step = Step(_tensor(self.declared(node.output[0])))
        flat = call.x.spatial and not step.output.spatial
        if flat:
            step = step._replace(axes=tuple(Axis(n, n) for n in call.x.spatial))
        return _opaque(call.kind, step, view=call.kind in RESHAPING), step


def _leading_to(name: str, nodes: Sequence[Any]) -> list[Any]:
    """Return the nodes that a tensor depends on, in order."""
    needed = {name}
    found = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            found.append(node)
    return found[::-1]


def _opaque(name: str, step: Step, *, view: bool = False) -> Op:
    return Op(Kind(name, {}, lambda op, x: step, "as declared", view=view), {}, name)


def _tensor(shape: Shape) -> Tensor:
    """Return a shape without its batch: (N, C, *S) has spatial axes, (N, F) is flat."""
    inner = shape[1:]
    return Tensor(inner[1:], inner[0]) if inner else Tensor((), 1)


def _shapes(graph: Any) -> dict[str, Shape]:
    """Return every shape that is fully known."""
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
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in values.items()}


# Readers of the known nodes.


def _padding(call: _Call, dims: int) -> str | tuple[tuple[int, int], ...]:
    automatic = call.get("auto_pad", "NOTSET")
    if automatic != "NOTSET":
        return AUTO_PAD[automatic]
    pads = call.get("pads", [0] * 2 * dims)
    return tuple(zip(pads[:dims], pads[dims:], strict=True))


def _window(call: _Call, kernel: Shape) -> dict[str, Any]:
    dims = len(kernel)
    return {
        "k": kernel,
        "s": tuple(call.get("strides", [1] * dims)),
        "p": _padding(call, dims),
        "d": tuple(call.get("dilations", [1] * dims)),
    }


def _known_layer(kind: str, call: _Call, values: dict[str, Any]) -> tuple[Op, Step]:
    op = Op(KINDS[kind], values, call.kind)
    return op, op.apply_to(call.x)


def _conv(call: _Call) -> tuple[Op, Step]:
    filters, _, *kernel = call.weights(1)
    window = _window(call, tuple(call.get("kernel_shape", kernel)))
    return _known_layer("conv", call, {"filters": filters, "g": call.get("group", 1), "bias": call.biased, **window})


def _deconv(call: _Call) -> tuple[Op, Step]:
    _, filters, *kernel = call.weights(1)
    groups = call.get("group", 1)
    dims = len(kernel)
    values = {
        "filters": filters * groups,
        "g": groups,
        "bias": call.biased,
        "out_padding": tuple(call.get("output_padding", [0] * dims)),
        **_window(call, tuple(call.get("kernel_shape", kernel))),
    }
    if "output_shape" not in call.attributes:
        return _known_layer("deconv", call, values)
    return _deconv_to(call, values, tuple(call.attributes["output_shape"])[-dims:])


def _deconv_to(call: _Call, values: dict[str, Any], wanted: Shape) -> tuple[Op, Step]:
    """Read a deconvolution with a given output shape.

    Extra samples are cut, missing ones added at the end.
    """
    bare = [
        Axis(n, k, s, d, output_padding=extra, transposed=True)
        for n, k, s, d, extra in zip(
            call.x.spatial, values["k"], values["s"], values["d"], values["out_padding"], strict=True
        )
    ]
    axes = []
    for axis, size in zip(bare, wanted, strict=True):
        cut = max(axis.out - size, 0)
        extra = max(size - axis.out, 0)
        lo = cut // 2 if call.get("auto_pad", "NOTSET") == "SAME_UPPER" else cut - cut // 2
        pads = (axis.n, axis.k, axis.stride, axis.dilation, lo, cut - lo, axis.output_padding + extra, True)
        axes.append(Axis(*pads))
    filters = values["filters"]
    weights = call.x.depth * (filters // values["g"]) * math.prod(values["k"])
    biases = filters if values["bias"] else 0
    step = Step(Tensor(wanted, filters), tuple(axes), weights, biases, weights * math.prod(call.x.spatial))
    return _opaque(call.kind, step), step


def _pool(kind: str) -> Callable[[_Call], tuple[Op, Step]]:
    def read(call: _Call) -> tuple[Op, Step]:
        window = _window(call, tuple(call.attributes["kernel_shape"]))
        values = {**window, "ceil": bool(call.get("ceil_mode", 0))}
        op = Op(replace(KINDS[kind], apply=pool), values, call.kind)
        return op, op.apply_to(call.x)

    return read


def _global_pool(call: _Call) -> tuple[Op, Step]:
    return _known_layer("gap", call, {"keep": True})


def _batchnorm(call: _Call) -> tuple[Op, Step]:
    return _known_layer("batchnorm", call, {"affine": True})


def _product(call: _Call) -> tuple[Op, Step]:
    """Read Gemm or MatMul, in which every output is a sum over the inner axis.

    Either operand may be weights, or neither.
    """
    if call.declared is None:
        raise InputError("its output has no declared shape", "expected fixed sizes, but for the batch")
    operand = call.weights(1)
    output = _tensor(call.declared)
    inner = operand[_inner_axis(call, operand)]
    biases = math.prod(call.shapes[2] or ()) if call.biased else 0
    axes = tuple(Axis(n, n) for n in call.x.spatial) if not output.spatial else ()
    step = Step(output, axes, math.prod(call.weights(call.weights_input)), biases, output.size * inner)
    return _opaque(call.kind, step), step


def _inner_axis(call: _Call, weights: Shape) -> int:
    """Return the axis of the weights that is summed over."""
    if call.get("transB", 0):
        return -1
    return -2 if len(weights) > 1 else 0


READERS: dict[str, Callable[[_Call], tuple[Op, Step]]] = {
    "Conv": _conv,
    "ConvTranspose": _deconv,
    "MaxPool": _pool("maxpool"),
    "AveragePool": _pool("avgpool"),
    "LpPool": _pool("avgpool"),
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "BatchNormalization": _batchnorm,
    "Gemm": _product,
    "MatMul": _product,
}
WEIGHTED = frozenset(["Conv", "ConvTranspose", "BatchNormalization", "Gemm", "MatMul"])
"""Kinds whose first input is followed by weights and biases, as READERS count them."""
