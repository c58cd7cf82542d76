"""What would run, at what cost, and why: from shapes and dtypes alone, standard library only.

`Facts` say what is known of the arrays; `make_plan` turns them and a ConvSpec into a `Plan`, which the engine
executes and every report prints. The work is cut into tiles of the output (leading items, rows of the first
spatial axis) that fit a core's cache; the cut follows from the shapes only, so the same input gives the same
bytes wherever it runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from convcli.errors import DtypeError, InputError, LimitError, did_you_mean
from convcli.products import Products
from convcli.shapes import Axis, ConvSpec
from convcli.words import METHODS

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

STACK_ROWS = 4
"""Rows of outputs in a block of stacked bands."""

WORTH_SHARING = 1e-3
"""Predicted seconds from which the tiles are shared out over the threads."""

WORTH_FACTORING = 1e-3
"""Seconds that `direct` must take before a kernel's factors are looked for, which takes tenths of that."""

# Nanoseconds on one core, in float32, as tests/bench/fit_costs.py measures them; float64 takes twice as long.
TAP = 0.3
"""One tap of `direct` for one output: a multiplication and an addition over a tile in the cache."""

MAC = 0.025
"""One multiply-add of a matrix product: 40 thousand million a second."""

TOUCH = 0.5
"""One value written by a product and read again."""

GATHER = 0.14
"""One copy of one sample of a row, for one tap along it."""

BROADCAST = 8.0
"""What `direct` takes besides for one sample that meets all kernels of its group."""

LANE_TAP = 0.15
"""One tap of a depthwise kernel for one output."""

WINDOW = 0.15
"""One sample of a window copied out as a row."""

WINDOW_RUN = 8.0
"""What a run of such samples costs besides."""

CALL = 20_000.0
"""Preparing bands, and what a tile costs besides its arithmetic."""

FFT = 1.0
"""One sample through a transform along one axis, one way."""

FFT_MOVE = 3.5
"""One sample into a tile, and its product and its output out of it."""

FFT_BATCH = 1 << 18
"""Samples of the tiles that are transformed in one call: 1 MiB of float32, and as much for their spectra."""

FFT_SIZES = tuple(n << power for power in range(2, 24) for n in (2, 3))
"""Lengths of a transform: products of small primes, which are fast."""

FFT_EDGES = {1: (1 << 12, 1 << 14), 2: (128, 512), 3: (32, 96)}
"""The tile's shortest and longest edge, by dimensions: shorter ones cost more in calls, longer ones leave the cache."""

FFT_LARGEST = 1 << 22
"""Samples of a tile whose transform keeps to tens of megabytes: a kernel that reaches further is not transformed."""

FFT_PEAK = 0.5
"""The largest `peak` for which a float32 transform keeps to the contract. Its error is at most 1.1e-6 of the root of
sum w^2 times max|x|, measured over 16 million outputs of the worst input found, random signs under a single tap."""

FFT_ERROR = 1e-14
"""The error of a float64 result as a share of sum|w| * max|x|, by the contract; whole numbers are rounded to exact."""

SHORT_SUM = 576
"""Terms that a float32 sum of `direct` may have. Each rounding costs 6e-8 and the contract allows 1e-6, so 16 of them,
which the sum by halves has from 576 terms; longer sums run in float64. Products are cut into short runs instead."""


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
    terms: int | None = None
    """How many products of 1-D factors add to the kernel, where that is known and no less exact."""
    peak: float = 1.0
    """The root of the kernel's sum of squares as a share of sum|w|: 1 for a single tap, 1/k for a box of k*k."""


Strategy = Literal["direct", "gemm", "separable", "fft"]


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
    macs: int
    memory: int
    """Working bytes beyond the input and the output: an upper estimate."""
    output_bytes: int
    rejected: tuple[tuple[str, str], ...]
    """The methods that were not chosen, each with the reason."""
    seconds: float
    """Predicted on one core like the one where the costs were measured; good for comparing, not for promising."""

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(axis.out for axis in self.axes)

    @property
    def out_lanes(self) -> int:
        return self.facts.lanes if self.facts.filters is None else self.facts.filters

    @property
    def precision(self) -> Literal["float32", "float64"] | None:
        """The type whose rounding bounds the error; None where sums are wider than the result and need no care."""
        return _precision(self.accumulator, self.dtype)

    @property
    def products(self) -> Products:
        """The matrix products of a layer under `gemm`."""
        return _products(self.facts, self.spec, self.axes, self.precision)

    @property
    def fineness(self) -> Literal["float32", "float64"]:
        """How precise the result is to be."""
        return "float64" if self.dtype == "float64" or _wide_integer(self.dtype) else "float32"

    @property
    def spread(self) -> bool:
        """Whether the work is worth sharing out over threads."""
        return self.seconds > WORTH_SHARING

    @property
    def spreads_nan(self) -> bool:
        """Whether the method multiplies samples that a window does not cover by zero, which leaves a NaN a NaN."""
        return self.method in ("separable", "fft") or (self.method == "gemm" and self.facts.filters is None)

    @property
    def whole(self) -> bool:
        """Whether sums of whole numbers come out with a fraction, to be rounded away."""
        return self.facts.integral is not None and _rounds(self.facts, self.method)

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
    result = dtype or result_dtype(facts.input_dtype)
    chosen, reason, rejected, seconds = _choose(facts, axes, result, spec.groups, method)
    accumulator = _accumulator(facts, result, terms, chosen)
    lanes = facts.lanes if facts.filters is None else facts.filters
    outputs = math.prod(facts.batch) * math.prod(axis.out for axis in axes) * lanes
    if outputs * 8 > 1 << 62:
        raise LimitError(
            f"an output of {outputs:,} values",
            "expected one that memory can hold",
            "use less padding or a smaller input",
        )
    products = None
    if chosen == "gemm" and facts.filters is not None and not lanewise_layer(facts, spec.groups):
        products = _products(facts, spec, axes, _precision(accumulator, result))
    tile = _tile(facts, axes, lanes, chosen, products)
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
        memory=_memory(facts, axes, lanes, tile, chosen, products, _size(accumulator)),
        output_bytes=outputs * _size(result),
        rejected=rejected,
        seconds=seconds,
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


class Bid(NamedTuple):
    """What a method would take, or why it cannot run or should not."""

    method: Strategy
    nanoseconds: float
    account: str
    refusal: str = ""


def _choose(
    facts: Facts, axes: tuple[Axis, ...], dtype: str, groups: int, method: str
) -> tuple[Strategy, str, tuple[tuple[str, str], ...], float]:
    """The method, why, what was rejected and why, and the predicted seconds."""
    bids = [
        _bid_direct(facts, groups, axes),
        _bid_gemm(facts, axes) if facts.filters is None else _bid_layer(facts, groups, axes, facts.filters),
        _bid_separable(facts, axes),
        _bid_fft(facts, axes),
    ]
    bids = [bid._replace(nanoseconds=bid.nanoseconds * _width(facts, dtype, bid.method)) for bid in bids]
    if method != "auto":
        asked = next(bid for bid in bids if bid.method == method)
        if math.isinf(asked.nanoseconds):
            raise InputError(f"method {method}", asked.refusal, "use auto, direct or gemm")
        return asked.method, "as asked", (), asked.nanoseconds * 1e-9
    open_to = [bid for bid in bids if not bid.refusal]
    best = min(open_to, key=lambda bid: bid.nanoseconds)
    rejected = tuple(
        (bid.method, bid.refusal or f"{bid.account}: {bid.nanoseconds / best.nanoseconds:.1f} times the work")
        for bid in bids
        if bid is not best
    )
    return best.method, best.account, rejected, best.nanoseconds * 1e-9


def _width(facts: Facts, dtype: str, method: Strategy) -> int:
    return 2 if _accumulator(facts, dtype, math.prod(facts.window), method) == "float64" else 1


def _positions(facts: Facts, axes: tuple[Axis, ...]) -> int:
    """Outputs if the kernel stood at every place of the axes after the first."""
    return math.prod(facts.batch) * axes[0].out * math.prod(axis.padded for axis in axes[1:]) * facts.lanes


def _outputs(facts: Facts, axes: tuple[Axis, ...]) -> int:
    lanes = facts.lanes if facts.filters is None else facts.filters
    return math.prod(facts.batch) * math.prod(axis.out for axis in axes) * lanes


def _bid_direct(facts: Facts, groups: int, axes: tuple[Axis, ...]) -> Bid:
    taps = math.prod(facts.window) * (1 if facts.filters is None else facts.lanes // groups)
    account = f"{taps} taps, one multiply and add over the output for each"
    each = TAP if facts.filters is None else TAP + BROADCAST * groups / facts.filters
    return Bid("direct", _outputs(facts, axes) * taps * each, account)


def _bid_layer(facts: Facts, groups: int, axes: tuple[Axis, ...], filters: int) -> Bid:
    outputs = _outputs(facts, axes)
    if lanewise_layer(facts, groups):
        account = "a kernel for every channel: all its taps in one pass over the lines"
        return Bid("gemm", outputs * math.prod(facts.window) * LANE_TAP, account)
    products = Products.of(axes, facts.lanes, filters, groups, "float32")
    account = f"{products.terms} terms for each of {filters} kernels: a matrix product over " + (
        "windows where they lie" if products.in_place else "gathered windows"
    )
    each = products.terms * MAC * (1 + 8 / products.columns) + GATHER * products.terms / products.longest
    rows = outputs / products.filters * products.terms
    copied = 0.0 if products.in_place else WINDOW + WINDOW_RUN / products.run
    return Bid("gemm", outputs * each + rows * copied, account)


def _bid_gemm(facts: Facts, axes: tuple[Axis, ...]) -> Bid:
    copies = math.prod(facts.window[1:])
    samples = (STACK_ROWS - 1) * axes[0].stride + axes[0].k
    account = f"{math.prod(facts.window)} taps as one band, over rows that stand {copies} times"
    each = copies * (samples * MAC + GATHER) + TOUCH
    if len(axes) == 1 and facts.lanes < 32:
        return Bid("gemm", _outputs(facts, axes) * 100 * each, account, "a signal's band goes along it: separable")
    return Bid("gemm", CALL + _outputs(facts, axes) * each, account)


def _bid_separable(facts: Facts, axes: tuple[Axis, ...]) -> Bid:
    if facts.filters is not None:
        return Bid("separable", math.inf, "", "a bank's kernels are not products of 1-D factors")
    terms = facts.terms or 1
    after = _positions(facts, axes)
    each = 0.0
    for at, axis in enumerate(axes):
        if at:
            after = after * axis.out // axis.padded
        behind = math.prod(a.padded for a in axes[at + 1 :]) * facts.lanes
        woven, block = (1, STACK_ROWS) if behind >= 32 else (behind, max(16 // behind, 1))
        each += after * (((block - 1) * axis.stride + axis.reach) * woven * MAC + TOUCH)
    account = (
        "a signal under its kernel's band"
        if len(axes) == 1
        else f"the kernel is a sum of {terms} products of 1-D factors"
        if terms > 1
        else "the kernel is a product of 1-D factors"
    )
    refusal = "" if facts.terms else "the kernel is no short sum of products of 1-D factors"
    return Bid("separable", CALL * terms + each * terms, account, refusal)


def _bid_fft(facts: Facts, axes: tuple[Axis, ...]) -> Bid:
    if facts.filters is not None:
        return Bid("fft", math.inf, "", "a bank's kernels have a spectrum each")
    if facts.integral is not None and facts.integral * FFT_ERROR >= 0.25:
        return Bid("fft", math.inf, "", "whole numbers as large as these would not come out exact")
    size = fft_tile(axes)
    if math.prod(size) > FFT_LARGEST:
        return Bid("fft", math.inf, "", f"a tile of {'x'.join(map(str, size))} is too large to transform")
    tiles = math.prod(
        -(-(axis.padded - axis.reach + 1) // (n - axis.reach + 1)) for n, axis in zip(size, axes, strict=True)
    )
    samples = math.prod(facts.batch) * facts.lanes * tiles * math.prod(size)
    shown = "x".join(map(str, size))
    account = f"spectra of tiles of {shown}, whatever the kernel's size"
    return Bid("fft", CALL + math.prod(size) * 50 + samples * (2 * len(axes) * FFT + FFT_MOVE), account)


def fft_tile(axes: tuple[Axis, ...]) -> tuple[int, ...]:
    """The tile of a transform along each axis: the length for which all of its tiles take the least work.

    >>> fft_tile((Axis(4096, 31), Axis(4096, 31)))
    (256, 256)
    """
    shortest, longest = FFT_EDGES.get(len(axes), (8, 32))
    return tuple(_fft_size(axis, shortest, longest) for axis in axes)


def _fft_size(axis: Axis, shortest: int, longest: int) -> int:
    whole = next((n for n in FFT_SIZES if n >= axis.padded), longest)
    fitting = [n for n in FFT_SIZES if max(axis.reach, min(shortest, whole)) <= n <= max(longest, 4 * axis.reach)]

    def work(n: int) -> float:
        return -(-(axis.padded - axis.reach + 1) // (n - axis.reach + 1)) * n * math.log2(n)

    return min(fitting, key=work, default=axis.reach)


def _rounds(facts: Facts, method: str) -> bool:
    """Whether a method's sums of whole numbers have a fraction, to be rounded away."""
    return method == "fft" or (method == "separable" and facts.terms != 1)


def _accumulator(facts: Facts, dtype: str, terms: int, method: str) -> str:
    """Where sums are held: wide enough for the result, for exact integers, and for the contract's error."""
    wide = dtype == "float64" or _wide_integer(dtype)
    inexact = facts.integral is not None and (facts.integral >= 1 << 24 or _rounds(facts, method))
    long = method == "direct" and terms > SHORT_SUM
    peaked = method == "fft" and facts.peak > FFT_PEAK
    return "float64" if wide or inexact or long or peaked or result_dtype(facts.input_dtype) == "float64" else "float32"


def _wide_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint")) and _size(dtype) > 2


def _precision(accumulator: str, dtype: str) -> Literal["float32", "float64"] | None:
    if accumulator == "float32":
        return "float32"
    return "float64" if dtype == "float64" else None


def lanewise_layer(facts: Facts, groups: int) -> bool:
    """Whether every lane has one kernel of its own: no sum over channels to give to a matrix product."""
    return facts.filters == facts.lanes == groups


def _products(facts: Facts, spec: ConvSpec, axes: tuple[Axis, ...], precision: str | None) -> Products:
    return Products.of(axes, facts.lanes, facts.filters or 1, spec.groups, precision)


def _tile(facts: Facts, axes: tuple[Axis, ...], lanes: int, method: str, products: Products | None) -> tuple[int, ...]:
    """Items of the first batch axis, and outputs along each spatial axis, that one tile covers."""
    first, *rest = (axis.out for axis in axes)
    budget = TILE_VALUES // lanes
    if products is not None:
        budget = products.tile
    elif method == "gemm" and facts.filters is not None:
        budget = 2 * TILE_VALUES // lanes
    elif method == "fft":
        return (*_fft_rows(facts, axes), *rest)
    elif method != "direct":
        budget = BAND_TILE // lanes
        if rest:
            rows, width = _band(facts, axes, method)
            rest[0] = _evenly(rest[0], max(width // math.prod(rest[1:]), 1))
            budget = min(budget, rows * math.prod(rest))
    inner = math.prod(facts.batch[1:]) * math.prod(rest)
    least = STACK_ROWS if method in BANDED else 1
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
    return math.prod((count - 1) * axis.stride + axis.reach for axis, count in zip(axes, outputs, strict=True))


def stacked_taps(facts: Facts, axes: tuple[Axis, ...], tile: tuple[int, ...]) -> int:
    """Copies of a tile's rows, one for each tap along them, that may stand at a time."""
    return max(STACK_VALUES // _stacked_values(facts, axes, tile), 1)


def _stacked_values(facts: Facts, axes: tuple[Axis, ...], tile: tuple[int, ...]) -> int:
    items, rows, *rest = tile
    return items * math.prod(facts.batch[1:]) * _samples(axes[:1], (rows,)) * (math.prod(rest) * facts.lanes + 31)


def _fft_rows(facts: Facts, axes: tuple[Axis, ...]) -> tuple[int, int]:
    """A row of transforms; for signals as many as are batched."""
    size = fft_tile(axes)
    step = max((size[0] - axes[0].reach + 1) // axes[0].stride, 1)
    several = max(FFT_BATCH // math.prod(size), 1) if len(axes) == 1 else 1
    rows = min(step * several, axes[0].out)
    items = max(FFT_BATCH // math.prod(size), 1) if rows == axes[0].out else 1
    return (min(items, facts.batch[0]) if facts.batch else 1), rows


def _memory(
    facts: Facts,
    axes: tuple[Axis, ...],
    lanes: int,
    tile: tuple[int, ...],
    method: str,
    products: Products | None,
    size: int,
) -> int:
    """Bytes that a tile holds: the padded block and a copy, sums and a copy, and scratch."""
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
    return (2 * places * lanes + 2 * block + scratch) * size


def _size(dtype: str) -> int:
    """Bytes of one value, from the type's name.

    >>> _size("uint8"), _size("float64"), _size("bool")
    (1, 8, 1)
    """
    digits = "".join(filter(str.isdigit, dtype))
    return int(digits) // 8 if digits else 1
