"""A kernel: its taps, their 1-D factors, and one line on what it does.

Taps are written as a correlation uses them (never flipped), in the order of the array's axes: the
last axis is x, the one before it y, the third from the end z.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convcli.errors import DtypeError, KernelError, LimitError

Taps: TypeAlias = NDArray[np.float64]
Term: TypeAlias = tuple[Taps, ...]
Terms: TypeAlias = tuple[Term, ...]

MAX_TAPS = 10**7  # 80 MB in float64
MAX_DIMS = 32  # of an array in numpy 1; numpy 2 allows 64
EXACT_INTEGER = 2**53  # float64 represents every integer up to this one


@dataclass(frozen=True, eq=False, repr=False)
class Kernel:
    """A named kernel. numpy accepts it wherever it accepts an array.

    taps: (*K) float64, read-only.
    terms: `taps` is the sum over terms of the outer product of each term's 1-D factors, one per
    axis; empty if the factors are not known (see `factorize`).

    >>> k = Kernel.of_terms("sobel-x", [([1, 2, 1], [-1, 0, 1])])
    >>> k
    Kernel('sobel-x', shape=(3, 3), rank=1)
    >>> np.asarray(k)[1]
    array([-2.,  0.,  2.])
    >>> k.gain
    0.0
    """

    name: str
    taps: Taps
    terms: Terms = ()
    meaning: str = ""
    source: str = ""

    @classmethod
    def of_terms(
        cls, name: str, terms: Iterable[Iterable[Any]], meaning: str = "", source: str = ""
    ) -> Kernel:
        """Build a kernel from its 1-D factors."""
        frozen = tuple(tuple(frozen_copy(factor) for factor in term) for term in terms)
        return cls(name, frozen_copy(outer(frozen)), frozen, meaning, source)

    @classmethod
    def of_taps(cls, name: str, taps: Any, meaning: str = "", source: str = "") -> Kernel:
        """Build a kernel from an array of real, finite numbers; a 1-D kernel is its own factor.

        Raises KernelError for anything else, LimitError above ten million taps.
        """
        array = frozen_copy(checked_taps(taps))
        return cls(name, array, ((array,),) if array.ndim == 1 else (), meaning, source)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.taps.shape

    @property
    def sum(self) -> float:
        return float(self.taps.sum())

    @property
    def gain(self) -> float:
        """The factor that multiplies a constant input: the response at zero frequency."""
        return self.sum

    @property
    def rank(self) -> int | None:
        """The number of separable terms, or None if they are not known."""
        return len(self.terms) or None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.taps, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"Kernel({self.name!r}, shape={self.shape}, rank={self.rank})"


def frozen_copy(values: Any) -> Taps:
    """Copy to float64, contiguous and read-only."""
    array = np.array(values, dtype=np.float64, order="C")
    array.flags.writeable = False
    return array


def outer(terms: Terms) -> Taps:
    """Return the sum over terms of the outer product of the term's factors.

    (K0,), (K1,), ... -> (K0, K1, ...).

    Raises LimitError above ten million taps.

    >>> outer(((np.array([1.0, 2.0]), np.array([3.0, 5.0])),))
    array([[ 3.,  5.],
           [ 6., 10.]])
    """
    for term in terms:
        limit_taps(map(len, term))
    products = (reduce(np.multiply.outer, term) for term in terms)
    return reduce(np.add, products)


def limit_taps(shape: Iterable[int]) -> None:
    """Raise LimitError for a kernel of more than ten million taps.

    >>> limit_taps((10**6, 10**6))
    Traceback (most recent call last):
    convcli.errors.LimitError: a kernel of 1000000x1000000 taps; expected at most 10000000 taps; \
choose a smaller size
    """
    sizes = tuple(shape)
    if math.prod(sizes) > MAX_TAPS:
        raise LimitError(
            f"a kernel of {'x'.join(map(str, sizes))} taps",
            f"expected at most {MAX_TAPS} taps",
            "choose a smaller size",
        )


def checked_taps(values: Any) -> NDArray[Any]:
    """Return `values` as an array of real, finite taps.

    Raises KernelError, or LimitError if there are too many.
    """
    check_unmasked(values, "kernel")
    array = np.asarray(values)
    limit_taps(array.shape)
    check_tap_type(array.dtype)
    if not array.ndim or not array.size:
        raise KernelError(
            f"an empty kernel of shape {array.shape}", "expected at least one axis and one tap"
        )
    if not np.isfinite(array).all():
        raise KernelError("a kernel with nan or inf among its taps", "expected finite numbers")
    if array.dtype.kind in "iu" and max(-int(array.min()), int(array.max())) > EXACT_INTEGER:
        raise KernelError(
            "kernel taps beyond 2**53", "expected integers that float64 holds exactly"
        )
    return array


def check_unmasked(values: Any, what: str) -> None:
    """Raise DtypeError for a masked array, because its mask would be ignored.

    The type of an exact ndarray is checked first: `np.ma` takes 9 ms to import.
    """
    if type(values) is not np.ndarray and isinstance(values, np.ma.MaskedArray):
        raise DtypeError(
            f"the {what} is a masked array",
            "expected one without a mask",
            "fill what is masked: x.filled(0)",
        )


def check_tap_type(dtype: np.dtype[Any]) -> None:
    """Raise KernelError unless the dtype is real."""
    if dtype.kind not in "biuf":
        remedy = "give the real and the imaginary part as two kernels" if dtype.kind == "c" else ""
        raise KernelError(f"kernel taps of type {dtype}", "expected real numbers", remedy)


def normalized(
    taps: NDArray[np.float64], axes: tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    """Return taps divided by their sum, or by that of the positive ones if the sum is zero.

    This is ImageMagick's rule. axes: the axes of one kernel, if the array has several kernels, each
    with its own sum; by default all axes.

    >>> normalized(np.array([1.0, 2.0, 1.0])), normalized(np.array([-2.0, 0.0, 2.0]))
    (array([0.25, 0.5 , 0.25]), array([-1.,  0.,  1.]))
    >>> normalized(np.array([[1.0, 3.0], [2.0, 2.0]]), axes=(1,))
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    total = taps.sum(axes, keepdims=True)
    vanishes = np.abs(total) <= 1e-12 * np.abs(taps).sum(axes, keepdims=True)
    positive = np.where(taps > 0, taps, 0).sum(axes, keepdims=True)
    divisor = np.where(vanishes, positive, total)
    return np.asarray(taps / np.where(divisor == 0, 1, divisor))
