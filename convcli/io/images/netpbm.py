"""Read and write PBM, PGM, PPM and PFM through Pillow, and their comments here."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from numpy.typing import NDArray

from convcli.io.codec import WriteRequest
from convcli.io.images.codec import Pillow
from convcli.io.images.metadata.found import Found
from convcli.io.images.metadata.netpbm import find_metadata, with_comments
from convcli.io.images.read import netpbm_largest

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile


class Netpbm(Pillow):
    """PBM, PGM, PPM or PFM; files of each may have the suffix .pnm."""

    def format_name(self, image: ImageFile) -> str:
        return {"1": "pbm", "L": "pgm", "I": "pgm", "RGB": "ppm", "F": "pfm"}.get(
            image.mode, self.form.name
        )

    def sample_bits(self, image: ImageFile, stream: BinaryIO) -> int:
        return max(netpbm_largest(image).bit_length(), 8)

    def find_metadata(self, stream: BinaryIO) -> Found:
        return find_metadata(stream)

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        if not request.metadata.comments:
            super().write(stream, array, request)
            return
        super().write(held := BytesIO(), array, request)
        stream.write(with_comments(held.getvalue(), request.metadata.comments))
