"""The convolution under test in a gradient check, as a function of its input, kernel and bias."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from convcli.engine.layer_form import forward, to_layer
from convcli.engine.planning.facts import tolerance
from convcli.engine.problem import real_array
from convcli.grad.backward import Gradients
from convcli.grad.layouts import layout_gradients
from convcli.grad.records import Floats, over
from convcli.options import Op
from convcli.shapes.axis import Axis
from convcli.shapes.layout import ConvLayout
from convcli.shapes.spec import ConvSpec

FIELDS = {"dx": "x", "dw": "w", "db": "bias"}
"""The tensor of each gradient."""


LARGE = 2.0**16
"""Largest value for a step of 1, which is then far above the value's rounding."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The convolution under test, as a function of x, w and bias; all in float64."""

    x: Floats
    w: Floats
    bias: Floats
    dy: Floats
    conv_layout: ConvLayout
    spec: ConvSpec
    op: Op

    @classmethod
    def of(
        cls,
        x: Floats,
        w: Floats,
        conv_layout: ConvLayout,
        spec: ConvSpec,
        op: Op,
        dy: ArrayLike | None,
        rng: np.random.Generator,
    ) -> Subject:
        shape = conv_layout.with_spatial(spec.sizes(conv_layout.spatial, conv_layout.window))
        upstream = rng.standard_normal(shape) if dy is None else real_array(dy, "upstream gradient")
        bias = np.zeros(1 if conv_layout.channel_mode == "each" else conv_layout.filters)
        return cls(x, w, bias, upstream.astype(np.float64), conv_layout, spec, op)

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.spec.axes(self.conv_layout.spatial, self.conv_layout.window)

    def tensor(self, name: str) -> Floats:
        """Return the tensor of a gradient, such as x for dx."""
        tensor: Floats = getattr(self, FIELDS[name])
        return tensor

    def output(self, other: Mapping[str, Floats] | None = None, *, outside: bool = True) -> Floats:
        """Compute y, with `other` values for some of x, w and bias.

        outside: whether to include the share of the padding constant.
        """
        x, w, bias = ((other or {}).get(name, getattr(self, name)) for name in FIELDS.values())
        spec = self.spec if outside else replace(self.spec, cval=0.0)
        return forward(x, w, self.conv_layout, spec, op=self.op, bias=bias, dtype=np.float64)

    def gradients(self, dy: Floats) -> Gradients:
        return layout_gradients(
            self.x, self.w, dy, self.conv_layout, self.spec, op=self.op, dtype=np.float64
        )

    def ends(self, name: str, index: int, step: float) -> tuple[Floats, Floats]:
        """Return the outputs with one entry of a tensor increased, and decreased, by a step."""
        tensor = self.tensor(name).copy()
        original = tensor.flat[index]
        outputs = []
        for value in (original + step, original - step):
            tensor.flat[index] = value
            outputs.append(self.output({FIELDS[name]: tensor}))
        return outputs[0], outputs[1]

    def step(self, name: str) -> float:
        """Return the step for a tensor: 1, or for large values a power of two near the largest."""
        outside = abs(self.spec.cval) if name == "dx" else 0.0
        values = self.output() if name == "db" else self.tensor(name)
        largest = max(float(np.abs(values).max()), outside)
        if largest <= LARGE or not np.isfinite(largest):
            return 1.0
        return math.ldexp(1, math.frexp(largest)[1] - 1)

    def round_off(self, name: str, step: float) -> float:
        """Return the largest error that rounding can cause in a central difference.

        Each output may differ by the contract's share of sum|w| * max|x| from the exact one.
        """
        kernels = np.abs(to_layer(self.x, self.w, self.conv_layout).w)
        kernels = kernels.reshape(len(kernels), -1)
        moved = {gradient: step * (gradient == name) for gradient in FIELDS}
        gain = float(kernels.sum(axis=1).max()) + moved["dw"]
        samples = max(float(np.abs(self.x).max()), abs(self.spec.cval)) + moved["dx"]
        scale = gain * samples + moved["db"]
        return over(tolerance("float64", kernels.shape[1]) * scale * np.abs(self.dy).sum(), step)

    def slope(self, above: Floats, below: Floats, step: float) -> float:
        """Return the central difference of the loss from the outputs at both ends of a step."""
        return float(np.vdot(above - below, self.dy)) / (2 * step)
