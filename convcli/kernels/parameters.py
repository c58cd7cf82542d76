"""Families of named kernels: their parameters, variants, meaning and source."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from convcli.errors import KernelError, did_you_mean
from convcli.kernels.model import MAX_DIMS, Kernel
from convcli.kernels.parse import number
from convcli.shapes.units import parse_measure

Value: TypeAlias = int | float | str | tuple[int | float, ...]
AUTO = "auto"
RANGE = ".."
"""Between the first and the last value of a range, which several kernels have in turn."""
_UNBOUNDED = 1e100  # products and squares of such values are still finite

AXES: Mapping[str, int] = {"x": 1, "y": 2, "z": 3}
"""Each axis's position from the end, which is also the minimum dims."""
COMPASS: tuple[str, ...] = ("nw", "n", "ne", "e", "se", "s", "sw", "w")
"""Directions, clockwise from the first tap."""


@dataclass(frozen=True)
class Number:
    """A number within a range; `parse` raises ValueError for any other text.

    >>> Number(integer=True, minimum=1).expected
    'a whole number of at least 1'
    """

    integer: bool = False
    above: float | None = None
    minimum: float | None = None
    maximum: float = _UNBOUNDED
    below: float | None = None
    odd: bool = False

    @property
    def expected(self) -> str:
        kind = f"{'an odd' if self.odd else 'a'} {'whole ' if self.integer else ''}number"
        low = f"above {self.above:g}" if self.above is not None else ""
        low = f"of at least {self.minimum:g}" if self.minimum is not None else low
        high = f"of at most {self.maximum:g}" if self.maximum < _UNBOUNDED else ""
        high = f"below {self.below:g}" if self.below is not None else high
        return " ".join([kind, " and ".join(filter(None, (low, high)))]).rstrip()

    def parse(self, text: str) -> int | float:
        value = _integer(text) if self.integer else number(text)
        low = (self.above is None or value > self.above) and (
            self.minimum is None or value >= self.minimum
        )
        high = abs(value) <= self.maximum and (self.below is None or value < self.below)
        if not (low and high) or (self.odd and value % 2 == 0):
            raise ValueError
        return value


@dataclass(frozen=True)
class Band:
    """Two numbers that increase, as in `0.1-0.2`; `parse` raises ValueError for any other text.

    >>> Band(Number(above=0)).parse("1e-2-0.2")
    (0.01, 0.2)
    """

    ends: Number

    @property
    def expected(self) -> str:
        return f"two numbers as in 0.1-0.2, each {self.ends.expected}"

    def parse(self, text: str) -> tuple[int | float, ...]:
        low, high = (self.ends.parse(part.strip()) for part in re.split("(?<![eE])-", text))
        if low >= high:
            raise ValueError
        return low, high


@dataclass(frozen=True)
class Choice:
    """One of several words; `parse` raises ValueError for any other text."""

    options: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.options)}"

    def parse(self, text: str) -> str:
        if (word := text.lower()) not in self.options:
            raise ValueError
        return word


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,100}", text):
        raise ValueError
    return int(text)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a named kernel.

    default: the text of the default value; `auto` (None to the builder) is computed from the other
    parameters.
    per_axis: one value for all axes, or one per axis as in `1x2`, in the order of the array's axes.
    listed: any number of values, as in a shape. If neither, the parameter is a single value.
    measured: "distance" if the value counts samples and may be given as a length or a time,
    "frequency" if it is one, "" if it has no unit.
    instead: the name of another parameter whose value is this one's times `factor`; builders get
    that one only.
    """

    name: str
    kind: Number | Choice | Band
    default: str
    meaning: str
    per_axis: bool = False
    listed: bool = False
    measured: Literal["", "distance", "frequency"] = ""
    instead: str = ""
    factor: float = 1.0

    @property
    def expected(self) -> str:
        plural = " for each axis, as in 3x5" if self.listed else ", or one for each axis as in 1x2"
        return self.kind.expected + (plural if self.per_axis or self.listed else "")

    def parse(self, text: str) -> Value | tuple[Value, ...] | None:
        """Parse the text of a value. Raises ValueError if it is not `expected`."""
        if text == AUTO and self.default == AUTO:
            return None
        if self.per_axis or self.listed:
            return tuple(self.kind.parse(part) for part in text.lower().split("x"))
        return self.kind.parse(text)


@dataclass(frozen=True)
class KernelFamily:
    """A family of named kernels: `name`, or `name-variant` for each of its variants.

    build: called with dims, every parameter, and the variant if the family has any; returns terms
    of 1-D factors, or an array of taps if the kernel is not separable.
    variants: each with its minimum number of axes. most_dims: None if there is no maximum.
    """

    name: str
    build: Callable[..., Any]
    meaning: str
    source: str
    parameters: tuple[Parameter, ...] = ()
    variants: Mapping[str, int] = field(default_factory=dict)
    least_dims: int = 1
    most_dims: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}-{variant}" for variant in self.variants) or (self.name,)

    def describe(self, variant: str = "") -> str:
        """Return the meaning of one variant, or of all of them."""
        return self.meaning.replace("{variant}", variant or _alternatives(self.variants))

    def make(self, variant: str, given: Mapping[str, str], dims: int | None) -> Kernel:
        """Build the kernel.

        Raises KernelError for a bad parameter or dims, LimitError for too many taps.
        """
        name = f"{self.name}-{variant}" if variant else self.name
        self._refuse_unknown(name, given)
        values = {p.name: _parsed(name, p, given.get(p.name, p.default)) for p in self.parameters}
        count = self._resolve_dims(name, variant, values, dims)
        values = {p.name: _broadcast(name, p, values[p.name], count) for p in self.parameters}
        values = self._replaced(name, given, values)
        built = self.build(dims=count, **values, **({"variant": variant} if variant else {}))
        label = name + "".join(
            f"{',' if i else ':'}{key}={text}" for i, (key, text) in enumerate(given.items())
        )
        construct = Kernel.of_terms if isinstance(built, tuple) else Kernel.of_taps
        return construct(label, built, self.describe(variant), self.source)

    def _refuse_unknown(self, name: str, given: Mapping[str, str]) -> None:
        known = [p.name for p in self.parameters]
        for key in given:
            if key not in known:
                expected = f"expected {_alternatives(known)}" if known else "it takes none"
                raise KernelError(
                    f"unknown parameter '{key}' of kernel '{name}'",
                    expected,
                    did_you_mean(key, known),
                )

    def _replaced(
        self, name: str, given: Mapping[str, str], values: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the values with those of parameters that are given `instead` of others."""
        result = {p.name: values[p.name] for p in self.parameters if not p.instead}
        for p in self.parameters:
            if p.instead and values[p.name] is not None:
                if p.instead in given:
                    raise KernelError(
                        f"{p.instead} and {p.name} for kernel '{name}'", "expected one of them"
                    )
                result[p.instead] = tuple(value * p.factor for value in values[p.name])
        return result

    def _resolve_dims(
        self, name: str, variant: str, values: Mapping[str, Any], dims: int | None
    ) -> int:
        """Return the number of axes: `dims`, else that of the per-axis values, else 2."""
        least = self.variants.get(variant, self.least_dims)
        most = MAX_DIMS if self.most_dims is None else self.most_dims
        spelled = max((len(values[p.name] or ()) for p in self.parameters if p.per_axis), default=1)
        if dims is not None:
            count = dims
        elif spelled > 1:
            count = spelled
        else:
            count = min(max(2, least), most)
        if not least <= count <= most:
            remedy = f"use dims {least if count < least else most}"
            raise KernelError(
                f"kernel '{name}' with dims {count}", _dims_expected(least, self.most_dims), remedy
            )
        return count


def _dims_expected(least: int, most: int | None) -> str:
    if least == most:
        return f"it exists in {least}-D only"
    return f"it needs at least {least}" + (f" and at most {most or MAX_DIMS}" if least == 1 else "")


def _parsed(name: str, parameter: Parameter, text: str) -> Value | tuple[Value, ...] | None:
    if RANGE in text:
        raise KernelError(
            f"{parameter.name}={text[:40]} for kernel '{name}'",
            "expected one value: a range means several kernels",
            "use it in apply or batch",
        )
    try:
        return parameter.parse(text)
    except ValueError:
        given = f"{parameter.name}={text[:40]}" if text else f"no {parameter.name}"
        remedy = "units take an input: use apply" if parse_measure(text) else ""
        raise KernelError(
            f"{given} for kernel '{name}'", f"expected {parameter.expected}", remedy
        ) from None


def _broadcast(name: str, parameter: Parameter, value: Any, dims: int) -> Any:
    """Repeat a single value for every axis; return any other value unchanged."""
    if not parameter.per_axis or value is None:
        return value
    if len(value) not in (1, dims):
        typed = "x".join(map(str, value))
        raise KernelError(
            f"{parameter.name}={typed} for kernel '{name}' with dims {dims}",
            f"expected 1 or {dims} values",
        )
    return value * (dims // len(value))


def _alternatives(words: Sequence[str] | Mapping[str, int]) -> str:
    *most, last = words or [""]
    return f"{', '.join(most)} or {last}" if most else last
