"""How a layer is cut into matrix products: from shapes alone, standard library only.

The products are small, as small as OpenBLAS multiplies without copying its operands first, and a call makes many of
them, because between calls the threads wait for the interpreter. engine/gemm.py draws how windows become their rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convcli.engine.planning.facts import PrecisionName, roundings_allowed
from convcli.engine.planning.tiles import TILES
from convcli.shapes.axis import Axis

PRODUCT = 800_000
"""Multiply-adds of one product, about. OpenBLAS multiplies up to a million without copying its operands first: 55
thousand million a second instead of 47. Lines whose ends are computed in vain make a product a little larger."""

BLOCKS = 16
"""GemmBlocking, one behind the other, that windows are given to in one call."""

COLUMN_VALUES = 6144
"""Taps in one product: 24 KiB of float32, which stay in a first-level cache beside the rows that meet them."""

SHARE_RUN = 24
"""Shares of an output that are added up in a row, sums of which are added up again."""

SHARE_VALUES = 1 << 20
"""Values that the shares of some outputs take: 4 MiB of float32. Fewer are added up faster, but in more calls."""

ROW_VALUES = 1 << 20
"""Values of the windows that are copied out for one call: 4 MiB of float32."""

TILE_MACS = 1 << 26
"""Multiply-adds in a tile: a millisecond, beside which what a tile costs besides is little."""

LEAST_MACS = 1 << 22
"""Multiply-adds that are enough for a tile: a tenth of a millisecond."""

TILE_OUTPUTS = 1 << 19
"""Outputs in a tile, at most: 2 MiB of float32."""

TILE_PLACES = 144
"""Places that a tile has at least: they share what it costs to read the kernels."""

STRETCH = 96
"""Terms that a product adds in a row, at most. Longer stretches are not faster (160, 192, 256 and 384 took as long or a
tenth longer), and shorter ones have more shares to add up."""

SHORTEST_RUN = 16
"""Samples that lie in a row in a window, for it to be read in place: products of fewer terms are slow."""

SHORT_RUN = 32
"""The same where one product of windows that are copied out would do."""

BUNDLE = 32
"""Channels that groups have at least, or are bundled until they do: zeros that stand for the other groups' channels are
multiplied faster than slim products are called."""

FEWEST = 16
"""Places in one call, at least."""

IN_VAIN = 1.08
"""How many more windows than outputs a layer that reads them in place may have; copying them out costs as much."""


@dataclass(frozen=True)
class GemmBlocking:
    """The products of a layer of `filters` kernels in each of `groups`, of so many `terms`."""

    groups: int
    """Of the layer, or bundles of them."""
    bundled: int
    """Groups of the layer in one of those."""
    filters: int
    terms: int
    joined: bool
    """Whether the samples under all taps along the last axis lie in a row, or only those under each."""
    run: int
    """Samples of a window that lie in a row."""
    in_place: bool
    """Whether windows are read where they lie, or copied out as rows."""
    longest: int
    """Terms that a product adds in a row, at most."""
    shares: int
    """GemmBlocking of an output that are added up in a row."""
    columns: int
    """Kernels in one product."""
    together: int
    """Places whose outputs are computed in one call, about."""

    @classmethod
    def of(
        cls, axes: tuple[Axis, ...], channels: int, filters: int, groups: int, precision: PrecisionName | None
    ) -> GemmBlocking:
        """The products of a bank of `filters` kernels over so many channels.

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
        return cls(groups, bundled, each, terms, joined, run, in_place, longest, shares, columns, max(most, FEWEST))

    def tile(self, places: int) -> int:
        """Places of a tile, of so many in all."""
        filters = self.filters * self.groups
        shared = max(-(-places // TILES), LEAST_MACS // (self.terms * filters))
        return max(min(TILE_MACS // self.terms // filters, TILE_OUTPUTS // filters, shared), TILE_PLACES)

    def scratch(self, places: int) -> int:
        """Values that a thread holds besides samples and outputs, for a tile of so many places: what it adds up."""
        leads, stretches = _cut(self.terms, self.run if self.in_place else self.terms, self.longest)
        sums = self.shares + -(-stretches // (self.shares // leads)) + 2
        places = math.ceil(min(self.together, places) * (IN_VAIN if self.in_place else 1))
        return places * (self.columns * sums + (0 if self.in_place else self.terms))


def rows_of(taps: int) -> int:
    """The most rows of a product that meets so many taps in each.

    >>> rows_of(48 * 64)
    260
    """
    return max(PRODUCT // taps, 1)


def _cut(terms: int, run: int, longest: int) -> tuple[int, int]:
    """How many runs the terms of an output lie in, and how many products add each of them up.

    >>> _cut(576, 192, 48)
    (3, 4)
    """
    return terms // run, -(-run // longest)


def bundle(depth: int, groups: int) -> int:
    """How many groups of `depth` channels go together.

    >>> bundle(4, 32), bundle(64, 2), bundle(3, 4), bundle(3, 1)
    (8, 1, 4, 1)
    """
    return next((m for m in range(1, groups) if groups % m == 0 and m * depth >= BUNDLE), groups)


def stretch_of(terms: int, precision: PrecisionName | None) -> int:
    """The most of so many terms that one product adds in a row, whatever they are.

    >>> stretch_of(27, "float32"), stretch_of(576, "float32"), stretch_of(576, None)
    (15, 96, 576)
    """
    if precision is None:
        return terms
    return min(terms, STRETCH, int(roundings_allowed(precision, terms)))
