"""Test figures by their pixels: cells, points and curves are where the numbers are."""

from __future__ import annotations

import numpy as np
import pytest

from convcli.drawing.palette import DARK, LIGHT, Theme
from convcli.drawing.sampling import diverging
from convcli.errors import FileError, FormatError
from convcli.kernels import Kernel, kernel, response_curves
from convcli.learn.figures import check_figure
from convcli.learn.figures.kernel import MARGIN, PLOT, SIDE, kernel_figure


def near(picture: np.ndarray, colour: tuple[int, int, int], within: int = 60) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(axis=-1) <= within


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("name", ["sobel-x", "gabor:theta=30,wavelength=8", "random:5x9", "box"])
def test_cells_have_the_colours_of_their_taps(name: str, theme: Theme) -> None:
    found = kernel(name)
    picture = kernel_figure(found, theme)[60 : 60 + SIDE, MARGIN : MARGIN + SIDE]
    wanted = diverging(found.taps / np.abs(found.taps).max(), theme)
    rows, columns = found.shape
    side = min(SIDE // rows, SIDE // columns)
    top, left = (SIDE - side * rows) // 2, (SIDE - side * columns) // 2
    for i in range(rows):
        for j in range(columns):
            corner = picture[top + i * side + 3, left + j * side + 3]
            assert np.array_equal(corner, wanted[i, j]), (i, j)


def test_the_curve_of_the_response_is_at_its_decibels() -> None:
    found = Kernel.of_taps("mean", np.ones((3, 3)) / 9)
    picture = kernel_figure(found)
    (curve, *_) = response_curves(found)
    left = 2 * MARGIN + SIDE + MARGIN + PLOT + MARGIN + 52
    right = left + PLOT - 52 - 14
    top, bottom = 34 + 26, picture.shape[0] - MARGIN // 2 - 40
    low, high = -80 - 2, 0 + 5
    blue = near(picture, LIGHT.input, 90)
    for at in (24, 80, 120, 200, 230):
        decibels = max(20 * np.log10(curve.gains[at]), -80)
        x = round(left + (right - left) * curve.frequencies[at] / 0.5)
        y = bottom - (decibels - low) / (high - low) * (bottom - top)
        rows = np.flatnonzero(blue[top:bottom, x]) + top
        assert rows.size
        assert rows.min() - 3 <= y <= rows.max() + 3


@pytest.mark.parametrize(
    "taps",
    [[5.0], [[0.0, 0.0]], np.zeros((2, 2)), np.ones((1, 1, 1)), np.ones(5000), np.eye(400), 1e-300],
    ids=lambda taps: str(np.shape(taps)),
)
def test_odd_kernels_have_figures(taps: object) -> None:
    picture = kernel_figure(Kernel.of_taps("k" * 300, np.atleast_1d(taps)))
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3


def test_files_of_figures(tmp_path: object) -> None:
    assert check_figure(f"{tmp_path}/a.png").form.name == "png"
    for name in ("-", f"{tmp_path}/a.npy", f"{tmp_path}/a", f"{tmp_path}/a.csv"):
        with pytest.raises(FileError):
            check_figure(name)
    with pytest.raises(FormatError):
        check_figure(f"{tmp_path}/a.pgm")
