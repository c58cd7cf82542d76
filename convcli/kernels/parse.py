"""Parse kernels written as text: rows of numbers, JSON, ImageMagick's and vips's forms.

Every parser returns float64 taps, or raises a KernelError that names the row and what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from convcli.errors import KernelError
from convcli.kernels.model import MAX_DIMS, Taps, limit_taps

_DECIMAL = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER = re.compile(rf"({_DECIMAL})(?:/({_DECIMAL}))?", re.ASCII)
_PART = re.compile(rf"(?:{_DECIMAL})?/(?:{_DECIMAL})?", re.ASCII)
"""A part of a fraction that contains spaces, as `1 / 9`; next to a number, it is no file."""
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_BETWEEN_ENTRIES = re.compile(r"\s+(?:,\s*)?|,\s*")
_BETWEEN_ROWS = re.compile(r"[;\n]\s*")
_IMAGEMAGICK = re.compile(
    r"\s*([0-9]{1,9})(?:x([0-9]{1,9}))?([+-][0-9]+[+-][0-9]+)?(?:\s*([<>@]+))?\s*:", re.ASCII
)

_EXAMPLE = "write rows as in '0,-1,0; -1,5,-1; 0,-1,0'"


def number(text: str) -> float:
    """Read a number, or a fraction such as 1/9. Raises ValueError with what is wrong.

    >>> number("-2.5e1"), number("1/8")
    (-25.0, 0.125)
    """
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("is not finite")
    found = _NUMBER.fullmatch(text)
    if not found:
        raise ValueError("is not a number" if text else "is missing")
    above, below = float(found[1]), float(found[2] or 1)
    if not below:
        raise ValueError("divides by zero")
    if not np.isfinite(value := above / below):
        raise ValueError("is too large")
    if not value and re.search(r"[1-9]", re.split("[eE]", found[1])[0]):
        raise ValueError("is too small: float64 holds it as 0")
    if re.fullmatch(r"[+-]?[0-9]+", text) and int(text) != value:
        raise ValueError("is beyond 2**53, and no float64")
    return value


def is_literal(text: str) -> bool:
    """Return whether text is meant as taps: JSON, ImageMagick's form, or only numbers.

    >>> [is_literal(t) for t in ("1,0,-1", "[1, 2]", "3: 1 2 3", "box", "kernel.csv", "nan,1")]
    [True, True, True, False, False, True]
    """
    entries = {entry for entry in re.split(r"[\s,;]+", text) if entry}
    numeric = {
        entry for entry in entries if _NUMBER.fullmatch(entry) or _NOT_FINITE.fullmatch(entry)
    }
    taps = bool(numeric) and all(_PART.fullmatch(entry) for entry in entries - numeric)
    return text.startswith("[") or bool(_IMAGEMAGICK.match(text)) or taps


def resembles_literal(text: str) -> bool:
    """Return whether text is probably a row with a mistake: entries of which some are numbers."""
    entries = re.split(r"[\s,;]+", text)
    return len(entries) > 1 and any(_NUMBER.fullmatch(entry) for entry in entries)


def parse_text(text: str) -> Taps:
    """Read text in any of the forms; if it could be of two, it is read as plain rows.

    >>> parse_text("1 2 1")
    array([1., 2., 1.])
    >>> parse_text("2x1: 1 2")
    array([[1., 2.]])
    """
    if text.lstrip().startswith("["):
        return parse_json(text)
    if _IMAGEMAGICK.match(text):
        return parse_imagemagick(text)
    return parse_vips(text) if _is_vips(text) else parse_rows(text)


def parse_rows(text: str) -> Taps:
    """Read rows separated by `;` or new lines, of entries separated by commas or spaces.

    `#` starts a comment.

    Returns (rows, columns), or (columns,) for a single row; (1, columns) if `;` ends it.

    >>> parse_rows("0,1/2,0; 1,-4,1; 0,1,0")[0]
    array([0. , 0.5, 0. ])
    >>> parse_rows("1 0 -1").shape, parse_rows("1 0 -1;").shape
    ((3,), (1, 3))
    """
    body = re.sub("#.*", "", text).strip()
    lines = _BETWEEN_ROWS.split(body.removesuffix(";").rstrip())
    table = [_entries(line.rstrip(), place) for place, line in enumerate(lines, 1)]
    flat = len(table) == 1 and not body.endswith(";")
    return from_nested(table[0] if flat else table)


def parse_json(text: str) -> Taps:
    """Read a JSON list of numbers, nested once for each axis.

    >>> parse_json("[[1, 0], [0, -1]]").shape
    (2, 2)
    """
    import json

    try:
        nested = json.loads(text, parse_float=_json_number, parse_int=_json_number)
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        reason = "nested too deeply" if deep else getattr(error, "msg", f"a number {error}")
        raise KernelError(
            f"a kernel in JSON that cannot be read ({reason})", remedy=_EXAMPLE
        ) from None
    if not isinstance(nested, list):
        raise KernelError(
            "a kernel in JSON that is not a list", "expected a list such as [[0, 1], [-1, 0]]"
        )
    return from_nested(nested)


def _json_number(text: str) -> float:
    """Read a number as `number` does, but infinity if it is too large, as Python's JSON does."""
    return number(text) if np.isfinite(float(text)) else np.inf


def parse_imagemagick(text: str) -> Taps:
    """Read ImageMagick's `WIDTHxHEIGHT[+X+Y]: entries`, whose origin must be the centre.

    Returns (height, width). Source: ImageMagick, "User Defined Kernels", usage manual.

    >>> parse_imagemagick("3x1: 1,0,-1")
    array([[ 1.,  0., -1.]])
    """
    found = _IMAGEMAGICK.match(text)
    if not found:
        raise KernelError(
            "a kernel without ImageMagick's size", "expected WIDTHxHEIGHT: entries", _EXAMPLE
        )
    width, height = int(found[1]), int(found[2] or found[1])
    if not width * height:
        raise KernelError(
            f"a {width}x{height} kernel with 0 entries", "expected sizes of 1 or more"
        )
    limit_taps((height, width))
    _require_centred(found[3], width, height)
    if found[4]:
        raise KernelError(
            f"an ImageMagick kernel to be rotated ('{found[4]}')",
            "expected one kernel",
            "drop the flag",
        )
    entries = [entry for entry in re.split(r"[\s,]+", text[found.end() :].strip()) if entry]
    if any(entry == "-" or entry.lower() == "nan" for entry in entries):
        raise KernelError(
            "an ImageMagick kernel with '-' or nan entries, which mean no neighbour",
            "expected a number at every place",
            "write 0 to leave a neighbour out",
        )
    return _filled(
        [_entry(entry, "an entry") for entry in entries], height, width, f"{width}x{height}"
    )


def parse_vips(text: str) -> Taps:
    r"""Read vips's matrix: a line `width height [scale [offset]]`, then the rows.

    The taps are divided by the scale.

    Returns (height, width). Source: libvips, `vips_matrixload`.

    >>> parse_vips("3 1 4 0\n1 2 1")
    array([[0.25, 0.5 , 0.25]])
    """
    head, _, body = text.strip().partition("\n")
    header = _entries(head.strip(), 1)
    if not _is_header(header):
        raise KernelError(
            f"a vips matrix that begins with '{head.strip()[:40]}'",
            "expected a first line of width height [scale [offset]]",
            "save the taps of a MATLAB file as .npy or .csv",
        )
    width, height = int(header[0]), int(header[1])
    limit_taps((height, width))
    scale, offset = (*header[2:], *(1.0, 0.0)[len(header) - 2 :])
    if offset:
        raise KernelError(
            f"a vips matrix with the offset {offset:g}",
            "expected 0",
            f"write 0 and add --bias {offset:g}",
        )
    if not scale:
        raise KernelError(
            "a vips matrix with the scale 0", "expected the number that divides the taps"
        )
    rows = [_entries(line, place) for place, line in enumerate(body.split("\n"), 1) if line.strip()]
    values = [value for row in rows for value in row]
    return _filled(values, height, width, f"{width}x{height}") / scale


def from_nested(nested: Sequence[Any]) -> Taps:
    """Return nested lists as an array. Raises KernelError, naming the row, if rows differ.

    >>> from_nested([[1, 2, 3], [4, 5]])
    Traceback (most recent call last):
    convcli.errors.KernelError: kernel row 2 has 2 entries, row 1 has 3 entries; expected equal rows
    """
    shape = _nested_shape(nested, ())
    limit_taps(shape)
    try:
        taps = np.array(nested, dtype=np.float64)
    except OverflowError:
        taps = np.array(np.inf)
    if not np.isfinite(taps).all():
        raise KernelError("a kernel with nan or inf among its taps", "expected finite numbers")
    return taps


def _nested_shape(value: Any, path: tuple[int, ...]) -> tuple[int, ...]:
    if len(path) > MAX_DIMS:
        raise KernelError(
            "a kernel nested too deeply", f"expected at most {MAX_DIMS} axes", _EXAMPLE
        )
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        if isinstance(value, bool) or not isinstance(value, Real):
            import json

            raise KernelError(
                f"kernel entry {json.dumps(value, default=str)} at {','.join(map(str, path))}",
                "expected a number",
            )
        return ()
    if not value:
        raise KernelError(
            f"kernel {_place(path)} is empty" if path else "an empty kernel",
            "expected numbers",
            _EXAMPLE,
        )
    shapes = [_nested_shape(part, (*path, place)) for place, part in enumerate(value, 1)]
    for place, shape in enumerate(shapes, 1):
        if shape != shapes[0]:
            this, first = (
                f"{_place((*path, p))} {'has' if shapes[p - 1] else 'is'} {_extent(shapes[p - 1])}"
                for p in (place, 1)
            )
            raise KernelError(f"kernel {this}, {first}", "expected equal rows")
    return (len(value), *shapes[0])


def _place(path: tuple[int, ...]) -> str:
    return f"row {','.join(map(str, path))}"


def _extent(shape: tuple[int, ...]) -> str:
    if shape in ((), (1,)):
        return "1 entry" if shape else "a number"
    return f"{'x'.join(map(str, shape))} entries"


def _entries(line: str, place: int) -> list[float]:
    return [_entry(entry, f"row {place}") for entry in _BETWEEN_ENTRIES.split(line)] if line else []


def _entry(text: str, where: str) -> float:
    try:
        return number(text)
    except ValueError as error:
        raise KernelError(
            f"kernel entry '{text[:40]}' in {where} {error}", "expected finite numbers", _EXAMPLE
        ) from None


def _filled(values: list[float], height: int, width: int, size: str) -> Taps:
    if not values or len(values) != height * width:
        raise KernelError(
            f"a {size} kernel with {len(values)} entries", f"expected {height * width}"
        )
    return np.array(values, dtype=np.float64).reshape(height, width)


def _require_centred(origin: str | None, width: int, height: int) -> None:
    centre = f"+{(width - 1) // 2}+{(height - 1) // 2}"
    if origin not in (None, centre):
        raise KernelError(
            f"an ImageMagick kernel with the origin {origin}",
            f"expected the centre, {centre}",
            "pad the kernel with zeros until the origin is its centre",
        )


def _is_header(values: list[float]) -> bool:
    return 2 <= len(values) <= 4 and all(value >= 1 and value.is_integer() for value in values[:2])


def _is_vips(text: str) -> bool:
    """Return whether the first line has the size of the rows after it, and is not such a row."""
    lines = [line.split() for line in text.strip().split("\n") if line.strip()]
    try:
        header = [number(entry) for entry in lines[0]]
    except (IndexError, ValueError):
        return False
    counts = {len(line) for line in lines[1:]}
    return (
        _is_header(header)
        and len(lines) - 1 == header[1]
        and counts == {header[0]}
        and counts != {len(header)}
    )
