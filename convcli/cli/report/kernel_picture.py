"""A kernel in the terminal: a picture of its taps with a legend, and its response as curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np
from rich.console import Console
from rich.text import Text

from convcli.cli.report.picture import (
    FAINT,
    NEGATIVE,
    POSITIVE,
    ZERO,
    beside,
    columns_of,
    half_blocks,
    has_colours,
    in_rows,
    line_plot,
    signed_colours,
    signs,
)
from convcli.drawing.sampling import enlarged, reduced
from convcli.kernels import Kernel, response_curves
from convcli.kernels.model import Taps
from convcli.shapes.parse import counted

WIDEST, HIGHEST = 36, 18
"""Columns and lines of a picture of taps at most."""

LARGEST_TAP = 6
"""Columns of a tap at most; it is half as many lines high."""

CURVE_COLUMNS, CURVE_ROWS = 38, 6
STRIP = 4
"""Rows of pixels below which a picture is made higher: a signal's taps are a strip of colours."""

GAP = 2
CYCLES = ("0", "cycles a sample", "0.5")
LEGEND = 8
"""Columns of each side of the legend's scale."""


def kernel_lines(kernel: Kernel, console: Console, planes: int) -> list[Text]:
    """Draw the taps, at most this many planes of them, then the frequency response.

    Without colour, a tap is two characters, of other kinds above and below zero.
    """
    drawn = _planes(kernel.taps, console, planes)
    largest = max(float(np.abs(plane).max()) for plane in drawn)
    pictures = [_picture(plane / (largest or 1.0), console) for plane in drawn]
    leading = kernel.shape[:-2]
    if leading:
        for number, picture in enumerate(pictures):
            index = ", ".join(str(at) for at in np.unravel_index(number, leading))
            picture.insert(0, Text(f"[{index}]"))
    left = [
        *in_rows(pictures, console.width),
        *_legend(kernel.taps, largest, console),
        *_notes(kernel, drawn),
    ]
    curves = _curves(kernel)
    right = list(chain.from_iterable(curves))
    if columns_of(left) + GAP + columns_of(right) <= console.width:
        return beside([left, right], GAP)
    return [*left, Text(), *in_rows(curves, console.width)]


def _notes(kernel: Kernel, drawn: Sequence[Taps]) -> list[Text]:
    """Say what of a large kernel is drawn."""
    notes = []
    if kernel.taps.ndim > 1 and drawn[0].shape != kernel.shape[-2:]:
        notes.append("each cell is the mean of several taps")
    if (hidden := math.prod(kernel.shape[:-2]) - len(drawn)) > 0:
        notes.append(f"and {counted(hidden, 'more plane')}; -v shows all")
    return list(map(Text, notes))


def _planes(taps: Taps, console: Console, count: int) -> list[Taps]:
    """Return the first planes of the last two axes, reduced to what fits the terminal."""
    coloured = has_colours(console)
    wide = min(console.width if coloured else console.width // 2, WIDEST)
    high = 2 * HIGHEST if coloured else HIGHEST
    planes = taps.reshape(-1, *(taps.shape[-2:] if taps.ndim > 1 else (1, taps.size)))
    return [reduced(plane, high, wide) for plane in planes[:count]]


def _picture(shares: Taps, console: Console) -> list[Text]:
    """Draw one plane, whose values are from -1 to 1."""
    if not has_colours(console):
        return signs(shares)
    high, wide = shares.shape
    factor = max(min(WIDEST // wide, 2 * HIGHEST // high, LARGEST_TAP), 1)
    pixels = enlarged(signed_colours(shares, console), factor)
    return half_blocks(pixels.repeat(STRIP, axis=0) if len(pixels) < STRIP else pixels)


def _legend(taps: Taps, largest: float, console: Console) -> list[Text]:
    """Describe the colours, or the characters, of values above and below zero."""
    negative, positive = bool((taps < 0).any()), bool((taps > 0).any())
    if has_colours(console):
        shares = np.linspace(-1.0 if negative else 0.0, 1.0 if positive else 0.0, 2 * LEGEND)
        (line,) = half_blocks(signed_colours(np.stack([shares, shares]), console))
        low = f"{-largest:.4g} " if negative else "0 "
        high = f" {largest:.4g}" if positive else " 0"
        return [Text.assemble(low, line, high)]
    parts = [f"{POSITIVE} from 0 to {largest:.4g}"] if positive else []
    parts += [f"{NEGATIVE} from 0 to {-largest:.4g}"] if negative else []
    return list(map(Text, [*parts, f"{ZERO} within {FAINT:.0%} of 0"]))


def _curves(kernel: Kernel) -> list[list[Text]]:
    """Draw a signal's taps, and the gain along each line; lines with a gain of 0 are named last."""
    drawn = []
    if kernel.taps.ndim == 1 and kernel.taps.size > 1:
        ends = min(float(kernel.taps.min()), 0.0), max(float(kernel.taps.max()), 0.0)
        drawn.append(_plot("taps", kernel.taps, ends, ("0", "", str(kernel.taps.size - 1))))
    found = response_curves(kernel)
    drawn += [
        _plot(f"gain along {each.along}", each.gains, (0.0, float(each.gains.max())), CYCLES)
        for each in found
        if not each.silent
    ]
    if silent := [each.along for each in found if each.silent]:
        drawn.append([Text(f"gain along {' and '.join(silent)}: 0")])
    return drawn


def _plot(title: str, values: Taps, ends: tuple[float, float], labels: Sequence[str]) -> list[Text]:
    return [Text(title), *line_plot(values, CURVE_COLUMNS, CURVE_ROWS, ends, labels)]
