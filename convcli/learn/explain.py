"""Single outputs of a convolution, cell by cell.

`y[p] = sum over t of w[t] * x[stride*p + dilation*t - lo]`.

Every product that adds to an output is a `Cell`, with its sample and its tap. The backward pass
uses the same cells in the other direction: with delta the upstream gradient of this output,

    dw[t] += delta * x[stride*p + dilation*t - lo]   one term of dw_i = sum_j delta_j x_(i+j-1)
    dx[stride*p + dilation*t - lo] += delta * w[t]   one term of delta's full convolution with w

A padded cell repeats a sample of the input, which gets the cell's share of dx; with a constant
boundary, no sample does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.engine.layer_form import LayerForm, flip_for, to_layer
from convcli.engine.padding import boundary_index
from convcli.errors import InputError, LimitError, ShapeError
from convcli.grad.backward import Gradients, gradients
from convcli.jobs import colour
from convcli.jobs.operands import Operands, check_seed, load_operands
from convcli.limits import Limits
from convcli.options import Op
from convcli.shapes.axis import Axis
from convcli.shapes.geometry import Geometry
from convcli.shapes.layout import ConvLayout
from convcli.shapes.parse import show

Index: TypeAlias = tuple[int, ...]

STEPS = 256
"""The most outputs that `--all` explains: more do not help a reader."""

MIDDLE: Literal["middle"] = "middle"
"""As `at`, the output in the middle."""


@dataclass(frozen=True)
class ExplainRequest:
    """The outputs to explain.

    input: a file, or a shape for random numbers.
    at: the output's index; negative entries count from the end; batch and channel default to 0.
    MIDDLE is the middle of the output, None is every output.
    seed: for random numbers only. upstream: a file with dy, by default ones.
    """

    input: str
    reference: str
    at: Index | Literal["middle"] | None
    geometry: Geometry = field(default_factory=Geometry)
    seed: int | None = None
    backward: bool = False
    upstream: str | None = None
    limits: Limits = field(default_factory=Limits.of)


@dataclass(frozen=True)
class Flow:
    """A cell's share of the gradients, and their sums over all outputs.

    dx is None for a constant outside the input.
    """

    dw: float
    dx: float | None
    dw_sum: float
    dx_sum: float | None


@dataclass(frozen=True)
class Cell:
    """One sample under one tap.

    tap: the tap's index in the kernel as it was given.
    place: the sample's position along the spatial axes, beyond the input for padding.
    source: the sample's index in the input; None for a constant outside it.
    """

    tap: Index
    place: Index
    source: Index | None
    padded: bool
    x: float
    w: float
    flow: Flow | None = None

    @property
    def product(self) -> float:
        return self.x * self.w


@dataclass(frozen=True)
class Block:
    """One channel's cells in the order of the window.

    `channel` is None if the input has no channels.
    """

    channel: int | None
    cells: tuple[Cell, ...]

    @property
    def total(self) -> float:
        return float(np.sum([cell.product for cell in self.cells]))


@dataclass(frozen=True)
class Step:
    """One output: its index, and a block for each channel that it sums over.

    coverage: the divisor of the total, if the picture has alpha. delta: dy at this output.
    """

    at: Index
    blocks: tuple[Block, ...]
    coverage: float | None = None
    delta: float | None = None

    @property
    def total(self) -> float:
        return float(np.sum([block.total for block in self.blocks]))

    @property
    def value(self) -> float:
        """The output of `apply`, before its conversion to the written dtype."""
        if self.coverage is None:
            return self.total
        return float(colour.divide(np.array([self.total]), np.array(self.coverage))[0])


@dataclass(frozen=True, eq=False)
class ExplainResult:
    """The requested outputs, and the convolution that they belong to."""

    operands: Operands
    op: Op
    axes: tuple[Axis, ...]
    output: tuple[int, ...]
    steps: tuple[Step, ...]
    upstream: str | None
    """The source of dy: a file, or "ones"; None without the backward pass."""
    middle: bool = False
    """Whether the output is the one in the middle, as none was requested."""


@dataclass(frozen=True, eq=False)
class _Context:
    """The layer's arrays, the geometry, and the gradients if they are requested, for every step."""

    operands: Operands
    form: LayerForm
    flipped: bool
    axes: tuple[Axis, ...]
    cover_taps: NDArray[np.float64] | None
    outside_alpha: float
    dy: NDArray[np.float64] | None
    sums: Gradients | None


@dataclass(frozen=True)
class OutputIndex:
    """An output's index, split: in the user's arrays, and as (n, o) in the layer's arrays."""

    batch: Index
    spatial: Index
    channel: int
    n: int
    o: int


def run_explain(request: ExplainRequest) -> ExplainResult:
    """Split outputs into the products that they sum.

    Raises InputError for an index outside the output, naming the valid range, LimitError for more
    outputs than STEPS, ShapeError for an upstream gradient whose shape is not the output's, and
    the errors of `apply`.

    >>> step = run_explain(ExplainRequest("4x4", "1,0;0,-1", at=(1, 2))).steps[0]
    >>> [cell.place for cell in step.blocks[0].cells], len(step.blocks)
    ([(1, 2), (1, 3), (2, 2), (2, 3)], 1)
    """
    operands = load_operands(
        request.input, request.reference, request.geometry, request.limits, seed=request.seed or 0
    )
    check_seed(request.seed, request.input, operands.data)
    a = operands.conv_layout
    axes = operands.spec.axes(a.spatial, a.window)
    output = a.with_spatial([axis.out for axis in axes])
    chosen = _every(output) if request.at is None else [chosen_output(request.at, a, output)]
    dy = _upstream(request, operands, output) if request.backward else None
    context = _make_context(operands, request.geometry, axes, dy)
    source = (request.upstream or "ones") if request.backward else None
    steps = tuple(_step(context, at) for at in chosen)
    return ExplainResult(
        operands, request.geometry.op, axes, output, steps, source, request.at == MIDDLE
    )


def chosen_output(at: Index | Literal["middle"], a: ConvLayout, output: tuple[int, ...]) -> Index:
    """Return the index of an output, with its batch and channel, counted from the start.

    Raises InputError for an index outside the output.
    """
    return _complete_index(_middle(a, output) if at == MIDDLE else at, a, output)


def _middle(a: ConvLayout, output: tuple[int, ...]) -> Index:
    channel = None if a.output_channel_axis is None else a.output_channel_axis - a.batch_axes
    return tuple(n // 2 for axis, n in enumerate(output[a.batch_axes :]) if axis != channel)


def _every(output: tuple[int, ...]) -> list[Index]:
    if math.prod(output) > STEPS:
        raise LimitError(
            f"every step of an output {show(output)} is {math.prod(output):,} steps",
            f"expected at most {STEPS}",
            "give a smaller input, or one output with --at",
        )
    return list(np.ndindex(*output))


def _complete_index(at: Index, a: ConvLayout, output: tuple[int, ...]) -> Index:
    """Fill in the batch and channel of an output's index, and count negative entries from the end.

    Raises InputError.
    """
    whole = at
    if len(at) == a.dims and a.output_channel_axis is not None:
        channel = a.output_channel_axis - a.batch_axes
        whole = (*at[:channel], 0, *at[channel:])
    if len(whole) == len(output) - a.batch_axes:
        whole = (*[0] * a.batch_axes, *whole)
    given = f"--at {_joined(at)}"
    if len(whole) != len(output):
        raise InputError(
            f"{given} has {'1 entry' if len(at) == 1 else f'{len(at)} entries'}",
            f"the output {show(output)} has {len(output)} axes",
            f"write --at {_joined(_middle(a, output))} for the middle; "
            "batch and channel may be left out",
        )
    if not all(-n <= i < n for i, n in zip(whole, output, strict=True)):
        raise InputError(
            f"{given} is outside the output {show(output)}",
            f"valid are {','.join(f'0..{n - 1}' for n in output)}",
            "negative indices count from the end",
        )
    return tuple(i % n for i, n in zip(whole, output, strict=True))


def _joined(index: Iterable[int]) -> str:
    return ",".join(map(str, index))


def _upstream(
    request: ExplainRequest, operands: Operands, output: tuple[int, ...]
) -> NDArray[np.float64]:
    if operands.alpha is not None:
        raise InputError(
            f"{request.input} has alpha, and --backward",
            "expected a picture without: what alpha divides has no gradient here",
            "leave --backward out, or give the picture without alpha",
        )
    if request.upstream is None:
        return np.ones(output)
    dy = io.load(request.upstream, limits=request.limits).array
    if dy.shape != output:
        raise ShapeError(
            f"the upstream gradient {request.upstream} is {show(dy.shape)}",
            f"the output is {show(output)}",
        )
    return dy.astype(np.float64)


def _make_context(
    operands: Operands, geometry: Geometry, axes: tuple[Axis, ...], dy: NDArray[np.float64] | None
) -> _Context:
    a = operands.conv_layout
    spec = operands.spec
    flipped = geometry.op == "convolve"
    outside = colour.outside_alpha(geometry.cval)
    taps = flip_for(operands.kernel.taps, a, geometry.op)
    form = to_layer(operands.x, taps, a)
    cover = None if operands.alpha is None else colour.coverage_kernel(taps, a.window_axes)
    if dy is None:
        return _Context(operands, form, flipped, axes, cover, outside, None, None)
    given = to_layer(dy, taps, replace(a, shape=dy.shape, channel_axis=a.output_channel_axis)).x
    sums = gradients(form.x.astype(np.float64), form.w, given, groups=form.groups, **spec.options)
    return _Context(operands, form, flipped, axes, cover, outside, given, sums)


def _step(context: _Context, at: Index) -> Step:
    output = split_index(at, context.operands.conv_layout)
    depth = context.form.w.shape[-1]
    group = output.o // (context.form.w.shape[0] // context.form.groups)
    return Step(
        at=at,
        blocks=tuple(
            _block(context, output, group * depth + channel, channel) for channel in range(depth)
        ),
        coverage=_coverage(context, output),
        delta=None
        if context.dy is None
        else float(context.dy[(output.n, *output.spatial, output.o)]),
    )


def split_index(at: Index, a: ConvLayout) -> OutputIndex:
    """Split an output's index into its batch, its position and its channel."""
    batch = at[: a.batch_axes]
    rest = at[a.batch_axes :]
    channel = 0
    if a.output_channel_axis is not None:
        axis = a.output_channel_axis - a.batch_axes
        channel = rest[axis]
        rest = (*rest[:axis], *rest[axis + 1 :])
    item = batch[0] if batch else 0
    n, o = (item * a.channels + channel, 0) if a.channel_mode == "each" else (item, channel)
    return OutputIndex(batch, rest, channel, n, o)


def _positions(axes: tuple[Axis, ...], spatial: Index) -> list[NDArray[np.intp]]:
    """Return, per axis, the position under every tap."""
    return [axis.sample(p, np.arange(axis.k)) for p, axis in zip(spatial, axes, strict=True)]


def _block(
    context: _Context, output: OutputIndex, layer_channel: int, kernel_channel: int
) -> Block:
    """Return the cells of one channel.

    layer_channel: the channel of the layer's input. kernel_channel: that of its kernel.
    """
    a = context.operands.conv_layout
    channel = output.channel if a.channel_mode == "each" else layer_channel
    cells = (
        _cell(context, output, tap, layer_channel, kernel_channel, channel)
        for tap in _taps(context, output)
    )
    return Block(channel if a.channel_axis is not None else None, tuple(cells))


@dataclass(frozen=True)
class _Tap:
    """A tap of the window, and its sample.

    place: its position, beyond the input for padding. folded: the index of the sample that the
    boundary repeats there, -1 for a constant.
    """

    index: Index
    place: Index
    folded: Index
    padded: bool

    @property
    def constant(self) -> bool:
        return -1 in self.folded


def _taps(context: _Context, output: OutputIndex) -> Iterator[_Tap]:
    positions = _positions(context.axes, output.spatial)
    folded = [
        boundary_index(p, axis.n, context.operands.spec.boundary)
        for p, axis in zip(positions, context.axes, strict=True)
    ]
    for index in itertools.product(*(range(axis.k) for axis in context.axes)):
        place = tuple(int(p[t]) for p, t in zip(positions, index, strict=True))
        source = tuple(int(p[t]) for p, t in zip(folded, index, strict=True))
        outside = any(not 0 <= p < axis.n for p, axis in zip(place, context.axes, strict=True))
        yield _Tap(index, place, source, outside)


def _cell(
    context: _Context,
    output: OutputIndex,
    tap: _Tap,
    layer_channel: int,
    kernel_channel: int,
    channel: int,
) -> Cell:
    a = context.operands.conv_layout
    sample = (output.n, *tap.folded, layer_channel)
    weight = (output.o, *tap.index, kernel_channel)
    x = context.operands.spec.cval if tap.constant else float(context.form.x[sample])
    w = float(context.form.w[weight])
    return Cell(
        tap=_in_kernel(tap.index, a, output.o, kernel_channel, context.flipped),
        place=tap.place,
        source=None if tap.constant else _in_input(tap.folded, a, output.batch, channel),
        padded=tap.padded,
        x=x,
        w=w,
        flow=_flow(context, output, x, w, None if tap.constant else sample, weight),
    )


def _flow(
    context: _Context, output: OutputIndex, x: float, w: float, sample: Index | None, weight: Index
) -> Flow | None:
    if context.dy is None or context.sums is None:
        return None
    delta = float(context.dy[(output.n, *output.spatial, output.o)])
    a = context.operands.conv_layout
    shared = len(a.kernel) == a.dims  # one tap for all channels
    return Flow(
        dw=delta * x,
        dx=None if sample is None else delta * w,
        dw_sum=float(context.sums.dw[weight[:-1]].sum() if shared else context.sums.dw[weight]),
        dx_sum=None if sample is None else float(context.sums.dx[sample]),
    )


def _in_kernel(tap: Index, a: ConvLayout, o: int, kernel_channel: int, flipped: bool) -> Index:
    """Return a tap's index in the kernel as the user gave it."""
    spatial = tuple(k - 1 - t for t, k in zip(tap, a.window, strict=True)) if flipped else tap
    if len(a.kernel) == a.dims:
        return spatial
    channel = o if a.channel_mode == "depthwise" else kernel_channel
    inner = (channel, *spatial) if a.layout == "channels_first" else (*spatial, channel)
    return (o, *inner) if a.channel_mode == "bank" else inner


def _in_input(source: Index, a: ConvLayout, batch: Index, channel: int) -> Index:
    """Return a sample's index in the input as the user gave it."""
    if a.channel_axis is None:
        return (*batch, *source)
    return (
        (*batch, channel, *source) if a.layout == "channels_first" else (*batch, *source, channel)
    )


def _coverage(context: _Context, output: OutputIndex) -> float | None:
    """Return the alpha under the window, filtered as in `apply`."""
    cover = context.operands.alpha
    taps = context.cover_taps
    if cover is None or taps is None:
        return None
    alpha = [
        context.outside_alpha if tap.constant else float(cover[tap.folded])
        for tap in _taps(context, output)
    ]
    return float(taps.ravel() @ np.array(alpha))
