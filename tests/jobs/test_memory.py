"""The estimate of --dry-run is at least the memory of a run, and at most twice that."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from measured import measured
from PIL import Image

from convcli.io import available, lookup, save
from convcli.io.arrays.wav import Recording
from convcli.jobs.memory import Footprint
from convcli.limits import SLACK

HEIGHT, WIDTH = 2400, 3200
SAME = ["--padding", "same"]
PLANE = (".png", ".jpg", ".tiff", ".npy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make inputs of a few MiB to 90 MiB, and a small one of each kind to warm up."""
    place = tmp_path_factory.mktemp("footprint")
    gray = (np.add.outer(np.arange(HEIGHT) * 3, np.arange(WIDTH) * 2) % 256).astype(np.uint8)
    rgb = np.dstack([gray, 255 - gray, gray[::-1]])
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 2, WIDTH // 2, 4), dtype=np.uint8)
    pictures = {
        "gray.png": gray,
        "rgb.png": rgb,
        "rgb.jpg": rgb,
        "rgba.png": np.dstack([rgb, gray | 1]),
        "noise.png": noise[..., :3],
        "noise-alpha.png": noise,
        "deep.png": gray.astype(np.uint16) * 200,
        "float.tiff": gray.astype(np.float32),
        "tiled.jp2": rgb,
    } | {f"noise.{suffix}": noise[..., :3] for suffix in ("webp", "jp2")}
    options = {".png": {"compress_level": 1}, ".webp": {"lossless": True, "quality": 0}}
    options["tiled.jp2"] = {"tile_size": (256, 256)}
    for name, pixels in pictures.items():
        if available(lookup(Path(name).suffix[1:])):
            Image.fromarray(pixels).save(
                place / name, **options.get(name, options.get(Path(name).suffix, {}))
            )
            Image.fromarray(pixels[:40, :50]).save(place / f"small-{name}")
    for name, pixels in {
        "gray.gif": gray,
        "rgb.webp": rgb,
        "rgb.tiff": rgb,
        "rgba.png": pictures["rgba.png"],
    }.items():
        for start, cut in {"": np.s_[: HEIGHT // 4], "small-": np.s_[:40, :50]}.items():
            first, *others = (Image.fromarray(np.roll(pixels, at, axis=1)[cut]) for at in range(8))
            how = options.get(Path(name).suffix, {}) if name == "rgb.webp" else {"optimize": False}
            first.save(place / f"{start}frames-{name}", save_all=True, append_images=others, **how)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).save(place / "turned.jpg", exif=exif)
    Image.fromarray(rgb[:40, :50]).save(place / "small-turned.jpg", exif=exif)
    arrays = {
        "int.npy": gray,
        "double.npy": gray.astype(np.float64),
        "map.npy": np.tile(gray, (3, 1)).astype(np.float32),
        "columns.npy": np.asfortranarray(np.tile(gray, (3, 1)), np.float32),
        "long-columns.npy": np.asfortranarray(np.tile(gray[:, :20], (400, 1)), np.float32),
        "block.npy": np.resize(gray, (120, 200, 250)),
        "slab.npy": np.resize(gray, (64, 300, 300)),
        "cube.npy": np.resize(gray, (192, 192, 192)),
        "slab-of-reals.npy": np.resize(gray, (64, 300, 300)).astype(np.float32),
    }
    for name, values in arrays.items():
        np.save(place / name, values)
        np.save(place / f"small-{name}", values[:40, :20])
    deep = np.random.default_rng(0).integers(
        0, 65536, (HEIGHT, WIDTH, 3), dtype=np.uint16
    )  # as large packed
    volume = np.tile(gray[:, :400].astype(np.int16), (1, 8)).reshape(240, 320, 100)
    for name, part in (("", slice(None)), ("small-", slice(40))):
        for suffix in ("png", "tiff"):
            if lookup(suffix).keeps("uint16", 3):
                save(place / f"{name}deep-rgb.{suffix}", deep[part, part])
        if lookup("tiff").keeps("uint16", 3):
            save(
                place / f"{name}stack.tiff",
                volume[part, part, part].transpose(2, 0, 1),
                volume=True,
            )
            save(
                place / f"{name}pages.tiff",
                deep.reshape(4, HEIGHT // 4, WIDTH, 3)[:, part, part],
                frames=True,
            )
        if available(lookup("nii")):
            save(place / f"{name}volume.nii", volume[part, part, part])
            save(place / f"{name}volume.nii.gz", volume[part, part, part])
            save(place / f"{name}double.nii", volume[part, part, part].astype(np.float64))
        if available(lookup("wav")):
            samples = (
                np.resize(gray, (10_000_000, 2))[: None if not name else 999].astype(np.int16) * 90
            )
            save(place / f"{name}sound.wav", samples, header=Recording(48000, "PCM_16"))
    half, quarter = gray[: HEIGHT // 2], gray[: HEIGHT // 4]
    for name, table, form in (
        ("whole.csv", half, "%d"),
        ("real.csv", half / 7, "%.6f"),
        ("short-whole.csv", quarter, "%d"),
        ("short-real.csv", quarter / 7, "%.6f"),
    ):
        np.savetxt(place / name, table, form, delimiter=",")
        np.savetxt(place / f"small-{name}", table[:40, :50], form, delimiter=",")
    return place


CASES = {
    "gray": ["gray.png", "-k", "box", *SAME, "-o", "y.png"],
    "rgb": ["rgb.png", "-k", "sharpen", *SAME, "-o", "y.png"],
    "rgb jpeg": ["rgb.jpg", "-k", "gaussian:sigma=3", *SAME, "-o", "y.jpg"],
    "rgb, turned": ["turned.jpg", "-k", "box", *SAME, "-o", "y.png"],
    "webp": ["noise.webp", "-k", "box", *SAME, "-o", "y.png"],
    "jpeg 2000": ["noise.jp2", "-k", "box", *SAME, "-o", "y.png"],
    "jpeg 2000 of tiles": ["tiled.jp2", "-k", "box", *SAME, "-o", "y.png"],
    "gray to webp": ["gray.png", "-k", "box", "-o", "y.webp"],
    "rgb to webp": ["rgb.png", "-k", "box", "-o", "y.webp"],
    "rgb to webp, lossy": ["rgb.png", "-k", "box", "--quality", "80", "-o", "y.webp"],
    "noise to webp": ["noise.png", "-k", "sharpen", "-o", "y.webp"],
    "noise to webp, lossy": ["noise.png", "-k", "sharpen", "--quality", "80", "-o", "y.webp"],
    "noise to webp, with alpha": ["noise-alpha.png", "-k", "sharpen", "-o", "y.webp"],
    "noise to webp, lossy with alpha": [
        "noise-alpha.png",
        "-k",
        "sharpen",
        "--quality",
        "80",
        "-o",
        "y.webp",
    ],
    "rgba": ["rgba.png", "-k", "sharpen", *SAME, "-o", "y.png"],
    "16 bits": ["deep.png", "-k", "gaussian:sigma=2", *SAME, "-o", "y.png"],
    "float": ["float.tiff", "-k", "gaussian:sigma=2", *SAME, "-o", "y.tiff"],
    "integers": ["int.npy", "-k", "random:7x7", *SAME, "-o", "y.npy"],
    "doubles": ["double.npy", "-k", "random:5x5", *SAME, "-o", "y.npy"],
    "a table of integers": ["whole.csv", "-k", "random:5x5", *SAME, "-o", "y.npy"],
    "a table of reals": ["real.csv", "-k", "random:5x5", *SAME, "-o", "y.csv"],
    "a short table of integers": ["short-whole.csv", "-k", "random:5x5", *SAME, "-o", "y.npy"],
    "a short table of reals": ["short-real.csv", "-k", "random:5x5", *SAME, "-o", "y.npy"],
    "a short table of reals, smoothed": [
        "short-real.csv",
        "-k",
        "gaussian:sigma=1",
        *SAME,
        "-o",
        "y.npy",
    ],
    "a short table of reals, boxed": ["short-real.csv", "-k", "box", "-o", "y.npy"],
    "a block, smoothed": [
        "block.npy",
        "--dims",
        "3",
        "-k",
        "gaussian:sigma=1",
        *SAME,
        "-o",
        "y.npy",
    ],
    "a slab, smoothed": ["slab.npy", "--dims", "3", "-k", "gaussian:sigma=1", *SAME, "-o", "y.npy"],
    "a cube, smoothed": ["cube.npy", "--dims", "3", "-k", "gaussian:sigma=1", *SAME, "-o", "y.npy"],
    "a slab of reals, smoothed": [
        "slab-of-reals.npy",
        "--dims",
        "3",
        "-k",
        "gaussian:sigma=1",
        *SAME,
        "-o",
        "y.npy",
    ],
    "a slab of reals, boxed": ["slab-of-reals.npy", "--dims", "3", "-k", "box", "-o", "y.npy"],
    "mapped": ["map.npy", "-k", "box", *SAME, "-o", "y.npy"],
    "mapped, columns first": ["columns.npy", "-k", "box", *SAME, "-o", "y.npy"],
    "mapped, long columns": ["long-columns.npy", "-k", "box", *SAME, "-o", "y.npy"],
    "a bank": ["rgb.png", "-k", "random:8x3x3x3", "-o", "y.npy"],
    "magnitude": [
        "rgb.png",
        "-k",
        "sobel-x",
        "-k",
        "sobel-y",
        "--combine",
        "magnitude",
        "-o",
        "y.png",
    ],
    "rescale": ["rgb.png", "-k", "laplacian", "--range", "rescale", "-o", "y.png"],
    "stack": ["gray.png", "-k", "sobel-x", "-k", "sobel-y", "-k", "box", "-o", "y.png"],
    "verify": ["gray.png", "-k", "random:5x5", "--verify", "-o", "y.png"],
    "verify a volume": ["slab.npy", "--dims", "3", "-k", "box", *SAME, "--verify", "-o", "y.npy"],
    "verify a volume of reals": [
        "slab-of-reals.npy",
        "--dims",
        "3",
        "-k",
        "random:3x3x3",
        "--verify",
        "-o",
        "y.npy",
    ],
    "verify several": [
        "rgb.png",
        "-k",
        "sobel-x",
        "-k",
        "sobel-y",
        "--combine",
        "max",
        "--verify",
        "-o",
        "y.png",
    ],
    "linear": ["rgb.png", "-k", "box", *SAME, "--linear", "-o", "y.png"],
    "linear, rgba": ["rgba.png", "-k", "box", *SAME, "--linear", "-o", "y.png"],
    "frames of a gif": ["frames-gray.gif", "-k", "box", *SAME, "--frames", "all", "-o", "y.gif"],
    "colours to gif": ["rgb.png", "-k", "sharpen", *SAME, "-o", "y.gif"],
    "rgba to gif": ["rgba.png", "-k", "sharpen", *SAME, "-o", "y.gif"],
    "noise to gif": ["noise.png", "-k", "box", *SAME, "-o", "y.gif"],
    "noise to gif, with alpha": ["noise-alpha.png", "-k", "box", *SAME, "-o", "y.gif"],
    "noise to gif, sharpened": ["noise.png", "-k", "sharpen", *SAME, "-o", "y.gif"],
    "noise to gif, sharpened with alpha": [
        "noise-alpha.png",
        "-k",
        "sharpen",
        *SAME,
        "-o",
        "y.gif",
    ],
    "coloured frames to gif": [
        "frames-rgba.png",
        "-k",
        "box",
        *SAME,
        "--frames",
        "all",
        "-o",
        "y.gif",
    ],
    "frames of a webp": ["frames-rgb.webp", "-k", "box", *SAME, "--frames", "all", "-o", "y.webp"],
    "pages": ["frames-rgb.tiff", "-k", "box", *SAME, "--frames", "all", "-o", "y.tiff"],
    "frames of a png": ["frames-rgba.png", "-k", "box", *SAME, "--frames", "all", "-o", "y.png"],
    "one frame": ["frames-rgb.webp", "-k", "box", *SAME, "--frames", "7", "-o", "y.webp"],
    "nowhere": ["rgb.png", "-k", "box"],
    "16-bit rgb": ["deep-rgb.png", "-k", "box", *SAME, "-o", "y.png"],
    "16-bit rgb tiff": ["deep-rgb.tiff", "-k", "box", *SAME, "-o", "y.tiff"],
    "16-bit rgb to deflated tiff": [
        "deep-rgb.tiff",
        "-k",
        "box",
        *SAME,
        "--compress-level",
        "1",
        "-o",
        "y.tiff",
    ],
    "rgb to deflated tiff": [
        "rgb.png",
        "-k",
        "box",
        *SAME,
        "--compress-level",
        "1",
        "-o",
        "y.tiff",
    ],
    "a stack of pages": ["stack.tiff", "-k", "box", *SAME, "--dims", "3", "-o", "y.tiff"],
    "pages of 16 bits": ["pages.tiff", "-k", "box", *SAME, "--frames", "all", "-o", "y.tiff"],
    "volume": ["volume.nii", "-k", "box", *SAME, "-o", "y.nii"],
    "packed volume": ["volume.nii.gz", "-k", "box", *SAME, "-o", "y.nii.gz"],
    "volume of doubles": ["double.nii", "-k", "box", *SAME, "-o", "y.nii"],
    "recording": ["sound.wav", "-k", "box", *SAME, "-o", "y.wav"],
}


def warming(words: list[str]) -> list[str]:
    """Return a small call that imports the modules that a case needs."""
    if "--dims" in words:
        return ["apply", f"small-{words[0]}", "--dims", "3", "-k", "box", "--verify"]
    plane = Path(words[0]).suffix in PLANE
    return ["apply", f"small-{words[0]}", "-k", "sharpen" if plane else "box", "--verify"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("case", CASES)
def test_the_estimate_holds(folder: Path, case: str) -> None:
    words = CASES[case]
    small = warming(words)
    if not (folder / words[0]).exists():
        pytest.skip("made and read by an extra")
    for old in folder.glob("y.*"):
        old.unlink()
    planned = measured(["apply", *words, "--dry-run", "--json"], folder, threads=2)
    memory = json.loads(planned.stdout)["memory"]
    done = measured(["apply", *words, "--json"], folder, warm=[small], threads=2)
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["memory"] == memory
    most = 2.5 if words[-1].endswith("webp") else 2
    assert done.growth <= memory["peak"] <= most * done.growth


GRADIENTS = {
    "doubles": ["grad", "double.npy", "-k", "random:5x5"],
    "floats": ["grad", "float.tiff", "-k", "gaussian:sigma=2", *SAME, "--boundary", "reflect"],
    "bytes": ["grad", "rgb.png", "-k", "random:4x5x5x3", "-o", "y.npz", "--overwrite"],
    "differences": ["gradcheck", "double.npy", "-k", "random:3x3", "--samples", "2"],
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("case", GRADIENTS)
def test_what_gradients_are_refused_for_is_what_they_take(folder: Path, case: str) -> None:
    words = GRADIENTS[case]
    refused = measured([*words, "--max-memory", "150M"], folder)
    told = re.search(r"takes ([0-9.]+) MiB of memory; the limit is 150.00 MiB", refused.stderr)
    assert told is not None, refused
    done = measured(words, folder, warm=[[words[0], f"small-{words[1]}", *words[2:4]]], threads=2)
    assert done.code == 0, done.stderr
    assert done.growth <= float(told[1]) * 2**20 <= 2 * done.growth


@pytest.mark.slow
def test_what_is_mapped_is_not_held(folder: Path) -> None:
    mapped, read = (
        measured(["apply", f"{name}.npy", "-k", "box", "--dry-run", "--json"], folder)
        for name in ("map", "int")
    )
    memory = json.loads(mapped.stdout)["memory"]
    assert memory["reading"] == 0
    assert memory["input"] < (folder / "map.npy").stat().st_size / 2
    assert json.loads(read.stdout)["memory"]["input"] == HEIGHT * WIDTH


def test_the_peak_is_the_largest_of_what_is_held_together() -> None:
    held = Footprint(reading=9, input=1, results=2, working=4, filled=0, output=8, encoding=1)
    assert held.peak == 1 + 2 + 8 + SLACK
    assert replace(held, reading=900).peak == 900 + SLACK
    assert replace(held, working=40).peak == 1 + 2 + 40 + SLACK
    assert replace(held, filled=7).peak == 1 + 2 + 4 + 7 + SLACK
    assert replace(held, encoding=100).peak == 1 + 8 + 100 + SLACK
