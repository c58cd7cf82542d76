"""The table of formats: for a terminal, as Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

from convcli.cli.report.table import Column, table
from convcli.cli.report.terminal import bold
from convcli.io import Extension, Format, all_formats, available, has
from convcli.io.formats import packages

_ANY = "any real numbers"
TITLES = ("format", "suffixes", "read as", "written (channels)", "needs")


class Row(NamedTuple):
    """A format, or what an extra adds to it, in words.

    written: the channel counts per number type.
    """

    format: str
    suffixes: str
    read_as: str
    written: str
    needs: str


def rows(form: Format) -> dict[Row, bool]:
    """Return the rows of a format, and whether the packages that each needs are installed.

    The rows are the same on every installation.

    >>> from convcli.io import lookup
    >>> [row[2:] for row in rows(lookup("png"))]
    [('uint8, uint16', 'uint8 (1-4), uint16 (1-4), bool (1)', 'Pillow with zlib'), \
('uint16 (2-4)', '', 'imagecodecs')]
    """
    read_as = _types(form.reads) or _ANY
    found = {
        Row(form.name, " ".join(form.suffixes), read_as, _written(form), _needs(form)): available(
            form
        )
    }
    if added := form.extension:
        types = _ANY if added.stacks else _pixels(added.channels)
        held = f"{_ANY} (any), pages as volumes" if added.stacks else ""
        found[Row(form.name, "", types, held, packages(added.extra))] = has(added.extra)
    return found


def _needs(form: Format) -> str:
    if form.extra:
        return packages(form.extra)
    if form.feature:
        return f"Pillow with {form.feature}"
    return f"package {form.package}" if form.package else ""


def _written(form: Format) -> str:
    if not form.writable:
        return "no"
    if form.channels:
        return ", ".join(filter(None, (_pixels(form.channels), form.note)))
    return f"{_types(form.dtypes) or _ANY} in up to {form.max_ndim} axes"


def _pixels(channels: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{dtype} ({_counted(tuple(counts))})" for dtype, counts in channels.items())


def _types(dtypes: Sequence[str]) -> str:
    """Abbreviate a list of number types.

    >>> _types(("uint8", "uint16", "uint32", "uint64", "float32", "float64"))
    'uint8-64, float32, float64'
    """
    found = []
    for kind, group in groupby(dtypes, lambda dtype: dtype.rstrip("0123456789")):
        names = list(group)
        found += [f"{names[0]}-{names[-1].removeprefix(kind)}"] if len(names) > 2 else names
    return ", ".join(found)


def _counted(counts: tuple[int, ...]) -> str:
    """Abbreviate a list of channel counts.

    >>> _counted((1, 2, 3, 4)), _counted((1, 3)), _counted((1,))
    ('1-4', '1, 3', '1')
    """
    run = tuple(range(counts[0], counts[-1] + 1))
    return f"{run[0]}-{run[-1]}" if len(run) > 2 and run == counts else ", ".join(map(str, counts))


WORTH = (0, 3, 1, 2, 4)
LEAST = (0, 10, 12, 16, 14)
"""The worth of each column of TITLES, and the widths down to which they wrap."""


def formats_lines(chosen: Sequence[str] | None, *, verbose: bool = False) -> list[str]:
    """Return one row per format, with the packages it needs; verbose: how it is recognised."""
    cells = [
        (*row[:-1], row.needs + ("" if there else ": not installed"))
        for form in all_formats()
        for row, there in rows(form).items()
    ]
    styled = zip(TITLES, zip(*cells, strict=True), WORTH, LEAST, strict=True)
    columns = [
        Column(title, cells, left=True, worth=worth, least=least)
        for title, cells, worth, least in styled
    ]
    columns[0] = replace(columns[0], cells=[bold(cell) for cell in columns[0].cells])
    if verbose:
        seen = [_signatures(form) for form in all_formats() for _ in rows(form)]
        columns.append(Column("recognised as", seen, left=True, worth=5, least=16))
    return table(columns, chosen=chosen)


def _signatures(form: Format) -> str:
    """Describe the first bytes by which a format is recognised."""
    return ", ".join(dict.fromkeys(form.signatures.values())) or "by its suffix alone"


def format_names() -> list[str]:
    """Return the name of every format."""
    return [form.name for form in all_formats()]


def markdown() -> str:
    """Return the guide's table of convcli's own formats."""
    own = [form for form in all_formats() if not form.package]
    lines = [TITLES, ["---"] * len(TITLES), *(row for form in own for row in rows(form))]
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
                "needs": _needs(form),
                "available": available(form),
                "beyond": None if form.extension is None else _extension_json(form.extension),
            }
            for form in all_formats()
        ]
    }


def _extension_json(added: Extension) -> dict[str, Any]:
    channels = {dtype: [min(counts), max(counts)] for dtype, counts in added.channels.items()}
    return {
        "needs": packages(added.extra),
        "available": has(added.extra),
        "reads": channels,
        "writes": channels if added.stacks else {},
        "volumes": added.stacks,
    }
