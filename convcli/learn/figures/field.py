"""Draw the receptive field of an output over a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from convcli.drawing.canvas import Canvas
from convcli.drawing.palette import LIGHT, Theme
from convcli.drawing.plot import TEXT, paste, shortened, stretched, write_title
from convcli.drawing.sampling import Pixels
from convcli.errors import ShapeError
from convcli.io import Written
from convcli.learn.figures import check_figure
from convcli.learn.figures.pictures import load_picture
from convcli.limits import Limits
from convcli.network.graph import Network
from convcli.network.receptive_field import Box, sees
from convcli.shapes.parse import show

SIDE = 720
"""The larger side of the picture at most, in pixels."""

LARGEST = 24
"""The largest side of a sample in pixels."""

FADED = 0.3
"""How much is left of samples that the output does not depend on; the rest is GRAY."""

GRAY = 128

MARGIN, HEADING, BORDER = 16, 44, 2


@dataclass(frozen=True)
class FieldRequest:
    """The output of a network whose receptive field is drawn.

    picture: the file to draw on. output: the file to write.
    """

    network: Network
    index: tuple[int, ...]
    picture: str
    output: str
    overwrite: bool = False
    limits: Limits = field(default_factory=Limits.of)


def run_field(request: FieldRequest) -> Written:
    """Draw the receptive field of an output over a picture, and write that.

    Raises ShapeError for an input that has not two spatial axes, FileError for the picture itself
    as the output, and for files that are no pictures.
    """
    network = request.network
    if len(network.x.spatial) != 2:
        count = len(network.x.spatial)
        axes = f"{count} spatial {'axis' if count == 1 else 'axes'}"
        raise ShapeError(
            f"an input of {axes}, {show(network.x.spatial)}",
            "expected two, for a picture",
            "leave --plot out",
        )
    target = check_figure(request.output, overwrite=request.overwrite, others=[request.picture])
    panel = load_picture(request.picture, request.limits)
    scale = min(1.0, 2 * SIDE / max(panel.values.shape[:2]))
    seen = sees(network, request.index)
    title = f"output {list(request.index)} of {show(network.output.spatial)} {_words(seen)}"
    size = show(panel.values.shape[:2])
    note = f"{request.picture} {size}, drawn as the input {network.show(network.x)}"
    figure = field_figure(panel.pixels(scale), network.x.spatial, seen, (title, note))
    return target.write(figure)


def field_figure(
    picture: Pixels,
    spatial: Sequence[int],
    seen: Box,
    heading: tuple[str, str] = ("", ""),
    theme: Theme = LIGHT,
) -> Pixels:
    """Draw a picture in the size of an input (H, W): what is outside the box is faded."""
    scale = min(SIDE / max(spatial), LARGEST)
    scale = int(scale) if scale >= 1 else scale
    height, width = (max(round(size * scale), 1) for size in spatial)
    drawn = stretched(picture, height, width).astype(np.float64)
    masks = []
    for size, room, samples in zip(spatial, (height, width), seen.axes, strict=True):
        chosen = np.zeros(size, bool)
        chosen[list(samples)] = True
        masks.append(chosen[np.arange(room) * size // room])
    outside = ~np.logical_and.outer(*masks)
    drawn[outside] = FADED * drawn[outside] + (1 - FADED) * GRAY
    canvas = Canvas(max(width, 420) + 2 * MARGIN, height + HEADING + MARGIN, theme.page)
    right = canvas.size[0] - MARGIN
    write_title(canvas, (MARGIN, 4, right, 24), heading[0], theme)
    note = shortened(heading[1], right - MARGIN, TEXT - 1)
    canvas.text((MARGIN, 32), note, TEXT - 1, theme.quiet, anchor="lm")
    paste(canvas, np.rint(drawn).astype(np.uint8), (MARGIN, HEADING))
    if not seen.empty:
        rows, columns = map(np.flatnonzero, masks)
        left, top = MARGIN + int(columns[0]), HEADING + int(rows[0])
        end, bottom = MARGIN + int(columns[-1]) + 1, HEADING + int(rows[-1]) + 1
        frame = (left - BORDER, top - BORDER, end + BORDER, bottom + BORDER)
        canvas.rectangle(frame, None, theme.accent, BORDER)
    return canvas.array()


def _words(seen: Box) -> str:
    if seen.empty:
        return "sees only padding"
    (top, bottom), (left, right) = seen.spans
    gaps = "" if seen.gapless else ", with gaps"
    return f"sees rows {top} to {bottom}, columns {left} to {right}{gaps}"
