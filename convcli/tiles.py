"""Where a plan cuts the work: tiles of the output that a core's cache holds, and what they take in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from convcli.facts import Facts
from convcli.products import Products
from convcli.shapes import Axis

BANDED = ("gemm", "separable")
"""Methods whose products are with a band matrix, where the kernel is no bank."""

TILE_VALUES = 1 << 16
"""Outputs in a tile: a float32 accumulator of 256 KiB, which with its scratch and its input stays in a 1 MiB
second-level cache. Half and twice as many were both slower on 4096x4096 under 3x3."""

BAND_TILE = 1 << 19
"""Outputs in a tile of the banded methods: 2 MiB of float32."""

BAND_WIDTH = 1 << 13
"""Outputs in its row: a longer row is cut, so that a tile has rows enough to share what lies between them."""

BAND_ROWS = (128, 64, 32)
"""Its rows under a full-rank kernel: the most whose stacked copies keep to STACK_VALUES, or so many."""

STACK_VALUES = 13 << 17
"""Values of the stacked copies of a tile: 6.5 MiB of float32, more than a core's own cache, but fewer and larger pieces
make the threads wait less for the interpreter."""

DOWN = 4
"""Outputs in a block of a band down an axis: as few zeros as a product runs at full speed with. Two take as long."""

ALONG = 16
"""Outputs in a block of a band along the last axis: a vector of the processor."""

WIDE = 32
"""So many values after an axis make its blocks matrices of their own; fewer are woven into the band."""

FFT_BATCH = 1 << 18
"""Samples of the tiles that are transformed in one call: 1 MiB of float32, and as much for their spectra."""

FFT_SIZES = tuple(n << power for power in range(2, 24) for n in (2, 3))
"""Lengths of a transform: products of small primes, which are fast."""

FFT_EDGES = {1: (1 << 12, 1 << 14), 2: (128, 512), 3: (32, 96)}
"""The tile's shortest and longest edge, by dimensions: shorter ones cost more in calls, longer ones leave the cache."""


def tile_of(facts: Facts, axes: tuple[Axis, ...], method: str, products: Products | None) -> tuple[int, ...]:
    """Items of the first batch axis, and outputs along each spatial axis, that one tile covers."""
    first, *rest = (axis.out for axis in axes)
    strides = math.prod(axis.stride for axis in axes)
    budget = TILE_VALUES // facts.out_lanes
    if products is not None:
        budget = products.tile
    elif method == "gemm" and facts.filters is not None:
        budget = 2 * TILE_VALUES // facts.out_lanes
    elif method == "fft":
        items, rows = _fft_rows(facts, axes)
        if rest:
            each = _fft_outputs(axes, 1)
            samples = facts.lanes * rows * math.prod(rest[1:]) * each * strides
            rest[0] = min(each * max(BAND_TILE // samples, 1), rest[0])
        return items, rows, *rest
    elif method != "direct":
        budget = BAND_TILE // (facts.out_lanes * strides)
        if rest:
            rows, width = _band(facts, axes, method)
            rest[0] = _evenly(rest[0], max(width // math.prod(rest[1:]), 1))
            budget = min(budget, rows * math.prod(rest))
    inner = math.prod(facts.batch[1:]) * math.prod(rest)
    least = DOWN if method in BANDED else 1
    rows = min(max(budget // max(inner, 1), least), first)
    items = min(max(budget // max(inner * first, 1), 1), facts.batch[0]) if facts.batch else 1
    if products is not None:
        items, rows = _evenly(facts.batch[0], items), _evenly(first, rows)
    return items, rows, *rest


def _band(facts: Facts, axes: tuple[Axis, ...], method: str) -> tuple[int, int]:
    """The most rows of a banded tile, and the most outputs in its row."""
    width = min(BAND_WIDTH // facts.lanes, math.prod(axis.out for axis in axes[1:]))
    if method == "separable":
        return BAND_TILE, width
    for rows in BAND_ROWS:
        fitting = STACK_VALUES // (_samples(axes[:1], (rows,)) * axes[-1].k * facts.lanes)
        if fitting >= width:
            break
    return rows, min(width, fitting)


def _evenly(places: int, most: int) -> int:
    """The length of equal pieces of at most `most`.

    >>> _evenly(4094, 4096), _evenly(4097, 4096)
    (4094, 2049)
    """
    return -(-places // -(-places // most))


def _samples(axes: tuple[Axis, ...], outputs: Sequence[int]) -> int:
    """Samples under a tile of so many outputs along each axis."""
    return math.prod(axis.span(count) for axis, count in zip(axes, outputs, strict=True))


def stacked_taps(facts: Facts, axes: tuple[Axis, ...], tile: tuple[int, ...]) -> int:
    """Copies of a tile's rows, one for each tap along them, that may stand at a time."""
    return max(STACK_VALUES // _stacked_values(facts, axes, tile), 1)


def _stacked_values(facts: Facts, axes: tuple[Axis, ...], tile: tuple[int, ...]) -> int:
    items, rows, *rest = tile
    return items * math.prod(facts.batch[1:]) * _samples(axes[:1], (rows,)) * (math.prod(rest) * facts.lanes + 31)


def pass_widths(facts: Facts, axes: tuple[Axis, ...]) -> list[int]:
    """Values behind a sample of each axis, which a pass along it keeps together: the axes after it are whole still.

    From WIDE on they are the columns of a band's product, in blocks of DOWN outputs.
    """
    after = [*(axis.span(axis.out) for axis in axes[1:]), facts.lanes]
    return [math.prod(after[at:]) for at in range(len(after))]


def lanewise_layer(facts: Facts, groups: int) -> bool:
    """Whether every lane has one kernel of its own: no sum over channels to give to a matrix product."""
    return facts.filters == facts.lanes == groups


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


def _fft_rows(facts: Facts, axes: tuple[Axis, ...]) -> tuple[int, int]:
    """A transform's outputs along the first axis; for signals those of as many as are batched."""
    size, step = fft_tile(axes), _fft_outputs(axes, 0)
    several = max(FFT_BATCH // math.prod(size), 1) if len(axes) == 1 else 1
    rows = min(step * several, axes[0].out)
    items = max(FFT_BATCH // math.prod(size), 1) if rows == axes[0].out else 1
    return (min(items, facts.batch[0]) if facts.batch else 1), rows


def _fft_outputs(axes: tuple[Axis, ...], at: int) -> int:
    """Outputs along one axis that a transform gives."""
    return max((fft_tile(axes)[at] - axes[at].reach + 1) // axes[at].stride, 1)


def tiles_of(facts: Facts, axes: tuple[Axis, ...], tile: tuple[int, ...]) -> int:
    """How many tiles cover the output; a picture's sides may have a few of their own."""
    whole = (facts.batch[0] if facts.batch else 1, *(axis.out for axis in axes))
    return math.prod(-(-size // length) for size, length in zip(whole, tile, strict=True))


def memory_of(
    facts: Facts,
    axes: tuple[Axis, ...],
    tile: tuple[int, ...],
    method: str,
    products: Products | None,
    size: int,
    stored: bool,
) -> int:
    """Bytes that a tile holds: the padded block, and a signal's copy of it; sums; and scratch.

    size: bytes of a number on the way; stored: whether it is stored as another type in the end. Sums of several terms
    have a second place to be added from, which is the first where they are computed in the output.
    """
    items, *outputs = tile
    lead = items * math.prod(facts.batch[1:])
    places = lead * math.prod(outputs)
    block = lead * _samples(axes, outputs) * facts.lanes
    scratch = 0
    if products is not None:
        scratch = products.scratch
    elif method == "gemm" and facts.filters is not None:
        scratch = axes[-1].k * block
    elif method == "gemm":
        copies = min(stacked_taps(facts, axes, tile), axes[-1].k if len(axes) > 1 else 1)
        scratch = copies * _stacked_values(facts, axes, tile)
    elif method == "fft":
        size_of_tile = math.prod(fft_tile(axes))
        scratch = 3 * max(FFT_BATCH, size_of_tile) + 2 * size_of_tile
    elif method == "separable":
        scratch = sum(
            lead * math.prod(outputs[:at]) * (_samples(axes[at:], outputs[at:]) * facts.lanes + 31)
            for at in range(1, len(axes))
        )
    blocks = 2 if len(axes) == 1 else 1
    sums = 2 if stored and products is None else 1
    return (sums * places * facts.out_lanes + blocks * block + scratch) * size
