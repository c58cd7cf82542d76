"""Check gradients by central differences, by the adjoint test, and by explicit matrices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convcli.engine.layer_form import flip_for, forward, to_layer
from convcli.engine.padding import boundary_index
from convcli.engine.problem import check_layer, real_array
from convcli.errors import InputError, did_you_mean
from convcli.grad.backward import Gradients
from convcli.grad.layouts import from_layer_gradients, layout_gradients, to_layer_upstream
from convcli.grad.records import (
    TENSORS,
    TINY,
    AdjointTest,
    Entry,
    Floats,
    GradcheckReport,
    PathTest,
    Setting,
    Span,
    Sweep,
    SweepRow,
    TensorCheck,
    length,
    over,
)
from convcli.grad.toeplitz import toeplitz, unrolled
from convcli.options import Op
from convcli.progress import Progress, silent
from convcli.shapes.axis import Axis
from convcli.shapes.layout import ConvLayout, check_layout, infer_layout
from convcli.shapes.parse import Padding, PerAxis, check_number, check_whole
from convcli.shapes.spec import ConvSpec

FIELDS = {"dx": "x", "dw": "w", "db": "bias"}
"""The tensor of each gradient."""


LARGE = 2.0**16
"""Largest value for a step of 1, which is then far above the value's rounding."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The convolution under test, as a function of x, w and bias; all in float64."""

    x: Floats
    w: Floats
    bias: Floats
    dy: Floats
    conv_layout: ConvLayout
    spec: ConvSpec
    op: Op

    @classmethod
    def of(
        cls,
        x: Floats,
        w: Floats,
        conv_layout: ConvLayout,
        spec: ConvSpec,
        op: Op,
        dy: ArrayLike | None,
        rng: np.random.Generator,
    ) -> Subject:
        shape = conv_layout.with_spatial(spec.sizes(conv_layout.spatial, conv_layout.window))
        upstream = rng.standard_normal(shape) if dy is None else real_array(dy, "upstream gradient")
        bias = np.zeros(1 if conv_layout.channel_mode == "each" else conv_layout.filters)
        return cls(x, w, bias, upstream.astype(np.float64), conv_layout, spec, op)

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.spec.axes(self.conv_layout.spatial, self.conv_layout.window)

    def tensor(self, name: str) -> Floats:
        """Return the tensor of a gradient, such as x for dx."""
        tensor: Floats = getattr(self, FIELDS[name])
        return tensor

    def output(self, other: Mapping[str, Floats] | None = None, *, outside: bool = True) -> Floats:
        """Compute y, with `other` values for some of x, w and bias.

        outside: whether to include the share of the padding constant.
        """
        x, w, bias = ((other or {}).get(name, getattr(self, name)) for name in FIELDS.values())
        spec = self.spec if outside else replace(self.spec, cval=0.0)
        return forward(x, w, self.conv_layout, spec, op=self.op, bias=bias, dtype=np.float64)

    def gradients(self, dy: Floats) -> Gradients:
        return layout_gradients(
            self.x, self.w, dy, self.conv_layout, self.spec, op=self.op, dtype=np.float64
        )

    def ends(self, name: str, index: int, step: float) -> tuple[Floats, Floats]:
        """Return the outputs with one entry of a tensor increased, and decreased, by a step."""
        tensor = self.tensor(name).copy()
        original = tensor.flat[index]
        outputs = []
        for value in (original + step, original - step):
            tensor.flat[index] = value
            outputs.append(self.output({FIELDS[name]: tensor}))
        return outputs[0], outputs[1]

    def step(self, name: str) -> float:
        """Return the step for a tensor: 1, or for large values a power of two near the largest."""
        outside = abs(self.spec.cval) if name == "dx" else 0.0
        values = self.output() if name == "db" else self.tensor(name)
        largest = max(float(np.abs(values).max()), outside)
        if largest <= LARGE or not np.isfinite(largest):
            return 1.0
        return math.ldexp(1, math.frexp(largest)[1] - 1)

    def slope(self, above: Floats, below: Floats, step: float) -> float:
        """Return the central difference of the loss from the outputs at both ends of a step."""
        return float(np.vdot(above - below, self.dy)) / (2 * step)


SHOWN = 10
"""Number of worst entries that are listed."""


def compare(
    subject: Subject,
    name: str,
    gradient: Floats,
    eps: float | None,
    rng: np.random.Generator,
    limit: int,
    done: Callable[[], None],
) -> TensorCheck:
    """Compare a gradient's entries, or `limit` random ones, with central differences.

    done: called after each entry.
    """
    step = subject.step(name) if eps is None else eps
    entries = chosen(gradient.size, limit, rng)
    numeric = np.empty(len(entries))
    for number, index in enumerate(entries):
        numeric[number] = subject.slope(*subject.ends(name, int(index), step), step)
        done()
    check = TensorCheck(
        name, gradient.shape, entries, gradient.ravel()[entries], numeric, gradient, step
    )
    relative = np.where(np.isnan(check.relative), np.inf, check.relative)
    order = np.argsort(-relative, kind="stable")[:SHOWN]
    return replace(check, worst=tuple(_entry(subject, check, int(number)) for number in order))


def chosen(size: int, limit: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return all indices, or `limit` random ones, in order."""
    return np.sort(rng.choice(size, limit, replace=False)) if limit < size else np.arange(size)


def _entry(subject: Subject, check: TensorCheck, number: int) -> Entry:
    index = tuple(int(i) for i in np.unravel_index(check.entries[number], check.shape))
    touched = list(_touched(subject, check.name, index))
    reached = [spans for spans in touched if spans is not None]
    reaches_all = len(reached) == len(touched)
    return Entry(
        index,
        float(check.analytic[number]),
        float(check.numeric[number]),
        float(check.absolute[number]),
        float(check.relative[number]),
        tuple(window for window, _ in reached) if reaches_all else None,
        tuple(outputs for _, outputs in reached) if reaches_all else None,
    )


def _touched(
    subject: Subject, name: str, index: tuple[int, ...]
) -> Iterator[tuple[Span, Span] | None]:
    """Yield, per spatial axis, the samples and the outputs that depend on an entry."""
    a = subject.conv_layout
    own_axes = {"dx": a.spatial_axes, "dw": a.window_axes}.get(name, (0,) * a.dims)
    for own_axis, axis in zip(own_axes, subject.axes, strict=True):
        yield _ALONG[name](axis, index[own_axis], subject)


def _along_input(axis: Axis, sample: int, subject: Subject) -> tuple[Span, Span] | None:
    outputs = np.arange(axis.out)
    under = axis.sample(outputs[:, None], np.arange(axis.k))
    seen = boundary_index(under, axis.n, subject.spec.boundary)
    hit = np.flatnonzero((seen == sample).any(axis=1))
    if not len(hit):
        return None
    first = int(hit[0])
    stop = int(hit[-1]) + 1
    return axis.under(first, stop), (first, stop)


def _along_kernel(axis: Axis, tap: int, subject: Subject) -> tuple[Span, Span]:
    own = axis.k - 1 - tap if subject.op == "convolve" else tap
    first, last = axis.sample(0, own), axis.sample(axis.out - 1, own)
    return (first, last + 1), (0, axis.out)


def _along_all(axis: Axis, _: int, subject: Subject) -> tuple[Span, Span]:
    return (-axis.lo, axis.n + axis.hi), (0, axis.out)


_ALONG: dict[str, Callable[[Axis, int, Subject], tuple[Span, Span] | None]] = {
    "dx": _along_input,
    "dw": _along_kernel,
    "db": _along_all,
}


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


STEPS = tuple(10.0**power for power in range(-11, 4))
"""Steps of a sweep."""

SWEPT = 20
"""Entries of each tensor in a sweep."""


def swept(
    subject: Subject, analytic: Gradients, rng: np.random.Generator, done: Callable[[], None]
) -> Sweep:
    """Return the errors at each of STEPS; done: called after each entry."""

    def ends(name: str, index: int, step: float) -> tuple[Floats, Floats]:
        found = subject.ends(name, index, step)
        done()
        return found

    entries = {name: chosen(getattr(analytic, name).size, SWEPT, rng) for name in TENSORS}
    exact = {name: getattr(analytic, name).ravel()[entries[name]] for name in TENSORS}
    exact["curved"] = subject.gradients(np.square(subject.output())).dx.ravel()[entries["dx"]]
    rows = []
    for step in STEPS:
        outputs = {
            name: [ends(name, int(index), step) for index in entries[name]] for name in TENSORS
        }
        numeric = {
            name: [subject.slope(above, below, step) for above, below in outputs[name]]
            for name in TENSORS
        }
        numeric["curved"] = [
            float((above**3 - below**3).sum()) / (6 * step) for above, below in outputs["dx"]
        ]
        errors = {
            name: over(
                float(np.linalg.norm(exact[name] - found)), float(np.linalg.norm(exact[name]))
            )
            for name, found in numeric.items()
        }
        rows.append(SweepRow(step, **errors))
    return Sweep(tuple(rows), _slope(rows))


def _slope(rows: list[SweepRow]) -> float | None:
    points = [
        (math.log10(row.eps), math.log10(row.dx))
        for row in rows
        if row.eps <= 1 and 0 < row.dx < np.inf
    ]
    if len(points) < 2:
        return None
    steps, errors = np.array(points).T
    return float(np.polyfit(steps, errors, 1)[0])
