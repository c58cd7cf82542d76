"""Numbers without a header, .raw, .bin and .dat, and the values of other formats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError, InputError
from convcli.io.arrays.npy import MAP_ABOVE
from convcli.io.codec import Codec, ReadRequest, WriteRequest
from convcli.io.data import Data, Header, Kind
from convcli.io.streams import available_bytes
from convcli.options import DTYPES, Order
from convcli.shapes.parse import show

BLOCK = 2**20


@dataclass(frozen=True)
class RawLayout:
    """How numbers lie in a file without a header; shape and dtype are None if they are not given.

    order: C has the last axis next to each other, F the first. offset: bytes before the first
    number, on reading.
    """

    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None
    order: Order = "C"
    offset: int = 0
    formats: ClassVar[tuple[str, ...]] = ("raw",)

    @classmethod
    def of(cls, shape: tuple[int, ...] | None, dtype: str | None, order: Order, offset: int) -> RawLayout:
        """Make a layout from the command line's words; InputError for an unknown type.

        >>> RawLayout.of((2, 3), ">i2", "C", 0).dtype
        dtype('>i2')
        """
        return cls(shape, None if dtype is None else _number_type(dtype), order, offset)

    def moved(self, starts: Sequence[float], strides: Sequence[int]) -> RawLayout:
        """Return the layout as it is: it does not say where samples lie."""
        return self

    def required(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return the shape and the number type; raise FileError if they are not given."""
        if self.shape is None or self.dtype is None:
            given = f"{name} holds raw numbers without a header"
            raise FileError(given, "expected their shape and type", "give apply or batch --raw-shape and --raw-dtype")
        return self.shape, self.dtype

    def size(self, name: str) -> int:
        """Return the bytes of a whole file. Raises as `required`.

        >>> RawLayout((2, 3), np.dtype(">i2"), offset=4).size("x.raw")
        16
        """
        shape, dtype = self.required(name)
        return self.offset + math.prod(shape) * dtype.itemsize

    def written(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return a type in the byte order of this layout, little-endian if none is given.

        >>> RawLayout(dtype=np.dtype(">u2")).written(np.dtype(np.float32))
        dtype('>f4')
        """
        return dtype.newbyteorder(">" if self.dtype is not None and self.dtype.str[0] == ">" else "<")


def _number_type(text: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        dtype = np.dtype(object)
    if dtype.name not in DTYPES:
        raise InputError(f"--raw-dtype {text!r}", "expected a type of numbers, such as u2, float32 or '>i2'")
    return dtype


def read_values(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any], order: Order) -> NDArray[Any]:
    """Read values in the machine's byte order; raise EOFError if the stream ends too early."""
    array = np.empty(shape[::-1] if order == "F" else shape, dtype)
    rest = memoryview(cast("Any", array.reshape(-1).view(np.uint8)))
    while rest:
        count = cast("Any", stream).readinto(rest[:BLOCK])
        if not count:
            raise EOFError(f"it ends {len(rest):,} bytes before the last value")
        rest = rest[count:]
    native = array.astype(dtype.newbyteorder("="), copy=False)
    return native.T if order == "F" else native


def write_values(stream: BinaryIO, array: NDArray[Any], dtype: np.dtype[Any], order: Order) -> None:
    """Write every value, in that type and order, a piece at a time."""
    pieces = np.nditer(
        array,
        flags=["external_loop", "buffered"],
        op_dtypes=[dtype],
        casting="equiv",
        order=order,
        buffersize=max(BLOCK // dtype.itemsize, 1),
    )
    for piece in pieces:
        stream.write(cast("NDArray[Any]", piece).tobytes())


class Raw(Codec):
    """Bare values, in the layout that the request gives."""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        """Read a file of exactly the size that the layout takes; map a large one.

        Raises FileError for another size, or if the shape and the type are not given.
        """
        layout, name = request.raw or RawLayout(), request.name
        shape, dtype = layout.required(name)
        needed = layout.size(name)
        size = available_bytes(stream, needed + 1)
        if needed != size:
            many = f"more than {needed:,}" if size > needed and not request.path else f"{size:,}"
            after = f" after {layout.offset:,} others" if layout.offset else ""
            message = f"{show(shape)} of {dtype} takes {needed - layout.offset:,} bytes{after}"
            raise FileError(f"{name} has {many} bytes", message, "correct --raw-shape, --raw-dtype or --raw-offset")
        if request.path and size > MAP_ABOVE:
            mapped = np.memmap(request.path, dtype, "r", layout.offset, shape, layout.order)
            return self.make_data(mapped, request, header=layout)
        decoding = 2 * math.prod(shape) * dtype.itemsize
        request.limits.check_memory(name, decoding)
        stream.seek(layout.offset)
        array = read_values(stream, shape, dtype, layout.order)
        return self.make_data(array, request, decoding=decoding, header=layout)

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        """Write the values in the layout's order and byte order, by default C and little-endian."""
        layout = request.header if isinstance(request.header, RawLayout) else RawLayout()
        write_values(stream, array, layout.written(array.dtype), layout.order)

    def output_dtype(self, dtype: np.dtype[Any], kind: Kind, header: Header | None = None) -> np.dtype[Any] | None:
        if isinstance(header, RawLayout) and header.dtype is not None:
            return header.dtype.newbyteorder("=")
        return super().output_dtype(dtype, kind, header)
