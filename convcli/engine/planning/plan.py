"""The plan of one convolution: the method, its cost and working memory, and the reason for the choice.

`Facts` say what is known of the arrays; `make_plan` turns them and a ConvSpec into a `Plan`, which the engine
executes and every report prints. The work is cut into tiles of the output (leading items, rows of the first
spatial axis) that fit a core's cache; the cut follows from the shapes only, so the same input gives the same
bytes wherever it runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

from convcli.engine.planning.blocking import GemmBlocking
from convcli.engine.planning.costs import choose
from convcli.engine.planning.facts import (
    Facts,
    PrecisionName,
    Strategy,
    accumulator_of,
    precision_of,
    result_dtype,
    rounds,
    size_of,
    wide_integer,
)
from convcli.engine.planning.memory import Work, Working
from convcli.engine.planning.tiles import BANDED, DOWN, WIDE, is_depthwise, pass_widths, tile_of
from convcli.errors import InputError, did_you_mean
from convcli.limits import threads
from convcli.options import METHODS
from convcli.shapes.axis import Axis
from convcli.shapes.parse import check_countable
from convcli.shapes.spec import ConvSpec

WORTH_SHARING = 0.7e-3
"""Predicted seconds from which the tiles are shared out over the threads."""

WORTH_WAITING = 2.6e-3
"""The same where a kernel is stacked, in many short calls between which threads wait for the interpreter."""

WORTH_FACTORING = 1e-3
"""Seconds that `direct` must take before a kernel's factors are looked for, which takes tenths of that."""


@dataclass(frozen=True)
class Plan:
    """One convolution, settled: the method, its cost and working memory, and the reason for the choice."""

    method: Strategy
    reason: str
    facts: Facts
    spec: ConvSpec
    axes: tuple[Axis, ...]
    dtype: str
    accumulator: str
    tile: tuple[int, ...]
    """Items of the first batch axis, and outputs along each spatial axis, that are computed at a time."""
    products: GemmBlocking | None
    """The matrix products of a layer under `gemm`; None where no sum over channels is left to them."""
    macs: int
    output_bytes: int
    rejected: tuple[tuple[str, str], ...]
    """The methods that were not chosen, each with the reason."""
    seconds: float
    """Predicted on one core like the one where the costs were measured; good for comparing, not for promising."""
    available: int
    """Threads that there are."""

    @cached_property
    def working(self) -> Working:
        """What each thread works in, and all of them together."""
        return Work(
            facts=self.facts,
            spec=self.spec,
            axes=self.axes,
            tile=self.tile,
            method=self.method,
            products=self.products,
            accumulator=self.accumulator,
            dtype=self.dtype,
            spreads_nan=self.spreads_nan,
            keeps_type=self.keeps_type,
        ).working()

    @property
    def threads(self) -> int:
        """Threads that share the tiles: fewer than there are where more would pass the memory that a plan may take."""
        cuts = [-(-n // most) for n, most in zip((*self.facts.batch[:1], *self.sizes), self._cut, strict=True)]
        sides = 2 * math.prod(cuts[:-1]) if len(self.axes) == 2 else 0
        return self.working.threads(min(self.available, math.prod(cuts) + sides)) if self.spread else 1

    @property
    def _cut(self) -> tuple[int, ...]:
        return self.tile if self.facts.batch else self.tile[1:]

    @property
    def memory(self) -> int:
        """Working bytes of all threads beyond the input and the output: an upper bound."""
        return self.working.on(self.threads)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(axis.out for axis in self.axes)

    @property
    def precision(self) -> PrecisionName | None:
        """The type whose rounding bounds the error; None where sums are wider than the result and need no care."""
        return precision_of(self.accumulator, self.dtype)

    @property
    def target_precision(self) -> PrecisionName:
        """How precise the result is to be."""
        return "float64" if self.dtype == "float64" or wide_integer(self.dtype) else "float32"

    @property
    def spread(self) -> bool:
        """Whether the work is worth sharing out over threads."""
        stacked = self.banded and self.method == "gemm"
        return self.seconds > (WORTH_WAITING if stacked else WORTH_SHARING)

    @property
    def spreads_nan(self) -> bool:
        """Whether the method multiplies samples that a window does not cover by zero, which leaves a NaN a NaN."""
        bundled = self.products is not None and self.products.bundled > 1
        return self.banded or self.method == "fft" or bundled

    @property
    def keeps_type(self) -> bool:
        """Whether blocks are handed over in the input's type: who copies samples anyway turns them into that of sums.

        The padding has to be a number of that type, too.
        """
        copies = self.method == "fft" or (self.method == "gemm" and self.facts.filters is None)
        return copies and (self.spec.boundary != "constant" or self.spec.cval == 0)

    @property
    def banded(self) -> bool:
        """Whether the sums are products with a band matrix."""
        return self.method in BANDED and self.facts.filters is None

    @property
    def wide(self) -> bool:
        """Whether the values of a row are columns of a band's product; fewer are woven into the band, all of them."""
        return self.banded and (self.method == "gemm" or pass_widths(self.facts, self.axes)[0] >= WIDE)

    @property
    def block(self) -> int:
        """Rows of the output that one band makes: where one of them is not finite, the first is not either."""
        return DOWN if self.wide and len(self.axes) > 1 and self.axes[0].dilation == 1 else 1

    @property
    def whole(self) -> bool:
        """Whether sums of whole numbers come out with a fraction, to be rounded away."""
        return self.facts.integral is not None and rounds(self.facts, self.method)

    @property
    def output(self) -> tuple[int, ...]:
        """The output in the engine's form: (*batch, *P, channels or filters)."""
        return (*self.facts.batch, *self.sizes, self.facts.out_channels)

    @property
    def formula(self) -> tuple[str, ...]:
        """The arithmetic of every spatial axis, such as `28 - 3 + 1 = 26`."""
        return tuple(axis.formula for axis in self.axes)

    def __str__(self) -> str:
        window, out = "x".join(map(str, self.facts.window)), "x".join(map(str, self.output))
        return (
            f"{self.method}: window {window} -> {out} {self.dtype} ({'; '.join(self.formula)}), "
            f"{self.macs:,} multiply-adds, {self.memory:,} bytes of working memory on {_count(self.threads)}; "
            f"{self.reason}"
        )


def make_plan(facts: Facts, spec: ConvSpec, *, dtype: str | None = None, method: str = "auto") -> Plan:
    """Choose how to run one convolution.

    Raises ShapeError where the kernel exceeds the padded input, LimitError for an output that no address space
    holds, InputError for an unknown method.
    """
    if method not in METHODS:
        raise InputError(
            f"method {method!r}", f"expected one of {', '.join(METHODS)}", did_you_mean(str(method), METHODS)
        )
    return _settled(facts, spec, dtype, method, threads())


@lru_cache(maxsize=256)
def _settled(facts: Facts, spec: ConvSpec, dtype: str | None, method: str, available: int) -> Plan:
    """The plan: a fifth of a millisecond, as long as a small layer takes, so the last ones are remembered."""
    axes = spec.axes(facts.spatial, facts.window)
    depth = 1 if facts.filters is None else facts.channels // spec.groups
    terms = math.prod(facts.window) * depth
    result = dtype or result_dtype(facts.input_dtype)
    chosen, reason, rejected, seconds = choose(facts, axes, result, spec.groups, method)
    accumulator = accumulator_of(facts, result, terms, chosen)
    outputs = math.prod(facts.batch) * math.prod(axis.out for axis in axes) * facts.out_channels
    check_countable(outputs)
    products = None
    if chosen == "gemm" and facts.filters is not None and not is_depthwise(facts, spec.groups):
        precision = precision_of(accumulator, result)
        products = GemmBlocking.of(axes, facts.channels, facts.filters, spec.groups, precision)
    tile = tile_of(facts, axes, chosen, products, size_of(accumulator))
    return Plan(
        method=chosen,
        reason=reason,
        facts=facts,
        spec=spec,
        axes=axes,
        dtype=result,
        accumulator=accumulator,
        tile=tile,
        products=products,
        macs=outputs * terms,
        output_bytes=outputs * size_of(result),
        rejected=rejected,
        seconds=seconds,
        available=available,
    )


def _count(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"
