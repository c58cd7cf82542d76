"""JPEG: its settings, and a check of its end, as libjpeg decodes whatever follows a cut scan as samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from numpy.typing import NDArray

from convcli.io.codec import WriteRequest
from convcli.io.data import Metadata
from convcli.io.images.codec import Pillow
from convcli.io.images.jpeg_segments import find_segments
from convcli.io.images.metadata.found import Found
from convcli.io.images.metadata.jpeg import HEAD, find_metadata, make_segments, with_aspect
from convcli.io.images.pillow import Whole


class Jpeg(Pillow):
    """JPEG, without halving the resolution of colours, which would be one more filter."""

    def find_damage(self, stream: BinaryIO) -> str:
        """Look for the end of the image behind the last scan."""
        try:
            for _ in find_segments(stream):
                pass
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

    def settings(self, given: Mapping[str, int]) -> dict[str, Any]:
        return {"quality": 95, "subsampling": 0, **given}


class _WithAspect(Whole):
    """A stream to which Pillow writes a JPEG, and whose JFIF header tells the aspect of pixels."""

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
