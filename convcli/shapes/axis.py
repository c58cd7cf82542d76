"""The size formula along one axis: padding, windows, and output size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a convolution, or of its adjoint when `transposed`.

    >>> Axis(n=28, k=3).out
    26
    >>> Axis(n=28, k=3).formula
    '28 - 3 + 1 = 26'
    >>> Axis(n=224, k=7, stride=2, lo=3, hi=3).formula
    'floor((224 + 3 + 3 - 7) / 2) + 1 = 112'
    >>> Axis(n=28, k=3, dilation=2).formula
    '28 - (2*(3 - 1) + 1) + 1 = 24'
    >>> Axis(n=4, k=3, stride=2, lo=1, hi=1, output_padding=1, transposed=True).formula
    '2*(4 - 1) + 1 + 3 - 1 - 1 = 8'
    """

    n: int
    k: int
    stride: int = 1
    dilation: int = 1
    lo: int = 0
    hi: int = 0
    output_padding: int = 0
    transposed: bool = False
    beyond: int = 0
    """The part of `hi` that the last window of a ceiled axis adds; averages do not count it."""

    @property
    def reach(self) -> int:
        """The dilated kernel's size: samples from the first tap to the last, both included."""
        return self.dilation * (self.k - 1) + 1

    def span(self, outputs: int) -> int:
        """Return the number of samples that a run of outputs sees.

        >>> Axis(n=28, k=3).span(1), Axis(n=28, k=3, stride=2).span(4)
        (3, 9)
        """
        return (outputs - 1) * self.stride + self.reach

    def sample(self, output: Any, tap: Any) -> Any:
        """Return the index of the input sample under a tap of an output's window.

        output, tap: integers, or integer arrays that broadcast.
        An index outside 0..n-1 is padding.

        >>> padded, strided = Axis(n=28, k=3, lo=1, hi=1), Axis(n=28, k=3, stride=2, dilation=4)
        >>> padded.sample(0, 0), strided.sample(5, 2)
        (-1, 18)
        """
        return output * self.stride + tap * self.dilation - self.lo

    def under(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range [first, end) of samples that outputs [start, stop) see.

        Indices outside 0..n-1 are padding.

        >>> Axis(n=28, k=3, lo=1, hi=1).under(0, 2), Axis(n=28, k=3, stride=2).under(3, 5)
        ((-1, 3), (6, 11))
        """
        first: int = self.sample(start, 0)
        return first, first + self.span(stop - start)

    def taps(self, output: int) -> range:
        """Return the samples under the taps of an output; those outside 0..n-1 are padding.

        >>> Axis(n=28, k=3, stride=2, dilation=4, lo=1, hi=1).taps(0)
        range(-1, 8, 4)
        """
        start: int = self.sample(output, 0)
        return range(start, start + self.reach, self.dilation)

    def windows_over(self, sample: int) -> range:
        """Return the windows with a tap on a sample; for a transposed axis, an output's inputs.

        Window j has taps on the samples `j*stride + tap*dilation - lo`. With g the greatest common
        divisor of stride and dilation, at most every `stride/g`-th tap can be on the sample.

        >>> axis = Axis(n=9, k=3, stride=2)
        >>> list(axis.windows_over(2)), list(axis.windows_over(3))
        ([0, 1], [1])
        """
        shared = math.gcd(self.stride, self.dilation)
        position = sample + self.lo
        if position % shared:
            return range(0)
        every = self.stride // shared
        tap = position // shared * pow(self.dilation // shared, -1, every) % every
        if tap >= self.k:
            return range(0)
        last = (position - tap * self.dilation) // self.stride
        step = self.dilation // shared
        return range(last - (self.k - 1 - tap) // every * step, last + 1, step)

    @property
    def inside(self) -> tuple[int, int]:
        """The range of outputs whose windows see no padding; empty if there are none.

        >>> Axis(n=28, k=3, lo=1, hi=1).inside, Axis(n=28, k=3).inside
        ((1, 27), (0, 26))
        >>> Axis(n=2, k=5, lo=2, hi=2).inside
        (2, 2)
        """
        first = -(-self.lo // self.stride)
        return first, max((self.n + self.lo - self.reach) // self.stride + 1, first)

    @property
    def start(self) -> float:
        """The centre of the first window, in samples of the input.

        >>> Axis(n=28, k=3).start, Axis(n=28, k=3, lo=1, hi=1).start, Axis(n=28, k=2).start
        (1.0, 0.0, 0.5)
        """
        return (self.reach - 1) / 2 - self.lo

    @property
    def padded(self) -> int:
        return self.n + self.lo + self.hi

    @cached_property
    def out(self) -> int:
        if self.transposed:
            return self.stride * (self.n - 1) + self.output_padding + self.reach - self.lo - self.hi
        return (self.padded - self.reach) // self.stride + 1

    @property
    def unused(self) -> int:
        """Padded samples at the end that no window reaches, because the stride skips them."""
        return 0 if self.transposed else (self.padded - self.reach) % self.stride

    def ceiled(self) -> Axis:
        """Return this axis with its output size rounded up instead of down.

        The end is padded for one more window, if that window starts before the padding there.

        >>> Axis(n=112, k=3, stride=2).ceiled().out, Axis(n=2, k=3, stride=2).ceiled().out
        (56, 1)
        """
        out = self.out + (self.unused > 0 and self.out * self.stride < self.n + self.lo)
        beyond = (out - 1) * self.stride + self.reach - self.padded
        if out < 1 or beyond <= 0:
            return self
        return replace(self, hi=self.hi + beyond, beyond=beyond)

    @property
    def formula(self) -> str:
        """The formula of `out` with its numbers, without terms that are zero."""
        reach = str(self.k) if self.dilation == 1 else f"({self.dilation}*({self.k} - 1) + 1)"
        pads = [str(pad) for pad in (self.lo, self.hi) if self.lo or self.hi]
        if self.transposed:
            grown = f"{self.stride}*({self.n} - 1)"
            extra = [str(self.output_padding)] if self.output_padding else []
            return f"{' - '.join([' + '.join([grown, *extra, reach]), *pads])} = {self.out}"
        span = f"{' + '.join([str(self.n), *pads])} - {reach}"
        if self.stride == 1:
            return f"{span} + 1 = {self.out}"
        return f"floor(({span}) / {self.stride}) + 1 = {self.out}"


def samples_under(axes: Sequence[Axis], outputs: Sequence[int]) -> int:
    """Return the number of samples under a tile of outputs.

    >>> samples_under((Axis(28, 3), Axis(28, 5)), (2, 10))
    56
    """
    return math.prod(axis.span(count) for axis, count in zip(axes, outputs, strict=True))
