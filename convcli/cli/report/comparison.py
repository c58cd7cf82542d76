"""The input and the output of a run of `apply` in the terminal, as pictures or as line plots."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.text import Text

from convcli.cli.report.picture import (
    beside,
    half_blocks,
    has_colours,
    line_plot,
    print_lines,
    shades,
)
from convcli.cli.report.text import make_console
from convcli.drawing.sampling import Pixels
from convcli.jobs.apply import ApplyResult
from convcli.learn.figures.comparison import common_scale
from convcli.learn.figures.panels import Panel, PicturePanel, SignalPanel, panels

GAP = 2
AROUND = 7
"""Lines of the terminal besides the pictures: captions, the report, and the next prompt."""

LARGEST = 8
"""Columns of a sample at most."""

FEWEST, MOST = 3, 15
"""Lines of the plot of a signal, without the axis below it."""

_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 - 15 / 32


def print_comparison(result: ApplyResult, *, err: bool) -> None:
    """Draw the input and the output of a run on stdout or stderr."""
    console = make_console(err=err)
    print_lines(console, [Text(), *comparison_lines(panels(result), console)])


def comparison_lines(drawn: Sequence[Panel], console: Console) -> list[Text]:
    """Draw two pictures side by side at one scale, or two signals above each other."""
    pictures = [panel for panel in drawn if isinstance(panel, PicturePanel)]
    if pictures:
        return _pictures(pictures, console)
    signals = [panel for panel in drawn if isinstance(panel, SignalPanel)]
    lines = shutil.get_terminal_size().lines - 4  # the report, a blank line and the prompt
    count = sum(len(panel.lines) for panel in signals)
    rows = min(max(lines // count - 3, FEWEST), MOST)
    return [line for panel in signals for line in _signal(panel, console, rows)]


def _pictures(pictures: Sequence[PicturePanel], console: Console) -> list[Text]:
    columns, lines = console.width, shutil.get_terminal_size().lines
    room = max((columns - GAP) // 2, 1)
    scale = min(common_scale(pictures, 2 * max(lines - AROUND, 4), room), LARGEST)
    captions = [
        [line for text in panel.caption for line in Text(text).wrap(console, room)]
        for panel in pictures
    ]
    highest = max(map(len, captions))
    blocks = [
        [*caption, *[Text()] * (highest - len(caption)), *_drawn(panel.pixels(scale), console)]
        for caption, panel in zip(captions, pictures, strict=True)
    ]
    return beside(blocks, GAP)


def _drawn(pixels: Pixels, console: Console) -> list[Text]:
    if not has_colours(console):
        return shades(pixels)
    if console.color_system not in ("truecolor", "256"):
        pixels = _dithered(pixels)
    return half_blocks(pixels)


def _dithered(pixels: Pixels) -> Pixels:
    """Add a pattern to a picture, so that few colours give its mean brightness."""
    rows, columns = np.indices(pixels.shape[:2]) % 4
    return np.clip(pixels + 85 * _BAYER[rows, columns, None], 0, 255).astype(np.uint8)


def _signal(panel: SignalPanel, console: Console, rows: int) -> list[Text]:
    caption = f"{panel.caption.title}: {panel.caption.note}"
    lines = list(Text(caption).wrap(console, console.width))
    first, last = (f"{place:g}" for place in panel.places)
    for values in panel.lines:
        low, high = panel.ends
        ends = (low, high) if low < high else (low - 1, high + 1)
        lines += line_plot(values, console.width, rows, ends, (first, "", last))
    return lines
