"""The memory that a plan works in, beyond the input and the output: from shapes and types alone.

::

    all threads together   the kernel in the type of the sums, as bands, columns or a spectrum
    each of them           the padded block under its tile | the sums, before they are stored
                           | shares that are still to be added | what its method lays out besides

Every figure is an upper bound: what can often be left out, such as a block of samples that are read where they lie,
counts wherever some tile may need it. A tile that holds a NaN is computed once more by `direct`, and that counts too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from convcli.engine.planning.blocking import GemmBlocking, stretch_of
from convcli.engine.planning.facts import (
    GROWTH,
    MOST_TERMS,
    Facts,
    PrecisionName,
    precision_of,
    roundings_allowed,
    size_of,
    wide_integer,
)
from convcli.engine.planning.tiles import (
    ALONG,
    BANDED,
    DOWN,
    FFT_BATCH,
    LINE,
    ODD,
    PANEL_VALUES,
    REDONE,
    RUN,
    WIDE,
    Panel,
    fft_tile,
    line_places,
    panel,
    stacked_taps,
)
from convcli.shapes.axis import Axis, samples_under
from convcli.shapes.spec import ConvSpec

BUDGET = 1 << 26
"""Bytes that the threads of a plan work in; one thread alone may need more."""

SMALL_THINGS = 1 << 17
"""Bytes of a thread's views and lists, and of numpy's own buffers."""

TERM = 600
"""Bytes of Python's for a term of `direct`: tuples of numbers, slices and a view."""


@dataclass(frozen=True)
class Working:
    """Bytes that all threads hold together, and that each of them holds besides."""

    together: int
    each: int

    def threads(self, most: int) -> int:
        """How many threads keep to BUDGET: at most so many, and at least one.

        >>> Working(together=1 << 20, each=20 << 20).threads(8)
        3
        """
        return max(min(most, (BUDGET - self.together) // self.each), 1)

    def on(self, threads: int) -> int:
        """Bytes that so many threads hold."""
        return self.together + threads * self.each


class _Needs(NamedTuple):
    """What a method needs: bytes that all threads hold together, and values that each holds besides block and sums."""

    together: int
    laid_out: int
    shares: int = 0
    """Values of sums that are still to be added."""


@dataclass(frozen=True)
class Work:
    """A plan's work, as far as it says what memory it takes."""

    facts: Facts
    spec: ConvSpec
    axes: tuple[Axis, ...]
    tile: tuple[int, ...]
    method: str
    products: GemmBlocking | None
    accumulator: str
    dtype: str
    spreads_nan: bool
    keeps_type: bool

    def working(self) -> Working:
        """What the threads hold."""
        needs = self._needs()
        held = self._block + (self._sums + needs.laid_out + needs.shares) * self._size + self._redone
        passing = max(self._repeated, self._storing)
        together = needs.together + (self._terms * TERM if self._doubtful else 0)
        return Working(together, held + passing + SMALL_THINGS)

    def _needs(self) -> _Needs:
        if self.method == "direct":
            return _Needs(self._taps * self._size + self._terms * TERM, 0, _shares(self._terms) * self._outputs)
        if self.method == "separable":
            return self._separable()
        if self.method == "fft":
            return self._fft()
        if self.facts.filters is None:
            return self._stacked()
        return self._depthwise() if self.products is None else self._layer(self.products)

    @property
    def _size(self) -> int:
        return size_of(self.accumulator)

    @property
    def _lead(self) -> int:
        return self.tile[0] * math.prod(self.facts.batch[1:])

    @property
    def _outputs(self) -> int:
        return self._lead * math.prod(self.tile[1:]) * self.facts.out_channels

    @property
    def _sums(self) -> int:
        """Values of the sums of a tile, with what begins their rows with a line of the cache."""
        rows = self._lead * math.prod(self.tile[1:-1])
        return self._outputs + (rows * ODD if self.method in BANDED and self.facts.filters is None else 0)

    @property
    def _samples(self) -> int:
        return self._lead * samples_under(self.axes, self.tile[1:]) * self.facts.channels

    @property
    def _block(self) -> int:
        """Bytes of the padded block."""
        return self._samples * size_of(self.facts.input_dtype if self.keeps_type else self.accumulator)

    @property
    def _terms(self) -> int:
        """GemmBlocking that add to an output."""
        return math.prod(self.facts.window) * (1 if self.facts.filters is None else self._depth)

    @property
    def _depth(self) -> int:
        return self.facts.channels // self.spec.groups

    @property
    def _taps(self) -> int:
        return self._terms * (self.facts.filters or 1)

    @property
    def _repeated(self) -> int:
        """Bytes of the samples that stand for the padding of a tile, on their way."""
        if self.spec.boundary == "constant":
            return 0
        under = [axis.span(outputs) for axis, outputs in zip(self.axes, self.tile[1:], strict=True)]
        sides = [
            self._samples // seen * min(max(axis.lo, axis.hi), seen)
            for axis, seen in zip(self.axes, under, strict=True)
        ]
        return max(sides) * size_of(self.facts.input_dtype)

    @property
    def _doubtful(self) -> bool:
        return self.spreads_nan and self.facts.input_dtype.startswith("float")

    @property
    def _storing(self) -> int:
        """Bytes of the sums as integers of a type whose largest value no float is, and of where they pass it."""
        return self._outputs * 20 if wide_integer(self.dtype) and size_of(self.dtype) == 8 else 0

    @property
    def _redone(self) -> int:
        """Bytes of some rows of a tile that `direct` computes once more."""
        if not self._doubtful:
            return 0
        some = min(max(REDONE, self._outputs // self.tile[1]), self._outputs)
        return (1 + _shares(self._terms)) * some * 8

    def _stacked(self) -> _Needs:
        rows, *rest = self.facts.window if len(self.facts.window) > 1 else (*self.facts.window, 1)
        longest = self._run(self._taps, 1.0)
        first = self.axes[0]
        stride = first.stride // math.gcd(first.stride, first.dilation)
        copies = min(stacked_taps(rows, stride), longest, math.prod(rest))
        pieces, left = -(-rows // max(longest // copies, 1)), copies
        for k in reversed(rest):
            pieces, left = pieces * -(-k // min(k, left)), max(left // k, 1)
        bands = DOWN * (self._taps + DOWN * pieces * copies * self.axes[0].stride)
        moved = self._samples if len(self.facts.batch) > 1 else 0
        places, *inner = (*self.tile[2:], 1)[: max(len(rest), 1)]
        each = math.prod(inner) * self.facts.channels
        tile = Panel(self._lead, self.tile[1], places)
        cut = panel(tile, each, copies, rows, stride)
        whole, most = (
            part.items * ((part.rows - 1) * stride + rows) * copies * (part.places * each + ODD) for part in (tile, cut)
        )
        stack = min(whole, max(most, PANEL_VALUES))
        return _Needs(
            (self._taps + bands) * self._size + self._taps * 16, stack + moved, _shares(pieces) * self._outputs
        )

    def _separable(self) -> _Needs:
        terms, outputs, channels = self.facts.terms or MOST_TERMS, self.tile[1:], self.facts.channels
        middles = [
            self._lead * math.prod(outputs[:at]) * (samples_under(self.axes[at:], outputs[at:]) * channels + ODD)
            for at in range(1, len(outputs))
        ]
        growth = 1.0 if terms == 1 else GROWTH
        pieces = [-(-axis.k // self._run(axis.k, len(outputs) * growth)) for axis in self.axes]
        within = max(_shares(n) * values for n, values in zip(pieces, (*middles, self._sums), strict=True))
        bands = sum((axis.span(ALONG) * ALONG + axis.k) * WIDE for axis in self.axes)
        together = terms * bands * self._size + self._taps * terms * 8
        narrow = samples_under(self.axes[1:], outputs[1:]) * channels < WIDE
        copied = self._samples if narrow or len(self.facts.batch) > 1 else 0
        return _Needs(together, copied + sum(middles), within + _shares(terms) * self._outputs)

    def _fft(self) -> _Needs:
        size = fft_tile(self.axes)
        values, batch = math.prod(size), max(FFT_BATCH, math.prod(size))
        spectrum = math.prod(size[:-1]) * (size[-1] // 2 + 1)
        return _Needs(values * 8 + spectrum * 16, batch + 2 * batch // values * spectrum)

    def _depthwise(self) -> _Needs:
        *before, last = self.axes
        places = line_places(self.facts.channels, last.out)
        line = self._lead * places * self.facts.channels
        lines = samples_under(before, self.tile[1:-1]) * last.k * line if last.stride > 1 else 0
        cuts = -(-self._terms // -(-stretch_of(self._terms, self._precision) // 2))
        return _Needs(
            self._terms * max(LINE, self.facts.channels) * 2 * self._size,
            self._samples + lines,
            _shares(cuts) * math.prod(self.tile[1:-1]) * line,
        )

    def _layer(self, products: GemmBlocking) -> _Needs:
        kernels = self._taps * (1 + 2 * products.bundled) * self._size
        return _Needs(kernels, self._samples + products.scratch(self._lead * math.prod(self.tile[1:])))

    @property
    def _precision(self) -> PrecisionName | None:
        return precision_of(self.accumulator, self.dtype)

    def _run(self, taps: int, passes: float) -> int:
        """The fewest taps that are added in a row, of so many, where as many passes stray."""
        if self._precision is None:
            return taps
        return -(-taps // math.ceil(taps * passes / roundings_allowed(self._precision, self._terms)))


def _shares(terms: int) -> int:
    """How many sums wait at once for others to be added to them (engine/pairwise.py).

    >>> _shares(1), _shares(9), _shares(10)
    (0, 1, 2)
    """
    if terms <= RUN:
        return min(terms - 1, 1)
    return 1 + _shares(-(-terms // 2))
