"""What was read from a file, and what was written to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

Kind = Literal["image", "array"]


@dataclass(frozen=True, eq=False)
class Data:
    """One array with what its file said about it.

    array: an image is (H, W) or (H, W, C) of uint8, uint16, int32 or float32, an array has any shape and any real
    type; it may be a read-only memory map. `alpha` says that the last channel is straight (not premultiplied) alpha.
    """

    array: NDArray[Any]
    kind: Kind
    format: str  # a name of the table of formats, such as "png" or "npy"
    name: str  # as given
    mode: str = ""  # Pillow's mode as found in the file; "" for arrays
    alpha: bool = False
    notes: tuple[str, ...] = ()  # what was done on loading, such as "EXIF orientation applied"
    damage: str = ""  # what is wrong with the file, where it was read as far as it goes
    decoding: int = 0  # bytes of memory that loading took at most, the array's own among them


@dataclass(frozen=True)
class Written:
    """A result that arrived: where, in which format, and how many bytes it takes there."""

    path: str
    format: str
    bytes: int
