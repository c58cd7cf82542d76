"""Sums that do not drift: short runs term by term, and the runs by halves.

A plain sum of n terms loses up to n roundings, and where the terms are equal, as over a flat part of an image,
they all lean the same way. By halves it loses RUN + log2(n / RUN), for the same number of additions::

    ((t0 + .. + t8) + (t9 + .. + t17)) + ((t18 + .. + t26) + (t27 + .. + t35))

Source: Higham, "The accuracy of floating point summation", 1993.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from numpy.typing import NDArray

from convcli.engine.buffers import scratch_buffer
from convcli.engine.planning.tiles import RUN

Term = TypeVar("Term")


def pairwise_sum(terms: Sequence[Term], fill: Callable[[Term, NDArray[Any]], object], out: NDArray[Any]) -> None:
    """Out = the sum of what `fill` writes for each of one or more terms.

    >>> import numpy as np
    >>> out = np.empty(2)
    >>> pairwise_sum([1.0, 2.0, 3.0], lambda term, share: np.multiply([1, 10], term, out=share), out)
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
