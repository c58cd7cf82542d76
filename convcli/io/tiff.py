"""TIFF beyond Pillow: 16 and 32 bits, floats and any number of channels, BigTIFF, and stacks of pages as volumes.

Needs tifffile, `pip install 'convcli[tiff]'`, which brings imagecodecs for what is compressed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.errors import DtypeError, FileError, InputError, LimitError, ShapeError, brief
from convcli.io import integrity
from convcli.io.data import Data
from convcli.io.installed import muted
from convcli.io.turn import upright
from convcli.limits import Limits
from convcli.words import DTYPES

_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _EXTRA, _FORMAT = 258, 259, 262, 277, 338, 339
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_GRAY, _RGB = 1, 2
_STRAIGHT, _PREMULTIPLIED = 2, 1
_KEPT = {(12, _UNSIGNED), (16, _UNSIGNED), (16, _SIGNED), (32, _SIGNED), (32, _FLOAT)}
"""Bits and kinds of single samples above 8 bits that Pillow keeps whole."""


def beyond_pillow(stream: BinaryIO) -> str:
    """What the first page holds, in words, where Pillow would cut or refuse it, or "".

    The stream is left at its beginning; of a directory that is damaged nothing is said.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        stream.seek(0)
        head = stream.read(8)
        if head[2:4] in (b"\x2b\0", b"\0\x2b"):
            return "BigTIFF"
        tags: Any = ImageFileDirectory_v2(head)
        stream.seek(tags.next)
        tags.load(stream)
        bits, kind = max(_listed(tags.get(_BITS, 1))), max(_listed(tags.get(_FORMAT, _UNSIGNED)))
        samples = int(tags.get(_SAMPLES, 1))
    except Exception:  # Pillow's parser raises nearly anything, and says what it is when it opens the file
        return ""
    finally:
        stream.seek(0)
    if (bits > 8 and (samples > 1 or (bits, kind) not in _KEPT)) or (bits == 8 and (kind == _SIGNED or samples > 4)):
        word = {_SIGNED: "signed ", _FLOAT: "floating "}.get(kind, "")
        return f"{word}{bits}-bit samples" + (f" in {samples} channels" if samples > 1 else "")
    return ""


def _listed(value: Any) -> Sequence[int]:
    return value if isinstance(value, tuple) else (value,)


def read_tiff(stream: BinaryIO, name: str, limits: Limits, *, volume: bool) -> Data:
    """The first page, (H, W) or (H, W, C), upright; or all of them as one array (pages, H, W) or (pages, H, W, C).

    Raises FileError for a file that is damaged or whose pages differ, DtypeError for samples that would need to be
    converted, LimitError for more pages, pixels or bytes than there may be.
    """
    tifffile = import_module("tifffile")
    try:
        with muted("tifffile"), tifffile.TiffFile(stream) as tiff:
            return _read(tiff, stream, name, limits, volume=volume)
    except Exception as error:  # tifffile raises nearly anything for a damaged file
        if isinstance(error, (InputError, LimitError)):
            raise
        raise _damaged(name, brief(error)) from error


def _damaged(name: str, how: str) -> FileError:
    return integrity.damaged(name, how, "tiff", "copy it anew, or save it as .npy")


def _read(tiff: Any, stream: BinaryIO, name: str, limits: Limits, *, volume: bool) -> Data:
    pages = _count(tiff, stream, name)
    first = tiff.pages[0]
    used = [tiff.pages[at] for at in range(pages)] if volume else [first]
    limits.check_pixels(name, first.imagewidth, first.imagelength)
    size = math.prod(first.shape) * np.dtype(first.dtype).itemsize
    decoding = (len(used) + 2) * size
    limits.check_memory(name, decoding)
    for page in used:
        _check_page(page, stream, name)
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            raise FileError(
                f"{name} has pages of different shapes or types", "expected a stack of one", "part it first"
            )
    planes = [_upright(page) for page in used]
    array = np.stack(planes) if volume else planes[0]
    notes = (
        "" if volume or pages == 1 else f"first of {pages} frames",
        "orientation applied" * (first.tags.valueof("Orientation", 1) > 1),
    )
    alpha = not volume and _extra(first) == _STRAIGHT
    return Data(
        np.ascontiguousarray(array, array.dtype.newbyteorder("=")),
        "array" if volume else "image",
        "tiff",
        name,
        alpha=alpha,
        notes=tuple(filter(None, notes)),
        decoding=decoding,
        dims=3 if volume else None,
    )


def _count(tiff: Any, stream: BinaryIO, name: str) -> int:
    """How many pages there are, if they are not too many, and tifffile finds as many as the file tells."""
    pages = integrity.pages(stream)
    if pages > integrity.PAGES:
        raise LimitError(f"{name} has more than {integrity.PAGES:,} pages", "expected fewer", "part it first")
    if len(tiff.pages) != pages:
        raise _damaged(name, "a page is missing")
    if damage := integrity.damage(stream, "tiff"):
        raise _damaged(name, damage)
    return pages


def _check_page(page: Any, stream: BinaryIO, name: str) -> None:
    """Raise for samples that would need to be converted, and for pieces that are not all in the file, or broken."""
    if page.dtype is None or np.dtype(page.dtype).name not in (*DTYPES, "bool"):
        raise DtypeError(
            f"{name} holds {page.bitspersample}-bit samples", "expected 8, 16, 32 or 64", "convert it first"
        )
    if page.photometric not in (_GRAY, _RGB):
        what = getattr(page.photometric, "name", page.photometric)
        raise DtypeError(f"{name} holds {what} samples", "expected gray or RGB", "convert it first")
    if _extra(page) == _PREMULTIPLIED:
        raise DtypeError(f"{name} holds colours times their alpha", "expected straight alpha", "convert it first")
    size = stream.seek(0, 2)
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(pieces) != math.prod(page.chunked) or any(count < 1 or at + count > size for at, count in pieces):
        raise _damaged(name, "it ends too early")
    if page.compression in integrity.DEFLATE:
        most = 2 * math.prod(page.shape) * 8 + 2 * math.prod(page.chunks) * 8
        if wrong := integrity.deflated(stream, pieces, most):
            raise _damaged(name, wrong)
    elif page.compression == 1 and sum(count for _, count in pieces) < math.prod(page.shape) * page.bitspersample // 8:
        raise _damaged(name, "its strips hold less than its samples")


def _extra(page: Any) -> int:
    """What the last sample is, besides the colours; 0 where nothing is said."""
    extra = [int(each) for each in page.extrasamples]
    return extra[-1] if len(extra) == 1 else 0


def _upright(page: Any) -> NDArray[Any]:
    plane: NDArray[Any] = page.asarray(maxworkers=1)
    plane = np.moveaxis(plane, 0, -1) if page.axes == "SYX" else plane
    if plane.ndim != 2 + (page.samplesperpixel > 1):
        raise ShapeError(f"a page has the axes {page.axes}", "expected height, width and samples", "save it as .npy")
    return upright(plane, page.tags.valueof("Orientation", 1))


def write_tiff(stream: BinaryIO, array: NDArray[Any], *, alpha: bool, volume: bool) -> None:
    """Encode (H, W) or (H, W, C), or of a volume a page for each (H, W) or (H, W, C) along its first axis.

    The samples lie uncompressed; above 4 GiB the file is a BigTIFF.
    """
    channels = array.shape[2 + volume] if array.ndim == 3 + volume else 1
    colours = 3 if channels in (3, 4) else 1
    spare = channels - colours
    tifffile = import_module("tifffile")
    with tifffile.TiffWriter(stream, bigtiff=array.nbytes > 2**32 - 2**25) as writer:
        for page in array if volume else [array]:
            writer.write(
                np.ascontiguousarray(page),
                photometric="rgb" if colours == 3 else "minisblack",
                planarconfig="contig" if channels > 1 else None,
                extrasamples=["unassalpha" if alpha else "unspecified"] * spare or None,
                metadata=None,
                contiguous=False,
            )
