"""Filter pictures with alpha in premultiplied colour, and convert samples to linear light.

Colour is multiplied by alpha, filtered, and divided by the filtered alpha, its coverage: the
colours of transparent pixels do not bleed into others. Alpha is filtered by the kernel itself,
scaled to sum 1. A kernel that sums to zero, such as a derivative, would leave no coverage; the
magnitudes of its taps are used instead. A constant boundary is transparent, unless its value is
given: then it is opaque. If no window reaches a transparent outside, an opaque picture is therefore
filtered exactly as it would be without its alpha.

Source: Porter and Duff, "Compositing digital images", 1984.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from convcli.engine.planning.facts import result_dtype
from convcli.errors import InputError
from convcli.jobs.transfer import SRGB, Curve


def opaque(dtype: np.dtype[Any]) -> int:
    """Return the alpha of an opaque pixel of a number type: the largest integer, 1 of floats."""
    return int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1


def premultiply(
    image: NDArray[Any], decode: Callable[[NDArray[Any]], NDArray[Any]] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (..., C) colours times alpha, in their own range, and (...) alpha from 0 to 1.

    decode: a function that is applied to the colours first, such as a transfer curve.
    """
    alpha = image[..., -1].astype(result_dtype(image.dtype.name)) / opaque(image.dtype)
    if decode is None:
        return image[..., :-1] * alpha[..., None], alpha
    colours = decode(image[..., :-1])
    colours *= alpha[..., None]
    return colours, alpha


def premultiplied_bytes(image: NDArray[Any]) -> int:
    """Return the bytes that `premultiply` allocates for an image (..., C)."""
    *positions, channels = image.shape
    size = 8 if result_dtype(image.dtype.name) == "float64" else 4
    return int(math.prod(positions) * (channels + 1) * size)


def coverage_kernel(taps: NDArray[np.float64], window_axes: Sequence[int]) -> NDArray[np.float64]:
    """Return the kernel that filters alpha: one window that sums to 1.

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


def outside_alpha(cval: float | None) -> float:
    """Return the alpha of a constant boundary: 1 if its value is given, else 0."""
    return 0.0 if cval is None else 1.0


def divide(colours: NDArray[Any], coverage: NDArray[Any]) -> NDArray[Any]:
    """Divide colours (..., C) by their coverage (...); return 0 where the coverage is 0."""
    cover = coverage[..., None]
    return np.asarray(np.divide(colours, cover, out=np.zeros_like(colours), where=cover > 1e-6))


_PIECE = 2**16  # samples decoded at once: numpy widens each to an index of 8 bytes


def white(dtype: DTypeLike) -> float:
    """Return the code of white in a picture's dtype. Raises InputError for a dtype that has none.

    >>> white("uint8"), white("float32")
    (255.0, 1.0)
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return 1.0
    if kind not in (np.uint8, np.uint16):
        raise InputError(
            f"linear light in {kind}", "its white is not known: expected uint8, uint16 or float"
        )
    return float(np.iinfo(kind).max)


def decode(codes: NDArray[Any], curve: Curve = SRGB) -> NDArray[np.float32]:
    """Return the light of a picture's samples, float32, in the range of their dtype.

    >>> decode(np.array([0, 128, 255], np.uint8)).round(2)
    array([  0.  ,  55.04, 255.  ], dtype=float32)
    """
    light = np.empty(codes.shape, np.float32)
    step = max(_PIECE // max(codes[:1].size, 1), 1)
    for at in range(0, len(codes), step):
        piece, out = codes[at : at + step], light[at : at + step]
        if codes.dtype.kind == "f":
            out[...] = curve.decode(piece.astype(np.float64))
        else:
            np.take(_table(codes.dtype.name, curve), piece, out=out, mode="clip")
    return light


def decode_level(code: float, dtype: DTypeLike, curve: Curve = SRGB) -> float:
    """Return the light of one level, which may be outside the dtype's range."""
    top = white(dtype)
    return top * float(curve.decode(np.array(code / top)))


def encode(light: NDArray[Any], dtype: DTypeLike, curve: Curve = SRGB) -> NDArray[Any]:
    """Return the codes of light in the range of `dtype`, as unrounded floats.

    >>> encode(np.array([0, 127.5, 255]), np.uint8).round(2)
    array([  0.  , 187.52, 255.  ])
    """
    top = light.dtype.type(white(dtype))
    magnitudes = np.abs(light)
    magnitudes /= top
    codes: NDArray[Any] = magnitudes ** (1 / curve.gamma)
    codes *= 1 + curve.offset
    codes -= curve.offset
    np.multiply(magnitudes, curve.slope, out=codes, where=magnitudes <= curve.dark_light)
    codes *= top
    return np.asarray(np.copysign(codes, light, out=codes))


def encoding_bytes(values: int, size: int) -> int:
    """Return the bytes that `encode` allocates, its result included."""
    return values * (2 * size + 1)


@lru_cache(8)
def _table(name: str, curve: Curve) -> NDArray[np.float32]:
    """Return the light of every code of an integer dtype."""
    top = int(white(name))
    return (top * curve.decode(np.arange(top + 1) / top)).astype(np.float32)
