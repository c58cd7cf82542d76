"""Filtering a picture that has alpha: in premultiplied colour, so that what is transparent does not bleed.

A colour counts as much as it covers: colour is multiplied by alpha, filtered, and divided by the filtered alpha,
its coverage. Alpha is filtered by the kernel itself, brought to sum 1; a kernel that sums to zero (a derivative)
would leave no coverage at all, so there the magnitudes of its taps are used. Outside the picture is opaque. An
opaque picture is therefore filtered exactly as it would be without its alpha.

Source: Porter and Duff, "Compositing digital images", 1984.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.planning.facts import result_dtype


def premultiply(
    image: NDArray[Any], decode: Callable[[NDArray[Any]], NDArray[Any]] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(..., C) colours times alpha, in their own range, and (...) alpha from 0 to 1; both of the result's type.

    decode: what colours are put through first, such as the curve that gives their light.
    """
    top = np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1
    alpha = image[..., -1].astype(result_dtype(image.dtype.name)) / top
    if decode is None:
        return image[..., :-1] * alpha[..., None], alpha
    colours = decode(image[..., :-1])
    colours *= alpha[..., None]
    return colours, alpha


def premultiplied_bytes(image: NDArray[Any]) -> int:
    """Bytes that `premultiply` takes for an image (..., C), and its results keep all but a plane of."""
    *places, channels = image.shape
    size = 8 if result_dtype(image.dtype.name) == "float64" else 4
    return int(math.prod(places) * (channels + 1) * size)


def coverage_kernel(taps: NDArray[np.float64], window_axes: Sequence[int]) -> NDArray[np.float64]:
    """The kernel that alpha is filtered by: one window that sums to 1.

    >>> coverage_kernel(np.array([1.0, 2.0, 1.0]), [0])
    array([0.25, 0.5 , 0.25])
    >>> coverage_kernel(np.array([-1.0, 0.0, 1.0]), [0])
    array([0.5, 0. , 0.5])
    """
    others = tuple(axis for axis in range(taps.ndim) if axis not in window_axes)
    window, magnitudes = taps.sum(axis=others), np.abs(taps).sum(axis=others)
    whole = magnitudes.sum()
    if abs(window.sum()) > 1e-6 * whole:
        return np.asarray(window / window.sum())
    return np.asarray(magnitudes / whole) if whole else np.full(window.shape, 1 / window.size)


def divide(colours: NDArray[Any], coverage: NDArray[Any]) -> NDArray[Any]:
    """Colours (..., C) over their coverage (...); nothing is left where nothing is covered."""
    cover = coverage[..., None]
    return np.asarray(np.divide(colours, cover, out=np.zeros_like(colours), where=cover > 1e-6))
