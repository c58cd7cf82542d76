"""Central differences, entry by entry, and what the worst entries have to do with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from convcli.engine.padding import fold
from convcli.grad.records import Entry, Floats, Span, TensorCheck
from convcli.grad.subject import Subject
from convcli.shapes.spec import Axis

SHOWN = 10
"""How many of the worst entries are told one by one."""


def compare(
    subject: Subject, name: str, gradient: Floats, step: float, rng: np.random.Generator, most: int
) -> TensorCheck:
    """One gradient against central differences in all its entries, or in a random choice of `most`."""
    entries = chosen(gradient.size, most, rng)
    numeric = np.array([subject.slope(*subject.ends(name, int(at), step), step) for at in entries])
    check = TensorCheck(name, gradient.shape, entries, gradient.ravel()[entries], numeric, gradient)
    relative = np.where(np.isnan(check.relative), np.inf, check.relative)
    order = np.argsort(-relative, kind="stable")[:SHOWN]
    return replace(check, worst=tuple(_entry(subject, check, int(at)) for at in order))


def chosen(size: int, most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """All indices, or a random choice of `most`, in order."""
    return np.sort(rng.choice(size, most, replace=False)) if most < size else np.arange(size)


def _entry(subject: Subject, check: TensorCheck, at: int) -> Entry:
    index = tuple(int(i) for i in np.unravel_index(check.entries[at], check.shape))
    touched = list(_touched(subject, check.name, index))
    reached = [spans for spans in touched if spans is not None]
    whole = len(reached) == len(touched)
    return Entry(
        index,
        float(check.analytic[at]),
        float(check.numeric[at]),
        float(check.absolute[at]),
        float(check.relative[at]),
        tuple(window for window, _ in reached) if whole else None,
        tuple(outputs for _, outputs in reached) if whole else None,
    )


def _touched(subject: Subject, name: str, index: tuple[int, ...]) -> Iterator[tuple[Span, Span] | None]:
    """(the input's window, the outputs) that an entry has to do with, along each spatial axis."""
    a = subject.arrangement
    places = {"dx": a.spatial_axes, "dw": a.window_axes}.get(name, (0,) * a.dims)
    for place, axis in zip(places, subject.axes, strict=True):
        yield _ALONG[name](axis, index[place], subject)


def _along_input(axis: Axis, sample: int, subject: Subject) -> tuple[Span, Span] | None:
    starts = np.arange(axis.out) * axis.stride - axis.lo
    seen = fold(starts[:, None] + np.arange(axis.k) * axis.dilation, axis.n, subject.spec.boundary)
    hit = np.flatnonzero((seen == sample).any(axis=1))
    if not len(hit):
        return None
    first, last = int(hit[0]), int(hit[-1])
    return (int(starts[first]), int(starts[last]) + axis.reach), (first, last + 1)


def _along_kernel(axis: Axis, tap: int, subject: Subject) -> tuple[Span, Span]:
    own = axis.k - 1 - tap if subject.op == "convolve" else tap
    first = own * axis.dilation - axis.lo
    return (first, first + (axis.out - 1) * axis.stride + 1), (0, axis.out)


def _along_all(axis: Axis, _: int, subject: Subject) -> tuple[Span, Span]:
    return (-axis.lo, axis.n + axis.hi), (0, axis.out)


_ALONG: dict[str, Callable[[Axis, int, Subject], tuple[Span, Span] | None]] = {
    "dx": _along_input,
    "dw": _along_kernel,
    "db": _along_all,
}
