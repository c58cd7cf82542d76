"""Check gradients by central differences, by the adjoint test, and by explicit matrices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convcli.engine.layer_form import flip_for, to_layer
from convcli.engine.problem import check_layer, real_array
from convcli.errors import InputError, did_you_mean
from convcli.grad.backward import Gradients
from convcli.grad.differences import STEPS, SWEPT, compare, swept
from convcli.grad.layouts import from_layer_gradients, to_layer_upstream
from convcli.grad.records import (
    TENSORS,
    TINY,
    AdjointTest,
    Floats,
    GradcheckReport,
    PathTest,
    Setting,
    length,
    over,
)
from convcli.grad.subject import Subject
from convcli.grad.toeplitz import toeplitz, unrolled
from convcli.options import Op
from convcli.progress import Progress, silent
from convcli.shapes.layout import ConvLayout, check_layout, infer_layout
from convcli.shapes.parse import Padding, PerAxis, check_number, check_whole
from convcli.shapes.spec import ConvSpec

MATRIX = 1 << 22
"""Most values of an explicit matrix: 32 MiB."""


def adjoint_test(
    subject: Subject, name: str, gradient: Floats, rng: np.random.Generator
) -> AdjointTest:
    """Compare <A v, dy> with <v, A' dy>, where A maps one tensor to y and the others are fixed."""
    v = rng.standard_normal(gradient.shape)
    moved = {
        "dx": lambda: subject.output({"x": v}, outside=False),
        "dw": lambda: subject.output({"w": v}),
        "db": lambda: subject.output({"x": np.zeros_like(subject.x), "bias": v}, outside=False),
    }[name]()
    scale = max(length(moved), TINY * length(v)) * length(subject.dy)
    return AdjointTest(
        name, float(np.vdot(moved, subject.dy)), float(np.vdot(v, gradient)), scale, v
    )


def path_tests(subject: Subject, analytic: Gradients) -> Iterator[PathTest]:
    """Yield every gradient by the transposes of explicit matrices, unless these are too large."""
    form = to_layer(
        subject.x, flip_for(subject.w, subject.conv_layout, subject.op), subject.conv_layout
    )
    spec = replace(subject.spec, groups=form.groups)
    delta = to_layer_upstream(subject.dy, subject.conv_layout)
    spatial, window = form.x.shape[1:-1], form.w.shape[1:-1]
    shapes = {
        "dx": (math.prod(delta.shape[1:]), math.prod(form.x.shape[1:])),
        "dw": (math.prod(delta.shape[:-1]), math.prod(window) * form.x.shape[-1]),
        "db": (delta.size, len(form.w)),
    }
    if max(math.prod(shape) for shape in shapes.values()) > MATRIX:
        return
    dx = (delta.reshape(len(delta), -1) @ toeplitz(form.w, spatial, spec)).reshape(form.x.shape)
    columns = unrolled(form.x, window, spec).reshape(
        shapes["dw"][0], -1, form.groups, form.w.shape[-1]
    )
    rows = delta.reshape(shapes["dw"][0], form.groups, -1)
    dw = np.einsum("pgf,pkgc->gfkc", rows, columns).reshape(form.w.shape)
    other = from_layer_gradients(
        Gradients(dx, dw, rows.sum(axis=0).ravel()), subject.conv_layout, subject.op
    )
    for name, own, theirs in zip(TENSORS, analytic, other, strict=True):
        gap = over(float(np.abs(own - theirs).max()), max(float(np.abs(theirs).max()), TINY))
        yield PathTest(name, shapes[name], theirs, gap)


ENTRIES = 2000
"""Default number of entries to check in each tensor; of larger tensors a random choice."""


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
    """Check dx, dw and db of a layer by central differences, adjoints and explicit matrices.

    x (N, *S, C), w (O, *K, C/groups); the options are conv_layer's. dy: the upstream gradient
    (N, *P, O), by default standard normal numbers from `seed`. eps: the step, by default 1, or
    more for values above 2**16. samples: the number of entries of each tensor to check, by default
    at most 2,000 random ones. sweep: also measure the error at many steps. broken: `dx`, `dw` or
    `db`, to corrupt one of its entries, which the check must then find.

    >>> rng = np.random.default_rng(0)
    >>> report = gradcheck(rng.standard_normal((1, 6, 6, 2)), rng.standard_normal((3, 3, 3, 2)))
    >>> report.passed, [(check.name, check.verdict) for check in report.checks]
    (True, [('dx', 'good'), ('dw', 'good'), ('db', 'good')])
    """
    x, w = real_array(x, "input"), real_array(w, "kernel")
    check_layer(x, w)
    spec = ConvSpec.of(
        x.ndim - 2,
        stride=stride,
        dilation=dilation,
        padding=padding,
        boundary=boundary,
        cval=cval,
        groups=groups,
    )
    conv_layout = infer_layout(
        x.shape, w.shape, dims=x.ndim - 2, groups=spec.groups, layout=check_layout(layout)
    )
    return check_layout_gradients(
        x,
        w,
        conv_layout,
        spec,
        dy=dy,
        eps=eps,
        samples=samples,
        seed=seed,
        sweep=sweep,
        broken=broken,
    )


def check_layout_gradients(
    x: NDArray[Any],
    w: NDArray[Any],
    conv_layout: ConvLayout,
    spec: ConvSpec,
    *,
    op: Op = "correlate",
    dy: ArrayLike | None = None,
    eps: float | None = None,
    samples: int | None = None,
    seed: int = 0,
    sweep: bool = False,
    broken: str | None = None,
    progress: Progress = silent,
) -> GradcheckReport:
    """Check gradients as `gradcheck` does, for x and w in any layout."""
    if eps is not None and not 0 < check_number(eps, "eps") < np.inf:
        raise InputError(
            f"eps {eps}", "expected a positive step", "leave it out: 1 is best for a linear map"
        )
    count = ENTRIES if samples is None else check_whole(samples, "samples", least=1)
    if broken not in (None, *TENSORS):
        raise InputError(
            f"broken {broken!r}", "expected dx, dw or db", did_you_mean(str(broken), TENSORS)
        )
    rng = np.random.default_rng(seed)
    subject = Subject.of(x.astype(np.float64), w.astype(np.float64), conv_layout, spec, op, dy, rng)
    analytic = subject.gradients(subject.dy)
    if broken is not None:
        analytic = analytic._replace(**{broken: _corrupted(getattr(analytic, broken))})
    done = _counter(analytic, count, sweep, progress)
    with np.errstate(invalid="ignore", over="ignore"):
        return GradcheckReport(
            checks=tuple(
                compare(subject, name, getattr(analytic, name), eps, rng, count, done)
                for name in TENSORS
            ),
            seed=seed,
            output_shape=subject.dy.shape,
            adjoint=tuple(
                adjoint_test(subject, name, getattr(analytic, name), rng) for name in TENSORS
            ),
            paths=tuple(path_tests(subject, analytic)),
            sweep=swept(subject, analytic, rng, done) if sweep else None,
            broken=broken,
            arrays=(("x", subject.x), ("w", subject.w), ("dy", subject.dy)),
            y=subject.output(),
            setting=Setting(op, conv_layout, spec),
        )


def _counter(
    analytic: Gradients, limit: int, sweep: bool, progress: Progress
) -> Callable[[], None]:
    """Return the function that reports the progress, to be called once for each entry."""
    sizes = [gradient.size for gradient in analytic]
    total = sum(min(size, limit) for size in sizes)
    if sweep:
        total += len(STEPS) * sum(min(size, SWEPT) for size in sizes)
    moved = itertools.count(1)
    return lambda: progress(next(moved) / total)


def _corrupted(gradient: Floats) -> Floats:
    """Return a gradient with an error in its middle entry, larger than its largest entry."""
    wrong = gradient.copy()
    wrong.flat[wrong.size // 2] += 1 + np.abs(gradient).max()
    return wrong
