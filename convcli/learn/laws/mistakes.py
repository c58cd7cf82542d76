"""Mistakes that break a law on purpose: each replaces one operation by a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from convcli.grad.backward import Gradients
from convcli.learn.activations import activate
from convcli.learn.laws.setup import Array, Operations
from convcli.options import LawName


class Mistake(NamedTuple):
    """A mistake in words, and the operations with it."""

    meaning: str
    apply: Callable[[Operations], Operations]


def _saturated(right: Operations) -> Operations:
    def layer(*given: Any, **options: Any) -> Array:
        y = right.layer(*given, **options)
        return np.asarray(np.minimum(y, 0.5 * y.max()))

    return right._replace(layer=layer)


def _rectified(right: Operations) -> Operations:
    def layer(*given: Any, **options: Any) -> Array:
        return activate(right.layer(*given, **options), "relu")

    return right._replace(layer=layer)


def _not_flipped(right: Operations) -> Operations:
    return right._replace(convolve=right.correlate)


def _uneven(right: Operations) -> Operations:
    def layer(*given: Any, **options: Any) -> Array:
        y = right.layer(*given, **options)
        return y * (1 + np.arange(y.shape[1])).reshape(-1, *[1] * (y.ndim - 2))

    return right._replace(layer=layer)


def _centred(right: Operations) -> Operations:
    def layer(*given: Any, **options: Any) -> Array:
        y = right.layer(*given, **options)
        return np.asarray(y - y.mean())

    return right._replace(layer=layer)


def _incomplete(right: Operations) -> Operations:
    def gradients(x: Array, w: Array, dy: Array, **options: Any) -> Gradients:
        part = dy.copy()
        part[:, -1] = 0
        return right.gradients(x, w, part, **options)

    return right._replace(gradients=gradients)


def _variances(right: Operations) -> Operations:
    return right._replace(gaussian=lambda sigma, size: right.gaussian(sigma**0.5, size))


MISTAKES: dict[LawName, Mistake] = {
    "linear": Mistake("outputs above half of the largest one are clipped", _saturated),
    "affine": Mistake("the layer ends with relu", _rectified),
    "flip": Mistake("the convolution does not flip its kernel", _not_flipped),
    "commutative": Mistake("the convolution does not flip its kernel", _not_flipped),
    "associative": Mistake("the convolution does not flip its kernel", _not_flipped),
    "derivative": Mistake("the convolution does not flip its kernel", _not_flipped),
    "gaussian": Mistake("sigma is taken for the variance, its square", _variances),
    "equivariant": Mistake("each row of outputs has weights of its own", _uneven),
    "local": Mistake("the mean of all outputs is subtracted from each", _centred),
    "backward": Mistake("the last row of dy is left out", _incomplete),
}
"""The mistake that breaks each law."""
