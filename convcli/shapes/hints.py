"""Warnings about shapes that are probably read in another way than the user meant."""

from __future__ import annotations

from collections.abc import Sequence

from convcli.options import Layout
from convcli.shapes.parse import show

CHANNEL_COUNTS = (1, 3, 4)
"""Channels of gray, RGB and RGBA pictures."""
SMALLEST_SIDE = 8
"""An axis of at least this many samples is probably a side of a picture, not channels."""


def channels_first_warning(shape: Sequence[int], layout: Layout) -> str:
    """Return a warning for a shape like 3x224x224, whose last axis is read as channels, or "".

    >>> channels_first_warning((3, 224, 224), "channels_last")
    '3x224x224 is read as 224 channels, the last axis; \
add --layout channels_first if the first axis is channels'
    >>> channels_first_warning((224, 224, 3), "channels_last")
    ''
    """
    if layout == "channels_first" or len(shape) < 3:
        return ""
    channels, *sides = shape[-3:]
    if channels not in CHANNEL_COUNTS or min(sides) < SMALLEST_SIDE:
        return ""
    axis = "first" if len(shape) == 3 else "third last"
    return (
        f"{show(shape)} is read as {shape[-1]} channels, the last axis; "
        f"add --layout channels_first if the {axis} axis is channels"
    )


def batch_warning(shape: Sequence[int], layout: Layout) -> str:
    """Return a warning for a batch of one picture, such as 1x224x224x3, or "".

    Without --batch, no axis is read as a batch.

    >>> batch_warning((1, 224, 224, 3), "channels_last")
    '1x224x224x3 is read as a volume 1x224x224; \
give one picture as 224x224x3, and several with --batch'
    """
    if len(shape) != 4 or shape[0] != 1:
        return ""
    volume = shape[1:] if layout == "channels_first" else shape[:-1]
    remedy = f"give one picture as {show(shape[1:])}, and several with --batch"
    return f"{show(shape)} is read as a volume {show(volume)}; {remedy}"


def signal_warning(shape: Sequence[int], kernel: Sequence[int]) -> str:
    """Return a warning for a 1-D kernel on a 2-D input, whose last axis is read as channels, or "".

    >>> signal_warning((28, 28), (3,))
    '28x28 is read as 28 samples with 28 channels: the kernel 3 has one axis; \
give -k 3x3 for a picture, or --dims 1 for a signal'
    """
    if len(shape) != 2 or len(kernel) != 1 or shape[1] < SMALLEST_SIDE:
        return ""
    (k,) = kernel
    return (
        f"{show(shape)} is read as {shape[0]} samples with {shape[1]} channels: "
        f"the kernel {k} has one axis; give -k {k}x{k} for a picture, or --dims 1 for a signal"
    )
