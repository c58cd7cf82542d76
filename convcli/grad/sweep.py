"""The error at many steps: a slope for a linear map, a V for a curved one."""

from __future__ import annotations

import math

import numpy as np

from convcli.grad.backward import Gradients
from convcli.grad.differences import chosen
from convcli.grad.records import TENSORS, Sweep, SweepRow, over
from convcli.grad.subject import Subject

STEPS = tuple(10.0**power for power in range(-11, 4))
SWEPT = 20
"""Entries of each tensor that a sweep follows."""


def swept(subject: Subject, analytic: Gradients, rng: np.random.Generator) -> Sweep:
    entries = {name: chosen(getattr(analytic, name).size, SWEPT, rng) for name in TENSORS}
    exact = {name: getattr(analytic, name).ravel()[entries[name]] for name in TENSORS}
    exact["curved"] = subject.gradients(np.square(subject.output())).dx.ravel()[entries["dx"]]
    rows = []
    for step in STEPS:
        ends = {name: [subject.ends(name, int(at), step) for at in entries[name]] for name in TENSORS}
        numeric = {name: [subject.slope(above, below, step) for above, below in ends[name]] for name in TENSORS}
        numeric["curved"] = [float((above**3 - below**3).sum()) / (6 * step) for above, below in ends["dx"]]
        errors = {
            name: over(float(np.linalg.norm(exact[name] - found)), float(np.linalg.norm(exact[name])))
            for name, found in numeric.items()
        }
        rows.append(SweepRow(step, **errors))
    return Sweep(tuple(rows), _slope(rows))


def _slope(rows: list[SweepRow]) -> float | None:
    points = [(math.log10(row.eps), math.log10(row.dx)) for row in rows if row.eps <= 1 and 0 < row.dx < np.inf]
    if len(points) < 2:
        return None
    steps, errors = np.array(points).T
    return float(np.polyfit(steps, errors, 1)[0])
