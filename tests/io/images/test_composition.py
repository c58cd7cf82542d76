"""Compose frames of GIF and PNG, compared with the format definitions in plain floats."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convcli import io
from convcli.errors import FileError

HEIGHT, WIDTH = 7, 9
KEEP, CLEAR, RESTORE = "keep", "clear", "restore"
GIF_DISPOSALS = {KEEP: (0, 1, 5, 7), CLEAR: (2,), RESTORE: (3,)}
PNG_DISPOSALS = {KEEP: 0, CLEAR: 1, RESTORE: 2}


@dataclass
class Frame:
    """A frame as stored, and its pixels (h, w, 4) as drawn."""

    stored: NDArray[Any]
    drawn: NDArray[Any]
    left: int
    top: int
    disposal: str
    over: bool = True
    clear: int | None = None
    palette: NDArray[Any] | None = None


def rendered(frames: list[Frame]) -> NDArray[Any]:
    """Return the canvas at each frame, RGBA of 0 to 255, transparent where nothing was drawn."""
    canvas, shown = np.zeros((HEIGHT, WIDTH, 4)), []
    for frame in frames:
        before = canvas.copy()
        height, width = frame.drawn.shape[:2]
        area = canvas[frame.top : frame.top + height, frame.left : frame.left + width]
        above = frame.drawn[: area.shape[0], : area.shape[1]] / 255
        below = area / 255
        alpha = above[..., 3:] + below[..., 3:] * (1 - above[..., 3:])
        weighed = above[..., :3] * above[..., 3:] + below[..., :3] * below[..., 3:] * (
            1 - above[..., 3:]
        )
        blended = np.concatenate(
            [np.divide(weighed, alpha, out=np.zeros_like(weighed), where=alpha > 0), alpha], 2
        )
        area[...] = np.rint(255 * (blended if frame.over else above))
        shown.append(canvas.copy())
        if frame.disposal == CLEAR:
            area[...] = 0
        elif frame.disposal == RESTORE:
            canvas = before
    return np.stack(shown)


def check(path: Path, frames: list[Frame]) -> None:
    """Compare all frames, and each alone, with the canvas; ignore colours of transparent pixels."""
    together = io.load(path, frames="all").array
    for index, expected in enumerate(rendered(frames)):
        for array in (together[index], io.load(path, frames=index).array):
            difference = np.abs(rgba(array) - expected)
            difference[expected[..., 3] == 0, :3] = 0
            assert difference.max() <= 1, (index, difference.max())


def rgba(array: NDArray[Any]) -> NDArray[Any]:
    picture = array if array.ndim == 3 else array[..., None]
    channels = picture.shape[2]
    colours = picture[..., : channels - (channels % 2 == 0)]
    alpha = picture[..., -1:] if channels % 2 == 0 else np.full((HEIGHT, WIDTH, 1), 255)
    return np.concatenate([np.broadcast_to(colours, (HEIGHT, WIDTH, 3)), alpha], 2).astype(float)


def gif(frames: list[Frame], palette: NDArray[Any]) -> bytes:
    content = b"GIF89a" + struct.pack("<HHBBB", WIDTH, HEIGHT, 0xF3, 0, 0) + palette.tobytes()
    for frame in frames:
        disposal = GIF_DISPOSALS[frame.disposal][frame.left % len(GIF_DISPOSALS[frame.disposal])]
        flags = disposal << 2 | (frame.clear is not None)
        content += b"!\xf9\x04" + struct.pack("<BHBB", flags, 5, frame.clear or 0, 0)
        height, width = frame.stored.shape
        local = b"" if frame.palette is None else frame.palette.tobytes()
        content += (
            b","
            + struct.pack("<HHHHB", frame.left, frame.top, width, height, 0x83 if local else 0)
            + local
        )
        content += b"\x07" + uncompressed(frame.stored)
    return content + b";"


def uncompressed(indices: NDArray[Any]) -> bytes:
    """Return LZW data of 7-bit samples in 8-bit codes, with the table cleared before codes grow."""
    codes = []
    for at, index in enumerate(indices.ravel()):
        codes += [128, int(index)] if at % 100 == 0 else [int(index)]
    codes.append(129)
    return (
        b"".join(
            bytes([len(part)]) + part
            for part in (bytes(codes[at : at + 255]) for at in range(0, len(codes), 255))
        )
        + b"\0"
    )


def random_gif(rng: np.random.Generator, count: int = 5) -> tuple[list[Frame], NDArray[np.uint8]]:
    palette = rng.integers(0, 256, (16, 3), dtype=np.uint8)
    frames = []
    for at in range(count):
        left, top, right, bottom = area(rng, whole=at == 0 and rng.random() < 0.6)
        stored = rng.integers(0, 16, (bottom - top, right - left))
        own = rng.integers(0, 256, (16, 3), dtype=np.uint8) if rng.random() < 0.3 else None
        clear = int(rng.integers(16)) if rng.random() < 0.5 else None
        colours = (palette if own is None else own)[stored]
        drawn = np.dstack([colours, np.where(stored == clear, 0, 255)])
        frames.append(
            Frame(
                stored, drawn, left, top, str(rng.choice([KEEP, CLEAR, RESTORE])), True, clear, own
            )
        )
    return frames, palette


def area(rng: np.random.Generator, *, whole: bool) -> tuple[int, int, int, int]:
    if whole:
        return 0, 0, WIDTH, HEIGHT
    left, top = int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))
    return left, top, int(rng.integers(left + 1, WIDTH + 1)), int(rng.integers(top + 1, HEIGHT + 1))


@pytest.mark.parametrize("seed", range(40))
def test_frames_of_a_gif_are_shown_as_the_format_says(tmp_path: Path, seed: int) -> None:
    frames, palette = random_gif(np.random.default_rng(seed))
    (tmp_path / "a.gif").write_bytes(gif(frames, palette))
    check(tmp_path / "a.gif", frames)


def test_a_frame_of_grays_stands_beside_one_of_colours(tmp_path: Path) -> None:
    """The second frame has a gray palette of its own, whose second entry is transparent."""
    colours, grays = bytes((9, 8, 7, 6, 5, 4)), bytes((0, 0, 0, 1, 1, 1))
    screen = b"GIF89a" + struct.pack("<HHBBB", 2, 1, 0x80, 0, 0) + colours
    first = b"," + struct.pack("<HHHHB", 0, 0, 2, 1, 0) + b"\x07" + uncompressed(np.array([[1, 0]]))
    place = b"," + struct.pack("<HHHHB", 0, 0, 2, 1, 0x80)
    second = b"!\xf9\x04\x01\0\0\x01\0" + place + grays + b"\x07" + uncompressed(np.array([[1, 0]]))
    (tmp_path / "x.gif").write_bytes(screen + first + second + b";")
    shown = io.load(tmp_path / "x.gif", frames="all").array
    assert shown.tolist() == [[[[6, 5, 4], [9, 8, 7]]], [[[6, 5, 4], [0, 0, 0]]]]


def test_a_gif_of_one_frame_is_clear_beside_it(tmp_path: Path) -> None:
    palette = np.arange(48, dtype=np.uint8).reshape(16, 3)
    stored = np.full((2, 3), 4)
    frame = Frame(stored, np.dstack([palette[stored], np.full((2, 3), 255)]), 1, 2, KEEP)
    (tmp_path / "a.gif").write_bytes(gif([frame], palette))
    data = io.load(tmp_path / "a.gif")
    assert (data.array.shape, data.alpha) == ((HEIGHT, WIDTH, 4), True)
    np.testing.assert_array_equal(data.array, rendered([frame])[0])


def test_what_lies_outside_of_a_gif_is_not_shown(tmp_path: Path) -> None:
    palette = np.arange(48, dtype=np.uint8).reshape(16, 3)
    frames = [
        Frame(stored, np.dstack([palette[stored], np.full(stored.shape, 255)]), left, top, CLEAR)
        for stored, left, top in ((np.full((HEIGHT, WIDTH), 3), 0, 0), (np.full((4, 5), 9), 6, 5))
    ]
    (tmp_path / "a.gif").write_bytes(gif(frames, palette))
    check(tmp_path / "a.gif", frames)


def test_empty_bytes_between_blocks_of_a_gif_are_passed_over(tmp_path: Path) -> None:
    frames, palette = random_gif(np.random.default_rng(1))
    content = gif(frames, palette)
    (tmp_path / "a.gif").write_bytes(content[:-1] + b"\0\0;")
    check(tmp_path / "a.gif", frames)


@dataclass
class Stored:
    """A colour type of PNG, and the chunks of colours that its pictures have."""

    number: int
    channels: int
    chunks: bytes = b""
    levels: int = 256


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        len(content).to_bytes(4, "big")
        + kind
        + content
        + zlib.crc32(kind + content).to_bytes(4, "big")
    )


PALETTE = np.random.default_rng(3).integers(0, 256, (16, 3), dtype=np.uint8)
ALPHAS = np.random.default_rng(4).integers(0, 256, 16, dtype=np.uint8)
TYPES = {
    "gray": Stored(0, 1),
    "gray, one level clear": Stored(0, 1, chunk(b"tRNS", b"\0\1"), 3),
    "gray and alpha": Stored(4, 2),
    "colours": Stored(2, 3),
    "colours, one clear": Stored(2, 3, chunk(b"tRNS", b"\0\1\0\1\0\1"), 2),
    "colours and alpha": Stored(6, 4),
    "palette": Stored(3, 1, chunk(b"PLTE", PALETTE.tobytes()), 16),
    "palette and alpha": Stored(
        3, 1, chunk(b"PLTE", PALETTE.tobytes()) + chunk(b"tRNS", ALPHAS.tobytes()), 16
    ),
}


def drawn(name: str, stored: NDArray[Any]) -> NDArray[Any]:
    opaque = np.full(stored.shape[:2], 255)
    match name:
        case "palette":
            return np.dstack([PALETTE[stored[..., 0]], opaque])
        case "palette and alpha":
            return np.dstack([PALETTE[stored[..., 0]], ALPHAS[stored[..., 0]]])
        case "gray, one level clear" | "colours, one clear":
            opaque = np.where((stored == 1).all(axis=2), 0, 255)
    colours = stored[..., :3] if stored.shape[2] > 2 else stored[..., [0, 0, 0]]
    return np.dstack([colours, stored[..., -1] if stored.shape[2] % 2 == 0 else opaque])


def random_png(rng: np.random.Generator, name: str, count: int = 5) -> list[Frame]:
    frames = []
    for at in range(count):
        left, top, right, bottom = area(rng, whole=at == 0)
        kind = TYPES[name]
        stored = rng.integers(0, kind.levels, (bottom - top, right - left, kind.channels))
        if kind.channels % 2 == 0:
            stored[..., -1] = np.where(
                rng.random(stored.shape[:2]) < 0.5, rng.choice([0, 255]), stored[..., -1]
            )
        disposal = str(rng.choice([KEEP, CLEAR, RESTORE]))
        frames.append(
            Frame(stored, drawn(name, stored), left, top, disposal, bool(rng.random() < 0.6))
        )
    return frames


def png(frames: list[Frame], kind: Stored, *, still: bool = False) -> bytes:
    content = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, kind.number, 0, 0, 0)
    )
    content += chunk(b"acTL", struct.pack(">II", len(frames), 0)) + kind.chunks
    if still:
        content += chunk(b"IDAT", deflated(np.zeros((HEIGHT, WIDTH, kind.channels))))
    sequence = 0
    for at, frame in enumerate(frames):
        height, width = frame.stored.shape[:2]
        place = struct.pack(">5I", sequence, width, height, frame.left, frame.top)
        content += chunk(
            b"fcTL", place + struct.pack(">HHBB", 1, 20, PNG_DISPOSALS[frame.disposal], frame.over)
        )
        sequence += 1
        if at == 0 and not still:
            content += chunk(b"IDAT", deflated(frame.stored))
        else:
            content += chunk(b"fdAT", sequence.to_bytes(4, "big") + deflated(frame.stored))
            sequence += 1
    return content + chunk(b"IEND", b"")


def deflated(stored: NDArray[Any]) -> bytes:
    return zlib.compress(b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in stored))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", TYPES)
def test_frames_of_a_png_are_shown_as_the_format_says(tmp_path: Path, name: str, seed: int) -> None:
    frames = random_png(np.random.default_rng(seed), name)
    (tmp_path / "a.png").write_bytes(png(frames, TYPES[name]))
    check(tmp_path / "a.png", frames)


def test_a_still_before_the_frames_is_not_under_them(tmp_path: Path) -> None:
    frames = random_png(np.random.default_rng(5), "colours and alpha")
    (tmp_path / "a.png").write_bytes(png(frames, TYPES["colours and alpha"], still=True))
    together = io.load(tmp_path / "a.png", frames="all").array
    expected = rendered(frames)
    shown = expected[..., 3:] > 0
    assert np.abs(together * shown - expected * shown).max() <= 1
    assert not io.load(tmp_path / "a.png").array.any()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"fcTL\0\0\0\1", b"fcTL\0\0\0\7", "out of sequence"),
        (b"acTL\0\0\0\3", b"acTL\0\0\0\5", "fewer frames than it declares"),
        (b"fcTL\0\0\0\1\0\0\0\1", b"fcTL\0\0\0\1\0\0\1\1", "lies outside"),
    ],
)
def test_a_png_whose_frames_are_not_as_told_is_refused(
    tmp_path: Path, old: bytes, new: bytes, told: str
) -> None:
    picture = np.full((HEIGHT, WIDTH, 1), 9)
    frames = [
        Frame(picture, picture, 0, 0, KEEP),
        *[Frame(picture[:1, :1], picture, 1, 1, KEEP)] * 2,
    ]
    content = png(frames, TYPES["gray"])
    at = content.index(old) - 4
    length = int.from_bytes(content[at : at + 4], "big")
    spoiled = new + content[at + 4 + len(new) : at + 8 + length]
    (tmp_path / "a.png").write_bytes(
        content[:at] + chunk(spoiled[:4], spoiled[4:]) + content[at + 12 + length :]
    )
    with pytest.raises(FileError, match=told):
        io.load(tmp_path / "a.png", frames="all")
