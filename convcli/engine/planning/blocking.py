"""Cut a layer into matrix products, from its shapes alone; methods/gemm.py draws how windows become
their rows.

The products are small, as small as OpenBLAS multiplies without copying its operands first, and one
call makes many of them, because between calls the threads wait for the interpreter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convcli.engine.planning.facts import PrecisionName, roundings_allowed
from convcli.engine.planning.tiles import TILES
from convcli.shapes.axis import Axis

PRODUCT = 800_000
"""Multiply-adds of one product, about. OpenBLAS multiplies up to a million without copying its
operands first: 55 thousand million per second instead of 47. The ends of lines that are left out
make a product a little larger."""

BLOCKS = 16
"""Products of different windows in one call."""

COLUMN_VALUES = 6144
"""Taps in one product: 24 KiB of float32, which stay in a first-level cache together with the rows
of windows.
"""

SHARE_RUN = 24
"""Shares of an output that are added in a row; the sums of several such rows are added again."""

SHARE_VALUES = 1 << 20
"""Values of the shares that are held at once: 4 MiB of float32. Fewer are added faster, but in more
calls.
"""

ROW_VALUES = 1 << 20
"""Values of the windows that are copied out for one call: 4 MiB of float32."""

TILE_MACS = 1 << 26
"""Multiply-adds in a tile: a millisecond, compared with which the fixed cost of a tile is small."""

LEAST_MACS = 1 << 22
"""Multiply-adds that are enough for a tile: a tenth of a millisecond."""

TILE_OUTPUTS = 1 << 19
"""Outputs in a tile, at most: 2 MiB of float32."""

TILE_PLACES = 144
"""Positions that a tile has at least: they share the cost of reading the kernels."""

STRETCH = 96
"""Terms that a product adds in a row, at most. Longer stretches are not faster (160, 192, 256 and
384 took as long or a tenth longer), and shorter ones have more shares to add up."""

SHORTEST_RUN = 16
"""Contiguous samples of a window from which it is read in place: products of fewer terms are slow.
"""

SHORT_RUN = 32
"""The same if one product of windows that are copied out would suffice."""

BUNDLE = 32
"""Channels that groups are bundled to have at least: multiplying by zeros, for the channels of the
other groups in the bundle, is faster than calling slim products."""

FEWEST = 16
"""Positions in one call, at least."""

IN_VAIN = 1.08
"""How many more windows than outputs a layer may compute to read them in place; copying them out
costs as much.
"""


@dataclass(frozen=True)
class GemmBlocking:
    """The matrix products of a layer with `filters` kernels of `terms` taps in each of its groups."""

    groups: int
    """Number of groups, after bundling."""
    bundled: int
    """Groups of the layer in one bundle."""
    filters: int
    terms: int
    joined: bool
    """Whether the samples under all taps along the last axis are contiguous, or only those under
    each tap.
    """
    run: int
    """Contiguous samples of a window."""
    in_place: bool
    """Whether windows are read in place, or copied out as rows."""
    longest: int
    """Terms that a product adds in a row, at most."""
    shares: int
    """Products of an output that are added in a row."""
    columns: int
    """Kernels in one product."""
    together: int
    """Positions whose outputs are computed in one call, about."""

    @classmethod
    def of(
        cls,
        axes: tuple[Axis, ...],
        channels: int,
        filters: int,
        groups: int,
        precision: PrecisionName | None,
    ) -> GemmBlocking:
        """Cut the products of a bank of `filters` kernels over so many channels.

        precision: the type whose rounding bounds the error; None where no sum rounds.

        >>> layer = GemmBlocking.of((Axis(56, 3), Axis(56, 3)), 64, 64, 1, "float32")
        >>> layer.in_place, layer.run, layer.longest, layer.together
        (True, 192, 96, 2080)
        """
        bundled = bundle(channels // groups, groups)
        groups //= bundled
        last, each = axes[-1], filters // groups
        terms = math.prod(axis.k for axis in axes) * channels // groups
        joined = groups == 1 and (last.dilation == 1 or last.k == 1)
        run = channels // groups * (last.k if joined else 1)
        dense = all(axis.stride == 1 for axis in axes) and last.padded <= IN_VAIN * last.out
        longest = stretch_of(terms, precision)
        in_place = dense and run >= (SHORT_RUN if run < terms <= longest else SHORTEST_RUN)
        columns = -(-each // -(-each * min(longest, run if in_place else terms) // COLUMN_VALUES))
        leads, stretches = _cut(terms, run if in_place else terms, longest)
        shares = leads * min(max(SHARE_RUN // leads, 1), stretches)
        rows = rows_of(columns * (min(longest, run) if in_place else longest))
        most = min(rows * BLOCKS, SHARE_VALUES // (columns * shares))
        if not in_place:
            most = min(most, ROW_VALUES // terms)
        return cls(
            groups,
            bundled,
            each,
            terms,
            joined,
            run,
            in_place,
            longest,
            shares,
            columns,
            max(most, FEWEST),
        )

    def tile(self, places: int) -> int:
        """Return the positions of a tile, out of so many in all."""
        filters = self.filters * self.groups
        shared = max(-(-places // TILES), LEAST_MACS // (self.terms * filters))
        return max(
            min(TILE_MACS // self.terms // filters, TILE_OUTPUTS // filters, shared), TILE_PLACES
        )

    def scratch(self, places: int) -> int:
        """Return the values that a thread holds besides samples and outputs, for a tile of so many
        positions.
        """
        leads, stretches = _cut(self.terms, self.run if self.in_place else self.terms, self.longest)
        sums = self.shares + -(-stretches // (self.shares // leads)) + 2
        places = math.ceil(min(self.together, places) * (IN_VAIN if self.in_place else 1))
        return places * (self.columns * sums + (0 if self.in_place else self.terms))


def rows_of(taps: int) -> int:
    """Return the most rows of a product with so many taps.

    >>> rows_of(48 * 64)
    260
    """
    return max(PRODUCT // taps, 1)


def _cut(terms: int, run: int, longest: int) -> tuple[int, int]:
    """Return the number of contiguous runs of an output's terms, and of the products for each.

    >>> _cut(576, 192, 48)
    (3, 4)
    """
    return terms // run, -(-run // longest)


def bundle(depth: int, groups: int) -> int:
    """Return how many groups of `depth` channels to bundle.

    >>> bundle(4, 32), bundle(64, 2), bundle(3, 4), bundle(3, 1)
    (8, 1, 4, 1)
    """
    return next((m for m in range(1, groups) if groups % m == 0 and m * depth >= BUNDLE), groups)


def stretch_of(terms: int, precision: PrecisionName | None) -> int:
    """Return how many of so many terms one product may add in a row, whatever their values.

    >>> stretch_of(27, "float32"), stretch_of(576, "float32"), stretch_of(576, None)
    (15, 96, 576)
    """
    if precision is None:
        return terms
    return min(terms, STRETCH, int(roundings_allowed(precision, terms)))
