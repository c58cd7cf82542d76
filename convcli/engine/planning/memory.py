"""The memory that a plan works in, beyond the input and the output: from shapes and types alone.

::

    all threads together   what the method prepares: the kernel as bands, columns or a spectrum
    each of them           the padded block under its tile | the sums, before they are stored
                           | what the method allocates besides

What is common to all methods is here; what each of them allocates, its `memory` says. Every figure
is an upper bound: what can often be left out, such as a block of samples that are read in place,
counts wherever some tile may need it. A tile that holds a NaN, or overflows float32, is computed
once more by `direct`, and that counts too.
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
"""Bytes that the threads of a plan work in; one thread alone may need more."""

SMALL_THINGS = 1 << 17
"""Bytes of a thread's views and lists, and of numpy's own buffers."""

TERM = 600
"""Bytes of Python's own for each term of a sum tap by tap: tuples of numbers, slices and a view."""

REDONE = 1 << 14
"""Outputs of a tile with a NaN that are computed once more at a time: few, since sums of a large
kernel wait for each other by the dozen."""


@dataclass(frozen=True)
class Memory:
    """Bytes that all threads share, and bytes of each thread."""

    shared: int
    per_thread: int

    def threads(self, most: int) -> int:
        """Return the most threads, up to `most` and at least one, that do not exceed BUDGET.

        >>> Memory(shared=1 << 20, per_thread=20 << 20).threads(8)
        3
        """
        return max(min(most, (BUDGET - self.shared) // self.per_thread), 1)

    def total(self, threads: int) -> int:
        """Return the bytes that a number of threads hold."""
        return self.shared + threads * self.per_thread


def plan_memory(work: Work, tile: tuple[int, ...], method: Method) -> Memory:
    """Return what the threads hold that compute `work` in such tiles by a method."""
    needs, size, outputs = method.memory(work, tile), method.itemsize(work), work.tile_outputs(tile)
    rows = work.lead(tile) * math.prod(tile[1:-1])
    sums = (outputs + (rows * ODD if method.pads_rows else 0)) * size
    block = work.tile_samples(tile) * (
        itemsize(work.facts.input_dtype) if method.keeps_dtype(work) else size
    )
    storing = outputs * 20 if wide_integer(work.dtype) and itemsize(work.dtype) == 8 else 0
    shared, passing = needs.shared, max(_repeated(work, tile), storing)
    residues = 0
    if work.facts.exact:
        shared += work.terms * TERM + work.taps * 8
        residues = (6 + pending_sums(work.terms)) * outputs * 8 + work.tile_samples(tile) * 8
    redone = 0
    checked = method.spreads_nan(work) or method.accumulator(work) == "float32"
    if checked and work.facts.input_dtype.startswith("float"):
        shared += work.terms * TERM
        redone = (1 + pending_sums(work.terms)) * min(max(REDONE, outputs // tile[1]), outputs) * 8
    return Memory(
        shared, needs.per_thread + sums + block + redone + residues + passing + SMALL_THINGS
    )


def _repeated(work: Work, tile: tuple[int, ...]) -> int:
    """Bytes of the samples that are copied into the padding of a tile."""
    if work.spec.boundary == "constant":
        return 0
    samples = work.tile_samples(tile)
    spans = [axis.span(outputs) for axis, outputs in zip(work.axes, tile[1:], strict=True)]
    sides = [
        samples // span * min(max(axis.lo, axis.hi), span)
        for axis, span in zip(work.axes, spans, strict=True)
    ]
    return max(sides) * itemsize(work.facts.input_dtype)
