"""numpy's own files: .npy, and .npz as a zip archive of them; nothing is unpickled."""

from __future__ import annotations

import math
import mmap
import os
import re
import struct
import sys
import tokenize
import zlib
from collections.abc import Mapping
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from convcli.errors import DtypeError, FileError, InputError, brief, did_you_mean
from convcli.io.codec import PLAIN, Codec, ReadRequest, WriteRequest
from convcli.io.data import Data
from convcli.io.formats import NUMBERS
from convcli.io.streams import available_bytes
from convcli.io.trailing import describe_trailing
from convcli.limits import Limits
from convcli.shapes.parse import MOST_AXES
from convcli.system import allocate, drop_pages

if TYPE_CHECKING:
    import zipfile

MAP_ABOVE = 64 * 2**20
"""Bytes above which a .npy file is mapped instead of read."""
_AROUND = 2**22
"""Bytes that may be mapped in addition: Linux may map the 2 MiB around each end of a range."""
_HEADERS = {(1, 0): ("<H", npy.read_array_header_1_0), (2, 0): ("<I", npy.read_array_header_2_0)}
"""By version: the form of the header's length, and numpy's reader."""
_LONGEST_HEADER = 10_000  # bytes, numpy's own limit, which it compares after reading them all


class Npy(Codec):
    """One numpy array; a large one is mapped, for reading and for writing."""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        array = read_npy(stream, request.name, request.limits, path=request.path)
        mapped = isinstance(array, np.memmap)
        stream.seek(0)
        read_header(stream)
        trailing = describe_trailing(stream, stream.tell() + array.nbytes, "array")
        warnings = (trailing,) if trailing else ()
        return self.make_data(
            array, request, decoding=0 if mapped else array.nbytes, warnings=warnings
        )

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        npy.write_array(stream, array, allow_pickle=False)

    def maps_output(self, dtype: np.dtype[Any], request: WriteRequest) -> bool:
        return True

    def create(
        self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], request: WriteRequest
    ) -> NDArray[Any]:
        with path.open("wb") as stream:
            header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(stream, header)
            start, size = stream.tell(), math.prod(shape) * dtype.itemsize
            stream.flush()
            allocate(stream, start, size)
        return np.memmap(path, dtype, "r+", start, shape)


class Npz(Codec):
    """An archive of named numpy arrays, one of which is read."""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        """Decode the array of request.key, or the only one; raise FileError that lists the keys."""
        import zipfile

        name = request.name
        try:
            with zipfile.ZipFile(stream) as archive:
                members = {
                    info.filename[:-4]: info
                    for info in archive.infolist()
                    if info.filename.endswith(".npy")
                }
                key = _choose(name, tuple(members), request.key)
                array, behind = _read_member(archive, members[key], f"{name}:{key}", request.limits)
                before = min(info.header_offset for info in archive.infolist())
        except zip_damage() as error:
            if isinstance(error, InputError):
                raise
            raise FileError(
                f"{name} is damaged", "expected a whole .npz archive", brief(error)
            ) from error
        around = {"before the archive": before, "after the end of the array": behind}
        warnings = [f"{count:,} bytes {where} left out" for where, count in around.items() if count]
        return self.make_data(array, request, decoding=array.nbytes, warnings=tuple(warnings))

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        self.write_arrays(stream, {"array": array})

    def holds(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> str:
        """Return "" for what .npy holds, and for strings, which may describe the other arrays."""
        return "" if dtype.kind == "U" else super().holds(dtype, shape, request)

    def write_arrays(self, stream: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Encode arrays by name, uncompressed; equal arrays give equal bytes."""
        import zipfile

        with zipfile.ZipFile(stream, "w") as archive:
            for key, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as member:
                    npy.write_array(member, np.asanyarray(array), allow_pickle=False)


def read_npy(
    stream: BinaryIO, name: str, limits: Limits, *, path: str = "", size: int | None = None
) -> NDArray[Any]:
    """Decode one .npy file up to the end that its header declares; map a large one with a path.

    size: bytes of an archive's member, by the archive's directory. The header is checked before
    memory is allocated. Raises DtypeError for values other than real numbers, FileError for a
    header that is damaged or declares more than the file contains, LimitError for one that declares
    more than the limits allow.
    """
    try:
        shape, dtype = read_header(stream)
    except ValueError as error:
        raise FileError(f"{name} is damaged", "expected a .npy header", brief(error)) from error
    _check_numbers(name, dtype)
    start, declared = stream.tell(), math.prod(shape) * dtype.itemsize
    end = start + declared
    held = (available_bytes(stream, end) if size is None else size) - start
    if declared > held:
        raise FileError(
            f"{name} is truncated",
            f"its header declares {declared:,} bytes of values and {held:,} follow",
            "copy it anew",
        )
    if path and end > MAP_ABOVE:
        mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped
    limits.check_memory(name, declared)
    stream.seek(0)
    return npy.read_array(stream, allow_pickle=False)


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read shape and dtype from a .npy header, up to the first value.

    Version 3, which exists for field names, is not read. Raises ValueError for an invalid header.
    """
    try:
        form, read = _HEADERS[npy.read_magic(stream)]
        length = stream.read(struct.calcsize(form))
        (size,) = struct.unpack(form, length)
        if size > _LONGEST_HEADER:
            raise ValueError(f"a header of {size:,} bytes")
        shape, _, dtype = read(BytesIO(length + stream.read(size)))
    except (
        KeyError,
        EOFError,
        TypeError,
        SyntaxError,
        RecursionError,
        MemoryError,
        struct.error,
        tokenize.TokenError,
    ) as error:
        raise ValueError(f"the header is invalid ({brief(error)})") from error
    if (
        len(shape) > MOST_AXES
        or any(type(size) is not int or size < 0 for size in shape)
        or math.prod(size or 1 for size in shape) * dtype.itemsize > sys.maxsize
    ):
        raise ValueError(f"the header declares the shape {shape}")
    return shape, dtype


def _check_numbers(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in NUMBERS:
        names = {"O": "Python objects", "c": f"complex numbers ({dtype})"}
        what = names.get(dtype.kind, f"{dtype} values")
        remedy = "save plain numbers instead"
        if dtype.kind == "c":
            remedy = "save the real and the imaginary part separately"
        raise DtypeError(f"{name} holds {what}", "expected real numbers", remedy)


def split_key(name: str) -> tuple[str, str | None]:
    """Split `archive.npz:key` into path and key, unless a file has that whole name.

    >>> split_key("photo:1.npz"), split_key("weights.npz:conv1:w")
    (('photo:1.npz', None), ('weights.npz', 'conv1:w'))
    >>> split_key("https://host/w.npz?signature=x:conv1")
    ('https://host/w.npz?signature=x', 'conv1')
    """
    for suffix in re.finditer(r"\.npz(?=[:?])", name, re.IGNORECASE):
        path, colon, key = name[suffix.end() :].partition(":")
        if not colon:
            break
        if suffix.start() and key and not os.path.lexists(name):
            return name[: suffix.end()] + path, key
    return name, None


def _choose(name: str, keys: tuple[str, ...], key: str | None) -> str:
    if not keys:
        raise FileError(
            f"{name} holds no array", "expected .npy members", "write it with numpy.savez"
        )
    if key is None and len(keys) == 1:
        return keys[0]
    if key is None:
        listed = f"expected one of {', '.join(keys)}"
        raise FileError(f"{name} holds {len(keys)} arrays", listed, f"use {name}:{keys[0]}")
    if key not in keys:
        raise FileError(
            f"{name} holds no array '{key}'", f"it holds {', '.join(keys)}", did_you_mean(key, keys)
        )
    return key


def zip_damage() -> tuple[type[Exception], ...]:
    """Return what zipfile raises for an invalid archive.

    InputError, which is a ValueError as well, must be excluded.
    """
    import zipfile

    return (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
    )


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, limits: Limits
) -> tuple[NDArray[Any], int]:
    """Decode one member, and return the array and the bytes after it.

    A member's checksum is compared at its end, so only if no bytes follow the array.
    """
    with open_member(archive, member) as stream:
        array = read_npy(cast("BinaryIO", stream), name, limits, size=member.file_size)
        behind = member.file_size - stream.tell()
        stream.read(1)
        return array, behind


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """Open a member that is stored or deflated, as numpy writes them.

    Raises FileError for other compressions: of these zipfile unpacks a block of any size at once.
    """
    if member.compress_type not in (0, 8):  # source: APPNOTE.TXT 6.3.10, 4.4.5
        raise FileError(
            f"{archive.filename or 'the archive'} has a member compressed by method "
            f"{member.compress_type}",
            "expected one that is stored or deflated",
            "write it with numpy.savez_compressed",
        )
    return archive.open(member)


def release(array: NDArray[Any]) -> None:
    """Release the memory pages of a mapped array; its values stay in its file."""
    if isinstance(array.base, mmap.mmap):
        drop_pages(array.base)


def held(array: NDArray[Any], share: Fraction) -> int:
    """Return the bytes of memory that an array uses, a mapped one while a share of it is used.

    share: of the first axis. If another axis has a larger stride, as in Fortran order, every step
    along it uses other pages.

    >>> held(np.zeros((10, 10)), Fraction(1, 5))
    800
    """
    size, stretch = int(array.nbytes), int(array.shape[0] * abs(array.strides[0]))
    if not isinstance(array, np.memmap):
        return size
    return min(size, (int(stretch * share) + _AROUND) * (size // stretch))


def check_mapped(array: NDArray[Any], name: str) -> None:
    """Raise FileError if a mapped array's file was cut: reading past its end kills the process."""
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
        needed, size = array.offset + array.nbytes, array.base.size()
        if size < needed:
            raise FileError(
                f"{name} became shorter while it was read",
                f"{needed:,} bytes were there, {size:,} are left",
                "run again when no other program writes to it",
            )
