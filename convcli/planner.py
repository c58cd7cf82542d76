"""What would run, at what cost, and why: from shapes and dtypes alone, standard library only.

`Facts` say what is known of the arrays; `make_plan` turns them and a ConvSpec into a `Plan`, which the engine
executes and every report prints. The work is cut into tiles of the output (leading items, rows of the first
spatial axis) that fit a core's cache; the cut follows from the shapes only, so the same input gives the same
bytes wherever it runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from convcli.errors import DtypeError, InputError, LimitError, did_you_mean
from convcli.shapes import Axis, ConvSpec
from convcli.words import METHODS

TILE_VALUES = 1 << 16
"""Outputs in a tile: a float32 accumulator of 256 KiB, which with its scratch and its input stays in a 1 MiB
second-level cache. Half and twice as many were both slower on 4096x4096 under 3x3."""

GEMM_VALUES = 1 << 18
"""Gathered windows in a tile of the matrix product: 2 MiB of float64."""

SHORT_SUM: dict[str, int] = {"direct": 576, "gemm": 15}
"""Terms that a float32 sum may have. Each rounding costs 6e-8 and the contract allows 1e-6, so 16 of them: the sum
by halves of `direct` has as many from 576 terms, one after the other from 15. Longer sums run in float64."""


@dataclass(frozen=True)
class Facts:
    """What a plan needs to know, in the engine's own form: x (*batch, *spatial, lanes), channels last.

    filters is None where the kernel (*window) filters every lane alike; otherwise the kernel is a bank
    (filters, *window, lanes / groups). `integral` is the largest possible |sum| when both arrays hold whole
    numbers, else None.
    """

    batch: tuple[int, ...]
    spatial: tuple[int, ...]
    lanes: int
    window: tuple[int, ...]
    filters: int | None
    input_dtype: str
    kernel_dtype: str
    integral: int | None = None


@dataclass(frozen=True)
class Plan:
    """One convolution, settled: the method, its cost and working memory, and the reason for the choice."""

    method: Literal["direct", "gemm"]
    reason: str
    facts: Facts
    spec: ConvSpec
    axes: tuple[Axis, ...]
    dtype: str
    accumulator: str
    tile: tuple[int, int]
    macs: int
    memory: int
    """Working bytes beyond the input and the output: an upper estimate."""
    output_bytes: int

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(axis.out for axis in self.axes)

    @property
    def out_lanes(self) -> int:
        return self.facts.lanes if self.facts.filters is None else self.facts.filters

    @property
    def output(self) -> tuple[int, ...]:
        """The output in the engine's form: (*batch, *P, lanes or filters)."""
        return (*self.facts.batch, *self.sizes, self.out_lanes)

    @property
    def formula(self) -> tuple[str, ...]:
        """The arithmetic of every spatial axis, such as `28 - 3 + 1 = 26`."""
        return tuple(axis.formula for axis in self.axes)

    def __str__(self) -> str:
        window, out = "x".join(map(str, self.facts.window)), "x".join(map(str, self.output))
        return (
            f"{self.method}: window {window} -> {out} {self.dtype} ({'; '.join(self.formula)}), "
            f"{self.macs:,} multiply-adds, {self.memory:,} bytes of working memory; {self.reason}"
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
    axes = spec.axes(facts.spatial, facts.window)
    depth = 1 if facts.filters is None else facts.lanes // spec.groups
    terms = math.prod(facts.window) * depth
    chosen, reason = _choose(facts, depth, terms, method)
    result = dtype or result_dtype(facts.input_dtype)
    accumulator = _accumulator(facts, result, terms, chosen)
    lanes = facts.lanes if facts.filters is None else facts.filters
    outputs = math.prod(facts.batch) * math.prod(axis.out for axis in axes) * lanes
    if outputs * 8 > 1 << 62:
        raise LimitError(
            f"an output of {outputs:,} values",
            "expected one that memory can hold",
            "use less padding or a smaller input",
        )
    gathered = terms * (lanes if facts.filters is None else 1) if chosen == "gemm" else 0
    tile = _tile(facts, axes, lanes, gathered)
    return Plan(
        method=chosen,
        reason=reason,
        facts=facts,
        spec=spec,
        axes=axes,
        dtype=result,
        accumulator=accumulator,
        tile=tile,
        macs=outputs * terms,
        memory=_memory(facts, axes, lanes, tile, gathered, _size(accumulator)),
        output_bytes=outputs * _size(result),
    )


def result_dtype(input_dtype: str) -> str:
    """The result's type for an input's: float64 for float64 and for integers wider than 16 bits, else float32.

    >>> result_dtype("uint8"), result_dtype("int32"), result_dtype("float64")
    ('float32', 'float64', 'float64')
    """
    if input_dtype.startswith(("complex", "datetime", "timedelta", "str", "object", "bytes", "void")):
        raise DtypeError(
            f"{input_dtype} values", "expected real numbers", "filter the real and imaginary parts one by one"
        )
    return "float64" if _size(input_dtype) > (4 if input_dtype.startswith("float") else 2) else "float32"


def _choose(facts: Facts, depth: int, terms: int, method: str) -> tuple[Literal["direct", "gemm"], str]:
    if method != "auto":
        return ("gemm" if method == "gemm" else "direct"), "as asked"
    if facts.filters is None:
        return "direct", f"{terms} taps, one multiply and add over the output for each"
    if depth == 1:
        return "direct", "one channel under every kernel, so there is no sum over channels to give to a matrix product"
    return "gemm", f"{terms} terms for each of {facts.filters} kernels: a matrix product over gathered windows"


def _accumulator(facts: Facts, dtype: str, terms: int, method: str) -> str:
    """Where sums are held: wide enough for the result, for exact integers, and for the contract's error."""
    wide = dtype == "float64" or (dtype.startswith(("int", "uint")) and _size(dtype) > 2)
    inexact = facts.integral is not None and facts.integral >= 1 << 24
    long = terms > SHORT_SUM[method]
    return "float64" if wide or inexact or long or result_dtype(facts.input_dtype) == "float64" else "float32"


def _tile(facts: Facts, axes: tuple[Axis, ...], lanes: int, gathered: int) -> tuple[int, int]:
    """Items of the first batch axis and rows of the first spatial axis that one tile covers."""
    row = math.prod(facts.batch[1:]) * math.prod(axis.out for axis in axes[1:])
    budget = max(GEMM_VALUES // max(row * gathered, 1), 1) if gathered else max(TILE_VALUES // max(row * lanes, 1), 1)
    rows = min(budget, axes[0].out)
    items = min(max(budget // axes[0].out, 1), facts.batch[0]) if facts.batch else 1
    return items, rows


def _memory(facts: Facts, axes: tuple[Axis, ...], lanes: int, tile: tuple[int, int], gathered: int, size: int) -> int:
    items, rows = tile
    first, *rest = axes
    lead = items * math.prod(facts.batch[1:])
    outputs = lead * rows * math.prod(axis.out for axis in rest)
    block = lead * ((rows - 1) * first.stride + first.reach) * math.prod(axis.padded for axis in rest) * facts.lanes
    return (2 * outputs * lanes + 2 * block + outputs * gathered) * size


def _size(dtype: str) -> int:
    """Bytes of one value, from the type's name.

    >>> _size("uint8"), _size("float64"), _size("bool")
    (1, 8, 1)
    """
    digits = "".join(filter(str.isdigit, dtype))
    return int(digits) // 8 if digits else 1
