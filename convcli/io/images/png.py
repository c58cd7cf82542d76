"""PNG: its chunks, an encoder for large pictures that uses all cores, and a reader of 16 bits in several channels.

Pillow's encoder uses one core, and tries five filters on every row: of the 1.8 s that `apply` takes for 4096x4096
pixels, 1.2 s. Here stripes of rows are filtered and deflated independently, each with one filter that is chosen by
deflating a few of its rows under each, and that takes 0.27 s; of large photographs and screens the file is 0.9 to 1.1
times as large::

    IHDR | IDAT 78 01 | IDAT stripe 0 ... 00 00 ff ff | IDAT stripe 1 ... 00 00 ff ff | ... | IDAT 03 00 adler32 | IEND
           zlib's head  raw deflate, ended by an empty stored block                           an empty last block

The stripes follow from the picture's shape alone, so the bytes are the same for any number of threads.
Sources: W3C, "Portable Network Graphics (PNG) Specification", 5 and 9; RFC 1950 and 1951; the sums are joined as
zlib's adler32_combine joins them.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError, brief
from convcli.io.codec import PLAIN, ReadRequest, WriteRequest
from convcli.io.data import Data, Metadata, Text
from convcli.io.formats import check_extension
from convcli.io.images import integrity
from convcli.io.images.animation import Disposal, Region, choose_frame, describe_frame
from convcli.io.images.codec import Pillow, as_frames, channel_count, measures
from convcli.io.images.integrity import BLOCK, CUT
from convcli.io.images.metadata.through_pillow import COMMENT, XMP_TEXT, read_metadata
from convcli.io.images.metadata.upright import apply_orientation, orientation_of
from convcli.io.images.pillow import DIRECTORY_ERRORS, unguarded
from convcli.io.streams import available_bytes

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile
    from PIL.PngImagePlugin import PngStream

Item = TypeVar("Item")
Result = TypeVar("Result")
Bytes = NDArray[np.uint8]


class Chunk(NamedTuple):
    """A chunk of a PNG: its type and its content."""

    kind: bytes
    content: bytes


STRIPE = 1 << 18
"""Bytes of samples in a stripe: few enough for a core's cache, and many beside the 32 KiB that deflate looks back."""

TRIED = 16
"""Of a stripe's rows, one in so many is deflated under each filter to choose one."""

HELD = 8
"""Memory of a thread, in sizes of a stripe: its samples, their neighbours, the filtered rows, the deflated ones."""

_SAMPLES = (b"IDAT", b"fdAT")  # the chunks of samples, and of those of an animation's further frames
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_DESCRIBING = {
    **dict.fromkeys((b"tEXt", b"zTXt", b"iTXt"), "text"),
    b"iCCP": "ICC profile",
    b"eXIf": "EXIF",
    b"pHYs": "density",
    b"tIME": "time",
    **{kind: kind.decode() for kind in (b"bKGD", b"cHRM", b"cICP", b"gAMA", b"hIST", b"oFFs", b"pCAL", b"sBIT")},
    **{kind: kind.decode() for kind in (b"cLLI", b"mDCV", b"sCAL", b"sPLT", b"sRGB", b"sTER")},
}
"""Chunks that say nothing of the samples, and what they hold. Source: W3C, as above, 11.3; its extensions."""

_UNREADABLE = "as it cannot be read"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: gray, gray and alpha, RGB, RGBA
_DISPOSALS = {1: Disposal.CLEAR, 2: Disposal.RESTORE}  # by the numbers of fcTL
_BASE = 65521  # Adler-32's modulus


def write_png(
    stream: BinaryIO, array: NDArray[Any], level: int = 1, threads: int = 1, chunks: Sequence[Chunk] = ()
) -> None:
    """Encode a picture (H, W) or (H, W, C) of bool, uint8 or uint16, by so many threads.

    Channels: gray, gray and alpha, RGB, RGBA; one for bool and uint16.   level: zlib's, 0 to 9.
    chunks: of metadata, which are written before the samples.

    >>> import io
    >>> from PIL import Image
    >>> write_png(file := io.BytesIO(), np.uint8([[0, 128], [255, 3]]))
    >>> np.asarray(Image.open(file)).tolist()
    [[0, 128], [255, 3]]
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    bits = {"bool": 1, "uint8": 8, "uint16": 16}[array.dtype.name]
    picture = _Picture(array, max(bits * channels // 8, 1), level)
    stream.write(_SIGNATURE)
    _write_chunk(stream, b"IHDR", struct.pack(">IIBBBBB", *array.shape[1::-1], bits, _COLOUR[channels], 0, 0, 0))
    for chunk in chunks:
        _write_chunk(stream, *chunk)
    _write_chunk(stream, b"IDAT", b"\x78\x01")
    checksum = 1
    for stripe in _map_in_order(picture.stripe, picture.starts, threads):
        _write_chunk(stream, b"IDAT", stripe.deflated)
        checksum = _combine_adler32(checksum, stripe.checksum, stripe.size)
    _write_chunk(stream, b"IDAT", b"\x03\x00" + checksum.to_bytes(4, "big"))
    _write_chunk(stream, b"IEND", b"")


def read_chunks(stream: BinaryIO, *, with_samples: bool = False) -> Iterator[Chunk]:
    """Yield the chunks of a PNG up to IEND; those of samples are checked, and come without their content by default.

    Raises ValueError where the file ends too early, or a chunk's checksum differs.
    Source: W3C, "Portable Network Graphics (PNG) Specification", 5.3.
    """
    start, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        stream.seek(start)
        head = stream.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        end = start + 12 + length
        if available_bytes(stream, end) < end:
            raise ValueError(CUT)
        stream.seek(start + 8)
        content, checksum = b"", zlib.crc32(kind)
        if kind in _SAMPLES and not with_samples:
            for done in range(0, length, BLOCK):
                checksum = zlib.crc32(stream.read(min(BLOCK, length - done)), checksum)
        else:
            content = stream.read(length)
            checksum = zlib.crc32(content, checksum)
        if checksum != int.from_bytes(stream.read(4), "big"):
            raise ValueError(f"the checksum of its chunk {kind.decode('latin-1')!r} differs")
        yield Chunk(kind, content)
        start = end


def find_unreadable(stream: BinaryIO) -> dict[range, str]:
    """Return where a PNG's chunks lie that say nothing of its samples and cannot be read, and in words what they hold.

    Those are what Pillow refuses, which would read no sample then, and what has a wrong checksum. Of a file that ends
    too early, those up to there.
    """
    from PIL.PngImagePlugin import PngStream

    found = {}
    reader = PngStream(io.BytesIO())
    start, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        stream.seek(start)
        head = stream.read(8)
        kind = head[4:]
        end = start + 12 + int.from_bytes(head[:4], "big")
        if available_bytes(stream, end) < end:
            break
        if kind in _DESCRIBING:
            stream.seek(start + 8)
            content = stream.read(end - start - 12)
            intact = stream.read(4) == zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big")
            why = _refusal(reader, Chunk(kind, content)) if intact else "as its checksum differs"
            if why:
                found[range(start, end)] = f"{_DESCRIBING[kind]} left out, {why}"
        start = end
    return found


def _refusal(reader: PngStream, chunk: Chunk) -> str:
    """Return why Pillow does not read a chunk that describes a picture, or ""; the reader adds up the texts so far."""
    from PIL import Image

    read = getattr(reader, f"chunk_{chunk.kind.decode()}", None)
    if read is None:
        return ""
    reader.fp, reader.im_info, reader.im_text = io.BytesIO(chunk.content), {}, {}
    try:
        read(0, len(chunk.content))
        image = Image.Image()
        image.info = dict(reader.im_info)
        orientation_of(image.getexif())
    except DIRECTORY_ERRORS as error:
        return "as Pillow reads none so long" if "MAX_TEXT" in str(error) else _UNREADABLE
    empty = reader.im_info.get("icc_profile") is None if chunk.kind == b"iCCP" else not reader.im_info
    return _UNREADABLE if empty else ""


def ancillary(stream: BinaryIO) -> list[Chunk]:
    """Return the chunks of a PNG besides those that hold its sizes and samples, and its palette."""
    return [chunk for chunk in read_chunks(stream) if chunk.kind not in (b"IHDR", b"PLTE", b"IDAT", b"IEND")]


def encoding_bytes(shape: tuple[int, ...], dtype: np.dtype[Any], threads: int) -> int:
    """Return the bytes that `write_png` takes at most, besides the picture and the file."""
    row = math.prod(shape[1:]) * dtype.itemsize
    return HELD * threads * min(max(STRIPE, row), row * shape[0])


def _write_chunk(stream: BinaryIO, kind: bytes, content: bytes) -> None:
    stream.write(len(content).to_bytes(4, "big") + kind)
    stream.write(content)
    stream.write(zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big"))


class _Stripe(NamedTuple):
    """The deflated rows, and the Adler-32 and the number of the bytes before that."""

    deflated: bytes
    checksum: int
    size: int


@dataclass(frozen=True, eq=False)
class _Picture:
    """A picture to encode; step: bytes from a sample to its left neighbour, at least one."""

    array: NDArray[Any]
    step: int
    level: int

    @property
    def rows(self) -> int:
        """Rows of a stripe."""
        return max(STRIPE // (math.prod(self.array.shape[1:]) * self.array.itemsize), 1)

    @property
    def starts(self) -> range:
        return range(0, len(self.array), self.rows)

    def stripe(self, start: int) -> _Stripe:
        """Return the stripe whose first row is `start`, encoded."""
        samples = _file_bytes(self.array[max(start - 1, 0) : start + self.rows])
        if start == 0:
            samples = np.concatenate([np.zeros_like(samples[:1]), samples])
        middle = len(samples) // 2
        some = samples[middle - 1 : middle + max(len(samples) // TRIED, 1)]
        filtered = min(FILTERS, key=lambda number: len(_deflate(self._filter(some, number), 1)))
        content = self._filter(samples, filtered)
        return _Stripe(_deflate(content, self.level), zlib.adler32(content), len(content))

    def _filter(self, samples: Bytes, number: int) -> memoryview:
        """Return all rows but the first, which is the one above, filtered: the filter's number, then differences."""
        rows = samples[1:]
        filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
        filtered[:, 0] = number
        np.subtract(rows, FILTERS[number](samples, self.step), out=filtered[:, 1:])
        return filtered.data.cast("B")


def _file_bytes(rows: NDArray[Any]) -> Bytes:
    """Return rows of samples as bytes of the file: bits packed, 16 bits big-endian."""
    if rows.dtype == bool:
        return np.packbits(rows.reshape(len(rows), -1), axis=1)
    wide = np.ascontiguousarray(rows, rows.dtype.newbyteorder(">"))
    return wide.reshape(len(rows), -1).view(np.uint8)


def _left_neighbours(samples: Bytes, step: int) -> Bytes:
    left = np.zeros_like(samples[1:])
    left[:, step:] = samples[1:, :-step]
    return left


def _mean(samples: Bytes, step: int) -> Bytes:
    """Return the mean of left and above, rounded down, without a wider type: the common bits, and half the others."""
    left, above = _left_neighbours(samples, step), samples[:-1]
    return (left & above) + ((left ^ above) >> 1)


FILTERS: dict[int, Callable[[Bytes, int], Bytes | int]] = {
    2: lambda samples, step: samples[:-1],
    1: _left_neighbours,
    3: _mean,
    0: lambda samples, step: 0,
}
"""What each filter predicts for samples, of which the first row is the one above. Paeth's costs more than all here."""


def _deflate(content: memoryview, level: int) -> bytes:
    """Return raw deflate data that more may follow."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    return deflate.compress(content) + deflate.flush(zlib.Z_SYNC_FLUSH)


def _combine_adler32(first: int, second: int, size: int) -> int:
    """Return the Adler-32 of two contents in a row, from that of each and the second's size.

    >>> _combine_adler32(zlib.adler32(b"con"), zlib.adler32(b"volve"), 5) == zlib.adler32(b"convolve")
    True
    """
    low, high = first & 0xFFFF, first >> 16
    sums = (low + (second & 0xFFFF) - 1) % _BASE, (high + (second >> 16) + size * (low - 1)) % _BASE
    return sums[1] << 16 | sums[0]


def _map_in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield work(item) for every item in order, by a pool that is never more than a few items ahead.

    >>> list(_map_in_order(str, range(5), 2))
    ['0', '1', '2', '3', '4']
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, "convcli-png") as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


_CHANNELS = {2: 3, 4: 2, 6: 4}
"""Channels of the colour types that have more than one, in 16 bits."""

_METADATA_KINDS = (b"iCCP", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt")


def is_deep_png(stream: BinaryIO) -> bool:
    """Return whether a header declares 16 bits a sample and several channels; the stream is left at its start.

    Source: W3C, "Portable Network Graphics (PNG) Specification", 11.2.1.
    """
    stream.seek(0)
    head = stream.read(26)
    stream.seek(0)
    return len(head) == 26 and head[12:16] == b"IHDR" and head[24] == 16 and head[25] in _CHANNELS


def _decode(content: bytes, name: str) -> NDArray[Any]:
    codecs = import_module("imagecodecs")
    try:
        return np.asarray(codecs.png_decode(content))
    except (codecs.PngError, ValueError, TypeError, RuntimeError) as error:
        raise integrity.damaged(name, brief(error), "png") from error


def _count_frames(chunks: list[Chunk]) -> int:
    """Return the frames of an animated PNG, its still image among them; 1 of a PNG that is none.

    Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 11.3.6.
    """
    animating = [chunk.kind for chunk in chunks if chunk.kind in (b"fcTL", b"fdAT")]
    return 1 + sum(pair == (b"fcTL", b"fdAT") for pair in pairwise(animating))


def _read_metadata(chunks: list[Chunk]) -> tuple[Metadata, int]:
    """Return the metadata in chunks, and the EXIF orientation, as Pillow reads them from a PNG of one pixel."""
    from PIL import Image

    kept = [chunk for chunk in chunks if chunk.kind in _METADATA_KINDS]
    write_png(small := io.BytesIO(), np.zeros((1, 1), np.uint8), chunks=kept)
    with unguarded(), Image.open(small, formats=("PNG",)) as image:
        image.load()
        orientation = orientation_of(image.getexif())
        return read_metadata(image, orientation), orientation


def _region(shared: list[Chunk], frame: list[Chunk]) -> Region:
    """Return a frame of an animation, from the chunks for all frames, and its own, the first of which is its fcTL."""
    control, *samples = frame
    _, width, height, left, top, delay, unit, disposal, blend = struct.unpack(">5IHHBB", control.content)
    picture = io.BytesIO()
    picture.write(_SIGNATURE)
    for kind, content in shared:
        own = struct.pack(">II", width, height) + content[8:] if kind == b"IHDR" else content
        _write_chunk(picture, kind, own)
    for kind, content in samples:
        _write_chunk(picture, b"IDAT", content[4:] if kind == b"fdAT" else content)
    _write_chunk(picture, b"IEND", b"")
    canvas = struct.unpack_from(">II", shared[0].content)
    if left + width > canvas[0] or top + height > canvas[1]:
        raise ValueError("a frame of its animation lies outside of it")
    duration = 1000 * delay / (unit or 100)
    return Region(
        picture.getvalue(), left, top, width, height, duration, blend == 1, _DISPOSALS.get(disposal, Disposal.KEEP)
    )


LEVEL = 1
"""The level that is used if none is given: zlib's own, 6, takes about four times as long, for about the same size."""


_LONG_TEXT = 1024  # characters, above which a PNG's text is compressed
_MAX_SHORT = 65535  # in 16 bits: the numerator and the denominator of a PNG's seconds


class Png(Pillow):
    """PNG: a large picture, or one that Pillow would cut, in stripes by all threads; all else by Pillow."""

    self_ending = True

    def find_damage(self, stream: BinaryIO) -> str:
        try:
            for kind, _ in read_chunks(stream):
                if kind[:1].isupper() and kind not in _CRITICAL:
                    return f"its chunk {kind.decode('latin-1')!r} is needed to read it, and unknown"
        except ValueError as error:
            return str(error)
        return ""

    def regions(self, image: ImageFile, stream: BinaryIO) -> Iterator[Region]:
        """Yield the frames of an animation, none of a still picture, nor a still image before them.

        Raises ValueError where their chunks are out of sequence, or a frame lies outside.
        Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 11.3.6.
        """
        if getattr(image, "n_frames", 1) == 1:
            return
        shared: list[Chunk] = []
        frame: list[Chunk] = []
        sequence = count()
        for chunk in read_chunks(stream, with_samples=True):
            if chunk.kind in (b"fcTL", b"fdAT") and chunk.content[:4] != next(sequence).to_bytes(4, "big"):
                raise ValueError("the chunks of its animation are out of sequence")
            if chunk.kind in (b"IHDR", b"PLTE", b"tRNS"):
                shared.append(chunk)
            elif chunk.kind in _SAMPLES and frame:
                frame.append(chunk)
            elif chunk.kind in (b"fcTL", b"IEND"):
                if frame:
                    yield _region(shared, frame)
                frame = [chunk]

    def sample_bits(self, image: ImageFile, stream: BinaryIO) -> int:
        return 16 if image.tile and ";16" in str(image.tile[0][3]) else 8

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        unreadable = find_unreadable(stream)
        stream.seek(0)
        if not unreadable:
            return self._read(stream, request)
        held = stream.read()
        request.limits.check_memory(request.name, 2 * len(held))
        starts = (0, *(chunk.stop for chunk in unreadable))
        ends = (*(chunk.start for chunk in unreadable), len(held))
        whole = io.BytesIO(b"".join(held[start:end] for start, end in zip(starts, ends, strict=True)))
        data = self._read(whole, request)
        left_out = tuple(dict.fromkeys(unreadable.values()))
        return replace(data, notes=data.notes + left_out, decoding=data.decoding + 2 * len(held))

    def _read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        """Return a picture whose describing chunks can all be read."""
        if not is_deep_png(stream):
            return super().read(stream, request)
        assert self.form.extension is not None
        check_extension(self.form.extension, f"{request.name} holds 16-bit samples in several channels")
        return self._read_deep(stream, request)

    def _read_deep(self, stream: BinaryIO, request: ReadRequest) -> Data:
        """Return the samples (H, W, C) of a PNG that `is_deep_png`, uint16, upright; a transparent colour is alpha.

        Of an animation, the first frame: imagecodecs takes no other. Raises FileError for others, and for a file that
        is damaged, LimitError for a header that declares more than the limits allow.
        """
        name, limits = request.name, request.limits
        if damage := self.damage(stream):
            raise integrity.damaged(name, damage, "png")
        content = stream.read()
        width, height = struct.unpack_from(">II", content, 16)
        limits.check_pixels(name, width, height)
        limits.check_memory(name, 2 * len(content))
        chunks = ancillary(stream)
        frames = _count_frames(chunks)
        if choose_frame(request.frames, frames, name) or (request.frames == "all" and frames > 1):
            raise FileError(
                f"{name} has {frames} frames of 16-bit samples in several channels",
                "of such, the first alone can be read",
                "leave --frames out, or save it with 8 bits",
            )
        metadata, orientation = _read_metadata(chunks)
        channels = _CHANNELS[content[25]]
        samples = 2 * width * height * (channels + 1) * (2 if orientation > 1 else 1)
        decoding = len(content) + max(samples, len(content))
        limits.check_memory(name, decoding)
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
            metadata=metadata,
            decoding=decoding,
        )

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        if not in_stripes(array.dtype, array.shape):
            super().write(stream, array, request)
            return
        from PIL import Image

        # Pillow says how metadata is written, in a PNG of one pixel.
        height, width = array.shape[:2]
        given = self.encoder_options(width, height, request)
        Image.new("L", (1, 1)).save(small := io.BytesIO(), self.form.pillow, **given)
        native = as_frames(array)[0]
        write_png(stream, native, given["compress_level"], request.threads, ancillary(small))

    def prepare(self, image: ImageFile) -> None:
        """Scale the transparent level of 2 or 4 bits, whose samples Pillow scales to 8."""
        raw = str(image.tile[0][3]) if image.tile else ""
        if raw in ("L;2", "L;4") and "transparency" in image.info:
            image.info["transparency"] *= 255 // (2 ** int(raw[-1]) - 1)

    def metadata_options(self, metadata: Metadata, width: int, height: int) -> dict[str, Any]:
        given = super().metadata_options(metadata, width, height)
        if metadata.timing:
            given["duration"] = [_duration(duration) for duration in metadata.timing.durations]
        return {**given, "pnginfo": _text_chunks(metadata)}

    def settings(self, given: Mapping[str, int]) -> dict[str, Any]:
        return {"compress_level": LEVEL, **given}

    def encoding_bytes(self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN) -> int:
        """Bytes of the stripes; or those of Pillow, which holds what differs from the frame before once more."""
        if in_stripes(dtype, shape):
            return encoding_bytes(shape, dtype, request.threads)
        frames, pixels, channels = measures(shape)
        pillow = super().encoding_bytes(dtype, shape, request)
        if frames == 1:
            return pillow
        return pillow + pixels * frames * (1 if channels == 1 else 4)


def in_stripes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Return whether such an array is one picture of more than one stripe, or of samples that Pillow would cut."""
    if len(shape) > 3:
        return False
    return math.prod(shape) * dtype.itemsize > STRIPE or (dtype == np.uint16 and channel_count(shape) > 1)


def _text_chunks(metadata: Metadata) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for text in _texts(metadata):
        zipped = len(text.value) > _LONG_TEXT
        if text.language or text.translated:
            info.add_itxt(text.keyword, text.value, text.language, text.translated, zipped)
        else:
            info.add_text(text.keyword, text.value, zipped)
    if metadata.xmp:
        info.add_itxt(XMP_TEXT, metadata.xmp.decode("utf-8", "replace"))
    return info if info.chunks else None


def _texts(metadata: Metadata) -> Iterator[Text]:
    yield from metadata.text
    for comment in metadata.comments:
        yield Text(COMMENT, _as_text(comment))


def _as_text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _duration(duration: float) -> float:
    """Return the nearest milliseconds that a PNG holds: a fraction of seconds, of two numbers of 16 bits.

    >>> _duration(41.7), _duration(70_004), _duration(1e9)
    (41.7, 70000, 65535000)
    """
    if duration <= _MAX_SHORT:
        return duration
    step = next((step for step in (10, 100, 1000) if duration <= step * _MAX_SHORT), 1000)
    return min(round(duration / step), _MAX_SHORT) * step
