"""Numbers without a header: .raw, .bin and .dat; and the values of other formats."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError
from convcli.io.arrays.npy import MAP_ABOVE
from convcli.io.codec import Codec, ReadRequest, WriteRequest
from convcli.io.data import Data, Header, Kind, RawLayout
from convcli.io.streams import available_bytes
from convcli.options import Order
from convcli.shapes.parse import show
from convcli.system import allocate

BLOCK = 2**20
"""Bytes that are read or written at once."""


def read_values(
    stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any], order: Order
) -> NDArray[Any]:
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
    """Write all values as `dtype` in `order`, a block at a time."""
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
    """Values without a header, in the layout that the request specifies."""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        """Read a file of exactly the size of the layout; map a large one.

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
            raise FileError(
                f"{name} has {many} bytes",
                message,
                "correct --raw-shape, --raw-dtype or --raw-offset",
            )
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

    def maps_output(self, dtype: np.dtype[Any], request: WriteRequest) -> bool:
        """Return whether a chunk of rows is one part of the file, in the machine's byte order."""
        layout = request.header if isinstance(request.header, RawLayout) else RawLayout()
        return layout.order == "C" and layout.written(dtype).isnative

    def create(
        self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], request: WriteRequest
    ) -> NDArray[Any]:
        with path.open("wb") as stream:
            allocate(stream, 0, math.prod(shape) * dtype.itemsize)
        return np.memmap(path, dtype, "r+", 0, shape)

    def output_dtype(
        self, dtype: np.dtype[Any], kind: Kind, header: Header | None = None
    ) -> np.dtype[Any] | None:
        if isinstance(header, RawLayout) and header.dtype is not None:
            return header.dtype.newbyteorder("=")
        return super().output_dtype(dtype, kind, header)
