"""Test figures by their pixels: cells, points and curves are where the numbers are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convcli import io
from convcli.drawing.palette import DARK, LIGHT, Theme
from convcli.drawing.sampling import diverging
from convcli.errors import FileError, FormatError, KernelError, ShapeError
from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.requests import Postprocess
from convcli.kernels import Kernel, kernel, response_curves
from convcli.learn.figures import check_figure
from convcli.learn.figures.field import FieldRequest, field_figure, run_field
from convcli.learn.figures.gallery import (
    GAP,
    ICON,
    SPACE,
    TILE,
    GalleryRequest,
    bank,
    filtered,
    gallery_figure,
    run_gallery,
)
from convcli.learn.figures.kernel import MARGIN, PLOT, SIDE, kernel_figure
from convcli.learn.figures.pictures import sample_picture
from convcli.network.graph import Network, read_input
from convcli.network.parser import parse
from convcli.network.receptive_field import sees
from convcli.shapes.geometry import Geometry
from convcli.shapes.parse import parse_shape


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


class TestGallery:
    @pytest.mark.parametrize("name", ["sobel-x", "gaussian:sigma=2", "laplacian", "motion"])
    @pytest.mark.parametrize("colours", [1, 3])
    def test_a_result_is_that_of_apply(self, tmp_path: Path, name: str, colours: int) -> None:
        picture = np.random.default_rng(2).integers(0, 256, (30, 40, colours), dtype=np.uint8)
        io.save(tmp_path / "x.png", picture[..., 0] if colours == 1 else picture)
        drawn = filtered(picture.repeat(3 // colours, axis=2), kernel(name))
        request = ApplyRequest(
            str(tmp_path / "x.png"),
            (name,),
            geometry=Geometry(padding="same"),
            postprocess=Postprocess(dtype="float64"),
        )
        y = run_apply(plan_apply(request)).values.reshape(30, 40, colours)
        if abs(kernel(name).sum) < 0.5:
            y = 127.5 + 127.5 * y / np.abs(y).max()
        assert np.abs(drawn - np.clip(y, 0, 255)).max() <= 0.51

    def test_tiles_are_in_their_places_with_names(self) -> None:
        kernels = [kernel(name) for name in ("box", "sobel-x", "log")]
        picture = sample_picture()
        figure = gallery_figure(picture, kernels)
        for number, tile in enumerate([picture, *(filtered(picture, each) for each in kernels)]):
            left = GAP + number * (TILE + GAP)
            top = GAP + ICON + SPACE
            assert np.array_equal(figure[top : top + TILE, left : left + TILE], tile)
            name = figure[GAP : GAP + ICON, left + 30 * bool(number) : left + TILE]
            assert near(name, LIGHT.text, 90).any()
        icon = figure[GAP : GAP + ICON, 2 * GAP + TILE * 2 + GAP : 2 * GAP + TILE * 2 + GAP + ICON]
        assert np.array_equal(icon[4::8, 4::8], diverging(kernels[1].taps / 2))

    def test_the_bank_has_every_kernel_of_two_axes(self) -> None:
        found = {each.name for each in bank()}
        assert {"box", "sobel-x", "kirsch-nw", "frei-chen-9", "emboss"} <= found
        assert not found & {"sobel-z", "random"}
        columns, rows = 8, -(-(len(found) + 1) // 8)
        figure = gallery_figure(sample_picture(), tuple(bank()))
        assert figure.shape[:2] == (
            rows * (ICON + SPACE + TILE + GAP) + GAP,
            columns * (TILE + GAP) + GAP,
        )

    def test_small_pictures_are_enlarged_and_large_ones_reduced(self, tmp_path: Path) -> None:
        for size, shape in (((5, 8), (5, 8)), ((300, 600), (72, 144)), ((1, 1), (1, 1))):
            path = str(tmp_path / f"{size[0]}.png")
            io.save(path, np.full(size, 9, np.uint8))
            output = f"{path}.webp"
            result = run_gallery(GalleryRequest(output, path, ("box", "gaussian:sigma=40")))
            assert result.shape == shape
            assert [each.name for each in result.kernels] == ["box", "gaussian:sigma=40"]

    def test_what_does_not_fit(self, tmp_path: Path) -> None:
        io.save(tmp_path / "x.npy", np.ones((4, 4)))
        io.save(tmp_path / "x.png", np.ones((4, 4), np.uint8))
        output = str(tmp_path / "y.png")
        with pytest.raises(FileError, match=r"x.npy is an array; expected a picture"):
            run_gallery(GalleryRequest(output, str(tmp_path / "x.npy")))
        with pytest.raises(KernelError, match="the kernel 1,2,1, 3; expected one of two axes"):
            run_gallery(GalleryRequest(output, None, ("1,2,1",)))
        path = str(tmp_path / "x.png")
        with pytest.raises(FileError, match="is the input or the output"):
            run_gallery(GalleryRequest(path, path, overwrite=True))
        assert not (tmp_path / "y.png").exists()


class TestField:
    @pytest.mark.parametrize(
        ("shape", "layers", "index"),
        [
            ("28x28x1", "conv:4,k=3,p=1 maxpool:2", (3, 0)),
            ("28x40", "conv:4,k=3,d=4", (0, 5)),
            ("900x300x3", "conv:4,k=7,s=2 maxpool:2", (10, 70)),
            ("6x6", "deconv:2,k=2,s=2", (11, 11)),
        ],
    )
    def test_samples_that_the_output_sees_keep_their_colour(
        self, shape: str, layers: str, index: tuple[int, int]
    ) -> None:
        network = Network.of(read_input(parse_shape(shape)), parse(layers))
        seen = sees(network, index)
        height, width = network.x.spatial
        picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
        figure = field_figure(picture, network.x.spatial, seen)
        scale = min(720 / max(height, width), 24)
        scale = int(scale) if scale >= 1 else scale
        for i in range(0, height, max(height // 40, 1)):
            for j in range(0, width, max(width // 40, 1)):
                y, x = 44 + int((i + 0.5) * scale), 16 + int((j + 0.5) * scale)
                if tuple(figure[y, x]) == LIGHT.accent:
                    continue
                inside = i in seen.axes[0] and j in seen.axes[1]
                if scale >= 1:
                    wanted = picture[i, j] if inside else 0.3 * picture[i, j] + 0.7 * 128
                    assert np.abs(figure[y, x] - wanted).max() <= 0.5, (i, j)
        (top, bottom), (left, right) = seen.spans
        for y, x in (
            (44 + int(top * scale) - 1, 16 + int((left + right + 1) / 2 * scale)),
            (44 + int((top + bottom + 1) / 2 * scale), 16 + int(left * scale) - 1),
        ):
            patch = figure[y - 1 : y + 2, x - 1 : x + 2]
            assert (patch == LIGHT.accent).all(-1).any()

    def test_a_picture_is_drawn_in_the_input_s_size(self, tmp_path: Path) -> None:
        path = str(tmp_path / "x.png")
        io.save(path, np.full((50, 90, 3), 200, np.uint8))
        network = Network.of(read_input((20, 20, 3)), parse("conv:4,k=3"))
        output = tmp_path / "y.png"
        run_field(FieldRequest(network, (0, 0), path, str(output)))
        drawn = io.load(str(output)).array
        assert drawn.shape == (20 * 24 + 44 + 16, 20 * 24 + 32, 3)
        assert (drawn[44 + 30, 16 + 30] == 200).all()

    def test_what_does_not_fit(self, tmp_path: Path) -> None:
        path = str(tmp_path / "x.png")
        io.save(path, np.full((5, 5), 9, np.uint8))
        before = (tmp_path / "x.png").read_bytes()
        flat = Network.of(read_input((20,)), parse("conv:4,k=3"))
        with pytest.raises(ShapeError, match="an input of 1 spatial axis, 20; expected two"):
            run_field(FieldRequest(flat, (0,), path, str(tmp_path / "y.png")))
        network = Network.of(read_input((20, 20)), parse("conv:4,k=3"))
        with pytest.raises(FileError, match="is the input or the output"):
            run_field(FieldRequest(network, (0, 0), path, path, overwrite=True))
        (tmp_path / "link.png").symlink_to(path)
        with pytest.raises(FileError, match="is the input or the output"):
            run_field(FieldRequest(network, (0, 0), path, str(tmp_path / "link.png"), True))
        assert (tmp_path / "x.png").read_bytes() == before


def test_files_of_figures(tmp_path: object) -> None:
    assert check_figure(f"{tmp_path}/a.png").form.name == "png"
    for name in ("-", f"{tmp_path}/a.npy", f"{tmp_path}/a", f"{tmp_path}/a.csv"):
        with pytest.raises(FileError):
            check_figure(name)
    with pytest.raises(FormatError):
        check_figure(f"{tmp_path}/a.pgm")
