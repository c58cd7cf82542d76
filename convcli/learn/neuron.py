"""A convolution with its bias and activation, and the backward pass through all three.

    z = conv(x, w) + b      y = f(z)      delta = dy * f'(z)

delta is the gradient of the loss in z. From it follow dw, dx and db, as for a convolution alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from convcli.engine.layer_form import LayerForm, flip_for, to_layer
from convcli.engine.operations import conv_layer
from convcli.errors import InputError
from convcli.grad.backward import Gradients, gradients
from convcli.grad.layouts import from_layer_gradients, to_layer_upstream
from convcli.jobs.operands import Operands, load_upstream
from convcli.learn.activations import activate, slope
from convcli.limits import Limits
from convcli.options import Activation, Op
from convcli.shapes.axis import Axis
from convcli.stores import shown

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Backward:
    """The backward pass: dy, z and delta (N, *P, O), and the layer's gradients.

    source: where dy is from, a file or "ones".
    """

    dy: Floats
    z: Floats
    delta: Floats
    sums: Gradients
    source: str


@dataclass(frozen=True, eq=False)
class Neuron:
    """A convolution of the user's arrays, as a layer of `to_layer`, with bias and activation."""

    operands: Operands
    op: Op
    form: LayerForm
    axes: tuple[Axis, ...]
    output: tuple[int, ...]
    bias: float = 0.0
    activation: Activation | None = None
    backward: Backward | None = None

    def activate(self, z: float) -> float:
        return float(activate(np.array(z), self.activation))

    def slope(self, z: float) -> float:
        return float(slope(np.array(z), self.activation))

    def gradients(self) -> Gradients:
        """Return the gradients in the shapes of the user's arrays."""
        assert self.backward is not None
        return from_layer_gradients(self.backward.sums, self.operands.conv_layout, self.op)


def make_neuron(
    operands: Operands, op: Op, *, bias: float = 0.0, activation: Activation | None = None
) -> Neuron:
    """Return the layer of the operands, without a backward pass."""
    a = operands.conv_layout
    axes = operands.spec.axes(a.spatial, a.window)
    form = to_layer(operands.x, flip_for(operands.kernel.taps, a, op), a)
    output = a.with_spatial([axis.out for axis in axes])
    return Neuron(operands, op, form, axes, output, bias, activation)


def with_backward(neuron: Neuron, upstream: str | None, limits: Limits, option: str) -> Neuron:
    """Return a neuron with its backward pass, in float64.

    upstream: a file with dy in the output's shape, or None for ones. option: what asks for it.
    Raises ShapeError for dy of another shape, InputError for a picture with alpha, LimitError for
    operands that are too large.
    """
    operands, form = neuron.operands, neuron.form
    if operands.alpha is not None:
        raise InputError(
            f"{operands.data.name} has alpha, and {option}",
            "expected a picture without: what alpha divides has no gradient here",
            f"leave {option} out, or give the picture without alpha",
        )
    operands.check_memory(limits, copies=6)
    output = neuron.output
    dy = np.ones(output) if upstream is None else load_upstream(upstream, output, limits)
    dy = to_layer_upstream(dy, operands.conv_layout)
    x, options = form.x.astype(np.float64), {**operands.spec.options, "groups": form.groups}
    with np.errstate(invalid="ignore", over="ignore"):
        z = conv_layer(x, form.w, np.full(len(form.w), neuron.bias), dtype=np.float64, **options)
        delta = dy * slope(z, neuron.activation)
        sums = gradients(x, form.w, delta, **options)
    return replace(neuron, backward=Backward(dy, z, delta, sums, shown(upstream or "ones")))
