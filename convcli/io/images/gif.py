"""GIF written, every frame in a palette of its own.

::

    header | palette of the first frame | how often it plays | comment
    frame: how long it is shown | where it stands | palette, where it is another | LZW codes, by Pillow
    trailer

Where nothing is clear, a frame is the rectangle that differs from the one before; else each is whole, is wiped before
the next is shown, and has the last entry of its palette for what is clear. Pillow's own writer joins frames that are
alike, and mistakes what is clear for the colour that stands for it.
Source: CompuServe, "Graphics Interchange Format, version 89a", 1990.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.io.data import NOTHING, Kept, Timing
from convcli.io.images.palette import COLOURS, Bytes, Indexed, has_clear, indexed

_BITS = 8  # of an index
_PALETTE = 0x80 | _BITS - 1  # 256 entries follow
_CLEAR, _WIPED = 1, 2 << 2
_MOST = 65535  # hundredths of a second, or repeats
_BLOCK = 255  # bytes of data at once


def write_gif(stream: BinaryIO, frames: Sequence[Bytes], kept: Kept = NOTHING) -> None:
    """Encode frames, each (H, W) or (H, W, C) of uint8 with straight alpha; of `kept` the comment and the timing.

    >>> import io
    >>> from PIL import Image
    >>> write_gif(file := io.BytesIO(), [np.uint8([[0, 128], [255, 3]])])
    >>> np.asarray(Image.open(file)).tolist()
    [[0, 128], [255, 3]]
    """
    height, width = frames[0].shape[:2]
    transparent = has_clear(frames)
    durations = kept.timing.durations if kept.timing else (0.0,) * len(frames)
    first = before = indexed(frames[0], transparent=transparent)
    stream.write(b"GIF89a" + pack("<HHBBB", width, height, 0x70 | _PALETTE, 0, 0) + first.palette.tobytes())
    stream.write(_plays(kept.timing) + _comment(kept.comment))
    for number, duration in enumerate(durations):
        frame = indexed(frames[number], transparent=transparent) if number else first
        rows, columns = _changed(before, frame) if number and not transparent else np.s_[0:height, 0:width]
        stream.write(_control(duration, transparent=transparent))
        own = b"" if (frame.palette == first.palette).all() else frame.palette.tobytes()
        size = (columns.stop - columns.start, rows.stop - rows.start)
        stream.write(b"," + pack("<4HB", columns.start, rows.start, *size, _PALETTE if own else 0) + own)
        stream.write(bytes([_BITS]) + _codes(frame.indices[rows, columns]) + b"\0")
        before = frame
    stream.write(b";")


def _control(duration: float, *, transparent: bool) -> bytes:
    """For how long, of milliseconds, the next frame is shown, whether the last entry is clear, and the wiping."""
    flags = _WIPED | _CLEAR if transparent else 0
    return b"!\xf9" + pack("<BBHBB", 4, flags, min(round(duration / 10), _MOST), COLOURS - 1, 0)


def _plays(timing: Timing | None) -> bytes:
    """How often it plays, in the words of the Netscape browser; once where nothing is said."""
    if timing is None or timing.plays == 1:
        return b""
    return b"!\xff\x0bNETSCAPE2.0" + pack("<BBHB", 3, 1, min(max(timing.plays - 1, 0), _MOST), 0)


def _comment(comment: bytes) -> bytes:
    blocks = (comment[at : at + _BLOCK] for at in range(0, len(comment), _BLOCK))
    return b"!\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0" if comment else b""


def _changed(before: Indexed, frame: Indexed) -> tuple[slice, slice]:
    """Rows and columns of all that a frame shows otherwise than the one before; one pixel where that is nothing."""
    if (frame.palette == before.palette).all():
        differs = frame.indices != before.indices
    else:
        differs = (frame.palette[frame.indices] != before.palette[before.indices]).any(axis=2)
    return _reach(differs.any(axis=1)), _reach(differs.any(axis=0))


def _reach(marked: NDArray[np.bool_]) -> slice:
    """From the first to the last that is marked; the first where none is.

    >>> _reach(np.array([False, True, False, True, False]))
    slice(1, 4, None)
    """
    places = np.flatnonzero(marked)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 1)


def _codes(indices: Bytes) -> bytes:
    """Indices as blocks of LZW codes, rows in their order."""
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(indices)).tobytes("gif", "L", _BITS, 0)
