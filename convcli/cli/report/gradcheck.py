"""A gradient check, as a verdict, tables, a plot and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from convcli.cli.report.progress import elapsed
from convcli.cli.report.table import Column, table
from convcli.cli.report.terminal import coloured, dim, labelled, verdict_lines, width, wrapped
from convcli.cli.report.text import bar, finite, finite_lists
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
"""The relative error at which the bars of a sweep begin."""


def gradcheck_lines(
    report: GradcheckReport, operands: str, seconds: float, *, verbose: bool = False
) -> list[str]:
    """Describe a check: the verdict, and the tests of each gradient.

    If a gradient is wrong, or if verbose is set, the worst entries follow.

    operands: the input and the kernel in words. seconds: the time that it took.
    """
    detailed = verbose or bool(report.mismatches)
    steps = ", ".join(dict.fromkeys(f"{check.step:g}" for check in report.checks))
    run = f"step {steps}, seed {report.seed}"
    rows = [
        ("checked", operands),
        ("loss", f"sum(dy * y), y {show(report.output_shape)}, {report.dtype}, {run}"),
    ]
    if report.broken is not None:
        rows.append(("broken", f"one entry of {report.broken} was corrupted on purpose"))
    lines = [
        *_verdict_lines(report),
        *labelled(rows, indent=""),
        "",
        *_table_of_tests(report, detailed),
    ]
    if detailed:
        for check in report.checks:
            lines += ["", _title(check), *_table_of_worst(check)]
    if report.sweep is not None:
        lines += [
            "",
            "the error |analytic - numeric| / |analytic| at other steps, and on a curved loss",
        ]
        lines += [*_table_of_sweep(report.sweep), *_moral(report.sweep)]
    more = (
        ""
        if detailed
        else "; -v shows the quantiles, the worst entries, and both sides of each test"
    )
    return [*lines, "", *_legend(), *wrapped(f"took {elapsed(seconds)}{more}", width())]


def _verdict_lines(report: GradcheckReport) -> list[str]:
    """Return passed or FAILED in its colour, and the worst entry of a wrong gradient."""
    if report.passed:
        return verdict_lines("passed", "dx, dw and db pass every test")
    wrong = next((row for row in report.checks if not row.passed and not row.drowned), None)
    text = "; ".join(report.failures)
    if wrong is not None and wrong.worst:
        entry = wrong.worst[0]
        at = ",".join(map(str, entry.index))
        text += f"; look at {wrong.name}[{at}]: "
        text += f"analytic {entry.analytic:.6g}, numeric {entry.numeric:.6g}"
    return verdict_lines("FAILED", text)


def _legend() -> list[str]:
    """Return the meaning of the numbers, and the thresholds of the verdicts."""
    limits = ", ".join(f"{name} {limit}" for name, limit in _limits().items())
    texts = (
        "relative error: |analytic - numeric| / max(|analytic|, |numeric|)",
        limits,
        "The map is linear, so the central difference is exact up to rounding.",
    )
    return [dim(line) for text in texts for line in wrapped(text, width())]


def _table_of_tests(report: GradcheckReport, detailed: bool) -> list[str]:
    """Return a column for each gradient: central differences, adjoint test, and both paths."""
    paths = {path.name: path for path in report.paths}
    found = [
        _check_rows(check) | _adjoint_rows(test) | _path_rows(paths.get(check.name))
        for check, test in zip(report.checks, report.adjoint, strict=True)
    ]
    labels = [label for label in found[0] if detailed or label in BRIEF]
    columns = [Column("gradient", labels, left=True, least=16)]
    columns += [
        Column(check.name, [rows[label] for label in labels])
        for check, rows in zip(report.checks, found, strict=True)
    ]
    return table(columns)


BRIEF = (
    "shape",
    "checked",
    "largest relative error",
    "central differences",
    "adjoint test",
    "engine and A' dy",
)
"""The rows of a check that passed."""


def _check_rows(check: TensorCheck) -> dict[str, str]:
    quantiles = zip(QUANTILES, check.quantiles, strict=True)
    return {
        "shape": show(check.shape),
        "checked": f"{len(check.entries):,} of {math.prod(check.shape):,}",
        "largest absolute error": f"{check.largest_absolute:.1e}",
        "  round-off up to": f"{check.round_off:.1e}",
        "largest relative error": f"{check.largest_relative:.1e}",
        **{
            f"  {100 * quantile:g}% of entries within": f"{error:.1e}"
            for quantile, error in quantiles
        },
        "cosine similarity": f"{check.cosine:.9g}",
        "central differences": coloured(check.verdict, check.passed),
    }


def _adjoint_rows(test: AdjointTest) -> dict[str, str]:
    return {
        "<A v, dy>": f"{test.left:.9g}",
        "<v, A' dy>": f"{test.right:.9g}",
        "gap / (|A v| |dy|)": f"{test.gap:.1e}",
        "adjoint test": coloured("holds" if test.passed else "BROKEN", test.passed),
    }


def _path_rows(path: PathTest | None) -> dict[str, str]:
    """Return the cells of the second path; dashes if its matrix was too large."""
    if path is None:
        return {"matrix A": "too large", "gap / largest entry": "-", "engine and A' dy": "-"}
    return {
        "matrix A": show(path.matrix),
        "gap / largest entry": f"{path.gap:.1e}",
        "engine and A' dy": coloured("agree" if path.passed else "DISAGREE", path.passed),
    }


def _title(check: TensorCheck) -> str:
    few = len(check.worst)
    return f"{check.name}: the {few} worst entries" if few > 1 else f"{check.name}: its entry"


def _table_of_worst(check: TensorCheck) -> list[str]:
    """Return the worst entries, with the samples and the outputs that they are connected to."""
    return table(
        [
            Column(
                "at", [f"[{','.join(map(str, entry.index))}]" for entry in check.worst], left=True
            ),
            Column("analytic", [f"{entry.analytic:.7g}" for entry in check.worst]),
            Column("numeric", [f"{entry.numeric:.7g}" for entry in check.worst]),
            Column("rel error", [f"{entry.relative:.1e}" for entry in check.worst]),
            Column(
                "input window", [_spans(entry.window) for entry in check.worst], left=True, least=12
            ),
            Column(
                "outputs", [_spans(entry.outputs) for entry in check.worst], left=True, least=12
            ),
        ]
    )


def _table_of_sweep(sweep: Sweep) -> list[str]:
    """Return a row for each step; a bar has one block for every power of ten."""
    rows = sweep.rows
    return table(
        [
            Column("step", [f"{row.eps:.0e}" for row in rows]),
            *(
                Column(name, [f"{getattr(row, name):.0e}" for row in rows])
                for name in ("dx", "dw", "db")
            ),
            Column(
                "linear: dx",
                [f"{_bar(row.dx):<18}{row.dx:.0e}" for row in rows],
                left=True,
            ),
            Column(
                "curved, sum(y^3) / 3: dx",
                [f"{_bar(row.curved):<18}{row.curved:.0e}" for row in rows],
                left=True,
            ),
        ]
    )


def _limits() -> dict[str, str]:
    """Return each threshold by the words for it."""
    words = {"good": "good up to", "suspect": "suspect above", "wrong": "wrong above"}
    words |= {"adjoint": "adjoint within", "paths": "matrix within"}
    return {words[name]: f"{limit:.0e}".replace("e-0", "e-") for name, limit in THRESHOLDS.items()}


def _moral(sweep: Sweep) -> list[str]:
    slope = "none" if sweep.slope is None else f"{sweep.slope:.2f}"
    texts = (
        f"slope of dx up to step 1, on logarithmic axes: {slope}; -1 means rounding error / step",
        "A linear map has no other error, so a large step is best.",
        "A curved loss adds an error proportional to step^2, so its error has a minimum.",
    )
    return [line for text in texts for line in wrapped(text, width())]


def _bar(error: float) -> str:
    if not error > SMALLEST:
        return ""
    return bar(math.log10(min(error, 1.0) / SMALLEST))


def _spans(spans: tuple[Span, ...] | None) -> str:
    """Format half-open ranges as Python does; indices below 0 and beyond the end are padding."""
    return "none" if spans is None else f"[{', '.join(f'{first}:{stop}' for first, stop in spans)}]"


def gradcheck_json(
    report: GradcheckReport, settings: Mapping[str, Any], *, arrays: bool = False
) -> dict[str, Any]:
    """Return the report as a record; `arrays`: with every checked entry and the whole arrays.

    settings: what was checked and how, as `convcli.jobs.gradcheck.settings` returns it.
    """
    record: dict[str, Any] = {
        **settings,
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
            {
                "name": test.name,
                "left": finite(test.left),
                "right": finite(test.right),
                "scale": finite(test.scale),
            }
            | {"gap": finite(test.gap), "passed": test.passed}
            | ({"v": finite_lists(test.v)} if arrays else {})
            for test in report.adjoint
        ],
        "paths": [
            {
                "name": path.name,
                "matrix": list(path.matrix),
                "gap": finite(path.gap),
                "passed": path.passed,
            }
            | ({"gradient": finite_lists(path.gradient)} if arrays else {})
            for path in report.paths
        ],
        "sweep": None
        if report.sweep is None
        else {
            "slope": report.sweep.slope,
            "rows": [
                {name: finite(value) for name, value in row._asdict().items()}
                for row in report.sweep.rows
            ],
        },
    }
    if arrays:
        record["arrays"] = {name: finite_lists(array) for name, array in report.arrays}
        record["y"] = finite_lists(report.y)
    return record


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
        "round_off": finite(check.round_off),
        "quantiles": {
            f"{q:g}": finite(error) for q, error in zip(QUANTILES, check.quantiles, strict=True)
        },
        "cosine": finite(check.cosine),
        "worst": [_entry_json(entry) for entry in check.worst],
        "verdict": check.verdict,
        "passed": check.passed,
    }
    if arrays:
        for part in ("entries", "analytic", "numeric", "relative", "gradient"):
            row[part] = finite_lists(getattr(check, part))
    return row


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {name: finite(value) for name, value in vars(entry).items()}
