"""Convolution as a product: linear, commutative, associative, and kind to derivatives; correlation is not all that."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from convcli.engine import convolve, correlate
from convcli.kernels import kernel
from convcli.learn.laws.rows import Array, Row, bounded, compare, largest, weight
from convcli.learn.laws.setup import Setting


def linear(s: Setting) -> Iterator[Row]:
    """A sum goes through, and so do factors; a linear map of finitely many numbers is a matrix."""
    z = s.random(s.x.shape) * largest(s.x)
    scale = s.gain * (2 * largest(s.x) + 3 * largest(z))
    yield compare(
        "conv(2 x - 3 z) = 2 conv(x) - 3 conv(z)",
        s.conv(2 * s.x - 3 * z),
        2 * s.conv(s.x) - 3 * s.conv(z),
        bounded(scale),
        note="z is random",
    )
    small = s.small
    y = small.conv(small.x)
    yield compare(
        "conv(x) = M vec(x)",
        y,
        (small.matrix @ small.x.ravel()).reshape(y.shape),
        bounded(small.scale, sums=1, terms=small.w[0].size),
    )


def flip(s: Setting) -> Iterator[Row]:
    """Convolution turns the kernel round, correlation does not."""
    bound = bounded(largest(s.f) * weight(s.g))
    turned = np.flip(s.g)
    correlated, convolved = correlate(s.f, s.g, **s.spec.options), convolve(s.f, s.g, **s.spec.options)
    yield compare("f * g = correlate(f, flip(g))", convolved, correlate(s.f, turned, **s.spec.options), bound)
    symmetric = np.array_equal(s.g, turned)
    yield compare(
        "f * g = correlate(f, g)",
        convolved,
        correlated,
        bound,
        expected="equal" if symmetric else "differs",
        note="g is its own flip" if symmetric else "g is not its own flip, as a symmetric kernel would be",
    )


def commutative(s: Setting) -> Iterator[Row]:
    """Kernel and input may change places under convolution, not under correlation."""
    bound = bounded(largest(s.f) * weight(s.g))
    yield compare("f * g = g * f (full)", _product(s.f, s.g), _product(s.g, s.f), bound)
    one, other = correlate(s.f, s.g, padding="full"), correlate(s.g, s.f, padding="full")
    yield compare("correlate(f, g) = correlate(g, f)", one, other, bound, expected="differs")
    yield compare("correlate(f, g) = flip(correlate(g, f))", one, np.flip(other), bound)


def associative(s: Setting) -> Iterator[Row]:
    """Two kernels one after the other are one kernel."""
    h = s.random(s.g.shape)
    yield compare(
        "(f * g) * h = f * (g * h)",
        _product(_product(s.f, s.g), h),
        _product(s.f, _product(s.g, h)),
        bounded(largest(s.f) * weight(s.g) * weight(h), sums=4),
        note="h is random, of g's shape",
    )


def derivative(s: Setting) -> Iterator[Row]:
    """The derivative of a product may be taken of either factor, along every axis that has a named derivative."""
    for name in "xyz"[: s.dims]:
        d = np.flip(kernel(f"derivative-{name}", dims=s.dims).taps)  # as a convolution uses it
        whole = _product(_product(s.f, s.g), d)
        bound = bounded(largest(s.f) * weight(s.g) * weight(d), sums=4)
        yield compare(f"(f * g)' = f' * g, along {name}", whole, _product(_product(s.f, d), s.g), bound)
        yield compare(f"(f * g)' = f * g', along {name}", whole, _product(s.f, _product(s.g, d)), bound)


def _product(f: Array, g: Array) -> Array:
    return convolve(f, g, padding="full")
