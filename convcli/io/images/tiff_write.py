"""Write a TIFF through tifffile: dtypes, channels and pages that Pillow does not write."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.io.formats import NONE
from convcli.limits import startable_threads

_BIG = 2**32 - 2**25  # bytes of samples above which offsets may exceed 32 bits
_DEFLATED_AT_ONCE = 2**24  # bytes of samples that are deflated at a time


def encoding_bytes(size: int, settings: Mapping[str, int] = NONE) -> int:
    """Return the most bytes that `write_tiff` takes besides the file and the array of `size`."""
    return min(size, 2 * _DEFLATED_AT_ONCE) if settings.get("compress_level") else size


def write_tiff(
    stream: BinaryIO,
    array: NDArray[Any],
    settings: Mapping[str, int] = NONE,
    threads: int = 1,
    *,
    alpha: bool,
    pages: bool,
) -> None:
    """Encode a picture (H, W) or (H, W, C), or `pages` of them along the first axis.

    settings: with a `compress_level` above 0 the samples are deflated, integers as differences
    along their row, by all threads; the bytes are the same for any number of threads. Else the
    samples of pages are contiguous, as ImageJ expects. Above 4 GiB the file is a BigTIFF.
    """
    tifffile = import_module("tifffile")
    channels = array.shape[2 + pages] if array.ndim == 3 + pages else 1
    colours = 3 if channels in (3, 4) else 1
    extra_samples = ["unassalpha" if alpha else "unspecified"] * (channels - colours)

    big = array.nbytes > _BIG
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
                contiguous=not compression,
                **compression,
            )


def _compression(dtype: np.dtype[Any], level: int, threads: int) -> dict[str, Any]:
    """Return the options with which tifffile deflates samples; none for a level of 0.

    The predictor is used only for dtypes that need no imagecodecs: integers below 64 bits.
    """
    if not level:
        return {}
    return {
        "compression": "zlib",
        "compressionargs": {"level": level},
        "predictor": dtype.kind in "iu" and dtype.itemsize < 8,
        "maxworkers": startable_threads(threads),
        "buffersize": _DEFLATED_AT_ONCE,
    }
