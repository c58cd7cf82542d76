"""The convolution under test, as a function of what it is differentiated in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from convcli.engine.operations import real_array
from convcli.grad.backward import Gradients
from convcli.grad.layouts import arranged_gradients, forward
from convcli.grad.records import Floats
from convcli.options import Op
from convcli.shapes.layout import Arrangement
from convcli.shapes.spec import Axis, ConvSpec

FIELDS = {"dx": "x", "dw": "w", "db": "bias"}
"""What each gradient is the gradient in."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The convolution under test, as a function of what it is differentiated in; all float64, in their own shapes."""

    x: Floats
    w: Floats
    bias: Floats
    dy: Floats
    arrangement: Arrangement
    spec: ConvSpec
    op: Op

    @classmethod
    def of(
        cls,
        x: Floats,
        w: Floats,
        arrangement: Arrangement,
        spec: ConvSpec,
        op: Op,
        dy: ArrayLike | None,
        rng: np.random.Generator,
    ) -> Subject:
        shape = arrangement.with_spatial(spec.sizes(arrangement.spatial, arrangement.window))
        upstream = rng.standard_normal(shape) if dy is None else real_array(dy, "upstream gradient")
        bias = np.zeros(1 if arrangement.reading == "each" else arrangement.filters)
        return cls(x, w, bias, upstream.astype(np.float64), arrangement, spec, op)

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.spec.axes(self.arrangement.spatial, self.arrangement.window)

    def tensor(self, name: str) -> Floats:
        """What a gradient is the gradient in: x for dx."""
        tensor: Floats = getattr(self, FIELDS[name])
        return tensor

    def output(self, other: Mapping[str, Floats] | None = None, *, outside: bool = True) -> Floats:
        """y, with `other` values for some of x, w and bias; or without the share of the constant outside."""
        x, w, bias = ((other or {}).get(name, getattr(self, name)) for name in FIELDS.values())
        spec = self.spec if outside else replace(self.spec, cval=0.0)
        return forward(x, w, self.arrangement, spec, op=self.op, bias=bias, dtype=np.float64)

    def gradients(self, dy: Floats) -> Gradients:
        return arranged_gradients(self.x, self.w, dy, self.arrangement, self.spec, op=self.op, dtype=np.float64)

    def ends(self, name: str, at: int, step: float) -> tuple[Floats, Floats]:
        """The outputs with one entry of a tensor a step up, and a step down."""
        tensor = self.tensor(name).copy()
        kept = tensor.flat[at]
        outputs = []
        for value in (kept + step, kept - step):
            tensor.flat[at] = value
            outputs.append(self.output({FIELDS[name]: tensor}))
        return outputs[0], outputs[1]

    def slope(self, above: Floats, below: Floats, step: float) -> float:
        """The loss's central difference between two outputs; they are subtracted first, which rounds least."""
        return float(np.vdot(above - below, self.dy)) / (2 * step)
