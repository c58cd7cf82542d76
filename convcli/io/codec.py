"""What a file format does: read a stream, write an array, and say what it can hold.

`Codec` is the base class of all codecs, convcli's own and those of other packages. By itself it
holds arrays with the number types and axes that its row in the table of formats names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.errors import ConvError, DtypeError, FileError, InputError, ShapeError, brief, one_line
from convcli.io.data import NO_METADATA, Data, Encoding, Header, Kind, Metadata
from convcli.io.formats import Format
from convcli.limits import Limits
from convcli.options import Frames
from convcli.shapes.parse import show

if TYPE_CHECKING:
    from convcli.io.data import RawLayout

PIECE = 2**25
"""Bytes that numpy copies at once, at most, to write an array that is not contiguous."""


@dataclass(frozen=True)
class ReadRequest:
    """How a file is read.

    name: in messages. path: of a file that may be mapped; "" for a pipe. key: of an array in an
    archive. raw: the layout of a headerless file. volume: whether all pages are one array.
    """

    name: str
    limits: Limits = field(default_factory=Limits.of)
    path: str = ""
    key: str | None = None
    frames: Frames = "first"
    allow_truncated: bool = False
    raw: RawLayout | None = None
    volume: bool = False


@dataclass(frozen=True)
class WriteRequest:
    """How an array is written.

    alpha: whether a picture's last channel is alpha. maps: whether its channels are feature maps,
    none of which is alpha. frames, volume: whether the first axis is that of frames, or of pages.
    settings: of the encoder, such as `quality`. header, metadata: written with the samples.
    encoding: how the input was encoded; a codec of the same format reproduces it. threads: number
    of threads that may encode; the bytes do not depend on it. compact: whether pictures of few
    colours are encoded slower, but several times smaller.
    """

    alpha: bool = False
    maps: bool = False
    frames: bool = False
    volume: bool = False
    settings: Mapping[str, int] = field(default_factory=dict)
    header: Header | None = None
    metadata: Metadata = NO_METADATA
    encoding: Encoding | None = None
    threads: int = 1
    compact: bool = False


PLAIN = WriteRequest()


class Codec:
    """One format's reader and writer, the base class of all codecs.

    A codec of another package overrides `read`, and the other methods that it supports.
    """

    def __init__(self, form: Format) -> None:
        self.form = form

    def check_read(self, request: ReadRequest) -> None:
        """Raise InputError, before anything is read, for a request that the format cannot serve."""
        if request.frames != "first":
            raise InputError(
                f"frames {request.frames}", f"{request.name} is an array", "leave --frames out"
            )

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        """Decode a seekable stream from its beginning.

        Raises FileError for one that is damaged, LimitError for one that needs more memory than
        request.limits allow; the limits must be checked before memory is allocated.
        """
        raise InputError(
            f"{request.name} is of the format {self.form.name}", "which is written but not read"
        )

    def open_store(self, path: str, name: str) -> Data:
        """Open a store, a folder of chunks; its values are read by `Data.parts`.

        Raises FileError for what is none.
        """
        raise InputError(f"{name} is of the format {self.form.name}", "which is not a folder")

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        """Encode an array, for which `holds` returned ""."""
        raise InputError(
            f"{self.form.name} is read but not written", "", "write .png, .tiff or .npy"
        )

    def write_arrays(self, stream: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Encode several arrays by name; raise ShapeError unless the format is an archive."""
        raise ShapeError(
            f"{self.form.name} cannot hold {len(arrays)} arrays", "it holds one", "write .npz"
        )

    def holds(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> str:
        """Return "" if the format holds such an array without loss, else the reason in one line."""
        if not self.form.keeps(dtype):
            return self.refuse_dtype(dtype)
        if not 1 <= len(shape) <= self.form.max_ndim:
            given = f"{self.form.name} cannot hold {len(shape)} axes, {show(shape)}"
            return one_line(given, f"it holds 1 to {self.form.max_ndim}", "write .npy")
        if max(shape) > self.form.max_side:
            given = f"{self.form.name} cannot hold {show(shape)}"
            return one_line(given, f"it holds at most {self.form.max_side} a side", "write .npy")
        return ""

    def refuse_dtype(self, dtype: np.dtype[Any]) -> str:
        """Return the reason why the format cannot hold a number type."""
        given = f"{self.form.name} cannot hold {dtype}"
        types = self.form.dtypes
        if not types:
            return one_line(given, "it holds real numbers", "convert them first")
        return one_line(
            given,
            f"it holds {self.form.contents}",
            f"use --dtype {_suggested(types)}, or write .npy",
        )

    def output_dtype(
        self, dtype: np.dtype[Any], kind: Kind, header: Header | None = None
    ) -> np.dtype[Any] | None:
        """Choose the number type to write for such an input; None for that of the computed floats.

        A format with a list of number types keeps the input's, or stores floats as float32. Raises
        DtypeError if it has neither.
        """
        types = self.form.dtypes
        if not types or dtype.name in types:
            return dtype.newbyteorder("=") if types else None
        if dtype.kind in "bf" and "float32" in types and np.can_cast(dtype, np.float32):
            return np.dtype(np.float32)
        given = f"the input is {dtype}, which {self.form.name} cannot hold"
        raise DtypeError(
            given,
            f"it holds {self.form.contents}",
            f"use --dtype {_suggested(types)}, or write .npy",
        )

    def reductions(self, array: NDArray[Any], request: WriteRequest) -> tuple[str, ...]:
        """Return descriptions of what writing such an array loses, such as colours."""
        return ()

    def encoding_bytes(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> int:
        """Return the bytes that `write` allocates at most, besides the array and the file."""
        return min(math.prod(shape) * dtype.itemsize, PIECE)

    def file_bytes(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
        """Return the size of the file in bytes, at most."""
        size = math.prod(shape) * dtype.itemsize
        return size + size // 16

    def maps_output(self, dtype: np.dtype[Any], request: WriteRequest) -> bool:
        """Return whether `create` makes a file whose values are written through a memory map."""
        return False

    def create(
        self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], request: WriteRequest
    ) -> NDArray[Any]:
        """Create a file for such an array, and return its values as a writable memory map.

        Raises OSError if the disk is full: writing to an unallocated page would kill the process.
        """
        raise NotImplementedError(f"{self.form.name} does not map its output")

    def make_data(self, array: NDArray[Any], request: ReadRequest, **facts: Any) -> Data:
        """Return the array as Data of this format; facts: further fields of Data."""
        return Data(array, self.form.kind, self.form.name, request.name, **facts)


@contextmanager
def plugin_errors(form: Format, failed: str) -> Iterator[None]:
    """Convert an exception of another package's codec to a FileError that names the package."""
    try:
        yield
    except (ConvError, OSError, MemoryError):
        raise
    except Exception as error:
        if not form.package:
            raise
        raise FileError(
            f"{failed} as {form.name}", f"package {form.package}: {brief(error)}"
        ) from error


def _suggested(types: tuple[str, ...]) -> str:
    """Return the number type to propose: the second, or the only one."""
    return types[min(1, len(types) - 1)]


@cache
def codec_of(form: Format) -> Codec:
    """Return the codec that a format's row names; raise FileError if it cannot be imported."""
    module, _, name = form.codec.partition(":")
    try:
        codec: Codec = getattr(import_module(module), name)(form)
    except Exception as error:  # a package may raise anything while it is imported
        given = f"format {form.name} cannot be used"
        raise FileError(
            given, f"its codec {form.codec}: {brief(error)}", "update the package that brings it"
        ) from error
    return codec
