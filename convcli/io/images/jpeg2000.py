"""Read JPEG 2000: samples of any depth as stored, those of 8 and 16 bits through Pillow.

Pillow shifts samples of other depths to the left, offsets signed ones to be unsigned, and looks up
palettes after that. This is undone if it lost nothing; else imagecodecs decodes the codestream.
"""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.errors import DtypeError, brief
from convcli.io.codec import ReadRequest
from convcli.io.data import Data
from convcli.io.formats import Extension, check_extension
from convcli.io.images import integrity
from convcli.io.images.animation import choose_frame
from convcli.io.images.codec import Pillow, unpremultiply
from convcli.io.images.integrity import BLOCK, CUT
from convcli.io.images.jpeg2000_header import (
    CIELAB,
    CMYK,
    FRONT_BYTES,
    SOC_SIZ,
    SYCC,
    Component,
    Header,
    Sizes,
    read_header,
    read_sizes,
)
from convcli.io.images.metadata.found import Found
from convcli.io.images.metadata.jp2 import find_metadata
from convcli.io.images.pillow import DECODING_ERRORS, load_plugin, unguarded
from convcli.io.images.read import stored_bytes

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_SAMPLE_BYTES = 4  # bytes per sample in OpenJPEG
_EOC = b"\xff\xd9"  # the marker that ends a codestream
_BY_PACKAGE = Extension("png16", {})
"""The extra that installs imagecodecs."""


class Jpeg2000(Pillow):
    """JPEG 2000, as a codestream or in boxes."""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        header = read_header(stream)
        if header is None or header.is_plain:
            return super().read(stream, request)
        name, sizes = request.name, header.sizes
        choose_frame(request.frames, 1, name)
        request.limits.check_pixels(name, sizes.width, sizes.height)
        size = stream.seek(0, 2)
        samples = sizes.width * sizes.height * max(len(header.channels), len(sizes.components))
        decoding = size + samples * _working_bytes(header)
        request.limits.check_decoding(name, decoding, lambda most: size)
        if damage := self.damage(stream):
            raise integrity.damaged(name, damage, self.form.name)

        stream.seek(header.start)
        components = _decode(header, stream.read(), name)
        array, alpha, notes = _picture(header, components, name)
        found = self.find_metadata(stream)
        return self.make_data(
            array,
            request,
            alpha=alpha,
            notes=notes,
            warnings=tuple(found.warnings),
            metadata=found.upright(1, sizes.width, sizes.height),
            decoding=decoding,
        )

    def find_metadata(self, stream: BinaryIO) -> Found:
        return find_metadata(stream)

    def find_damage(self, stream: BinaryIO) -> str:
        """Look for the end marker; packets hold no marker above FF 8F (ISO/IEC 15444-1, A.4.4)."""
        tail = b""
        while block := stream.read(BLOCK):
            if _EOC in tail + block:
                return ""
            tail = block[-1:]
        return CUT

    def sample_bits(self, image: ImageFile, stream: BinaryIO) -> int:
        sizes = _find_sizes(stream)
        return max(each.bits for each in sizes.components) if sizes else 8

    def decoding_bytes(self, image: ImageFile, stream: BinaryIO) -> int:
        """Add the samples of a tile, which OpenJPEG frees before Pillow copies its own."""
        sizes = _find_sizes(stream)
        pixels = tile = image.width * image.height
        if sizes:
            tile = min(sizes.tile[0], image.width) * min(sizes.tile[1], image.height)
        stored = stored_bytes(image)
        decoder = tile * len(image.getbands()) * (_SAMPLE_BYTES + min(stored, 2))
        return max(super().decoding_bytes(image, stream), pixels * stored + decoder)


def _working_bytes(header: Header) -> int:
    """Return the most bytes per sample that reading by components takes, as measured.

    They include OpenJPEG's samples and all copies.
    """
    _, alpha, _ = header.ordered()
    if header.colour_space == SYCC:
        return 33
    is_scaled = alpha or len({header.depth(channel) for channel in header.channels}) > 1
    return 25 if is_scaled or header.palette is not None else 14


def _find_sizes(stream: BinaryIO) -> Sizes | None:
    """Return the sizes that a file declares, None if it has none; keeps the stream's position."""
    before = stream.tell()
    stream.seek(0)
    segment = stream.read(FRONT_BYTES).partition(SOC_SIZ)[2]
    stream.seek(before)
    try:
        return read_sizes(segment)
    except ValueError:
        return None


def _decode(header: Header, codestream: bytes, name: str) -> NDArray[Any]:
    """Decode the values (H, W, components) of a codestream as stored.

    Raises DtypeError for components of different sizes, or of kinds that neither Pillow nor
    imagecodecs decodes.
    """
    components = header.sizes.components
    most = max(each.bits for each in components)
    if any(each.steps != (1, 1) for each in components):
        raise DtypeError(
            f"{name} holds channels of different sizes",
            "expected one size",
            "convert it to .png first",
        )
    if (most <= 8 and len(components) <= 4) or (most <= 16 and len(components) == 1):
        return _decode_by_pillow(components, codestream, name)
    held = f"{name} holds {most}-bit samples in {len(components)} channels"
    if len({(each.bits, each.signed) for each in components}) > 1:
        raise DtypeError(
            held, "of different depths; expected one depth", "convert it to .tiff first"
        )
    check_extension(_BY_PACKAGE, held)
    try:
        decoded: NDArray[Any] = import_module("imagecodecs").jpeg2k_decode(codestream)
    except Exception as error:  # imagecodecs' errors are of several kinds
        raise integrity.damaged(name, brief(error), "jp2") from error
    return decoded.reshape(*decoded.shape[:2], -1)


def _decode_by_pillow(
    components: tuple[Component, ...], codestream: bytes, name: str
) -> NDArray[Any]:
    """Decode a codestream by Pillow, and undo its shift to 8 or 16 bits and its offset."""
    from PIL import Image

    load_plugin("JPEG2000")
    try:
        with unguarded(), Image.open(BytesIO(codestream), formats=("JPEG2000",)) as image:
            filled = np.asarray(image)
    except DECODING_ERRORS as error:
        raise integrity.damaged(name, brief(error), "jp2") from error
    values = filled.reshape(*filled.shape[:2], -1).astype(np.int32)
    for channel, each in enumerate(components):
        values[..., channel] >>= 8 * filled.itemsize - each.bits
        values[..., channel] += each.limits[0]
    return values


def _picture(
    header: Header, values: NDArray[Any], name: str
) -> tuple[NDArray[Any], bool, tuple[str, ...]]:
    """Return the picture (H, W) or (H, W, C), whether it ends in alpha, and notes.

    Values stay as stored, except that those of a picture with alpha, or with channels of different
    depths, are scaled to the whole range of 8 or 16 bits. Raises DtypeError for CMYK and CIELab.
    """
    order, alpha, premultiplied = header.ordered()
    channels = [header.channels[number] for number in order]
    depths = [header.depth(channel) for channel in channels]
    planes = [values[..., channel.component] for channel in channels]
    notes = []

    # Look up the palette.
    if header.palette is not None:
        last = len(header.palette.colours) - 1
        columns = [
            None if channel.column is None else header.palette.colours[:, channel.column]
            for channel in channels
        ]
        planes = [
            plane if column is None else column[np.clip(plane, 0, last)]
            for plane, column in zip(planes, columns, strict=True)
        ]
        notes.append("palette expanded")

    # Convert or refuse colours that are not RGB.
    if header.colour_space in (CMYK, CIELAB):
        space = {CMYK: "CMYK", CIELAB: "CIELab"}[header.colour_space]
        raise DtypeError(
            f"{name} holds {space} samples", "expected gray or RGB", "convert it first"
        )
    if header.colour_space == SYCC and len(planes) - alpha == 3:
        planes[:3] = _to_rgb(planes[:3], depths[:3])
        depths[:3] = [Component(depths[0].bits, signed=False)] * 3
        notes.append("YCbCr converted to RGB")

    if alpha or len(set(depths)) > 1:
        planes, scale = _scale(planes, depths, name)
        notes.append(scale)
    elif depths[0] not in (Component(8, signed=False), Component(16, signed=False)):
        notes.append(
            f"{'signed ' if depths[0].signed else ''}{depths[0].bits}-bit values as stored"
        )
    array = np.stack(planes, axis=-1).astype(_smallest_type(depths))
    if premultiplied:
        array = unpremultiply(array, 8 * array.itemsize)
        notes.append("alpha unpremultiplied")
    return array if array.shape[2] > 1 else array[..., 0], alpha, tuple(filter(None, notes))


def _to_rgb(planes: list[NDArray[Any]], depths: list[Component]) -> list[NDArray[Any]]:
    """Convert luma and chroma (sYCC) to red, green and blue.

    Source: ISO/IEC 15444-1, I.5.3.3; IEC 61966-2-1, Annex F.
    """
    luma = planes[0].astype(np.float64)
    chroma = zip(planes[1:], depths[1:], strict=True)
    blue, red = (plane - (0.0 if each.signed else 2.0 ** (each.bits - 1)) for plane, each in chroma)
    colours = (luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue)
    return [np.clip(np.rint(colour), *depths[0].limits).astype(np.int64) for colour in colours]


def _scale(
    planes: list[NDArray[Any]], depths: list[Component], name: str
) -> tuple[list[NDArray[Any]], str]:
    """Scale planes to the whole range of 8 or 16 bits; return them and a note, "" if unchanged."""
    if any(each.signed for each in depths):
        raise DtypeError(
            f"{name} holds signed samples beside others or alpha",
            "expected one kind",
            "convert it first",
        )
    top = 255 if max(each.bits for each in depths) <= 8 else 65535
    tops = [each.limits[1] for each in depths]
    scaled = [
        np.rint(plane * (top / most)).astype(np.int64)
        for plane, most in zip(planes, tops, strict=True)
    ]
    words = ", ".join(f"0..{most}" for most in dict.fromkeys(tops))
    return scaled, f"values scaled from {words} to 0..{top}" if set(tops) != {top} else ""


def _smallest_type(depths: list[Component]) -> str:
    bits = max(each.bits for each in depths)
    size = next(size for size in (8, 16, 32, 64) if bits <= size)
    return f"{'int' if any(each.signed for each in depths) else 'uint'}{size}"
