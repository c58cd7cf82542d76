"""Choose one frame of an animation, draw its frames on a canvas, or stack all frames or pages."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.errors import InputError, ShapeError
from convcli.limits import Limits
from convcli.options import Frames

VOLUME_NOTE = "its pages are slices, which --dims 3 reads as a volume"
CANVASES = 2
"""Canvases in memory at most: the canvas, and the area that is restored after a frame."""

_VOLUMES = {r"^ImageJ=": r"^slices=(?!1\b)\d", "<OME": r"SizeZ=\"(?!1\")\d"}
"""The start of a program's description, and what follows in those of volumes."""

_BLENDED = 1 << 15  # pixels that are blended at a time


def choose_frame(frames: Frames, count: int, name: str) -> int:
    """Return the number of the requested frame. Raises InputError if there is no such frame."""
    wanted = frames if isinstance(frames, int) else 0
    if wanted >= count:
        if count == 1:
            raise InputError(f"frame {wanted} of {name}", "it has one alone", "leave --frames out")
        raise InputError(
            f"frame {wanted} of {name}",
            f"it has {count}, counted from 0",
            f"use 0 to {count - 1}, or all",
        )
    return wanted


def describe_frame(index: int, count: int) -> str:
    """Describe which frame of several was read.

    >>> describe_frame(0, 4), describe_frame(2, 4), describe_frame(0, 1)
    ('first of 4 frames', 'frame 2 of 4, counted from 0', '')
    """
    if index:
        return f"frame {index} of {count}, counted from 0"
    return f"first of {count} frames" if count > 1 else ""


def is_volume(description: str) -> bool:
    r"""Return whether a TIFF's description (ImageJ or OME) declares its pages slices of a volume.

    >>> is_volume("ImageJ=1.54f\nimages=5\nslices=5"), is_volume("ImageJ=1.54f\nimages=5\nframes=5")
    (True, False)
    """
    return any(
        (start := re.search(program, description, re.M))
        and re.compile(slices, re.M).search(description, start.end())
        for program, slices in _VOLUMES.items()
    )


class Disposal(Enum):
    """What happens to a frame's area after the frame was shown."""

    KEEP = auto()
    CLEAR = auto()
    RESTORE = auto()


class Region(NamedTuple):
    """A frame as stored: a picture file of its own, and how it is drawn on the canvas."""

    picture: bytes
    left: int
    top: int
    width: int
    height: int
    duration: float | None
    """Milliseconds; None if the file does not declare it."""

    blend: bool
    """Whether it is blended over the canvas; else it replaces the pixels there."""

    disposal: Disposal

    def covers(self, width: int, height: int) -> bool:
        """Return whether the frame covers a canvas of that size."""
        return self.left == self.top == 0 and self.width >= width and self.height >= height


class Canvas:
    """The pixels that an animation shows, (H, W, 2) or (H, W, 4), with straight alpha.

    Pixels on which nothing was drawn are transparent. Sources: CompuServe, "Graphics Interchange
    Format, version 89a", 23; W3C, "Portable Network Graphics (PNG) Specification (Third Edition)",
    11.3.6 and 13.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = height, width
        self._pixels: NDArray[Any] | None = None
        self._has_alpha = False
        self._drawn = slice(0), slice(0)
        self._before: NDArray[Any] | None = None

    def draw(self, region: Region, picture: NDArray[Any]) -> NDArray[Any]:
        """Draw a picture (h, w) or (h, w, c) and return the canvas, valid until the next call.

        The result has alpha if the first picture had alpha, or if the canvas is not opaque. The
        part of the picture outside the canvas is cropped.
        """
        picture = picture if picture.ndim == 3 else picture[..., None]
        if self._pixels is None:
            self._has_alpha = picture.shape[2] % 2 == 0
            self._pixels = np.zeros((*self._size, 2 if picture.shape[2] < 3 else 4), picture.dtype)
        if self._before is not None:
            self._pixels[self._drawn] = self._before

        # The first coloured picture makes a gray canvas a coloured one.
        channels = _common_channels(self._pixels.shape[2], picture.shape[2])
        self._pixels = _add_channels(self._pixels, channels)

        # Draw the picture in blocks of rows, and keep what its disposal restores.
        self._drawn = (
            slice(region.top, region.top + region.height),
            slice(region.left, region.left + region.width),
        )
        area = self._pixels[self._drawn]
        self._before = _disposed(area, region.disposal)
        shown = picture[: area.shape[0], : area.shape[1]]
        rows = max(_BLENDED // max(area.shape[1], 1), 1)
        for top in range(0, len(area), rows):
            above = _add_channels(shown[top : top + rows], channels)
            below = area[top : top + rows]
            below[...] = _blend(above, below) if region.blend else above

        # Drop the alpha of an opaque canvas.
        opaque = bool((self._pixels[..., -1] == _opaque(self._pixels.dtype)).all())
        return self._pixels[..., :-1] if opaque and not self._has_alpha else self._pixels


def _disposed(area: NDArray[Any], disposal: Disposal) -> NDArray[Any] | None:
    """Return the pixels that replace an area before the next frame is drawn; None to keep it."""
    if disposal is Disposal.KEEP:
        return None
    return area.copy() if disposal is Disposal.RESTORE else np.zeros_like(area)


def _blend(above: NDArray[Any], below: NDArray[Any]) -> NDArray[Any]:
    """Blend pixels (H, W, C) over others, both with straight alpha.

    Source: W3C, as above, 13.16.

    >>> above = np.uint8([[[9, 0], [9, 255], [100, 51]]])
    >>> _blend(above, np.uint8([[[5, 7], [5, 7], [200, 255]]])).tolist()
    [[[5, 7], [9, 255], [180, 255]]]
    """
    blended = np.where(above[..., -1:] == 0, below, above)
    partial = (above[..., -1] > 0) & (above[..., -1] < _opaque(above.dtype)) & (below[..., -1] > 0)
    if not partial.any():
        return blended
    over = above[partial].astype(np.float64)
    under = below[partial].astype(np.float64)
    weight = over[:, -1:] / _opaque(above.dtype)
    alpha = over[:, -1:] + under[:, -1:] * (1 - weight)
    colours = (over[:, :-1] * over[:, -1:] + under[:, :-1] * under[:, -1:] * (1 - weight)) / alpha
    blended[partial] = np.rint(np.concatenate([colours, alpha], axis=1))
    return blended


def _opaque(dtype: np.dtype[Any]) -> int:
    """Return the alpha of an opaque pixel."""
    return 65535 if dtype == np.uint16 else 255


@dataclass
class Stack:
    """An array (F, H, W, C) of frames of one dtype, added one by one, in as few channels as fit.

    narrow: drop the alpha of frames that are opaque throughout, and the colours of frames that are
    gray throughout. For formats that use alpha for unchanged pixels, or have no gray.
    """

    name: str
    count: int
    limits: Limits
    narrow: bool = False
    array: NDArray[Any] = field(default_factory=lambda: np.empty((0, 0, 0, 0)))
    peak: int = 0
    """Most bytes so far of the array and of the one with fewer channels that it was copied from."""

    def add(self, index: int, frame: NDArray[Any], decoding: int) -> None:
        """Copy a frame (H, W) or (H, W, C) into the array.

        decoding: the bytes that decoding it took. Raises ShapeError for a frame whose size or dtype
        differs from the first, LimitError before all frames would take too much memory.
        """
        frame = frame if frame.ndim == 3 else frame[..., None]
        frame = _drop_channels(frame) if self.narrow else frame
        if index == 0:
            self._allocate(frame.shape[:2], frame.shape[2], frame.dtype, decoding)
        self._check(frame, index)
        channels = _common_channels(self.array.shape[3], frame.shape[2])
        if channels != self.array.shape[3]:
            narrow = self.array
            self._allocate(narrow.shape[1:3], channels, narrow.dtype, decoding + narrow.nbytes)
            for earlier in range(index):
                self.array[earlier] = _add_channels(narrow[earlier], channels)
        self.array[index] = _add_channels(frame, channels)

    def _allocate(
        self, size: tuple[int, ...], channels: int, dtype: np.dtype[Any], besides: int
    ) -> None:
        shape = (self.count, *size, channels)
        needed = besides + math.prod(shape) * dtype.itemsize
        self.limits.check_memory(f"{self.name}, {self.count:,} frames,", needed, _FEWER)
        self.peak = max(self.peak, needed)
        self.array = np.empty(shape, dtype)

    def _check(self, frame: NDArray[Any], index: int) -> None:
        first, other = ((*array.shape[-3:-1], array.dtype) for array in (self.array, frame))
        if first != other:
            sizes = " and ".join(
                f"{height}x{width} {dtype}" for height, width, dtype in (first, other)
            )
            raise ShapeError(
                f"{self.name} has frames of {sizes} (frame {index})",
                "expected one size and type to filter all",
                "choose one with --frames N",
            )


_FEWER = "choose one with --frames N, or raise --max-memory"


def _common_channels(one: int, other: int) -> int:
    """Return the channel count that holds both pictures' channels.

    1: gray, 2: gray and alpha, 3: colours, 4: colours and alpha.

    >>> _common_channels(2, 3), _common_channels(1, 2), _common_channels(3, 3)
    (4, 2, 3)
    """
    colours = 3 if max(one, other) > 2 else 1
    return colours + (0 in (one % 2, other % 2))


def _add_channels(frame: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return a frame (H, W, C) with more channels: gray as colours, opaque if it had no alpha."""
    given = frame.shape[2]
    if given == channels:
        return frame
    colours = frame[..., : given - (given % 2 == 0)]
    wide = np.full((*frame.shape[:2], channels), _opaque(frame.dtype), frame.dtype)
    wide[..., : channels - (channels % 2 == 0)] = colours
    if given % 2 == 0:
        wide[..., -1] = frame[..., -1]
    return wide


def _drop_channels(frame: NDArray[Any]) -> NDArray[Any]:
    """Drop a frame's alpha if it is opaque throughout, and its colours if it is gray throughout."""
    if frame.shape[2] % 2 == 0 and (frame[..., -1] == _opaque(frame.dtype)).all():
        frame = frame[..., :-1]
    if frame.shape[2] > 2 and (frame[..., :1] == frame[..., 1:3]).all():
        return np.concatenate([frame[..., :1], frame[..., 3:]], axis=2)
    return frame
