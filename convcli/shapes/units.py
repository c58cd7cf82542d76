"""Distances of samples, with the unit that they are given in: 0.5mm, 2ms, 48kHz.

Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from convcli.errors import InputError

Quantity = Literal["length", "time", "frequency"]


class Unit(NamedTuple):
    """What a unit measures, and its size in metres, seconds or hertz."""

    quantity: Quantity
    size: float


UNITS: Mapping[str, Unit] = {
    "nm": Unit("length", 1e-9),
    "um": Unit("length", 1e-6),
    "µm": Unit("length", 1e-6),  # the micro sign
    "μm": Unit("length", 1e-6),  # the Greek letter
    "mm": Unit("length", 1e-3),
    "cm": Unit("length", 1e-2),
    "m": Unit("length", 1.0),
    "km": Unit("length", 1e3),
    "in": Unit("length", 0.0254),
    "us": Unit("time", 1e-6),
    "ms": Unit("time", 1e-3),
    "s": Unit("time", 1.0),
    "min": Unit("time", 60.0),
    "Hz": Unit("frequency", 1.0),
    "kHz": Unit("frequency", 1e3),
    "MHz": Unit("frequency", 1e6),
}
"""Units by their symbols, in which small and capital letters differ."""
_MEASURED = re.compile(
    rf"([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+)\s*({'|'.join(UNITS)})", re.ASCII
)
_EXAMPLES = "expected a number with a unit, such as 0.5mm, 2ms or 48kHz"


class Measure(NamedTuple):
    """A number of metres, seconds or hertz, and its text as given."""

    value: float
    quantity: Quantity
    text: str

    def __str__(self) -> str:
        return self.text


def parse_measure(text: str) -> Measure | None:
    """Parse a number with a unit; None if it is none.

    >>> parse_measure("2.5 mm").value, parse_measure("2.5")
    (0.0025, None)
    """
    found = _MEASURED.fullmatch(text.strip())
    if found is None:
        return None
    unit = UNITS[found[2]]
    return Measure(float(found[1]) * unit.size, unit.quantity, text.strip())


def parse_spacing(text: str) -> tuple[Measure, ...]:
    """Parse the distance of samples along all axes, or along each; a rate is one too.

    Raises InputError.

    >>> [str(each) for each in parse_spacing("2mm,0.5mm")]
    ['2mm', '0.5mm']
    """
    return tuple(_step(part) for part in text.split(","))


def spacing_of(sizes: Iterable[float], units: Iterable[str]) -> tuple[Measure, ...]:
    """Return the distance of samples along each axis; () if a size is not above 0 or has no unit.

    >>> [str(each) for each in spacing_of([2, 0.5], ["mm", "um"])], spacing_of([1], [""])
    (['2mm', '0.5um'], ())
    """
    steps = list(zip(sizes, units, strict=True))
    if not all(size > 0 and unit for size, unit in steps):
        return ()
    return tuple(_step(f"{size:.7g}{unit}") for size, unit in steps)


def _step(text: str) -> Measure:
    measure = parse_measure(text)
    if measure is None:
        raise InputError(f"spacing {text!r}", _EXAMPLES)
    if not 0 < measure.value < float("inf"):
        raise InputError(f"spacing {text!r}", "expected a number above 0")
    if measure.quantity == "frequency":
        return Measure(1 / measure.value, "time", measure.text)
    return measure
