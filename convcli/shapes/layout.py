"""Match a kernel's axes to an input's: which are spatial, which are channels.

Standard library only: the shape calculator, the plan and the computation share it.

For an input with `dims` spatial axes, and channels last:

================  ===========  ====================================  ===========
kernel            input        channel_mode                          output
================  ===========  ====================================  ===========
``(*K)``          ``(*S)``     plain                                 ``(*P)``
``(*K)``          ``(*S, C)``  ``each``: each channel independently  ``(*P, C)``
``(*K, C)``       ``(*S, C)``  ``sum``: over the channels, into one  ``(*P, 1)``
``(O, *K, C/g)``  ``(*S, C)``  ``bank`` of O kernels, in g groups    ``(*P, O)``
================  ===========  ====================================  ===========

One more axis in front of the input is a batch. `channels="sum"` applies a `(*K)` kernel to all
channels; `channels="each"` reads `(*K, C)` as one kernel for each channel (`depthwise`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from convcli.errors import ChannelError, InputError, ShapeError, did_you_mean
from convcli.options import LAYOUTS, Channels, Layout
from convcli.shapes.parse import counted, show

ChannelMode = Literal["each", "depthwise", "sum", "bank"]


PICTURE_CHANNELS = 4
"""A last axis of at most this size is read as a picture's channels (RGBA) if it is ambiguous."""


@dataclass(frozen=True)
class ConvLayout:
    """The match of a kernel's axes with an input's; build it with `infer_layout`.

    >>> a = infer_layout((224, 224, 3), (64, 7, 7, 3))
    >>> a.channel_mode, a.spatial, a.window, a.channels, a.filters
    ('bank', (224, 224), (7, 7), 3, 64)
    >>> a.with_spatial((112, 112))
    (112, 112, 64)
    """

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    dims: int
    channel_mode: ChannelMode
    channel_axis: int | None  # of the input; None if it has no channels
    batch_axes: int
    layout: Layout
    groups: int
    channels: int
    filters: int  # channels of the output

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        start = self.batch_axes + (
            self.channel_axis == self.batch_axes and self.layout == "channels_first"
        )
        return tuple(range(start, start + self.dims))

    @property
    def spatial(self) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in self.spatial_axes)

    @property
    def window_axes(self) -> tuple[int, ...]:
        """The kernel's spatial axes."""
        extra = len(self.kernel) - self.dims
        start = extra
        if self.layout == "channels_last":
            start = 1 if self.channel_mode == "bank" else 0
        return tuple(range(start, start + self.dims))

    @property
    def window(self) -> tuple[int, ...]:
        """The kernel's spatial shape."""
        return tuple(self.kernel[axis] for axis in self.window_axes)

    @property
    def kernel_axes(self) -> tuple[int, ...]:
        """The axes of one kernel of a bank, or of one channel's kernel."""
        if self.channel_mode == "depthwise":
            return self.window_axes
        return tuple(range(1 if self.channel_mode == "bank" else 0, len(self.kernel)))

    @property
    def output_channel_axis(self) -> int | None:
        """The axis of the output's channels; None if it has none."""
        if self.channel_mode == "each":
            return self.channel_axis
        return self.batch_axes if self.layout == "channels_first" else self.batch_axes + self.dims

    def with_spatial(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Return the output shape with these spatial sizes."""
        batch = self.shape[: self.batch_axes]
        if self.channel_axis is None and self.channel_mode == "each":
            return (*batch, *sizes)
        if self.layout == "channels_first":
            return (*batch, self.filters, *sizes)
        return (*batch, *sizes, self.filters)


def infer_layout(
    shape: Sequence[int],
    kernel: Sequence[int],
    *,
    dims: int | None = None,
    channels: Channels | None = None,
    groups: int = 1,
    layout: Layout = "channels_last",
    transposed: bool = False,
) -> ConvLayout:
    """Match the axes of a kernel's shape to those of an input's.

    dims: the number of spatial axes of the input; by default `infer_spatial_dims` finds it.
    transposed: a bank of O filters maps O input channels to C output channels.
    Raises ChannelError if the channel counts differ (naming both), ShapeError if the axes do not
    fit.
    """
    shape = tuple(shape)
    kernel = tuple(kernel)
    if groups < 1:
        raise InputError(f"groups {groups}", "expected 1 or more", "leave groups out for one")
    count = infer_spatial_dims(shape, kernel, channels, groups, layout) if dims is None else dims
    if not 1 <= count <= len(shape):
        raise InputError(
            f"dims {count}",
            f"the input {show(shape)} has {len(shape)} axes",
            f"use 1 to {len(shape)}",
        )
    # Axes of the input and of the kernel that are not spatial.
    outer = len(shape) - count
    extra = len(kernel) - count
    if outer > 2:
        raise ShapeError(
            f"the input {show(shape)} has {outer} axes besides its {count} spatial ones",
            "expected at most a batch and a channel axis",
            f"use --dims {len(shape) - 2} to {len(shape)}",
        )
    if not 0 <= extra <= 2:
        axes = "axis" if count == 1 else "axes"
        raise ShapeError(
            f"the kernel {show(kernel)} does not fit {count} spatial {axes}",
            f"expected {count} to {count + 2} axes: a window, with its channels, or a bank of them",
            "write a row as '1,2,1;' or a column as '1;2;1', 1x3 or 3x1"
            if (count, len(kernel)) == (2, 1)
            else "use --dims to say how many axes of the input are spatial",
        )
    # Which of those is the batch, and which the channels.
    batch_axes = 1 if outer == 2 else 0
    channel_axis = None
    if outer > 0:
        channel_axis = batch_axes if layout == "channels_first" else len(shape) - 1
    depth = 1 if channel_axis is None else shape[channel_axis]
    channel_mode = _channel_mode(extra, channels)
    if channel_mode in ("each", "depthwise", "sum") and groups != 1:
        raise InputError(
            f"groups {groups} with the kernel {show(kernel)}",
            "groups divide the channels of a bank (O, *K, C/groups), "
            "or (O, C/groups, *K) with channels first",
            "give such a kernel, or leave groups out",
        )
    try:
        filters = _check_channels(kernel, extra, channel_mode, depth, groups, layout, transposed)
    except ChannelError as error:
        remedy = _layout_remedy(shape[batch_axes:], kernel, count, layout, groups)
        raise ChannelError(error.given, error.expected, remedy or error.remedy) from None
    return ConvLayout(
        shape,
        kernel,
        count,
        channel_mode,
        channel_axis,
        batch_axes,
        layout,
        groups,
        channels=depth,
        filters=filters,
    )


def check_layout(layout: str) -> Layout:
    """Return a valid layout's name. Raises InputError for any other text."""
    if layout not in LAYOUTS:
        raise InputError(
            f"layout {layout!r}",
            f"expected {' or '.join(LAYOUTS)}",
            did_you_mean(str(layout), LAYOUTS),
        )
    return cast("Layout", layout)


def infer_spatial_dims(
    shape: Sequence[int],
    kernel: Sequence[int],
    channels: Channels | None = None,
    groups: int = 1,
    layout: Layout = "channels_last",
) -> int:
    """Return the number of spatial axes of the input that the two shapes imply.

    A kernel with one axis less than the input filters each channel; one with an axis more is a
    bank. With equal numbers of axes, all are spatial, with two exceptions, which are meant more
    often: if both have three axes, the last is channels if the kernel spans all of it, or if it has
    at most 4 entries (a picture); if both have four, a bank filters a batch.

    >>> infer_spatial_dims((28, 28), (3, 3))
    2
    >>> infer_spatial_dims((28, 28, 3), (3, 3)), infer_spatial_dims((28, 28, 3), (3, 3, 3))
    (2, 2)
    >>> infer_spatial_dims((28, 28, 28), (3, 3, 3))
    3
    """
    axes = len(shape)
    extra = len(kernel) - len(shape)
    first = layout == "channels_first"
    depth = shape[0 if first else -1]
    if extra == 0 and axes == 4:
        return 2
    if extra == 0:
        spans = axes == 3 and (kernel[0 if first else -1] == depth or depth <= PICTURE_CHANNELS)
        return axes - 1 if spans or (axes > 1 and channels is not None) else axes
    if extra == 1:
        one_channel = (
            groups == 1 == kernel[0 if first else -1] and kernel[1 if first else -1] != depth
        )
        return axes if one_channel or axes == 1 else axes - 1
    if extra == 2:
        return axes
    if extra == -1 or (extra == -2 and axes == 4):
        return len(kernel)
    raise ShapeError(
        f"the kernel {show(kernel)} does not imply how the input {show(shape)} is read",
        remedy=f"give a kernel with an entry for each axis, such as {kernel[0]}x{kernel[0]}"
        if len(kernel) == 1
        else "use --dims to say how many of its axes are spatial",
    )


def _channel_mode(extra: int, channels: Channels | None) -> ChannelMode:
    if extra == 2:
        if channels == "each":
            raise InputError(
                "channels each with a bank of kernels",
                "a bank sums over channels",
                "leave --channels out",
            )
        return "bank"
    if extra == 1:
        return "depthwise" if channels == "each" else "sum"
    return "sum" if channels == "sum" else "each"


def _check_channels(
    kernel: tuple[int, ...],
    extra: int,
    channel_mode: ChannelMode,
    depth: int,
    groups: int,
    layout: Layout,
    transposed: bool,
) -> int:
    """Return the number of output channels. Raises ChannelError if the counts differ."""
    if extra == 0:
        return 1 if channel_mode == "sum" else depth
    own = kernel[extra - 1 if layout == "channels_first" else -1]
    if transposed:
        return _check_transposed(kernel, channel_mode, depth, groups, own)
    if depth % groups:
        raise ChannelError(
            f"{counted(depth, 'channel')} in {counted(groups, 'group')}",
            "expected a count that the groups divide",
            "change --groups",
        )
    if own * groups != depth:
        in_groups = f" in {groups} groups" if groups > 1 else ""
        raise ChannelError(
            f"kernel {show(kernel)} has {counted(own, 'channel')}{in_groups}, "
            f"the input has {depth}",
            f"expected {depth // groups}",
            "give a kernel with as many channels as the input, "
            "or a spatial kernel to filter each channel independently",
        )
    if channel_mode == "bank" and kernel[0] % groups:
        raise ChannelError(
            f"{counted(kernel[0], 'kernel')} in {counted(groups, 'group')}",
            "expected a count that the groups divide",
            "change --groups",
        )
    if channel_mode == "bank":
        return kernel[0]
    return depth if channel_mode == "depthwise" else 1


def _layout_remedy(
    item: Sequence[int], kernel: Sequence[int], dims: int, layout: Layout, groups: int
) -> str:
    """Return a remedy if the channels fit with the axes in the other order, else "".

    item: the shape of the input without its batch axis.

    >>> _layout_remedy((3, 224, 224), (64, 3, 7, 7), 2, "channels_last", 1)
    'add --layout channels_first if both have their channels first'
    """
    if layout == "channels_first" or len(kernel) <= dims:
        return ""
    bank = len(kernel) - dims - 1
    window = kernel[bank + 1 :]
    first_fits = len(set(window)) == 1  # the order of a window that is not square is probably right
    if len(item) == dims and first_fits and kernel[bank] == 1:
        return "add --layout channels_first if the kernel has its channels first"
    if len(item) == dims:
        return ""
    if first_fits and kernel[bank] * groups == item[0]:
        return "add --layout channels_first if both have their channels first"
    if kernel[-1] * groups == item[0]:
        return f"write the input with its channels last, {show((*item[1:], item[0]))}"
    if first_fits and kernel[bank] * groups == item[-1]:
        kernel_last = show((*kernel[:bank], *window, kernel[bank]))
        input_first = show((item[-1], *item[:-1]))
        return (
            f"write the kernel as {kernel_last}, "
            f"or the input as {input_first} with --layout channels_first"
        )
    return ""


def _check_transposed(
    kernel: tuple[int, ...], channel_mode: ChannelMode, depth: int, groups: int, own: int
) -> int:
    outputs = kernel[0] if channel_mode == "bank" else 1
    if outputs != depth:
        raise ChannelError(
            f"the transposed kernel {show(kernel)} takes {counted(outputs, 'channel')}, "
            f"the input has {depth}",
            f"expected a first axis of {depth}",
            "give a kernel (O, *K, C/groups) whose O is the input's channel count",
        )
    if outputs % groups:
        raise ChannelError(
            f"{counted(outputs, 'kernel')} in {counted(groups, 'group')}",
            "expected a count that the groups divide",
            "change --groups",
        )
    return own * groups
