"""Every kind of layer: its name, its arguments, and what it does to a tensor.

A kind is a row of `KINDS`. A layer that slides over its input has an `Axis` for each spatial axis,
from which the size, the receptive field and the inverse follow: a global pooling is a window as
large as its input, padding is a window of 1 over more samples, and upsampling is a transposed
convolution.

Conventions: 1 MAC is one multiply-add of a weight. Pooling, normalisation, activations and sums
have none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from convcli.errors import ChannelError, InputError, ShapeError, did_you_mean
from convcli.network.parser import Word
from convcli.options import Layout
from convcli.shapes.axis import Axis
from convcli.shapes.parse import Padding, PerAxis, check_whole, parse_padding, parse_per_axis, show
from convcli.shapes.spec import ConvSpec


@dataclass(frozen=True, slots=True)
class Tensor:
    """The shape of a layer's input or output.

    spatial: sizes, () if it is flat. channels: None if there is no such axis.

    >>> picture = Tensor((28, 28), 3)
    >>> picture.shape(), picture.shape("channels_first"), Tensor((), 10).shape()
    ((28, 28, 3), (3, 28, 28), (10,))
    """

    spatial: tuple[int, ...]
    channels: int | None = None

    def shape(self, layout: Layout = "channels_last") -> tuple[int, ...]:
        if self.channels is None:
            return self.spatial
        if layout == "channels_first":
            return (self.channels, *self.spatial)
        return (*self.spatial, self.channels)

    @property
    def depth(self) -> int:
        return 1 if self.channels is None else self.channels

    @property
    def size(self) -> int:
        return math.prod(self.spatial) * self.depth

    def __str__(self) -> str:
        return show(self.shape())


FIELD = "field"
WORK = "work"
PARAMETERS = "parameters"


class Step(NamedTuple):
    """The output of one layer, and its cost for one item of a batch.

    `axes`: how the layer slides along each spatial axis of its input; empty if every output depends
    only on its own position. `unknown`: which of FIELD, WORK and PARAMETERS a file does not define.
    """

    output: Tensor
    axes: tuple[Axis, ...] = ()
    weights: int = 0
    biases: int = 0
    macs: int = 0
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Op:
    """A layer: its kind and its arguments, parsed and checked, for any input."""

    kind: Kind
    values: Mapping[str, Any]
    text: str

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def apply_to(self, x: Tensor) -> Step:
        """Compute the layer's output for an input. Raises ShapeError if it does not fit."""
        return self.kind.apply(self, x)


Apply: TypeAlias = Callable[[Op, Tensor], Step]


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table.

    arguments: maps each key to its default (None: required; "=k": the same as k).
    """

    name: str
    arguments: Mapping[str, str | None] = field(compare=False)
    apply: Apply
    meaning: str
    view: bool = False  # whether its output shares its input's memory


# Parsers of arguments.


def _whole(text: str) -> int:
    value = parse_per_axis(text)
    if not isinstance(value, int):
        raise InputError(f"{text!r}", "expected one whole number")
    return check_whole(value, "a number", least=1)


def _steps(text: str) -> PerAxis:
    value = parse_per_axis(text)
    for entry in (value,) if isinstance(value, int) else value:
        check_whole(entry, "a size or step", least=1)
    return value


def _extra(text: str) -> PerAxis:
    value = parse_per_axis(text)
    for entry in (value,) if isinstance(value, int) else value:
        check_whole(entry, "an amount", least=0)
    return value


def _pads(text: str) -> Padding:
    padding = parse_padding(text)
    ConvSpec.of(len(padding) if isinstance(padding, tuple) else 1, padding=padding)
    return padding


def _choice(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise InputError(
                f"{text!r}", f"expected {' or '.join(words)}", did_you_mean(text, words)
            )
        return text

    return read


def _switch(text: str) -> bool:
    return _choice("yes", "no")(text) == "yes"


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate < 1:
        raise InputError(f"{text!r}", "expected a share from 0 to below 1")
    return rate


READERS: dict[str, Callable[[str], Any]] = {
    "filters": _whole,
    "features": _whole,
    "multiplier": _whole,
    "by": _steps,
    "k": _steps,
    "s": _steps,
    "d": _steps,
    "p": _pads,
    "g": _whole,
    "out_padding": _extra,
    "bias": _switch,
    "ceil": _switch,
    "affine": _switch,
    "keep": _switch,
    "mode": _choice("nearest", "linear"),
    "rate": _rate,
}
LONG = {
    "kernel": "k",
    "stride": "s",
    "padding": "p",
    "dilation": "d",
    "groups": "g",
    "output_padding": "out_padding",
}


# The output and the cost of each kind.


def _convolve(op: Op, x: Tensor) -> Step:
    return _bank(op, x, op["filters"], op["g"])


def _depthwise(op: Op, x: Tensor) -> Step:
    return _bank(op, x, op["multiplier"] * x.depth, x.depth)


def _bank(op: Op, x: Tensor, filters: int, groups: int) -> Step:
    """Apply a bank of kernels that sums over the channels of a group."""
    axes = _axes(op, x)
    _check_groups(groups, x.depth, filters)
    weights = filters * (x.depth // groups) * math.prod(axis.k for axis in axes)
    output = _output(axes, filters)
    return Step(
        output, axes, weights, filters if op["bias"] else 0, weights * math.prod(output.spatial)
    )


def _deconvolve(op: Op, x: Tensor) -> Step:
    """Apply the adjoint of a convolution: every weight multiplies every input."""
    axes = _axes(op, x, transposed=True)
    filters = op["filters"]
    groups = op["g"]
    _check_groups(groups, x.depth, filters)
    weights = x.depth * (filters // groups) * math.prod(axis.k for axis in axes)
    return Step(
        _output(axes, filters),
        axes,
        weights,
        filters if op["bias"] else 0,
        weights * math.prod(x.spatial),
    )


def _pool(op: Op, x: Tensor) -> Step:
    """Pool as PyTorch does, which refuses windows that could see only padding."""
    step = pool(op, x)
    for axis in step.axes:
        most = axis.k // 2
        if max(axis.lo, axis.hi - axis.beyond) > most:
            raise ShapeError(
                f"a pool over {axis.k} samples is padded by {axis.lo} and {axis.hi - axis.beyond}",
                f"expected at most half of its window, {most}",
                "use less padding, or a pad layer before it",
            )
    return step


def pool(op: Op, x: Tensor) -> Step:
    """Slide a window over each channel."""
    axes = _axes(op, x)
    return Step(_output(axes, x.channels), axes)


def _global_pool(op: Op, x: Tensor) -> Step:
    _check_spatial(x)
    axes = tuple(Axis(n, n) for n in x.spatial)
    return Step(_output(axes, x.channels) if op["keep"] else Tensor((), x.depth), axes)


def _pointwise(op: Op, x: Tensor) -> Step:
    return Step(x)


def _normalise(op: Op, x: Tensor) -> Step:
    """Apply a scale for each channel, and an offset, which is its bias."""
    learnt = x.depth if op["affine"] else 0
    return Step(x, weights=learnt, biases=learnt)


def _pad(op: Op, x: Tensor) -> Step:
    axes = _window(x.spatial, 1, 1, op["p"], 1)
    return Step(_output(axes, x.channels), axes)


def _upsample(op: Op, x: Tensor) -> Step:
    """Repeat each sample, or apply a transposed convolution with a triangle of 2*by - by%2 taps."""
    _check_spatial(x)
    axes = tuple(
        _grown(n, by, op["mode"])
        for n, by in zip(x.spatial, _per_axis(op["by"], x, "by"), strict=True)
    )
    return Step(_output(axes, x.channels), axes)


def _grown(n: int, by: int, mode: str) -> Axis:
    if mode == "nearest":
        return Axis(n, by, by, transposed=True)
    margin = by // 2
    return Axis(n, 2 * by - by % 2, by, lo=margin, hi=margin, transposed=True)


def _flatten(op: Op, x: Tensor) -> Step:
    return Step(Tensor((), x.size), tuple(Axis(n, n) for n in x.spatial))


def _linear(op: Op, x: Tensor) -> Step:
    if x.spatial and not (len(x.spatial) == 1 and x.channels is None):
        raise ShapeError(
            f"a fully connected layer takes a flat input, and {x} has {len(x.spatial)} spatial "
            f"{'axis' if len(x.spatial) == 1 else 'axes'}",
            remedy="put flatten or gap before it",
        )
    features: int = op["features"]
    weights = x.size * features
    axes = tuple(Axis(n, n) for n in x.spatial)
    return Step(Tensor((), features), axes, weights, features if op["bias"] else 0, weights)


def _unfold(op: Op, x: Tensor) -> Step:
    """Return every window's samples as channels (im2col)."""
    axes = _axes(op, x)
    return Step(_output(axes, x.depth * math.prod(axis.k for axis in axes)), axes)


# How a layer slides.


def _axes(op: Op, x: Tensor, *, transposed: bool = False) -> tuple[Axis, ...]:
    _check_spatial(x)
    values = op.values
    _per_axis(values["k"], x, "k")
    dilation = values.get("d", 1)
    extra = values.get("out_padding", 0)
    ceil = values.get("ceil", False)
    return _window(
        x.spatial, values["k"], values["s"], values["p"], dilation, extra, transposed, ceil
    )


@lru_cache(maxsize=4096)
def _window(
    spatial: tuple[int, ...],
    k: PerAxis,
    stride: PerAxis,
    padding: Padding,
    dilation: PerAxis,
    output_padding: PerAxis = 0,
    transposed: bool = False,
    ceil: bool = False,
) -> tuple[Axis, ...]:
    dims = len(spatial)
    spec = ConvSpec.of(
        dims, stride=stride, dilation=dilation, padding=padding, output_padding=output_padding
    )
    kernel = (k,) * dims if isinstance(k, int) else tuple(k)
    return (
        spec.transposed_axes(spatial, kernel)
        if transposed
        else spec.axes(spatial, kernel, ceil=ceil)
    )


def _output(axes: tuple[Axis, ...], channels: int | None) -> Tensor:
    return Tensor(tuple([axis.out for axis in axes]), channels)


def _per_axis(value: PerAxis, x: Tensor, key: str) -> tuple[int, ...]:
    dims = len(x.spatial)
    entries = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(entries) != dims:
        raise ShapeError(
            f"{key}={show(entries)} has {len(entries)} entries, the input {x} has {dims} spatial "
            f"{'axis' if dims == 1 else 'axes'}",
            remedy=f"give one {key}, or {dims}, or set the spatial axes with --dims",
        )
    return entries


def _check_spatial(x: Tensor) -> None:
    if not x.spatial:
        raise ShapeError(
            f"the input {x} is flat",
            "expected spatial axes to slide along",
            "put it before flatten and gap",
        )


def _check_groups(groups: int, channels: int, filters: int) -> None:
    for count, what in ((channels, "channels of the input"), (filters, "filters")):
        if count % groups:
            raise ChannelError(
                f"{groups} groups do not divide the {count} {what}",
                remedy=f"use g={math.gcd(channels, filters)}",
            )


# The table.


def _arguments(text: str) -> dict[str, str | None]:
    """Parse a row's arguments: in `filters k s=1`, two are required, and one has a default."""
    pairs = (part.partition("=") for part in text.split())
    return {key: value if equals else None for key, equals, value in pairs}


_ACTIVATIONS = (
    "relu",
    "relu6",
    "leakyrelu",
    "elu",
    "gelu",
    "silu",
    "hardswish",
    "sigmoid",
    "tanh",
    "softmax",
)

KINDS: dict[str, Kind] = {
    name: Kind(name, _arguments(arguments), apply, meaning, view=name == "flatten")
    for name, arguments, apply, meaning in (
        (
            "conv",
            "filters k s=1 p=valid d=1 g=1 bias=yes",
            _convolve,
            "a bank of kernels, summed over the channels",
        ),
        (
            "depthwise",
            "multiplier=1 k s=1 p=valid d=1 bias=yes",
            _depthwise,
            "kernels of its own for every channel",
        ),
        (
            "deconv",
            "filters k s=1 p=valid d=1 g=1 out_padding=0 bias=yes",
            _deconvolve,
            "the transposed convolution",
        ),
        ("maxpool", "k s==k p=valid d=1 ceil=no", _pool, "the largest of each window"),
        ("avgpool", "k s==k p=valid ceil=no", _pool, "the mean of each window"),
        ("gap", "keep=no", _global_pool, "the mean of each channel; keep=yes keeps axes of 1"),
        ("batchnorm", "affine=yes", _normalise, "a scale and an offset for every channel"),
        (
            "layernorm",
            "affine=yes",
            _normalise,
            "a scale and an offset for every channel, over the channels",
        ),
        ("pad", "p", _pad, "zeros around the input"),
        ("upsample", "by mode=nearest", _upsample, "larger by a whole factor"),
        ("unfold", "k s=1 p=valid d=1", _unfold, "every window's samples as channels (im2col)"),
        ("flatten", "", _flatten, "all axes as one"),
        ("linear", "features bias=yes", _linear, "a fully connected layer"),
        ("dropout", "rate=0.5", _pointwise, "no change, except during training"),
        *((name, "", _pointwise, "an activation, value by value") for name in _ACTIVATIONS),
    )
}
SYNONYMS = {
    "bn": "batchnorm",
    "dense": "linear",
    "fc": "linear",
    "transposed": "deconv",
    "convtranspose": "deconv",
    "globalavgpool": "gap",
    "globalaveragepooling": "gap",
    "adaptiveavgpool": "gap",
    "pool": "maxpool",
    "maxpooling": "maxpool",
    "averagepooling": "avgpool",
    "batchnormalization": "batchnorm",
    "layernormalization": "layernorm",
    "zeropad": "pad",
    "zeropadding": "pad",
    "upsampling": "upsample",
    "ln": "layernorm",
    "swish": "silu",
    "im2col": "unfold",
}
"""Names of layers elsewhere, without `1d`, `2d` or `3d`, for suggestions only."""
_AXES = re.compile(r"[123]d$")


def read(word: Word) -> Op:
    """Parse a word as a layer. Raises TokenError with its place, what is wrong, and a suggestion.

    >>> from convcli.network.parser import parse
    >>> op = read(parse("conv:64,k=3x5,p=same")[0])
    >>> op["filters"], op["k"], op["s"], op["bias"]
    (64, (3, 5), 1, True)
    >>> read(parse("konv:64,k=3")[0])
    Traceback (most recent call last):
    ...
    convcli.network.parser.TokenError: 'konv:64,k=3' at character 1: no layer 'konv'; \
did you mean 'conv'?
    """
    if word.name not in KINDS:
        raise unknown(word)
    return _read(word.name, word.arguments, word.text) or _explain(word)


BRANCHES = {
    "residual": "write it as 'residual[conv:64,k=3,p=1 relu]', in quotes",
    "concat": "write it as 'concat[conv:64,k=1 | conv:64,k=3,p=1]', in quotes",
}
"""Examples of the layers that merge branches, for messages."""


def unknown(word: Word, blocks: tuple[str, ...] = ()) -> InputError:
    """Return the error for an unknown layer, which suggests a known one."""
    if word.name.lower() in BRANCHES:
        return word.error(
            f"{word.name} without a body",
            "expected layers in brackets",
            BRANCHES[word.name.lower()],
        )
    known = (*KINDS, *blocks, *BRANCHES)
    name = _AXES.sub("", word.name.lower())
    near = name if name in KINDS else SYNONYMS.get(name)
    hint = f"did you mean '{near}'?" if near else did_you_mean(name, known)
    return word.error(
        f"no layer {word.name!r}", remedy=hint or f"expected one of {', '.join(known)}"
    )


@lru_cache(maxsize=4096)
def _read(name: str, arguments: tuple[tuple[str, str], ...], text: str) -> Op | None:
    """Return the layer, or None if it is not valid; `_explain` then raises the error."""
    try:
        return _bind(Word(name, arguments, text, ""))
    except InputError:
        return None


def _explain(word: Word) -> Op:
    return _bind(word)


def _bind(word: Word) -> Op:
    kind = KINDS[word.name]
    given = bind(word, kind.arguments)
    values: dict[str, Any] = {}
    for key, default in kind.arguments.items():
        text = given.get(key, default)
        if text is None:
            raise word.error(f"{key}= is missing", remedy=f"write it as {usage(kind)}")
        try:
            another = key not in given and text.startswith("=")
            values[key] = values[text[1:]] if another else READERS[key](text)
        except InputError as error:
            raise word.error(f"{key}: {error.given}", error.expected, error.remedy) from None
    return Op(kind, values, word.text)


def bind(word: Word, arguments: Mapping[str, str | None]) -> dict[str, str]:
    """Match a word's arguments to keys: those without a key match the keys in order."""
    given: dict[str, str] = {}
    keys = list(arguments)
    for position, (key, value) in enumerate(word.arguments):
        if not key and position >= len(keys):
            raise word.error(
                f"the argument {value!r} is one too many", f"expected {', '.join(keys) or 'none'}"
            )
        name = LONG.get(key, key) if LONG.get(key, key) in arguments else key
        name = name or keys[position]
        if name not in arguments:
            raise word.error(
                f"no argument {key!r}",
                f"{word.name} takes {', '.join(keys) or 'none'}",
                did_you_mean(key, keys),
            )
        if name in given:
            raise word.error(f"{name}= is given twice", remedy="leave one out")
        given[name] = value
    return given


def usage(kind: Kind) -> str:
    """Return how a kind is written, with its required arguments.

    >>> usage(KINDS["conv"])
    'conv:FILTERS,k=K'
    """
    needed = [key for key, default in kind.arguments.items() if default is None]
    first = next(iter(kind.arguments), "")
    words = [key.upper() if key == first else f"{key}={key.upper()}" for key in needed]
    return f"{kind.name}:{','.join(words)}" if words else kind.name
