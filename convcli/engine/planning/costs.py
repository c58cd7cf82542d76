"""What each method would take, so that the least may be chosen: costs of its parts, as they were measured."""

from __future__ import annotations

import math
from typing import NamedTuple

from convcli.engine.planning.blocking import GemmBlocking
from convcli.engine.planning.facts import FFT_ERROR, Facts, Strategy, accumulator_of
from convcli.engine.planning.tiles import ALONG, DOWN, WIDE, fft_tile, is_depthwise
from convcli.errors import InputError
from convcli.shapes.axis import Axis

# Nanoseconds on one core, in float32, as tests/benchmarks/fit_costs.py measures them; float64 takes twice as long.
TAP = 0.32
"""One tap of `direct` for one output: a multiplication and an addition over a tile in the cache."""

MAC = 0.02
"""One multiply-add of a matrix product: 50 thousand million a second."""

TOUCH = 0.44
"""One output written, and read again by what comes after."""

PASS = 0.32
"""One output of a pass along an axis, which the next pass meets in the cache."""

GATHER = 0.12
"""One copy of one sample of a row, for one tap along it."""

STEPPED = 1.0
"""What it costs besides where the row is stepped through, for up to STEPPED_LANES channels."""

STEPPED_LANES = 8

BROADCAST = 5.6
"""What `direct` takes besides for one sample that meets all kernels of its group."""

LANE_TAP = 0.25
"""One tap of a depthwise kernel for one output."""

WINDOW = 0.2
"""One sample of a window copied out as a row."""

WINDOW_RUN = 5.0
"""What a run of such samples costs besides."""

PIECE = 225
"""Taps of a kernel that one product adds, of kernels whose taps are unlike: a larger one is a sum of pieces."""

CALL = 20_000.0
"""Preparing bands, and what a tile costs besides its arithmetic."""

FFT = 0.7
"""One sample through a transform along one axis, one way."""

FFT_MOVE = 6.4
"""One sample into a tile, and its product and its output out of it."""

FFT_LARGEST = 1 << 22
"""Samples of a tile whose transform keeps to tens of megabytes: a kernel that reaches further is not transformed."""


class CostEstimate(NamedTuple):
    """What a method would take, or why it cannot run or should not."""

    method: Strategy
    nanoseconds: float
    account: str
    refusal: str = ""


def choose(
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
    return 2 if accumulator_of(facts, dtype, math.prod(facts.window), method) == "float64" else 1


def _positions(facts: Facts, axes: tuple[Axis, ...]) -> int:
    """Outputs if the kernel stood at every place of the axes after the first."""
    return math.prod(facts.batch) * axes[0].out * math.prod(axis.padded for axis in axes[1:]) * facts.channels


def _outputs(facts: Facts, axes: tuple[Axis, ...]) -> int:
    return math.prod(facts.batch) * math.prod(axis.out for axis in axes) * facts.out_channels


def _bid_direct(facts: Facts, groups: int, axes: tuple[Axis, ...]) -> CostEstimate:
    taps = math.prod(facts.window) * (1 if facts.filters is None else facts.channels // groups)
    account = f"{taps} taps, one multiply and add over the output for each"
    each = TAP if facts.filters is None else TAP + BROADCAST * groups / facts.filters
    return CostEstimate("direct", _outputs(facts, axes) * (taps * each + TOUCH), account)


def _bid_layer(facts: Facts, groups: int, axes: tuple[Axis, ...], filters: int) -> CostEstimate:
    outputs = _outputs(facts, axes)
    if is_depthwise(facts, groups):
        account = "a kernel for every channel: all its taps in one pass over the lines"
        return CostEstimate("gemm", outputs * math.prod(facts.window) * LANE_TAP, account)
    products = GemmBlocking.of(axes, facts.channels, filters, groups, "float32")
    account = f"{products.terms} terms for each of {filters} kernels: a matrix product over " + (
        "windows where they lie" if products.in_place else "gathered windows"
    )
    each = products.terms * MAC * (1 + 8 / products.columns) + GATHER * products.terms / products.longest
    rows = outputs / products.filters * products.terms
    copied = 0.0 if products.in_place else WINDOW + WINDOW_RUN / products.run
    return CostEstimate("gemm", outputs * each + rows * copied, account)


def _bid_gemm(facts: Facts, axes: tuple[Axis, ...]) -> CostEstimate:
    taps, copies = math.prod(facts.window), math.prod(facts.window[1:])
    account = f"{taps} taps as one band, over rows that stand {copies} times"
    stepped = len(axes) > 1 and axes[-1].stride > 1
    gather = GATHER + (STEPPED / -(-facts.channels // STEPPED_LANES) if stepped else 0)
    piece = copies * ((DOWN - 1) * axes[0].stride * MAC + gather) + TOUCH
    each = taps * MAC + -(-taps // PIECE) * piece
    if len(axes) == 1 and facts.channels < WIDE:
        return CostEstimate(
            "gemm", _outputs(facts, axes) * 100 * each, account, "a signal's band goes along it: separable"
        )
    return CostEstimate("gemm", CALL + _outputs(facts, axes) * each, account)


def _bid_separable(facts: Facts, axes: tuple[Axis, ...]) -> CostEstimate:
    if facts.filters is not None:
        return CostEstimate("separable", math.inf, "", "a bank's kernels are not products of 1-D factors")
    terms = facts.terms or 1
    after = _positions(facts, axes)
    each = 0.0
    for at, axis in enumerate(axes):
        if at:
            after = after * axis.out // axis.padded
        behind = math.prod(a.padded for a in axes[at + 1 :]) * facts.channels
        woven, block = (1, DOWN) if behind >= WIDE else (behind, max(ALONG // behind, 1))
        each += after * (axis.span(block) * woven * MAC + PASS)
    account = (
        "a signal under its kernel's band"
        if len(axes) == 1
        else f"the kernel is a sum of {terms} products of 1-D factors"
        if terms > 1
        else "the kernel is a product of 1-D factors"
    )
    refusal = "" if facts.terms else "the kernel is no short sum of products of 1-D factors"
    return CostEstimate("separable", CALL * terms + each * terms, account, refusal)


def _bid_fft(facts: Facts, axes: tuple[Axis, ...]) -> CostEstimate:
    if facts.filters is not None:
        return CostEstimate("fft", math.inf, "", "a bank's kernels have a spectrum each")
    if facts.integral is not None and facts.integral * FFT_ERROR >= 0.25:
        return CostEstimate("fft", math.inf, "", "whole numbers as large as these would not come out exact")
    size = fft_tile(axes)
    if math.prod(size) > FFT_LARGEST:
        return CostEstimate("fft", math.inf, "", f"a tile of {'x'.join(map(str, size))} is too large to transform")
    tiles = math.prod(
        -(-(axis.padded - axis.reach + 1) // (n - axis.reach + 1)) for n, axis in zip(size, axes, strict=True)
    )
    samples = math.prod(facts.batch) * facts.channels * tiles * math.prod(size)
    shown = "x".join(map(str, size))
    account = f"spectra of tiles of {shown}, whatever the kernel's size"
    return CostEstimate("fft", CALL + math.prod(size) * 50 + samples * (2 * len(axes) * FFT + FFT_MOVE), account)
