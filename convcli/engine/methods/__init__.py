"""The methods that compute a convolution, one per file, and the functions that they share.

::

    base        the interface of a method
    direct      the sum over taps: the reference
    im2col      small work as one matrix product over copied windows
    dots        a short signal under a short kernel
    separable   a kernel that is a sum of products of 1-D factors
    full_rank   any kernel as one band matrix
    taps        a kernel of few taps as sums of shifted rows
    fft         a product of spectra
    gemm        a layer as matrix products
    depthwise   a layer with one kernel per channel
    panels      panels of a tile, whose stacked rows fit a cache
    products    products of a layer's windows and kernels
    passes      the passes of a product of 1-D factors
    bands       a one-dimensional correlation as products with a band matrix
    sums        sums of neighbours along an axis by doubling
    windows     views of the windows of a block
    summation   pairwise summation

A new method is one file with a `Method` named METHOD, and one line in `BUILT_IN`. Files are
imported when a plan is made, so the names are available without numpy.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convcli.engine.methods.base import Method

BUILT_IN = {
    "direct": "direct",
    "im2col": "gemm",
    "dots": "gemm",
    "full_rank": "gemm",
    "gemm": "gemm",
    "depthwise": "gemm",
    "taps": "gemm",
    "separable": "separable",
    "fft": "fft",
}
"""The name of each file's method in --method and in reports."""

FOR_SMALL_WORK = 3
"""The first methods of the table: those that can be the fastest for small work."""

_added: list[Method] = []


def register(method: Method) -> None:
    """Add a method to those that the planner chooses from and that --method accepts."""
    _added.append(method)


def unregister(method: Method) -> None:
    """Remove a method that was added."""
    _added.remove(method)


def names() -> tuple[str, ...]:
    """Return the names of the methods, without repeats, in the order of the table.

    >>> names()
    ('direct', 'gemm', 'separable', 'fft')
    """
    return tuple(dict.fromkeys([*BUILT_IN.values(), *(method.name for method in _added)]))


def methods() -> tuple[Method, ...]:
    """Return all methods."""
    return (*_built_in(), *_added)


def methods_for_small_work() -> tuple[Method, ...]:
    """Return the methods that can be the fastest for small work."""
    return (*_built_in()[:FOR_SMALL_WORK], *_added)


@cache
def _built_in() -> tuple[Method, ...]:
    return tuple(import_module(f"{__name__}.{file}").METHOD for file in BUILT_IN)
