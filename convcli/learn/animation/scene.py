"""What each frame of an animation shows: the window, the products, and the sum.

A frame computes one value: an output, or one value of a gradient. Every number is the engine's, or
a product of two numbers that are shown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.engine.padding import boundary_index
from convcli.learn.animation.slide import Side, Slide, make_slide
from convcli.learn.page.layer import Floats, PageLayer
from convcli.options import Boundary

Index = tuple[int, ...]
View = Literal["forward", "dx", "dw"]

SAMPLE, COPY, CONSTANT, EMPTY = range(4)
"""Kinds of places: a sample; padding that repeats one; padding with a constant; and a place without
a sample, which adds nothing: padding of a gradient, or between the samples of a coarse side."""


class Signal(NamedTuple):
    """A side of the convolution: its name, and its channels (C, *S)."""

    name: str
    values: Floats


class Pair(NamedTuple):
    """Planes whose products are summed: a channel of the source, and its weights.

    channel: the number of the source's channel; None if it has one. values: at every place that is
    shown. weights: one for each tap, in the order of the window.
    """

    channel: int | None
    values: Floats
    weights: Floats


class Term(NamedTuple):
    """One product: a value of the source, and its weight."""

    x: float
    w: float

    @property
    def product(self) -> float:
        return self.x * self.w


@dataclass(frozen=True, eq=False)
class Frame:
    """One value, and how it is computed.

    channel, target: where it is in the result. windows: one, or several if padding repeats the
    sample. products: for each pair, the product at each tap, summed over the windows. used: the
    taps that have a product. terms: all products, for each pair. value: the engine's.
    """

    channel: int
    target: Index
    windows: tuple[Index, ...]
    products: tuple[Floats, ...]
    used: NDArray[np.bool_]
    terms: tuple[tuple[Term, ...], ...]
    value: float


@dataclass(frozen=True, eq=False)
class Scene:
    """A window that slides over a source, and the result that it computes.

    source, weights: the names of what the window slides over and of what it holds: x, w, y or dy.
    flipped: whether the window holds the kernel as given in the opposite order. slides: along each
    axis. kinds: of the places that are shown. pairs: those of each channel of the result. result:
    (C, *S), the engine's values. channels: those of the result that are computed.
    """

    view: View
    source: str
    weights: str
    flipped: bool
    slides: tuple[Slide, ...]
    kinds: NDArray[np.int8]
    pairs: tuple[tuple[Pair, ...], ...]
    result: Floats
    channels: tuple[int, ...]

    @property
    def frame_count(self) -> int:
        return len(self.channels) * math.prod(self.result.shape[1:])

    def position(self, number: int) -> tuple[int, Index]:
        """Return the channel and the index of the value that a frame computes."""
        sizes = self.result.shape[1:]
        turn, place = divmod(number, math.prod(sizes))
        return self.channels[turn], tuple(int(i) for i in np.unravel_index(place, sizes))

    def frame(self, number: int) -> Frame:
        """Return what a frame shows; frames are numbered from 0, channel by channel."""
        channel, target = self.position(number)
        windows = tuple(
            itertools.product(
                *(slide.folds[i] for slide, i in zip(self.slides, target, strict=True))
            )
        )
        found = [self._multiply(pair, windows) for pair in self.pairs[channel]]
        return Frame(
            channel,
            target,
            windows,
            tuple(products for products, _ in found),
            np.any([self.kinds[self.places(window)] != EMPTY for window in windows], axis=0),
            tuple(terms for _, terms in found),
            float(self.result[(channel, *target)]),
        )

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        return tuple(map(self.frame, range(self.frame_count)))

    def places(self, window: Index) -> tuple[NDArray[np.intp], ...]:
        """Return the places under a window's taps, as an index of the places that are shown."""
        return np.ix_(
            *(
                np.array(slide.columns(i), np.intp)
                for slide, i in zip(self.slides, window, strict=True)
            )
        )

    def _multiply(self, pair: Pair, windows: tuple[Index, ...]) -> tuple[Floats, tuple[Term, ...]]:
        products = np.zeros(pair.weights.shape)
        terms: list[Term] = []
        for window in windows:
            where = self.places(window)
            used = self.kinds[where] != EMPTY
            x, w = pair.values[where][used], pair.weights[used]
            with np.errstate(invalid="ignore", over="ignore"):
                products[used] += x * w
            terms += map(Term, x.tolist(), w.tolist())
        return products, tuple(terms)


def make_scene(layer: PageLayer, view: View, dy: Floats, channel: int | None = None) -> Scene:
    """Return the scene of a layer, or of one of its gradients.

    dy: the upstream gradient, like the output. channel: of the result, by default all.

    >>> from convcli.shapes.spec import ConvSpec
    >>> layer = PageLayer(np.arange(4.0)[None], np.ones((1, 2, 1)), ConvSpec.of(1), "correlate")
    >>> scene = make_scene(layer, "forward", np.ones((1, 3)))
    >>> frame = scene.frame(1)
    >>> frame.target, frame.terms, frame.value
    ((1,), ((Term(x=1.0, w=1.0), Term(x=2.0, w=1.0)),), 3.0)
    """
    values = layer.values(dy, 0.0, None)
    result = {"forward": values.y, "dx": values.dx, "dw": values.dw}[view]
    if view == "dw":
        result = np.moveaxis(result, -1, 1).reshape(-1, *layer.w.shape[1:-1])
    side = _side(layer, view)
    boundary: Boundary = "constant" if layer.transposed else layer.spec.boundary
    slides = tuple(make_slide(axis, side, boundary) for axis in layer.axes)
    if view == "dw" and layer.op == "convolve":  # the result has the order of the kernel as given
        slides = tuple(replace(slide, folds=slide.folds[::-1]) for slide in slides)
    fine, coarse = Signal("x", layer.x), Signal("y" if view == "forward" else "dy", dy)
    if layer.transposed:
        fine, coarse = coarse, fine
    source = coarse if side == "fine" else fine
    padded = source is fine and not layer.transposed
    places = _Places(slides, source, boundary, layer.spec.cval, padded)
    flipped = side != "kernel" and (layer.op == "convolve") != (side == "fine")
    return Scene(
        view=view,
        source=source.name,
        weights=coarse.name if side == "kernel" else "w",
        flipped=flipped,
        slides=slides,
        kinds=places.kinds(),
        pairs=tuple(_pairs(layer, side, places, coarse.values, flipped)),
        result=result,
        channels=tuple(range(len(result))) if channel is None else (channel,),
    )


def _side(layer: PageLayer, view: View) -> Side:
    if view == "dw":
        return "kernel"
    return "fine" if (view == "dx") != layer.transposed else "coarse"


@dataclass(frozen=True, eq=False)
class _Places:
    """The places of a source that are shown. padded: whether its padding has values."""

    slides: tuple[Slide, ...]
    source: Signal
    boundary: Boundary
    cval: float
    padded: bool

    def kinds(self) -> NDArray[np.int8]:
        kinds = np.full([slide.length for slide in self.slides], SAMPLE, np.int8)
        for axis, slide in enumerate(self.slides):
            along = kinds.swapaxes(0, axis)
            places = np.arange(slide.start, slide.stop)
            outside = (places < 0) | (places >= slide.spread * (slide.samples - 1) + 1)
            padding = COPY if self.boundary != "constant" else CONSTANT
            along[outside] = np.maximum(along[outside], padding if self.padded else EMPTY)
            along[~outside & (places % slide.spread != 0)] = EMPTY
        return kinds

    def values(self, channel: int) -> Floats:
        """Return the values of a channel at the places that are shown."""
        values, kinds = self.source.values[channel], self.kinds()
        where = []
        for slide in self.slides:
            samples = np.arange(slide.start, slide.stop) // slide.spread
            folded = boundary_index(samples, slide.samples, self.boundary)
            where.append(np.clip(folded, 0, slide.samples - 1))
        shown: Floats = values[np.ix_(*where)].astype(np.float64)
        shown[kinds == CONSTANT] = self.cval
        shown[kinds == EMPTY] = 0.0
        return shown


def _pairs(
    layer: PageLayer, side: Side, places: _Places, coarse: Floats, flipped: bool
) -> Iterator[tuple[Pair, ...]]:
    """Yield the pairs of each channel of the result."""
    w = layer.repeated()  # (O, *K, C / groups)
    w = np.flip(w, tuple(range(1, w.ndim - 1))) if flipped else w
    depth = w.shape[-1]
    groups = len(layer.x) if layer.shared == "each" else layer.spec.groups
    own = len(w) // groups  # kernels of a group
    values = [places.values(channel) for channel in range(len(places.source.values))]

    def pair(channel: int, weights: Floats) -> Pair:
        return Pair(channel if len(values) > 1 else None, values[channel], weights)

    if side == "coarse":
        for o in range(len(w)):
            start = o // own * depth
            yield tuple(pair(start + c, w[o, ..., c]) for c in range(depth))
    elif side == "fine":
        for c in range(groups * depth):
            start = c // depth * own
            yield tuple(pair(o, w[o, ..., c % depth]) for o in range(start, start + own))
    elif layer.shared:
        each = layer.shared == "each"
        yield tuple(pair(c, coarse[c if each else 0]) for c in range(len(values)))
    else:
        for o, c in itertools.product(range(len(w)), range(depth)):
            yield (pair(o // own * depth + c, coarse[o]),)
