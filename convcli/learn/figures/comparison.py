"""Draw the input and the output of a run of `apply`: pictures side by side, or signals."""

from __future__ import annotations

from collections.abc import Sequence

from convcli.drawing.canvas import Canvas
from convcli.drawing.palette import LIGHT, Theme
from convcli.drawing.plot import TEXT, Plot, curve_colours, paste, shortened, write_title
from convcli.drawing.sampling import Pixels
from convcli.learn.figures.panels import Panel, PicturePanel, SignalPanel

SIDE = 520
"""Width and height of a picture at most, in pixels."""

LARGEST = 24
"""The largest side of a sample, in pixels."""

PLOT_WIDTH, PLOT_HEIGHT = 900, 240
MARGIN, LINE_HEIGHT = 16, 18


def comparison_figure(before: Panel, after: Panel, theme: Theme = LIGHT) -> Pixels:
    """Draw two panels -> (H, W, 3) uint8: pictures at one scale, signals over the same places."""
    if isinstance(before, PicturePanel) and isinstance(after, PicturePanel):
        return _pictures((before, after), theme)
    return _signals([panel for panel in (before, after) if isinstance(panel, SignalPanel)], theme)


def common_scale(panels: Sequence[PicturePanel], height: float, width: float) -> float:
    """Return the largest scale at which each picture fits into an area; whole if above 1."""
    scale = min(
        min(height / panel.values.shape[0], width / panel.values.shape[1]) for panel in panels
    )
    return float(int(scale)) if scale >= 1 else scale


def _pictures(panels: tuple[PicturePanel, ...], theme: Theme) -> Pixels:
    scale = min(common_scale(panels, SIDE, SIDE), LARGEST)
    drawn = [panel.pixels(scale) for panel in panels]
    widths = [max(pixels.shape[1], SIDE // 2) for pixels in drawn]
    top = 2 * LINE_HEIGHT + MARGIN
    size = sum(widths) + 3 * MARGIN, top + max(map(len, drawn)) + MARGIN
    canvas = Canvas(*size, theme.page)
    left = MARGIN
    for panel, pixels, width in zip(panels, drawn, widths, strict=True):
        write_title(canvas, (left, 6, left + width, 6 + LINE_HEIGHT), panel.caption.title, theme)
        at = left, 6 + 1.5 * LINE_HEIGHT
        note = shortened(panel.caption.note, width, TEXT - 1)
        canvas.text(at, note, TEXT - 1, theme.quiet, anchor="lm")
        paste(canvas, pixels, (left, top))
        left += width + MARGIN
    return canvas.array()


def _signals(panels: list[SignalPanel], theme: Theme) -> Pixels:
    first = min(panel.places[0] for panel in panels)
    last = max(panel.places[1] for panel in panels)
    canvas = Canvas(PLOT_WIDTH, len(panels) * PLOT_HEIGHT, theme.page)
    for number, panel in enumerate(panels):
        low, high = panel.ends
        space = 0.05 * (high - low)
        plot = Plot(
            canvas,
            (0, number * PLOT_HEIGHT, PLOT_WIDTH, (number + 1) * PLOT_HEIGHT),
            (first, last),
            (low - space, high + space),
            theme,
            title=f"{panel.caption.title}: {panel.caption.note}",
            below="position in the input, in samples",
        )
        for line, colour in zip(panel.lines, curve_colours(theme), strict=False):
            plot.line(line, colour, within=panel.places)
    return canvas.array()
