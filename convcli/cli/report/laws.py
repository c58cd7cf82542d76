"""The report of the laws: a verdict, each law, a table of all statements, and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from convcli.cli.report.progress import elapsed
from convcli.cli.report.table import Column, table
from convcli.cli.report.terminal import bold, coloured, dim, labelled, verdict_lines, width, wrapped
from convcli.cli.report.text import (
    axis_json,
    axis_names,
    described,
    finite,
    formula,
    place,
    written_json,
)
from convcli.io import Written
from convcli.learn.laws import Finding, LawsResult, Row
from convcli.learn.laws.mistakes import MISTAKES
from convcli.shapes.parse import counted, show

WORDS = {
    "holds": "holds",
    "differs": "differs, as it must",
    "agrees": "agrees, though it need not",
    "FAILED": "FAILED",
}
"""How each verdict of a statement is printed."""
SIDES = "left, right: the two sides where they differ most; bound: the largest rounding error"
SYMBOLS = (
    "f, g: one channel of the input and of the kernel; x, w: all channels; conv: the layer; "
    "L: with a bias; R: with relu; *: convolution; z, h, dy: random numbers; "
    "f': the derivative (f[i+1] - f[i-1]) / 2; "
    "G(s): a sampled Gaussian of sigma s"
)


class Style(NamedTuple):
    """How the laws are shown: with every statement, and which columns (None: all that fit)."""

    verbose: bool = False
    columns: Sequence[str] | None = None


def laws_lines(
    result: LawsResult, written: Written | None, seconds: float, style: Style
) -> list[str]:
    """Describe the laws: the verdict, the setting, and each law with its meaning.

    All statements are listed if one failed, or if the style asks for them.
    """
    detailed = bool(style.verbose or style.columns or result.failed)
    room = width()
    lines = [*_verdict(result), *labelled(_head(result, written), indent=""), ""]
    if detailed:
        lines += _statements(result, style.columns)
        lines += [dim(line) for text in (SIDES, SYMBOLS) for line in wrapped(text, room)]
    else:
        lines += [line for found in result.findings for line in _summary(found)]
    more = "" if detailed else "; -v shows both sides of every statement"
    return [*lines, *wrapped(f"took {elapsed(seconds)}{more}", room)]


def laws_json(result: LawsResult, written: Written | None) -> dict[str, Any]:
    operands = result.operands
    setting = result.setting
    matrix = result.matrix
    return {
        "passed": not result.failed,
        "input": {
            "name": operands.data.name,
            "shape": list(operands.conv_layout.shape),
            "used": list(setting.spatial),
            "notes": list(operands.data.notes),
        },
        "kernel": {"name": operands.kernel.name, "shape": list(operands.conv_layout.kernel)},
        "op": setting.op,
        "seed": setting.seed,
        "axes": [axis_json(axis) for axis in setting.axes],
        "boundary": setting.spec.boundary,
        "cval": setting.spec.cval,
        "groups": setting.spec.groups,
        "broken": result.broken,
        "matrix": {**vars(matrix), "dense_parameters": matrix.dense_parameters},
        "written": written_json(written),
        "laws": [
            {"name": found.law.name, "meaning": found.law.meaning, "why": found.law.why}
            | {"rows": [_row_json(row) for row in found.rows]}
            for found in result.findings
        ],
    }


def _row_json(row: Row) -> dict[str, Any]:
    measured = {name: finite(value) for name, value in vars(row).items()}
    return {**measured, "verdict": row.verdict, "passed": row.passed}


def _head(result: LawsResult, written: Written | None) -> list[tuple[str, str]]:
    """Return the setting: the operands, the sizes, the matrix, and where it was written."""
    operands = result.operands
    setting = result.setting
    matrix = result.matrix
    kernel = f"{operands.kernel.name} ({show(operands.conv_layout.kernel)})"
    rows = [
        (
            "laws",
            f"{described(operands.data)} with {kernel}",
        )
    ]
    if setting.spatial != operands.conv_layout.spatial:
        middle = f"the middle {show(setting.spatial)} of {show(operands.conv_layout.spatial)}"
        rows.append(("cropped", f"to {middle}; see --size"))
    rows += [
        (name, formula(axis))
        for name, axis in zip(axis_names(setting.dims), setting.axes, strict=True)
    ]
    values = "value" if matrix.distinct == 1 else "values"
    rows.append(
        (
            "matrix M",
            f"{show(matrix.shape)} on {show(setting.small.spatial)}: {matrix.density:.2%} nonzero, "
            f"{matrix.distinct} distinct {values}; "
            f"a dense layer has {matrix.dense_parameters:,} weights",
        )
    )
    if result.broken is not None:
        mistake = f"{MISTAKES[result.broken].meaning}, on purpose"
        rows.append(("broken", f"{result.broken}: {mistake}"))
    if written is not None:
        rows.append(("wrote", f"{place(written)} ({written.format}, {written.bytes:,} bytes)"))
    return rows


def _verdict(result: LawsResult) -> list[str]:
    if result.failed:
        text = f"{' and '.join(result.failed)}; look at the statements marked FAILED"
        return verdict_lines("FAILED", text)
    different = sum(row.verdict == "differs" for found in result.findings for row in found.rows)
    if result.broken is not None:
        text = f"the mistake in {result.broken} changes nothing on this input and kernel"
        return verdict_lines("passed", f"{text}; try random:3x3")
    text = f"all {len(result.findings)} laws hold up to rounding"
    if different:
        text += f"; {_counted(WORDS['differs'], different)}"
    return verdict_lines("passed", text)


def _summary(found: Finding) -> list[str]:
    """Describe a law that holds: its meaning, why it matters, and what differs."""
    room = width()
    meaning = f"{found.law.name}: {found.law.meaning}"
    first, *rest = wrapped(meaning, room, "  ")
    lines = [bold(found.law.name) + first.removeprefix(found.law.name), *rest]
    lines += (f"  {line}" for line in wrapped(found.law.why, width(indent=2)))
    counts = Counter(WORDS[row.verdict] for row in found.rows if row.verdict != "holds")
    equal = sum(row.verdict == "holds" for row in found.rows)
    parts = [
        f"{equal} of {counted(len(found.rows), 'statement')} {'holds' if equal == 1 else 'hold'}"
    ]
    parts += [_counted(word, count) for word, count in counts.items()]
    return [*lines, *(dim(f"  {line}") for line in wrapped("; ".join(parts), width(indent=2)))]


def _counted(word: str, count: int) -> str:
    """Write how many statements have a verdict.

    >>> _counted("differs, as it must", 1), _counted("differs, as it must", 3)
    ('1 differs, as it must', '3 differ, as they must')
    """
    if count > 1:
        word = word.replace("differs, as it", "differ, as they").replace(
            "agrees, though it", "agree, though they"
        )
    return f"{count} {word}"


def _statements(result: LawsResult, chosen: Sequence[str] | None) -> list[str]:
    """Return the table of all statements, with headings and notes between the rows."""
    rows = [row for found in result.findings for row in found.rows]
    between: dict[int, list[str]] = {}
    number = 0
    for found in result.findings:
        between.setdefault(number, []).extend(_heading(found))
        for row in found.rows:
            number += 1
            between[number] = _notes(row)
    columns = [
        Column("statement", [f"  {row.statement}" for row in rows], left=True, least=30),
        Column("left", [f"{row.left:.5g}" for row in rows], worth=2),
        Column("right", [f"{row.right:.5g}" for row in rows], worth=2),
        Column("difference", [f"{row.difference:.1e}" for row in rows], worth=3),
        Column("bound", [f"{row.bound:.1e}" for row in rows], worth=1),
        Column("verdict", [_coloured(row) for row in rows], left=True),
    ]
    return table(columns, chosen=chosen, between=between)


def _heading(found: Finding) -> list[str]:
    room = width()
    meaning = wrapped(f"{found.law.name}: {found.law.meaning}", room)
    return [*map(bold, meaning), *wrapped(found.law.why, room)]


def _notes(row: Row) -> list[str]:
    """Return the lines below a statement: its note, and where it failed."""
    notes = [row.note] if row.note else []
    if not row.passed:
        notes.append(f"largest difference at [{','.join(map(str, row.at))}]")
    return [dim(f"    {line}") for note in notes for line in wrapped(note, width(indent=4))]


def _coloured(row: Row) -> str:
    """Return a verdict: green if it holds, dim if it must differ, yellow if it agrees anyway."""
    word = WORDS[row.verdict]
    if row.verdict == "differs":
        return dim(word)
    if row.verdict == "agrees":
        return click.style(word, fg="yellow")
    return coloured(word, row.passed)
