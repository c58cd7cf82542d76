"""Draw what many kernels do to one picture, each with its name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from convcli.drawing.canvas import Canvas
from convcli.drawing.palette import LIGHT, Theme
from convcli.drawing.plot import draw_picture, write_title
from convcli.drawing.sampling import Floats, Pixels, diverging, reduced
from convcli.engine.operations import correlate
from convcli.errors import KernelError
from convcli.io import Written
from convcli.kernels import Kernel, kernel, listing
from convcli.learn.figures import check_figure
from convcli.learn.figures.pictures import load_picture, sample_picture
from convcli.limits import Limits
from convcli.shapes.parse import show

TILE = 144
"""Width and height of a result at most, in pixels; a larger picture is reduced first."""

ICON = 24
"""Width and height of the taps above a result."""

GAP, SPACE, COLUMNS = 12, 6, 8

KEEPS = 0.5
"""The gain of flat areas below which a result is shown with 0 as gray."""


@dataclass(frozen=True)
class GalleryRequest:
    """A gallery to draw.

    input: a picture's file; None for a drawn sample. references: of the kernels; () for all of the
    bank that have two axes. output: the picture file to write.
    """

    output: str
    input: str | None = None
    references: tuple[str, ...] = ()
    overwrite: bool = False
    limits: Limits = field(default_factory=Limits.of)


@dataclass(frozen=True, eq=False)
class GalleryResult:
    """What was drawn. shape: of the filtered picture (H, W)."""

    kernels: tuple[Kernel, ...]
    shape: tuple[int, int]
    written: Written


def run_gallery(request: GalleryRequest) -> GalleryResult:
    """Filter a picture with every kernel, and write the results as one picture.

    Raises FileError for a file that is no picture or that exists, KernelError for a kernel that has
    not two axes.
    """
    target = check_figure(request.output, overwrite=request.overwrite, others=[request.input])
    kernels = tuple(map(_flat, request.references)) or tuple(bank())
    picture = sample_picture()
    if request.input is not None:
        panel = load_picture(request.input, request.limits)
        picture = panel.pixels(min(1.0, TILE / max(panel.values.shape[:2])))
    written = target.write(gallery_figure(picture, kernels))
    return GalleryResult(kernels, (picture.shape[0], picture.shape[1]), written)


def bank() -> Iterator[Kernel]:
    """Yield every kernel of the bank that has two axes and needs no parameters."""
    for family in listing():
        for name in family.names:
            try:
                yield kernel(name, dims=2)
            except KernelError:  # it has three axes, or needs a shape
                continue


def _flat(reference: str) -> Kernel:
    found = kernel(reference, dims=2)
    if found.taps.ndim != 2:
        remedy = "write a row as '1,2,1;'" if found.taps.ndim == 1 else "leave it out"
        raise KernelError(
            f"the kernel {reference}, {show(found.shape)}", "expected one of two axes", remedy
        )
    return found


def filtered(picture: Pixels, kernel: Kernel) -> Pixels:
    """Filter a picture (H, W, 3) as `apply --padding same` does, and return what is drawn of it.

    Values are clipped to 0 to 255. Of a kernel that does not keep flat areas, 0 is gray, and the
    largest magnitude is black or white.
    """
    y: Floats = correlate(picture, kernel.taps, axes=(0, 1), padding="same", boundary="reflect")
    if abs(kernel.gain) < KEEPS:
        y = 127.5 + 127.5 * y / (float(np.abs(y).max()) or 1.0)
    return np.rint(np.clip(y, 0, 255)).astype(np.uint8)


def gallery_figure(picture: Pixels, kernels: Sequence[Kernel], theme: Theme = LIGHT) -> Pixels:
    """Draw the picture, and the result of every kernel beside its taps and its name."""
    columns = min(COLUMNS, len(kernels) + 1)
    rows = math.ceil((len(kernels) + 1) / columns)
    factor = max(TILE // max(picture.shape), 1)
    height, width = (factor * size for size in picture.shape[:2])
    step = ICON + SPACE + height + GAP
    canvas = Canvas(columns * (TILE + GAP) + GAP, rows * step + GAP, theme.page)
    for number in range(len(kernels) + 1):
        left = GAP + number % columns * (TILE + GAP)
        top = GAP + number // columns * step
        right, bottom = left + TILE, top + ICON
        if number:
            each = kernels[number - 1]
            draw_picture(canvas, (left, top, left + ICON, bottom), _icon(each, theme), theme)
            write_title(canvas, (left + ICON + SPACE, top, right, bottom), each.name, theme)
            drawn = filtered(picture, each)
        else:
            write_title(canvas, (left, top, right, bottom), "the picture", theme)
            drawn = picture
        area = (left, bottom + SPACE, left + width, bottom + SPACE + height)
        draw_picture(canvas, area, drawn, theme)
    return canvas.array()


def _icon(kernel: Kernel, theme: Theme) -> Pixels:
    taps = reduced(kernel.taps, ICON, ICON)
    return diverging(taps / (float(np.abs(taps).max()) or 1.0), theme)
