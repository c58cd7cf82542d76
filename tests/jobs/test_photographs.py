"""Photographs of scikit-image, filtered by the command line and compared with its filters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage as ndi
import skimage
from click.testing import CliRunner
from PIL import Image
from skimage import filters

from convcli.cli import main

PHOTOGRAPHS: dict[str, Callable[[], np.ndarray]] = {
    "astronaut": skimage.data.astronaut,
    "camera": skimage.data.camera,
    "coffee": skimage.data.coffee,
    "cat": skimage.data.chelsea,
}


@pytest.fixture(params=PHOTOGRAPHS)
def photograph(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> np.ndarray:
    """Provide a photograph, also saved in the working folder as photo.png and photo.jpg."""
    monkeypatch.chdir(tmp_path)
    pixels = PHOTOGRAPHS[request.param]()
    Image.fromarray(pixels).save("photo.png")
    Image.fromarray(pixels).save("photo.jpg", quality=95)
    return pixels


def apply(*words: str) -> str:
    result = CliRunner().invoke(main, ["apply", *words])
    assert result.exit_code == 0, result.stderr
    return result.stderr


def read(name: str) -> np.ndarray:
    if name.endswith(".npy"):
        return np.load(name)
    with Image.open(name) as image:
        return np.asarray(image)


def each(image: np.ndarray, call: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return (
        call(image)
        if image.ndim == 2
        else np.stack([call(plane) for plane in np.moveaxis(image, -1, 0)], -1)
    )


@pytest.mark.parametrize("sigma", [1, 3])
def test_gaussian_is_scikit_images(photograph: np.ndarray, sigma: int) -> None:
    apply(
        "photo.png",
        "-k",
        f"gaussian:sigma={sigma}",
        "--padding",
        "same",
        "--boundary",
        "symmetric",
        "-o",
        "y.npy",
    )
    channel_axis = -1 if photograph.ndim == 3 else None
    expected = filters.gaussian(
        photograph.astype(float), sigma, mode="reflect", channel_axis=channel_axis
    )
    np.testing.assert_allclose(read("y.npy"), expected, atol=2e-3)


@pytest.mark.parametrize(("name", "axis"), [("sobel-x", 1), ("sobel-y", 0)])
def test_sobel_is_scipys(photograph: np.ndarray, name: str, axis: int) -> None:
    apply("photo.png", "-k", name, "--padding", "same", "--boundary", "symmetric", "-o", "y.npy")
    expected = each(photograph.astype(float), lambda plane: ndi.sobel(plane, axis))
    np.testing.assert_array_equal(read("y.npy"), expected)


def test_a_blurred_photograph_stays_a_photograph(photograph: np.ndarray) -> None:
    told = apply(
        "photo.jpg",
        "-k",
        "gaussian:sigma=2",
        "--padding",
        "same",
        "--boundary",
        "reflect",
        "-o",
        "soft.jpg",
    )
    assert "clipped" not in told
    soft = read("soft.jpg").astype(float)
    assert soft.shape == photograph.shape
    assert abs(soft.mean() - photograph.mean()) < 2
    assert (
        np.abs(np.diff(soft, axis=0)).mean()
        < 0.7 * np.abs(np.diff(photograph.astype(float), axis=0)).mean()
    )


def test_every_named_use_is_verified(photograph: np.ndarray) -> None:
    for kernel in ("sharpen", "emboss", "motion:length=7,angle=30", "disk"):
        told = apply(
            "photo.png",
            "-k",
            kernel,
            "--padding",
            "same",
            "--boundary",
            "edge",
            "--verify",
            "-o",
            "y.npy",
        )
        assert "holds" in told
        Path("y.npy").unlink()
