"""Arrays that are read and written part by part: in memory, mapped from a file, or in a store.

Each can be pickled, so that other processes read and write the same array; a mapped one and one in
a store travel as their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Index = tuple[slice, ...]


class Parts(Protocol):
    """An array that is read part by part.

    chunks: the shape of the parts that are read and decoded at once. identity: text that changes if
    the array does, as far as can be told without reading it.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def chunks(self) -> tuple[int, ...]: ...

    @property
    def identity(self) -> str: ...

    def read(self, index: Index) -> NDArray[Any]:
        """Return a part, in the machine's byte order. Raises FileError for a damaged chunk."""


@dataclass(frozen=True, eq=False)
class ArrayParts:
    """An array in memory, or mapped from a file, which is mapped anew in another process.

    >>> ArrayParts(np.arange(6).reshape(2, 3)).read((slice(1, 2), slice(0, 2)))
    array([[3, 4]])
    """

    array: NDArray[Any]
    name: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        return (1,) * self.array.ndim

    @property
    def identity(self) -> str:
        return f"{self.name} {self.array.shape} {self.array.dtype.str} {self._state()}"

    def read(self, index: Index) -> NDArray[Any]:
        return self.array[index]

    def _state(self) -> str:
        """Return what tells this state of the file or of the array from others."""
        import hashlib
        import os

        if isinstance(self.array, np.memmap) and self.array.filename:
            status = os.stat(self.array.filename)  # noqa: PTH116
            return f"{status.st_size} {status.st_mtime_ns}"
        return hashlib.sha256(np.ascontiguousarray(self.array).tobytes()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        array = self.array
        if not isinstance(array, np.memmap) or not array.filename:
            return ArrayParts, (array, self.name)
        order = "C" if array.flags.c_contiguous else "F"
        facts = (str(array.filename), array.dtype.str, array.offset, array.shape, order, self.name)
        return _map_again, facts


def _map_again(
    path: str, dtype: str, offset: int, shape: tuple[int, ...], order: Any, name: str
) -> ArrayParts:
    return ArrayParts(np.memmap(path, np.dtype(dtype), "r", offset, shape, order), name)


def placeholder(shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of any shape that takes no memory: all its values are the same zero.

    >>> placeholder((10**6, 10**6), np.dtype("u2")).strides
    (0, 0)
    """
    return np.broadcast_to(np.zeros((), dtype), tuple(shape))
