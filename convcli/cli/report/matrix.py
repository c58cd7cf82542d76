"""Arrays as text: small ones whole, large ones in part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.cli.report.terminal import width

DIGITS = 5
"""Significant digits of a printed value."""
SHOWN = 1000
"""Maximum number of values that are printed; of more, the first and last of each axis."""
WIDE = 1_000_000
"""Width in columns of a line that is never wrapped."""


def matrix_lines(values: NDArray[Any]) -> list[str]:
    """Return an array as numpy prints it, in lines as wide as the terminal.

    >>> matrix_lines(np.array([[1.0, -0.25], [1 / 3, 0.0]]))
    ['[[ 1.     , -0.25   ],', ' [ 0.33333,  0.     ]]']
    """
    largest = float(np.abs(values).max(initial=0.0))
    small = 0 < largest < 10.0 ** (1 - DIGITS)
    text = np.array2string(
        values + 0.0,  # adding 0 removes the sign of -0
        precision=DIGITS,
        suppress_small=not small,
        separator=", ",
        threshold=SHOWN,
        edgeitems=4,
        max_line_width=width() or WIDE,
    )
    return [line.rstrip() for line in text.splitlines()]


def heaviest(weights: Sequence[float], size: int) -> range:
    """Return the run of this size with the largest sum of weights.

    Of equal runs, return the one nearest to the middle.

    >>> heaviest([0, 1, 5, 9, 5, 1, 0], 3), heaviest([1] * 8, 4), heaviest([7, 0, 0, 0], 2)
    (range(2, 5), range(2, 6), range(0, 2))
    """
    count = len(weights)
    if size >= count:
        return range(count)
    sums = np.convolve(np.nan_to_num(np.asarray(weights, float)), np.ones(size), "valid")
    middle = (count - size) / 2
    near = np.flatnonzero(sums >= sums.max() * (1 - 1e-9))
    start = int(min(near, key=lambda at: abs(at - middle)))
    return range(start, start + size)


def heaviest_part(values: NDArray[Any], side: int) -> tuple[range, ...]:
    """Return, per axis, the run of at most `side` indices with the most weight.

    >>> heaviest_part(np.eye(1, 5, 4), 2)
    (range(0, 1), range(3, 5))
    """
    weight = np.abs(values)
    others = [
        tuple(axis for axis in range(values.ndim) if axis != own) for own in range(values.ndim)
    ]
    return tuple(heaviest(weight.sum(axis=axes).tolist(), side) for axes in others)
