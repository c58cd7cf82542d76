"""Coloured pictures in palettes, as GIF has them: at most 256 colours, each pixel clear or opaque.

A picture that has no more colours than that is put down as it is; of another, colours that are near become one.
Source: Heckbert, "Color image quantization for frame buffer display", SIGGRAPH 1982; the median cut is Pillow's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

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
