"""Indices of outputs, samples and taps: in the user's arrays, and in the layer of `to_layer`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from convcli.errors import InputError
from convcli.shapes.layout import ConvLayout
from convcli.shapes.parse import show

Index: TypeAlias = tuple[int, ...]
Entry = TypeVar("Entry")

MIDDLE: Literal["middle"] = "middle"
"""As the index of an output, the one in the middle."""


@dataclass(frozen=True)
class OutputIndex:
    """An output's index, split: in the user's arrays, and as (n, o) in the layer's arrays."""

    batch: Index
    spatial: Index
    channel: int
    n: int
    o: int


def chosen_output(at: Index | Literal["middle"], a: ConvLayout, output: tuple[int, ...]) -> Index:
    """Return the index of an output, with its batch and channel, counted from the start.

    Raises InputError for an index outside the output.
    """
    return _complete_index(_middle(a, output) if at == MIDDLE else at, a, output)


def _middle(a: ConvLayout, output: tuple[int, ...]) -> Index:
    channel = None if a.output_channel_axis is None else a.output_channel_axis - a.batch_axes
    return tuple(n // 2 for axis, n in enumerate(output[a.batch_axes :]) if axis != channel)


def _complete_index(at: Index, a: ConvLayout, output: tuple[int, ...]) -> Index:
    """Fill in the batch and channel of an output's index, and count negative entries from the end.

    Raises InputError.
    """
    whole = at
    if len(at) == a.dims and a.output_channel_axis is not None:
        channel = a.output_channel_axis - a.batch_axes
        whole = (*at[:channel], 0, *at[channel:])
    if len(whole) == len(output) - a.batch_axes:
        whole = (*[0] * a.batch_axes, *whole)
    given = f"--at {joined(at)}"
    if len(whole) != len(output):
        raise InputError(
            f"{given} has {_entries(at)}",
            f"the output {show(output)} has {len(output)} axes",
            f"write --at {joined(_middle(a, output))} for the middle; "
            "batch and channel may be left out",
        )
    return counted_from_start(whole, output, f"{given} is outside the output {show(output)}")


def counted_from_start(index: Index, shape: tuple[int, ...], outside: str) -> Index:
    """Return an index with its negative entries counted from the start.

    Raises InputError, with the message `outside`, for an index outside the shape.

    >>> counted_from_start((-1, 2), (4, 5), "it is outside")
    (3, 2)
    """
    if not all(-n <= i < n for i, n in zip(index, shape, strict=True)):
        raise InputError(
            outside,
            f"valid are {','.join(f'0..{n - 1}' for n in shape)}",
            "negative indices count from the end",
        )
    return tuple(i % n for i, n in zip(index, shape, strict=True))


def _entries(index: Index) -> str:
    return "1 entry" if len(index) == 1 else f"{len(index)} entries"


def joined(index: Iterable[int]) -> str:
    return ",".join(map(str, index))


def split_index(at: Index, a: ConvLayout) -> OutputIndex:
    """Split an output's index into its batch, its position and its channel."""
    batch = at[: a.batch_axes]
    rest = at[a.batch_axes :]
    channel = 0
    if a.output_channel_axis is not None:
        axis = a.output_channel_axis - a.batch_axes
        channel = rest[axis]
        rest = (*rest[:axis], *rest[axis + 1 :])
    item = batch[0] if batch else 0
    n, o = (item * a.channels + channel, 0) if a.channel_mode == "each" else (item, channel)
    return OutputIndex(batch, rest, channel, n, o)


def in_input(
    spatial: tuple[Entry, ...], a: ConvLayout, batch: tuple[Entry, ...], channel: Entry
) -> tuple[Entry, ...]:
    """Return a sample's index in the user's input, of numbers or of the letters of a formula."""
    return _in_layout(spatial, a, batch, channel, has_channel=a.channel_axis is not None)


def in_output(
    spatial: tuple[Entry, ...], a: ConvLayout, batch: tuple[Entry, ...], channel: Entry
) -> tuple[Entry, ...]:
    """Return an output's index in the user's output."""
    return _in_layout(spatial, a, batch, channel, has_channel=a.output_channel_axis is not None)


def _in_layout(
    spatial: tuple[Entry, ...],
    a: ConvLayout,
    batch: tuple[Entry, ...],
    channel: Entry,
    *,
    has_channel: bool,
) -> tuple[Entry, ...]:
    if not has_channel:
        return (*batch, *spatial)
    first = a.layout == "channels_first"
    return (*batch, channel, *spatial) if first else (*batch, *spatial, channel)


def in_kernel(
    spatial: tuple[Entry, ...], a: ConvLayout, o: Entry, channel: Entry
) -> tuple[Entry, ...]:
    """Return a tap's index in the user's kernel. o: the kernel's number in a bank."""
    if len(a.kernel) == a.dims:
        return spatial
    own = o if a.channel_mode == "depthwise" else channel
    inner = (own, *spatial) if a.layout == "channels_first" else (*spatial, own)
    return (o, *inner) if a.channel_mode == "bank" else inner
