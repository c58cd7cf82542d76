"""Read PNG by Pillow, or 16 bits in several channels by imagecodecs; write it.

Large pictures are written in stripes by `png_encode`, others by Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError, brief
from convcli.io.codec import PLAIN, ReadRequest, WriteRequest
from convcli.io.data import Data, Metadata, Timing
from convcli.io.formats import check_extension
from convcli.io.images import integrity
from convcli.io.images.animation import Region, choose_frame, describe_frame
from convcli.io.images.codec import Pillow, as_frames, channel_count, measures
from convcli.io.images.indexed import shared_palette
from convcli.io.images.metadata.found import Found
from convcli.io.images.metadata.png import find_metadata, make_chunks
from convcli.io.images.metadata.upright import apply_orientation
from convcli.io.images.pillow import Whole
from convcli.io.images.png_chunks import (
    CRITICAL,
    HEAD,
    Chunk,
    ancillary,
    count_frames,
    deep_channels,
    read_chunks,
    read_regions,
    size_of,
    write_chunk,
)
from convcli.io.images.png_encode import STRIPE, encoding_bytes, write_png
from convcli.io.images.png_indexed import write_indexed_png

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

LEVEL = 1
"""The default compression level; zlib's own, 6, takes four times as long for a similar size."""


_LAST_HEAD = bytes(4) + b"IEND"
_MAX_SHORT = 65535  # the largest numerator and denominator of a frame's delay in seconds, 16 bits


class Png(Pillow):
    """PNG: pictures that are large, or that Pillow would cut, in stripes; all others by Pillow."""

    self_ending = True

    def find_damage(self, stream: BinaryIO) -> str:
        try:
            for kind, _ in read_chunks(stream):
                if kind[:1].isupper() and kind not in CRITICAL:
                    return f"its chunk {kind.decode('latin-1')!r} is needed to read it, and unknown"
        except ValueError as error:
            return str(error)
        return ""

    def regions(self, image: ImageFile, stream: BinaryIO) -> Iterator[Region]:
        return read_regions(stream) if getattr(image, "n_frames", 1) > 1 else iter(())

    def find_metadata(self, stream: BinaryIO) -> Found:
        return find_metadata(stream)

    def sample_bits(self, image: ImageFile, stream: BinaryIO) -> int:
        return 16 if image.tile and ";16" in str(image.tile[0][3]) else 8

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        channels = deep_channels(stream)
        if not channels:
            return super().read(stream, request)
        assert self.form.extension is not None
        check_extension(
            self.form.extension, f"{request.name} holds 16-bit samples in several channels"
        )
        return self._read_deep(stream, request, channels)

    def _read_deep(self, stream: BinaryIO, request: ReadRequest, channels: int) -> Data:
        """Read the samples (H, W, C) of a PNG of 16 bits as uint16, upright.

        A transparent colour becomes alpha. Of an animation, imagecodecs reads only the first frame.
        Raises FileError for other frames and for a damaged file, LimitError for a header that
        declares more than the limits allow.
        """
        name, limits = request.name, request.limits
        found = self.find_metadata(stream)
        stream = found.view(stream, name, limits)
        if damage := self.damage(stream):
            raise integrity.damaged(name, damage, "png")

        # Check the limits and the requested frame.
        content = stream.read()
        width, height = size_of(content)
        limits.check_pixels(name, width, height)
        limits.check_memory(name, 2 * len(content))
        frames = count_frames(ancillary(stream))
        if choose_frame(request.frames, frames, name) or (request.frames == "all" and frames > 1):
            raise FileError(
                f"{name} has {frames} frames of 16-bit samples in several channels",
                "of such, the first alone can be read",
                "leave --frames out, or save it with 8 bits",
            )
        orientation = found.orientation
        samples = 2 * width * height * (channels + 1) * (2 if orientation > 1 else 1)
        decoding = len(content) + max(samples, len(content))
        limits.check_memory(name, decoding)

        # Decode, and describe what was done.
        array = _decode(content, name)
        notes = (
            describe_frame(0, frames),
            "transparent colour made alpha" if array.shape[2] > channels else "",
            "EXIF orientation applied" if orientation > 1 else "",
        )
        return self.make_data(
            np.ascontiguousarray(apply_orientation(array, orientation)),
            request,
            mode={2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}[array.shape[2]],
            alpha=array.shape[2] in (2, 4),
            notes=tuple(filter(None, notes)),
            warnings=tuple(found.warnings),
            held=frames,
            metadata=found.upright(orientation, width, height),
            decoding=decoding,
        )

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        height, width = array.shape[array.ndim == 4 :][:2]
        first, last = make_chunks(request.metadata, width, height)
        frames = list(as_frames(array))
        if request.compact and (palette := shared_palette(frames)):
            timing = request.metadata.timing or Timing((0.0,) * len(frames), 1)
            write_indexed_png(stream, frames, palette, timing, first, last)
            return
        if not in_stripes(array.dtype, array.shape):
            super().write(cast("BinaryIO", _WithChunks(stream, first, last)), array, request)
            return
        level = self.settings(request.settings)["compress_level"]
        write_png(stream, frames[0], level, request.threads, first, last)

    def prepare(self, image: ImageFile) -> None:
        """Scale the transparent level of 2 or 4 bits, as Pillow scales only the samples to 8."""
        raw = str(image.tile[0][3]) if image.tile else ""
        if raw in ("L;2", "L;4") and "transparency" in image.info:
            image.info["transparency"] *= 255 // (2 ** int(raw[-1]) - 1)

    def metadata_options(self, metadata: Metadata, width: int, height: int) -> dict[str, Any]:
        """Return the timing of an animation; `make_chunks` writes all other metadata."""
        if not metadata.timing:
            return {}
        durations = [_duration(duration) for duration in metadata.timing.durations]
        return {"duration": durations, "loop": metadata.timing.plays}

    def settings(self, given: Mapping[str, int]) -> dict[str, Any]:
        return {"compress_level": LEVEL, **given}

    def encoding_bytes(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> int:
        """Return the bytes of the stripes, or of Pillow with its copies of changed areas."""
        if in_stripes(dtype, shape):
            return encoding_bytes(shape, dtype, request.threads)
        frames, pixels, channels = measures(shape)
        pillow = super().encoding_bytes(dtype, shape, request)
        if frames == 1:
            return pillow
        return pillow + pixels * frames * (1 if channels == 1 else 4)


def in_stripes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Return whether an array is one picture larger than a stripe, or one that Pillow would cut."""
    if len(shape) > 3:
        return False
    is_cut = dtype == np.uint16 and channel_count(shape) > 1
    return is_cut or math.prod(shape) * dtype.itemsize > STRIPE


class _WithChunks(Whole):
    """A stream to which Pillow writes a PNG; it adds chunks after the first and before the last."""

    def __init__(self, stream: BinaryIO, first: Sequence[Chunk], last: Sequence[Chunk]) -> None:
        super().__init__(stream)
        self.write = self._write
        self._stream = stream
        self._first = first
        self._last = last
        self._written = 0

    def _write(self, content: Any) -> int:
        if content == _LAST_HEAD:
            for chunk in self._last:
                write_chunk(self._stream, *chunk)
        written = self._stream.write(content)
        self._written += len(content)
        if self._written == HEAD:
            for chunk in self._first:
                write_chunk(self._stream, *chunk)
        return written


def _decode(content: bytes, name: str) -> NDArray[Any]:
    codecs = import_module("imagecodecs")
    try:
        return np.asarray(codecs.png_decode(content))
    except (codecs.PngError, ValueError, TypeError, RuntimeError) as error:
        raise integrity.damaged(name, brief(error), "png") from error


def _duration(duration: float) -> float:
    """Round milliseconds to what a PNG holds: seconds as a fraction of two 16-bit numbers.

    >>> _duration(41.7), _duration(70_004), _duration(1e9)
    (41.7, 70000, 65535000)
    """
    if duration <= _MAX_SHORT:
        return duration
    step = next((step for step in (10, 100, 1000) if duration <= step * _MAX_SHORT), 1000)
    return min(round(duration / step), _MAX_SHORT) * step
