"""Test what a run of `apply` draws: pixels are the engine's values, at their places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcli import correlate, io
from convcli.drawing.palette import LIGHT
from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.requests import Postprocess
from convcli.learn.figures.comparison import MARGIN, common_scale, comparison_figure
from convcli.learn.figures.panels import NOT_FINITE, Panel, PicturePanel, SignalPanel, panels
from convcli.shapes.geometry import Geometry

RNG = np.random.default_rng(5)


def compared(
    path: Path, array: np.ndarray, *kernels: str, dtype: str | None = None, **geometry: Any
) -> tuple[Panel, Panel]:
    """Save an array, filter it, and return the panels of the run."""
    io.save(path, array, overwrite=True)
    request = ApplyRequest(
        str(path), kernels, geometry=Geometry(**geometry), postprocess=Postprocess(dtype=dtype)
    )
    return panels(run_apply(plan_apply(request)))


def pictures(*drawn: Panel) -> list[PicturePanel]:
    assert all(isinstance(panel, PicturePanel) for panel in drawn)
    return [panel for panel in drawn if isinstance(panel, PicturePanel)]


def signals(*drawn: Panel) -> list[SignalPanel]:
    assert all(isinstance(panel, SignalPanel) for panel in drawn)
    return [panel for panel in drawn if isinstance(panel, SignalPanel)]


def test_signed_results_are_gray_at_zero(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (9, 11), dtype=np.uint8)
    before, after = pictures(*compared(tmp_path / "x.png", x, "sobel-x", dtype="float32"))
    y = correlate(x, np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]))
    assert np.array_equal(before.pixels(1), x[..., None].repeat(3, 2))
    wanted = np.rint(255 * (y / np.abs(y).max() + 1) / 2)
    assert np.abs(after.pixels(1)[..., 0] - wanted).max() <= 1
    assert "0 is gray" in after.caption.note
    assert f"{y.min():.4g} to {y.max():.4g}" in after.caption.note
    assert after.pixels(3).shape == (21, 27, 3)
    flat = pictures(*compared(tmp_path / "f.npy", np.full((5, 5), -2.0), "sobel-x", dims=2))
    assert {*flat[0].pixels(1).ravel().tolist()} == {0}


def test_clipped_signs_are_drawn_unless_the_result_is_saved(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (9, 11), dtype=np.uint8)
    path = tmp_path / "x.png"
    _, wanted = pictures(*compared(path, x, "sobel-x", dtype="float32"))
    _, drawn = pictures(*compared(path, x, "sobel-x"))
    assert np.array_equal(drawn.values, wanted.values)
    assert drawn.ends is None
    assert drawn.caption.title.startswith("after: sobel-x before clipping, 7x9 float32")
    request = ApplyRequest(str(path), ("sobel-x",), str(tmp_path / "y.png"))
    _, saved = pictures(*panels(run_apply(plan_apply(request))))
    assert np.array_equal(saved.values, np.clip(wanted.values, 0, 255))
    assert saved.ends == (0, 255)
    for kernels in (["sharpen"], ["edges"], ["sobel-x", "sobel-y"]):
        _, after = pictures(*compared(path, x, *kernels))
        assert ("before clipping" in after.caption.title) == (len(kernels) == 2)


def test_reduced_pictures_are_means(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    before, after = pictures(*compared(tmp_path / "x.png", x, "box", padding="same"))
    assert np.array_equal(
        before.pixels(0.1), np.rint(x.reshape(4, 10, 6, 10, 3).mean((1, 3))).astype(np.uint8)
    )
    assert common_scale([before, after], 20, 40) == 0.5
    assert common_scale([before, after], 400, 399) == 6


def test_alpha_shows_a_pattern_of_two_grays(tmp_path: Path) -> None:
    x = np.zeros((12, 12, 4), np.uint8)
    x[:, :6] = (10, 20, 30, 255)
    path = tmp_path / "x.png"
    before, after = pictures(*compared(path, x, "identity", padding="same"))
    _, floats = pictures(*compared(path, x, "identity", padding="same", dtype="float32"))
    _, wide = pictures(*compared(path, x, "identity", padding="same", dtype="uint16"))
    assert wide.alpha is not None
    _, volume = pictures(*compared(path, x, "box", dims=3, padding="same"))
    assert volume.values.shape == (12, 12, 3)
    assert volume.alpha is not None
    assert np.array_equal(floats.alpha, before.alpha)
    for panel in (before, after):
        pixels = panel.pixels(1)
        assert (pixels[:, :6] == (10, 20, 30)).all()
        assert {*pixels[:, 6:].ravel().tolist()} == {190, 225}


def test_values_that_are_not_finite_are_magenta(tmp_path: Path) -> None:
    x = RNG.random((6, 6))
    x[2, 3], x[0, 0] = np.nan, np.inf
    before, _ = pictures(*compared(tmp_path / "x.npy", x, "identity:size=1"))
    lost = (before.pixels(1) == NOT_FINITE).all(2)
    assert np.array_equal(lost, ~np.isfinite(x))
    assert (before.pixels(0.5) == NOT_FINITE).all(2).sum() == 2
    assert "not finite: magenta" in before.caption.note
    nothing, _ = pictures(*compared(tmp_path / "n.npy", np.full((4, 4), np.nan), "identity:size=1"))
    assert (nothing.pixels(1) == NOT_FINITE).all()
    assert "no finite value" in nothing.caption.note


@pytest.mark.parametrize(
    ("shape", "kernels", "geometry", "note", "where"),
    [
        ((7, 9, 5), ["random:2x3x3x5"], {}, "channel 0 of 2", np.s_[..., 0]),
        ((7, 9), ["sobel-x", "sobel-y"], {}, "channel 0 of 2", np.s_[..., 0]),
        ((5, 7, 9), ["random:3x3x3"], {"dims": 3}, "plane 1 of 3", np.s_[1]),
        ((5, 7, 9), ["box"], {"dims": 2, "layout": "channels_first"}, "channel 0 of 5", np.s_[0]),
        ((2, 7, 9, 4), ["random:8x3x3x4"], {"dims": 2}, "item 0 of 2", np.s_[0, ..., 0]),
        ((7, 9, 3), ["random:3x3x3x3"], {}, "", np.s_[...]),
    ],
)  # fmt: skip
def test_what_is_left_out_is_named(
    tmp_path: Path,
    shape: tuple[int, ...],
    kernels: list[str],
    geometry: dict[str, Any],
    note: str,
    where: Any,
) -> None:
    path = tmp_path / "x.npy"
    _, after = pictures(*compared(path, RNG.normal(size=shape), *kernels, **geometry))
    request = ApplyRequest(str(path), tuple(kernels), geometry=Geometry(**geometry))
    values = run_apply(plan_apply(request)).values
    if note:
        assert note in after.caption.note
        assert np.array_equal(after.values, values[where])
    assert after.values.shape[:2] in {(5, 7), (7, 9)}


def test_signals_are_lines_at_their_places(tmp_path: Path) -> None:
    x = RNG.normal(size=50)
    before, after = signals(*compared(tmp_path / "x.npy", x, "1,2,1", stride=2))
    assert np.array_equal(before.lines, x[None])
    assert np.allclose(after.lines[0], (x[:-2] + 2 * x[1:-1] + x[2:])[::2])
    assert before.places == (0, 49)
    assert after.places == (1, 47)
    gaps, _ = signals(*compared(tmp_path / "x.npy", np.where(x > 1, np.nan, x), "1"))
    assert np.isnan(gaps.lines).sum() == (x > 1).sum()
    assert "not finite: a gap" in gaps.caption.note
    many, _ = signals(*compared(tmp_path / "x.npy", RNG.normal(size=(50, 6)), "1,2,1", dims=1))
    assert many.lines.shape == (4, 50)
    assert "channels 0 to 3 of 6" in many.caption.note


def test_a_figure_has_both_pictures_at_one_scale(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (30, 20, 3), dtype=np.uint8)
    drawn = pictures(*compared(tmp_path / "x.png", x, "box:size=5"))
    figure = comparison_figure(*drawn)
    scale = 520 // 30
    top, left = figure.shape[0] - MARGIN - 30 * scale, MARGIN
    for panel in drawn:
        pixels = panel.pixels(scale)
        height, width = pixels.shape[:2]
        assert np.array_equal(figure[top : top + height, left : left + width], pixels)
        left += width + MARGIN


def test_a_figure_of_signals_has_their_values(tmp_path: Path) -> None:
    x = np.sin(np.arange(200) / 9)
    drawn = signals(*compared(tmp_path / "x.npy", x, "box:size=31"))
    figure = comparison_figure(*drawn)
    blue = np.abs(figure.astype(int) - LIGHT.input).max(2) < 80
    assert figure.shape == (480, 900, 3)
    for number, panel in enumerate(drawn):
        top, bottom = 240 * number + 26, 240 * (number + 1) - 40
        low, high = panel.ends
        space = 0.05 * (high - low)
        for at in range(0, panel.lines.shape[1], 20):
            place = panel.places[0] + at
            column = round(52 + (900 - 14 - 52) * place / 199)
            share = (panel.lines[0, at] - low + space) / (high - low + 2 * space)
            row = round(bottom - share * (bottom - top))
            assert blue[row - 3 : row + 4, column - 2 : column + 3].any()


@pytest.mark.parametrize(
    "array",
    [
        np.ones((1, 1), np.uint8),
        np.zeros((3, 3), bool),
        np.ones((1, 900), np.uint16),
        RNG.normal(size=(4, 4)).astype(np.float16),
        np.array([5.0]),
        np.full(7, np.nan),
        np.full((3, 3), 1e308),
        np.full((2, 3000, 2), 7, np.int64),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_odd_inputs_are_drawn(tmp_path: Path, array: np.ndarray) -> None:
    dims = min(array.ndim, 2)
    drawn = compared(tmp_path / "x.npy", array, "identity:size=1", dims=dims)
    figure = comparison_figure(*drawn)
    assert figure.dtype == np.uint8
    assert max(figure.shape) < 2000
