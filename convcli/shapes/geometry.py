"""The geometry of a run: the options that say how a kernel meets an input and slides over it.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convcli.options import Channels, Layout, Op
from convcli.shapes.layout import ConvLayout, infer_layout
from convcli.shapes.parse import Padding, PerAxis
from convcli.shapes.spec import ConvSpec


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The options of how a kernel slides over an input, before the shapes of either are known.

    Values are checked when `conv_layout` and `conv_spec` apply them to shapes.

    >>> geometry = Geometry(stride=2, padding="same")
    >>> conv_layout = geometry.conv_layout((224, 224, 3), (64, 7, 7, 3))
    >>> geometry.conv_spec(conv_layout.dims).sizes(conv_layout.spatial, conv_layout.window)
    (112, 112)
    """

    op: Op = "correlate"
    stride: PerAxis = 1
    dilation: PerAxis = 1
    padding: Padding = "valid"
    boundary: str = "constant"
    cval: float = 0.0
    dims: int | None = None
    channels: Channels | None = None
    groups: int = 1
    layout: Layout = "channels_last"

    def conv_layout(
        self,
        shape: Sequence[int],
        kernel: Sequence[int],
        *,
        dims: int | None = None,
        transposed: bool = False,
    ) -> ConvLayout:
        """Match the axes of a kernel's shape to those of an input's.

        dims: the number of spatial axes if `self.dims` does not give it; if neither does, the
        shapes decide.
        Raises ChannelError and ShapeError if they do not fit, as `infer_layout` does.
        """
        return infer_layout(
            shape,
            kernel,
            dims=dims if self.dims is None else self.dims,
            channels=self.channels,
            groups=self.groups,
            layout=self.layout,
            transposed=transposed,
        )

    def conv_spec(self, dims: int, *, output_padding: PerAxis = 0) -> ConvSpec:
        """Check the options and give each one entry per spatial axis.

        Raises InputError, naming the option.
        """
        return ConvSpec.of(
            dims,
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            output_padding=output_padding,
            boundary=self.boundary,
            cval=self.cval,
            groups=self.groups,
        )
