"""Cut a layer into matrix products, from its shapes alone; see methods/gemm.py for the products.

They are small enough for OpenBLAS to multiply without copying its operands, and one call computes
many of them, because between calls the threads wait for the interpreter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convcli.engine.planning.facts import PrecisionName, roundings_allowed
from convcli.engine.planning.tiles import TILES
from convcli.shapes.axis import Axis

PRODUCT = 800_000
"""Approximate multiply-adds of one product. OpenBLAS multiplies up to a million without copying its
operands first: 55 billion per second instead of 47. Windows across the ends of lines, which are
dropped, make a product a little larger."""

BLOCKS = 16
"""Products of different windows in one call."""

COLUMN_VALUES = 6144
"""Taps in one product: 24 KiB of float32, which fit a first-level cache with the windows' rows."""

SHARE_RUN = 24
"""Shares of an output that are added in one run; the sums of several runs are added again."""

FEW_SHARES = 8
"""The same if one product computes the outputs of all kernels."""

SHARE_VALUES = 1 << 20
"""Values of the shares in memory at once: 4 MiB of float32. Fewer are added faster, but in more
calls."""

ROW_VALUES = 1 << 20
"""Values of the windows that are copied for one call: 4 MiB of float32."""

TILE_MACS = 1 << 26
"""Multiply-adds in a tile: a millisecond, compared with which the fixed cost of a tile is small."""

LEAST_MACS = 1 << 22
"""Least multiply-adds of a tile: a tenth of a millisecond."""

TILE_OUTPUTS = 1 << 19
"""Most outputs in a tile: 2 MiB of float32."""

TILE_PLACES = 144
"""Least positions of a tile, which share the cost of reading the kernels."""

STRETCH = 96
"""Most terms that a product adds. Longer stretches are not faster (160, 192, 256 and 384 took the
same time or a tenth more), and shorter ones leave more shares to add."""

SHORTEST_RUN = 16
"""Contiguous samples of a window from which it is read in place: products of fewer terms are slow.
"""

SHORT_RUN = 32
"""The same if one product of copied windows would suffice."""

BUNDLE = 32
"""Least channels of a bundle of groups: multiplying by zeros, for the channels of the other groups
in the bundle, is faster than calling narrow products."""

FEW_PLACES = 256
"""Outputs per kernel up to which its taps are read in place. Products are then a sixth slower, and
copying one tap takes as long as that sixth of 256 multiply-adds."""

FEWEST = 16
"""Least positions in one call."""

IN_VAIN = 1.08
"""Largest ratio of windows computed to outputs for windows read in place: copying costs the same.
"""


@dataclass(frozen=True)
class GemmBlocking:
    """The matrix products of a layer with `filters` kernels of `terms` taps in each group."""

    groups: int
    """Number of groups, after bundling."""
    bundled: int
    """Groups of the layer in one bundle."""
    filters: int
    terms: int
    joined: bool
    """Whether the samples under all taps along the last axis are contiguous, not only per tap."""
    run: int
    """Contiguous samples of a window."""
    in_place: bool
    """Whether windows are read in place, or copied to rows."""
    longest: int
    """Most terms that a product adds."""
    shares: int
    """Products of an output that are added in one run."""
    turned: bool
    """Whether taps are copied to columns."""
    columns: int
    """Kernels in one product."""
    together: int
    """Approximate number of positions whose outputs one call computes."""

    @classmethod
    def of(
        cls,
        axes: tuple[Axis, ...],
        channels: int,
        filters: int,
        groups: int,
        precision: PrecisionName | None,
        places: int,
    ) -> GemmBlocking:
        """Choose the products of a bank of `filters` kernels over `channels` channels.

        precision: the type whose rounding bounds the error; None if no sum rounds. places: outputs
        per kernel.

        >>> layer = GemmBlocking.of((Axis(56, 3), Axis(56, 3)), 64, 64, 1, "float32", 2916)
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
        longest, turned = stretch_of(terms, precision), places > FEW_PLACES
        in_place = dense and run >= (SHORT_RUN if run < terms <= longest else SHORTEST_RUN)
        in_place = in_place and (turned or terms == channels // groups)
        columns = each
        if turned:
            columns = -(
                -each // -(-each * min(longest, run if in_place else terms) // COLUMN_VALUES)
            )
        leads, stretches = _cut(terms, run if in_place else terms, longest)
        shares = leads * min(max((SHARE_RUN if turned else FEW_SHARES) // leads, 1), stretches)
        rows = FEW_PLACES
        if turned:
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
            turned,
            columns,
            max(most, FEWEST),
        )

    def tile(self, places: int) -> int:
        """Return the number of positions of a tile, out of `places` in all."""
        filters = self.filters * self.groups
        shared = max(-(-places // TILES), LEAST_MACS // (self.terms * filters))
        return max(
            min(TILE_MACS // self.terms // filters, TILE_OUTPUTS // filters, shared), TILE_PLACES
        )

    def scratch(self, places: int) -> int:
        """Return the values that a thread allocates, besides samples and outputs, for a tile."""
        leads, stretches = _cut(self.terms, self.run if self.in_place else self.terms, self.longest)
        sums = self.shares + -(-stretches // (self.shares // leads)) + 2
        places = math.ceil(min(self.together, places) * (IN_VAIN if self.in_place else 1))
        return places * (self.columns * sums + (0 if self.in_place else self.terms))


def rows_of(taps: int) -> int:
    """Return the most rows of a product with `taps` taps.

    >>> rows_of(48 * 64)
    260
    """
    return max(PRODUCT // taps, 1)


def _cut(terms: int, run: int, longest: int) -> tuple[int, int]:
    """Return the number of contiguous runs of an output's terms, and of products per run.

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
    """Return how many of `terms` terms one product may add, for any values.

    >>> stretch_of(27, "float32"), stretch_of(576, "float32"), stretch_of(576, None)
    (15, 96, 576)
    """
    if precision is None:
        return terms
    return min(terms, STRETCH, int(roundings_allowed(precision, terms)))
