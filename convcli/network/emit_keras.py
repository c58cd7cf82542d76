"""Write a network as Keras code: a functional model, channels last, for any of Keras' backends.

Paddings are written as numbers, in a padding layer before the layer that needs them; a transposed
convolution is cropped to its output size by a layer after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convcli.errors import InputError
from convcli.network.graph import INPUT, Network, Node
from convcli.network.layers import Op
from convcli.shapes.axis import Axis
from convcli.shapes.parse import show

ACTIVATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "elu": "elu",
    "gelu": "gelu",
    "silu": "silu",
    "hardswish": "hard_swish",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "softmax": "softmax",
}


def keras(network: Network) -> str:
    """Return the code of a model for Keras 3, with the sizes in its comments.

    Run as a script, it prints its output shape.
    Raises InputError, naming the layer, if Keras has no such layer.
    """
    steps = []
    for number, node in enumerate(network.nodes, 1):
        given = [f"x{source + 1}" for source in node.inputs]
        step = _meeting(node, given) if node.op is None else _layer(node, node.op, number, given[0])
        shape = show(node.output.shape("channels_last"))
        steps.append(f"x{number} = {step}  # {node.text} -> {shape}")
    input_shape = (*network.x.spatial, network.x.depth)
    return "\n".join(
        [
            "import keras",
            "from keras import layers",
            "",
            f"x{INPUT + 1} = keras.Input({input_shape})",
            *steps,
            f"model = keras.Model(x{INPUT + 1}, x{len(network.nodes)})",
            "",
            'if __name__ == "__main__":',
            "    print(model.output_shape)",
        ]
    )


def _meeting(node: Node, given: Sequence[str]) -> str:
    return f"layers.{'add' if node.text == 'residual' else 'concatenate'}([{', '.join(given)}])"


def _layer(node: Node, op: Op, number: int, x: str) -> str:
    name = op.kind.name
    if name in ACTIVATIONS:
        return f"layers.Activation({ACTIVATIONS[name]!r})({x})"
    if name not in KERAS or len(node.axes) > 3:
        raise _unknown(node, f"layer {number}")
    return KERAS[name](node, op, x)


def _unknown(node: Node, what: str) -> InputError:
    return InputError(
        f"{what} {node.text!r} has no counterpart in Keras",
        remedy="emit without it, or --emit torch",
    )


def _each(node: Node, read: Callable[[Axis], int]) -> str:
    return str(tuple(read(axis) for axis in node.axes))


def _steps(node: Node) -> str:
    """Return the arguments of a convolution's stride and dilation."""
    strides = _each(node, lambda a: a.stride)
    dilations = _each(node, lambda a: a.dilation)
    return f"strides={strides}, dilation_rate={dilations}"


def _ends(node: Node, layer: str, ends: Sequence[tuple[int, int]], x: str) -> str:
    """Return a layer that pads or crops each axis at its ends, or x if there is nothing to do."""
    if not any(end for pair in ends for end in pair):
        return x
    amounts = ends[0] if len(ends) == 1 else tuple(ends)
    return f"layers.{layer}{len(ends)}D({amounts})({x})"


def _padded(node: Node, x: str) -> str:
    return _ends(node, "ZeroPadding", [(axis.lo, axis.hi) for axis in node.axes], x)


def _conv(node: Node, op: Op, x: str) -> str:
    if any(axis.stride > 1 for axis in node.axes) and any(axis.dilation > 1 for axis in node.axes):
        raise _unknown(node, "stride with dilation in")
    groups = node.x.depth if op.kind.name == "depthwise" else op["g"]
    return (
        f"layers.Conv{len(node.axes)}D({node.output.depth}, {_each(node, lambda a: a.k)}, "
        f"{_steps(node)}, groups={groups}, use_bias={op['bias']})({_padded(node, x)})"
    )


def _deconv(node: Node, op: Op, x: str) -> str:
    # Keras' output without cropping, and what to crop at both ends of each axis.
    grown = [axis.n * axis.stride + max(axis.reach - axis.stride, 0) for axis in node.axes]
    cuts = [
        (axis.lo, size - axis.lo - axis.out) for axis, size in zip(node.axes, grown, strict=True)
    ]
    if op["g"] != 1 or any(end < 0 for _, end in cuts):
        raise _unknown(node, "groups or output padding in")
    if any(axis.stride > 1 for axis in node.axes) and any(axis.dilation > 1 for axis in node.axes):
        raise _unknown(node, "stride with dilation in")
    made = (
        f"layers.Conv{len(node.axes)}DTranspose({node.output.depth}, {_each(node, lambda a: a.k)}, "
        f"{_steps(node)}, use_bias={op['bias']})({x})"
    )
    return _ends(node, "Cropping", cuts, made)


def _maxpool(node: Node, op: Op, x: str) -> str:
    if any(axis.dilation > 1 for axis in node.axes):
        raise _unknown(node, "dilation in")
    ends = [(axis.lo, axis.hi) for axis in node.axes]
    if any(end for pair in ends for end in pair):
        x = f"keras.ops.pad({x}, {((0, 0), *ends, (0, 0))}, constant_values=float('-inf'))"
    window = f"{_each(node, lambda a: a.k)}, {_each(node, lambda a: a.stride)}"
    return f"layers.MaxPooling{len(node.axes)}D({window})({x})"


def _avgpool(node: Node, op: Op, x: str) -> str:
    """Return an average pooling that counts padding as samples, but not what rounding up adds.

    To leave that out, the mean is divided by the mean of ones.
    """
    window = f"{_each(node, lambda a: a.k)}, {_each(node, lambda a: a.stride)}"
    pool = f"layers.AveragePooling{len(node.axes)}D({window})"
    beyond = ((0, 0), *((0, axis.beyond) for axis in node.axes), (0, 0))
    if not any(axis.beyond for axis in node.axes):
        return f"{pool}({_padded(node, x)})"
    padding = ((0, 0), *((axis.lo, axis.hi - axis.beyond) for axis in node.axes), (0, 0))
    ones = f"keras.ops.pad(keras.ops.ones_like({x}), {padding}, constant_values=1)"
    return f"{pool}({_padded(node, x)}) / {pool}(keras.ops.pad({ones}, {beyond}))"


def _gap(node: Node, op: Op, x: str) -> str:
    return f"layers.GlobalAveragePooling{len(node.x.spatial)}D(keepdims={op['keep']})({x})"


def _norm(layer: str) -> Callable[[Node, Op, str], str]:
    """Return the function for a normalisation.

    Epsilon is 1e-5 as in other frameworks; Keras' default is 1e-3.
    """
    options = "center={affine}, scale={affine}, epsilon=1e-5"
    return lambda node, op, x: (
        f"layers.{layer}Normalization({options.format(affine=op['affine'])})({x})"
    )


def _pad(node: Node, op: Op, x: str) -> str:
    return _padded(node, x)


def _upsample(node: Node, op: Op, x: str) -> str:
    if op["mode"] != "nearest" and len(node.axes) != 2:
        raise _unknown(node, f"{len(node.axes)}-D linear upsampling in")
    factors = _each(node, lambda a: a.stride) if len(node.axes) > 1 else str(node.axes[0].stride)
    mode = ""
    if len(node.axes) == 2:
        interpolation = "nearest" if op["mode"] == "nearest" else "bilinear"
        mode = f", interpolation={interpolation!r}"
    return f"layers.UpSampling{len(node.axes)}D({factors}{mode})({x})"


def _linear(node: Node, op: Op, x: str) -> str:
    flat = f"layers.Flatten()({x})" if node.x.spatial else x
    return f"layers.Dense({node.output.depth}, use_bias={op['bias']})({flat})"


KERAS: dict[str, Callable[[Node, Op, str], str]] = {
    "conv": _conv,
    "depthwise": _conv,
    "deconv": _deconv,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "gap": _gap,
    "batchnorm": _norm("Batch"),
    "layernorm": _norm("Layer"),
    "leakyrelu": lambda node, op, x: f"layers.LeakyReLU(negative_slope=0.01)({x})",
    "pad": _pad,
    "upsample": _upsample,
    "flatten": lambda node, op, x: f"layers.Flatten()({x})",
    "linear": _linear,
    "dropout": lambda node, op, x: f"layers.Dropout({op['rate']})({x})",
}
