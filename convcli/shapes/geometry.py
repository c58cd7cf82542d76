"""The geometry of a run: the options that define how a kernel slides over an input.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from convcli.errors import InputError
from convcli.options import Channels, Layout, Op
from convcli.shapes.layout import ConvLayout, infer_layout
from convcli.shapes.parse import Padding, PerAxis
from convcli.shapes.spec import ConvSpec
from convcli.shapes.units import Measure


class Border(NamedTuple):
    """The amount of padding, and how it is filled."""

    padding: Padding
    boundary: str
    cval: float


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The options of how a kernel slides over an input, before the shapes of either are known.

    Values are checked when `conv_layout` and `conv_spec` apply them to shapes.
    padding, boundary, cval: None for the default, which `border` returns. spacing: the distance of
    the input's samples along its spatial axes, or one for all; None for that in the input's file.

    >>> geometry = Geometry(stride=2, padding="same")
    >>> conv_layout = geometry.conv_layout((224, 224, 3), (64, 7, 7, 3))
    >>> geometry.conv_spec(conv_layout.dims).sizes(conv_layout.spatial, conv_layout.window)
    (112, 112)
    """

    op: Op = "correlate"
    stride: PerAxis = 1
    dilation: PerAxis = 1
    padding: Padding | None = None
    boundary: str | None = None
    cval: float | None = None
    dims: int | None = None
    channels: Channels | None = None
    groups: int = 1
    layout: Layout = "channels_last"
    spacing: tuple[Measure, ...] | None = None

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

    def border(self, *, picture: bool) -> Border:
        """Return the padding, boundary and cval that are used.

        A cval implies the boundary `constant`, and a boundary implies the padding `same`. By
        default there is no padding; if there is, the boundary is `reflect` for a picture, and
        `constant` with zeros for other input. Raises InputError for a cval with another boundary.

        >>> Geometry(boundary="wrap").border(picture=True)
        Border(padding='same', boundary='wrap', cval=0.0)
        >>> Geometry(padding=2).border(picture=True)
        Border(padding=2, boundary='reflect', cval=0.0)
        """
        boundary = self.boundary
        if self.cval is not None:
            boundary = boundary or "constant"
            if boundary != "constant":
                given = f"cval {self.cval:g} with boundary {boundary}"
                raise InputError(given, "expected boundary constant", "leave one of them out")
        padding = self.padding
        if padding is None:
            padding = "valid" if boundary is None else "same"
        if boundary is None:
            boundary = "reflect" if picture else "constant"
        return Border(padding, boundary, self.cval or 0.0)

    def conv_spec(
        self, dims: int, *, output_padding: PerAxis = 0, picture: bool = False
    ) -> ConvSpec:
        """Check the options and give each one entry per spatial axis.

        picture: whether the input is a picture, whose border is reflected by default.
        Raises InputError, naming the option.
        """
        border = self.border(picture=picture)
        return ConvSpec.of(
            dims,
            stride=self.stride,
            dilation=self.dilation,
            padding=border.padding,
            output_padding=output_padding,
            boundary=border.boundary,
            cval=border.cval,
            groups=self.groups,
        )
