"""The table of formats: for a terminal, as Markdown, and as JSON."""

from __future__ import annotations

from typing import Any, NamedTuple

from rich.table import Table

from convcli.io import Format, available, formats
from convcli.report.text import make_console

TITLES = ("format", "suffixes", "read as", "written (channels)", "needs")


class Row(NamedTuple):
    """One format in words, the same on every installation; `written` has the channel counts of each number type."""

    format: str
    suffixes: str
    read_as: str
    written: str
    needs: str


def row(form: Format) -> Row:
    """What is told of a format.

    >>> from convcli.io import lookup
    >>> row(lookup("jpg"))[2:]
    ('uint8', 'uint8 (1, 3)', 'Pillow with jpg')
    """
    needs = f"convcli[{form.extra}]" if form.extra else f"Pillow with {form.codec}" if form.codec else ""
    return Row(form.name, " ".join(form.suffixes), form.read_as, _written(form), needs)


def _written(form: Format) -> str:
    if not form.writable:
        return "no"
    if form.kind == "array":
        return form.contents
    return ", ".join(f"{dtype} ({_counted(counts)})" for dtype, counts in form.channels.items())


def _counted(counts: tuple[int, ...]) -> str:
    """Channel counts, in short.

    >>> _counted((1, 2, 3, 4)), _counted((1, 3)), _counted((1,))
    ('1-4', '1, 3', '1')
    """
    run = tuple(range(counts[0], counts[-1] + 1))
    return f"{run[0]}-{run[-1]}" if len(run) > 2 and run == counts else ", ".join(map(str, counts))


def print_formats() -> None:
    """One row for each format; what it needs is followed by whether that is missing."""
    table = Table(box=None, pad_edge=False)
    for title in TITLES:
        table.add_column(title, style="bold" if title == "format" else "", no_wrap=title in ("format", "needs"))
    for form in formats():
        told = row(form)
        table.add_row(*told[:-1], told.needs + ("" if available(form) else ": not installed"))
    make_console().print(table)


def markdown() -> str:
    """The table of README."""
    lines = [TITLES, ["---"] * len(TITLES), *map(row, formats())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def formats_json() -> dict[str, Any]:
    return {
        "formats": [
            {
                "name": form.name,
                "suffixes": list(form.suffixes),
                "kind": form.kind,
                "reads": list(form.reads),
                "writes": {dtype: list(counts) for dtype, counts in form.channels.items()},
                "max_axes": form.max_ndim if form.kind == "array" else None,
                "writable": form.writable,
                "needs": row(form).needs,
                "available": available(form),
            }
            for form in formats()
        ]
    }
