"""Times as a picture of bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.bench.run import Report, Row
from convcli.errors import FileError
from convcli.io import Written
from convcli.shapes.spec import show

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

COLOURS = {"pick": (0, 90, 160), "method": (110, 170, 215), "peer": (165, 165, 165), "wrong": (200, 30, 30)}
LINE, MARGIN, NAMES, BARS, TIMES, GAP = 22, 16, 200, 480, 120, 3
"""Pixels: the height of a line, the margins, the widths of the three columns, and between two bars."""
SIZE = 13
"""Of the letters."""


def check_picture(target: str, *, overwrite: bool) -> None:
    """Refuse, before any work, a target that `save_bars` would refuse. Raises FileError."""
    format = io.check_target(target, overwrite=overwrite)
    if format is None or not io.holds(format, np.uint8, 3) or io.lookup(format).kind != "image":
        raise FileError(f"{target} for a picture", "expected a format that holds colours", "write .png")


def save_bars(reports: Sequence[Report], target: str, *, overwrite: bool) -> Written:
    """Write the bars of some cases as a picture, one case under the other."""
    return io.save(target, draw_bars(reports), overwrite=overwrite)


def draw_bars(reports: Sequence[Report]) -> NDArray[np.uint8]:
    """A picture (H, W, 3): for each case its title and a bar for each row; a case's longest bar is BARS long."""
    from PIL import Image, ImageDraw

    lines = sum(len(report.rows) + 2 for report in reports)
    sheet = Image.new("RGB", (2 * MARGIN + NAMES + BARS + TIMES, 2 * MARGIN + (lines - 1) * LINE), "white")
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for report in reports:
        _write(draw, MARGIN, top, _title(report))
        for row in report.rows:
            top += LINE
            _draw_row(draw, report, row, top)
        top += 2 * LINE
    return np.asarray(sheet)


def _draw_row(draw: ImageDraw, report: Report, row: Row, top: int) -> None:
    left = MARGIN + NAMES
    right = left + max(round(BARS * row.seconds / report.slowest), 1)
    _write(draw, left - 8, top, row.name, right=True)
    draw.rectangle((left, top + GAP, right - 1, top + LINE - GAP - 1), fill=COLOURS[_kind(report, row)])
    _write(draw, right + 6, top, f"{1e3 * row.seconds:.3g} ms")


def _kind(report: Report, row: Row) -> str:
    if not row.passed:
        return "wrong"
    return "pick" if row is report.pick else "peer" if row.is_peer else "method"


def _title(report: Report) -> str:
    case = report.case
    return f"{show(case.shape)} {case.dtype} with {report.kernel.name}, {report.threads} threads: the pick is darkest"


def _write(draw: ImageDraw, left: int, top: int, text: str, *, right: bool = False) -> None:
    from PIL import ImageFont

    font: Any = ImageFont.load_default(SIZE)
    draw.text((left, top + LINE // 2), text, fill="black", font=font, anchor="rm" if right else "lm")
