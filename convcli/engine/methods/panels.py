"""Cut a tile into panels, whose stacked rows fit a cache; see methods/full_rank.py."""

from __future__ import annotations

from typing import NamedTuple

from convcli.engine.methods.bands import SMALL
from convcli.engine.planning.tiles import DOWN, ODD, evenly

PANEL_BYTES = 1 << 22
"""Bytes of the stacked copies of a panel, which fit a third-level cache. With a quarter, which fits
a second-level cache, one thread took a tenth longer, and two threads a third: they wait for the
interpreter after each short call."""

PANEL_ROWS = 64
"""Outputs in a column of a panel, if its rows have to be cut. A few long rows are best, because a
processor prefetches along a row; with fewer, more rows are copied for several panels."""

NARROW = 2
"""Outputs in a block of the band of a kernel of up to NARROW_TAPS taps. The zeros of a block of
DOWN are then a third of its multiply-adds."""

NARROW_TAPS = 49

PANEL_WIDTH = 64
"""Least values in a row of a panel: narrower products are slow."""


class Panel(NamedTuple):
    """The part of a tile computed at a time: items, and outputs along the first two axes."""

    items: int
    rows: int
    places: int


def panel(
    sizes: Panel, values: int, copies: int, k: int, stride: int, block: int, stack: int
) -> Panel:
    """Return the size of equal panels of a tile; the last ones may overlap the previous ones.

    values: contiguous values per place. copies: of a row in the stack. k: taps down the rows.
    block: outputs in a block of the band. stack: the most values of the stacked copies.

    >>> panel(Panel(1, 256, 4094), 1, copies=3, k=3, stride=1, block=2, stack=1 << 20)
    Panel(items=1, rows=64, places=4094)
    >>> panel(Panel(1000, 8, 8), 1, copies=3, k=3, stride=1, block=2, stack=1 << 20)
    Panel(items=500, rows=8, places=8)
    """
    small = SMALL // (block * copies * ((block - 1) * stride + k))
    places = evenly(sizes.places, max(small // values, 1))
    fitting = (stack // (copies * (places * values + ODD)) - k) // stride + 1
    rows = max(fitting // block * block, PANEL_ROWS)
    rows = min(-(-evenly(sizes.rows, rows) // block) * block, sizes.rows)
    stacked = copies * ((rows - 1) * stride + k)
    width = max(min(stack // stacked - ODD, small), PANEL_WIDTH)
    places = evenly(sizes.places, max(width // values, 1))
    together = stack // (stacked * (places * values + ODD)) if (rows, places) == sizes[1:] else 1
    return Panel(evenly(sizes.items, max(together, 1)), rows, places)


def block_rows(taps: int) -> int:
    """Return the outputs in a block of the band of a kernel."""
    return NARROW if taps <= NARROW_TAPS else DOWN


def stacked_taps(k: int, stride: int, stack: int) -> int:
    """Return how many copies of each row fit in a panel's stack, for k taps down the rows."""
    return max(stack // (((PANEL_ROWS - 1) * stride + k) * PANEL_WIDTH), 1)


def panel_starts(size: int, length: int) -> list[int]:
    """Return where pieces of equal length start; the last may overlap the previous one.

    >>> panel_starts(10, 4)
    [0, 4, 6]
    """
    return [*range(0, size - length, length), size - length]
