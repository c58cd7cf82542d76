"""Read and write JPEG through Pillow, and check its end.

libjpeg decodes the bytes that follow a cut scan as samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, BinaryIO, cast

from numpy.typing import NDArray

from convcli.errors import DtypeError, FileError
from convcli.io.codec import ReadRequest, WriteRequest
from convcli.io.data import Data, Metadata
from convcli.io.images.codec import Pillow
from convcli.io.images.jpeg_segments import START_OF_SCAN, find_segments
from convcli.io.images.jpeg_tables import find_tables
from convcli.io.images.metadata.found import Found
from convcli.io.images.metadata.jpeg import HEAD, find_metadata, make_segments, with_aspect
from convcli.io.images.pillow import Whole

_CODINGS = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2), ""),
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless coding"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "hierarchical coding"),
    **dict.fromkeys((0xC9, 0xCA), "arithmetic coding"),
}
"""The coding of a frame by its marker; "" for those that every decoder reads."""

_MOST_SCANS = 100
"""The most scans that are decoded; libjpeg writes at most 12 of its own."""


class Jpeg(Pillow):
    """JPEG, without chroma subsampling, which would be one more filter."""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        try:
            data = super().read(stream, request)
        except FileError as error:
            coding = "" if self.damage(stream) else _find_coding(stream)
            if not coding:
                raise
            given = f"{request.name} is a JPEG of {coding}"
            raise DtypeError(
                given, "which Pillow does not decode", "convert it first, such as by djpeg"
            ) from error
        return replace(data, encoding=find_tables(stream))

    def find_damage(self, stream: BinaryIO) -> str:
        """Look for the end of the image after the last scan, and count the scans.

        Decoding takes time for every scan of a picture, even for one without content.
        """
        try:
            scans = sum(each.marker == START_OF_SCAN for each in find_segments(stream))
            if scans > _MOST_SCANS:
                return f"it has {scans:,} scans, of which at most {_MOST_SCANS} are read"
        except ValueError as error:
            return str(error)
        return ""

    def find_metadata(self, stream: BinaryIO) -> Found:
        return find_metadata(stream)

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        if aspect := request.metadata.aspect:
            stream = cast("BinaryIO", _WithAspect(stream, aspect))
        super().write(stream, array, request)

    def metadata_options(self, metadata: Metadata, width: int, height: int) -> dict[str, Any]:
        return {"dpi": metadata.density, "extra": make_segments(metadata, width, height)}

    def encoder_options(self, width: int, height: int, request: WriteRequest) -> dict[str, Any]:
        encoding = {} if request.encoding is None else request.encoding.options
        return {**super().encoder_options(width, height, request), **encoding}

    def settings(self, given: Mapping[str, int]) -> dict[str, Any]:
        return {"quality": 95, "subsampling": 0, **given}


def _find_coding(stream: BinaryIO) -> str:
    """Describe a coding that Pillow decodes only in part or not at all, or return "".

    Source: ITU-T T.81, table B.1.
    """
    try:
        frame = next(segment for segment in find_segments(stream) if segment.marker in _CODINGS)
        bits = frame.read(stream)[:1]
    except (ValueError, StopIteration):
        return ""
    if coding := _CODINGS[frame.marker]:
        return coding
    return f"{bits[0]}-bit samples" if bits > b"\x08" else ""


class _WithAspect(Whole):
    """A stream to which Pillow writes a JPEG, which puts the pixel aspect into the JFIF header."""

    def __init__(self, stream: BinaryIO, aspect: tuple[float, float]) -> None:
        super().__init__(stream)
        self.write = self._write
        self._stream = stream
        self._aspect = aspect
        self._held = b""

    def _write(self, content: Any) -> int:
        if len(self._held) >= HEAD:
            return self._stream.write(content)
        self._held += content
        if len(self._held) >= HEAD:
            self._stream.write(with_aspect(self._held[:HEAD], self._aspect) + self._held[HEAD:])
        return len(content)
