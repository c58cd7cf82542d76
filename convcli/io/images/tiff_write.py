"""Write a TIFF through tifffile: number types, bands and pages that Pillow does not write."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from struct import pack
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.io.data import NO_METADATA, Metadata
from convcli.io.formats import NONE
from convcli.io.images.metadata.exif import tiff_tags
from convcli.io.images.tiff_directories import ASCII, BYTE, LONG, LONG8, OF_BYTES, SHORT

_BIG = 2**32 - 2**25  # bytes of samples, above which 32 bits may not count the file's
_DEFLATED_AT_ONCE = 2**24  # bytes of samples


def encoding_bytes(size: int, settings: Mapping[str, int] = NONE) -> int:
    """Return the bytes that `write_tiff` takes at most, besides an array of `size` bytes and the file."""
    return min(size, 2 * _DEFLATED_AT_ONCE) if settings.get("compress_level") else size


def write_tiff(
    stream: BinaryIO,
    array: NDArray[Any],
    metadata: Metadata = NO_METADATA,
    settings: Mapping[str, int] = NONE,
    threads: int = 1,
    *,
    alpha: bool,
    pages: bool,
) -> None:
    """Encode (H, W) or (H, W, C), or of `pages` one for each (H, W) or (H, W, C) along the first axis.

    settings: with a `compress_level` above 0 the samples are deflated, integers as differences along their row; the
    threads share that, to the same bytes for any number. Above 4 GiB the file is a BigTIFF.
    """
    tifffile = import_module("tifffile")
    channels = array.shape[2 + pages] if array.ndim == 3 + pages else 1
    colours = 3 if channels in (3, 4) else 1
    extra_samples = ["unassalpha" if alpha else "unspecified"] * (channels - colours)

    # The metadata stands in the first page, directories of EXIF behind the last.
    height, width = array.shape[pages : pages + 2]
    big = array.nbytes > _BIG
    tags = tiff_tags(metadata, width, height)
    inner = {tag: value for tag, value in tags.items() if isinstance(value, dict)}
    first_page: dict[str, Any] = {
        "resolution": metadata.density,
        "resolutionunit": "INCH" if metadata.density else None,
        "iccprofile": metadata.icc or None,
        "extratags": [_extratag(tag, value, LONG8 if big else LONG) for tag, value in tags.items()],
    }
    compression = _compression(array.dtype, settings.get("compress_level", 0), threads)
    with tifffile.TiffWriter(stream, bigtiff=big) as writer:
        for page in array if pages else [array]:
            writer.write(
                np.ascontiguousarray(page[..., 0] if page.shape[2:] == (1,) else page),
                photometric="rgb" if colours == 3 else "minisblack",
                planarconfig="contig" if channels > 1 else None,
                extrasamples=extra_samples or None,
                metadata=None,
                software=False,
                contiguous=False,
                **compression,
                **first_page,
            )
            first_page = {}
    if inner:
        _append_directories(stream, inner)


def _compression(dtype: np.dtype[Any], level: int, threads: int) -> dict[str, Any]:
    """Return the options by which tifffile deflates samples; none for a level of 0.

    The predictor is for types that tifffile supports by itself; for floats it needs imagecodecs.
    """
    if not level:
        return {}
    return {
        "compression": "zlib",
        "compressionargs": {"level": level},
        "predictor": dtype.kind in "iu" and dtype.itemsize < 8,
        "maxworkers": threads,
        "buffersize": _DEFLATED_AT_ONCE,
    }


def _extratag(tag: int, value: Any, offset: int) -> tuple[int, int, int | None, Any, bool]:
    """Return a tag as tifffile takes it; in place of a tag of a directory, which it cannot write, the tag before it."""
    if isinstance(value, dict):
        return tag - 1, offset, 1, 0, True
    if isinstance(value, int):
        return tag, SHORT, 1, value, True
    if tag in OF_BYTES:
        return tag, BYTE, len(value), value, True
    return tag, ASCII, None, value, True


def _append_directories(stream: BinaryIO, directories: Mapping[int, Mapping[int, Any]]) -> None:
    """Append directories to the file, and make the tags of the first page that hold their places lead to them."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    stream.seek(0)
    with import_module("tifffile").TiffFile(stream) as tiff:
        places = {tag: tiff.pages[0].tags[tag - 1] for tag in directories}
        order, big = tiff.byteorder, tiff.is_bigtiff
    head = {"<": b"II", ">": b"MM"}[order]
    head += pack(f"{order}H12x", 43) if big else pack(f"{order}H4x", 42)
    for tag, entries in directories.items():
        offset = stream.seek(0, 2)
        stream.write(bytes(offset % 2))
        offset += offset % 2
        directory = ImageFileDirectory_v2(head, group=tag)
        for name, value in entries.items():
            directory[name] = value
        stream.write(directory.tobytes(offset))
        stream.seek(places[tag].offset)
        stream.write(pack(f"{order}H", tag))
        stream.seek(places[tag].valueoffset)
        stream.write(pack(f"{order}{'Q' if big else 'I'}", offset))
