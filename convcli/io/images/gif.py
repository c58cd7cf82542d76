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

import os
from collections.abc import Iterable, Sequence
from struct import pack
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.io.data import NO_METADATA, Metadata, Timing
from convcli.io.images.integrity import CUT

if TYPE_CHECKING:
    from PIL.Image import Image

from convcli.io.codec import PLAIN, WriteRequest
from convcli.io.images.codec import Pillow, as_frames, measures

Bytes = NDArray[np.uint8]

COLOURS = 256
"""Entries of a palette."""

_OPAQUE = 128
"""The least alpha, of 255, that is taken for opaque."""

_WEIGHED, _DISTINCT = 1 << 16, 1 << 18
"""Colours that Pillow's cut weighs before it takes coarser steps itself, and those that steps of four levels leave."""

_COLOUR = 44
"""Bytes that the cut takes for a colour; of noise it took 42."""

_RAMP = np.arange(COLOURS, dtype=np.uint8)[:, None].repeat(3, 1)
_KEY = np.array([1 << 16, 1 << 8, 1], np.uint32)


class Indexed(NamedTuple):
    """A picture in a palette: indices (H, W) and the palette (256, 3)."""

    indices: Bytes
    palette: Bytes


def indexed(picture: Bytes, *, transparent: bool = False) -> Indexed:
    """A picture (H, W) or (H, W, C) in a palette of its own; gray without alpha in the ramp from black to white.

    transparent: keep the last entry for what is clear.

    >>> indexed(np.uint8([[[9, 8, 7], [1, 2, 3], [9, 8, 7]]])).indices.tolist()
    [[1, 0, 1]]
    """
    from PIL import Image

    if _channels(picture) == 1:
        return Indexed(picture.reshape(picture.shape[:2]), _RAMP)
    colours, clear = _parted(picture)
    image, room = Image.fromarray(colours), COLOURS - transparent
    found = image.getcolors(room)
    if found is None:
        reduced = _coarse(image).quantize(room)
        indices, entries = np.array(reduced), np.reshape(reduced.getpalette() or [], (-1, 3))
    else:
        entries = np.array(sorted(colour for _, colour in found))
        keys = entries @ _KEY
        indices = np.stack([np.searchsorted(keys, row @ _KEY).astype(np.uint8) for row in colours])
    indices[clear] = COLOURS - 1
    return Indexed(indices, np.pad(entries.astype(np.uint8), ((0, COLOURS - len(entries)), (0, 0))))


def _coarse(image: Image) -> Image:
    """The image in steps of four levels, where it has more colours than the cut weighs anyway.

    Noise of 1600x1200 took 47 bytes a pixel and 1.5 s, and takes 22 in 0.4 s; the error of a photograph of as many
    pixels and 124,000 colours grew from 3.01 to 3.06.
    """
    if image.width * image.height <= _DISTINCT or image.getcolors(_WEIGHED) is not None:
        return image
    return image.point([level & 0xFC | 2 for level in range(256)] * 3)


def has_clear(pictures: Iterable[Bytes]) -> bool:
    """Whether anything of pictures, all of as many channels, becomes clear."""
    return any(_channels(picture) % 2 == 0 and (picture[..., -1] < _OPAQUE).any() for picture in pictures)


def losses(pictures: Sequence[Bytes]) -> tuple[str, ...]:
    """What palettes do not hold of such pictures, all of as many channels, in words.

    >>> picture = np.zeros((2, 2, 4), np.uint8)
    >>> losses([picture])
    ()
    >>> picture[0, 0] = 9, 9, 9, 77
    >>> losses([picture])
    ('alpha: a palette holds clear and opaque alone',)
    """
    room = COLOURS - has_clear(pictures)
    told = {
        f"colours: a palette holds {COLOURS} at most": any(_has_more(picture, room) for picture in pictures),
        "alpha: a palette holds clear and opaque alone": any(map(_has_levels, pictures)),
    }
    return tuple(loss for loss, found in told.items() if found)


def _has_more(picture: Bytes, colours: int) -> bool:
    from PIL import Image

    return _channels(picture) > 1 and Image.fromarray(_parted(picture)[0]).getcolors(colours) is None


def _has_levels(picture: Bytes) -> bool:
    """Whether its alpha has any between clear and opaque."""
    alpha = picture[..., -1]
    return _channels(picture) % 2 == 0 and bool(((alpha > 0) & (alpha < 255)).any())


def indexing_bytes(pixels: int, channels: int) -> int:
    """What `indexed`, and then the codes of its indices, take: the median cut holds three copies, and its colours."""
    if channels == 1:
        return pixels * 4
    return pixels * (16 if channels % 2 else 20) + min(pixels, _DISTINCT) * _COLOUR


def _channels(picture: Bytes) -> int:
    return picture.shape[2] if picture.ndim == 3 else 1


def _parted(picture: Bytes) -> tuple[Bytes, NDArray[np.bool_]]:
    """The colours (H, W, 3), in place of those that are clear an opaque one, and where (H, W) those are."""
    channels = picture.shape[2]
    alpha = channels % 2 == 0
    colours = picture[..., : channels - alpha]
    colours = colours if colours.shape[2] == 3 else colours.repeat(3, 2)
    clear = picture[..., -1] < _OPAQUE if alpha else np.zeros(picture.shape[:2], np.bool_)
    if clear.any():
        colours = np.where(clear[..., None], colours.reshape(-1, 3)[clear.argmin()], colours)
    return np.ascontiguousarray(colours), clear


_BITS = 8  # of an index
_PALETTE = 0x80 | _BITS - 1  # 256 entries follow
_CLEAR, _WIPED = 1, 2 << 2
_MOST = 65535  # hundredths of a second, or repeats
_BLOCK = 255  # bytes of data at once


def write_gif(stream: BinaryIO, frames: Sequence[Bytes], metadata: Metadata = NO_METADATA) -> None:
    """Encode frames, each (H, W) or (H, W, C) of uint8 with straight alpha; of `metadata` the comment and the timing.

    >>> import io
    >>> from PIL import Image
    >>> write_gif(file := io.BytesIO(), [np.uint8([[0, 128], [255, 3]])])
    >>> np.asarray(Image.open(file)).tolist()
    [[0, 128], [255, 3]]
    """
    height, width = frames[0].shape[:2]
    transparent = has_clear(frames)
    durations = metadata.timing.durations if metadata.timing else (0.0,) * len(frames)
    first = before = indexed(frames[0], transparent=transparent)
    stream.write(b"GIF89a" + pack("<HHBBB", width, height, 0x70 | _PALETTE, 0, 0) + first.palette.tobytes())
    stream.write(_plays(metadata.timing) + _comment(metadata.comment))
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


def find_damage(stream: BinaryIO) -> str:
    """Return what is wrong with a file by its blocks, up to the trailer, in words, or "".

    Source: as above, appendix B.
    """
    stream.seek(10)
    stream.seek(13 + _palette_bytes(stream.read(1)))
    while (kind := stream.read(1)) != b";":
        if kind == b",":
            stream.seek(_palette_bytes(stream.read(9)[8:]) + 1, os.SEEK_CUR)
        elif kind == b"!":
            stream.seek(1, os.SEEK_CUR)
        else:
            return "there is no block where one should begin" if kind else CUT
        while (length := stream.read(1)) not in (b"", b"\0"):
            stream.seek(length[0], os.SEEK_CUR)
    return ""


def _palette_bytes(flags: bytes) -> int:
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


class Gif(Pillow):
    """GIF: read by Pillow, written frame by frame, each in a palette of its own."""

    self_ending = True

    def find_damage(self, stream: BinaryIO) -> str:
        return find_damage(stream)

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        write_gif(stream, list(as_frames(array)), request.metadata)

    def reductions(self, array: NDArray[Any], request: WriteRequest) -> tuple[str, ...]:
        return losses(list(as_frames(array)))

    def encoding_bytes(self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN) -> int:
        """Bytes of one frame, and of its comparison with the one before."""
        frames, pixels, channels = measures(shape)
        return indexing_bytes(pixels, channels) + (2 * pixels if frames > 1 else 0)
