"""Check that pictures of few colours are written smaller, and read back unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from convcli import io
from convcli.io import Metadata
from convcli.io.data import Timing
from convcli.io.images.indexed import shared_palette

SUFFIXES = ("gif", "png", "webp")

pytestmark = pytest.mark.usefixtures("in_tmp")


def drawing(frames: int, colours: int = 40, seed: int = 0) -> np.ndarray:
    """Return frames (F, 60, 80, 3): flat areas, of which two change in each frame."""
    rng = np.random.default_rng(seed)
    entries = rng.choice(256**3, colours, replace=False, shuffle=False)
    entries = np.stack([entries >> 16, entries >> 8 & 255, entries & 255], axis=1).astype(np.uint8)
    areas = rng.integers(0, colours, (12, 16))
    areas.ravel()[:colours] = np.arange(colours)[: areas.size]
    shown = []
    for _ in range(frames):
        shown.append(np.kron(entries[areas], np.ones((5, 5, 1), np.uint8)))
        for row, column in rng.integers(0, 12, (2, 2)):
            areas[row, column] = rng.integers(0, colours)
    return np.stack(shown)


def write(name: str, frames: np.ndarray, *, compact: bool = True) -> int:
    timing = Timing(tuple(100.0 + 10 * i for i in range(len(frames))), 0)
    array = frames if len(frames) > 1 else frames[0]
    metadata = Metadata(timing=timing) if len(frames) > 1 else Metadata()
    request = {"frames": len(frames) > 1, "metadata": metadata, "compact": compact}
    return io.save(name, array, overwrite=True, **request).bytes


def shown(name: str) -> list[np.ndarray]:
    with Image.open(name) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("colours", [1, 2, 40, 190])
def test_frames_come_back_exactly(suffix: str, colours: int) -> None:
    frames = drawing(9, colours)
    write(f"a.{suffix}", frames)
    if colours > 1:  # Pillow's WebP encoder merges equal frames
        np.testing.assert_array_equal(np.stack(shown(f"a.{suffix}"))[[0, -1]], frames[[0, -1]])
    loaded = io.load(f"a.{suffix}", frames="all").array if colours > 1 else None
    if loaded is not None and len(loaded) == len(frames):
        np.testing.assert_array_equal(loaded[..., :3], frames)


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_equal_frames_are_kept_with_their_times(suffix: str) -> None:
    frames = np.repeat(drawing(1), 4, axis=0)
    write(f"a.{suffix}", frames)
    loaded = io.load(f"a.{suffix}", frames="all")
    np.testing.assert_array_equal(loaded.array[..., :3], frames)
    assert loaded.metadata.timing == Timing((100.0, 110.0, 120.0, 130.0), 0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_drawn_frames_are_smaller(suffix: str) -> None:
    frames = np.kron(drawing(12), np.ones((1, 4, 4, 1), np.uint8))
    assert write(f"a.{suffix}", frames) < 0.8 * write(f"b.{suffix}", frames, compact=False)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_many_colours_are_written_as_before(suffix: str) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    assert shared_palette(frames) is None
    write(f"a.{suffix}", frames)
    write(f"b.{suffix}", frames, compact=False)
    if suffix != "webp":
        assert Path(f"a.{suffix}").read_bytes() == Path(f"b.{suffix}").read_bytes()


def test_the_palette_has_room_for_255_colours() -> None:
    levels = np.arange(256, dtype=np.uint8)
    picture = np.stack([levels, levels, levels], axis=1)[None]
    assert shared_palette([picture[:, :255]]) is not None
    assert shared_palette([picture]) is None
    assert shared_palette([picture[:, :200], picture[:, 100:]]) is None
    assert shared_palette([picture[..., 0]]) is None, "gray pictures have no palette"


def test_a_still_png_has_a_palette_and_its_metadata() -> None:
    picture = drawing(1)[0]
    metadata = Metadata(density=(300.0, 300.0))
    io.save("a.png", picture, compact=True, metadata=metadata)
    with Image.open("a.png") as image:
        assert image.mode == "P"
        assert round(image.info["dpi"][0]) == 300
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), picture)
    np.testing.assert_array_equal(io.load("a.png").array[..., :3], picture)


def test_a_gif_s_first_frame_is_whole_and_others_are_changes() -> None:
    frames = np.repeat(drawing(1), 2, axis=0)
    frames[1, 5:10, 15:25] = frames[0, 0, 0] + 1
    write("a.gif", frames)
    with Image.open("a.gif") as image:
        assert image.dispose_extent == (0, 0, 80, 60)
        image.seek(1)
        assert image.dispose_extent == (15, 5, 25, 10)
