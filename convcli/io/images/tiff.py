"""Read and write TIFF: through Pillow what that reads right, all else through tifffile.

The latter needs tifffile, and imagecodecs for compressed samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.errors import DtypeError, InputError, LimitError, brief, one_line
from convcli.io.codec import PLAIN, ReadRequest, WriteRequest
from convcli.io.data import Data, Header, Kind, Metadata
from convcli.io.formats import check_extension, has, missing_extension, muted
from convcli.io.images.animation import VOLUME_NOTE, choose_frame, describe_frame, is_volume
from convcli.io.images.codec import Pillow, measures
from convcli.io.images.directory import INNER, add_tags, read_head
from convcli.io.images.integrity import CUT
from convcli.io.images.metadata.tiff_tags import (
    is_stack,
    nodata_of,
    read_tiff_metadata,
    tiff_tags,
    without_stack,
)
from convcli.io.images.modes import MODES
from convcli.io.images.tiff_colour import (
    JPEG,
    describe_conversion,
    describe_loss,
    misread_colours,
    scale_bits,
)
from convcli.io.images.tiff_directories import (
    COLOR_MAP,
    COMPRESSION,
    DEFLATE,
    EXTRA,
    FILL_ORDER,
    FLOAT,
    GRAY,
    LOWEST_BIT_FIRST,
    PHOTOMETRIC,
    PLANAR,
    RGB,
    SAMPLES,
    SEPARATE,
    SIGNED,
    TILE_LENGTH,
    TILE_WIDTH,
    UNCOMPRESSED,
    UNSIGNED,
    WHITE_IS_ZERO,
    as_tuple,
    count_images,
    count_pages,
    damaged,
    find_broken_deflate,
    read_pages,
    readable_directories,
    sample_type,
    strips_and_tiles,
)
from convcli.io.images.tiff_pages import (
    PREMULTIPLIED,
    STRAIGHT,
    check_pages,
    extra_sample,
    read_page,
)
from convcli.io.images.tiff_survey import Survey, copied_bytes, hide, survey
from convcli.io.images.tiff_write import encoding_bytes, write_tiff
from convcli.options import Frames

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_DEEPEST = 32  # most bytes per pixel: four samples of 64 bits
_COREL_ALPHA = 999  # the number of an extra sample that Corel Draw writes
_KEPT_WHOLE = {(12, UNSIGNED), (16, UNSIGNED), (16, SIGNED), (32, SIGNED), (32, FLOAT)}
"""Bits and kinds of samples in one channel above 8 bits that Pillow does not cut."""
_LIBTIFF = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32809, 32946, 34925, 50000)
"""The compressions that Pillow's own libtiff decompresses."""
_COMPRESSIONS = {
    5: "LZW",
    **dict.fromkeys((6, 7, 33007, 34892), "JPEG"),
    **dict.fromkeys((8, 32946), "Deflate"),
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    **dict.fromkeys((50000, 34926), "Zstandard"),
    **dict.fromkeys((50001, 34927), "WebP"),
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    34887: "LERC",
    34925: "LZMA",
    34933: "PNG",
}
"""Names of compressions, for messages. Source: tifffile.COMPRESSION."""


def _name_compression(number: int) -> str:
    return _COMPRESSIONS.get(number, f"compression {number}")


def beyond_pillow(stream: BinaryIO, frames: Frames, *, widened: bool) -> str:
    """Describe the samples of a requested page that Pillow misreads, cuts or refuses, or return "".

    widened: report also what Pillow reads right, but as a wider dtype. Damage is not reported.
    Leaves the stream at its start.
    """
    try:
        head = read_head(stream)
        if head.big:
            return "BigTIFF"
        first = frames if isinstance(frames, int) else 0
        wanted = islice(read_pages(stream), first, None if frames == "all" else first + 1)
        refusals = (_refuse_page(page.tags, head.order == ">", widened) for page in wanted)
        return next(filter(None, refusals), "")
    except Exception:  # damage of any kind, which Pillow reports when it opens the file
        return ""
    finally:
        stream.seek(0)


def _refuse_page(tags: Mapping[int, Any], big_endian: bool, widened: bool) -> str:
    """Describe the samples of a page that Pillow misreads, cuts or refuses, or return ""."""
    bits, kind = sample_type(tags)
    compression, photometric = tags.get(COMPRESSION, UNCOMPRESSED), tags.get(PHOTOMETRIC)
    if compression not in _LIBTIFF:
        return f"samples of {_name_compression(compression)}"
    samples = int(tags.get(SAMPLES, 1))
    if colours := misread_colours(tags, bits, samples):
        return colours
    if bits < 8 or (bits == 8 and photometric not in (WHITE_IS_ZERO, GRAY, RGB)):
        return ""
    if bits == 8:
        return "signed 8-bit samples" if kind == SIGNED else _refuse_bands(tags, samples)

    # libtiff swaps the bytes of decompressed samples; Pillow expects that only of unsigned 16 bits.
    swapped_twice = big_endian and compression != UNCOMPRESSED and (bits, kind) != (16, UNSIGNED)
    inverted = photometric == WHITE_IS_ZERO and kind != FLOAT
    lossless_jpeg = compression == JPEG and bits > 12
    reversed_bits = tags.get(FILL_ORDER) == LOWEST_BIT_FIRST
    packed = bits == 12 and big_endian
    wider = widened and (bits, kind) == (16, SIGNED)
    refused = swapped_twice or inverted or reversed_bits or packed or wider or lossless_jpeg
    if samples == 1 and (bits, kind) in _KEPT_WHOLE and not refused:
        return ""

    # Describe what Pillow refuses.
    word = {SIGNED: "signed ", FLOAT: "floating "}.get(kind, "")
    ends = {
        f" in {samples} channels": samples > 1,
        ", compressed and big-endian": samples == 1 and swapped_twice,
        ", white as 0": inverted,
    }
    return f"{word}{bits}-bit samples{''.join(end for end, applies in ends.items() if applies)}"


def _refuse_bands(tags: Mapping[int, Any], samples: int) -> str:
    """Describe the 8-bit samples that Pillow would drop, truncate or refuse, or return ""."""
    colours = 3 if tags.get(PHOTOMETRIC) == RGB else 1
    extra = as_tuple(tags.get(EXTRA, ()))
    planar = tags.get(PLANAR) == SEPARATE
    if samples == colours:
        return ""
    if extra == (PREMULTIPLIED,):
        return "premultiplied alpha"
    is_rgba = colours == 3 and samples == 4 and extra in ((), (STRAIGHT,), (_COREL_ALPHA,))
    is_gray_alpha = colours == 1 and samples == 2 and extra == (STRAIGHT,) and not planar
    if is_rgba or (is_gray_alpha and tags.get(PHOTOMETRIC) == GRAY):
        return ""
    return f"8-bit samples in {samples} channels"


def _needs_no_alpha(dtype: np.dtype[Any], channels: int, request: WriteRequest) -> bool:
    """Return whether Pillow would write a last channel as alpha although it is not alpha."""
    return dtype == np.uint8 and channels in (2, 4) and not request.alpha


class Tiff(Pillow):
    """TIFF: volumes, deflated output and what Pillow cuts or refuses by tifffile; else Pillow."""

    ends_in_alpha = False

    def find_damage(self, stream: BinaryIO) -> str:
        """Check the directories and the samples of every page, also of those not requested."""
        return survey(stream).damage

    def count_frames(self, image: ImageFile, stream: BinaryIO) -> int:
        """Count directories; Pillow refuses to count those of a file with a transparency mask."""
        position = stream.tell()
        count = sum(1 for _ in readable_directories(stream))
        stream.seek(position)
        return count

    def find_broken_piece(self, image: ImageFile, stream: BinaryIO) -> str:
        tags: Any = getattr(image, "tag_v2", {})
        if tags.get(COMPRESSION) not in DEFLATE:
            return ""
        # Tiles may exceed the edges of the picture.
        limit = 2 * (image.width + 4096) * (image.height + 4096) * _DEEPEST
        return find_broken_deflate(stream, strips_and_tiles(tags), limit)

    def prepare(self, image: ImageFile) -> None:
        """Correct a palette of 8-bit values, which Pillow divides by 256 as if of 16 bits.

        Also remove the pointers to EXIF directories, which `read_tiff_metadata` reads.
        """
        from PIL import ImagePalette

        exif = image.getexif()
        for tag in INNER[None]:
            if tag in exif:
                del exif[tag]
        colours = as_tuple(getattr(image, "tag_v2", {}).get(COLOR_MAP, ()))
        if image.mode in ("P", "PA") and colours and max(colours) < 256:
            image.palette = ImagePalette.raw("RGB;L", bytes(colours))

    def decoding_bytes(self, image: ImageFile, stream: BinaryIO) -> int:
        tags: Any = getattr(image, "tag_v2", {})
        bits, _ = sample_type(tags)
        side = int(tags.get(TILE_WIDTH, 0)) * int(tags.get(TILE_LENGTH, 0))
        tile = side * int(tags.get(SAMPLES, 1)) * bits // 8
        return super().decoding_bytes(image, stream) + copied_bytes(stream) + tile

    def cut_samples(self, image: ImageFile, stream: BinaryIO) -> str:
        tags: Any = getattr(image, "tag_v2", {})
        bits, kind = sample_type(tags)
        dtype = np.dtype(MODES[image.mode].dtype)
        if bits > 8 * dtype.itemsize:
            return f"{bits}-bit samples"
        if bits == 8 and kind == SIGNED:
            return "signed 8-bit samples"
        if bits == 32 and kind == UNSIGNED and dtype == np.int32:
            return "unsigned 32-bit samples"
        return ""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        found = survey(stream)
        if (
            found.link
            and not request.allow_truncated
            and (request.volume or request.frames == "all")
        ):
            raise damaged(request.name, CUT)
        stream = hide(stream, found)
        data, declared = self._read_samples(stream, request)
        return self._describe(data, stream, request, found, declared)

    def _read_samples(self, stream: BinaryIO, request: ReadRequest) -> tuple[Data, int]:
        """Read the requested pages without their metadata.

        Returns also the number of images that the description of the first page declares.
        """
        assert self.form.extension is not None
        volume = request.volume and request.frames == "first"

        # Count the pages, and the images that one directory holds.
        count = count_pages(stream, request.name)
        declared, held = count_images(stream) if count == 1 else (1, 1)
        if 1 < held < declared:
            raise damaged(request.name, f"it ends after {held:,} of {declared:,} images")

        # Choose Pillow or tifffile.
        beyond = beyond_pillow(stream, request.frames, widened=has(self.form.extension.extra))
        if volume:
            beyond = "pages of a volume"
        elif held > 1:
            beyond = f"{held:,} images in one directory"
        if beyond:
            check_extension(self.form.extension, f"{request.name} holds {beyond}")
            if damage := self.damage(stream):
                raise damaged(request.name, damage)
            data = self._read_pages(stream, request, count, held, volume=volume)
        else:
            data = super().read(stream, request)
        if held < declared:
            note = f"its description declares {declared:,} images, the file holds one"
            data = replace(data, notes=(*data.notes, note))
        return data, declared

    def _describe(
        self, data: Data, stream: BinaryIO, request: ReadRequest, found: Survey, declared: int
    ) -> Data:
        """Add the metadata of the pages that were read, and warnings of tags that are left out."""
        assert self.form.extension is not None
        directories = list(readable_directories(stream))
        stacked = data.frames > 1 or data.kind == "array"
        first = request.frames if isinstance(request.frames, int) else 0
        last = len(directories) - 1 if stacked else first
        alone = not stacked and (len(directories) > 1 or declared > 1)
        pages = directories[first : last + 1]
        metadata = read_tiff_metadata(
            stream, read_head(stream), pages, alone=alone, stacks=has(self.form.extension.extra)
        )
        warnings = found.warnings(first, last)
        if nodata := nodata_of(metadata):
            warnings += (f"GDAL nodata: {nodata} is filtered like any other number",)
        return replace(data, metadata=metadata, warnings=(*data.warnings, *warnings))

    def _read_pages(
        self, stream: BinaryIO, request: ReadRequest, count: int, images: int, *, volume: bool
    ) -> Data:
        """Read one page (H, W[, C]), frames (F, H, W, C), or a volume (pages, H, W[, C]), upright.

        count: the number of pages. images: the images per page, above 1 only for a single page.
        Raises FileError for a damaged file or pages that differ, InputError for a page that does
        not exist, DtypeError for samples that would need a conversion, LimitError for more pixels
        or bytes than allowed.
        """
        tifffile = import_module("tifffile")
        try:
            with muted("tifffile"), tifffile.TiffFile(stream) as tiff:
                if len(tiff.pages) != count:
                    raise damaged(request.name, "a page is missing")
                numbered = [(page, number) for page in tiff.pages for number in range(images)]
                return self._read(numbered, stream, request, volume=volume)
        except Exception as error:  # tifffile raises nearly anything for a damaged file
            if isinstance(error, (InputError, LimitError)):
                raise
            if isinstance(error, ImportError) or "'imagecodecs' package" in str(error):
                stream.seek(0)
                compression = next(read_pages(stream)).tags.get(COMPRESSION, UNCOMPRESSED)
                given = f"{request.name} holds samples of {_name_compression(compression)}"
                remedy = "pip install imagecodecs"
                raise DtypeError(
                    given, "which tifffile decompresses by the imagecodecs package", remedy
                ) from error
            raise damaged(request.name, brief(error)) from error

    def _read(
        self,
        images: Sequence[tuple[Any, int]],
        stream: BinaryIO,
        request: ReadRequest,
        *,
        volume: bool,
    ) -> Data:
        """Read the requested of several images.

        images: the page of each, and its number among the images of that page.
        """
        count = len(images)
        framed = not volume and request.frames == "all" and count > 1
        notes = [f"{count} frames"] if framed else []
        if not framed and not volume:
            index = choose_frame(request.frames, count, request.name)
            images = [images[index]]
            notes = [
                describe_frame(index, count),
                VOLUME_NOTE if is_volume(images[0][0].description) else "",
            ]

        # Read the samples.
        used = [page for page, _ in images]
        decoding = check_pages(used, stream, request.name, request.limits)
        planes = [read_page(page, number) for page, number in images]
        if not volume:
            planes = [scale_bits(plane, used[0].bitspersample) for plane in planes]
        array = np.stack(planes) if framed or volume else planes[0]
        if framed and array.ndim == 3:
            array = array[..., None]

        # Describe what was done to them.
        orientation = used[0].tags.valueof("Orientation", 1)
        notes.append("orientation applied" if orientation > 1 else "")
        extra = extra_sample(used[0])
        notes.append("alpha unpremultiplied" if extra == PREMULTIPLIED else "")
        notes.append("" if volume else describe_conversion(used[0]))
        return replace(
            self.make_data(np.ascontiguousarray(array, array.dtype.newbyteorder("=")), request),
            kind="array" if volume else "image",
            alpha=not volume and extra in (STRAIGHT, PREMULTIPLIED),
            notes=tuple(filter(None, notes)),
            warnings=tuple(filter(None, [describe_loss(used[0])])),
            frames=count if framed else 1,
            held=count,
            decoding=decoding,
            dims=3 if volume else None,
        )

    def holds(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> str:
        if request.volume:
            return self.holds_picture(dtype, shape[1:], alpha=request.alpha, pages=True)
        _, _, channels = measures(shape)
        refusal = super().holds(dtype, shape, request)
        if not refusal and self.form.extension and _needs_no_alpha(dtype, channels, request):
            if has(self.form.extension.extra):
                return ""
            given = f"the tiff would hold {dtype} with {channels} channels, none of which is alpha"
            return one_line(*missing_extension(self.form.extension, given))
        return refusal

    def output_dtype(
        self, dtype: np.dtype[Any], kind: Kind, header: Header | None = None
    ) -> np.dtype[Any] | None:
        """Keep the input's dtype with the extra; without it, refuse float64: float32 rounds it."""
        extension = self.form.extension
        assert extension is not None
        if dtype.name in extension.channels and has(extension.extra):
            return dtype.newbyteorder("=")
        if dtype == np.float64:
            given, expected, remedy = missing_extension(extension, f"the input {kind} is {dtype}")
            raise DtypeError(given, expected, f"{remedy}, or use --dtype float32")
        return super().output_dtype(dtype, kind, header)

    def metadata_options(self, metadata: Metadata, width: int, height: int) -> dict[str, Any]:
        """Return none: `write` adds the tags itself, as Pillow changes some of their types."""
        return {}

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        pages = request.volume or request.frames
        metadata = request.metadata
        if pages and request.settings.get("compress_level"):
            metadata = without_stack(metadata)
        if self._by_extension(array.dtype, array.shape, request):
            write_tiff(
                stream, array, request.settings, request.threads, alpha=request.alpha, pages=pages
            )
        else:
            super().write(stream, array, request)
        height, width = array.shape[pages : pages + 2]
        add_tags(stream, tiff_tags(metadata, width, height))

    def reductions(self, array: NDArray[Any], request: WriteRequest) -> tuple[str, ...]:
        compressed = request.settings.get("compress_level")
        if not (compressed and is_stack(request.metadata) and (request.volume or request.frames)):
            return ()
        return (
            "ImageJ description and metadata: ImageJ reads them of pages that are not compressed",
        )

    def _by_extension(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest
    ) -> bool:
        """Return whether tifffile encodes such an array, and not Pillow."""
        assert self.form.extension is not None
        _, _, channels = measures(shape)
        beyond = channels not in self.form.channels.get(dtype.name, ())
        beyond = beyond or _needs_no_alpha(dtype, channels, request)
        beyond = beyond or (request.frames and is_stack(request.metadata))
        return (
            request.volume or beyond or any(map(request.settings.get, self.form.extension.settings))
        )

    def encoding_bytes(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> int:
        if self._by_extension(dtype, shape, request):
            return encoding_bytes(math.prod(shape) * dtype.itemsize, request.settings)
        return super().encoding_bytes(dtype, shape, request)
