"""Write a network as an ONNX model that runs.

Its weights are zeros that the model creates when it runs, so that the file is small. Paddings are
written as numbers. Needs the onnx package, `pip install onnx`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from convcli.errors import InputError
from convcli.network.graph import INPUT, Network, Node
from convcli.network.layers import Op

OPSET = 20  # the first version with Gelu
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "leakyrelu": ("LeakyRelu", {"alpha": 0.01}),
    "elu": ("Elu", {}),
    "gelu": ("Gelu", {}),
    "hardswish": ("HardSwish", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "softmax": ("Softmax", {"axis": 1}),
}


def serialise(network: Network) -> bytes:
    """Return the model's bytes, checked by onnx.

    Raises InputError, naming the layer, if ONNX has no such node.
    """
    try:
        from onnx import TensorProto, checker, helper
    except ImportError:
        raise InputError(
            "--emit onnx", "writing ONNX needs the onnx package", "pip install onnx"
        ) from None
    writer = _Writer(network)
    for number, node in enumerate(network.nodes):
        writer.layer(node, number)
    ends = [("x", network.x), (f"y{len(network.nodes) - 1}", network.output)]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", t.depth, *t.spatial])
        for name, t in ends
    )
    graph = helper.make_graph(writer.nodes, network.name or "network", [x], [y])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="convcli"
    )
    model.ir_version = 9  # the version of this opset
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


class _Writer:
    """The nodes of a model while it is written; constants are nodes too, not initialisers."""

    def __init__(self, network: Network) -> None:
        self.nodes: list[Any] = []
        self.network = network

    def layer(self, node: Node, number: int) -> None:
        given = ["x" if source == INPUT else f"y{source}" for source in node.inputs]
        result = f"y{number}"
        if node.op is None:
            kind, options = ("Sum", {}) if node.text == "residual" else ("Concat", {"axis": 1})
            self.node(kind, given, result, **options)
        elif (name := node.op.kind.name) in ACTIVATIONS:
            kind, options = ACTIVATIONS[name]
            self.node(kind, given, result, **options)
        elif name in WRITERS:
            WRITERS[name](self, node, node.op, given[0], result)
        else:
            raise InputError(
                f"layer {number + 1} {node.text!r} has no counterpart in ONNX",
                remedy="emit without it",
            )

    def node(self, kind: str, given: Sequence[str], result: str, **options: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(given), [result], **options))
        return result

    def constant(
        self, name: str, values: Sequence[float], shape: Sequence[int] | None = None
    ) -> str:
        from onnx import TensorProto, helper

        whole = all(isinstance(value, int) for value in values)
        kind = TensorProto.INT64 if whole else TensorProto.FLOAT
        value = helper.make_tensor(name, kind, shape or [len(values)], list(values))
        return self.node("Constant", [], name, value=value)

    def weights(self, name: str, *shape: int) -> str:
        return self.node("ConstantOfShape", [self.constant(f"{name}.shape", shape)], name)


def _window(node: Node) -> dict[str, Any]:
    return {
        "kernel_shape": [axis.k for axis in node.axes],
        "strides": [axis.stride for axis in node.axes],
        "pads": [*(axis.lo for axis in node.axes), *(axis.hi for axis in node.axes)],
    }


def _dilations(node: Node) -> list[int]:
    return [axis.dilation for axis in node.axes]


def _bias(writer: _Writer, op: Op, result: str, count: int) -> list[str]:
    return [writer.weights(f"{result}.bias", count)] if op["bias"] else []


def _conv(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    filters = node.output.depth
    groups = node.x.depth if op.kind.name == "depthwise" else op["g"]
    window = _window(node)
    weights = writer.weights(
        f"{result}.weights", filters, node.x.depth // groups, *window["kernel_shape"]
    )
    given = [x, weights, *_bias(writer, op, result, filters)]
    writer.node("Conv", given, result, dilations=_dilations(node), group=groups, **window)


def _deconv(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    """Write a transposed convolution.

    With a dilation, output padding may be as large as the stride, which ONNX Runtime refuses. Less
    is cropped at the end instead; if that is not enough, zeros are added to the input there.
    """
    filters = node.output.depth
    groups = op["g"]
    window = _window(node)
    weights = writer.weights(
        f"{result}.weights", node.x.depth, filters // groups, *window["kernel_shape"]
    )
    given = [x, weights, *_bias(writer, op, result, filters)]
    extra = [axis.output_padding for axis in node.axes]
    more = [0] * len(extra)
    for number, axis in enumerate(node.axes):
        if axis.output_padding >= axis.stride:
            more[number] = max(-(-(axis.output_padding - axis.hi) // axis.stride), 0)
            window["pads"][len(extra) + number] = (
                axis.hi - axis.output_padding + more[number] * axis.stride
            )
            extra[number] = 0
    if any(more):
        pads = writer.constant(f"{result}.pads", [*[0] * (4 + len(more)), *more])
        given[0] = writer.node("Pad", [x, pads], f"{result}.longer")
    writer.node(
        "ConvTranspose",
        given,
        result,
        dilations=_dilations(node),
        group=groups,
        output_padding=extra,
        **window,
    )


def _maxpool(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    writer.node("MaxPool", [x], result, dilations=_dilations(node), **_window(node))


def _avgpool(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    """Write an average pooling that counts padding as samples, but not what rounding up adds.

    To leave that out, the last mean along an axis is multiplied by its share.
    """
    cut = [number for number, axis in enumerate(node.axes) if axis.beyond]
    names = [*(f"{result}.beyond{number}" for number in cut), result]
    mean = writer.node("AveragePool", [x], names[0], count_include_pad=1, **_window(node))
    for number, name in zip(cut, names[1:], strict=True):
        axis = node.axes[number]
        shape = [1] * (2 + len(node.axes))
        shape[2 + number] = axis.out
        shares = [1.0] * (axis.out - 1) + [axis.k / (axis.k - axis.beyond)]
        mean = writer.node("Mul", [mean, writer.constant(f"{name}.shares", shares, shape)], name)


def _gap(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    if op["keep"]:
        writer.node("GlobalAveragePool", [x], result)
    else:
        writer.node("Flatten", [writer.node("GlobalAveragePool", [x], f"{result}.mean")], result)


def _batchnorm(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    depth = node.x.depth
    learnt = [
        writer.weights(f"{result}.{part}", depth) for part in ("scale", "offset") if op["affine"]
    ]
    fixed = {"scale": 1.0, "offset": 0.0, "mean": 0.0, "variance": 1.0}
    constant = [
        writer.constant(f"{result}.{part}", [value] * depth)
        for part, value in list(fixed.items())[len(learnt) :]
    ]
    writer.node("BatchNormalization", [x, *learnt, *constant], result)


def _pad(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    pads = [0, 0, *(axis.lo for axis in node.axes), 0, 0, *(axis.hi for axis in node.axes)]
    writer.node("Pad", [x, writer.constant(f"{result}.pads", pads)], result)


def _upsample(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    scales = writer.constant(
        f"{result}.scales", [1.0, 1.0, *(float(axis.stride) for axis in node.axes)]
    )
    writer.node("Resize", [x, "", scales], result, mode=op["mode"])


def _flatten(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    writer.node("Flatten", [x], result)


def _linear(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    flat = writer.node("Flatten", [x], f"{result}.flat") if node.x.spatial else x
    weights = writer.weights(f"{result}.weights", node.output.depth, node.x.size)
    writer.node(
        "Gemm", [flat, weights, *_bias(writer, op, result, node.output.depth)], result, transB=1
    )


def _dropout(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    writer.node("Dropout", [x], result)


def _relu6(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    writer.node(
        "Min",
        [writer.node("Relu", [x], f"{result}.relu"), writer.constant(f"{result}.six", [6.0])],
        result,
    )


def _silu(writer: _Writer, node: Node, op: Op, x: str, result: str) -> None:
    writer.node("Mul", [x, writer.node("Sigmoid", [x], f"{result}.gate")], result)


WRITERS: dict[str, Callable[[_Writer, Node, Op, str, str], None]] = {
    "conv": _conv,
    "depthwise": _conv,
    "deconv": _deconv,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "gap": _gap,
    "batchnorm": _batchnorm,
    "pad": _pad,
    "upsample": _upsample,
    "flatten": _flatten,
    "linear": _linear,
    "dropout": _dropout,
    "relu6": _relu6,
    "silu": _silu,
}
