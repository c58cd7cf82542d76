"""Numbers as text: .csv, .tsv and .txt, one row a line, every mistake named with its line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError


class _Line(NamedTuple):
    number: int
    text: str


def read_text(content: bytes, name: str) -> NDArray[Any]:
    r"""Parse numbers separated by tabs, semicolons, commas or blanks; # begins a comment.

    Returns (rows, columns), or (n,) for a single row or column: int64 where every number is an integer that fits,
    float64 otherwise. Raises FileError, naming the line, for ragged rows and for what is no number.

    >>> read_text(b"1 2 3", "row.txt"), read_text(b"1.5;2\n3;4", "table.csv")
    (array([1, 2, 3]), array([[1.5, 2. ],
           [3. , 4. ]]))
    """
    lines = list(_lines(_decoded(content, name)))
    if not lines:
        raise FileError(f"{name} holds no numbers", "expected at least one line of them")
    separator = _separator(lines[0].text)
    rows = [line.text.split(separator) for line in lines]
    _check_header(name, lines[0], rows[0])
    _check_widths(name, lines, rows)
    table = None if any("_" in line.text for line in lines) else _table(rows)  # Python reads 1_000 as 1000
    if table is None:
        raise _misread(name, lines, rows)
    return table.reshape(-1) if 1 in table.shape else table


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{name} is not UTF-8 text", f"byte {error.start} is {content[error.start]:#04x}") from error


def _lines(text: str) -> Iterator[_Line]:
    """The lines that hold something besides a comment, counted from one."""
    for number, line in enumerate(text.splitlines(), 1):
        kept = line.partition("#")[0].strip(" \r\n")
        if kept.strip():
            yield _Line(number, kept)


def _separator(line: str) -> str | None:
    """The separator of a first line: semicolons go before commas, which may be decimal ones; None is any blanks.

    >>> _separator("1;2"), _separator("1, 2"), _separator("1  2")
    (';', ',', None)
    """
    return next((mark for mark in "\t;," if mark in line.strip()), None)


def _check_header(name: str, line: _Line, cells: list[str]) -> None:
    if not any(_is_number(cell) for cell in cells) and any(cell.strip() for cell in cells):
        raise FileError(
            f"{name} begins with words on line {line.number}, '{_short(line.text)}'",
            "expected numbers",
            "remove the header, or begin it with #",
        )


def _check_widths(name: str, lines: list[_Line], rows: list[list[str]]) -> None:
    width = len(rows[0])
    for line, cells in zip(lines, rows, strict=True):
        if len(cells) != width:
            raise FileError(
                f"{name} has {_counted(len(cells))} on line {line.number}",
                f"expected {width}, as on line {lines[0].number}",
                "make the rows equally long",
            )


def _counted(values: int) -> str:
    return f"{values} value{'s' * (values != 1)}"


def _table(rows: list[list[str]]) -> NDArray[Any] | None:
    for parse, dtype in ((int, np.int64), (float, np.float64)):
        try:
            return np.array([list(map(parse, cells)) for cells in rows], dtype)
        except (ValueError, OverflowError):
            continue
    return None


def _misread(name: str, lines: list[_Line], rows: list[list[str]]) -> FileError:
    line, cell = next(
        (line, cell) for line, cells in zip(lines, rows, strict=True) for cell in cells if not _is_number(cell)
    )
    what = f"'{_short(cell.strip())}'" if cell.strip() else "an empty value"
    return FileError(f"{name} has {what} on line {line.number}", "expected a number")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def write_text(stream: BinaryIO, array: NDArray[Any], separator: str) -> None:
    """Encode (n,) as one number a line or (rows, columns) as one row a line.

    Every number has the digits that give back the same value: integers as integers, truth values as 0 and 1.
    """
    plain = array.astype(np.uint8) if array.dtype == bool else array
    for row in plain.reshape(len(plain), -1):
        stream.write((separator.join(map(repr, row.tolist())) + "\n").encode("ascii"))
