"""Read and write PBM, PGM, PPM and PFM through Pillow, and their comments here."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.io.codec import PLAIN, WriteRequest
from convcli.io.images.codec import Pillow, channel_count
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
        """Write 8-bit samples as they are, which takes a quarter of Pillow's time; others by it."""
        comments = request.metadata.comments
        if array.dtype == np.uint8:
            height, width = array.shape[:2]
            kind = b"P6" if channel_count(array.shape) == 3 else b"P5"
            stream.write(with_comments(b"%s\n%d %d\n255\n" % (kind, width, height), comments))
            stream.write(np.ascontiguousarray(array).data)
        else:
            super().write(held := BytesIO(), array, request)
            stream.write(with_comments(held.getvalue(), comments))

    def encoding_bytes(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> int:
        """Return the bytes of Pillow's picture and of the file in memory; none for 8 bits."""
        if dtype == np.uint8:
            return 0
        return super().encoding_bytes(dtype, shape, request) + self.file_bytes(dtype, shape)
