"""A gradient check, as tables, a plot and JSON."""

from __future__ import annotations

import math
from typing import Any

from rich.table import Table
from rich.text import Text

from convcli.cli.report.text import bar, finite, make_console
from convcli.grad.records import (
    QUANTILES,
    THRESHOLDS,
    AdjointTest,
    Entry,
    GradcheckReport,
    PathTest,
    Span,
    Sweep,
    TensorCheck,
)
from convcli.shapes.parse import show

SMALLEST = 1e-17
"""Where the bars of a sweep begin."""


def print_gradcheck(report: GradcheckReport) -> None:
    """Print the tests of each gradient, the worst entries, the sweep and the verdict."""
    console = make_console()
    steps = ", ".join(dict.fromkeys(f"{check.step:g}" for check in report.checks))
    console.print(
        f"loss = sum(dy * y), y {show(report.output_shape)}, {report.dtype}, step {steps}, seed {report.seed}"
    )
    if report.broken is not None:
        console.print(f"one entry of {report.broken} has been made wrong on purpose")
    console.print(_table_of_tests(report))
    for check in report.checks:
        console.print(f"\n{_title(check)}")
        console.print(_table_of_worst(check))
    if report.sweep is not None:
        console.print("\nthe error |analytic - numeric| / |analytic| at other steps, and on a curved loss")
        console.print(_table_of_sweep(report.sweep))
        for line in _moral(report.sweep):
            console.print(line)
    console.print(
        f"\n{'passed' if report.passed else 'FAILED'}: relative error |a - n| / max(|a|, |n|); "
        + ", ".join(f"{name} {limit}" for name, limit in _limits().items())
    )
    console.print("The map is linear, so the central difference is exact but for round-off.")


def _table_of_tests(report: GradcheckReport) -> Table:
    """Return a column for each gradient: central differences, adjoint test, and both paths."""
    table = Table(box=None, pad_edge=False)
    table.add_column("gradient", overflow="fold")
    for check in report.checks:
        table.add_column(check.name, justify="right", overflow="fold")
    paths = {path.name: path for path in report.paths}
    columns = [
        _check_rows(check) | _adjoint_rows(test) | _path_rows(paths.get(check.name))
        for check, test in zip(report.checks, report.adjoint, strict=True)
    ]
    for label in columns[0]:
        table.add_row(label, *(column[label] for column in columns))
    return table


def _check_rows(check: TensorCheck) -> dict[str, str | Text]:
    quantiles = zip(QUANTILES, check.quantiles, strict=True)
    return {
        "shape": show(check.shape),
        "checked": f"{len(check.entries):,} of {math.prod(check.shape):,}",
        "largest absolute error": f"{check.largest_absolute:.1e}",
        "largest relative error": f"{check.largest_relative:.1e}",
        **{f"  {100 * quantile:g}% of entries within": f"{error:.1e}" for quantile, error in quantiles},
        "cosine similarity": f"{check.cosine:.9g}",
        "central differences": _verdict(check.verdict, check.passed),
    }


def _adjoint_rows(test: AdjointTest) -> dict[str, str | Text]:
    return {
        "<A v, dy>": f"{test.left:.9g}",
        "<v, A' dy>": f"{test.right:.9g}",
        "apart by, of |A v| |dy|": f"{test.gap:.1e}",
        "adjoint test": _verdict("holds" if test.passed else "BROKEN", test.passed),
    }


def _path_rows(path: PathTest | None) -> dict[str, str | Text]:
    """Return the cells of the second path; dashes if its matrix was too large."""
    if path is None:
        return {"matrix A": "too large", "apart by, of the largest": "-", "engine and A' dy": "-"}
    return {
        "matrix A": show(path.matrix),
        "apart by, of the largest": f"{path.gap:.1e}",
        "engine and A' dy": _verdict("agree" if path.passed else "DISAGREE", path.passed),
    }


def _title(check: TensorCheck) -> str:
    few = len(check.worst)
    return f"{check.name}: the {few} worst entries" if few > 1 else f"{check.name}: its entry"


def _table_of_worst(check: TensorCheck) -> Table:
    """Return the worst entries, with the samples and the outputs that they are connected to."""
    table = _table("at", "analytic", "numeric", "rel error", "input window", "outputs")
    for entry in check.worst:
        table.add_row(
            Text(f"[{','.join(map(str, entry.index))}]"),
            f"{entry.analytic:.7g}",
            f"{entry.numeric:.7g}",
            f"{entry.relative:.1e}",
            _spans(entry.window),
            _spans(entry.outputs),
        )
    return table


def _table_of_sweep(sweep: Sweep) -> Table:
    """Return a row for each step; a bar has one block for every power of ten."""
    table = _table("step", "dx", "dw", "db", "linear, as it is: dx", "curved, sum(y^3) / 3: dx")
    for row in sweep.rows:
        table.add_row(
            f"{row.eps:.0e}",
            *(f"{error:.0e}" for error in (row.dx, row.dw, row.db)),
            *(f"{_bar(error):<18}{error:.0e}" for error in (row.dx, row.curved)),
        )
    return table


def _limits() -> dict[str, str]:
    """Return each threshold by the words for it."""
    words = {"good": "good up to", "suspect": "suspect above", "wrong": "wrong above"}
    words |= {"adjoint": "adjoint within", "paths": "matrix within"}
    return {words[name]: f"{limit:.0e}".replace("e-0", "e-") for name, limit in THRESHOLDS.items()}


def _moral(sweep: Sweep) -> list[str]:
    slope = "none" if sweep.slope is None else f"{sweep.slope:.2f}"
    return [
        f"slope of dx up to step 1, both axes logarithmic: {slope}; it is -1 where round-off, over the step, is all",
        "A linear map has nothing else, so a large step is best; a curved loss adds an error as step^2, and has a V.",
    ]


def _bar(error: float) -> str:
    if not error > SMALLEST:
        return ""
    return bar(math.log10(min(error, 1.0) / SMALLEST))


def _spans(spans: tuple[Span, ...] | None) -> Text:
    """Format half-open ranges as Python does; indices below 0 and beyond the end are padding."""
    return Text("none" if spans is None else f"[{', '.join(f'{first}:{stop}' for first, stop in spans)}]")


def _verdict(word: str, passed: bool) -> Text:
    return Text(word, style="green" if passed else "bold red")


def _table(*names: str) -> Table:
    """Return a table with words and bars to the left, numbers to the right."""
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name in _WORDS else "right", overflow="fold")
    return table


_WORDS = ("at", "input window", "outputs", "linear, as it is: dx", "curved, sum(y^3) / 3: dx")


# JSON.


def gradcheck_json(report: GradcheckReport, *, arrays: bool = False) -> dict[str, Any]:
    """Return the report as a record; `arrays`: with every checked entry and the whole arrays."""
    record: dict[str, Any] = {
        "passed": report.passed,
        "failures": list(report.failures),
        "thresholds": THRESHOLDS,
        "eps": report.eps,
        "seed": report.seed,
        "dtype": report.dtype,
        "output": list(report.output_shape),
        "broken": report.broken,
        "checks": [_check_json(check, arrays=arrays) for check in report.checks],
        "adjoint": [
            {"name": test.name, "left": finite(test.left), "right": finite(test.right)}
            | {"gap": finite(test.gap), "passed": test.passed}
            for test in report.adjoint
        ],
        "paths": [
            {"name": path.name, "matrix": list(path.matrix), "gap": finite(path.gap), "passed": path.passed}
            | ({"gradient": _numbers(path.gradient)} if arrays else {})
            for path in report.paths
        ],
        "sweep": None
        if report.sweep is None
        else {
            "slope": report.sweep.slope,
            "rows": [{name: finite(value) for name, value in row._asdict().items()} for row in report.sweep.rows],
        },
    }
    return record | ({"arrays": {name: _numbers(array) for name, array in report.arrays}} if arrays else {})


def _check_json(check: TensorCheck, *, arrays: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": check.name,
        "shape": list(check.shape),
        "dtype": str(check.gradient.dtype),
        "step": check.step,
        "checked": len(check.entries),
        "total": math.prod(check.shape),
        "largest_absolute": finite(check.largest_absolute),
        "largest_relative": finite(check.largest_relative),
        "quantiles": {f"{q:g}": finite(error) for q, error in zip(QUANTILES, check.quantiles, strict=True)},
        "cosine": finite(check.cosine),
        "worst": [_entry_json(entry) for entry in check.worst],
        "verdict": check.verdict,
        "passed": check.passed,
    }
    if arrays:
        for part in ("entries", "analytic", "numeric", "relative", "gradient"):
            row[part] = _numbers(getattr(check, part))
    return row


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {name: finite(value) for name, value in vars(entry).items()}


def _numbers(array: Any) -> Any:
    """Return an array as nested lists, with null for what JSON cannot hold."""
    if array.ndim == 0:
        return array.tolist()
    if array.ndim == 1:
        return [finite(value) for value in array.tolist()]
    return [_numbers(part) for part in array]
