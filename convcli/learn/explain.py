"""Single outputs of a convolution, cell by cell.

`y[p] = sum over t of w[t] * x[stride*p + dilation*t - lo]`.

Every product that adds to an output is a `Cell`, with its sample and its tap. A bias and an
activation may follow: z = y + b, and f(z). The backward pass uses the same cells in the other
direction: with delta the gradient of this output, which is dy * f'(z) with an activation,

    dw[t] += delta * x[stride*p + dilation*t - lo]   one term of dw_i = sum_j delta_j x_(i+j-1)
    dx[stride*p + dilation*t - lo] += delta * w[t]   one term of delta's full convolution with w

A padded cell repeats a sample of the input, which gets the cell's share of dx; with a constant
boundary, no sample does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convcli.engine.layer_form import flip_for
from convcli.engine.padding import boundary_index
from convcli.errors import LimitError
from convcli.jobs import colour
from convcli.jobs.operands import Operands, check_seed, load_operands
from convcli.learn.indices import (
    MIDDLE,
    Index,
    OutputIndex,
    chosen_output,
    in_input,
    in_kernel,
    split_index,
)
from convcli.learn.neuron import Neuron, make_neuron, with_backward
from convcli.limits import Limits
from convcli.options import Activation, Op
from convcli.shapes.axis import Axis
from convcli.shapes.geometry import Geometry
from convcli.shapes.parse import show

STEPS = 256
"""The most outputs that `--all` explains: more do not help a reader."""


@dataclass(frozen=True)
class ExplainRequest:
    """The outputs to explain.

    input: a file, or a shape for random numbers.
    at: the output's index; negative entries count from the end; batch and channel default to 0.
    MIDDLE is the middle of the output, None is every output.
    seed: for random numbers only. upstream: a file with dy, by default ones. bias, activation: what
    follows the sum.
    """

    input: str
    reference: str
    at: Index | Literal["middle"] | None
    geometry: Geometry = field(default_factory=Geometry)
    seed: int | None = None
    backward: bool = False
    upstream: str | None = None
    bias: float = 0.0
    activation: Activation | None = None
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
class OutputFlow:
    """The backward pass at an output.

    dy: the upstream gradient. slope: of the activation at z. delta: dy * slope, the output's share
    of db. db: the index of its entry of db. db_sum: the sum over all outputs.
    """

    dy: float
    slope: float
    delta: float
    db: int
    db_sum: float


@dataclass(frozen=True)
class Step:
    """One output: its index, and a block for each channel that it sums over.

    coverage: the divisor of the total, if the picture has alpha.
    """

    at: Index
    blocks: tuple[Block, ...]
    neuron: Neuron
    coverage: float | None = None
    flow: OutputFlow | None = None

    @property
    def total(self) -> float:
        return float(np.sum([block.total for block in self.blocks]))

    @property
    def filtered(self) -> float:
        """The output of `apply`, before its conversion to the written dtype."""
        if self.coverage is None:
            return self.total
        return float(colour.divide(np.array([self.total]), np.array(self.coverage))[0])

    @property
    def z(self) -> float:
        """The sum with the bias."""
        return self.filtered + self.neuron.bias

    @property
    def value(self) -> float:
        """The activation of z; z without one."""
        return self.neuron.activate(self.z)


@dataclass(frozen=True, eq=False)
class ExplainResult:
    """The requested outputs, and the convolution that they belong to."""

    neuron: Neuron
    steps: tuple[Step, ...]
    middle: bool = False
    """Whether the output is the one in the middle, as none was requested."""

    @property
    def operands(self) -> Operands:
        return self.neuron.operands

    @property
    def op(self) -> Op:
        return self.neuron.op

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.neuron.axes

    @property
    def output(self) -> tuple[int, ...]:
        return self.neuron.output

    @property
    def upstream(self) -> str | None:
        """The source of dy: a file, or "ones"; None without the backward pass."""
        return None if self.neuron.backward is None else self.neuron.backward.source


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
    neuron = make_neuron(
        operands, request.geometry.op, bias=request.bias, activation=request.activation
    )
    output = neuron.output
    chosen = _every(output) if request.at is None else [chosen_output(request.at, a, output)]
    if request.backward:
        neuron = with_backward(neuron, request.upstream, request.limits, "--backward")
    steps = tuple(_step(neuron, at, request.geometry) for at in chosen)
    return ExplainResult(neuron, steps, request.at == MIDDLE)


def _every(output: tuple[int, ...]) -> list[Index]:
    if math.prod(output) > STEPS:
        raise LimitError(
            f"every step of an output {show(output)} is {math.prod(output):,} steps",
            f"expected at most {STEPS}",
            "give a smaller input, or one output with --at",
        )
    return list(np.ndindex(*output))


def _step(neuron: Neuron, at: Index, geometry: Geometry) -> Step:
    output = split_index(at, neuron.operands.conv_layout)
    depth = neuron.form.w.shape[-1]
    group = output.o // (len(neuron.form.w) // neuron.form.groups)
    blocks = tuple(
        _block(neuron, output, group * depth + channel, channel) for channel in range(depth)
    )
    coverage = _coverage(neuron, output, geometry)
    return Step(at, blocks, neuron, coverage, _output_flow(neuron, output))


def _output_flow(neuron: Neuron, output: OutputIndex) -> OutputFlow | None:
    backward = neuron.backward
    if backward is None:
        return None
    at = (output.n, *output.spatial, output.o)
    return OutputFlow(
        dy=float(backward.dy[at]),
        slope=neuron.slope(float(backward.z[at])),
        delta=float(backward.delta[at]),
        db=output.o,
        db_sum=float(backward.sums.db[output.o]),
    )


def _positions(axes: tuple[Axis, ...], spatial: Index) -> list[NDArray[np.intp]]:
    """Return, per axis, the position under every tap."""
    return [axis.sample(p, np.arange(axis.k)) for p, axis in zip(spatial, axes, strict=True)]


def _block(neuron: Neuron, output: OutputIndex, layer_channel: int, kernel_channel: int) -> Block:
    """Return the cells of one channel.

    layer_channel: the channel of the layer's input. kernel_channel: that of its kernel.
    """
    a = neuron.operands.conv_layout
    channel = output.channel if a.channel_mode == "each" else layer_channel
    cells = (
        _cell(neuron, output, tap, layer_channel, kernel_channel, channel)
        for tap in _taps(neuron, output)
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


def _taps(neuron: Neuron, output: OutputIndex) -> Iterator[_Tap]:
    positions = _positions(neuron.axes, output.spatial)
    folded = [
        boundary_index(p, axis.n, neuron.operands.spec.boundary)
        for p, axis in zip(positions, neuron.axes, strict=True)
    ]
    for index in itertools.product(*(range(axis.k) for axis in neuron.axes)):
        place = tuple(int(p[t]) for p, t in zip(positions, index, strict=True))
        source = tuple(int(p[t]) for p, t in zip(folded, index, strict=True))
        outside = any(not 0 <= p < axis.n for p, axis in zip(place, neuron.axes, strict=True))
        yield _Tap(index, place, source, outside)


def _cell(
    neuron: Neuron,
    output: OutputIndex,
    tap: _Tap,
    layer_channel: int,
    kernel_channel: int,
    channel: int,
) -> Cell:
    a = neuron.operands.conv_layout
    sample = (output.n, *tap.folded, layer_channel)
    weight = (output.o, *tap.index, kernel_channel)
    x = neuron.operands.spec.cval if tap.constant else float(neuron.form.x[sample])
    w = float(neuron.form.w[weight])
    return Cell(
        tap=in_kernel(_unflipped(tap.index, neuron), a, output.o, kernel_channel),
        place=tap.place,
        source=None if tap.constant else in_input(tap.folded, a, output.batch, channel),
        padded=tap.padded,
        x=x,
        w=w,
        flow=_flow(neuron, output, x, w, None if tap.constant else sample, weight),
    )


def _unflipped(tap: Index, neuron: Neuron) -> Index:
    """Return a tap's index in the kernel as the user gave it."""
    if neuron.op == "correlate":
        return tap
    return tuple(axis.k - 1 - t for t, axis in zip(tap, neuron.axes, strict=True))


def _flow(
    neuron: Neuron, output: OutputIndex, x: float, w: float, sample: Index | None, weight: Index
) -> Flow | None:
    backward = neuron.backward
    if backward is None:
        return None
    delta = float(backward.delta[(output.n, *output.spatial, output.o)])
    a = neuron.operands.conv_layout
    shared = len(a.kernel) == a.dims  # one tap for all channels
    dw, dx = backward.sums.dw, backward.sums.dx
    return Flow(
        dw=delta * x,
        dx=None if sample is None else delta * w,
        dw_sum=float(dw[weight[:-1]].sum() if shared else dw[weight]),
        dx_sum=None if sample is None else float(dx[sample]),
    )


def _coverage(neuron: Neuron, output: OutputIndex, geometry: Geometry) -> float | None:
    """Return the alpha under the window, filtered as in `apply`."""
    cover, a = neuron.operands.alpha, neuron.operands.conv_layout
    if cover is None:
        return None
    taps = flip_for(neuron.operands.kernel.taps, a, neuron.op)
    outside = colour.outside_alpha(geometry.cval)
    alpha = [outside if tap.constant else float(cover[tap.folded]) for tap in _taps(neuron, output)]
    return float(colour.coverage_kernel(taps, a.window_axes).ravel() @ np.array(alpha))
