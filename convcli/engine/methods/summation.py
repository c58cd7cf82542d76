"""Pairwise summation: short runs are added term by term, and longer ones as two halves.

A plain sum of n terms has an error of up to n roundings, and if the terms are equal, as in a flat
part of an image, all of them round in the same direction. Pairwise summation has an error of
RUN + log2(n / RUN) roundings, with the same number of additions::

    ((t0 + .. + t8) + (t9 + .. + t17)) + ((t18 + .. + t26) + (t27 + .. + t35))

Source: Higham, "The accuracy of floating point summation", 1993.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from numpy.typing import NDArray

from convcli.engine.buffers import scratch_buffer

Term = TypeVar("Term")

RUN = 9
"""Terms added one by one: those of a 3x3 kernel in one run."""


def pairwise_sum(
    terms: Sequence[Term], fill: Callable[[Term, NDArray[Any]], object], out: NDArray[Any]
) -> None:
    """Compute the sum of the arrays that `fill` writes, one for each of at least one term.

    >>> import numpy as np
    >>> out = np.empty(2)
    >>> pairwise_sum([1, 2, 3], lambda term, share: np.multiply([1, 10], term, out=share), out)
    >>> out
    array([ 6., 60.])
    """
    share = scratch_buffer(out.shape, out.dtype) if len(terms) > 1 else out
    if len(terms) > RUN:
        middle = len(terms) // 2
        pairwise_sum(terms[:middle], fill, out)
        pairwise_sum(terms[middle:], fill, share)
        out += share
        return
    fill(terms[0], out)
    for term in terms[1:]:
        fill(term, share)
        out += share


def pending_sums(terms: int) -> int:
    """Return how many arrays `pairwise_sum` allocates at once.

    >>> pending_sums(1), pending_sums(9), pending_sums(10)
    (0, 1, 2)
    """
    if terms <= RUN:
        return min(terms - 1, 1)
    return 1 + pending_sums(-(-terms // 2))
