"""NIfTI volumes, .nii and .nii.gz: nibabel handles the headers, this module the values.

An array is (X, Y, Z) or (X, Y, Z, T), with the axes of nibabel; T is the channel axis.
Needs nibabel, `pip install nibabel`.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, BinaryIO, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from convcli.errors import DtypeError, FileError, brief
from convcli.io.arrays.npy import MAP_ABOVE
from convcli.io.arrays.raw import read_values, write_values
from convcli.io.codec import Codec, ReadRequest, WriteRequest
from convcli.io.data import Data
from convcli.io.formats import NUMBERS, muted
from convcli.io.images import integrity
from convcli.io.streams import available_bytes, open_gzip
from convcli.io.trailing import describe_trailing
from convcli.shapes.units import Measure, spacing_of

SPATIAL = 3
FRONT_BYTES = 2**24
"""Bytes before the values at most: a header and its extensions."""

_SIZES = {b"\x5c\x01\0\0": "Nifti1Header", b"\0\0\x01\x5c": "Nifti1Header"}
"""The header class by sizeof_hdr, 348 in either byte order; NIfTI-2 has 540."""
_PACK_LEVEL = 1
"""The level of gzip compression, the fastest."""
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    ArithmeticError,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Geometry:
    """The positions of voxels: a file's whole header, and how a convolution changes it.

    Voxel i of the values has the position of voxel `starts + i * strides` of the file.
    """

    header: Any  # nibabel's Nifti1Header, or Nifti2Header
    starts: tuple[float, ...] = (0.0,) * SPATIAL
    strides: tuple[int, ...] = (1,) * SPATIAL
    formats: ClassVar[tuple[str, ...]] = ("nii", "nii.gz")

    def moved(
        self, starts: Sequence[float], strides: Sequence[int], axes: Sequence[int]
    ) -> Geometry:
        return replace(self, starts=tuple(starts), strides=tuple(strides))

    def fitted(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """Return the header for such values; affines and voxel sizes follow the convolution."""
        header = self.header.copy()
        zooms, before = header.get_zooms(), header.get_data_shape()
        affines = [
            (header.get_sform(coded=True), header.set_sform),
            (header.get_qform(coded=True), header.set_qform),
        ]
        header.set_data_shape(shape)
        header.set_data_dtype(dtype)
        header.set_slope_inter(1, 0)
        header["vox_offset"] = 0
        strides = dict(enumerate(self.strides))
        kept = [
            axis in strides or shape[axis : axis + 1] == before[axis : axis + 1]
            for axis in range(len(shape))
        ]
        known = [axis < len(zooms) and kept[axis] for axis in range(len(shape))]
        header.set_zooms(
            [zooms[axis] * strides.get(axis, 1) if known[axis] else 1 for axis in range(len(shape))]
        )
        for (affine, code), put in affines:
            if affine is not None:
                put(affine @ self._motion(), int(code))
        return header

    def _motion(self) -> NDArray[np.float64]:
        motion = np.eye(SPATIAL + 1)
        for axis, (start, stride) in enumerate(
            zip(self.starts[:SPATIAL], self.strides[:SPATIAL], strict=True)
        ):
            motion[axis, axis], motion[axis, SPATIAL] = stride, start
        return motion


class Nifti(Codec):
    """A header followed by the volume's values, mapped if they are many and not scaled.

    The first three axes are spatial.
    """

    def open(self, stream: BinaryIO) -> BinaryIO:
        """Return the stream of header and values."""
        return stream

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        """Decode the values, float64 if they are scaled; raise DtypeError for complex ones."""
        try:
            return self._read(stream, request)
        except _DAMAGE as error:
            if isinstance(error, (DtypeError, FileError)):
                raise
            raise _damaged(request.name, brief(error)) from error
        except import_module("nibabel.spatialimages").HeaderDataError as error:
            raise _damaged(request.name, brief(error)) from error

    def _read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        opened, name = self.open(stream), request.name
        header = _header(opened)
        shape, dtype = tuple(map(int, header.get_data_shape())), header.get_data_dtype()
        if dtype.kind not in NUMBERS or dtype.itemsize > 8:
            raise DtypeError(
                f"{name} holds {dtype}",
                "expected real numbers of up to 64 bits",
                "convert them first",
            )
        if min(shape, default=0) < 1:
            raise _damaged(name, f"it declares the shape {shape}")

        # check what the header declares before it is allocated
        slope, intercept = header.get_slope_inter()
        scaled = slope is not None and (slope, intercept or 0) != (1, 0)
        count, offset = math.prod(shape), header.get_data_offset()
        declared = count * dtype.itemsize
        if opened is stream:
            held = available_bytes(stream, offset + declared) - offset
            if held < declared:
                how = f"its header declares {declared:,} bytes of values, {held:,} follow"
                raise _damaged(name, how)
        mapped = opened is stream and request.path and not scaled and declared > MAP_ABOVE
        each = 2 * dtype.itemsize + (16 if scaled else 0)
        decoding = 0 if mapped else count * each
        request.limits.check_memory(name, decoding)

        array: NDArray[Any]
        if mapped:
            array = np.memmap(request.path, dtype, "r", offset, shape, "F")
        else:
            opened.seek(offset)
            array = read_values(opened, shape, dtype, "F")
        if opened is not stream:
            _finish(opened)
        trailing = ""
        if opened is stream:
            trailing = describe_trailing(stream, offset + declared, "volume")
        notes: tuple[str, ...] = ()
        if scaled:
            array = array * float(slope) + float(intercept or 0)
            notes = (f"values times {slope:g} plus {intercept or 0:g}",)
        dims = min(array.ndim, SPATIAL)
        return self.make_data(
            array,
            request,
            decoding=decoding,
            notes=notes,
            warnings=(trailing,) if trailing else (),
            dims=dims,
            header=Geometry(header),
            spacing=_spacing(header, dims),
        )

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        """Write the input's header, or a new one with the identity affine, then the values."""
        geometry = request.header if isinstance(request.header, Geometry) else Geometry(_new())
        header = geometry.fitted(array.shape, array.dtype)
        header.write_to(stream)
        write_values(stream, array, header.get_data_dtype(), "F")


class PackedNifti(Nifti):
    """NIfTI compressed by gzip; equal values give equal bytes."""

    def open(self, stream: BinaryIO) -> BinaryIO:
        return cast("BinaryIO", open_gzip(stream))

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        with gzip.GzipFile("", "wb", _PACK_LEVEL, stream, 0) as packed:
            super().write(cast("BinaryIO", packed), array, request)


def _damaged(name: str, how: str) -> FileError:
    return integrity.damaged(name, how, "NIfTI")


def _header(stream: BinaryIO) -> Any:
    """Read the header; raise an error of _DAMAGE for one that is invalid or cannot be rewritten."""
    stream.seek(0)
    start = stream.read(4)
    kind = getattr(import_module("nibabel"), _SIZES.get(start, "Nifti2Header"))
    with muted("nibabel.global"), np.errstate(all="ignore"):
        block = start + stream.read(kind.sizeof_hdr - len(start))
        if len(block) < kind.sizeof_hdr:
            raise ValueError(
                f"it holds {len(block):,} bytes, fewer than a header's {kind.sizeof_hdr}"
            )
        bare = kind(block)
        if not 0 <= bare.get_data_offset() <= FRONT_BYTES:
            raise ValueError(f"its values begin at byte {bare.get_data_offset():,}")
        stream.seek(0)
        header = kind.from_fileobj(stream)
        matrices = [header.get_sform(), header.get_qform(), header.get_best_affine()]
        if not np.isfinite(matrices).all() or not np.isfinite(header.get_zooms()).all():
            raise ValueError("its affine has values that are not finite")
        Geometry(header).fitted(header.get_data_shape(), header.get_data_dtype())
    return header


def _spacing(header: Any, dims: int) -> tuple[Measure, ...]:
    """Return the sizes of a voxel, in millimetres if the header names no unit; () if one is 0."""
    unit = {"meter": "m", "micron": "um"}.get(header.get_xyzt_units()[0], "mm")
    return spacing_of(map(float, header.get_zooms()[:dims]), [unit] * dims)


def _finish(stream: BinaryIO) -> None:
    """Unpack to the end, so that the checksum is compared; raise ValueError for too many bytes."""
    for _ in range(64):
        if not stream.read(2**20):
            return
    raise ValueError("many bytes follow the last value")


def _new() -> Any:
    """Return a header with the identity affine: voxels are 1 unit apart."""
    header = import_module("nibabel").Nifti1Header()
    header.set_data_shape((1,) * SPATIAL)
    header.set_sform(np.eye(SPATIAL + 1), "aligned")
    return header
