"""Of concatenated pictures or arrays the first is read, with a warning about the others.

Frames that are not read have a warning too.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from convcli.io import load, save
from convcli.jobs.apply import plan_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.requests import ReadOptions

FIRST = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
NAMES = {
    "png": "a PNG image",
    "jpg": "a JPEG image",
    "gif": "a GIF image",
    "webp": "a WebP image",
    "ppm": "a PPM image",
    "pgm": "a PGM image",
    "pbm": "a PBM image",
    "pfm": "a PFM image",
    "bmp": "a BMP image",
    "npy": "a .npy array",
    "nii": "a NIfTI volume",
    "wav": "a WAV recording",
}
WORDS = {"npy": "array", "nii": "volume", "wav": "recording"}
"""What the first one is called, if it is no picture."""
PACKAGES = {"nii": "nibabel", "wav": "soundfile"}


def encoded(name: str, values: np.ndarray, tmp_path: Path) -> bytes:
    package = pytest.importorskip(PACKAGES.get(name, "numpy"))
    if name == "wav":
        package.write(content := io.BytesIO(), values[0].astype(np.int16), 8000, format="WAV")
        return content.getvalue()
    channels = {
        "pgm": values[..., 0],
        "pbm": values[..., 0] > 99,
        "pfm": values[..., 0].astype(np.float32),
    }
    save(tmp_path / f"one.{name}", channels.get(name, values), overwrite=True)
    return (tmp_path / f"one.{name}").read_bytes()


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Provide the end of a real pipe, standard input, to which a test writes."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
        yield writer


@pytest.mark.parametrize("name", NAMES)
def test_the_rest_of_a_pipe_is_told(tmp_path: Path, pipe: int, name: str) -> None:
    first, second = encoded(name, FIRST, tmp_path), encoded(name, 255 - FIRST, tmp_path)

    def write() -> None:
        os.write(pipe, first)
        time.sleep(0.05)
        os.write(pipe, second)
        os.close(pipe)

    thread = threading.Thread(target=write)
    thread.start()
    data = load("-")
    thread.join()
    alone = load(io_file(tmp_path, name, first))
    np.testing.assert_array_equal(data.array, alone.array)
    what = WORDS.get(name, "picture")
    rest = f"more bytes follow the {what} on the pipe, which look like {NAMES[name]}"
    assert data.warnings == (f"{rest}; they are not read",)
    assert alone.warnings == ()


def io_file(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / f"x.{name}"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_the_rest_of_a_file_is_told(tmp_path: Path, name: str) -> None:
    first, second = encoded(name, FIRST, tmp_path), encoded(name, 255 - FIRST, tmp_path)
    data = load(io_file(tmp_path, name, first + second))
    np.testing.assert_array_equal(data.array, load(io_file(tmp_path, name, first)).array)
    what = WORDS.get(name, "picture")
    rest = f"{len(second):,} bytes after the end of the {what} left out"
    assert data.warnings == (f"{rest}, which look like {NAMES[name]}",)
    assert load(io_file(tmp_path, name, first + bytes(900))).warnings == ()


@pytest.mark.parametrize("name", ["png", "gif", "webp", "npy"])
def test_a_writer_that_holds_its_pipe_open_is_not_waited_for(
    tmp_path: Path, pipe: int, name: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    os.write(pipe, encoded(name, noise, tmp_path))
    started = time.monotonic()
    timer = threading.Timer(20, os.close, [pipe])
    timer.start()
    data = load("-", format=name)
    took = time.monotonic() - started
    timer.cancel()
    assert data.warnings == ()
    assert took < 10
    os.close(pipe)


def test_archives_in_a_row_are_told(tmp_path: Path) -> None:
    first, second = encoded("npz", FIRST, tmp_path), encoded("npz", 255 - FIRST, tmp_path)
    data = load(io_file(tmp_path, "npz", first + second))
    np.testing.assert_array_equal(data.array, 255 - FIRST)
    assert data.warnings == (f"{len(first):,} bytes before the archive left out",)


def frames_file(path: Path) -> Path:
    frames = [Image.fromarray(np.full((5, 6), level, np.uint8)) for level in (10, 90, 200)]
    form = {"mpo": "MPO", "tif": "TIFF"}.get(path.suffix[1:])
    frames[0].save(path, form, save_all=True, append_images=frames[1:])
    return path


@pytest.mark.parametrize("name", ["x.gif", "x.png", "x.webp", "x.tif"])
def test_frames_that_are_not_taken_are_told_where_the_output_could_hold_them(
    tmp_path: Path, name: str
) -> None:
    path = frames_file(tmp_path / name)

    def warnings(output: str | None, **reading: object) -> tuple[str, ...]:
        target = None if output is None else str(tmp_path / output)
        options = ReadOptions(**reading)  # type: ignore[arg-type]
        request = ApplyRequest(str(path), ("identity",), target, reading=options)
        return plan_apply(request).warnings

    told = f"{path} has 3 frames, of which the first is filtered; add --frames all for all of them"
    for output in ("o.gif", "o.png", "o.webp", "o.tif"):
        assert warnings(output) == (told,)
    for output in ("o.jpg", "o.npy", "o.bmp", None):
        assert warnings(output) == ()
    assert warnings("o.gif", frames=0) == ()
    assert warnings("o.gif", frames=2) == ()
    assert warnings("o.gif", frames="all") == ()


def test_the_command_line_warns_of_both(tmp_path: Path) -> None:
    path = frames_file(tmp_path / "x.gif")
    command = [
        sys.executable,
        "-m",
        "convcli",
        "apply",
        "-",
        "-k",
        "identity",
        "-o",
        str(tmp_path / "o.gif"),
    ]
    done = subprocess.run(command, input=2 * path.read_bytes(), capture_output=True, check=True)
    told = done.stderr.decode()
    assert "warning: more bytes follow the picture on the pipe, which look like a GIF image" in told
    assert "warning: standard input has 3 frames, of which the first is filtered" in told
