"""Compare whole processes that read, sharpen and write a picture.

`python tests/benchmarks/trips.py` runs `convcli apply`, `vips conv`, GraphicsMagick and
ImageMagick, if installed, in interleaved order on a photograph of 4096x4096 pixels as JPEG, PNG and
PPM. All write the same: JPEG of quality 95 with full colour resolution, PNG at zlib's level 1; with
--defaults each uses its own settings. It prints the medians, and the ratio of convcli's to the
fastest other one. Python's compiled modules are kept for the time of the benchmark, as those of an
installed package are; otherwise compiling them takes 0.1 s of each run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from convcli.bench.timing import take_turns

PHOTO = Path(__file__).parent.parent.parent / "samples" / "photo.png"
SIDE = 4096
FORMATS = ("jpg", "png", "ppm")
ROWS = ("0,-1,0", "-1,5,-1", "0,-1,0")
VIPS = {"jpg": "[Q=95,subsample_mode=off]", "png": "[compression=1]"}
MAGICK = {"jpg": ["-quality", "95", "-sampling-factor", "1x1"], "png": ["-quality", "15"]}

Call = Callable[[], object]


def commands(folder: Path, form: str, *, defaults: bool) -> dict[str, list[str]]:
    """Return every tool's command for a format, by the tool's name."""
    source, settings = str(folder / f"in.{form}"), {} if defaults else VIPS
    magick = [] if defaults else MAGICK.get(form, [])

    def out(name: str) -> str:
        return str(folder / f"{name}.{form}")

    ours = ["apply", source, "-k", ";".join(ROWS), "--padding", "same", "--boundary", "edge"]
    mask = str(folder / "mask.mat")
    morphology = ["-morphology", "Convolve", "3x3: " + " ".join(ROWS)]
    return {
        "convcli": [sys.executable, "-m", "convcli", *ours, "-o", out("convcli"), "--overwrite"],
        "vips": ["vips", "conv", source, out("vips") + settings.get(form, ""), mask],
        "GraphicsMagick": [
            "gm",
            "convert",
            source,
            "-convolve",
            ",".join(ROWS),
            *magick,
            out("gm"),
        ],
        "ImageMagick": ["convert", source, *morphology, *magick, out("convert")],
    }


def make_inputs(folder: Path, side: int) -> None:
    """Write the photograph in every format, and the kernel in vips' format."""
    with Image.open(PHOTO) as photo:
        large = photo.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    for form in FORMATS:
        large.save(folder / f"in.{form}", quality=95, compress_level=6)
    (folder / "mask.mat").write_text("3 3\n0 -1 0\n-1 5 -1\n0 -1 0\n")


def working(named: dict[str, list[str]]) -> dict[str, Call]:
    """Return the calls of the tools that run successfully once, which is also the warm-up."""
    able: dict[str, Call] = {}
    for name, words in named.items():
        call = partial(subprocess.run, words, check=True, capture_output=True)
        try:
            call()
        except (OSError, subprocess.CalledProcessError) as error:
            message = getattr(error, "stderr", None) or str(error).encode()
            reason = message.decode(errors="replace").strip().splitlines()[-1]
            print(f"{name} is skipped: {reason}", file=sys.stderr)
        else:
            able[name] = call
    return able


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--defaults", action="store_true", help="use each tool's own settings")
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(PHOTO.parent.parent), os.environ.get("PYTHONPATH", "")]
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
        make_inputs(folder, asked.side)
        for form in asked.formats:
            able = working(commands(folder, form, defaults=asked.defaults))
            taken = {name: timing.median for name, timing in take_turns(able, asked.runs).items()}
            others = [seconds for name, seconds in taken.items() if name != "convcli"]
            ratio = (
                f"{taken['convcli'] / min(others):.2f} of the fastest other"
                if others
                else "no other tool"
            )
            times = "  ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in taken.items())
            print(f"{form:4s} {times}  ({ratio})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
