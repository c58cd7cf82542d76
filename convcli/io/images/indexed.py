"""Frames of few colours as indices of one palette, and what changes from frame to frame.

Pixels that keep their colour get the index of a transparent entry: long runs of one index, which
compress well. Drawn animations get 4 to 10 times smaller so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

UNCHANGED = 255
"""The index of the transparent entry; the palette has at most as many colours."""

_KEY = np.array([1 << 16, 1 << 8, 1], np.uint32)


class Change(NamedTuple):
    """The rectangle of a frame that differs from the frame before: its place, and its indices."""

    left: int
    top: int
    indices: Bytes


@dataclass(frozen=True, eq=False)
class Palette:
    """Sorted colours (N, 3) of uint8."""

    colours: Bytes

    def indices(self, picture: Bytes) -> Bytes:
        """Return a picture (H, W, 3) of these colours as indices (H, W)."""
        keys = self.colours @ _KEY
        return np.stack([np.searchsorted(keys, row @ _KEY).astype(np.uint8) for row in picture])

    def changes(self, frames: Iterable[Bytes]) -> Iterator[Change]:
        """Yield the first frame whole, then what changes.

        >>> frames = np.uint8([[[[7, 7, 7]] * 4], [[[7, 7, 7], [9, 9, 9], [7, 7, 7], [9, 9, 9]]]])
        >>> changes = list(shared_palette(frames).changes(frames))
        >>> changes[0].indices.tolist(), changes[1].left, changes[1].indices.tolist()
        ([[0, 0, 0, 0]], 1, [[1, 255, 1]])
        """
        before: Bytes | None = None
        for frame in frames:
            indices = self.indices(frame)
            yield Change(0, 0, indices) if before is None else _change(before, indices)
            before = indices


def _change(before: Bytes, indices: Bytes) -> Change:
    changed = before != indices
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not rows.size:
        return Change(0, 0, np.full((1, 1), UNCHANGED, np.uint8))
    where = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Change(
        int(columns[0]),
        int(rows[0]),
        np.where(changed[where], indices[where], UNCHANGED).astype(np.uint8),
    )


def shared_palette(frames: Sequence[Bytes]) -> Palette | None:
    """Return the palette of frames (H, W, 3); None if they have too many colours.

    >>> shared_palette(np.uint8([[[[9, 8, 7], [1, 2, 3]]]])).colours.tolist()
    [[1, 2, 3], [9, 8, 7]]
    """
    from PIL import Image

    colours: set[tuple[int, ...]] = set()
    for frame in frames:
        if frame.shape[2:] != (3,) or frame.dtype != np.uint8:
            return None
        found = Image.fromarray(frame).getcolors(UNCHANGED)
        if found is None:
            return None
        colours.update(colour for _, colour in found if isinstance(colour, tuple))
        if len(colours) > UNCHANGED:
            return None
    return Palette(np.array(sorted(colours), np.uint8))
