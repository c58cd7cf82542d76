"""Write GIF: exactly if the palette holds the picture, else approximately and with a warning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import run
from numpy.typing import NDArray
from PIL import Image

from convcli.io import save
from convcli.io.data import Metadata, Timing

pytestmark = pytest.mark.usefixtures("in_tmp")
RNG = np.random.default_rng(7)
PHOTO = Path(__file__).parents[3] / "samples" / "photo.png"
COLOURS, ALPHA = (
    "colours: a palette holds 256 at most",
    "alpha: a palette holds clear and opaque alone",
)


def shown(name: str) -> list[NDArray[np.uint8]]:
    """Return every frame as a decoder shows it, in RGBA."""
    made = []
    with Image.open(name) as image:
        for at in range(image.n_frames):
            image.seek(at)
            made.append(np.asarray(image.convert("RGBA")))
    return made


def coarse(channels: int, *shape: int) -> NDArray[np.uint8]:
    """Return noise of four levels per colour, and of alpha 0 or 255."""
    picture = (RNG.integers(0, 4, (*shape, channels)) * 85).astype(np.uint8)
    if channels % 2 == 0:
        picture[..., -1] = (picture[..., -1] > 100) * np.uint8(255)
    return picture


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 5])
def test_few_colours_are_written_as_they_are(channels: int, count: int) -> None:
    frames = coarse(channels, count, 13, 18)
    frames[-1, 3:5] = frames[0, 3:5]
    written = save(
        "x.gif", frames if count > 1 else frames[0], frames=count > 1, alpha=channels % 2 == 0
    )
    assert written.dropped == ()
    read = shown("x.gif")
    assert len(read) == count
    for frame, got in zip(frames, read, strict=True):
        expected = np.asarray(
            Image.fromarray(frame[..., 0] if channels == 1 else frame).convert("RGBA")
        )
        opaque = expected[..., 3] == 255
        np.testing.assert_array_equal(got[..., 3] == 255, opaque)
        np.testing.assert_array_equal(got[opaque], expected[opaque])


def test_a_palette_holds_256_and_what_is_clear_is_one_of_them() -> None:
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[..., 0].flat, picture[..., 3] = range(256), 255
    assert save("all.gif", picture, alpha=True).dropped == ()
    np.testing.assert_array_equal(shown("all.gif")[0], picture)
    picture[0, 0, 3] = 0  # the colours of transparent pixels are not needed
    assert save("clear.gif", picture, alpha=True).dropped == ()
    np.testing.assert_array_equal(
        shown("clear.gif")[0][picture[..., 3] == 255], picture[picture[..., 3] == 255]
    )
    more = np.concatenate([picture, np.full((1, 16, 4), 255, np.uint8)])
    assert save("more.gif", more, alpha=True).dropped == (COLOURS,)


@pytest.mark.parametrize(("level", "told"), [(0, ()), (255, ()), (127, (ALPHA,)), (128, (ALPHA,))])
def test_alpha_becomes_clear_below_one_half(level: int, told: tuple[str, ...]) -> None:
    picture = np.full((4, 5, 4), 200, np.uint8)
    picture[..., 3] = level
    assert save("x.gif", picture, alpha=True).dropped == told
    assert (shown("x.gif")[0][..., 3] == (255 if level > 127 else 0)).all()


def test_many_colours_are_near_to_what_they_were() -> None:
    run("apply", str(PHOTO), "-k", "identity:size=1", "-o", "x.gif")
    with Image.open(PHOTO) as photo:
        given = np.asarray(photo.convert("RGB")).astype(float)
    got = shown("x.gif")[0][..., :3].astype(float)
    assert np.sqrt(((got - given) ** 2).mean()) < 4
    assert len(np.unique(got.reshape(-1, 3), axis=0)) > 200


def error(picture: NDArray[np.uint8], got: Image.Image) -> float:
    return float(np.sqrt(((np.asarray(got.convert("RGB")).astype(float) - picture) ** 2).mean()))


def test_pictures_of_a_great_many_colours_are_as_near_as_pillow_has_them() -> None:
    picture = RNG.integers(0, 256, (600, 700, 3), dtype=np.uint8)
    save("x.gif", picture)
    with Image.open("x.gif") as image:
        assert error(picture, image) < 1.02 * error(picture, Image.fromarray(picture).quantize(256))


def test_colours_that_are_near_to_each_other_stay_apart_in_a_large_picture() -> None:
    down, across = np.mgrid[:600, :700]
    picture = np.dstack([100 + down // 30, 110 + across // 30, 0 * down + 120]).astype(np.uint8)
    assert save("x.gif", picture).dropped == (COLOURS,)
    with Image.open("x.gif") as image:
        assert error(picture, image) == error(picture, Image.fromarray(picture).quantize(256)) < 0.5


def test_what_is_lost_is_told_by_apply_and_by_batch() -> None:
    told = run("apply", str(PHOTO), "-k", "box", "-o", "x.gif")
    assert f"reduced  {COLOURS}\n" in told.stderr
    report = json.loads(run("apply", str(PHOTO), "-k", "box", "-o", "y.gif", "--json").stdout)
    assert report["written"]["lost"] == [COLOURS]
    done = run("batch", str(PHOTO), "-k", "box", "--out", "b", "--name", "{stem}.gif", "--json")
    line, summary = done.stdout.splitlines()
    assert json.loads(line)["lost"] == [COLOURS]
    assert json.loads(summary)["done"] == 1
    assert (
        Path("x.gif").read_bytes() == Path("y.gif").read_bytes() == Path("b/photo.gif").read_bytes()
    )


def test_a_coloured_animation_is_filtered_and_plays_as_before() -> None:
    first, *others = (Image.fromarray(frame) for frame in coarse(3, 4, 20, 30))
    first.save("a.gif", save_all=True, append_images=others, duration=[40, 50, 60, 70], loop=2)
    run("apply", "a.gif", "-k", "box", "--padding", "same", "--frames", "all", "-o", "b.gif")
    run("apply", "a.gif", "-k", "box", "--padding", "same", "--frames", "all", "-o", "b.png")
    with Image.open("b.gif") as image:
        assert (image.n_frames, image.info["loop"], image.info["duration"]) == (4, 2, 40)
    for got, expected in zip(shown("b.gif"), shown("b.png"), strict=True):
        assert np.abs(got.astype(int) - expected).mean() < 12


def test_a_frame_is_wiped_where_the_next_one_is_clear() -> None:
    frames = np.zeros((4, 6, 6, 4), np.uint8)
    frames[1], frames[2, :3] = (
        (9, 9, 9, 255),
        (0, 0, 0, 255),
    )  # the first and the last frame are fully transparent
    save("x.gif", frames, frames=True, alpha=True, metadata=Metadata(timing=Timing((50,) * 4, 0)))
    assert [(frame[..., 3] > 0).sum() for frame in shown("x.gif")] == [0, 36, 18, 0]


def test_frames_that_are_alike_stay_frames() -> None:
    frames = np.zeros((3, 4, 4, 1), np.uint8)
    save("x.gif", frames, frames=True, metadata=Metadata(timing=Timing((400_000, 400_000, 10), 1)))
    with Image.open("x.gif") as image:
        assert image.n_frames == 3


def test_what_did_not_change_takes_no_room() -> None:
    frames = coarse(3, 1, 200, 200).repeat(5, 0)
    frames[2, 7, 9] = 1
    alone = save("one.gif", frames[0]).bytes
    assert save("five.gif", frames, frames=True).bytes < alone + 5 * 1000


def test_a_long_comment_comes_back() -> None:
    comment = bytes(range(1, 256)) * 3
    save("x.gif", np.zeros((3, 3), np.uint8), metadata=Metadata(comments=(comment,)))
    with Image.open("x.gif") as image:
        assert image.info["comment"] == comment


def test_other_programs_read_it() -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "imreadanimation"):
        pytest.skip("this OpenCV reads no animations")
    frames = coarse(3, 4, 20, 30)
    save("x.gif", frames, frames=True, metadata=Metadata(timing=Timing((40, 50, 60, 70), 0)))
    _, read = cv2.imreadanimation("x.gif")
    assert list(read.durations) == [40, 50, 60, 70]
    for got, frame in zip(read.frames, frames, strict=True):
        np.testing.assert_array_equal(got[..., 2::-1], frame)
