"""Write pictures of few colours as PNG with a palette; several as an animation (APNG).

Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import count
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.io.data import Timing
from convcli.io.images.indexed import UNCHANGED, Change, Palette
from convcli.io.images.png_chunks import SIGNATURE, Chunk, write_chunk

Bytes = NDArray[np.uint8]

_OVER = 1  # blend a frame over the canvas
_MILLISECONDS = 1000
_LONGEST = 65535  # milliseconds


def write_indexed_png(
    stream: BinaryIO,
    frames: Sequence[Bytes],
    palette: Palette,
    timing: Timing,
    chunks: Sequence[Chunk] = (),
    last: Sequence[Chunk] = (),
) -> None:
    """Encode frames (H, W, 3) of the palette's colours.

    chunks, last: chunks of metadata to write before and after the samples.

    >>> import io
    >>> from PIL import Image
    >>> from convcli.io.images.indexed import shared_palette
    >>> frames = np.uint8([[[[9, 8, 7]]], [[[1, 2, 3]]]])
    >>> write_indexed_png(file := io.BytesIO(), frames, shared_palette(frames), Timing((50, 50), 0))
    >>> image = Image.open(file)
    >>> image.seek(1)
    >>> image.n_frames, image.info["duration"], image.convert("RGB").getpixel((0, 0))
    (2, 50.0, (1, 2, 3))
    """
    height, width = frames[0].shape[:2]
    stream.write(SIGNATURE)
    write_chunk(stream, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
    for chunk in chunks:
        write_chunk(stream, *chunk)
    colours = palette.colours.tobytes()
    if len(frames) > 1:
        colours = colours.ljust(3 * UNCHANGED, b"\0") + bytes(3)
    write_chunk(stream, b"PLTE", colours)
    if len(frames) > 1:
        write_chunk(stream, b"tRNS", b"\xff" * UNCHANGED + b"\0")
        write_chunk(stream, b"acTL", struct.pack(">II", len(frames), timing.plays))
    for chunk in (*_frames(palette, frames, timing), *last, Chunk(b"IEND", b"")):
        write_chunk(stream, *chunk)


def _frames(palette: Palette, frames: Sequence[Bytes], timing: Timing) -> Iterator[Chunk]:
    """Yield the chunks of the frames: samples, and if there are several, their place and time."""
    sequence = count()
    for number, change in enumerate(palette.changes(frames)):
        samples = _deflate(change.indices)
        if len(frames) > 1:
            duration = timing.durations[number]
            yield Chunk(b"fcTL", _control(next(sequence), change, duration, number > 0))
        if number == 0:
            yield Chunk(b"IDAT", samples)
        else:
            yield Chunk(b"fdAT", struct.pack(">I", next(sequence)) + samples)


def _control(sequence: int, change: Change, duration: float, over: bool) -> bytes:
    height, width = change.indices.shape
    delay = min(round(duration), _LONGEST)
    place = (sequence, width, height, change.left, change.top)
    return struct.pack(">5IHHBB", *place, delay, _MILLISECONDS, 0, _OVER if over else 0)


def _deflate(indices: Bytes) -> bytes:
    """Return rows of indices, each after the filter 0, deflated."""
    rows = np.zeros((indices.shape[0], indices.shape[1] + 1), np.uint8)
    rows[:, 1:] = indices
    return zlib.compress(rows.tobytes(), 9)
