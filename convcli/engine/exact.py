"""Compute exact sums of whole numbers beyond float64's precision, for results of an integer type.

Integers of 64 bits that wrap around give the residue r of a sum S modulo 2**64 exactly, even if
partial sums overflow. The sum F of floats, by any method, has an error far below 2**63, which
determines the multiple::

    S = r + turns * 2**64        turns = rint((F - r) / 2**64)

If turns is 0, r is the result; otherwise S is outside of the type's range and saturates.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.analysis import is_whole
from convcli.engine.methods.base import TileFunction
from convcli.engine.planning.facts import EXACT
from convcli.engine.planning.plan import Plan
from convcli.errors import DtypeError

TURN = 1 << 64
"""The modulus of the residues."""

LARGEST = 1 << 112
"""Limit of the sums' bound times the number of terms. The error of F is at most 2**-53 of that
product, so less than 2**60."""


def needs_integers(bound: int, w: NDArray[Any], bias: NDArray[Any] | None) -> bool:
    """Return whether sums of whole numbers up to `bound` exceed float64's precision.

    False also if a tap exceeds every integer type and the sums exceed the limit of exact sums.
    Raises DtypeError for other sums beyond the limit, and for a bias with fractions.
    """
    if bound <= EXACT:
        return False
    if bias is not None and not is_whole(bias):
        size = power_of_two(bound)
        raise DtypeError(
            f"a bias with fractions and whole numbers of up to {size} in an integer type",
            "expected whole numbers, as float64 holds no fractions there",
            "use dtype float64, or round the bias",
        )
    if bound * w.size <= LARGEST:
        return True
    if w.dtype.kind == "f" and np.abs(w).max() >= TURN:
        return False
    raise DtypeError(
        f"sums of whole numbers of up to {power_of_two(bound)} in an integer type",
        f"expected less than {power_of_two(LARGEST // w.size)}",
        "use dtype float64, or smaller numbers",
    )


def power_of_two(number: Fraction | int) -> str:
    """Return the least power of two that is at least `number`, as text.

    >>> power_of_two(2**60), power_of_two(2**60 + 1)
    ('2**60', '2**61')
    """
    return f"2**{(math.ceil(number) - 1).bit_length()}"


def wrapped(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Return whole numbers modulo 2**64.

    >>> wrapped(np.array([3.0, -1.0]))
    array([                   3, 18446744073709551615], dtype=uint64)
    """
    if values.dtype.kind in "biu":
        return values.astype(np.uint64)
    residues = [int(value) % TURN for value in values.ravel().tolist()]
    return np.array(residues, np.uint64).reshape(values.shape)


def prepare_residues(w: NDArray[Any], direct: Plan) -> TileFunction:
    """Return the tile function that computes uint64 sums modulo 2**64 from `wrapped` samples.

    direct: the plan by the method `direct`.
    """
    return direct.implementation.prepare(wrapped(w), replace(direct, accumulator="uint64"))


def store_exact(sums: NDArray[Any], residues: NDArray[np.uint64], out: NDArray[Any]) -> None:
    """Write exact sums of whole numbers into `out` of an integer type, saturated.

    sums: the rounded sums; residues: the exact sums modulo 2**64.

    >>> out = np.empty(3, np.int64)
    >>> residues = wrapped(np.array([2**53 + 1, -2, -(2**63)]))
    >>> store_exact(np.array([2.0**53, -2.0, 2.0**63]), residues, out)
    >>> out
    array([   9007199254740993,                  -2, 9223372036854775807])
    """
    info = np.iinfo(out.dtype)
    near: NDArray[Any] = residues.view(np.int64 if out.dtype.kind == "i" else np.uint64)
    turns = np.rint((sums - near) / TURN)
    fitting = np.clip(near, info.min, info.max).astype(out.dtype)
    out[...] = np.where(
        turns > 0, out.dtype.type(info.max), np.where(turns < 0, out.dtype.type(info.min), fitting)
    )
