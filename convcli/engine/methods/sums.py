"""Sums of equally spaced neighbours along an axis by doubling, for a factor of equal taps.

A sum of k samples is built from shorter ones, by the binary digits of k, the first one first::

    s2[i] = x[i] + x[i+1]    s4[i] = s2[i] + s2[i+2]    s5[i] = s4[i] + x[i+4]

That takes one addition for each further digit and one more for each of them that is 1: 8 for 51
taps, where a band multiplies 51 times. An addition is one call over all values of a tile. Each
rounds once, so the error is that of 8 additions, and a NaN reaches the sums of its windows only.

Sums of 8-bit samples are added as integers of 16 bits while they fit, in half of the time.

Source: Kogge and Stone, "A parallel algorithm for the efficient solution of a general class of
recurrence equations", 1973, whose recursive doubling is applied here to one window.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convcli.engine.threads import Scratch

LEVELS = 2
"""Arrays of partial sums at a time: the one that is read, and the one that is written."""


class Step(NamedTuple):
    """One addition: to sums of `length` samples, the next sums of that length, or one sample."""

    length: int
    doubles: bool


def doubling_steps(k: int) -> list[Step]:
    """Return the additions that turn samples into sums of k.

    >>> [length * 2 if doubles else length + 1 for length, doubles in doubling_steps(51)]
    [2, 3, 6, 12, 24, 25, 50, 51]
    """
    steps, length = [], 1
    for digit in f"{k:b}"[1:]:
        steps.append(Step(length, True))
        length *= 2
        if digit == "1":
            steps.append(Step(length, False))
            length += 1
    return steps


class Sums:
    """Sums of k samples, `dilation` apart, times `scale`.

    A call computes out (A, m, Z) from x (A, n, Z), with sums of type `dtype`.
    """

    def __init__(
        self, k: int, dilation: int, scale: float, dtype: np.dtype[Any], scratch: Scratch
    ) -> None:
        self.steps, self.dilation, self.scale = doubling_steps(k), dilation, scale
        self.dtype, self.scratch = dtype, scratch

    def __call__(self, x: NDArray[Any], out: NDArray[Any]) -> None:
        if x.dtype != self.dtype:
            samples = self.scratch("converted", x.shape, self.dtype)
            samples[...] = x
            x = samples
        length = x.shape[1]
        if x.flags.c_contiguous:  # as one line: sums across the ends of lines are not read
            x = x.reshape(1, -1, x.shape[2])
        if not self.steps:
            out[...] = _lines(x, 0, length, out)
        else:
            sums = x
            for step in self.steps[:-1]:
                sums = self._add(step, sums, x)
            last = self.steps[-1]
            added = _lines(sums if last.doubles else x, last.length * self.dilation, length, out)
            np.add(_lines(sums, 0, length, out), added, out=out)
        if self.scale != 1:
            out *= out.dtype.type(self.scale)

    def _add(self, step: Step, sums: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """Return longer sums: in another array if they are doubled, otherwise in the same."""
        shift, other = step.length * self.dilation, sums if step.doubles else x
        count = min(sums.shape[1], other.shape[1] - shift)
        first = longer = sums[:, :count]
        if step.doubles:
            name = f"sums {step.length.bit_length() % LEVELS}"
            longer = self.scratch(name, first.shape, self.dtype)
        np.add(first, other[:, shift : shift + count], out=longer)
        return longer


def _lines(x: NDArray[Any], start: int, length: int, out: NDArray[Any]) -> NDArray[Any]:
    """Return a view of x with the shape of out (A, m, Z): m values of each line from `start` on.

    x: (A, n, Z), or (1, A*length, Z) with all lines in one.
    """
    item, step, value = x.strides
    if len(x) != len(out):
        item = length * step
    return as_strided(x[:, start:], out.shape, (item, step, value))
