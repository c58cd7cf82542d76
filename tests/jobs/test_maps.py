"""Maps of several kernels: of as many axes each, never written as alpha, scaled as colours are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convcli import io
from convcli.errors import FormatError, ShapeError
from convcli.jobs.apply import ApplyResult, plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.requests import from_options

RNG = np.random.default_rng(5)
GRAY = RNG.integers(0, 256, (7, 9), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (7, 9, 3), dtype=np.uint8)


def applied(
    folder: Path, array: np.ndarray, output: str, *kernels: str, **options: object
) -> ApplyResult:
    io.save(folder / "in.png", array, alpha=array.ndim == 3 and array.shape[2] == 2)
    request = from_options(
        ApplyRequest, str(folder / "in.png"), kernels, str(folder / output), **options
    )
    return run_apply(plan_apply(request))


@pytest.mark.parametrize("kernels", [("1,2,1", "box"), ("box", "1,2,1")])
@pytest.mark.parametrize("options", [{}, {"layout": "channels_first"}, {"combine": "max"}], ids=str)
def test_kernels_slide_over_as_many_axes_each(
    tmp_path: Path, kernels: tuple[str, str], options: dict[str, str]
) -> None:
    """With channels first, a signal's kernel and a picture's would both fit a 3x30 array."""
    np.save(tmp_path / "x.npy", np.ones((3, 30), np.float32))
    request = from_options(ApplyRequest, str(tmp_path / "x.npy"), kernels, None, **options)
    with pytest.raises(ShapeError, match=r"slide over (1 and 2|2 and 1) axes; .* --dims"):
        plan_apply(request)


@pytest.mark.parametrize("output", ["x.png", "x.webp", "x.gif"])
@pytest.mark.parametrize("count", [2, 4])
def test_maps_of_several_kernels_are_refused_where_the_last_would_be_alpha(
    tmp_path: Path, output: str, count: int
) -> None:
    kernels = ("box", "sobel-x", "sobel-y", "laplacian")[:count]
    refusal = rf"would hold the last of {count} feature maps as alpha"
    remedy = r"use --combine .*\.npy or \.tiff"
    with pytest.raises(FormatError, match=f"{refusal}; .*; {remedy}"):
        applied(tmp_path, GRAY, output, *kernels, padding="same")
    assert not (tmp_path / output).exists()


def test_maps_that_are_too_many_can_be_combined(tmp_path: Path) -> None:
    told = r"png cannot hold uint8 with 6 channels; .*; use --combine to make .*, or write .*\.npy"
    with pytest.raises(FormatError, match=told):
        applied(tmp_path, COLOURS, "x.png", "sobel-x", "sobel-y")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("count", [2, 4])
def test_maps_of_a_bank_are_refused_likewise(tmp_path: Path, dtype: str, count: int) -> None:
    np.save(tmp_path / "bank.npy", RNG.normal(size=(count, 3, 3, 3)))
    with pytest.raises(FormatError, match=f"the last of {count} feature maps as alpha"):
        applied(tmp_path, COLOURS, "x.png", str(tmp_path / "bank.npy"), dtype=dtype)


def test_three_maps_one_map_and_real_alpha_are_written(tmp_path: Path) -> None:
    applied(tmp_path, GRAY, "three.png", "box", "sobel-x", "sobel-y", padding="same")
    assert io.load(tmp_path / "three.png").array.shape == (7, 9, 3)
    (tmp_path / "in.png").unlink()
    applied(tmp_path, GRAY, "one.png", "sobel-x", "sobel-y", padding="same", combine="magnitude")
    assert io.load(tmp_path / "one.png").array.shape == (7, 9)
    (tmp_path / "in.png").unlink()
    applied(tmp_path, np.dstack([GRAY, GRAY]), "alpha.png", "box", padding="same")
    assert io.load(tmp_path / "alpha.png").alpha


@pytest.mark.parametrize("count", [2, 4])
def test_a_tiff_holds_them_as_bands_that_are_not_alpha(tmp_path: Path, count: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    kernels = ("identity", "sobel-x", "sobel-y", "laplacian")[:count]
    values = applied(tmp_path, GRAY, "x.tiff", *kernels, padding="same").values
    with tifffile.TiffFile(tmp_path / "x.tiff") as tiff:
        assert set(tiff.pages[0].extrasamples) == {0}
    data = io.load(tmp_path / "x.tiff")
    assert not data.alpha
    np.testing.assert_array_equal(data.array, values)


@pytest.mark.parametrize("output", ["x.npy", "x.npz", "x.tiff"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_alpha_has_the_range_of_the_colours_in_floats(
    tmp_path: Path, output: str, dtype: str
) -> None:
    for extra in ("tifffile", "imagecodecs"):
        pytest.importorskip(extra)
    picture = RNG.integers(1, np.iinfo(dtype).max, (7, 9, 4), dtype=dtype)
    picture[0, 0, 3] = np.iinfo(dtype).max
    io.save(tmp_path / "in.png", picture, alpha=True)
    source, target = str(tmp_path / "in.png"), str(tmp_path / output)
    run_apply(
        plan_apply(
            from_options(ApplyRequest, source, ("identity:size=1",), target, dtype="float32")
        )
    )
    np.testing.assert_allclose(io.load(tmp_path / output).array, picture, rtol=1e-6)
