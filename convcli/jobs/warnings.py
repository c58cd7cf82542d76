"""Warnings of a run of `apply`: each is one line, and ends with its remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.io import Data, lookup
from convcli.jobs.apply_plan import ApplyPlan, KernelPass
from convcli.jobs.postprocess import Ledger, share

ZERO_SUM = 1e-6
"""A kernel's sum, relative to the sum of its magnitudes, up to which it counts as zero."""

DARK = 1 / 8
"""Fraction of an integer type's range, 32 of 256 levels, below which a picture looks black."""

TABLE_ROWS = 8
"""Rows of the smallest table whose first column is checked for counting up."""


def input_warnings(data: Data) -> Iterator[str]:
    """Yield the warnings about an input and how it is read."""
    yield from data.all_warnings
    if lookup(data.format).separator and data.array.ndim == 2 and _counts_up(data.array):
        given = f"the first column of {data.name} counts up, as times do, and is filtered as well"
        yield f"{given}; remove it first, such as with cut"


def _counts_up(table: NDArray[Any]) -> bool:
    """Return whether a table has more rows than columns, and only its first column increases."""
    rows, columns = table.shape
    if rows < TABLE_ROWS or not 1 < columns < rows:
        return False
    first, *others = (bool((np.diff(column) > 0).all()) for column in table.T)
    return first and not all(others)


def value_warnings(plan: ApplyPlan, ledger: Ledger) -> Iterator[str]:
    """Yield at most one warning about the values that were written."""
    if plan.dtype.kind not in "iu" or ledger.policy != "clip":
        return
    clipped = ledger.below + ledger.above
    top = int(np.iinfo(plan.dtype).max)
    if zero_sum := lost_signs(plan, ledger):
        spread = "rescale" if ledger.high - ledger.low < top / 4 else "offset"
        lost = f"{share(ledger.below, ledger.total)} of the values are below 0 and lost"
        yield f"{lost}, {zero_sum} sums to 0; use --range {spread}"
    elif clipped > ledger.total / 2:
        gains = not plan.request.normalize and any(_gain(part) > 1.5 for part in plan.passes)
        option = "--normalize" if gains else "--range rescale"
        yield f"{share(clipped, ledger.total)} of the values do not fit {plan.dtype}; use {option}"
    else:
        yield from _flat(plan, ledger)


def lost_signs(plan: ApplyPlan, ledger: Ledger) -> str:
    """Return the kernel that sums to zero and whose results below 0 were clipped, or ""."""
    options = plan.request.postprocess
    clips = plan.dtype.kind == "u" and ledger.policy == "clip" and ledger.below
    if not clips or options.bias or options.combine == "magnitude":
        return ""
    return next((part.kernel.name for part in plan.passes if _gain(part) <= ZERO_SUM), "")


def _gain(part: KernelPass) -> float:
    """Return the sum of one output's taps, divided by the sum of their magnitudes if below 1."""
    w = part.problem.w.astype(np.float64)
    taps = w.reshape(1 if part.problem.filters is None else len(w), -1)
    sums = np.abs(taps.sum(axis=1)).max()
    return float(sums / max(min(np.abs(taps).sum(axis=1).max(), 1.0), np.finfo(float).tiny))


def _flat(plan: ApplyPlan, ledger: Ledger) -> Iterator[str]:
    """Yield a warning if a picture becomes nearly black or white, and was not before."""
    data = plan.data
    if data.kind != "image" or data.array.dtype != plan.dtype or np.isnan(ledger.low):
        return
    top = int(np.iinfo(plan.dtype).max)
    samples = data.array[..., :-1] if data.alpha else data.array
    most = int(np.iinfo(samples.dtype).max)
    if ledger.high < DARK * top and samples.max() > most / 2:
        high = max(ledger.high, 0.0)
        yield f"nearly black: no value is above {high:.3g} of {top}; use --range rescale"
    elif ledger.low > (1 - DARK) * top and samples.min() < most / 2:
        low = min(ledger.low, float(top))
        yield f"nearly white: no value is below {low:.3g} of {top}; use --range rescale"


def remedy(warning: str) -> str:
    """Return the remedy at the end of a warning, which warnings of one kind have in common.

    >>> remedy("90 % of the values do not fit uint8; use --normalize")
    'use --normalize'
    """
    return warning.rpartition("; ")[2]


def dropped_warnings(dropped: Sequence[str]) -> Iterator[str]:
    """Yield one warning that lists the metadata that the output lacks, grouped by reason.

    >>> list(dropped_warnings(["text: jpg holds none", "gAMA: jpg holds none", "time: it is old"]))
    ['not kept: text, gAMA: jpg holds none; time: it is old']
    """
    names: dict[str, list[str]] = {}
    for what in dropped:
        name, _, why = what.partition(": ")
        names.setdefault(why, []).append(name)
    if dropped:
        yield "not kept: " + "; ".join(f"{', '.join(group)}: {why}" for why, group in names.items())
