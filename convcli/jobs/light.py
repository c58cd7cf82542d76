"""Filtering in linear light: samples are decoded by the sRGB transfer curve first, and encoded by it at the end.

A picture's samples are codes, spread so that the eye sees even steps; light adds up, and they do not. The mean of
black and white is code 188 of 255, not 128. Values stay in the range of the picture's own type. What a filter makes
of light below 0 or above white goes on along the curve, below 0 as its mirror image, so that the ledger counts it.

Source: IEC 61966-2-1:1999, "Default RGB colour space - sRGB".
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from convcli.errors import InputError

_GAMMA, _OFFSET, _SLOPE = 2.4, 0.055, 12.92
_PIECE = 2**16  # samples decoded at once: numpy widens each to 8 bytes meanwhile
_DARK_CODE, _DARK_LIGHT = 0.04045, 0.0031308  # below, the curve is a line


def white(dtype: DTypeLike) -> float:
    """The code of white in a picture's number type. Raises InputError for a type that has none.

    >>> white("uint8"), white("float32")
    (255.0, 1.0)
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return 1.0
    if kind not in (np.uint8, np.uint16):
        raise InputError(f"linear light in {kind}", "its white is not known: expected uint8, uint16 or float")
    return float(np.iinfo(kind).max)


def decode(codes: NDArray[Any]) -> NDArray[np.float32]:
    """The light of a picture's samples, float32, in the range of their type.

    >>> decode(np.array([0, 128, 255], np.uint8)).round(2)
    array([  0.  ,  55.04, 255.  ], dtype=float32)
    """
    light = np.empty(codes.shape, np.float32)
    step = max(_PIECE // max(codes[:1].size, 1), 1)
    for at in range(0, len(codes), step):
        piece, out = codes[at : at + step], light[at : at + step]
        if codes.dtype.kind == "f":
            out[...] = _decoded(piece.astype(np.float64))
        else:
            np.take(_table(codes.dtype.name), piece, out=out, mode="clip")
    return light


def decode_level(code: float, dtype: DTypeLike) -> float:
    """The light of one level, which may lie outside the type's range."""
    top = white(dtype)
    return top * float(_decoded(np.array(code / top)))


def encode(light: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """The codes of light that is in the range of `dtype`, in the light's own float type, not rounded.

    >>> encode(np.array([0, 127.5, 255]), np.uint8).round(2)
    array([  0.  , 187.52, 255.  ])
    """
    top = light.dtype.type(white(dtype))
    magnitudes = np.abs(light)
    magnitudes /= top
    codes: NDArray[Any] = magnitudes ** (1 / _GAMMA)
    codes *= 1 + _OFFSET
    codes -= _OFFSET
    np.multiply(magnitudes, _SLOPE, out=codes, where=magnitudes <= _DARK_LIGHT)
    codes *= top
    return np.asarray(np.copysign(codes, light, out=codes))


def encoding_bytes(values: int, size: int) -> int:
    """Bytes that `encode` takes for so many values of so many bytes, its result among them."""
    return values * (2 * size + 1)


@cache
def _table(name: str) -> NDArray[np.float32]:
    """The light of every code of an integer type."""
    top = int(white(name))
    return (top * _decoded(np.arange(top + 1) / top)).astype(np.float32)


def _decoded(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light from 0 to 1 of codes from 0 to 1, and along the same curve beyond."""
    magnitudes = np.abs(codes)
    bent = ((magnitudes + _OFFSET) / (1 + _OFFSET)) ** _GAMMA
    return np.copysign(np.where(magnitudes <= _DARK_CODE, magnitudes / _SLOPE, bent), codes)
