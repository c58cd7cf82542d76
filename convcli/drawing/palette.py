"""The colours of pictures: a light and a dark theme, which are those of the interactive page.

Values are shown on a diverging scale around zero: orange is above 0, blue below. Eyes that confuse
red with green tell these two apart (ColorBrewer's PuOr and RdYlBu).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from convcli.options import ThemeName

RGB: TypeAlias = tuple[int, int, int]

FAINTEST, STRONGEST = 0.18, 0.85
"""The share of the scale's end colour in the smallest and in the largest value's colour."""


@dataclass(frozen=True)
class Theme:
    """The colours of a picture, named by their use.

    page: behind everything. card, cell: of areas, and of a cell with the value 0. text, quiet: of
    text, and of less important text. line, grid: between areas, and around cells. above, below:
    the ends of the scale of values; above_text, below_text: of signed numbers. accent: of what is
    chosen. hatch: of lines over padding. input, output: of what goes in and comes out.
    """

    page: RGB
    card: RGB
    cell: RGB
    text: RGB
    quiet: RGB
    line: RGB
    grid: RGB
    above: RGB
    below: RGB
    above_text: RGB
    below_text: RGB
    accent: RGB
    hatch: RGB
    input: RGB
    output: RGB

    def tint(self, share: float, steps: int = 0) -> RGB:
        """Return the colour of a value, as a share of the largest: from -1 to 1.

        0 and nan have the colour of a cell. steps: the number of different colours on each side,
        by default any.

        >>> LIGHT.tint(1), LIGHT.tint(-1), LIGHT.tint(0)
        ((243, 177, 93), (126, 182, 214), (255, 255, 255))
        """
        size = min(abs(share), 1.0)
        if not size > 0:
            return self.cell
        if steps:
            size = math.ceil(size * steps) / steps
        weight = FAINTEST + (STRONGEST - FAINTEST) * size
        return mix(self.above if share > 0 else self.below, self.cell, weight)


def mix(one: RGB, other: RGB, weight: float) -> RGB:
    """Mix two colours; weight: of the first, from 0 to 1.

    >>> mix((255, 0, 0), (0, 0, 0), 0.5)
    (128, 0, 0)
    """
    red, green, blue = (
        round(weight * a + (1 - weight) * b) for a, b in zip(one, other, strict=True)
    )
    return red, green, blue


def parse_colour(text: str) -> RGB:
    """Read a colour as CSS writes it: #rrggbb or #rgb.

    >>> parse_colour("#f1a340"), parse_colour("#fff")
    ((241, 163, 64), (255, 255, 255))
    """
    digits = text.removeprefix("#")
    whole = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    red, green, blue = bytes.fromhex(whole)
    return red, green, blue


LIGHT = Theme(
    page=parse_colour("#f6f7f9"),
    card=parse_colour("#fff"),
    cell=parse_colour("#fff"),
    text=parse_colour("#16181d"),
    quiet=parse_colour("#596170"),
    line=parse_colour("#d5d9e1"),
    grid=parse_colour("#e6e9ef"),
    above=parse_colour("#f1a340"),
    below=parse_colour("#67a9cf"),
    above_text=parse_colour("#9a4a00"),
    below_text=parse_colour("#1b5a9c"),
    accent=parse_colour("#6a3d9a"),
    hatch=parse_colour("#c3c8d2"),
    input=parse_colour("#2f6fb3"),
    output=parse_colour("#0f8a83"),
)

DARK = Theme(
    page=parse_colour("#111317"),
    card=parse_colour("#191c21"),
    cell=parse_colour("#20242b"),
    text=parse_colour("#eceff4"),
    quiet=parse_colour("#a5adbb"),
    line=parse_colour("#363c47"),
    grid=parse_colour("#2b3038"),
    above=parse_colour("#ad6118"),
    below=parse_colour("#2f74ad"),
    above_text=parse_colour("#fdb863"),
    below_text=parse_colour("#92c5de"),
    accent=parse_colour("#c9a7f0"),
    hatch=parse_colour("#4d5462"),
    input=parse_colour("#6aa9e9"),
    output=parse_colour("#45c4b8"),
)

THEMES: dict[ThemeName, Theme] = {"light": LIGHT, "dark": DARK}
