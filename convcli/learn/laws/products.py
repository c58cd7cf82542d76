"""The laws of the product `f * g`, each a generator of measured statements.

It is correlation with a flipped kernel, commutative, associative, and commutes with derivatives. If
the taps of the kernel are dilated, g has zeros between them. Gaussians show how the continuous
convolution is approached.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from convcli.kernels import kernel
from convcli.learn.laws.setup import Array, Row, Setting, bounded, compare, largest, weight


def flip(s: Setting) -> Iterator[Row]:
    """Measure that convolution is correlation with the flipped kernel."""
    bound = bounded(s.level(s.f) * weight(s.g))
    turned = np.flip(s.g)
    convolve, correlate = s.operations.convolve, s.operations.correlate
    correlated = correlate(s.f, s.g, **s.spec.options)
    convolved = convolve(s.f, s.g, **s.spec.options)
    yield compare(
        "f * g = correlate(f, flip(g))", convolved, correlate(s.f, turned, **s.spec.options), bound
    )
    symmetric = np.array_equal(s.g, turned)
    yield compare(
        "f * g = correlate(f, g)",
        convolved,
        correlated,
        bound,
        expected="equal" if symmetric else "differs",
        note="g is its own flip"
        if symmetric
        else "g is not its own flip, as a symmetric kernel would be",
    )


def commutative(s: Setting) -> Iterator[Row]:
    """Measure that kernel and input commute under convolution, not under correlation."""
    f, g = s.f, s.spread
    bound = bounded(largest(f) * weight(g))
    yield compare("f * g = g * f (full)", _product(s, f, g), _product(s, g, f), bound)
    one = s.operations.correlate(f, g, padding="full")
    other = s.operations.correlate(g, f, padding="full")
    yield compare("correlate(f, g) = correlate(g, f)", one, other, bound, expected="differs")
    yield compare("correlate(f, g) = flip(correlate(g, f))", one, np.flip(other), bound)


def associative(s: Setting) -> Iterator[Row]:
    """Measure that two kernels one after the other are one kernel."""
    f, g = s.f, s.spread
    h = s.random(s.g.shape)
    yield compare(
        "(f * g) * h = f * (g * h)",
        _product(s, _product(s, f, g), h),
        _product(s, f, _product(s, g, h)),
        bounded(largest(f) * weight(g) * weight(h), sums=4),
        note="h is random, of g's shape",
    )


def derivative(s: Setting) -> Iterator[Row]:
    """Measure that the derivative of a product is the product with either factor's derivative.

    Along every axis that has a named derivative kernel.
    """
    f, g = s.f, s.spread
    for name in "xyz"[: s.dims]:
        d = np.flip(kernel(f"derivative-{name}", dims=s.dims).taps)  # as a convolution uses it
        whole = _product(s, _product(s, f, g), d)
        bound = bounded(largest(f) * weight(g) * weight(d), sums=4)
        yield compare(
            f"(f * g)' = f' * g, along {name}", whole, _product(s, _product(s, f, d), g), bound
        )
        yield compare(
            f"(f * g)' = f * g', along {name}", whole, _product(s, f, _product(s, g, d)), bound
        )


SIGMAS = ((0.3, 0.4), (0.6, 0.8), (1.2, 1.6), (3.0, 4.0))
"""Standard deviations, in samples, of Gaussians that are convolved: 3, 4 and 5 times a factor."""

FINE = 2.5
"""Sigma in samples from which on the overlap of a sampled Gaussian's spectrum is within the bound.

Sampling repeats the spectrum, and the copies overlap by 2 exp(-(pi sigma)^2 / 2): 1e-13 at 2.5.
"""

TAIL = 8
"""Distance in sigmas at which a Gaussian is cut: its tail is exp(-32), below rounding."""


def gaussian(s: Setting) -> Iterator[Row]:
    """Measure that Gaussians convolve to a Gaussian, more exactly the finer they are sampled.

    The continuous law is that the squares of the sigmas add up, as in 3^2 + 4^2 = 5^2.
    """
    for one, other in SIGMAS:
        both = math.hypot(one, other)
        overlap = 2 * math.exp(-((math.pi * both) ** 2) / 2)
        sizes = [2 * math.ceil(TAIL * sigma) + 1 for sigma in (one, other)]
        g, h = map(s.operations.gaussian, (one, other), sizes)
        yield compare(
            f"G({one:g}) * G({other:g}) = G({both:g})",
            _product(s, g, h),
            s.operations.gaussian(both, sum(sizes) - 1),
            bounded(largest(g) * weight(h)),
            expected="equal" if both >= FINE else "differs",
            note="sampled, so the copies of its spectrum overlap by "
            f"2 exp(-(pi {both:g})^2 / 2) = {overlap:.0e}",
        )


def _product(s: Setting, f: Array, g: Array) -> Array:
    return s.operations.convolve(f, g, padding="full")
