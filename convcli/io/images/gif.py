"""Read GIF, and write it with one palette per frame.

Pillow encodes each frame, but its own writer of animations is not used: it merges equal frames, and
confuses transparent pixels with opaque ones of the same colour. If no pixel is transparent, a frame
is written as the rectangle that differs from the frame before. Else each frame is written whole,
cleared before the next is shown, and uses the last palette entry for transparent pixels.
Source: CompuServe, "Graphics Interchange Format, version 89a", 1990.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.io.codec import PLAIN, WriteRequest
from convcli.io.data import NO_METADATA, Metadata, Timing
from convcli.io.images.animation import Region
from convcli.io.images.codec import Pillow, as_frames, measures
from convcli.io.images.gif_blocks import KEPT, WIPED, find_damage, read_regions
from convcli.io.images.indexed import UNCHANGED, Palette, shared_palette
from convcli.io.images.metadata.found import Found
from convcli.io.images.metadata.gif import find_metadata, make_extensions, with_aspect

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

Bytes = NDArray[np.uint8]

COLOURS = 256
"""Entries of a palette."""

_TRANSPARENT = COLOURS - 1  # the palette entry of transparent pixels
_MAX_SHORT = 65535  # hundredths of a second, or repeats

_OPAQUE = 128
"""The least alpha, of 255, that is written as opaque."""

_WEIGHED, _DISTINCT = 1 << 16, 1 << 18
"""Colours above which Pillow's median cut reduces levels, and colours in steps of 4 levels."""

_COLOUR_BYTES = 44
"""Bytes per colour of the median cut; 42 were measured for noise."""

_DIFFERENCE_BYTES = 12
"""Bytes per pixel of two frames in RGB and of their difference."""

_KEY = np.array([1 << 16, 1 << 8, 1], np.uint32)


def write_gif(
    stream: BinaryIO,
    frames: Sequence[Bytes],
    metadata: Metadata = NO_METADATA,
    *,
    compact: bool = False,
) -> None:
    """Encode frames, each (H, W) or (H, W, C) of uint8 with straight alpha.

    Writes the metadata that the format holds. compact: use one palette if it holds all colours.

    >>> import io
    >>> from PIL import Image
    >>> write_gif(file := io.BytesIO(), [np.uint8([[0, 128], [255, 3]])])
    >>> np.asarray(Image.open(file)).tolist()
    [[0, 128], [255, 3]]
    """
    from PIL.GifImagePlugin import getdata

    if compact and (palette := shared_palette(frames)):
        _write_changes(stream, frames, palette, metadata)
        return
    transparent = has_transparency(frames)
    shown: dict[str, Any] = {"transparency": _TRANSPARENT, "disposal": WIPED} if transparent else {}
    durations = metadata.timing.durations if metadata.timing else (0.0,) * len(frames)
    first = before = to_palette(frames[0], transparent=transparent)
    _write_head(stream, first, metadata)
    for number, duration in enumerate(durations):
        frame = to_palette(frames[number], transparent=transparent) if number else first
        box = _changed(before, frame) if number and not transparent else (0, 0, *frame.size)
        stream.writelines(
            getdata(
                frame.crop(box),
                box[:2],
                duration=_delay(duration),
                include_color_table=frame.getpalette() != first.getpalette(),
                **shown,
            )
        )
        before = frame
    stream.write(b";")


def _write_changes(
    stream: BinaryIO, frames: Sequence[Bytes], palette: Palette, metadata: Metadata
) -> None:
    """Encode frames of one palette, each as its changed pixels; the others are transparent."""
    from PIL import Image
    from PIL.GifImagePlugin import getdata

    durations = metadata.timing.durations if metadata.timing else (0.0,) * len(frames)
    entries = palette.colours.tobytes().ljust(3 * COLOURS, b"\0")
    for number, (change, duration) in enumerate(
        zip(palette.changes(frames), durations, strict=True)
    ):
        image = Image.fromarray(change.indices)
        image.putpalette(entries)
        if number == 0:
            _write_head(stream, image, metadata)
        shown = {"transparency": UNCHANGED, "disposal": KEPT} if number else {}
        place = change.left, change.top
        stream.writelines(
            getdata(image, place, duration=_delay(duration), include_color_table=False, **shown)
        )
    stream.write(b";")


def _write_head(stream: BinaryIO, first: Image, metadata: Metadata) -> None:
    from PIL.GifImagePlugin import getheader

    first.info["version"] = b"89a"
    head = b"".join(getheader(first, info={"loop": _loop(metadata.timing)})[0])
    stream.write(with_aspect(head, metadata.aspect))
    stream.writelines(make_extensions(metadata))


def _delay(duration: float) -> int:
    """Return milliseconds as Pillow's encoder expects them: whole hundredths of a second."""
    return 10 * min(round(duration / 10), _MAX_SHORT)


def _loop(timing: Timing | None) -> int | None:
    """Return how many times an animation repeats, 0 for forever; None if it plays once."""
    if timing is None or timing.plays == 1:
        return None
    return min(max(timing.plays - 1, 0), _MAX_SHORT)


def _changed(before: Image, frame: Image) -> tuple[int, int, int, int]:
    """Return the bounding box of the pixels that changed; the first pixel if none did."""
    from PIL import ImageChops

    difference = ImageChops.difference(before.convert("RGB"), frame.convert("RGB"))
    return difference.getbbox() or (0, 0, 1, 1)


def to_palette(picture: Bytes, *, transparent: bool = False) -> Image:
    """Convert a picture (H, W) or (H, W, C) to a palette of its own; gray without alpha stays gray.

    transparent: reserve the last entry for transparent pixels.

    >>> np.asarray(to_palette(np.uint8([[[9, 8, 7], [1, 2, 3], [9, 8, 7]]]))).tolist()
    [[1, 0, 1]]
    """
    from PIL import Image

    if _channels(picture) == 1:
        return Image.fromarray(picture.reshape(picture.shape[:2]))
    colours, hidden = _split_alpha(picture)
    image, room = Image.fromarray(colours), COLOURS - transparent
    found = image.getcolors(room)
    if found is None:
        indexed = _coarse(image).quantize(room)
        palette = bytes(indexed.getpalette() or [])
    else:
        # Pillow's search for the nearest entry treats colours within four levels as equal.
        entries = np.array(sorted(colour for _, colour in found), np.uint8)
        keys = entries @ _KEY
        indexed = Image.fromarray(
            np.stack([np.searchsorted(keys, row @ _KEY).astype(np.uint8) for row in colours])
        )
        palette = entries.tobytes()
    if hidden.any():
        indexed.paste(_TRANSPARENT, mask=Image.fromarray(hidden))
    indexed.putpalette(palette.ljust(3 * COLOURS, b"\0"))
    return indexed


def _coarse(image: Image) -> Image:
    """Reduce an image with more colours than the median cut handles exactly to steps of 4 levels.

    For noise of 1600x1200 this lowers 47 bytes per pixel and 1.5 s to 22 and 0.4 s. The error of a
    photograph of that size with 124,000 colours grows from 3.01 to 3.06.
    """
    if image.width * image.height <= _DISTINCT or image.getcolors(_WEIGHED) is not None:
        return image
    return image.point([level & 0xFC | 2 for level in range(256)] * 3)


def has_transparency(pictures: Iterable[Bytes]) -> bool:
    """Return whether any pixel of pictures, all of the same channels, becomes transparent."""
    return any(
        _channels(picture) % 2 == 0 and (picture[..., -1] < _OPAQUE).any() for picture in pictures
    )


def losses(pictures: Sequence[Bytes]) -> tuple[str, ...]:
    """Describe what palettes cannot hold of pictures, all of the same channels.

    >>> picture = np.zeros((2, 2, 4), np.uint8)
    >>> losses([picture])
    ()
    >>> picture[0, 0] = 9, 9, 9, 77
    >>> losses([picture])
    ('alpha: a palette holds clear and opaque alone',)
    """
    room = COLOURS - has_transparency(pictures)
    messages = []
    if any(_has_more_colours(picture, room) for picture in pictures):
        messages.append(f"colours: a palette holds {COLOURS} at most")
    if any(_is_translucent(picture) for picture in pictures):
        messages.append("alpha: a palette holds clear and opaque alone")
    return tuple(messages)


def _has_more_colours(picture: Bytes, count: int) -> bool:
    from PIL import Image

    return (
        _channels(picture) > 1
        and Image.fromarray(_split_alpha(picture)[0]).getcolors(count) is None
    )


def _is_translucent(picture: Bytes) -> bool:
    """Return whether any alpha is between transparent and opaque."""
    alpha = picture[..., -1]
    return _channels(picture) % 2 == 0 and bool(((alpha > 0) & (alpha < 255)).any())


def encoding_bytes(pixels: int, channels: int, frames: int) -> int:
    """Return the most bytes that `write_gif` takes besides the pictures and the file.

    The median cut holds three copies of a picture, and its colours.
    """
    indexing = pixels * 4
    if channels > 1:
        indexing = pixels * (16 if channels % 2 else 20) + min(pixels, _DISTINCT) * _COLOUR_BYTES
    return max(indexing, _DIFFERENCE_BYTES * pixels) + 2 * pixels if frames > 1 else indexing


def _channels(picture: Bytes) -> int:
    return picture.shape[2] if picture.ndim == 3 else 1


def _split_alpha(picture: Bytes) -> tuple[Bytes, NDArray[np.bool_]]:
    """Return the colours (H, W, 3), and whether each pixel (H, W) is transparent.

    The colours of transparent pixels are replaced by that of an opaque pixel.
    """
    channels = picture.shape[2]
    has_alpha = channels % 2 == 0
    colours = picture[..., : channels - has_alpha]
    colours = colours if colours.shape[2] == 3 else colours.repeat(3, 2)
    hidden = picture[..., -1] < _OPAQUE if has_alpha else np.zeros(picture.shape[:2], np.bool_)
    if hidden.any():
        colours = np.where(hidden[..., None], colours.reshape(-1, 3)[hidden.argmin()], colours)
    return np.ascontiguousarray(colours), hidden


class Gif(Pillow):
    """GIF: read through Pillow, written frame by frame, each in a palette of its own."""

    self_ending = True
    delta_frames = True
    opening_bytes = 1

    def plays(self, image: ImageFile) -> int:
        """Convert the file's repeats, which are absent for none, to plays."""
        repeats = image.info.get("loop")
        if repeats is None:
            return 1
        return repeats + 1 if repeats else 0

    def prepare(self, image: ImageFile) -> None:
        """Remove the file's palette, which Pillow keeps for a frame whose own palette is gray."""
        if image.mode == "L":
            image.palette = None

    def regions(self, image: ImageFile, stream: BinaryIO) -> Iterator[Region]:
        return read_regions(stream)

    def find_metadata(self, stream: BinaryIO) -> Found:
        return find_metadata(stream)

    def find_damage(self, stream: BinaryIO) -> str:
        return find_damage(stream)

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        write_gif(stream, list(as_frames(array)), request.metadata, compact=request.compact)

    def reductions(self, array: NDArray[Any], request: WriteRequest) -> tuple[str, ...]:
        return losses(list(as_frames(array)))

    def encoding_bytes(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> int:
        """Return the bytes of one frame and of its comparison with the frame before."""
        frames, pixels, channels = measures(shape)
        return encoding_bytes(pixels, channels, frames)
