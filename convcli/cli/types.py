"""Parameter types: they parse text into values before a command runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convcli.engine.methods import names
from convcli.errors import InputError, did_you_mean
from convcli.limits import parse_size
from convcli.options import Frames
from convcli.shapes.parse import (
    parse_crop,
    parse_finite,
    parse_index,
    parse_number,
    parse_padding,
    parse_per_axis,
    parse_shape,
)
from convcli.shapes.units import parse_spacing
from convcli.stores import location

if TYPE_CHECKING:
    from convcli.stores import StorePath

LONGEST = 1_000_000_000
"""Seconds (31 years): near the longest time that a thread can wait."""


class Parsed(click.ParamType):  # type: ignore[type-arg]
    """A type that one function parses; its InputError becomes a usage error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except InputError as error:
            self.fail(str(error), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name.upper()


class Choice(click.Choice[str]):
    """A click.Choice that suggests the nearest word."""

    def __init__(self, choices: Iterable[str]) -> None:
        super().__init__(tuple(choices))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.choices:
            return value
        hint = did_you_mean(str(value), self.choices)
        return self.fail(
            "; ".join(
                filter(None, [f"{value!r}; expected one of {', '.join(self.choices)}", hint])
            ),
            param,
            ctx,
        )


class MethodChoice(Choice):
    """A choice of the engine's methods, read when needed: methods may be added."""

    def __init__(self) -> None:
        super().__init__(())

    @property
    def choices(self) -> tuple[str, ...]:
        return ("auto", *names())

    @choices.setter
    def choices(self, value: tuple[str, ...]) -> None:
        """Ignore what click stores."""


class Count(click.IntRange):
    """A click.IntRange with convcli's error message."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            upper = "" if self.max is None else f" to {self.max}"
            return self.fail(
                f"{value!r}; expected a whole number from {self.min}{upper}", param, ctx
            )


def parse_seconds(text: str) -> float:
    """Parse a time in seconds, at most LONGEST.

    >>> parse_seconds("0.5")
    0.5
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if 0 < seconds <= LONGEST:
        return seconds
    raise InputError(f"{text!r}", f"expected a number of seconds above 0, at most {LONGEST:,}")


def parse_fps(text: str) -> float:
    """Parse a number of frames per second, from 0.1 to 50.

    >>> parse_fps("2.5")
    2.5
    """
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if 0.1 <= fps <= 50:
        return fps
    raise InputError(f"{text!r}", "expected a number of frames per second from 0.1 to 50")


def parse_frames(text: str) -> Frames:
    """Parse a choice of frames: `first`, `all`, or a number from 0.

    >>> parse_frames("all"), parse_frames("2")
    ('all', 2)
    """
    if text == "first":
        return "first"
    if text == "all":
        return "all"
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise InputError(
        f"{text!r}", "expected first, all, or a number from 0", did_you_mean(text, ("first", "all"))
    )


def parse_columns(text: str) -> tuple[str, ...]:
    """Parse names of columns, separated by commas.

    >>> parse_columns("layer, output")
    ('layer', 'output')
    """
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise InputError(
            f"{text!r}",
            "expected names of columns, separated by commas",
            "write it as layer,output",
        )
    return names


def _folder(text: str) -> Path | StorePath:
    """Parse a folder's path or URL; refuse empty text, as from an unset shell variable."""
    if not text:
        raise InputError("no name", "expected that of a folder", "name . for this one")
    return location(text)


def parse_gradient(text: str) -> tuple[str, tuple[int, ...] | None]:
    """Parse an entry of a gradient: its name, and its index if there is one.

    >>> parse_gradient("dw[0,2]"), parse_gradient("dx:-1"), parse_gradient("db")
    (('dw', (0, 2)), ('dx', (-1,)), ('db', None))
    """
    found = re.fullmatch(r"(d[xwb])(?:\[(.+)\]|:(.+))?", text.strip())
    if found is None:
        name = re.match(r"\w*", text.strip())
        hint = did_you_mean(name[0] if name else "", ("dx", "dw", "db"))
        expected = "expected dx, dw or db with an index, such as 'dw[0]' or dw:0"
        raise InputError(f"{text!r}", expected, hint)
    index = found[2] or found[3]
    return found[1], None if index is None else parse_index(index)


COLUMNS = Parsed("name[,name...]", parse_columns)


def parse_colour(text: str) -> tuple[int, int, int]:
    """Parse an opaque CSS colour, with Pillow.

    >>> parse_colour("white"), parse_colour("#f80"), parse_colour("rgb(1,2,3)")
    ((255, 255, 255), (255, 136, 0), (1, 2, 3))
    """
    from PIL import ImageColor

    try:
        red, green, blue, *alpha = ImageColor.getrgb(text)
    except ValueError:
        alpha = [0]
    if alpha:
        expected = "expected a name, #rgb, #rrggbb or rgb(r,g,b)"
        raise InputError(f"colour {text!r}", expected, did_you_mean(text, ImageColor.colormap))
    return red, green, blue


FOLDER = Parsed("folder", _folder)
COLOUR = Parsed("colour", parse_colour)
SHAPE = Parsed("shape", parse_shape)
PER_AXIS = Parsed("n[,n...]", parse_per_axis)
PADDING = Parsed("padding", parse_padding)
NUMBER = Parsed("float", parse_number)
FINITE = Parsed("float", parse_finite)
INDEX = Parsed("i[,j...]", parse_index)
GRADIENT = Parsed("name[i,...]", parse_gradient)
SIZE = Parsed("size", parse_size)
CROP = Parsed("part", parse_crop)
FPS = Parsed("f", parse_fps)
SECONDS = Parsed("s", parse_seconds)
SPACING = Parsed("d[,d...]", parse_spacing)
FRAMES = Parsed("first|all|n", parse_frames)
