"""Central differences: each gradient entry by entry, and at many steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from convcli.engine.padding import boundary_index
from convcli.grad.backward import Gradients
from convcli.grad.records import (
    TENSORS,
    Entry,
    Floats,
    Span,
    Sweep,
    SweepRow,
    TensorCheck,
    over,
)
from convcli.grad.subject import Subject
from convcli.shapes.axis import Axis

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
        name,
        gradient.shape,
        entries,
        gradient.ravel()[entries],
        numeric,
        gradient,
        step,
        round_off=subject.round_off(name, step),
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
