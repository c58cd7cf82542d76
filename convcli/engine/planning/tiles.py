"""Rules, shared by several methods, for tiles of an output that fit a core's cache."""

from __future__ import annotations

import math
from collections.abc import Sequence

from convcli.engine.planning.facts import Facts, Work
from convcli.shapes.axis import Axis, samples_under

TILES = 4
"""Least number of tiles for the threads, if each tile is still large enough."""

TILE_VALUES = 1 << 16
"""Outputs in a tile: a float32 accumulator of 256 KiB, which fits a 1 MiB second-level cache with
its scratch and its input. Half and twice this size were both slower on 4096x4096 with 3x3."""

BAND_TILE = 1 << 18
"""Outputs in a tile of passes along the axes: 1 MiB of float32. Half and twice as many took up to a
tenth longer: their results leave the cache, or threads wait for the interpreter between calls."""

BAND_SAMPLES = 1 << 20
"""Most samples under such a tile: 4 MiB of float32. A large kernel covers many more samples than
the tile has outputs."""

LEAST_ROWS = 64
"""Least rows of such a tile: with fewer, tiles read the same samples several times."""

BAND_WIDTH = 1 << 13
"""Outputs in its row: longer rows are cut, so that a tile has more rows and less overlap."""

DOWN = 4
"""Outputs in a block of a band down an axis: the fewest zeros at a product's full speed. Blocks of
two take the same time."""

ALONG = 16
"""Outputs in a block of a band along the last axis: one vector register of float32."""

ODD = 31
"""Most values that lengthen a row, so that rows do not compete for the same cache sets."""

WIDE = 32
"""Values after an axis from which its blocks are matrices; fewer are part of the band."""

LINE = 1 << 13
"""Values of a line that a depthwise layer computes at a time: their taps of 3x3 fit the cache."""


def layer_rest(work: Work, seen: int = BAND_SAMPLES) -> list[int]:
    """Return the outputs of a layer's tile along the axes after the first; a long last is cut.

    seen: the most samples of a tile of DOWN rows.
    """
    rest = list(work.sizes[1:])
    if rest:
        under = (DOWN, *rest[:-1])
        fitting = fitting_outputs(work.axes, len(rest), under, work.facts.channels, seen)
        made = BAND_TILE // (math.prod(under) * work.facts.out_channels)
        rest[-1] = evenly(rest[-1], min(fitting, max(made, DOWN)))
    return rest


def band_tile(
    work: Work,
    budget: int,
    seen: int,
    coarse: int = 0,
    whole_rows: bool = False,
) -> tuple[int, ...]:
    """Return a tile of products with a band matrix.

    budget, seen: the most outputs (in each channel) and samples of it. coarse: the number that many
    rows are a multiple of. whole_rows: do not cut rows.
    """
    axes, channels, rest = work.axes, work.facts.channels, list(work.sizes[1:])
    if rest:
        if whole_rows:
            seen = max(seen, 2 * axes[0].reach * pass_widths(work)[0])
        else:
            width = min(BAND_WIDTH // channels, math.prod(rest)) // math.prod(rest[1:])
            rest[0] = evenly(
                rest[0], max(min(width, fitting_outputs(axes, 1, (LEAST_ROWS,), channels, seen)), 1)
            )
        budget = min(budget, fitting_outputs(axes, 0, rest, channels, seen) * math.prod(rest))
    return strip(work, budget, rest, DOWN, coarse)


def strip(
    work: Work, budget: int, rest: Sequence[int], step: int = 1, coarse: int = 0
) -> tuple[int, ...]:
    """Return a tile of about `budget` outputs in each channel: rows of one item, or several items.

    rest: outputs along the axes after the first. The rows of a tile are a multiple of `coarse` if
    a tile has at least twice as many, otherwise of `step`.
    """
    first, inner = work.sizes[0], max(math.prod(work.facts.batch[1:]) * math.prod(rest), 1)
    most = budget // inner
    step = coarse if coarse and most >= 2 * coarse else step
    items = several_items(work.facts, max(most // first, 1))
    return (items, min(even_shares(first, most, step), first), *rest)


def fitting_outputs(
    axes: tuple[Axis, ...], at: int, outputs: Sequence[int], channels: int, most: int
) -> int:
    """Return the most outputs along axis `at` for which a tile covers at most `most` samples.

    outputs: the tile's, along the other axes in order; axes without one are whole.
    """
    others = axes[:at] + axes[at + 1 :]
    counts = (*outputs, *(axis.out for axis in others[len(outputs) :]))
    samples = most // (samples_under(others, counts) * channels)
    return max((samples - axes[at].reach) // axes[at].stride + 1, DOWN)


def evenly(places: int, most: int) -> int:
    """Return the length of equal pieces of at most `most`.

    >>> evenly(4094, 4096), evenly(4097, 4096)
    (4094, 2049)
    """
    return -(-places // -(-places // most))


def even_shares(places: int, most: int, step: int) -> int:
    """Return the length of equal pieces, a multiple of `step` and at most `most`.

    The number of pieces is one that threads share evenly.

    >>> even_shares(4096, 192, 4), even_shares(4096, 5000, 4), even_shares(100, 3, 4)
    (172, 4096, 4)
    """
    count = -(-places // max(most // step * step, step))
    if count > 1:
        multiple = 2 if count < 2 * TILES else TILES
        count = -(-count // multiple) * multiple
    length = -(-places // count)
    return -(-length // step) * step


def several_items(facts: Facts, items: int) -> int:
    """Return `items`, or the length of the first batch axis if that is shorter."""
    return min(items, facts.batch[0]) if facts.batch else 1


def pass_widths(work: Work) -> list[int]:
    """Return, per axis, the number of contiguous values that a pass along it treats as one sample.

    From WIDE values on they are the columns of a band's product, in blocks of DOWN outputs.
    """
    after = [*(axis.span(axis.out) for axis in work.axes[1:]), work.facts.channels]
    return [math.prod(after[at:]) for at in range(len(after))]


def line_places(channels: int, most: int) -> int:
    """Return how many positions of a line are computed at a time: at most `most`.

    >>> line_places(64, 1000), line_places(10_000, 1000), line_places(1, 1000)
    (128, 1, 1000)
    """
    return min(max(LINE // channels, 1), most)
