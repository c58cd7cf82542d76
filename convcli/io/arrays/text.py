"""Numbers as text: .csv, .tsv and .txt, one row per line; errors name the line.

A text is read twice: once to find the number of rows and columns and the type, and once to parse
them into an array of that size, some lines or a part of a long line at a time. Only these lines
are in memory.
"""

from __future__ import annotations

import codecs
import io
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError, LimitError
from convcli.io.codec import PLAIN, Codec, ReadRequest, WriteRequest
from convcli.io.data import Data
from convcli.io.streams import BufferedPipe
from convcli.limits import Limits, show_bytes

PIECE = 2**17
"""Approximate number of characters that are parsed at once."""

BLOCK = 2**18
"""Bytes that are searched for line ends at once."""

LINE_BYTES = 2**25
"""Bytes of a line of text at most: more than a million numbers with all their digits."""

PARSING = 4
"""Bytes of memory that parsing uses, at most, for each byte of text that is parsed at once."""

NUMBER_BYTES = 26
"""Bytes of a number as text at most, its separator included."""

PIECE_LINES = 2**11
"""Lines that are parsed at once, at most: a short one uses many times its characters' memory."""


class Survey(NamedTuple):
    """The shape of a text's numbers, and their separator (None: any blanks).

    whole: every number is an integer; wide: some of them may not fit int64.
    """

    rows: int
    columns: int
    separator: str | None
    whole: bool
    wide: bool

    @property
    def bytes(self) -> int:
        """Bytes of all numbers, 8 each."""
        return 8 * self.rows * self.columns


class _Line(NamedTuple):
    number: int
    text: str


def survey(stream: BinaryIO, name: str) -> Survey:
    r"""Read a text from its start, and return the shape and type of its numbers.

    Raises FileError if it is not UTF-8 or holds no numbers.

    >>> survey(io.BytesIO(b"# a table\n1;2\n\n3;4\n"), "table.csv")
    Survey(rows=2, columns=2, separator=';', whole=True, wide=False)
    """
    rows, columns, separator, whole, wide = 0, 0, None, True, False
    for line in _lines(stream, name):
        if not rows:
            separator = _separator(line.text)
            columns = _count(line.text, separator)
        rows += 1
        whole = whole and not _NO_INTEGERS.search(line.text)
        wide = wide or (whole and bool(_MAY_OVERFLOW.search(line.text)))
    if not rows:
        raise FileError(f"{name} holds no numbers", "expected at least one line of them")
    return Survey(rows, columns, separator, whole, wide)


def read_text(stream: BinaryIO, name: str, found: Survey) -> NDArray[Any]:
    r"""Parse numbers separated by tabs, semicolons, commas or blanks; # begins a comment.

    Returns (rows, columns), or (n,) for a single row or column: int64 if every number is an integer
    that fits, else float64. Raises FileError, which names the line, for ragged rows and for cells
    that are not numbers.

    >>> table = io.BytesIO(b"1.5;2\n3;4")
    >>> read_text(table, "table.csv", survey(table, "table.csv"))
    array([[1.5, 2. ],
           [3. , 4. ]])
    """
    if found.whole:
        with suppress(OverflowError):
            return _filled(stream, name, found, np.dtype(np.int64))
    return _filled(stream, name, found, np.dtype(np.float64))


def _filled(stream: BinaryIO, name: str, found: Survey, dtype: np.dtype[Any]) -> NDArray[Any]:
    table = np.empty((found.rows, found.columns), dtype)
    row = 0
    for lines in _pieces(stream, name):
        try:
            _fill(table[row : row + len(lines)], lines, found)
        except ValueError:
            raise _mistake(stream, name, found.separator) from None
        row += len(lines)
    if row != found.rows:
        raise FileError(
            f"{name} changed while it was read",
            f"expected {found.rows:,} rows, as at first",
            "try again",
        )
    return table.reshape(-1) if 1 in table.shape else table


def _fill(table: NDArray[Any], rows: list[str], found: Survey) -> None:
    """Parse rows of text into a table (rows, columns); raise ValueError for ragged rows."""
    parts = [rows] if len(rows) > 1 else ([part] for part in _split(rows[0], found.separator))
    column = 0
    for lines in parts:
        numbers = _parse(lines, found, table.dtype)
        table[:, column : column + numbers.shape[1]] = numbers
        column += numbers.shape[1]
    if column != found.columns:
        raise ValueError("rows of different lengths")


def _split(row: str, separator: str | None) -> Iterator[str]:
    """Yield a row in parts of about PIECE characters, each of whole cells.

    >>> [len(part) for part in _split("1," * 100_000 + "1", ",")]
    [131071, 68929]
    """
    start = 0
    while (
        len(row) - start > PIECE
        and (end := row.rfind(separator or " ", start, start + PIECE)) > start
    ):
        yield row[start:end]
        start = end + 1
    yield row[start:]


def _parse(rows: list[str], found: Survey, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the numbers of some rows of equal length.

    Raises ValueError for an invalid cell, OverflowError for a wide integer. numpy parses three
    times as fast as Python, in a quarter of the memory, but it reads wide integers as floats and
    skips blank rows.
    """
    if not all(map(str.strip, rows)):
        raise ValueError("an empty cell")
    if found.wide and dtype == np.int64:
        return np.array([list(map(int, row.split(found.separator))) for row in rows], dtype)
    return np.loadtxt(rows, dtype, comments=None, delimiter=found.separator, ndmin=2)


def _pieces(stream: BinaryIO, name: str) -> Iterator[list[str]]:
    """Yield the lines in lists of about PIECE characters."""
    rows: list[str] = []
    held = 0
    for line in _lines(stream, name):
        rows.append(line.text)
        held += len(line.text)
        if held >= PIECE or len(rows) == PIECE_LINES:
            yield rows
            rows, held = [], 0
    if rows:
        yield rows


def _lines(stream: BinaryIO, name: str) -> Iterator[_Line]:
    """Yield the lines from the start of the text, numbered from one, without empty ones."""
    stream.seek(0)
    text = io.TextIOWrapper(stream, "utf-8-sig")
    try:
        for number, line in enumerate(text, 1):
            content = line.partition("#")[0].strip(" \n")
            if content.strip():
                yield _Line(number, content)
    except UnicodeDecodeError:
        raise _undecodable(stream, name) from None
    finally:
        text.detach()


def _undecodable(stream: BinaryIO, name: str) -> FileError:
    """Return the error that names the first byte that is not UTF-8, and its offset in the file."""
    stream.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    while True:
        block, pending = stream.read(PIECE), len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            wrong = error.object[error.start]
            return FileError(
                f"{name} is not UTF-8 text",
                f"byte {offset - pending + error.start} is {wrong:#04x}",
            )
        if not block:
            return FileError(
                f"{name} changed while it was read", "expected it as at first", "try again"
            )
        offset += len(block)


def _separator(line: str) -> str | None:
    """Return the separator of a first line; None for any blanks.

    Semicolons come before commas, which may be decimal commas.

    >>> _separator("1;2"), _separator("1, 2"), _separator("1  2")
    (';', ',', None)
    """
    return next((mark for mark in "\t;," if mark in line.strip()), None)


_WORD = re.compile(r"\S+")
_NO_INTEGERS = re.compile(r"[^\d\s,;+-]")
_MAY_OVERFLOW = re.compile(r"\d{19}")


def _count(row: str, separator: str | None) -> int:
    return row.count(separator) + 1 if separator else sum(1 for _ in _WORD.finditer(row))


def _cells(row: str, separator: str | None) -> Iterator[str]:
    """Yield the cells of a row one by one: a list of them needs thirty times the row's memory.

    >>> list(_cells(";1;;2", ";")), list(_cells("1  2", None))
    (['', '1', '', '2'], ['1', '2'])
    """
    if separator is None:
        return (found[0] for found in _WORD.finditer(row))
    return (found[1] for found in re.finditer(f"(?:^|{separator})([^{separator}]*)", row))


def _mistake(stream: BinaryIO, name: str, separator: str | None) -> FileError:
    """Return the error for a text that does not parse.

    In this order: words in the first line, rows of different lengths, cells that are not numbers.
    """
    first = next(_lines(stream, name))
    if error := _header(name, first, separator):
        return error
    for line in _lines(stream, name):
        if error := _ragged(name, line, separator, first):
            return error
    for line in _lines(stream, name):
        if error := _misread(name, line, separator):
            return error
    return FileError(f"{name} cannot be read as numbers", "expected plain decimal ones")


def _header(name: str, line: _Line, separator: str | None) -> FileError | None:
    if any(map(_is_number, _cells(line.text, separator))) or not line.text.strip(f" {separator}"):
        return None
    given = f"{name} begins with words on line {line.number}, '{_short(line.text)}'"
    return FileError(given, "expected numbers", "remove the header, or begin it with #")


def _ragged(name: str, line: _Line, separator: str | None, first: _Line) -> FileError | None:
    count, expected = _count(line.text, separator), _count(first.text, separator)
    if count == expected:
        return None
    given = f"{name} has {count} value{'s' * (count != 1)} on line {line.number}"
    return FileError(
        given, f"expected {expected}, as on line {first.number}", "make the rows equally long"
    )


def _misread(name: str, line: _Line, separator: str | None) -> FileError | None:
    wrong = next((cell for cell in _cells(line.text, separator) if not _is_number(cell)), None)
    if wrong is None:
        return None
    given = f"'{_short(wrong.strip())}'" if wrong.strip() else "an empty value"
    return FileError(f"{name} has {given} on line {line.number}", "expected a number")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000 as 1000


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def write_text(stream: BinaryIO, array: NDArray[Any], separator: str) -> None:
    """Encode (n,) as one number per line, or (rows, columns) as one row per line.

    Numbers have enough digits to be read back exactly; booleans are written as 0 and 1.
    """
    plain = array.astype(np.uint8) if array.dtype == bool else array
    for row in plain.reshape(len(plain), -1):
        stream.write((separator.join(map(repr, row.tolist())) + "\n").encode("ascii"))


def parsing_bytes(stream: BinaryIO, name: str, limits: Limits) -> int:
    """Return the bytes that parsing a text needs at most, besides its numbers.

    The stream is read to its end and then set to its start. Raises LimitError for a line longer
    than LINE_BYTES, and as soon as the numbers, at least one per line, would need more memory than
    the limits allow.
    """
    size = longest = unbroken = lines = 0
    while block := stream.read(BLOCK).replace(b"\r", b"\n"):
        size += len(block)
        lines += block.count(b"\n")
        # Lines within the block are shorter than it and do not matter.
        first, newline, rest = block.partition(b"\n")
        longest = max(longest, unbroken + len(first))
        unbroken = len(rest) - rest.rfind(b"\n") - 1 if newline else unbroken + len(block)
        if longest > LINE_BYTES:
            raise LimitError(
                f"{name} has a line of more than {show_bytes(LINE_BYTES)}",
                "expected a row of numbers",
                "write fewer numbers per line, or a .npy file",
            )
        limits.check_memory(name, PARSING * min(size, max(longest, BLOCK)) + 8 * lines)
    stream.seek(0)
    return PARSING * min(size, max(longest, BLOCK))


class Text(Codec):
    """Numbers as text, with the separator of the format's row."""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        parsing = parsing_bytes(stream, request.name, request.limits)
        found = survey(stream, request.name)
        held = stream.held if isinstance(stream, BufferedPipe) else 0
        request.limits.check_memory(request.name, held + parsing + found.bytes)
        return self.make_data(
            read_text(stream, request.name, found), request, decoding=parsing + found.bytes
        )

    def holds(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> str:
        if dtype.itemsize > 8:
            return self.refuse_dtype(dtype)
        return super().holds(dtype, shape, request)

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        write_text(stream, array, self.form.separator)

    def encoding_bytes(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> int:
        return 0

    def file_bytes(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
        return NUMBER_BYTES * math.prod(shape)
