"""Kernels in units of the input: `gaussian:fwhm=6mm`, `lowpass:cutoff=200Hz`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from convcli.errors import KernelError
from convcli.kernels.bank import find_family, is_named
from convcli.kernels.parameters import Band, KernelFamily, Number, Parameter
from convcli.shapes.units import UNITS, Measure, parse_measure

_DIGITS = 12  # of a converted number
_LETTERS = "".join(UNITS)


class _Item(NamedTuple):
    """A part `parameter=value` of a reference, with the measures of the value if it has units."""

    head: str
    value: str
    parameter: Parameter | None
    measures: tuple[Measure, ...]


def has_units(reference: str) -> bool:
    """Return whether a value of a named kernel has a unit.

    >>> has_units("gaussian:fwhm=6mm"), has_units("gaussian:fwhm=6"), has_units("box")
    (True, False, False)
    """
    return any(item.measures for item in _items(reference))


def in_samples(reference: str, spacing: Sequence[Measure], name: str) -> str:
    """Return a reference whose values with units are converted to samples.

    spacing: the distance of samples along each spatial axis of the input `name`, or one for all
    axes; none if it is not known. A distance along axes whose samples differ becomes one value per
    axis; a number of taps becomes the nearest odd one. Raises KernelError for a unit that fits
    neither the parameter nor the spacing.

    >>> from convcli.shapes.units import parse_spacing
    >>> in_samples("gaussian:fwhm=6mm", parse_spacing("3mm,1.5mm"), "x")
    'gaussian:fwhm=2x4'
    >>> in_samples("lowpass:200Hz,taps=9", parse_spacing("1kHz"), "x")
    'lowpass:0.2,taps=9'
    """
    items = _items(reference)
    if not any(item.measures for item in items):
        return reference
    if not spacing:
        raise KernelError(
            f"{reference} for {name}",
            "expected numbers of samples: the distance between samples is not known",
            "give it, as in --spacing 0.5mm or --rate 48kHz",
        )
    written = [
        item.head + (_convert(item, spacing, name) if item.measures else item.value)
        for item in items
    ]
    return f"{reference.partition(':')[0]}:{','.join(written)}"


def _items(reference: str) -> list[_Item]:
    """Split the parameters of a reference; none if it names no kernel of the bank."""
    if not is_named(reference):
        return []
    family = find_family(reference)
    typed = reference.partition(":")[2]
    return [_parse(family, item, place) for place, item in enumerate(typed.split(","))]


def _parse(family: KernelFamily, item: str, place: int) -> _Item:
    key, equals, value = item.rpartition("=")
    name = key.strip().lower()
    found = [each for each in family.parameters if each.name == name]
    if not equals and not place:
        found = list(family.parameters[:1])
    if not found:
        return _Item(key + equals, value, None, ())
    parts = _split(found[0], value)
    unit = value[len(value.rstrip(_LETTERS)) :]
    measures = [parse_measure(part) or parse_measure(part + unit) for part in parts]
    whole = tuple(each for each in measures if each is not None)
    return _Item(key + equals, value, found[0], whole if len(whole) == len(measures) else ())


def _split(parameter: Parameter, value: str) -> list[str]:
    if isinstance(parameter.kind, Band):
        return re.split("(?<![eE])-", value)
    return value.split("x") if parameter.per_axis else [value]


def _convert(item: _Item, spacing: Sequence[Measure], name: str) -> str:
    """Return the value of an item in samples, or in cycles per sample."""
    parameter, measures = item.parameter, item.measures
    assert parameter is not None
    if isinstance(parameter.kind, Band):
        return "-".join(_written(item, each, spacing[0], name) for each in measures)
    count = max(len(measures), len(spacing))
    if len(measures) > 1 and len(spacing) > 1 and len(measures) != len(spacing):
        raise KernelError(
            f"{item.value} for an input of {len(spacing)} spatial axes", "expected a value for each"
        )
    values = [
        _written(item, measure, step, name)
        for measure, step in zip(
            measures * (count // len(measures)),
            tuple(spacing) * (count // len(spacing)),
            strict=True,
        )
    ]
    if len(set(values)) == 1:
        return values[0]
    if not parameter.per_axis:
        steps = ", ".join(map(str, spacing))
        raise KernelError(
            f"{parameter.name}={item.value} for {name}, whose spacing is {steps}",
            f"expected one {parameter.name} for all axes",
            "give it in samples",
        )
    return "x".join(values)


def _written(item: _Item, measure: Measure, step: Measure, name: str) -> str:
    """Return a measure in samples `step` apart; a number of taps is the nearest odd one."""
    parameter = item.parameter
    assert parameter is not None
    of_frequency = parameter.measured == "frequency"
    fits = measure.quantity == ("frequency" if of_frequency else step.quantity)
    if not parameter.measured or not fits or (of_frequency and step.quantity != "time"):
        expected = {"": "a number without a unit", "frequency": "a frequency, such as 200Hz"}
        raise KernelError(
            f"{parameter.name}={item.value} for {name}, whose spacing is {step}",
            f"expected {expected.get(parameter.measured, f'a {step.quantity}')}",
        )
    value = measure.value * step.value if of_frequency else measure.value / step.value
    if isinstance(parameter.kind, Number) and parameter.kind.integer:
        return str(max(2 * round((value - 1) / 2) + 1, 1))
    return f"{value:.{_DIGITS}g}"
