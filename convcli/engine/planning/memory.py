"""Working memory of a plan beyond the input and the output, from shapes and types.

::

    shared by all threads   the prepared kernel: as bands, columns or a spectrum
    of each thread          the padded block under its tile | the sums, before they are stored
                            | further arrays of the method

The parts that all methods have are computed here, the others by the method's `memory`. Every
number is an upper bound: an array that only some tiles need, such as a padded block, is always
counted. So is the recomputation by `direct` of a tile with a NaN or an overflow of float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convcli.engine.methods.base import Method
from convcli.engine.methods.summation import pending_sums
from convcli.engine.planning.facts import Work, wide_integer
from convcli.engine.planning.tiles import ODD
from convcli.options import itemsize

BUDGET = 1 << 26
"""Most working bytes of a plan with several threads; a single thread may need more."""

SMALL_THINGS = 1 << 17
"""Bytes of a thread's views and lists, and of numpy's internal buffers."""


@dataclass(frozen=True)
class Memory:
    """Bytes that all threads share, and bytes of each thread."""

    shared: int
    per_thread: int

    def threads(self, most: int) -> int:
        """Return the number of threads, from 1 to `most`, that do not exceed BUDGET.

        >>> Memory(shared=1 << 20, per_thread=20 << 20).threads(8)
        3
        """
        return max(min(most, (BUDGET - self.shared) // self.per_thread), 1)

    def total(self, threads: int) -> int:
        """Return the bytes of `threads` threads together."""
        return self.shared + threads * self.per_thread


def plan_memory(work: Work, tile: tuple[int, ...], method: Method) -> Memory:
    """Return the memory that a method needs to compute `work` in tiles of the given shape."""
    needs, size, outputs = method.memory(work, tile), method.itemsize(work), work.tile_outputs(tile)
    rows = work.lead(tile) * math.prod(tile[1:-1])
    sums = (outputs + (rows * ODD if method.pads_rows(work) else 0)) * size
    block = work.tile_samples(tile, inner=not method.pads_inner(work)) * (
        itemsize(work.facts.input_dtype) if method.keeps_dtype(work) else size
    )
    storing = outputs * 20 if wide_integer(work.dtype) and itemsize(work.dtype) == 8 else 0
    shared, passing = needs.shared, max(_repeated(work, tile), storing)
    residues = 0
    if work.facts.exact:
        shared += 2 * work.taps * 8
        residues = (6 + pending_sums(work.terms)) * outputs * 8 + work.tile_samples(tile) * 8
    redone = 0
    checked = method.spreads_nan(work) or method.accumulator(work) == "float32"
    if checked and work.facts.input_dtype.startswith("float"):
        again = method.definition_memory(work, tile)
        shared, redone = shared + again.shared, again.per_thread
    return Memory(
        shared, needs.per_thread + sums + block + redone + residues + passing + SMALL_THINGS
    )


def _repeated(work: Work, tile: tuple[int, ...]) -> int:
    """Return the bytes of the samples that are copied into the padding of a tile."""
    if work.spec.boundary == "constant":
        return 0
    samples = work.tile_samples(tile)
    spans = [axis.span(outputs) for axis, outputs in zip(work.axes, tile[1:], strict=True)]
    sides = [
        samples // span * min(max(axis.lo, axis.hi), span)
        for axis, span in zip(work.axes, spans, strict=True)
    ]
    return max(sides) * itemsize(work.facts.input_dtype)
