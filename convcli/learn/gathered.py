"""One entry of a gradient as the sum that it is, with all of its terms.

With delta the gradient of the loss in the convolution's output, before bias and activation,

    dw[t] = sum over outputs p of delta[p] * x[stride*p + dilation*t - lo]
    dx[s] = sum over outputs p and taps t with stride*p + dilation*t - lo = s of delta[p] * w[t]
    db    = sum over outputs p of delta[p]

A place outside the input repeats a sample, to which its share of dx is added; with a constant
boundary it is a constant in dw, and has no share of dx.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convcli.engine.layer_form import LayerForm, flip_for, to_layer
from convcli.engine.padding import boundary_index
from convcli.errors import InputError
from convcli.grad.layouts import to_layer_upstream
from convcli.jobs.operands import Operands, check_seed, load_operands
from convcli.learn.indices import Index, counted_from_start, joined
from convcli.learn.neuron import Backward, Floats, Neuron, make_neuron, with_backward
from convcli.limits import Limits
from convcli.options import Activation
from convcli.shapes.geometry import Geometry
from convcli.shapes.parse import show

GradientName = Literal["dx", "dw", "db"]
Integers = NDArray[np.intp]

LARGEST = 24
"""The most terms of a sum that are listed; of more, these are the largest."""


@dataclass(frozen=True)
class GatheredRequest:
    """The entry of a gradient to explain; the other fields are as in ExplainRequest.

    entry: the gradient's name, and the index, None for its only entry.
    """

    input: str
    reference: str
    entry: tuple[GradientName, Index | None]
    geometry: Geometry = field(default_factory=Geometry)
    seed: int | None = None
    upstream: str | None = None
    bias: float = 0.0
    activation: Activation | None = None
    limits: Limits = field(default_factory=Limits.of)


@dataclass(frozen=True)
class Term:
    """One term, delta * factor. output: the index of delta.

    source: the index of the factor, a sample in dw and a tap in dx; None for a constant outside the
    input, and in db, whose factor is 1. padded: whether it is of a place outside the input.
    """

    output: Index
    source: Index | None
    padded: bool
    delta: float
    factor: float

    @property
    def product(self) -> float:
        return self.delta * self.factor


@dataclass(frozen=True, eq=False)
class Terms:
    """All terms of a sum, as flat arrays.

    outputs, sources: flat indices of the output, and of the input or kernel; -1 for no source.
    """

    outputs: Integers
    sources: Integers
    padded: NDArray[np.bool_]
    delta: Floats
    factor: Floats

    def __len__(self) -> int:
        return len(self.delta)

    @property
    def products(self) -> Floats:
        with np.errstate(invalid="ignore", over="ignore"):
            return self.delta * self.factor


@dataclass(frozen=True, eq=False)
class GatheredResult:
    """A gradient's entry: the engine's value, and the terms that add up to it.

    listed: all terms, or the LARGEST ones in the order of the sum. more, rest: the number of the
    others, and their total.
    """

    neuron: Neuron
    name: GradientName
    index: Index
    value: float
    count: int
    listed: tuple[Term, ...]
    more: int
    rest: float

    @property
    def operands(self) -> Operands:
        return self.neuron.operands


def run_gathered(request: GatheredRequest, *, every: bool = False) -> GatheredResult:
    """Gather the terms of one entry of a gradient. every: list all terms.

    Raises InputError for an index that the gradient does not have, and the errors of `explain`.

    >>> result = run_gathered(GatheredRequest("5", "1,2,3", ("dw", (0,))))
    >>> result.count, [term.source for term in result.listed], result.more
    (3, [(0,), (1,), (2,)], 0)
    """
    operands = load_operands(
        request.input, request.reference, request.geometry, request.limits, seed=request.seed or 0
    )
    check_seed(request.seed, request.input, operands.data)
    neuron = make_neuron(
        operands, request.geometry.op, bias=request.bias, activation=request.activation
    )
    neuron = with_backward(neuron, request.upstream, request.limits, "--gradient")
    name, given = request.entry
    gradient = getattr(neuron.gradients(), name)
    index = _check_index(name, given, gradient.shape)
    terms = GATHER[name](neuron, _backward(neuron), index)
    chosen = np.arange(len(terms)) if every else _largest(terms.products, LARGEST)
    others = np.delete(terms.products, chosen)
    shapes = (neuron.output, {"dw": operands.x.shape, "dx": operands.conv_layout.kernel}.get(name))
    return GatheredResult(
        neuron,
        name,
        index,
        float(gradient[index]),
        len(terms),
        tuple(_term(terms, int(at), *shapes) for at in chosen),
        len(others),
        _total(others),
    )


def _backward(neuron: Neuron) -> Backward:
    assert neuron.backward is not None
    return neuron.backward


def _check_index(name: str, index: Index | None, shape: tuple[int, ...]) -> Index:
    """Return the whole index of a gradient's entry, counted from the start. Raises InputError."""
    if index is None:
        if math.prod(shape) > 1:
            middle = joined(n // 2 for n in shape)
            raise InputError(
                f"--gradient {name} without an index",
                f"{name} is {show(shape)}",
                f"write --gradient '{name}[{middle}]'",
            )
        return (0,) * len(shape)
    given = f"--gradient {name}[{joined(index)}]"
    if len(index) != len(shape):
        entries = "1 entry" if len(index) == 1 else f"{len(index)} entries"
        axes = "1 axis" if len(shape) == 1 else f"{len(shape)} axes"
        raise InputError(
            f"{given} has {entries}",
            f"{name} is {show(shape)}, with {axes}",
            f"write --gradient '{name}[{joined(n // 2 for n in shape)}]' for its middle",
        )
    return counted_from_start(index, shape, f"{given} is outside {name}, {show(shape)}")


def _largest(products: Floats, most: int) -> Integers:
    """Return the positions of the largest products, in their own order; NaN counts as largest."""
    if len(products) <= most:
        return np.arange(len(products))
    weight = np.where(np.isnan(products), np.inf, np.abs(products))
    return np.sort(np.argsort(-weight, kind="stable")[:most])


def _total(values: Floats) -> float:
    if not np.isfinite(values).all():
        with np.errstate(invalid="ignore"):
            return float(values.sum())
    return math.fsum(values)


def _term(terms: Terms, at: int, output: tuple[int, ...], source: tuple[int, ...] | None) -> Term:
    has_source = source is not None and terms.sources[at] >= 0
    return Term(
        _unravelled(int(terms.outputs[at]), output),
        _unravelled(int(terms.sources[at]), source) if source and has_source else None,
        bool(terms.padded[at]),
        float(terms.delta[at]),
        float(terms.factor[at]),
    )


def _unravelled(flat: int, shape: tuple[int, ...]) -> Index:
    return tuple(int(i) for i in np.unravel_index(flat, shape))


# The terms. Arrays of flat indices go through the same layouts as the values do, so that every
# value comes with the index that it has in the user's arrays.


def _numbered(neuron: Neuron) -> tuple[LayerForm, Integers]:
    """Return the flat indices of input and kernel as a layer, and those of the output."""
    a = neuron.operands.conv_layout
    x, w, y = (
        np.arange(math.prod(shape)).reshape(shape)
        for shape in (neuron.operands.x.shape, a.kernel, neuron.output)
    )
    return to_layer(x, flip_for(w, a, neuron.op), a), to_layer_upstream(y, a)


def _gather_dw(neuron: Neuron, backward: Backward, index: Index) -> Terms:
    """Return a term for each output, and for each channel that shares the tap."""
    operands, form = neuron.operands, neuron.form
    numbers, outputs = _numbered(neuron)
    share, depth = len(form.w) // form.groups, form.w.shape[-1]
    entry = np.ravel_multi_index(index, operands.conv_layout.kernel)
    parts = []
    for o, *tap, c in np.argwhere(numbers.w == entry):
        folded, outside = [], []
        for axis, t in zip(neuron.axes, tap, strict=True):
            places = axis.sample(np.arange(axis.out), t)
            folded.append(boundary_index(places, axis.n, operands.spec.boundary))
            outside.append((places < 0) | (places >= axis.n))
        constant = _any([sample < 0 for sample in folded])
        channel = (o // share) * depth + c
        grid = np.ix_(np.arange(len(form.x)), *folded)
        seen = np.where(constant, operands.spec.cval, form.x[..., channel][grid])
        sources = np.where(constant, -1, numbers.x[..., channel][grid])
        everywhere = np.broadcast_to(_any(outside), seen.shape)
        delta = backward.delta[..., o]
        parts.append(Terms(*map(np.ravel, (outputs[..., o], sources, everywhere, delta, seen))))
    return _joined_terms(parts)


def _gather_dx(neuron: Neuron, backward: Backward, index: Index) -> Terms:
    """Return a term for each output and tap that see the sample, in each kernel of its group."""
    operands, form = neuron.operands, neuron.form
    numbers, outputs = _numbered(neuron)
    sample = np.ravel_multi_index(index, operands.x.shape)
    n, *place, channel = np.argwhere(numbers.x == sample)[0]
    share, depth = len(form.w) // form.groups, form.w.shape[-1]
    group, c = divmod(int(channel), depth)
    meets, outside = [], []
    for axis, s in zip(neuron.axes, place, strict=True):
        places = axis.sample(np.arange(axis.out)[:, None], np.arange(axis.k))
        found = np.argwhere(boundary_index(places, axis.n, operands.spec.boundary) == s)
        meets.append(found)
        at = places[tuple(found.T)]
        outside.append((at < 0) | (at >= axis.n))
    pairs = np.ix_(*(np.arange(len(found)) for found in meets))
    p = tuple(found[pair, 0] for found, pair in zip(meets, pairs, strict=True))
    t = tuple(found[pair, 1] for found, pair in zip(meets, pairs, strict=True))
    padded = _any(outside)
    parts = []
    for o in range(group * share, (group + 1) * share):
        delta, w = backward.delta[(n, *p, o)], form.w[(o, *t, c)]
        own = outputs[(n, *p, o)], numbers.w[(o, *t, c)], padded, delta, w
        parts.append(Terms(*(np.broadcast_to(part, delta.shape).ravel() for part in own)))
    return _joined_terms(parts)


def _gather_db(neuron: Neuron, backward: Backward, index: Index) -> Terms:
    """Return a term for each output that the bias is added to."""
    _, outputs = _numbered(neuron)
    delta = backward.delta[..., index[0]].ravel()
    own = outputs[..., index[0]].ravel()
    return Terms(own, np.full(len(own), -1), np.zeros(len(own), bool), delta, np.ones(len(own)))


GATHER: dict[GradientName, Callable[[Neuron, Backward, Index], Terms]] = {
    "dw": _gather_dw,
    "dx": _gather_dx,
    "db": _gather_db,
}


def _any(along: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Combine masks along each axis to a mask of all axes."""
    return np.asarray(reduce(np.logical_or.outer, along))


def _joined_terms(parts: list[Terms]) -> Terms:
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Terms(*(np.concatenate(column) for column in columns))
