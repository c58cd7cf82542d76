"""Define what picture formats hold, the base class of codecs through Pillow, and WebP."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from convcli.errors import DtypeError, InputError, one_line
from convcli.io.codec import PLAIN, Codec, ReadRequest, WriteRequest
from convcli.io.data import Data, Header, Kind, Metadata
from convcli.io.formats import all_formats, can, listed, lookup, missing_extension
from convcli.io.images import integrity
from convcli.io.images.animation import Region
from convcli.io.images.metadata.found import Found
from convcli.io.images.metadata.through_pillow import encoder_options
from convcli.io.images.metadata.webp import find_damage, find_metadata, with_parts
from convcli.io.images.modes import MODES
from convcli.io.images.pillow import Whole, load_plugin
from convcli.io.images.read import array_bytes, decoding_bytes, read_image
from convcli.io.streams import count_bytes
from convcli.shapes.parse import show
from convcli.system import return_freed_memory

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_RESCALE = "use --dtype uint8 with --range rescale, or write"
_CANVASES = 8  # bytes per pixel of libwebp's two RGBA canvases: the current and the previous one
_IN_PLACE = (("uint8", 1), ("uint8", 4), ("uint16", 1))
"""Dtypes and channels for which Pillow uses the array's own memory: its modes L, RGBA and I;16."""


class ImageCodec(Codec):
    """A format of pictures (H, W) or (H, W, C), with the dtypes and channels of its table row."""

    ends_in_alpha: ClassVar[bool] = True
    """Whether the last of 2 or 4 channels is always alpha."""

    def check_read(self, request: ReadRequest) -> None:
        """Accept any frame number; `read` checks it against the number of frames."""

    def holds(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> str:
        picture = shape[1:] if request.frames else shape
        if request.frames and dtype.name not in self.form.frames:
            given = f"{self.form.name} cannot hold {shape[0]:,} frames of {dtype}"
            able = can(form.name for form in all_formats() if dtype.name in form.frames)
            return one_line(given, able, "write such a file, or choose one frame with --frames N")
        refusal = self.holds_picture(dtype, picture, alpha=request.alpha)
        if not refusal and request.maps and self.ends_in_alpha and channel_count(picture) in (2, 4):
            maps = f"the last of {channel_count(picture)} feature maps"
            return one_line(
                f"{self.form.name} would hold {maps} as alpha",
                "expected 1 or 3 channels",
                "use --combine to make them one, or write .npy or .tiff",
            )
        counts = self.form.channels.get(dtype.name)
        if refusal and request.maps and counts and channel_count(picture) not in counts:
            found, _, way_out = refusal.rpartition("; ")
            combined = "use --combine to make one picture of several kernels"
            return one_line(found, f"{combined}, or {way_out}")
        return refusal

    def holds_picture(
        self,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        *,
        alpha: bool = False,
        pages: bool = False,
    ) -> str:
        """Return "" if the format holds such a picture, else the reason.

        pages: check a volume of pages instead of one picture.
        """
        form = self.form
        if len(shape) not in (2, 3):
            given = f"{form.name} cannot hold {len(shape)} axes, {show(shape)}"
            return one_line(given, "an image is HxW or HxWxC", "write .npy")
        channels = channel_count(shape)
        if alpha and channels not in (2, 4):
            return one_line(
                f"{channels} channels cannot end in alpha", "expected 2 or 4", "write .npy"
            )
        if refusal := self._refuse_samples(dtype, channels, alpha=alpha, pages=pages):
            return refusal
        if max(shape[:2]) > form.max_side:
            given = f"{form.name} cannot hold {show(shape[:2])}"
            return one_line(
                given, f"it holds at most {form.max_side} pixels a side", "write .png or .tiff"
            )
        return ""

    def _refuse_samples(
        self, dtype: np.dtype[Any], channels: int, *, alpha: bool, pages: bool
    ) -> str:
        form, counts = self.form, self.form.channels.get(dtype.name, ())
        plural = "s" if channels != 1 else ""
        samples = f"{dtype} with {channels} channel{plural}"
        if form.extension and form.extends(dtype, channels) and (pages or channels not in counts):
            if form.extends(dtype, channels, installed=True):
                return ""
            several = " on several pages" if pages else ""
            return one_line(
                *missing_extension(form.extension, f"the {form.name} would hold {samples}{several}")
            )
        if channels in counts:
            return ""
        what = str(dtype)
        if counts:
            what = f"alpha ({channels} channels)" if alpha else samples
        given = f"{form.name} cannot hold {what}"
        flat = "use --background white, or " if alpha and counts else ""
        return one_line(given, f"it holds {form.contents}", flat + self._way_out(dtype, channels))

    def _way_out(self, dtype: np.dtype[Any], channels: int | None = None) -> str:
        """Propose formats that hold this dtype, or uint8 if the format holds that."""
        able = [name for name in ("png", "tiff") if lookup(name).keeps(dtype, channels or 1)]
        named = listed((f".{name}" for name in (*able, "npy")), "or")
        counts = self.form.channels.get("uint8", ())
        helps = dtype != np.uint8 and (channels in counts if channels else bool(counts))
        return f"{_RESCALE} {named}" if helps else f"write {named}"

    def output_dtype(
        self, dtype: np.dtype[Any], kind: Kind, header: Header | None = None
    ) -> np.dtype[Any] | None:
        """Keep the input's integers if the format holds them; else use float32 if that is exact."""
        whole = dtype.kind in "iu"
        if whole and dtype.name in self.form.channels:
            return dtype
        if "float32" in self.form.channels and (
            dtype.kind == "f" or np.can_cast(dtype, np.float32)
        ):
            return np.dtype(np.float32)
        if whole and self.form.extension and dtype.name in self.form.extension.channels:
            return dtype
        wanted, given = f"the input {kind}", dtype
        if dtype.kind == "b":
            wanted, given = "the result", np.dtype(np.float32)
        refused = f"{wanted} is {given}, which {self.form.name} cannot hold"
        raise DtypeError(refused, f"it holds {self.form.contents}", self._way_out(given))


class Pillow(ImageCodec):
    """A format that Pillow reads and writes; its table row has Pillow's name of the format."""

    self_ending: ClassVar[bool] = False
    """Whether the format declares a file's end, so that nothing after it is read from a pipe."""

    compact_animation: ClassVar[Mapping[str, Any]] = {}
    """The settings of Pillow's encoder for a compact animation."""

    delta_frames: ClassVar[bool] = False
    """Whether frames use alpha for unchanged pixels and store gray as colours."""

    opening_bytes: ClassVar[int] = 0
    """Bytes per pixel that Pillow allocates to open a file, before it reports the size."""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        return read_image(stream, self, request)

    def find_metadata(self, stream: BinaryIO) -> Found | None:
        """Return the metadata in a file's own blocks; None if Pillow reads them."""
        return None

    def damage(self, stream: BinaryIO) -> str:
        """Return a description of a file's damage, "" if it is whole.

        Leaves the stream at its start.
        """
        return integrity.check(stream, self.find_damage, self_ending=self.self_ending)

    def find_damage(self, stream: BinaryIO) -> str:
        """Return damage that Pillow does not detect, or ""; the stream is at its start."""
        return ""

    def regions(self, image: ImageFile, stream: BinaryIO) -> Iterator[Region]:
        """Yield the frames of an open animation as stored; none if Pillow composes them right."""
        return iter(())

    def format_name(self, image: ImageFile) -> str:
        """Return the name of the format of an open picture."""
        return self.form.name

    def count_frames(self, image: ImageFile, stream: BinaryIO) -> int:
        """Return how many frames an open picture has."""
        return int(getattr(image, "n_frames", 1))

    def plays(self, image: ImageFile) -> int:
        """Return how many times an open animation plays; 0 means forever."""
        return int(image.info.get("loop") or 0)

    def prepare(self, image: ImageFile) -> None:
        """Correct the attributes of an open picture before Pillow decodes it."""

    def sample_bits(self, image: ImageFile, stream: BinaryIO) -> int:
        """Return the bits per sample of an open picture; at least 8."""
        return 8

    def cut_samples(self, image: ImageFile, stream: BinaryIO) -> str:
        """Describe the samples of an open picture that Pillow would cut to its mode, or ""."""
        bits = self.sample_bits(image, stream)
        return f"{bits}-bit samples" if bits > 8 and MODES[image.mode].dtype == "uint8" else ""

    def decoding_bytes(self, image: ImageFile, stream: BinaryIO) -> int:
        """Return the most bytes that decoding an open picture takes, including the array."""
        return decoding_bytes(image)

    def find_broken_piece(self, image: ImageFile, stream: BinaryIO) -> str:
        """Return damage to an open picture's samples that Pillow does not detect, or ""."""
        return ""

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        from PIL import Image

        first, *others = (
            Image.fromarray(frame[..., 0] if frame.shape[2:] == (1,) else frame)
            for frame in as_frames(array)
        )
        given = self.encoder_options(first.width, first.height, request)
        if others:
            given |= {"save_all": True, "append_images": others}
            given |= self.compact_animation if request.compact else {}
        try:
            first.save(cast("BinaryIO", Whole(stream)), self.form.pillow, **given)
        except (struct.error, OverflowError, ValueError, RuntimeError) as error:
            if not others:
                raise
            # Pillow merges equal frames and adds their durations.
            raise InputError(
                f"{self.form.name} cannot store the total duration of equal frames",
                "expected shorter durations",
                "write .gif, or .tiff without durations",
            ) from error

    def encoder_options(self, width: int, height: int, request: WriteRequest) -> dict[str, Any]:
        """Return the options of Pillow's encoder for a picture of that size."""
        load_plugin(self.form.pillow)
        metadata = self.metadata_options(request.metadata, width, height)
        given = {name: value for name, value in metadata.items() if value or name == "loop"}
        return {**self.settings(request.settings), **given}

    def metadata_options(self, metadata: Metadata, width: int, height: int) -> dict[str, Any]:
        """Return the metadata as options of Pillow's encoder, including empty ones."""
        return encoder_options(metadata, width, height)

    def settings(self, given: Mapping[str, int]) -> dict[str, Any]:
        """Return the settings of Pillow's encoder that are not metadata."""
        return dict(given)

    def encoding_bytes(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> int:
        """Return the bytes of Pillow's own pictures: 0 if it uses the array's memory.

        Else 4 per pixel of each frame.
        """
        frames, pixels, channels = measures(shape)
        return 0 if (dtype.name, channels) in _IN_PLACE else pixels * frames * 4


class WebP(Pillow):
    """WebP, lossless unless a quality is given."""

    self_ending = True
    compact_animation = MappingProxyType({"method": 2, "minimize_size": True})
    delta_frames = True
    opening_bytes = _CANVASES

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        """Read a picture, and release libwebp's canvases, which the C library would keep."""
        data = super().read(stream, request)
        return_freed_memory()
        return data

    def decoding_bytes(self, image: ImageFile, stream: BinaryIO) -> int:
        """Add what libwebp keeps: the file, two canvases, and the samples that Pillow copies."""
        kept = image.width * image.height * (_CANVASES + array_bytes(image))
        return super().decoding_bytes(image, stream) + kept + count_bytes(stream)

    def find_damage(self, stream: BinaryIO) -> str:
        return find_damage(stream)

    def find_metadata(self, stream: BinaryIO) -> Found:
        return find_metadata(stream)

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        if not request.metadata.parts:
            super().write(stream, array, request)
            return
        height, width = array.shape[array.ndim == 4 :][:2]
        super().write(held := BytesIO(), array, request)
        stream.write(with_parts(held.getvalue(), request.metadata.parts, width, height))

    def settings(self, given: Mapping[str, int]) -> dict[str, Any]:
        return {"lossless": "quality" not in given, "exact": True, **given}

    def encoding_bytes(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> int:
        """Return the bytes that libwebp takes for noise, its worst case.

        A smooth picture takes down to half of that. The 6 MiB are libwebp's symbol counts, whose
        size does not depend on the picture's; above 2**20 pixels its later planes take more.
        """
        frames, pixels, channels = measures(shape)
        copied = 0 if channels == 4 else 4 * pixels * frames
        if "quality" in request.settings:
            return copied + pixels * (25 if channels in (1, 3) else 45)
        return copied + pixels * 38 + (6 * 2**20 if pixels < 2**20 else 0)


def as_frames(array: NDArray[Any]) -> NDArray[Any]:
    """Return a picture, or frames (F, H, W, C), as frames in the machine's byte order.

    >>> as_frames(np.zeros((4, 5, 3))).shape
    (1, 4, 5, 3)
    """
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return native if array.ndim == 4 else native[None]


def channel_count(shape: tuple[int, ...]) -> int:
    """Return the channels of an image's shape.

    >>> channel_count((480, 640)), channel_count((480, 640, 3))
    (1, 3)
    """
    return shape[2] if len(shape) == 3 else 1


def measures(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the frames, the pixels per frame, and the channels of a picture's or frames' shape.

    >>> measures((480, 640, 3)), measures((7, 480, 640, 3))
    ((1, 307200, 3), (7, 307200, 3))
    """
    frames, *size = shape if len(shape) == 4 else (1, *shape)
    return frames, math.prod(size[:2]), channel_count(tuple(size))


def unpremultiply(plane: NDArray[Any], bits: int) -> NDArray[Any]:
    """Divide colours (H, W, C) by their alpha; the colours of transparent pixels become 0.

    bits: the bits of a sample. Works row by row, to save memory.

    >>> unpremultiply(np.uint16([[[300, 65535], [300, 32768], [300, 0]]]), 16).tolist()
    [[[300, 65535], [600, 32768], [0, 0]]]
    """
    whole = plane.dtype.kind in "iu"
    top = 2 ** (bits - (plane.dtype.kind == "i")) - 1 if whole else 1
    divided = plane.copy()
    for row in divided:
        colours, alpha = row[:, :-1], row[:, -1:]
        straight = np.divide(
            colours * float(top), alpha, out=np.zeros(colours.shape), where=alpha > 0
        )
        row[:, :-1] = np.rint(np.minimum(straight, top)) if whole else straight
    return divided
