"""Reduce, enlarge and colour arrays for a picture of a given size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

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
    rows, columns = (
        np.arange(min(size, count)) * count // min(size, count)
        for size, count in zip((height, width), values.shape, strict=False)
    )
    ends = [*rows[1:], len(values)]
    # Row by row: reduceat would convert the whole array to float64 first.
    means = np.stack(
        [values[a:b].mean(axis=0, dtype=np.float64) for a, b in zip(rows, ends, strict=True)]
    )
    lengths = np.diff(columns, append=values.shape[1])
    sums = np.add.reduceat(means, columns, axis=1)
    return np.asarray(sums / lengths.reshape(-1, *[1] * (values.ndim - 2)))


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
    given = np.asarray(values)
    if len(given) <= columns:
        places = np.linspace(0, len(given) - 1, columns)
        known = np.where(np.isfinite(given), given, np.nan)
        low = high = np.interp(places, np.arange(len(given)), known)
    else:
        starts = np.arange(columns + 1) * len(given) // columns
        ends = [_finite_ends(given[a:b]) for a, b in pairwise(starts.tolist())]
        low, high = np.array(ends).T
    before_low, before_high = (np.concatenate([end[:1], end[:-1]]) for end in (low, high))
    # fmin and fmax ignore a NaN before a column, but a column that is NaN remains so.
    lost = np.isnan(low)
    return (
        np.where(lost, np.nan, np.fmin(low, before_high)),
        np.where(lost, np.nan, np.fmax(high, before_low)),
    )


def _finite_ends(values: NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest finite value; NaN if there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)
