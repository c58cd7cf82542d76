"""The whole check: every test of every gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convcli.engine.operations import check_layer, real_array
from convcli.errors import InputError, did_you_mean
from convcli.grad.analytic import adjoint_test, path_tests
from convcli.grad.differences import compare
from convcli.grad.records import TENSORS, Floats, GradcheckReport
from convcli.grad.subject import Subject
from convcli.grad.sweep import swept
from convcli.options import Op
from convcli.shapes.layout import Arrangement, arrange, check_layout
from convcli.shapes.spec import ConvSpec, Padding, PerAxis, check_number, check_whole

MOST = 2000
"""Entries checked in each tensor unless `samples` says otherwise; beyond it a random choice is checked."""


def gradcheck(
    x: ArrayLike,
    w: ArrayLike,
    *,
    dy: ArrayLike | None = None,
    eps: float | None = None,
    samples: int | None = None,
    seed: int = 0,
    sweep: bool = False,
    broken: str | None = None,
    stride: PerAxis = 1,
    dilation: PerAxis = 1,
    padding: Padding = "valid",
    boundary: str = "constant",
    cval: float = 0.0,
    groups: int = 1,
    layout: str = "channels_last",
) -> GradcheckReport:
    """Check a layer's analytic dx, dw and db against central differences, their adjoints and explicit matrices.

    x (N, *S, C), w (O, *K, C/groups); the options are conv_layer's. dy: the upstream gradient, (N, *P, O), by
    default standard normal from `seed`. eps: the step, by default 1. samples: how many entries of each tensor to
    check, by default all up to 2,000 and a random 2,000 of more. sweep: try many steps too. broken: `dx`, `dw` or
    `db`, to corrupt one of its entries and see it found.

    >>> rng = np.random.default_rng(0)
    >>> report = gradcheck(rng.standard_normal((1, 6, 6, 2)), rng.standard_normal((3, 3, 3, 2)))
    >>> report.passed, [(check.name, check.verdict) for check in report.checks]
    (True, [('dx', 'good'), ('dw', 'good'), ('db', 'good')])
    """
    x, w = real_array(x, "input"), real_array(w, "kernel")
    check_layer(x, w)
    spec = ConvSpec.of(
        x.ndim - 2, stride=stride, dilation=dilation, padding=padding, boundary=boundary, cval=cval, groups=groups
    )
    arrangement = arrange(x.shape, w.shape, dims=x.ndim - 2, groups=spec.groups, layout=check_layout(layout))
    return check_arranged(
        x, w, arrangement, spec, dy=dy, eps=eps, samples=samples, seed=seed, sweep=sweep, broken=broken
    )


def check_arranged(
    x: NDArray[Any],
    w: NDArray[Any],
    arrangement: Arrangement,
    spec: ConvSpec,
    *,
    op: Op = "correlate",
    dy: ArrayLike | None = None,
    eps: float | None = None,
    samples: int | None = None,
    seed: int = 0,
    sweep: bool = False,
    broken: str | None = None,
) -> GradcheckReport:
    """`gradcheck` of a kernel laid on an input in any reading, in their own shapes."""
    step = 1.0 if eps is None else check_number(eps, "eps")
    if not 0 < step < np.inf:
        raise InputError(f"eps {eps}", "expected a positive step", "leave it out: 1 is best for a linear map")
    count = MOST if samples is None else check_whole(samples, "samples", least=1)
    if broken not in (None, *TENSORS):
        raise InputError(f"broken {broken!r}", "expected dx, dw or db", did_you_mean(str(broken), TENSORS))
    rng = np.random.default_rng(seed)
    subject = Subject.of(x.astype(np.float64), w.astype(np.float64), arrangement, spec, op, dy, rng)
    analytic = subject.gradients(subject.dy)
    if broken is not None:
        analytic = analytic._replace(**{broken: _corrupted(getattr(analytic, broken))})
    with np.errstate(invalid="ignore", over="ignore"):
        return GradcheckReport(
            checks=tuple(compare(subject, name, getattr(analytic, name), step, rng, count) for name in TENSORS),
            eps=step,
            seed=seed,
            output_shape=subject.dy.shape,
            adjoint=tuple(adjoint_test(subject, name, getattr(analytic, name), rng) for name in TENSORS),
            paths=tuple(path_tests(subject, analytic)),
            sweep=swept(subject, analytic, rng) if sweep else None,
            broken=broken,
            arrays=(("x", subject.x), ("w", subject.w), ("dy", subject.dy)),
        )


def _corrupted(gradient: Floats) -> Floats:
    """A gradient with one entry, the middle one, made wrong by more than the largest of them all."""
    wrong = gradient.copy()
    wrong.flat[wrong.size // 2] += 1 + np.abs(gradient).max()
    return wrong
