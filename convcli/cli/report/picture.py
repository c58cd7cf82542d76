"""Pictures and line plots for a terminal, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, groupby, zip_longest

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from convcli.drawing.palette import LIGHT
from convcli.drawing.sampling import Pixels, diverging, envelope

POSITIVE, NEGATIVE, ZERO = "░▒█", "-=≡", "·"
"""Characters for values without colour, by thirds of the largest magnitude."""

FAINT = 0.02
"""The share of the largest magnitude below which a value is shown as ZERO."""

SIXTEEN = (
    *((0, 0, 170), (85, 85, 255), (85, 255, 255)),
    (170, 170, 170),
    *((255, 255, 85), (255, 85, 85), (170, 0, 0)),
)
"""From blue to gray to red: the colours of a terminal with 16, as Rich has them."""

SCALE = replace(LIGHT, cell=LIGHT.grid)
"""The colours of values: 0 is a light gray, which is visible on a dark and on a white terminal."""

SHADES = " ░▒▓█"
"""Characters for brightness without colour."""

_UPPER, _BOTH = "▀", "█"
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""The bits of the dots in a character of braille, in rows and columns."""


def has_colours(console: Console) -> bool:
    """Return whether a console shows half-blocks in colours.

    It does not if it is no terminal, NO_COLOR is set, or its encoding has no half-blocks.
    """
    encodes = console.encoding.startswith("utf")
    has_any = console.color_system is not None and not console.no_color
    return console.is_terminal and has_any and encodes


def signed_colours(shares: NDArray[np.floating], console: Console) -> Pixels:
    """Colour values from -1 to 1: (...) -> (..., 3). Of 16 colours, use those of SIXTEEN."""
    if console.color_system in ("truecolor", "256"):
        return diverging(shares, SCALE)
    level = np.sign(shares) * np.ceil(np.abs(shares) * 3)
    level = np.where(np.abs(shares) < FAINT, 0, level)
    return np.asarray(np.array(SIXTEEN, np.uint8)[level.astype(int) + 3])


def half_blocks(pixels: Pixels) -> list[Text]:
    """Return a picture with two pixels in each character: (H, W, 3) -> ceil(H / 2) lines."""
    lines = []
    for upper, lower in zip_longest(pixels[::2].tolist(), pixels[1::2].tolist()):
        line = Text()
        pairs = zip(upper, lower or [None] * len(upper), strict=True)
        for (above, below), run in groupby(pairs):
            same = above == below
            style = _style(tuple(above), None if same or below is None else tuple(below))
            line.append((_BOTH if same else _UPPER) * len(list(run)), style)
        lines.append(line)
    return lines


@lru_cache(maxsize=4096)
def _style(above: tuple[int, int, int], below: tuple[int, int, int] | None) -> Style:
    ground = Color.from_rgb(*below) if below else None
    return Style(color=Color.from_rgb(*above), bgcolor=ground)


def signs(shares: NDArray[np.floating]) -> list[Text]:
    """Return values from -1 to 1 without colour, two characters each: (H, W) -> H lines.

    >>> [line.plain for line in signs(np.array([[-1.0, 0.0, 0.5]]))]
    ['≡≡··▒▒']
    """
    return [Text("".join(2 * _sign(share) for share in row)) for row in shares.tolist()]


def _sign(share: float) -> str:
    if not abs(share) >= FAINT:
        return ZERO
    ramp = POSITIVE if share > 0 else NEGATIVE
    return ramp[min(int(abs(share) * len(ramp) * (1 - 1e-9)), len(ramp) - 1)]


def shades(pixels: Pixels) -> list[Text]:
    """Return a picture without colour: (H, W, 3) -> ceil(H / 2) lines of its brightness."""
    pairs = [pixels[at : at + 2].mean((0, 2)) for at in range(0, len(pixels), 2)]
    return [
        Text("".join(SHADES[round(value / 255 * (len(SHADES) - 1))] for value in row))
        for row in pairs
    ]


def curve(
    values: Sequence[float] | NDArray[np.generic],
    columns: int,
    rows: int,
    low: float,
    high: float,
) -> list[str]:
    """Draw a line in characters of braille, of 2 x 4 dots each: (N,) -> `rows` lines.

    low, high: the values of the lowest and the highest dot.

    >>> curve([0, 1, 0], 4, 1, 0, 1)
    ['⣠⠞⠙⢦']
    """
    ends = np.stack(envelope(values, 2 * columns))
    scale = (4 * rows - 1) / ((high - low) or 1.0)
    known = np.isfinite(ends)
    first, last = np.rint(np.where(known, (ends - low) * scale, -1)).astype(int).clip(-1, 4 * rows)
    heights = np.arange(4 * rows)[::-1, None]
    dots = (heights >= first) & (heights <= last) & known[0]
    codes = np.einsum("ricj,ij->rc", dots.reshape(rows, 4, columns, 2), _DOTS)
    return ["".join(chr(0x2800 + code) if code else " " for code in row) for row in codes.tolist()]


def line_plot(
    values: Sequence[float] | NDArray[np.generic],
    columns: int,
    rows: int,
    ends: tuple[float, float],
    labels: Sequence[str],
) -> list[Text]:
    """Draw a line with a vertical axis from ends[0] to ends[1], and labels below it.

    columns: of the whole plot. labels: of the left end, the middle and the right end.
    """
    low, high = ends
    names = [f"{high:.4g}", *[""] * (rows - 2), f"{low:.4g}"]
    gutter = max(map(len, names)) + 2
    room = max(columns - gutter, 4)
    drawn = curve(values, room, rows, low, high)
    lines = [
        Text(f"{name:>{gutter - 2}} {'┤' if name else '│'}{line}")
        for name, line in zip(names, drawn, strict=True)
    ]
    lines.append(Text(" " * (gutter - 1) + "└" + "─" * room))
    left, middle, right = labels
    inner = room - len(left) - len(right)
    middle = middle if len(middle) + 2 <= inner else ""
    lines.append(Text(f"{'':{gutter}}{left}{middle:^{max(inner, 1)}}{right}"))
    return lines


def columns_of(block: Sequence[Text]) -> int:
    """Return the width of the widest line."""
    return max((line.cell_len for line in block), default=0)


def beside(blocks: Sequence[Sequence[Text]], gap: int = 2) -> list[Text]:
    """Place blocks of lines side by side, aligned at their tops."""
    widths = [columns_of(block) for block in blocks]
    lines = []
    for parts in zip_longest(*blocks):
        line = Text()
        for number, (part, width) in enumerate(zip(parts, widths, strict=True)):
            line.append(" " * gap if number else "")
            line.append_text(part or Text())
            line.append(" " * (width - (part.cell_len if part else 0)))
        lines.append(line)
    return lines


def in_rows(blocks: Sequence[Sequence[Text]], room: int, gap: int = 2) -> list[Text]:
    """Place blocks side by side, in as many rows as their widths need."""
    rows: list[list[Sequence[Text]]] = []
    used = 0
    for block in blocks:
        width = columns_of(block)
        if not rows or used + gap + width > room:
            rows.append([block])
            used = width
        else:
            rows[-1].append(block)
            used += gap + width
    return list(chain.from_iterable(beside(row, gap) for row in rows))


def print_lines(console: Console, lines: Sequence[Text]) -> None:
    """Print lines, without blanks at their ends."""
    for line in lines:
        line.rstrip()
        console.print(line)
