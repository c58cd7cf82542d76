"""Write a network as a PyTorch module that runs, or as a TOML file for `convcli shape`.

Paddings are written as numbers, so that `same` means the same everywhere; padding that PyTorch's
layers do not support (different at the two ends) is a step of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from convcli.errors import InputError
from convcli.network.graph import INPUT, Network, Node
from convcli.network.layers import Op
from convcli.shapes.axis import Axis
from convcli.shapes.parse import show

ACTIVATIONS = {
    "relu": "ReLU()",
    "relu6": "ReLU6()",
    "leakyrelu": "LeakyReLU()",
    "elu": "ELU()",
    "gelu": "GELU()",
    "silu": "SiLU()",
    "hardswish": "Hardswish()",
    "sigmoid": "Sigmoid()",
    "tanh": "Tanh()",
    "softmax": "Softmax(dim=1)",
}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def toml(network: Network, layers: str) -> str:
    r'''Return a chain as the text of a file for `convcli shape`.

    >>> from convcli.network.layers import Tensor
    >>> from convcli.network.parser import parse
    >>> print(toml(Network.of(Tensor((8, 8), 3), parse("relu")), "relu"))
    input = "8x8x3"
    dims = 2
    layout = "channels_last"
    layers = """
    relu
    """
    '''
    lines = (
        f'input = "{network.show(network.x)}"',
        f"dims = {len(network.x.spatial)}",
        f'layout = "{network.layout}"',
        f'layers = """\n{layers}\n"""',
    )
    return "\n".join(lines)


def torch(network: Network) -> str:
    """Return the code of a PyTorch module: channels first, with the sizes in its comments.

    Run as a script, it prints its output shape.
    Raises InputError, naming the layer, if PyTorch has no such layer.
    """
    made: list[str] = []
    steps: list[str] = []
    for number, node in enumerate(network.nodes, 1):
        given = [f"x{source + 1}" for source in node.inputs]
        layer, step = (
            _meeting(node, given) if node.op is None else _torch(node, node.op, number, given[0])
        )
        made += [f"        self.layer{number} = {layer}"] if layer else []
        shape = show(node.output.shape("channels_first"))
        steps.append(f"        x{number} = {step}  # {node.text} -> {shape}")
    dims = ", ".join(map(str, (1, network.x.depth, *network.x.spatial)))
    return "\n".join(
        [
            "import torch",
            "from torch import nn",
            "from torch.nn import functional as F",
            "",
            "",
            "class Network(nn.Module):",
            "    def __init__(self):",
            "        super().__init__()",
            *made,
            "",
            f"    def forward(self, x{INPUT + 1}):",
            *steps,
            f"        return x{len(network.nodes)}",
            "",
            "",
            'if __name__ == "__main__":',
            f"    print(tuple(Network().eval()(torch.zeros({dims})).shape))",
        ]
    )


def _meeting(node: Node, given: Sequence[str]) -> tuple[str, str]:
    if node.text == "residual":
        return "", " + ".join(given)
    return "", f"torch.cat([{', '.join(given)}], dim=1)"


def _torch(node: Node, op: Op, number: int, x: str) -> tuple[str, str]:
    """Return the layer to create, or "", and the expression that applies it."""
    name = op.kind.name
    call = f"self.layer{number}"
    if name in ACTIVATIONS:
        return f"nn.{ACTIVATIONS[name]}", f"{call}({x})"
    if name not in TORCH:
        raise InputError(
            f"layer {number} {node.text!r} has no counterpart in PyTorch", remedy="emit without it"
        )
    return TORCH[name](node, op, call, x)


Emitted = tuple[str, str]
Emit = Callable[[Node, Op, str, str], Emitted]


def _per_axis(node: Node, read: Callable[[Axis], int]) -> str:
    return "(" + "".join(f"{read(axis)}, " for axis in node.axes).rstrip(" ") + ")"


def _nn(node: Node, name: str, *values: Any, **options: Any) -> str:
    arguments = ", ".join(
        [*map(str, values), *(f"{key}={value}" for key, value in options.items())]
    )
    return f"nn.{name}{len(node.x.spatial)}d({arguments})"


def _window(node: Node) -> dict[str, str]:
    return {
        "kernel_size": _per_axis(node, lambda a: a.k),
        "stride": _per_axis(node, lambda a: a.stride),
    }


def _padded(node: Node, x: str, fill: str = "0.0") -> tuple[str, str]:
    """Return the layer's padding and its input, which is padded if the two ends differ."""
    if all(axis.lo == axis.hi for axis in node.axes):
        return _per_axis(node, lambda a: a.lo), x
    ends = [end for axis in reversed(node.axes) for end in (axis.lo, axis.hi)]
    return "0", f"F.pad({x}, {ends}, value={fill})"


def _conv(node: Node, op: Op, call: str, x: str) -> Emitted:
    padding, given = _padded(node, x)
    dilation = _per_axis(node, lambda a: a.dilation)
    filters = node.output.depth
    groups = node.x.depth if op.kind.name == "depthwise" else op["g"]
    options = {"padding": padding, "dilation": dilation, "groups": groups, "bias": op["bias"]}
    return _nn(node, "Conv", node.x.depth, filters, **_window(node), **options), f"{call}({given})"


def _deconv(node: Node, op: Op, call: str, x: str) -> Emitted:
    """Return a deconvolution; PyTorch crops both ends equally, the rest is cut off after it."""
    options = {
        "padding": _per_axis(node, lambda a: min(a.lo, a.hi)),
        "output_padding": _per_axis(node, lambda a: a.output_padding),
        "dilation": _per_axis(node, lambda a: a.dilation),
        "groups": op["g"],
        "bias": op["bias"],
    }
    cuts = [(max(a.lo - a.hi, 0), a.out) for a in node.axes]
    equal = all(a.lo == a.hi for a in node.axes)
    cut = "" if equal else f"[:, :, {', '.join(f'{start}:{start + out}' for start, out in cuts)}]"
    layer = _nn(node, "ConvTranspose", node.x.depth, node.output.depth, **_window(node), **options)
    return layer, f"{call}({x}){cut}"


def _maxpool(node: Node, op: Op, call: str, x: str) -> Emitted:
    window = f"{_per_axis(node, lambda a: a.k)}, {_per_axis(node, lambda a: a.stride)}"
    dilation = _per_axis(node, lambda a: a.dilation)
    padded = _ends(node, x, "-torch.inf")
    return "", f"F.max_pool{len(node.axes)}d({padded}, {window}, dilation={dilation})"


def _avgpool(node: Node, op: Op, call: str, x: str) -> Emitted:
    """Return an average pooling that counts padding as samples, but not what rounding up adds.

    To leave that out, the mean is divided by the mean of ones.
    """
    window = f"{_per_axis(node, lambda a: a.k)}, {_per_axis(node, lambda a: a.stride)}"

    def mean(samples: str) -> str:
        return f"F.avg_pool{len(node.axes)}d({samples}, {window})"

    beyond = [end for axis in reversed(node.axes) for end in (0, axis.beyond)]
    if not any(beyond):
        return "", mean(_ends(node, x, "0.0"))
    padding = [end for axis in reversed(node.axes) for end in (axis.lo, axis.hi - axis.beyond)]
    counted = f"F.pad(F.pad(torch.ones_like({x}), {padding}, value=1.0), {beyond})"
    return "", f"{mean(_ends(node, x, '0.0'))} / {mean(counted)}"


def _ends(node: Node, x: str, fill: str) -> str:
    ends = [end for axis in reversed(node.axes) for end in (axis.lo, axis.hi)]
    return f"F.pad({x}, {ends}, value={fill})" if any(ends) else x


def _gap(node: Node, op: Op, call: str, x: str) -> Emitted:
    return "", f"{x}.mean(dim={tuple(range(2, 2 + len(node.axes)))}, keepdim={op['keep']})"


def _batchnorm(node: Node, op: Op, call: str, x: str) -> Emitted:
    dims = max(len(node.x.spatial), 1)
    return f"nn.BatchNorm{dims}d({node.x.depth}, affine={op['affine']})", f"{call}({x})"


def _layernorm(node: Node, op: Op, call: str, x: str) -> Emitted:
    layer = f"nn.LayerNorm({node.x.depth}, elementwise_affine={op['affine']})"
    return layer, f"{call}({x}.movedim(1, -1)).movedim(-1, 1)"


def _pad(node: Node, op: Op, call: str, x: str) -> Emitted:
    return "", _ends(node, x, "0.0")


def _upsample(node: Node, op: Op, call: str, x: str) -> Emitted:
    mode = "nearest" if op["mode"] == "nearest" else MODES[len(node.axes)]
    factors = _per_axis(node, lambda a: a.stride)
    return "", f"F.interpolate({x}, scale_factor={factors}, mode={mode!r})"


def _unfold(node: Node, op: Op, call: str, x: str) -> Emitted:
    """Return an unfold. Raises InputError unless it is along two axes, as PyTorch requires."""
    if len(node.axes) != 2:
        raise InputError(
            f"{node.text!r} slides along {len(node.axes)} axes", "PyTorch's unfold slides along two"
        )
    options = f"{_per_axis(node, lambda a: a.k)}, {_per_axis(node, lambda a: a.dilation)}, stride="
    unfolded = f"F.unfold({_ends(node, x, '0.0')}, {options}{_per_axis(node, lambda a: a.stride)})"
    return "", f"{unfolded}.unflatten(2, {node.output.spatial})"


def _flatten(node: Node, op: Op, call: str, x: str) -> Emitted:
    return "", f"{x}.flatten(1)"


def _linear(node: Node, op: Op, call: str, x: str) -> Emitted:
    flat = f"{x}.flatten(1)" if node.x.spatial else x
    return f"nn.Linear({node.x.size}, {node.output.depth}, bias={op['bias']})", f"{call}({flat})"


def _dropout(node: Node, op: Op, call: str, x: str) -> Emitted:
    return f"nn.Dropout({op['rate']})", f"{call}({x})"


TORCH: dict[str, Emit] = {
    "conv": _conv,
    "depthwise": _conv,
    "deconv": _deconv,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "gap": _gap,
    "batchnorm": _batchnorm,
    "layernorm": _layernorm,
    "pad": _pad,
    "upsample": _upsample,
    "unfold": _unfold,
    "flatten": _flatten,
    "linear": _linear,
    "dropout": _dropout,
}
