"""Draw cells, numbers, lines, arrows and text on a picture.

Text and lines are smoothed in few levels, so that a picture of flat areas has few colours: it is
small as a PNG, and a GIF's palette of 256 holds it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

from convcli.drawing.palette import RGB

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom of an area in pixels; right and bottom are outside it."""

Point: TypeAlias = tuple[float, float]

SMOOTHING = 4
"""Levels between an edge's two colours, one of them included."""

READABLE = 7
"""The smallest size of text in pixels that is drawn in a cell."""

_FINER = 4  # pixels of a smoothed line's own picture, per pixel along each axis

_LEVELS = [round(round(level / 255 * SMOOTHING) * 255 / SMOOTHING) for level in range(256)]


class Canvas:
    """A picture to draw on, of one colour at first."""

    def __init__(self, width: int, height: int, background: RGB) -> None:
        self.image = Image.new("RGB", (width, height), background)
        self._draw = ImageDraw.Draw(self.image)

    @property
    def size(self) -> tuple[int, int]:
        """The width and the height."""
        return self.image.size

    def copy(self) -> Canvas:
        """Return a copy to draw on, which leaves this canvas as it is."""
        other = Canvas(1, 1, (0, 0, 0))
        other.image = self.image.copy()
        other._draw = ImageDraw.Draw(other.image)
        return other

    def array(self) -> NDArray[np.uint8]:
        """Return the picture as an array (H, W, 3) of uint8.

        >>> Canvas(3, 2, (9, 8, 7)).array()[0].tolist()
        [[9, 8, 7], [9, 8, 7], [9, 8, 7]]
        """
        return np.asarray(self.image)

    def rectangle(
        self, box: Box, fill: RGB | None = None, outline: RGB | None = None, width: int = 1
    ) -> None:
        """Fill an area, and draw its outline inside it, `width` pixels wide."""
        left, top, right, bottom = box
        if right > left and bottom > top:
            inner = (left, top, right - 1, bottom - 1)
            self._draw.rectangle(inner, fill, outline, width if outline else 0)

    def cell(self, box: Box, fill: RGB, text: str = "", colour: RGB = (0, 0, 0)) -> None:
        """Fill an area, and write a text in its middle."""
        self.rectangle(box, fill)
        self.write(box, text, colour)

    def write(self, box: Box, text: str, colour: RGB) -> None:
        """Write a text in the middle of an area, if it is readable at a size that fits."""
        left, top, right, bottom = box
        wide, high = 0.86 * (right - left), bottom - top - 2
        size = fitting_size([text], wide, high, 0.42 * high) if text else 0
        if size:
            self.text(((left + right) / 2, (top + bottom) / 2), text, size, colour)

    def hatch(self, box: Box, colour: RGB, gap: int = 6, width: int = 1) -> None:
        """Draw diagonal lines over an area; `gap`: pixels from one line to the next.

        Lines of neighbouring areas meet.
        """
        left, top, right, bottom = box
        if right <= left or bottom <= top:
            return
        rows, columns = np.ogrid[top:bottom, left:right]
        lines = (rows + columns) % gap < width
        self.image.paste(colour, box, Image.fromarray(lines.astype(np.uint8) * 255))

    def dots(self, box: Box, colour: RGB, gap: int = 6) -> None:
        """Draw a pattern of dots over an area; `gap`: pixels from one dot to the next."""
        left, top, right, bottom = box
        if right <= left or bottom <= top:
            return
        rows, columns = np.ogrid[top:bottom, left:right]
        dots = (rows % gap == gap // 2) & (columns % gap == gap // 2)
        self.image.paste(colour, box, Image.fromarray(dots.astype(np.uint8) * 255))

    def line(self, points: Sequence[Point], colour: RGB, width: float = 1.0) -> None:
        """Draw a line through points (x, y), smoothed."""
        self._paste_shape(points, colour, width, closed=False)

    def polygon(self, points: Sequence[Point], colour: RGB) -> None:
        """Fill the area that a line through points (x, y) encloses, smoothed."""
        self._paste_shape(points, colour, 0.0, closed=True)

    def arrow(self, start: Point, end: Point, colour: RGB, width: float = 1.5) -> None:
        """Draw an arrow from one point to another, with a filled head."""
        across, down = end[0] - start[0], end[1] - start[1]
        length = math.hypot(across, down)
        if length == 0:
            return
        along, head = (across / length, down / length), min(4 * width + 2, length)
        base = end[0] - head * along[0], end[1] - head * along[1]
        side = (-along[1] * head * 0.45, along[0] * head * 0.45)
        self.line([start, base], colour, width)
        self.polygon(
            [end, (base[0] + side[0], base[1] + side[1]), (base[0] - side[0], base[1] - side[1])],
            colour,
        )

    def text(self, at: Point, text: str, size: float, colour: RGB, *, anchor: str = "mm") -> None:
        """Write a line of text of `size` pixels.

        anchor: which part of it is at the point, in Pillow's letters: l, m, r for the left end,
        the middle and the right end, then a, m, s for the top, the middle and the baseline.
        """
        mask, (left, top) = _rendered(printable(text), size, anchor)
        self.image.paste(colour, (round(at[0]) + left, round(at[1]) + top), mask)

    def _paste_shape(
        self, points: Sequence[Point], colour: RGB, width: float, *, closed: bool
    ) -> None:
        margin = math.ceil(width) + 1
        left = math.floor(min(x for x, _ in points)) - margin
        top = math.floor(min(y for _, y in points)) - margin
        columns = math.ceil(max(x for x, _ in points)) + margin - left
        rows = math.ceil(max(y for _, y in points)) + margin - top
        mask = Image.new("L", (columns * _FINER, rows * _FINER))
        finer = [((x - left) * _FINER, (y - top) * _FINER) for x, y in points]
        if closed:
            ImageDraw.Draw(mask).polygon(finer, fill=255)
        else:
            ImageDraw.Draw(mask).line(finer, 255, max(round(width * _FINER), 1), joint="curve")
        self.image.paste(colour, (left, top), mask.reduce(_FINER).point(_LEVELS))


@lru_cache(maxsize=64)
def font(size: float) -> FreeTypeFont:
    """Return the font that Pillow contains, in pixels. It has the characters of Latin-1."""
    loaded = ImageFont.load_default(size)
    assert isinstance(loaded, FreeTypeFont), "expected a Pillow that was built with FreeType"
    return loaded


def printable(text: str) -> str:
    """Replace characters that the font does not have.

    >>> printable("-1 \N{MULTIPLICATION SIGN} \N{MINUS SIGN}2, \N{HANGUL SYLLABLE GA}")
    '-1 x -2, ?'
    """
    known = text.replace("\N{MINUS SIGN}", "-").replace("\N{MULTIPLICATION SIGN}", "x")
    return "".join(letter if letter.isascii() or letter in "…·" else "?" for letter in known)


@lru_cache(maxsize=4096)
def _rendered(text: str, size: float, anchor: str) -> tuple[Image.Image, tuple[int, int]]:
    """Return a text as a mask, and where its left top is, relative to its anchor."""
    left, top, right, bottom = (round(edge) for edge in font(size).getbbox(text, anchor=anchor))
    mask = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
    ImageDraw.Draw(mask).text((-left, -top), text, 255, font(size), anchor)
    return mask.point(_LEVELS), (left, top)


@lru_cache(maxsize=16384)
def text_width(text: str, size: float) -> float:
    """Return the width of a text in pixels."""
    return font(size).getlength(printable(text))


def fitting_size(texts: Sequence[str], width: float, height: float, largest: float) -> float:
    """Return the largest size at which every text fits into an area; 0 if none is readable.

    >>> fitting_size(["12"], 20, 20, 12), fitting_size(["0.000123"], 20, 20, 12)
    (12, 0)
    """
    widest = max(text_width(text, 100) for text in texts)
    size = min(largest, height / 0.9, 100 * width / max(widest, 1e-9))
    return size if size >= READABLE else 0


def shortened(text: str, size: float, width: float) -> str:
    """Cut the end off a text that is too wide.

    >>> shortened("photograph.png", 10, 200), shortened("photograph.png", 10, 40)
    ('photograph.png', 'photog…')
    """
    if text_width(text, size) <= width:
        return text
    length = len(text)
    while length and text_width(text[:length] + "…", size) > width:
        length -= 1
    return text[:length] + "…"


def short_number(value: float, digits: int = 3) -> str:
    """Format a number for a cell, in few characters; whole numbers below 10,000 are exact.

    >>> [short_number(value) for value in (7.0, -255, 0.12345, 1234.5, 65535, 1e-7, -0.0)]
    ['7', '-255', '0.123', '1234', '65.5k', '1e-7', '0']
    >>> short_number(float("nan")), short_number(-float("inf")), short_number(2.5e9)
    ('nan', '-inf', '2.5e9')
    """
    size = abs(value)
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if size < 9999.5 and value == round(value):
        return f"{value:.0f}"
    if 1e-3 <= size < 9999.5:
        return _decimal(value, digits)
    if 9999.5 <= size < 999.5e3:
        return f"{_decimal(value / 1000, digits)}k"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def _decimal(value: float, digits: int) -> str:
    """Format a number to so many significant digits, or to a whole number if that has more.

    >>> _decimal(0.0505, 2), _decimal(1234.5, 2), _decimal(2.0001, 3)
    ('0.051', '1234', '2')
    """
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
