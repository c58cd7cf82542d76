"""Readers of the nodes of ONNX models that convcli's own layers can represent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from convcli.errors import InputError
from convcli.network.layers import FIELD, KINDS, WORK, Op, Step, Tensor, pool
from convcli.network.onnx_kinds import (
    ELEMENTWISE,
    FAMILIAR,
    RESHAPING,
    WORKLESS,
    Call,
    Shape,
    opaque,
    tensor,
)
from convcli.shapes.axis import Axis

AUTO_PAD = {"SAME_UPPER": "same", "SAME_LOWER": "same-lower", "VALID": "valid"}


def _padding(call: Call, dims: int) -> str | tuple[tuple[int, int], ...]:
    automatic = call.get("auto_pad", "NOTSET")
    if automatic != "NOTSET":
        return AUTO_PAD[automatic]
    pads = call.get("pads", [0] * 2 * dims)
    return tuple(zip(pads[:dims], pads[dims:], strict=True))


def _window(call: Call, kernel: Shape) -> dict[str, Any]:
    dims = len(kernel)
    return {
        "k": kernel,
        "s": tuple(call.get("strides", [1] * dims)),
        "p": _padding(call, dims),
        "d": tuple(call.get("dilations", [1] * dims)),
    }


def _known_layer(kind: str, call: Call, values: dict[str, Any]) -> tuple[Op, Step]:
    op = Op(KINDS[kind], values, call.kind)
    return op, op.apply_to(call.x)


def _conv(call: Call) -> tuple[Op, Step]:
    filters, _, *kernel = call.weights(call.weights_input)
    window = _window(call, tuple(call.get("kernel_shape", kernel)))
    return _known_layer(
        "conv", call, {"filters": filters, "g": call.get("group", 1), "bias": call.biased, **window}
    )


def _deconv(call: Call) -> tuple[Op, Step]:
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


def _deconv_to(call: Call, values: dict[str, Any], wanted: Shape) -> tuple[Op, Step]:
    """Read a deconvolution with a given output shape.

    Extra samples are cut, missing ones are added at the end.
    """
    bare = [
        Axis(n, k, s, d, output_padding=extra, transposed=True)
        for n, k, s, d, extra in zip(
            call.x.spatial,
            values["k"],
            values["s"],
            values["d"],
            values["out_padding"],
            strict=True,
        )
    ]
    axes = []
    for axis, size in zip(bare, wanted, strict=True):
        cut = max(axis.out - size, 0)
        extra = max(size - axis.out, 0)
        lo = cut // 2 if call.get("auto_pad", "NOTSET") == "SAME_UPPER" else cut - cut // 2
        grown = axis.output_padding + extra
        axes.append(replace(axis, lo=lo, hi=cut - lo, output_padding=grown))
    filters = values["filters"]
    weights = call.x.depth * (filters // values["g"]) * math.prod(values["k"])
    biases = filters if values["bias"] else 0
    step = Step(
        Tensor(wanted, filters), tuple(axes), weights, biases, weights * math.prod(call.x.spatial)
    )
    return opaque(call.kind, step), step


def _pool(kind: str) -> Callable[[Call], tuple[Op, Step]]:
    def read(call: Call) -> tuple[Op, Step]:
        window = _window(call, tuple(call.attributes["kernel_shape"]))
        values = {**window, "ceil": bool(call.get("ceil_mode", 0))}
        op = Op(replace(KINDS[kind], apply=pool), values, call.kind)
        return op, op.apply_to(call.x)

    return read


def _global_pool(call: Call) -> tuple[Op, Step]:
    return _known_layer("gap", call, {"keep": True})


def _batchnorm(call: Call) -> tuple[Op, Step]:
    return _known_layer("batchnorm", call, {"affine": True})


def _product(call: Call) -> tuple[Op, Step]:
    """Read a matrix product, in which every output is a sum over the inner axis.

    Either operand may be weights, or neither. In a product of two activations, outputs depend on
    other positions than their own.
    """
    if call.declared is None:
        raise InputError(
            "its output has no declared shape", "expected fixed sizes, but for the batch"
        )
    number = 3 if call.kind == "QLinearMatMul" else 1
    operand = call.weights(number)
    output = tensor(call.declared)
    inner = operand[_inner_axis(call, operand)]
    biases = math.prod(call.shapes[2] or ()) if call.biased else 0
    weights = (
        math.prod(call.weights(call.weights_input))
        if any(call.fixed[at] for at in (0, number))
        else 0
    )
    axes = tuple(Axis(n, n) for n in call.x.spatial) if not output.spatial else ()
    unknown = frozenset([FIELD]) if output.spatial else frozenset()
    return _as_declared(call, Step(output, axes, weights, biases, output.size * inner, unknown))


def _as_declared(call: Call, step: Step) -> tuple[Op, Step]:
    return opaque(call.kind, step), step


def _inner_axis(call: Call, weights: Shape) -> int:
    """Return the axis of the weights that the product sums over."""
    if call.get("transB", 0):
        return -1
    return -2 if len(weights) > 1 else 0


def _einsum(call: Call) -> tuple[Op, Step]:
    """Read a sum of products of two operands, over the axes that the output does not have."""
    if call.declared is None:
        raise InputError(
            "its output has no declared shape", "expected fixed sizes, but for the batch"
        )
    output = tensor(call.declared)
    given, arrow, result = call.get("equation", "").replace(" ", "").partition("->")
    operands = given.split(",")
    sizes: dict[str, int] = {}
    for letters, shape in zip(operands, call.shapes, strict=False):
        sizes.update(zip(letters, shape or (), strict=False))
    complete = (
        arrow
        and "." not in given
        and len(operands) == 2
        and all(sizes.get(each) for each in set(given) - {","})
    )
    if not complete:
        return _as_declared(call, Step(output, unknown=frozenset([FIELD, WORK])))
    summed = math.prod(size for letter, size in sizes.items() if letter not in result)
    return _as_declared(call, Step(output, macs=output.size * summed, unknown=frozenset([FIELD])))


def _pad(call: Call) -> tuple[Op, Step]:
    """Read zero padding; for other padding and for cropping, only the declared shape is used."""
    pads: list[int] | None = call.get("pads", None) or call.value(1)
    rank = len(call.x.spatial) + 2
    if call.get("mode", "constant") != "constant" or pads is None or call.has(3):
        return _by_declaration(call)
    if len(pads) != 2 * rank or min(pads) < 0 or any(pads[at] for at in (0, 1, rank, rank + 1)):
        return _by_declaration(call)
    return _known_layer("pad", call, {"p": tuple(zip(pads[2:rank], pads[rank + 2 :], strict=True))})


def _resize(call: Call) -> tuple[Op, Step]:
    """Read an enlargement by whole factors, nearest or linear.

    For any other, only the declared shape is used.
    """
    if call.declared is None:
        return _by_declaration(call)
    output = tensor(call.declared)
    sizes = (call.x.spatial, output.spatial)
    whole = len(sizes[0]) == len(sizes[1]) and output.depth == call.x.depth
    if not whole or any(large % small for small, large in zip(*sizes, strict=True)):
        return _by_declaration(call)
    mode = _resize_mode(call)
    if mode is None:
        return _by_declaration(call)
    factors = tuple(large // small for small, large in zip(*sizes, strict=True))
    return _known_layer("upsample", call, {"by": factors, "mode": mode})


def _resize_mode(call: Call) -> str | None:
    """Return the mode of convcli's upsample layer with the same result, or None."""
    mode = call.get("mode", "nearest")
    if call.kind == "Upsample" or call.opset < 11:
        return "nearest" if mode == "nearest" else None
    place = call.get("coordinate_transformation_mode", "half_pixel")
    halves = place in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
    if mode == "linear":
        return "linear" if halves and not call.get("antialias", 0) else None
    rounding = call.get("nearest_mode", "round_prefer_floor")
    nearest = (halves and rounding.startswith("round")) or (
        place == "asymmetric" and rounding == "floor"
    )
    return "nearest" if mode == "nearest" and nearest else None


def _reduce(call: Call) -> tuple[Op, Step]:
    """Read a reduction; if it is over all positions, its outputs depend on all of the input."""
    if call.declared is None:
        return _by_declaration(call)
    rank = len(call.x.spatial) + 2
    given = call.get("axes", None) or call.value(1)
    if given is None and not call.has(1) and not call.get("noop_with_empty_axes", 0):
        given = list(range(rank))
    everywhere = given is not None and set(range(2, rank)) <= {axis % rank for axis in given}
    if not everywhere or 0 in {axis % rank for axis in given or ()}:
        return _by_declaration(call)
    return _as_declared(
        call, Step(tensor(call.declared), tuple(Axis(n, n) for n in call.x.spatial))
    )


def _by_declaration(call: Call) -> tuple[Op, Step]:
    """Return a step with the declared output and an unknown field."""
    if call.declared is None:
        raise InputError(
            "its output has no declared shape", "expected fixed sizes, but for the batch"
        )
    return _as_declared(call, Step(tensor(call.declared), unknown=frozenset([FIELD])))


READERS: dict[str, Callable[[Call], tuple[Op, Step]]] = {
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
    "ConvInteger": _conv,
    "QLinearConv": _conv,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "Einsum": _einsum,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
    **{kind: _reduce for kind in WORKLESS if kind.startswith("Reduce")},
}
_WEIGHTED = """
BatchNormalization Conv ConvInteger ConvTranspose Gemm MatMul MatMulInteger QLinearConv
QLinearMatMul
"""
WEIGHTED = frozenset(_WEIGHTED.split())
"""Kinds that have weights in one input, and perhaps biases in another, which READERS count."""


def is_known(kind: str) -> bool:
    """Return whether a kind is not reported as unknown."""
    return kind in READERS or kind in ELEMENTWISE or kind in RESHAPING or kind in FAMILIAR
