"""Several frames as one array: those of an animation, composited, or the pages of a TIFF."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.errors import InputError, ShapeError
from convcli.limits import Limits
from convcli.options import Frames

DEPTH = "its pages are slices, which --dims 3 reads as a volume"
_OPAQUE = 255


def chosen(frames: Frames, count: int, name: str) -> int:
    """The number of the one frame that is wanted. Raises InputError where there is none such."""
    wanted = frames if isinstance(frames, int) else 0
    if wanted >= count:
        if count == 1:
            raise InputError(f"frame {wanted} of {name}", "it has one alone", "leave --frames out")
        raise InputError(
            f"frame {wanted} of {name}", f"it has {count}, counted from 0", f"use 0 to {count - 1}, or all"
        )
    return wanted


def which_frame(at: int, count: int) -> str:
    """Which of several was taken, in words.

    >>> which_frame(0, 4), which_frame(2, 4), which_frame(0, 1)
    ('first of 4 frames', 'frame 2 of 4, counted from 0', '')
    """
    if at:
        return f"frame {at} of {count}, counted from 0"
    return f"first of {count} frames" if count > 1 else ""


def is_deep(description: str) -> bool:
    r"""Whether a TIFF's description, ImageJ's or OME's, says that its pages are slices of a volume.

    >>> is_deep("ImageJ=1.54f\nimages=5\nslices=5"), is_deep("ImageJ=1.54f\nimages=5\nframes=5")
    (True, False)
    """
    return re.search(r"^ImageJ=[\s\S]*^slices=(?!1\b)\d|<OME[\s\S]*SizeZ=\"(?!1\")\d", description, re.M) is not None


@dataclass
class Stack:
    """Frames, uint8 or any one type, that are added one by one to an array (F, H, W, C) of the channels they need.

    narrow: take the alpha of a frame for none where all of it is opaque, and its colours for gray where all of them
    are; that is how frames are meant whose format has alpha for what does not change, or no gray.
    """

    name: str
    count: int
    limits: Limits
    narrow: bool = False
    array: NDArray[Any] = field(default_factory=lambda: np.empty((0, 0, 0, 0)))
    peak: int = 0
    """Bytes of the array at most, and of the narrower one that it was made from."""

    def add(self, at: int, frame: NDArray[Any], decoding: int) -> None:
        """Put frame (H, W) or (H, W, C) in its place; `decoding`: the bytes that it took.

        Raises ShapeError where it is not as large as the others or of another type, LimitError where all frames
        together would take too much, before they do.
        """
        frame = frame if frame.ndim == 3 else frame[..., None]
        frame = _narrowed(frame) if self.narrow else frame
        if at == 0:
            self._allocate(frame.shape[:2], frame.shape[2], frame.dtype, decoding)
        self._check(frame, at)
        channels = _joined(self.array.shape[3], frame.shape[2])
        if channels != self.array.shape[3]:
            narrow = self.array
            self._allocate(narrow.shape[1:3], channels, narrow.dtype, decoding + narrow.nbytes)
            for place in range(at):
                self.array[place] = _widened(narrow[place], channels)
        self.array[at] = _widened(frame, channels)

    def _allocate(self, size: tuple[int, ...], channels: int, dtype: np.dtype[Any], besides: int) -> None:
        shape = (self.count, *size, channels)
        needed = besides + math.prod(shape) * dtype.itemsize
        self.limits.check_memory(f"{self.name}, {self.count:,} frames,", needed, _FEWER)
        self.peak = max(self.peak, needed)
        self.array = np.empty(shape, dtype)

    def _check(self, frame: NDArray[Any], at: int) -> None:
        first, other = ((*array.shape[-3:-1], array.dtype) for array in (self.array, frame))
        if first != other:
            told = " and ".join(f"{height}x{width} {dtype}" for height, width, dtype in (first, other))
            raise ShapeError(
                f"{self.name} has frames of {told} (frame {at})",
                "expected one size and type to filter all",
                "choose one with --frames N",
            )


_FEWER = "choose one with --frames N, or raise --max-memory"


def _joined(one: int, other: int) -> int:
    """The channels that hold both counts: 1 gray, 2 gray and alpha, 3 colours, 4 colours and alpha.

    >>> _joined(2, 3), _joined(1, 2), _joined(3, 3)
    (4, 2, 3)
    """
    coloured, alpha = one > 2 or other > 2, one % 2 == 0 or other % 2 == 0
    return (3 if coloured else 1) + alpha


def _widened(frame: NDArray[Any], channels: int) -> NDArray[Any]:
    """A frame (H, W, C) with so many channels: gray as colours, opaque where it had no alpha."""
    given = frame.shape[2]
    if given == channels:
        return frame
    colours = frame[..., : given - (given % 2 == 0)]
    wide = np.full((*frame.shape[:2], channels), _OPAQUE, frame.dtype)
    wide[..., : channels - (channels % 2 == 0)] = colours
    if given % 2 == 0:
        wide[..., -1] = frame[..., -1]
    return wide


def _narrowed(frame: NDArray[Any]) -> NDArray[Any]:
    """A frame without an alpha that is opaque throughout, and as gray where its colours are."""
    if frame.shape[2] % 2 == 0 and (frame[..., -1] == _OPAQUE).all():
        frame = frame[..., :-1]
    if frame.shape[2] > 2 and (frame[..., :1] == frame[..., 1:3]).all():
        return np.concatenate([frame[..., :1], frame[..., 3:]], axis=2)
    return frame
