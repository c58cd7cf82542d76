"""Where a plan cuts the work: tiles of the output that a core's cache holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from convcli.engine.planning.blocking import TILES, GemmBlocking
from convcli.engine.planning.facts import Facts
from convcli.shapes.axis import Axis, samples_under

BANDED = ("gemm", "separable")
"""Methods whose products are with a band matrix, where the kernel is no bank."""

TILE_VALUES = 1 << 16
"""Outputs in a tile: a float32 accumulator of 256 KiB, which with its scratch and its input stays in a 1 MiB
second-level cache. Half and twice as many were both slower on 4096x4096 under 3x3."""

REDONE = 1 << 14
"""Outputs of a tile with a NaN that are computed once more at a time: few, since sums of a large kernel wait for each
other by the dozen."""

BAND_TILE = (1 << 19, 3 << 18)
"""Outputs in a tile of passes along the axes, where it leaves twice TILES of them, and the most: 3 MiB of float32."""

BAND_SAMPLES = 1 << 20
"""Samples that they may see: 4 MiB of float32. A kernel that reaches far sees many more than it has outputs."""

LEAST_ROWS = 64
"""Rows of such a tile, at least: fewer would see the same samples again and again."""

BAND_WIDTH = 1 << 13
"""Outputs in its row: a longer row is cut, so that a tile has rows enough to share what lies between them."""

FULL_TILE = (1 << 18, 3 << 19)
"""The same for a full-rank kernel, and the most: 6 MiB of float32. Over smaller tiles of either kind two threads took a
tenth longer: while one makes the views of a tile, the other waits for the interpreter."""

AMPLE = 1 << 25
"""Multiply-adds of such a tile that are enough even where its outputs are fewer."""

FEW_TAPS = 128
"""Taps of a kernel up to which it is rarely taken in pieces, whose sums wait for each other: beyond, tiles are half as
large."""

FULL_SEEN = 1 << 18
"""Samples that such a tile may see besides as many as it has outputs."""

PANEL_VALUES = 1 << 18
"""Values of the stacked copies of a panel: 1 MiB of float32, in a second-level cache."""

PANEL_ROWS = 32
"""Outputs in a column of a panel, where that leaves it a row to be cut: few, so that its rows are long, for a processor
reads ahead along a row; fewer would copy more of the rows that several panels see."""

WHOLE_PANELS = 4
"""Panels in a column of a tile from which it has as many rows as they fill: fewer may overlap instead."""

PANEL_WIDTH = 64
"""Values in its row, at least: slimmer products are slow."""

DOWN = 4
"""Outputs in a block of a band down an axis: as few zeros as a product runs at full speed with. Two take as long."""

ALONG = 16
"""Outputs in a block of a band along the last axis: a vector of the processor."""

ODD = 31
"""Values by which a row is lengthened, at most, to keep rows out of each other's places in the cache."""

WIDE = 32
"""So many values after an axis make its blocks matrices of their own; fewer are woven into the band."""

LINE = 1 << 13
"""Values of a line that a depthwise layer takes at a time: all taps of 3x3 for so many stay in the cache."""

RUN = 9
"""Terms added one by one: those of a 3x3 kernel in one run."""

FFT_BATCH = 1 << 18
"""Samples of the tiles that are transformed in one call: 1 MiB of float32, and as much for their spectra."""

FFT_SAMPLES = 1 << 20
"""Samples of a row of such tiles, about: 4 MiB of float32."""

FFT_SIZES = tuple(n << power for power in range(2, 24) for n in (2, 3))
"""Lengths of a transform: products of small primes, which are fast."""

FFT_EDGES = {1: (1 << 13, 1 << 14), 2: (128, 512), 3: (32, 96)}
"""The tile's shortest and longest edge, by dimensions: shorter ones cost more in calls, longer ones leave the cache."""


def tile_of(
    facts: Facts, axes: tuple[Axis, ...], method: str, products: GemmBlocking | None, size: int
) -> tuple[int, ...]:
    """Items of the first batch axis, and outputs along each spatial axis, that one tile covers.

    size: bytes of a sum.
    """
    first, *rest = (axis.out for axis in axes)
    budget = TILE_VALUES // facts.out_channels
    if products is not None:
        budget = products.tile(math.prod(facts.batch) * math.prod(axis.out for axis in axes))
    elif method == "gemm" and facts.filters is not None:
        budget = 2 * TILE_VALUES // facts.out_channels
    elif method == "fft":
        return _fft_cut(facts, axes)
    elif method != "direct":
        most, seen = _whole_tile(facts, axes, method, size)
        budget = most // (facts.channels if rest or method == "separable" else facts.channels + ODD)
        if rest:
            width = min(BAND_WIDTH // facts.channels, math.prod(rest))
            across = min(width // math.prod(rest[1:]), _fitting(axes, 1, (LEAST_ROWS,), facts.channels, seen))
            behind = pass_widths(facts, axes)[0]
            if method == "separable" and behind < WIDE:  # woven into the band, whole
                seen = max(seen, 2 * axes[0].reach * behind)
            else:
                rest[0] = evenly(rest[0], max(across, 1))
            budget = min(budget, _fitting(axes, 0, rest, facts.channels, seen) * math.prod(rest))
    if facts.filters is not None and rest:
        seen = _fitting(axes, len(rest), (DOWN, *rest[:-1]), facts.channels, BAND_SAMPLES)
        made = BAND_TILE[0] // (DOWN * math.prod(rest[:-1]) * facts.out_channels)
        rest[-1] = evenly(rest[-1], min(seen, max(made, DOWN)))
    inner = math.prod(facts.batch[1:]) * math.prod(rest)
    most = budget // max(inner, 1)
    stacked = method == "gemm" and facts.filters is None and most >= WHOLE_PANELS * PANEL_ROWS
    step = PANEL_ROWS if stacked else DOWN
    rows = min(_shared(first, most, step), first) if method in BANDED else evenly(first, max(most, 1))
    items = _several(facts, max(budget // max(inner * first, 1), 1))
    if products is not None:
        rows = min(-(-budget // inner), first)
        items, rows = evenly(facts.batch[0], items), evenly(first, rows)
    return items, rows, *rest


def _whole_tile(facts: Facts, axes: tuple[Axis, ...], method: str, size: int) -> tuple[int, int]:
    """The most outputs of a banded method's tile, and the most samples under it."""
    (enough, most), seen = BAND_TILE, BAND_SAMPLES
    if method != "separable":
        taps, (enough, most) = math.prod(facts.window), FULL_TILE
        most //= size // 4 * (1 if taps <= FEW_TAPS else 2)
        enough, seen = min(enough, AMPLE // taps), most + FULL_SEEN
    outputs = math.prod(facts.batch) * math.prod(axis.out for axis in axes) * facts.channels
    return min(max(outputs // (2 * TILES), enough), most), seen


def _fitting(axes: tuple[Axis, ...], at: int, outputs: Sequence[int], channels: int, most: int) -> int:
    """The most outputs along an axis with which the samples under a tile are `most` at most.

    outputs: of the tile along the axes before it, or behind it; those behind axis 1 are whole.
    """
    beside = axes[:at] + axes[at + 1 :]
    counts = (*outputs, *(axis.out for axis in beside[len(outputs) :]))
    samples = most // (samples_under(beside, counts) * channels)
    return max((samples - axes[at].reach) // axes[at].stride + 1, DOWN)


def evenly(places: int, most: int) -> int:
    """The length of equal pieces of at most `most`.

    >>> evenly(4094, 4096), evenly(4097, 4096)
    (4094, 2049)
    """
    return -(-places // -(-places // most))


def _shared(places: int, most: int, step: int) -> int:
    """The length of equal pieces, in whole steps and `most` at most: as many pieces as threads share evenly.

    >>> _shared(4096, 192, 4), _shared(4096, 5000, 4), _shared(100, 3, 4)
    (172, 4096, 4)
    """
    count = -(-places // max(most // step * step, step))
    even = 1 if count == 1 else 2 if count < 2 * TILES else TILES
    length = -(-places // (-(-count // even) * even))
    return -(-length // step) * step


class Panel(NamedTuple):
    """What a full-rank kernel takes at a time: so many items, and outputs along the first two axes."""

    items: int
    rows: int
    places: int


def panel(sizes: Panel, values: int, copies: int, k: int, stride: int) -> Panel:
    """Cut a tile of such sizes into equal panels, of which the last ones may overlap the ones before.

    values: behind a place. copies: that a row stands in, k: taps down the rows.

    >>> panel(Panel(1, 256, 4094), 1, copies=3, k=3, stride=1)
    Panel(items=1, rows=32, places=2047)
    >>> panel(Panel(1000, 8, 8), 1, copies=3, k=3, stride=1)
    Panel(items=200, rows=8, places=8)
    """
    fitting = (PANEL_VALUES // (copies * (sizes.places * values + ODD)) - k) // stride + 1
    rows = max(fitting // DOWN * DOWN, PANEL_ROWS)
    rows = min(-(-evenly(sizes.rows, rows) // DOWN) * DOWN, sizes.rows)
    stacked = copies * ((rows - 1) * stride + k)
    width = max(PANEL_VALUES // stacked - ODD, PANEL_WIDTH)
    places = evenly(sizes.places, max(width // values, 1))
    together = PANEL_VALUES // (stacked * (places * values + ODD)) if (rows, places) == sizes[1:] else 1
    return Panel(evenly(sizes.items, max(together, 1)), rows, places)


def stacked_taps(k: int, stride: int) -> int:
    """Copies of a panel's rows, one for each tap along them, that may stand at a time, under k taps down the rows."""
    return max(PANEL_VALUES // (((PANEL_ROWS - 1) * stride + k) * PANEL_WIDTH), 1)


def pass_widths(facts: Facts, axes: tuple[Axis, ...]) -> list[int]:
    """Values behind a sample of each axis, which a pass along it keeps together: the axes after it are whole still.

    From WIDE on they are the columns of a band's product, in blocks of DOWN outputs.
    """
    after = [*(axis.span(axis.out) for axis in axes[1:]), facts.channels]
    return [math.prod(after[at:]) for at in range(len(after))]


def is_depthwise(facts: Facts, groups: int) -> bool:
    """Whether every channel has one kernel of its own: no sum over channels to give to a matrix product."""
    return facts.filters == facts.channels == groups


def line_places(channels: int, most: int) -> int:
    """Places of a line of so many channels that are taken at a time, at most `most`.

    >>> line_places(64, 1000), line_places(10_000, 1000), line_places(1, 1000)
    (128, 1, 1000)
    """
    return min(max(LINE // channels, 1), most)


def fft_tile(axes: tuple[Axis, ...]) -> tuple[int, ...]:
    """The tile of a transform along each axis: the length for which all of its tiles take the least work.

    >>> fft_tile((Axis(4096, 31), Axis(4096, 31)))
    (256, 256)
    """
    shortest, longest = FFT_EDGES.get(len(axes), (8, 32))
    return tuple(_fft_size(axis, shortest, longest) for axis in axes)


@lru_cache(maxsize=256)
def _fft_size(axis: Axis, shortest: int, longest: int) -> int:
    whole = next((n for n in FFT_SIZES if n >= axis.padded), longest)
    fitting = [n for n in FFT_SIZES if max(axis.reach, min(shortest, whole)) <= n <= max(longest, 4 * axis.reach)]

    def work(n: int) -> float:
        return -(-(axis.padded - axis.reach + 1) // (n - axis.reach + 1)) * n * math.log2(n)

    return min(fitting, key=work, default=axis.reach)


def _fft_cut(facts: Facts, axes: tuple[Axis, ...]) -> tuple[int, ...]:
    """A row of transforms, or as much of it as FFT_SAMPLES; for signals as many as are batched."""
    size = fft_tile(axes)
    batched = max(FFT_BATCH // math.prod(size), 1)
    steps = [max((n - axis.reach + 1) // axis.stride, 1) for n, axis in zip(size, axes, strict=True)]
    if len(axes) == 1:
        rows = min(steps[0] * batched, axes[0].out)
        return _several(facts, batched if rows == axes[0].out else 1), rows
    rows, between, last = min(steps[0], axes[0].out), [axis.out for axis in axes[1:-1]], axes[-1]
    across = size[0] * samples_under(axes[1:-1], between) * size[-1] * facts.channels
    width = min(steps[-1] * max(FFT_SAMPLES // across, 1), last.out)
    fits = (rows, width) == (axes[0].out, last.out)
    return _several(facts, batched if fits else 1), rows, *between, width


def _several(facts: Facts, items: int) -> int:
    """So many items of the first batch axis, or all that there are."""
    return min(items, facts.batch[0]) if facts.batch else 1
