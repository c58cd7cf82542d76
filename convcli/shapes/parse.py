"""Shapes, paddings and numbers as people write them, read and checked."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import TypeAlias

from convcli.errors import InputError, LimitError, ShapeError, did_you_mean
from convcli.options import PADDINGS

Pair: TypeAlias = tuple[int, int]
"""Padding at the start and at the end of an axis, or its first position and that after its last."""

PerAxis: TypeAlias = int | Sequence[int]
"""One value for all axes, or one per axis."""

Padding: TypeAlias = str | int | Sequence[int | str | Sequence[int]]
"""A name, an amount, a text `lo:hi`, or one amount, text or pair per axis."""

MOST_AXES = 64
"""The most axes of an array, numpy's limit."""


def show(shape: Iterable[int]) -> str:
    """Format a shape: `show((28, 28))` is `28x28`; a scalar's is `()`."""
    return "x".join(map(str, shape)) or "()"


def counted(number: int, noun: str) -> str:
    """Format a number with its noun, in the plural unless it is 1.

    >>> counted(1, "channel"), counted(3, "channel")
    ('1 channel', '3 channels')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


Crop: TypeAlias = Sequence[int | Pair]
"""A part of each axis, or one for all: a number of samples in the middle, or start and stop."""


def parse_shape(text: str) -> tuple[int, ...]:
    """Read a shape written as `28x28`, `224x224x3` or `28,28`.

    >>> parse_shape("224x224x3")
    (224, 224, 3)
    """
    parts = _parts(text, "[x×X,]")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise InputError(
            f"{text!r} is not a shape",
            "expected whole numbers joined by x",
            "write it as 28x28 or 224x224x3",
        )
    if len(parts) > MOST_AXES:
        raise ShapeError(f"a shape of {len(parts):,} axes", f"expected at most {MOST_AXES}")
    shape = tuple(map(_digits, parts))
    if 0 in shape:
        raise ShapeError(f"shape {text} has an axis of 0", "expected sizes of 1 or more")
    return shape


def parse_per_axis(text: str) -> int | tuple[int, ...]:
    """Read one whole number, or one per axis: `2`, `2x1` or `2,1`.

    >>> parse_per_axis("2"), parse_per_axis("2x1")
    (2, (2, 1))
    """
    parts = _parts(text)
    if not all(re.fullmatch(r"[+-]?[0-9]+", part) for part in parts):
        raise InputError(
            f"{text!r}", "expected a whole number, or one per axis", "write it as 2 or 2x1"
        )
    values = tuple(map(_digits, parts))
    return values[0] if len(values) == 1 else values


def parse_index(text: str) -> tuple[int, ...]:
    """Read an index, one whole number for each axis: `3,4` or `3`.

    >>> parse_index("3,4"), parse_index("7")
    ((3, 4), (7,))
    """
    values = parse_per_axis(text)
    return (values,) if isinstance(values, int) else values


def parse_crop(text: str) -> Crop:
    """Read a part of each axis: a number of samples in the middle, or a range `start:stop`.

    One part is used for all axes.

    >>> parse_crop("12"), parse_crop("4:10,8"), parse_crop("8x8")
    ((12,), ((4, 10), 8), (8, 8))
    """
    parts = _parts(text)
    if not all(re.fullmatch(r"[0-9]+(:[0-9]+)?", part) for part in parts):
        raise InputError(
            f"crop {text!r}",
            "expected a number of samples, or start:stop, one or one per axis",
            "write it as 12 or 4:16,8:20",
        )
    crop: list[int | Pair] = []
    for part in parts:
        start, colon, stop = part.partition(":")
        crop.append((_digits(start), _digits(stop)) if colon else _digits(part))
    return tuple(crop)


def parse_padding(text: str) -> Padding:
    """Read a padding: a name, an amount, one per axis, or `lo:hi` (per axis, if there are several).

    >>> parse_padding("same"), parse_padding("1x2"), parse_padding("1:2"), parse_padding("0:1,2:3")
    ('same', (1, 2), '1:2', ('0:1', '2:3'))
    """
    parts = _parts(text)
    if text in PADDINGS:
        return text
    if not all(re.fullmatch(r"-?[0-9]+(:-?[0-9]+)?", part) for part in parts):
        raise InputError(
            f"padding {text!r}",
            f"expected {', '.join(PADDINGS)}, a number, one per axis (1x2), or lo:hi",
            did_you_mean(text, PADDINGS),
        )
    if len(parts) == 1:
        return parts[0] if ":" in text else _digits(parts[0])
    return tuple(part if ":" in part else _digits(part) for part in parts)


def _parts(text: str, separator: str = "[x,]") -> list[str]:
    """Split text at every separator, without the blanks around the parts, in linear time."""
    return [part.strip() for part in re.split(separator, text)]


def _digits(text: str) -> int:
    """Return int(text). Raises InputError for more than 20 digits, too many for any size."""
    if len(text.strip()) > 20:
        raise InputError(f"a number of {len(text.strip())} digits", "expected at most 20")
    return int(text)


def parse_number(text: str) -> float:
    """Read a number. Raises InputError for an integer that a float would round.

    >>> parse_number("-2.5")
    -2.5
    """
    try:
        value: object = int(text)
    except ValueError:
        value = text
    return check_number(value, "")


def parse_finite(text: str) -> float:
    """Read a finite number. Raises InputError like `parse_number`, and for NaN and infinity.

    >>> parse_finite("1e3")
    1000.0
    """
    value = parse_number(text)
    if not math.isfinite(value):
        raise InputError(text, "expected a finite number")
    return value


def check_number(value: object, what: str) -> float:
    """Return a value as a float.

    Raises InputError, naming `what`, if it is no number, or an integer that would be rounded.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"{what} {value!r}".strip(), "expected a number that a float can hold"
        ) from None
    if isinstance(value, Integral) and int(value) != number:
        nearest = f"write {int(number)}, or another near it"
        raise InputError(
            f"{what} {int(value)}".strip(), "expected a number that a float holds", nearest
        )
    return number


def check_countable(outputs: int) -> None:
    """Raise LimitError for more values than an address space has room for."""
    if outputs * 8 > 1 << 62:
        raise LimitError(
            f"an output of {outputs:,} values",
            "expected one that memory can hold",
            "use less padding or a smaller input",
        )


def check_whole(value: object, what: str, *, least: int) -> int:
    """Return a value as an int of `least` or more. Raises InputError, naming `what`."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{what} {value!r}", "expected a whole number") from None
    if number < least:
        raise InputError(f"{what} {number}", f"expected {least} or more")
    return number
