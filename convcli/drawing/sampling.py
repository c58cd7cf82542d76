"""Reduce, enlarge and colour arrays for a picture of a given size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convcli.drawing.palette import LIGHT, Theme

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


def diverging(shares: NDArray[np.floating], theme: Theme = LIGHT) -> Pixels:
    """Colour values on the scale around zero: (...) from -1 to 1 -> (..., 3) uint8.

    Blue is below zero, orange above, and both are darkest at the ends; NaN has the colour of 0.

    >>> diverging(np.array([-1.0, 0.0, 1.0])).tolist()
    [[27, 90, 156], [255, 255, 255], [154, 74, 0]]
    """
    stops = (theme.below_text, theme.below, theme.cell, theme.above, theme.above_text)
    places = np.linspace(-1, 1, len(stops))
    known = np.nan_to_num(shares)
    channels = [np.interp(known, places, channel) for channel in zip(*stops, strict=True)]
    return np.asarray(np.rint(np.stack(channels, axis=-1)), np.uint8)


def reduced(values: NDArray[np.generic], height: int, width: int) -> Floats:
    """Return the means of blocks: (H, W, ...) -> (height, width, ...) or less; never enlarges.

    >>> reduced(np.arange(12.0).reshape(2, 6), 2, 3)
    array([[ 0.5,  2.5,  4.5],
           [ 6.5,  8.5, 10.5]])
    """
    result = values
    for axis, size in enumerate((height, width)):
        count = result.shape[axis]
        starts = np.arange(min(size, count)) * count // min(size, count)
        lengths = np.diff(starts, append=count)
        sums = np.add.reduceat(result, starts, axis=axis, dtype=np.float64)
        result = sums / lengths.reshape([-1 if a == axis else 1 for a in range(result.ndim)])
    return np.asarray(result)


def enlarged(pixels: Pixels, factor: int) -> Pixels:
    """Repeat every pixel: (H, W, 3) -> (H * factor, W * factor, 3).

    >>> enlarged(np.zeros((2, 3, 3), np.uint8), 4).shape
    (8, 12, 3)
    """
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def envelope(values: Sequence[float] | NDArray[np.generic], columns: int) -> tuple[Floats, Floats]:
    """Return the lowest and the highest value per column of a line plot: (N,) -> 2 x (columns,).

    The columns of a line connect: each begins where the one before it ends. Fewer values than
    columns are interpolated. A column without a finite value is NaN.

    >>> envelope([0.0, 4.0, 0.0], 5)
    (array([0., 0., 2., 2., 0.]), array([0., 2., 4., 4., 2.]))
    """
    given = np.asarray(values, np.float64)
    given = np.where(np.isfinite(given), given, np.nan)
    if len(given) <= columns:
        places = np.linspace(0, len(given) - 1, columns)
        low = high = np.interp(places, np.arange(len(given)), given)
    else:
        starts = np.arange(columns) * len(given) // columns
        low = np.fmin.reduceat(given, starts)
        high = np.fmax.reduceat(given, starts)
    before_low, before_high = (np.concatenate([end[:1], end[:-1]]) for end in (low, high))
    # fmin and fmax ignore a NaN before a column, but a column that is NaN remains so.
    known = np.isfinite(low)
    return (
        np.where(known, np.fmin(low, before_high), np.nan),
        np.where(known, np.fmax(high, before_low), np.nan),
    )
