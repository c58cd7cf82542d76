"""Read and write BMP through Pillow; read here its bit fields, colour profiles and length."""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO

from numpy.typing import NDArray

from convcli.io.codec import ReadRequest, WriteRequest
from convcli.io.data import Data
from convcli.io.images import integrity
from convcli.io.images.animation import choose_frame
from convcli.io.images.bmp_bitfields import find_layout, read_pixels
from convcli.io.images.codec import Pillow
from convcli.io.images.metadata.bmp import find_damage, find_metadata, with_colours
from convcli.io.images.metadata.found import Found


class Bmp(Pillow):
    """BMP, whose header declares where its samples end."""

    self_ending = True

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        layout = find_layout(stream)
        if layout is None:
            return super().read(stream, request)
        name = request.name
        request.limits.check_pixels(name, layout.width, layout.height)
        decoding = layout.height * (layout.row_bytes + 4 * layout.width * layout.dtype.itemsize)
        request.limits.check_memory(name, decoding)
        choose_frame(request.frames, 1, name)
        found = self.find_metadata(stream)
        try:
            array = read_pixels(stream, layout)
        except ValueError as error:
            raise integrity.damaged(name, str(error), self.form.name) from error
        return self.make_data(
            array,
            request,
            alpha=array.shape[2] == 4,
            notes=(layout.note,),
            warnings=tuple(found.warnings),
            metadata=found.upright(1, layout.width, layout.height),
            decoding=decoding,
        )

    def find_damage(self, stream: BinaryIO) -> str:
        return find_damage(stream)

    def find_metadata(self, stream: BinaryIO) -> Found:
        return find_metadata(stream)

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        metadata = request.metadata
        if not metadata.icc and not metadata.parts:
            super().write(stream, array, request)
            return
        super().write(held := BytesIO(), array, request)
        stream.write(with_colours(held.getvalue(), metadata.icc, metadata.parts))
