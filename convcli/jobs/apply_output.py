"""What the output of `apply` will be: its header, dtype, shape, metadata and encoding.

Each function decides one of these from the request, the input and the planned kernels, and
touches no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convcli import io
from convcli.io import NO_METADATA, Data, Header, Metadata, OutputTarget
from convcli.jobs.apply_plan import ApplyRequest, KernelPass
from convcli.jobs.postprocess import combined_shape


def output_header(
    request: ApplyRequest, data: Data, lead: KernelPass, target: OutputTarget | None
) -> Header | None:
    """Return the output's header: the input's, adjusted to the new positions of the samples."""
    if target is None:
        return None
    if target.form.headerless:
        return request.reading.raw
    if data.header is None or target.form.name not in data.header.formats:
        return None
    axes = lead.plan.axes
    starts, strides = [axis.start for axis in axes], [axis.stride for axis in axes]
    return data.header.moved(starts, strides, lead.conv_layout.spatial_axes)


def output_dtype(
    data: Data, target: OutputTarget | None, header: Header | None
) -> np.dtype[Any] | None:
    """Return the dtype to write if none was requested; None for that of the computed values."""
    if target is not None:
        return target.codec.output_dtype(data.array.dtype, data.kind, header)
    if data.kind == "image" and data.array.dtype.kind in "iu":
        return data.array.dtype
    return None


def output_shape(
    request: ApplyRequest, data: Data, passes: Sequence[KernelPass]
) -> tuple[int, ...]:
    """Return the shape of the combined results, with an alpha channel if the input has one."""
    shapes = [each.output_shape for each in passes]
    shape = combined_shape(shapes, request.postprocess.combine, passes[0].channel_axis)
    return (*shape[:-1], shape[-1] + 1) if data.alpha else shape


def are_maps(request: ApplyRequest, passes: Sequence[KernelPass]) -> bool:
    """Return whether the output's channels are feature maps, not the input's channels."""
    stacked = len(passes) > 1 and request.postprocess.combine == "stack"
    layouts = [each.conv_layout for each in passes]
    return stacked or any(
        layout.channel_mode == "bank" or layout.filters > layout.channels for layout in layouts
    )


def output_metadata(
    request: ApplyRequest,
    data: Data,
    lead: KernelPass,
    target: OutputTarget | None,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
) -> tuple[Metadata, tuple[str, ...]]:
    """Return the metadata that the output's format can hold, and a description of the rest."""
    if target is None:
        return NO_METADATA, ()
    given = data.metadata
    if request.writing.strip:
        given = Metadata(timing=given.timing)
    paged = data.frames > 1 or lead.volume
    places = _places(lead, paged=paged)
    given, lost = io.move_metadata(given, places)
    channels, before = (_channel_count(each, paged=paged) for each in (shape, data.array.shape))
    carried, dropped = io.carry_over(
        given,
        target.form,
        channels,
        frames=shape[0] if data.frames > 1 else 1,
        same_type=dtype == data.array.dtype,
        same_colours=(channels < 3) == (before < 3),
        same_size=places.same,
        same_pages=channels == before and (not paged or shape[0] == data.array.shape[0]),
    )
    return carried, (*lost, *dropped)


def unread_frames(
    request: ApplyRequest,
    data: Data,
    lead: KernelPass,
    target: OutputTarget | None,
    dtype: np.dtype[Any],
) -> tuple[str, ...]:
    """Return a warning if only the first of the input's frames is filtered by default.

    There is none for an output that could not hold the others.
    """
    left_out = request.reading.frames == "first" and data.frames == 1 and not lead.volume
    if target is None or not left_out or data.held < 2 or dtype.name not in target.form.frames:
        return ()
    given = f"{data.called} has {data.held:,} frames, of which the first is filtered"
    return (f"{given}; add --frames all for all of them",)


def _places(lead: KernelPass, *, paged: bool) -> io.Places:
    """Return the positions of the output's samples in the input picture, or in its pages."""
    axes = dict(zip(lead.conv_layout.spatial_axes, lead.plan.axes, strict=True))
    picture = range(paged, paged + 2)
    z, y, x = (axes.get(number) for number in (0 if paged else None, *picture))
    places = (
        io.Place(axis.start, axis.stride, axis.n, axis.out) if axis else io.Place()
        for axis in (x, y, z)
    )
    return io.Places(*places)


def _channel_count(shape: tuple[int, ...], *, paged: bool) -> int:
    """Return the number of channels of a picture, or of pages of pictures."""
    return shape[-1] if len(shape) - paged > 2 else 1


def input_encoding(
    request: ApplyRequest, data: Data, target: OutputTarget | None
) -> io.Encoding | None:
    """Return the input's encoding if the output has the same format, and no --quality is given."""
    if target is None or target.form.name != data.format or request.writing.quality is not None:
        return None
    return data.encoding
