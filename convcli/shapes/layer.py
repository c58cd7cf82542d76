"""The cost of a layer: output, weights and multiply-adds, and those of the dense layer.

Standard library only. Conventions: 1 MAC is one multiply-add; a bias counts on request, and in the
parameters only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convcli.shapes.axis import Axis
from convcli.shapes.layout import ConvLayout
from convcli.shapes.spec import ConvSpec


@dataclass(frozen=True)
class Layer:
    """One convolution, or its transpose, described by numbers alone.

    >>> from convcli.shapes.layout import infer_layout
    >>> layer = Layer.of(infer_layout((28, 28), (3, 3)), ConvSpec.of(2))
    >>> layer.output, layer.parameters, layer.macs, layer.dense_parameters
    ((26, 26), 9, 6084, 529984)
    """

    conv_layout: ConvLayout
    axes: tuple[Axis, ...]
    output: tuple[int, ...]
    bias: bool

    @classmethod
    def of(
        cls,
        conv_layout: ConvLayout,
        spec: ConvSpec,
        *,
        transposed: bool = False,
        bias: bool = False,
    ) -> Layer:
        """Compute the sizes. Raises ShapeError if the kernel does not fit."""
        make_axes = spec.transposed_axes if transposed else spec.axes
        axes = make_axes(conv_layout.spatial, conv_layout.window)
        return cls(
            conv_layout, axes, conv_layout.with_spatial(tuple(axis.out for axis in axes)), bias
        )

    @property
    def biases(self) -> int:
        """One per output channel; a single one if every channel is filtered independently."""
        if not self.bias:
            return 0
        return 1 if self.conv_layout.channel_mode == "each" else self.conv_layout.filters

    @property
    def parameters(self) -> int:
        return math.prod(self.conv_layout.kernel) + self.biases

    @property
    def macs(self) -> int:
        """Multiply-adds: one per weight and output; transposed, one per weight and input."""
        a = self.conv_layout
        items = math.prod(a.shape[: a.batch_axes])
        if a.channel_mode == "each":
            positions = a.channels * math.prod(a.window)
        elif a.channel_mode == "sum" and len(a.kernel) == a.dims:
            positions = a.channels * math.prod(a.kernel)
        else:
            positions = math.prod(a.kernel)
        moved = (axis.n if axis.transposed else axis.out for axis in self.axes)
        return items * math.prod(moved) * positions

    @property
    def dense_parameters(self) -> int:
        """Parameters of a fully connected layer between the same shapes."""
        items = math.prod(self.conv_layout.shape[: self.conv_layout.batch_axes])
        inputs = math.prod(self.conv_layout.shape) // items
        outputs = math.prod(self.output) // items
        return inputs * outputs + (outputs if self.bias else 0)
