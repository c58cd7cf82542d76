"""Check that the committed samples are those that samples/draw.py draws, and are small."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

SAMPLES = Path(__file__).parent.parent / "samples"
SHAPES = {
    "photo.png": (256, 384, 3),
    "digit.png": (28, 28),
    "logo.png": (96, 96, 4),
    "signal.csv": (512,),
    "volume.npy": (24, 24, 24),
}
TOLERANCE = {
    ".png": 1.0,
    ".csv": 1e-4,
    ".npy": 1e-6,
}  # another libm may round differently: one grey level, one digit


def read(path: Path) -> NDArray[Any]:
    """Load a sample without convcli, so that this file does not depend on its readers."""
    if path.suffix == ".png":
        with Image.open(path) as image:
            return np.asarray(image)
    return np.loadtxt(path) if path.suffix == ".csv" else np.load(path)


def run_script(name: str, folder: Path) -> None:
    """Run a script of the samples, which writes into a folder."""
    subprocess.run(
        [sys.executable, SAMPLES / f"{name}.py", folder],
        check=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(SAMPLES.parent)},
    )


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    subprocess.run(
        [sys.executable, SAMPLES / "draw.py", folder], check=True, stdin=subprocess.DEVNULL
    )
    return folder


def test_script_draws_exactly_the_committed_files(drawn: Path) -> None:
    assert {path.name for path in drawn.iterdir()} == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_committed_sample_is_what_the_script_draws(name: str, drawn: Path) -> None:
    committed, fresh = read(SAMPLES / name), read(drawn / name)
    assert committed.shape == SHAPES[name]
    assert committed.dtype == fresh.dtype
    np.testing.assert_allclose(
        committed.astype(float), fresh.astype(float), rtol=0, atol=TOLERANCE[Path(name).suffix]
    )


def test_samples_stay_small() -> None:
    assert sum((SAMPLES / name).stat().st_size for name in (*SHAPES, "draw.py")) < 400_000


def test_logo_hides_a_colour_where_it_is_clear() -> None:
    logo = read(SAMPLES / "logo.png")
    alpha = logo[..., 3]
    assert np.unique(logo[alpha == 0, :3], axis=0).tolist() == [[0, 255, 0]]
    assert alpha.max() == 255
    assert np.any((alpha > 0) & (alpha < 255))


def test_the_pictures_of_the_pages_are_what_their_script_draws(tmp_path: Path) -> None:
    run_script("tour", tmp_path)
    for name in ("tour.jpg", "borders.jpg"):
        with Image.open(SAMPLES / name) as committed, Image.open(tmp_path / name) as fresh:
            assert committed.size == fresh.size
            assert np.abs(np.asarray(committed, float) - np.asarray(fresh, float)).mean() < 2


def test_the_animations_are_what_their_script_draws(tmp_path: Path) -> None:
    run_script("animation", tmp_path)
    for path in tmp_path.iterdir():
        committed = SAMPLES / "pages" / path.name
        assert committed.stat().st_size < 300_000
        with Image.open(committed) as one, Image.open(path) as other:
            assert getattr(one, "n_frames", 1) == getattr(other, "n_frames", 1)
            levels = [np.asarray(picture.convert("L"), float) for picture in (one, other)]
            assert np.abs(levels[0] - levels[1]).mean() < 3  # another FreeType draws other letters


@pytest.mark.slow
def test_the_picture_of_the_interactive_page_is_what_its_script_draws(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    run_script("page", tmp_path)
    picture = SAMPLES / "pages" / "explain.png"
    assert picture.stat().st_size < 150_000
    with Image.open(picture) as committed, Image.open(tmp_path / "explain.png") as fresh:
        assert committed.size == fresh.size  # other fonts draw other letters
        levels = [np.asarray(picture.convert("L"), float) for picture in (committed, fresh)]
        assert np.abs(levels[0] - levels[1]).mean() < 12
