"""Analytic gradients against one another: by the identity that defines an adjoint, and by explicit matrices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from convcli.engine.layer_form import as_layer, oriented
from convcli.grad.backward import Gradients
from convcli.grad.layouts import as_layer_delta, own_shapes
from convcli.grad.records import TENSORS, AdjointTest, Floats, PathTest, over
from convcli.grad.subject import Subject
from convcli.grad.toeplitz import toeplitz, unrolled

MATRIX = 1 << 22
"""The most values of a matrix that is built for the second path: 32 MiB."""


def adjoint_test(subject: Subject, name: str, gradient: Floats, rng: np.random.Generator) -> AdjointTest:
    """The map from one tensor alone: what the others and the constant outside add is left out, or is its own part."""
    v = rng.standard_normal(gradient.shape)
    moved = {
        "dx": lambda: subject.output({"x": v}, outside=False),
        "dw": lambda: subject.output({"w": v}),
        "db": lambda: subject.output({"x": np.zeros_like(subject.x), "bias": v}, outside=False),
    }[name]()
    scale = float(np.linalg.norm(moved) * np.linalg.norm(subject.dy))
    return AdjointTest(name, float(np.vdot(moved, subject.dy)), float(np.vdot(v, gradient)), scale)


def path_tests(subject: Subject, analytic: Gradients) -> Iterator[PathTest]:
    """Every gradient once more, by the transposes of explicit matrices; none where they would be large."""
    form = as_layer(subject.x, oriented(subject.w, subject.arrangement, subject.op), subject.arrangement)
    spec = replace(subject.spec, groups=form.groups)
    delta = as_layer_delta(subject.dy, subject.arrangement)
    spatial, window = form.x.shape[1:-1], form.w.shape[1:-1]
    shapes = {
        "dx": (math.prod(delta.shape[1:]), math.prod(form.x.shape[1:])),
        "dw": (math.prod(delta.shape[:-1]), math.prod(window) * form.x.shape[-1]),
        "db": (delta.size, len(form.w)),
    }
    if max(math.prod(shape) for shape in shapes.values()) > MATRIX:
        return
    dx = (delta.reshape(len(delta), -1) @ toeplitz(form.w, spatial, spec)).reshape(form.x.shape)
    columns = unrolled(form.x, window, spec).reshape(shapes["dw"][0], -1, form.groups, form.w.shape[-1])
    rows = delta.reshape(shapes["dw"][0], form.groups, -1)
    dw = np.einsum("pgf,pkgc->gfkc", rows, columns).reshape(form.w.shape)
    other = own_shapes(Gradients(dx, dw, rows.sum(axis=0).ravel()), subject.arrangement, subject.op)
    for name, own, theirs in zip(TENSORS, analytic, other, strict=True):
        gap = over(float(np.abs(own - theirs).max()), float(np.abs(theirs).max()))
        yield PathTest(name, shapes[name], theirs, gap)
