"""The options of a convolution, checked (ConvSpec), and its output shape (output_shape).

Standard library only, so that every shape is known without loading numpy.

An axis of `n` samples, padded by `lo` and `hi`, under a kernel of `k` taps that are `dilation`
apart and move by `stride`, gives `floor((n + lo + hi - dilation*(k-1) - 1) / stride) + 1` outputs;
with stride 1, dilation 1 and no padding, this is `n - k + 1`. The transposed convolution gives
`stride*(n-1) + output_padding + dilation*(k-1) + 1 - lo - hi`.

Sources: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016; the SAME
rule is TensorFlow's (ONNX calls it SAME_UPPER, and its mirror SAME_LOWER).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from convcli.errors import InputError, ShapeError, did_you_mean
from convcli.options import BOUNDARIES, PADDINGS, Boundary, PaddingName
from convcli.shapes.axis import Axis
from convcli.shapes.parse import (
    Padding,
    Pair,
    PerAxis,
    _digits,
    check_number,
    check_whole,
    parse_padding,
    show,
)


@dataclass(frozen=True)
class ConvSpec:
    """The options of a convolution that are not arrays, checked, with one entry per axis.

    Build it with `ConvSpec.of`, which checks them and repeats a single value for all axes:
    `stride`, `dilation` and `output_padding` have one entry per spatial axis, and `padding` is a
    name or one (lo, hi) per axis.

    >>> ConvSpec.of(2, stride=2, padding="3").sizes((224, 224), (7, 7))
    (112, 112)
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: PaddingName | tuple[Pair, ...]
    output_padding: tuple[int, ...]
    boundary: Boundary = "constant"
    cval: float = 0.0
    groups: int = 1

    @classmethod
    def of(
        cls,
        ndim: int,
        *,
        stride: PerAxis = 1,
        dilation: PerAxis = 1,
        padding: Padding = "valid",
        output_padding: PerAxis = 0,
        boundary: str = "constant",
        cval: float = 0.0,
        groups: int = 1,
    ) -> ConvSpec:
        """Check every option and give it one entry per axis.

        Raises InputError, naming the option.
        """
        if boundary not in BOUNDARIES:
            raise InputError(
                f"boundary {boundary!r}",
                f"expected one of {', '.join(BOUNDARIES)}",
                did_you_mean(str(boundary), BOUNDARIES),
            )
        return cls(
            stride=_per_axis(stride, ndim, "stride", least=1),
            dilation=_per_axis(dilation, ndim, "dilation", least=1),
            padding=_padding(padding, ndim),
            output_padding=_per_axis(output_padding, ndim, "output_padding", least=0),
            boundary=cast("Boundary", boundary),
            cval=check_number(cval, "cval"),
            groups=check_whole(groups, "groups", least=1),
        )

    def axes(
        self, spatial: Sequence[int], kernel: Sequence[int], *, ceil: bool = False
    ) -> tuple[Axis, ...]:
        """Return every spatial axis. Raises ShapeError if the kernel exceeds the padded input.

        ceil: round sizes up instead of down; a last window may then reach beyond the padded input.
        """
        self._check_axes(spatial, kernel)
        axes = tuple(
            Axis(n, k, s, d, *self._pads(axis, n, k, s, d))
            for axis, (n, k, s, d) in enumerate(
                zip(spatial, kernel, self.stride, self.dilation, strict=True)
            )
        )
        if ceil:
            axes = tuple(axis.ceiled() for axis in axes)
        if any(a.reach > a.padded for a in axes):
            size = show(a.reach for a in axes)
            dilated = f" (dilated to {size})" if any(d > 1 for d in self.dilation) else ""
            padded = show(a.padded for a in axes)
            raise ShapeError(
                f"kernel {show(kernel)}{dilated} exceeds the padded input {padded}",
                remedy="use --padding same, or a smaller kernel"
                if self.padding == "valid"
                else "use a smaller kernel or more padding",
            )
        return axes

    def transposed_axes(self, spatial: Sequence[int], kernel: Sequence[int]) -> tuple[Axis, ...]:
        """Return every spatial axis of the transposed convolution, the adjoint.

        Padding `same` gives `n * stride` (TensorFlow, ONNX); `full` undoes `full` padding.
        """
        self._check_axes(spatial, kernel)
        axes = tuple(
            self._transposed_axis(axis, n, k)
            for axis, (n, k) in enumerate(zip(spatial, kernel, strict=True))
        )
        if any(a.out < 1 for a in axes):
            raise ShapeError(
                "padding takes away all of the transposed output: "
                f"{show(spatial)} with kernel {show(kernel)} gives {show(a.out for a in axes)}",
                remedy="use less padding",
            )
        return axes

    @property
    def options(self) -> dict[str, Any]:
        """The keyword options of `correlate`, without groups, which only a layer has."""
        return {
            "stride": self.stride,
            "dilation": self.dilation,
            "padding": self.padding,
            "boundary": self.boundary,
            "cval": self.cval,
        }

    def sizes(self, spatial: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial shape of the output."""
        return tuple(axis.out for axis in self.axes(spatial, kernel))

    def _check_axes(self, spatial: Sequence[int], kernel: Sequence[int]) -> None:
        if len(spatial) != len(self.stride) or len(kernel) != len(self.stride):
            raise ShapeError(
                f"kernel {show(kernel)} slides along {len(kernel)} axes, "
                f"the input {show(spatial)} has {len(spatial)}",
                "expected the same number",
            )
        if not all(n >= 1 for n in (*spatial, *kernel)):
            empty = "input" if not all(n >= 1 for n in spatial) else "kernel"
            raise ShapeError(
                f"the {empty} {show(spatial if empty == 'input' else kernel)} is empty",
                "expected sizes of 1 or more",
            )

    def _pads(self, axis: int, n: int, k: int, stride: int, dilation: int) -> Pair:
        reach = dilation * (k - 1) + 1
        if self.padding == "valid":
            return 0, 0
        if self.padding == "full":
            return reach - 1, reach - 1
        if isinstance(self.padding, tuple):
            return self.padding[axis]
        return _split(max((-(-n // stride) - 1) * stride + reach - n, 0), self.padding)

    def _transposed_axis(self, axis: int, n: int, k: int) -> Axis:
        stride = self.stride[axis]
        dilation = self.dilation[axis]
        extra = self.output_padding[axis]
        reach = dilation * (k - 1) + 1
        if self.padding in ("same", "same-lower"):
            surplus = reach + extra - stride
            lo, hi = _split(max(surplus, 0), self.padding)
            extra += max(-surplus, 0)
        else:
            lo, hi = self._pads(axis, n, k, stride, dilation)
        if self.output_padding[axis] >= max(stride, dilation):
            raise InputError(
                f"output_padding {self.output_padding[axis]}",
                f"expected less than the stride {stride} or the dilation {dilation}",
                "use a smaller output_padding",
            )
        return Axis(n, k, stride, dilation, lo, hi, extra, transposed=True)


def output_shape(
    shape: Sequence[int],
    kernel: Sequence[int],
    *,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
) -> tuple[int, ...]:
    """Return the spatial shape of a convolution's output.

    shape, kernel: sizes of the spatial axes, the same number of both.
    Raises ShapeError if the kernel exceeds the padded input, InputError for an option out of range.

    >>> output_shape((28, 28), (3, 3))
    (26, 26)
    >>> output_shape((7,), (3,), stride=2, padding="same")
    (4,)
    """
    spatial = _sizes(shape, "a size")
    taps = _sizes(kernel, "a kernel size")
    return ConvSpec.of(len(taps), stride=stride, dilation=dilation, padding=padding).sizes(
        spatial, taps
    )


def _sizes(shape: Sequence[int], what: str) -> tuple[int, ...]:
    if not isinstance(shape, Iterable):
        raise InputError(
            f"{what} {shape!r} alone", "expected one for each axis", "write one axis as (28,)"
        )
    return tuple(check_whole(n, what, least=0) for n in shape)


def _per_axis(value: PerAxis, ndim: int, what: str, *, least: int) -> tuple[int, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return (check_whole(value, what, least=least),) * ndim
    values = tuple(check_whole(v, what, least=least) for v in value)
    _check_count(values, ndim, what)
    return values


def _check_count(values: Sequence[object], ndim: int, what: str) -> None:
    if len(values) != ndim:
        axes = "axis" if ndim == 1 else "axes"
        raise InputError(
            f"{what} has {len(values)} entries",
            f"the kernel slides along {ndim} {axes}",
            f"give one {what}, or {ndim}",
        )


def _padding(value: Padding, ndim: int) -> PaddingName | tuple[Pair, ...]:
    if isinstance(value, str):
        if value in PADDINGS:
            return cast("PaddingName", value)
        parsed = parse_padding(value)
        return (_pair(parsed),) * ndim if isinstance(parsed, str) else _padding(parsed, ndim)
    if not isinstance(value, Iterable):
        return (_pair(value),) * ndim
    pairs = tuple(_pair(entry) for entry in value)
    _check_count(pairs, ndim, "padding")
    return pairs


def _pair(entry: object) -> Pair:
    """Return (lo, hi) from an amount, a text `lo:hi`, or a pair."""
    if isinstance(entry, str):
        if not re.fullmatch(r"-?[0-9]+(:-?[0-9]+)?", entry):
            raise InputError(f"padding {entry!r} for one axis", "expected an amount, or lo:hi")
        lo, _, hi = entry.partition(":")
        entry = (_digits(lo), _digits(hi or lo))
    if isinstance(entry, Iterable):
        ends = tuple(check_whole(end, "padding", least=0) for end in entry)
        if len(ends) != 2:
            raise InputError(f"padding {entry!r}", "expected a pair (lo, hi)")
        return ends[0], ends[1]
    amount = check_whole(entry, "padding", least=0)
    return amount, amount


def _split(total: int, padding: str) -> Pair:
    """Split `total` in two; an odd one puts more at the end, or at the start for `same-lower`."""
    less, more = total // 2, total - total // 2
    return (more, less) if padding == "same-lower" else (less, more)
