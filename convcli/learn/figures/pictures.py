"""A picture file, or a drawn sample, as pixels to filter or to draw on."""

from __future__ import annotations

import numpy as np

from convcli import io
from convcli.drawing.sampling import Pixels
from convcli.errors import FileError
from convcli.jobs.flatten import flatten
from convcli.learn.figures.panels import PicturePanel, picture_panel
from convcli.limits import Limits

WHITE = (255, 255, 255)

SAMPLE = 144
"""Width and height of the sample in pixels."""


def load_picture(path: str, limits: Limits | None = None) -> PicturePanel:
    """Read the first frame of a picture, on white if it has alpha.

    Raises FileError for an array or for what `io.load` refuses, LimitError for too many pixels.
    """
    data = io.load(path, limits=limits)
    if data.kind != "image":
        raise FileError(
            f"{data.called} is an array", "expected a picture", "name a .png or another picture"
        )
    return picture_panel(flatten(data, WHITE if data.alpha else None, gray=False))


def sample_picture() -> Pixels:
    """Draw a gray picture with edges, a disk, stripes that become finer, points and a gradient.

    >>> sample_picture().shape
    (144, 144, 3)
    """
    y, x = np.mgrid[:SAMPLE, :SAMPLE] / SAMPLE
    picture = 0.35 + 0.3 * x
    picture[np.hypot(x - 0.28, y - 0.3) < 0.18] = 0.9
    picture[(np.abs(x - 0.72) < 0.14) & (np.abs(y - 0.3) < 0.16)] = 0.1
    picture[np.abs(x - 0.72 + (y - 0.3)) < 0.015] = 0.8
    picture[20:45:8, 60:62] = 1.0
    stripes = y > 0.6
    picture[stripes] = 0.5 + 0.4 * np.sin(2 * np.pi * (4 * x + 22 * x**2))[stripes]
    return np.asarray(np.rint(255 * picture), np.uint8)[..., None].repeat(3, axis=2)
