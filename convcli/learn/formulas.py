"""The gradients of a convolution as formulas, with indices from 0 and from 1.

Textbooks count from 1. They write `dw_i = sum_j delta_j x_(i+j-1)` for the kernel of a correlation
with stride 1 and without padding; counted from 0, it is `dw[i] = sum_j delta[j] * x[i+j]`. These
formulas are the same for any stride, dilation, padding, flip, batch and channels. x~ is the padded
input, and the factor of dx is a tap where the index is whole and inside the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from convcli.learn.indices import in_input, in_kernel, in_output
from convcli.options import Op
from convcli.shapes.axis import Axis
from convcli.shapes.layout import ConvLayout

LETTERS = ("i", "j")
"""The index of the gradient and that of the sum, for one axis."""
MANY = ("abdefg", "pqrsuv")
"""The same for several axes."""


@dataclass(frozen=True)
class Linear:
    """A whole number as a sum of letters, each times a number, and a constant; over a divisor.

    offset, sign: of `offset + sign * (sum) / divisor`.
    """

    letters: Mapping[str, int]
    constant: int = 0
    divisor: int = 1
    offset: int = 0
    sign: int = 1

    def text(self, first: int) -> str:
        """Write the number for letters that count from `first`, as an index that does so too.

        >>> sum = Linear({"i": 1, "j": 1})
        >>> sum.text(0), sum.text(1)
        ('i+j', 'i+j-1')
        >>> tap = Linear({"i": 1, "j": -2}, 1, divisor=3)
        >>> tap.text(0), tap.text(1)
        ('(i-2j+1)/3', '(i-2j+2)/3+1')
        """
        constant = self.constant - first * sum(self.letters.values())
        offset = self.offset + first
        if self.divisor == 1:
            letters = {letter: self.sign * count for letter, count in self.letters.items()}
            return _sum(letters, self.sign * constant + offset)
        fraction = f"({_sum(self.letters, constant)})/{self.divisor}"
        if self.sign < 0:
            return f"{offset}-{fraction}"
        return fraction + (f"{offset:+d}" if offset else "")


def _sum(letters: Mapping[str, int], constant: int) -> str:
    """Write a sum, positive letters first.

    >>> _sum({"a": -1, "p": 2}, 0), _sum({}, 3), _sum({"a": -1}, 4)
    ('2p-a', '3', '4-a')
    """
    positive = [_times(count, letter) for letter, count in letters.items() if count > 0]
    negative = [_times(-count, letter) for letter, count in letters.items() if count < 0]
    if constant > 0 and not positive:
        positive, constant = [str(constant)], 0
    text = "+".join(positive) + "".join(f"-{part}" for part in negative)
    return text + (f"{constant:+d}" if constant else "") or "0"


def _times(count: int, letter: str) -> str:
    return letter if count == 1 else f"{count}{letter}"


class Formula(NamedTuple):
    """A gradient as a formula: with indices from 0, and from 1 as in textbooks."""

    from_0: str
    from_1: str


@dataclass(frozen=True)
class _Symbol:
    """A letter with an index, such as delta[p,q,o]."""

    name: str
    index: tuple[Linear, ...] = field(default_factory=tuple)

    def text(self, first: int) -> str:
        index = ",".join(part.text(first) for part in self.index)
        if first == 0:
            return f"{self.name}[{index}]"
        return f"{self.name}_{index}" if len(index) == 1 else f"{self.name}_({index})"


def gradient_formula(name: str, a: ConvLayout, axes: Sequence[Axis], op: Op) -> Formula:
    """Return the formula of a gradient, for the user's arrays.

    >>> from convcli.shapes.layout import infer_layout
    >>> layout = infer_layout((5,), (3,))
    >>> gradient_formula("dw", layout, [Axis(5, 3)], "correlate").from_1
    'dw_i = sum_j delta_j x_(i+j-1)'
    >>> gradient_formula("dx", layout, [Axis(5, 3)], "correlate")
    Formula(from_0='dx[i] = sum_j delta[j] * w[i-j]', from_1='dx_i = sum_j delta_j w_(i-j+1)')
    """
    own, others = LETTERS if a.dims == 1 else MANY
    target = own[: a.dims] if a.dims > 1 else own
    summed = others[: a.dims] if a.dims > 1 else others
    batch = tuple(_letter("n") for _ in range(a.batch_axes))
    channels = _channels(a)
    delta = _Symbol("delta", in_output(_letters(summed), a, batch, channels.output))
    if name == "dw":
        padded = any(axis.lo or axis.hi for axis in axes)
        places = tuple(map(_place, axes, target, summed, [op] * a.dims))
        factor = _Symbol("x~" if padded else "x", in_input(places, a, batch, channels.input))
        left = _Symbol("dw", in_kernel(_letters(target), a, channels.kernel, channels.tap))
        over = ["n"] * a.batch_axes + [*summed] + [*channels.shared]
    elif name == "dx":
        taps = tuple(map(_tap, axes, target, summed, [op] * a.dims))
        factor = _Symbol("w", in_kernel(taps, a, channels.kernel, channels.tap))
        left = _Symbol("dx", in_input(_letters(target), a, batch, channels.input))
        over = [*summed] + ["o"] * (a.channel_mode == "bank")
    else:
        one = a.channel_mode in ("each", "sum")  # one bias for all channels
        left = _Symbol("db", (_constant(0) if one else channels.output,))
        has_channel = a.channel_mode == "each" and a.channel_axis is not None
        over = ["n"] * a.batch_axes + [*summed] + ["c"] * has_channel
        return Formula(*(_equation(left, over, [delta], first) for first in (0, 1)))
    return Formula(*(_equation(left, over, [delta, factor], first) for first in (0, 1)))


def _equation(left: _Symbol, over: list[str], factors: list[_Symbol], first: int) -> str:
    letters = over[0] if len(over) == 1 else f"({','.join(over)})"
    product = (" * ", " ")[first].join(factor.text(first) for factor in factors)
    return f"{left.text(first)} = sum_{letters} {product}"


class _Channels(NamedTuple):
    """The channel of the output, of the input and of a tap, the kernel's number, and the letters
    of channels that share a tap.
    """

    output: Linear
    input: Linear
    tap: Linear
    kernel: Linear
    shared: str = ""


def _channels(a: ConvLayout) -> _Channels:
    c, o, zero = _letter("c"), _letter("o"), _constant(0)
    shared = "c" if len(a.kernel) == a.dims and a.channel_axis is not None else ""
    if a.channel_mode == "each":
        return _Channels(c, c, zero, zero, shared)
    if a.channel_mode == "depthwise":
        return _Channels(c, c, c, c)
    if a.channel_mode == "sum":
        return _Channels(zero, c, c, zero, shared)
    if a.channel_axis is None:
        return _Channels(o, zero, zero, o)
    return _Channels(o, _letter("c'") if a.groups > 1 else c, c, o)


def _place(axis: Axis, tap: str, output: str, op: Op) -> Linear:
    """Return the place under a tap in the padded input; a convolution's taps are flipped."""
    flipped = op == "convolve"
    step = -axis.dilation if flipped else axis.dilation
    start = axis.reach - 1 if flipped else 0
    return Linear({tap: step, output: axis.stride}, start)


def _tap(axis: Axis, sample: str, output: str, op: Op) -> Linear:
    """Return the tap through which an output sees a sample."""
    letters = {sample: 1, output: -axis.stride}
    offset, sign = (axis.k - 1, -1) if op == "convolve" else (0, 1)
    return Linear(letters, axis.lo, axis.dilation, offset, sign)


def _letter(letter: str) -> Linear:
    return Linear({letter: 1})


def _letters(letters: str) -> tuple[Linear, ...]:
    return tuple(map(_letter, letters))


def _constant(value: int) -> Linear:
    return Linear({}, value)
