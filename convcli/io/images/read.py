"""Decode images through Pillow: upright, damage reported, no bits cut silently.

Pillow is imported inside the functions, so that arrays are processed without loading it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import BufferedReader, BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from convcli.errors import DtypeError, FileError, InputError, LimitError, brief
from convcli.io.codec import ReadRequest
from convcli.io.data import Data, Timing
from convcli.io.formats import Format
from convcli.io.images.animation import (
    CANVASES,
    VOLUME_NOTE,
    Canvas,
    Region,
    Stack,
    choose_frame,
    describe_frame,
    is_volume,
)
from convcli.io.images.metadata.found import Found
from convcli.io.images.metadata.through_pillow import read_metadata
from convcli.io.images.metadata.upright import apply_orientation, orientation_of
from convcli.io.images.modes import MODES
from convcli.io.images.pillow import (
    DECODING_ERRORS,
    Bounded,
    lenient,
    listening,
    load_plugin,
    unguarded,
)
from convcli.io.streams import count_bytes
from convcli.limits import SMALLER, Limits, show_bytes
from convcli.options import Frames

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile


_OTHER_KIND = re.compile(r"unsupported|unknown|cannot handle", re.IGNORECASE)
"""The start of Pillow's messages for files that may be whole."""

BAND = 1 << 17
"""Pixels that are copied at a time, so that they and their copy fit a core's cache."""


def to_array(image: Image, dtype: DTypeLike) -> NDArray[Any]:
    """Return a picture's samples as an array (H, W), or (H, W, C) if it has several channels.

    They are copied in blocks of rows, which Pillow's raw encoder packs in the order of the array:
    `np.asarray` copies the whole picture twice more, through newly allocated memory. 4096x4096 RGB
    takes 14 ms; `np.asarray` of cropped blocks takes 100.

    >>> from PIL import Image
    >>> to_array(Image.new("RGB", (3, 2), (1, 2, 3)), "uint8").shape
    (2, 3, 3)
    """
    from PIL import Image

    width, height = image.size
    row = np.asarray(image.crop((0, 0, width, 1)))
    array = np.empty((height, *row.shape[1:]), dtype)
    rows = max(BAND // width, 1)
    for top in range(0, height, rows):
        block = array[top : top + rows]
        encoder = Image._getencoder(image.mode, "raw", image.mode)
        encoder.setimage(image.im, (0, top, width, top + len(block)))
        *_, content = encoder.encode(len(block) * row.nbytes)
        block[...] = np.frombuffer(content, row.dtype).reshape(block.shape)
    return array


def stored_array(image: ImageFile) -> NDArray[np.uint8] | None:
    """Read the samples of an image whose file stores them as the array does: as in PPM and PGM.

    Returns None for other images, and for one that is cut. This takes 14 ms for 4096x4096 RGB,
    and through Pillow's picture of 4 bytes per pixel 60.
    """
    whole = (0, 0, *image.size)
    if image.mode not in ("L", "RGB") or target_mode(image) != image.mode:
        return None
    if len(image.tile) != 1 or _is_turned(image):
        return None
    codec, extents, offset, arguments = image.tile[0]
    if codec != "raw" or extents != whole or arguments not in (image.mode, (image.mode, 0, 1)):
        return None
    array = np.empty((*image.size[::-1], *([3] if image.mode == "RGB" else [])), np.uint8)
    file = cast("BufferedReader", image.fp)
    file.seek(offset)
    return array if file.readinto(array.data) == array.nbytes else None


def decoding_bytes(image: Image) -> int:
    """Return the most bytes that decoding takes.

    They are Pillow's picture, its transposed and converted copies, the array, and the rows that are
    copied at a time.
    """
    stored = stored_bytes(image)
    sample = array_bytes(image)
    transposed = stored if _is_turned(image) else 0
    target = target_mode(image)
    converted = 0
    if target != image.mode:
        converted = 1 if target == "L" else 4
    pixels = image.width * image.height
    band = min(max(BAND, image.width), pixels) * (stored + 2 * sample)
    return pixels * (stored + transposed + converted + sample) + band


def stored_bytes(image: Image) -> int:
    """Return Pillow's bytes per pixel: 1, 2 for its 16-bit modes, or 4 for all others."""
    if image.mode in ("1", "L", "P"):
        return 1
    return 2 if image.mode.startswith("I;16") else 4


def array_bytes(image: Image) -> int:
    """Return the bytes per pixel of the array."""
    mode = target_mode(image)
    return {"L": 1, "LA": 2, "RGB": 3}.get(mode, 2 if mode.startswith("I;16") else 4)


def target_mode(image: Image) -> str:
    """Return the mode that an image is converted to."""
    reading = MODES[image.mode]
    return (reading.transparent if image.has_transparency_data else reading.opaque) or image.mode


def _convert(image: Image) -> Image:
    """Return an image in the mode that its samples are read in."""
    target = target_mode(image)
    return image if target == image.mode else image.convert(target)


def _is_turned(image: Image) -> bool:
    """Return whether the header declares that the picture is not upright.

    A PNG may declare it after its samples, so a PNG's EXIF counts only if it is already read.
    """
    known = image.format != "PNG" or "exif" in image.info
    return known and orientation_of(image.getexif()) > 1


_DESCRIPTION = 270


class PictureFormat(Protocol):
    """What decoding needs from a format's codec; see `codec.Pillow`."""

    form: Format
    delta_frames: ClassVar[bool]
    opening_bytes: ClassVar[int]

    def find_metadata(self, stream: BinaryIO) -> Found | None: ...
    def damage(self, stream: BinaryIO) -> str: ...
    def regions(self, image: ImageFile, stream: BinaryIO) -> Iterator[Region]: ...
    def format_name(self, image: ImageFile) -> str: ...
    def count_frames(self, image: ImageFile, stream: BinaryIO) -> int: ...
    def plays(self, image: ImageFile) -> int: ...
    def prepare(self, image: ImageFile) -> None: ...
    def decoding_bytes(self, image: ImageFile, stream: BinaryIO) -> int: ...
    def cut_samples(self, image: ImageFile, stream: BinaryIO) -> str: ...
    def find_broken_piece(self, image: ImageFile, stream: BinaryIO) -> str: ...


def read_image(stream: BinaryIO, codec: PictureFormat, request: ReadRequest) -> Data:
    """Decode the requested frames of an image whose content was recognised as the codec's format.

    Returns (H, W) or (H, W, C), and (F, H, W, C) for all of several frames: uint8, uint16, int32 or
    float32, upright, straight alpha last. With request.allow_truncated, reads a damaged file up to
    the damage, which `Data.damage` describes. Raises InputError for a frame that does not exist,
    FileError for a damaged file, DtypeError for bits that Pillow would cut, LimitError for a header
    that declares more pixels or more memory than the limits allow.
    """
    found = codec.find_metadata(stream)
    stream.seek(0)
    if found:
        stream = found.view(stream, request.name, request.limits)
    try:
        if damage := codec.damage(stream):
            raise _DamageError(request.name, codec.form, damage)
        return _read(stream, codec, request, found)
    except _DamageError as damaged:
        if not request.allow_truncated:
            raise
        damage = damaged.damage
    stream.seek(0)
    with lenient():
        return replace(_read(stream, codec, request, found, lenient=True), damage=damage)


class _DamageError(FileError):
    """A damaged file of a picture; `damage` describes the damage."""

    def __init__(self, name: str, form: Format, damage: str) -> None:
        self.damage = damage
        given = f"{name} is damaged: {damage}"
        super().__init__(
            given, f"expected a whole {form.name} file", "copy it anew, or see --allow-truncated"
        )


def _read(
    stream: BinaryIO,
    codec: PictureFormat,
    request: ReadRequest,
    found: Found | None,
    *,
    lenient: bool = False,
) -> Data:
    name, form = request.name, codec.form
    try:
        image, count = _open(stream, codec, request, lenient=lenient)
        with image:
            opened = _Opened(image, stream, name, codec, request.limits, found, lenient)
            several = request.frames == "all" and count > 1
            return opened.all(count) if several else opened.one(request.frames, count)
    except DECODING_ERRORS as error:
        if isinstance(error, InputError):
            raise
        # An UnidentifiedImageError's message is about Python's streams.
        if lenient or type(error).__name__ == "UnidentifiedImageError":
            raise FileError(
                f"{name} is damaged, or of a kind that Pillow does not read",
                f"expected a whole {form.name} file",
                "save it anew, or as .npy",
            ) from error
        if _OTHER_KIND.match(str(error)):
            given = f"{name} is of a kind that Pillow does not read"
            raise FileError(given, brief(error), "save it anew, or as .npy") from error
        raise _DamageError(name, form, brief(error)) from error


def _open(
    stream: BinaryIO, codec: PictureFormat, request: ReadRequest, *, lenient: bool = False
) -> tuple[ImageFile, int]:
    """Open an image without decoding its pixels; return it and its number of frames.

    lenient: count the frames up to where the file is cut.
    """
    from PIL import Image

    form, limits = codec.form, request.limits
    load_plugin(form.pillow)
    taken = codec.opening_bytes
    allowed = min(limits.pixels, limits.memory // taken) if taken else None
    with unguarded(allowed):
        try:
            bounded = Bounded(stream) if isinstance(stream, BufferedReader) else stream
            image = Image.open(cast("BinaryIO", bounded), formats=(form.pillow,))
        except Image.DecompressionBombError as error:
            found = re.search(r"\d+", str(error))
            pixels = int(found[0]) if found else limits.pixels + 1
            raise _too_large(request, pixels, taken) from error
        try:
            return image, codec.count_frames(image, stream)
        except DECODING_ERRORS:
            if not lenient:
                raise
        count = image.tell() + 1
        image.seek(0)
        return image, count


def _too_large(request: ReadRequest, pixels: int, each: int) -> LimitError:
    """Return the error for a picture that would take `each` bytes per pixel when it is opened."""
    name, limits = request.name, request.limits
    if pixels > limits.pixels:
        limit = f"the limit is {limits.pixels:,} pixels"
        return LimitError(
            f"{name} has {pixels:,} pixels",
            limit,
            "crop it or scale it down first, or raise --max-pixels",
        )
    needed = show_bytes(pixels * each)
    return LimitError(
        f"{name} takes {needed} of memory", f"the limit is {show_bytes(limits.memory)}", SMALLER
    )


class _Opened(NamedTuple):
    """An open picture whose frames are not decoded yet."""

    image: ImageFile
    stream: BinaryIO
    name: str
    codec: PictureFormat
    limits: Limits
    found: Found | None
    lenient: bool

    @property
    def form(self) -> Format:
        return self.codec.form

    def one(self, frames: Frames, count: int) -> Data:
        """Return one frame as a picture."""
        index = choose_frame(frames, count, self.name)
        ((data, _),) = self._shown(index, index, describe_frame(index, count))
        tags: Any = getattr(self.image, "tag_v2", {})
        volume = count > 1 and is_volume(str(tags.get(_DESCRIPTION, "")))
        return replace(data, held=count, notes=(*data.notes, VOLUME_NOTE) if volume else data.notes)

    def all(self, count: int) -> Data:
        """Return all frames as one array, with their timing.

        The still image of an APNG that is not a frame is left out.
        """
        first = self._stills
        stack = Stack(self.name, count - first, self.limits, narrow=self.codec.delta_frames)
        durations, decoding, lead = [], 0, None
        shown = self._shown(first, count - 1, f"{stack.count} frames")
        for index, (data, duration) in enumerate(shown):
            stack.add(index, data.array, data.decoding)
            durations.append(duration or 0)
            decoding = max(decoding, data.decoding)
            lead = lead or data
        assert lead is not None
        timing = None
        if self.form.metadata_limits.get("timing"):
            timing = Timing(tuple(durations), self.codec.plays(self.image))
        return replace(
            lead,
            array=stack.array,
            frames=stack.count,
            alpha=stack.array.shape[3] in (2, 4),
            metadata=replace(lead.metadata, timing=timing),
            decoding=stack.peak + decoding,
        )

    @property
    def _stills(self) -> int:
        """1 if Pillow counts a still image before the frames of an animation, else 0."""
        return 1 if self.image.info.get("default_image") else 0

    def _shown(self, first: int, last: int, note: str) -> Iterator[tuple[Data, float | None]]:
        """Yield frames as they are shown, and their milliseconds.

        Raises EOFError if the file has fewer frames.
        """
        if self._is_shown_as_stored(last):
            for index in range(first, last + 1):
                yield self._frame(index, note), self.image.info.get("duration")
            return

        # Draw the stored frames on a canvas.
        lead = self._frame(0, note)
        orientation = orientation_of(self.image.getexif())
        canvas = Canvas(*self.image.size)
        for index, region in enumerate(self.codec.regions(self.image, self.stream), self._stills):
            picture, decoding = self._region(region)
            shown = apply_orientation(canvas.draw(region, picture), orientation)
            if index >= first:
                alpha = shown.shape[2] in (2, 4)
                yield (
                    replace(lead, array=shown, alpha=alpha, decoding=lead.decoding + decoding),
                    region.duration,
                )
            if index == last:
                return
        raise EOFError("it has fewer frames than it declares")

    def _is_shown_as_stored(self, last: int) -> bool:
        """Return whether frames up to `last` are shown as Pillow decodes them, without a canvas."""
        position = self.stream.tell()
        first = next(self.codec.regions(self.image, self.stream), None)
        self.stream.seek(position)
        return (
            first is None or last < self._stills or (last == 0 and first.covers(*self.image.size))
        )

    def _region(self, region: Region) -> tuple[NDArray[Any], int]:
        """Decode a stored frame; return it, and the bytes that it and its canvas take."""
        from PIL import Image

        self.limits.check_pixels(self.name, region.width, region.height)
        with unguarded(), Image.open(BytesIO(region.picture), formats=(self.form.pillow,)) as image:
            pixel = 8 if MODES[image.mode].dtype == "uint16" else 4
            canvas = CANVASES * self.image.width * self.image.height * pixel
            decoding = self.codec.decoding_bytes(image, self.stream) + len(region.picture) + canvas
            self.limits.check_memory(self.name, decoding)
            dtype = MODES[image.mode].dtype
            self.codec.prepare(image)
            image.load()
            return to_array(_convert(image), dtype), decoding

    def _frame(self, index: int, note: str) -> Data:
        self.limits.check_pixels(self.name, *self.image.size)
        if index:
            with unguarded():
                self.image.seek(index)
            self.limits.check_pixels(self.name, *self.image.size)
        decoding = self.codec.decoding_bytes(self.image, self.stream)
        self.limits.check_decoding(self.name, decoding, partial(count_bytes, self.stream))
        if cut := self.codec.cut_samples(self.image, self.stream):
            refusal = f"Pillow would cut them to its mode {self.image.mode}"
            raise DtypeError(
                f"{self.name} holds {cut}",
                refusal,
                "convert it to 8 bits, or to a .npy array, first",
            )
        if not self.lenient and (damage := self.codec.find_broken_piece(self.image, self.stream)):
            raise _DamageError(self.name, self.form, damage)
        if self.found:
            decoding += self.found.copied
        with listening() as broken:
            data = _decode(self.image, self.name, self.codec, note, self.found)
        if broken and not self.lenient:
            raise _DamageError(self.name, self.form, broken[0])
        return replace(data, decoding=decoding)


def _decode(
    image: ImageFile, name: str, codec: PictureFormat, note: str, found: Found | None
) -> Data:
    mode = image.mode
    reading = MODES[mode]
    stored_scale = _stored_scale(image)
    codec.prepare(image)
    stored = stored_array(image)
    upright, orientation = (image, 1) if stored is not None else _upright(image)
    is_further_picture = image.format == "MPO" and image.tell()  # which has blocks of its own
    if found and not is_further_picture:
        metadata = found.upright(orientation, *image.size)
    else:
        with unguarded():
            metadata = read_metadata(image, orientation)
    converted = _convert(upright)
    dtype = "uint16" if (image.format, mode) == ("PPM", "I") else reading.dtype
    is_keyed = converted.mode.endswith("A") and mode in ("1", "L", "RGB")
    notes = (
        note,
        "EXIF orientation applied" if orientation > 1 else "",
        reading.note,
        "transparent colour made alpha" if is_keyed else "",
        stored_scale,
    )
    warnings = list(found.warnings) if found else []
    if mode.startswith("I;16") and "transparency" in image.info:
        warnings.append(f"transparent level {image.info['transparency']} left opaque")
    return Data(
        to_array(converted, dtype) if stored is None else stored,
        "image",
        codec.format_name(image),
        name,
        mode,
        converted.mode in ("LA", "RGBA"),
        tuple(note for note in notes if note),
        tuple(warnings),
        metadata=metadata,
    )


def _upright(image: ImageFile) -> tuple[Image, int]:
    """Decode the image; return it upright, and its EXIF orientation, 1 if it was upright."""
    from PIL import ImageOps

    orientation = orientation_of(image.getexif())
    image.load()  # which turns a TIFF and removes its orientation
    return (ImageOps.exif_transpose(image) if orientation > 1 else image), orientation


def netpbm_largest(image: ImageFile) -> int:
    """Return the largest value that a netpbm header declares, 0 if Pillow does not scale by it."""
    arguments = image.tile[0][3] if image.format == "PPM" and image.tile else None
    return int(arguments[1]) if isinstance(arguments, tuple) and len(arguments) == 2 else 0


def _stored_scale(image: ImageFile) -> str:
    largest = netpbm_largest(image)
    full = 65535 if image.mode == "I" else 255
    return f"values scaled from 0..{largest} to 0..{full}" if largest not in (0, full) else ""
