"""--gray filters the luma of a picture, --background the picture on a colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from convcli import io
from convcli.cli import main

RNG = np.random.default_rng(11)
RGBA = RNG.integers(0, 256, (9, 12, 4), dtype=np.uint8)
IDENTITY = ("-k", "identity:size=1")


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == code, result.stderr
    return result


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_gray_is_the_luma_of_bt_709_beside_alpha(in_tmp: Path, dtype: str, channels: int) -> None:
    picture = RGBA[..., :channels].astype(dtype) * (257 if dtype == "uint16" else 1)
    picture[..., 3:] = np.iinfo(dtype).max
    io.save("x.png", picture, alpha=channels == 4)
    run("apply", "x.png", *IDENTITY, "--gray", "-o", "y.png")
    luma = np.rint(picture[..., :3] @ np.array([0.2126, 0.7152, 0.0722]))
    values = io.load("y.png").array.astype(float)
    np.testing.assert_allclose(values[..., 0] if channels == 4 else values, luma, atol=1)
    assert values.shape == ((9, 12, 2) if channels == 4 else (9, 12))


def test_a_gray_picture_stays_as_it_is(in_tmp: Path) -> None:
    io.save("x.png", RGBA[:, :3, 0])  # three columns are not channels
    run("apply", "x.png", *IDENTITY, "--gray", "-o", "y.png")
    np.testing.assert_array_equal(io.load("y.png").array, RGBA[:, :3, 0])


@pytest.mark.parametrize("colour", ["white", "#ff8800", "rgb(1,2,3)"])
def test_a_picture_on_a_colour_is_what_pillow_composes(in_tmp: Path, colour: str) -> None:
    image = Image.fromarray(RGBA)
    image.save("x.png")
    run("apply", "x.png", *IDENTITY, "--background", colour, "-o", "y.png")
    expected = Image.alpha_composite(Image.new("RGBA", image.size, colour), image).convert("RGB")
    values = np.asarray(Image.open("y.png"))
    np.testing.assert_allclose(values.astype(int), np.asarray(expected).astype(int), atol=1)


@pytest.mark.parametrize(("colour", "shape"), [("#777", (9, 12)), ("red", (9, 12, 3))])
def test_gray_with_alpha_becomes_what_the_colour_needs(
    in_tmp: Path, colour: str, shape: tuple[int, ...]
) -> None:
    io.save("x.png", RGBA[..., :2], alpha=True)
    run("apply", "x.png", *IDENTITY, "--background", colour, "-o", "y.png")
    assert io.load("y.png").array.shape == shape


def test_frames_are_flattened_each(in_tmp: Path) -> None:
    frames = [Image.fromarray(RNG.integers(0, 256, (9, 12, 4), dtype=np.uint8)) for _ in range(3)]
    frames[0].save("x.webp", save_all=True, append_images=frames[1:], lossless=True, exact=True)
    told = run(
        "apply",
        "x.webp",
        *IDENTITY,
        "--frames",
        "all",
        "--gray",
        "--background",
        "white",
        "-o",
        "y.png",
    )
    assert "3 frames of 9x12 gray -> y.png 3 frames of 9x12 gray" in told.stderr
    assert "  read  3 frames; put on #ffffff; luma of RGB\n" in told.stderr


def test_the_error_names_the_option_that_helps(in_tmp: Path) -> None:
    io.save("x.png", RGBA, alpha=True)
    told = run("apply", "x.png", "-k", "box", "-o", "y.jpg", code=2).stderr
    assert "jpg cannot hold alpha (4 channels); " in told
    assert "; use --background white, or write .png" in told
    run("apply", "x.png", "-k", "box", "-o", "y.jpg", "--background", "white")
    np.save("x.npy", np.ones((9, 9)))
    assert "x.npy is an array" in run("apply", "x.npy", "-k", "box", "--gray", code=2).stderr
    assert (
        "did you mean 'white'"
        in run("apply", "x.png", "-k", "box", "--background", "whit", code=2).stderr
    )


def test_edges_are_the_magnitude_of_sobel(in_tmp: Path) -> None:
    io.save("x.png", RGBA[..., :3])
    run("apply", "x.png", "-k", "edges", "-o", "a.png")
    run("apply", "x.png", "-k", "sobel-x", "-k", "sobel-y", "--combine", "magnitude", "-o", "b.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    run("batch", "x.png", "-k", "edges", "--out", "out")
    assert Path("out/x.png").read_bytes() == Path("b.png").read_bytes()
    assert "expected it alone" in run("apply", "x.png", "-k", "edges", "-k", "box", code=2).stderr
    assert "choose sobel-x" in run("kernels", "show", "edges", code=2).stderr
