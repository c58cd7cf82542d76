"""Mutation of good files of every format, by a seeded generator, to test them as inputs.

Files are cut, flipped, spliced, repeated and swapped. As a program it runs one batch in this
process, and reports on standard output::

    python tests/mutants.py FOLDER SEED COUNT [OPTION]

Before each mutant its name is written to FOLDER/now, so that the parent can report it if the
process dies. A mutant that takes longer than HANG seconds ends the process.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gzip
import io
import json
import os
import random
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageCms import ImageCmsProfile, createProfile
from PIL.PngImagePlugin import PngInfo

from convcli.io import WriteRequest, lookup
from convcli.io.codec import codec_of
from convcli.io.images.metadata.through_pillow import read_metadata

HANG = 10

# Good files.


def picture(channels: int = 3) -> NDArray[np.uint8]:
    down, across = np.mgrid[0:17, 0:23]
    planes = [(across * 9 + down) % 256, (down * 13) % 256, (across * down) % 256, 255 - across]
    return np.stack(planes[:channels], -1).astype(np.uint8)


GRAY, RGBA = picture(1)[..., 0], picture(4)
DEEP = picture().astype(np.uint16) * 257


def _image(pixels: NDArray[np.generic], form: str, **options: object) -> Callable[[], bytes]:
    def write() -> bytes:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, form, **options)
        return stream.getvalue()

    return write


def _palette() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture()).convert("P").save(stream, "PNG", transparency=3)
    return stream.getvalue()


def _told(form: str) -> Callable[[], bytes]:
    """Return a picture with metadata of many kinds."""
    exif = Image.Exif()
    exif[0x0110], exif[0x0112], exif[0x8769] = "X7", 6, {0x9003: "2001:02:03 04:05:06"}
    text = PngInfo()
    text.add_text("Title", "a cat")
    made = ImageCmsProfile(createProfile("sRGB")).tobytes()
    profile = made[:24] + bytes(12) + made[36:]  # without its time of creation
    options = {"PNG": {"pnginfo": text}, "JPEG": {"comment": "a cat", "xmp": b"<x:xmpmeta/>"}}.get(
        form, {}
    )
    return _image(
        picture(), form, exif=exif.tobytes(), icc_profile=profile, dpi=(300, 150), **options
    )


def _animated(form: str, **options: object) -> Callable[[], bytes]:
    return _image(
        picture(),
        form,
        save_all=True,
        append_images=[Image.fromarray(picture()[::-1].copy())],
        **options,
    )


def _array(values: NDArray[np.generic]) -> Callable[[], bytes]:
    def write() -> bytes:
        stream = io.BytesIO()
        np.save(stream, values)
        return stream.getvalue()

    return write


def _archive(save: Callable[..., None], *arrays: NDArray[np.generic]) -> Callable[[], bytes]:
    def write() -> bytes:
        stream = io.BytesIO()
        save(stream, *arrays)
        return stream.getvalue()

    return write


def _text(separator: str) -> Callable[[], bytes]:
    rows = [
        separator.join(f"{value:.6g}" for value in row)
        for row in np.random.default_rng(2).normal(0, 9, (9, 7))
    ]
    return lambda: ("\n".join(rows) + "\n").encode()


def _onnx() -> bytes:
    from convcli.network.emit_onnx import serialise
    from convcli.network.graph import Network
    from convcli.network.layers import Tensor
    from convcli.network.parser import parse

    return serialise(
        Network.of(Tensor((9, 9), 2), parse("conv:3,k=3,p=1 relu maxpool:2 flatten linear:4"))
    )


def _deep_png() -> bytes:
    return bytes(import_module("imagecodecs").png_encode(DEEP, level=1))


def _tiff(values: NDArray[np.generic], **options: object) -> Callable[[], bytes]:
    def write() -> bytes:
        stream = io.BytesIO()
        import_module("tifffile").imwrite(stream, values, **{"photometric": "rgb", **options})
        return stream.getvalue()

    return write


def _deep_told() -> bytes:
    """Return a picture of 16 bits with metadata of many kinds."""
    with Image.open(io.BytesIO(_told("PNG")())) as told:
        metadata = read_metadata(told, 1)
    codec_of(lookup("tiff")).write(stream := io.BytesIO(), DEEP, WriteRequest(metadata=metadata))
    return stream.getvalue()


def _stack() -> bytes:
    stream = io.BytesIO()
    with import_module("tifffile").TiffWriter(stream) as writer:
        for plane in DEEP.transpose(2, 0, 1):
            writer.write(plane, photometric="minisblack", metadata=None, contiguous=False)
    return stream.getvalue()


def _volume(slope: float = 1.0, intercept: float = 0.0) -> bytes:
    image = import_module("nibabel").Nifti1Image(
        np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7), np.eye(4)
    )
    image.header.set_slope_inter(slope, intercept)
    return bytes(image.to_bytes())


def _sound(subtype: str) -> Callable[[], bytes]:
    def write() -> bytes:
        stream = io.BytesIO()
        import_module("soundfile").write(
            stream, picture(2)[0] / 256 - 0.5, 8000, subtype, format="WAV"
        )
        content = bytearray(stream.getvalue())
        if (peak := content.find(b"PEAK")) > 0:
            content[peak + 12 : peak + 16] = bytes(4)  # the time of writing
        return bytes(content)

    return write


TOML = b"""name = "small"
input = "9x9x2"
layers = "stage:4 [conv:3,k=3,p=1 relu]x2 maxpool:2 flatten linear:4"
[blocks.stage]
parameters = "c,s=1"
layers = "residual[conv:{c},k=3,s={s},p=1 relu | conv:{c},k=1,s={s}] relu"
"""

NUMBERS = np.random.default_rng(1).normal(0, 50, (11, 13))
KERNEL = np.arange(15.0).reshape(3, 5)


@dataclass(frozen=True)
class Sample:
    """A good file: what it is used for, how it is made, and what its format can detect."""

    use: str  # input, kernel or network
    write: Callable[[], bytes]
    whole: bool = True  # a part of it is never read as a whole file
    summed: bool = False  # a checksum covers all of its values
    options: tuple[str, ...] = ()  # required to read it
    package: str = ""  # required to make it and to read it
    output: str = "y.npy"  # name of the output


_SAMPLES: dict[str, Sample] = {
    "rgb.png": Sample("input", _image(picture(), "PNG"), summed=True),
    "gray.png": Sample("input", _image(GRAY, "PNG"), summed=True),
    "deep.png": Sample("input", _image(GRAY.astype(np.uint16) * 257, "PNG"), summed=True),
    "palette.png": Sample("input", _palette, summed=True),
    "moving.png": Sample("input", _animated("PNG"), summed=True),
    "told.png": Sample("input", _told("PNG"), summed=True, output="y.tiff"),
    "told.jpg": Sample("input", _told("JPEG"), output="y.webp"),
    "told.tiff": Sample("input", _told("TIFF"), output="y.jpg"),
    "frames.png": Sample(
        "input", _animated("PNG"), summed=True, options=("--frames", "all"), output="y.webp"
    ),
    "frames.gif": Sample("input", _animated("GIF"), options=("--frames", "all"), output="y.png"),
    "colours.gif": Sample("input", _animated("GIF"), options=("--frames", "all"), output="y.gif"),
    "frames.webp": Sample("input", _animated("WEBP"), options=("--frames", "all"), output="y.tiff"),
    "pages.tiff": Sample(
        "input", _animated("TIFF"), options=("--frames", "all"), output="y.png", whole=False
    ),
    "rgb.jpg": Sample("input", _image(picture(), "JPEG")),
    "progressive.jpg": Sample("input", _image(picture(), "JPEG", progressive=True)),
    "gray.gif": Sample("input", _image(GRAY, "GIF")),
    "moving.gif": Sample("input", _animated("GIF")),
    "rgb.bmp": Sample("input", _image(picture(), "BMP")),
    "bits.bmp": Sample("input", _image(GRAY > 99, "BMP")),
    "rgb.tiff": Sample("input", _image(picture(), "TIFF")),
    "lzw.tiff": Sample("input", _image(picture(), "TIFF", compression="tiff_lzw")),
    "deflate.tiff": Sample("input", _image(picture(), "TIFF", compression="tiff_adobe_deflate")),
    "jpeg.tiff": Sample("input", _image(picture(), "TIFF", compression="jpeg")),
    "packed.tiff": Sample("input", _image(picture(), "TIFF", compression="packbits")),
    "float.tiff": Sample("input", _image(GRAY.astype(np.float32), "TIFF")),
    "rgba.webp": Sample("input", _image(RGBA, "WEBP", lossless=True), output="y.gif"),
    "lossy.webp": Sample("input", _image(picture(), "WEBP")),
    "moving.webp": Sample("input", _animated("WEBP", lossless=True)),
    "rgb.ppm": Sample("input", _image(picture(), "PPM")),
    "gray.pgm": Sample("input", _image(GRAY, "PPM")),
    "plain.ppm": Sample(
        "input", lambda: b"P3\n3 2\n255\n" + b" ".join(b"%d" % i for i in range(18)) + b"\n", False
    ),
    "bits.pbm": Sample("input", _image(GRAY > 99, "PPM")),
    "float.pfm": Sample("input", _image(GRAY.astype(np.float32), "PPM")),
    "rgb.jp2": Sample("input", _image(picture(), "JPEG2000")),
    "gray.j2k": Sample("input", _image(GRAY, "JPEG2000", no_jp2=True)),
    "floats.npy": Sample("input", _array(NUMBERS)),
    "fortran.npy": Sample("input", _array(np.asfortranarray(NUMBERS.astype(np.float32)))),
    "plain.npz": Sample("input", _archive(np.savez, NUMBERS), summed=True),
    "packed.npz": Sample("input", _archive(np.savez_compressed, NUMBERS), summed=True),
    "table.csv": Sample("input", _text(","), whole=False),
    "table.tsv": Sample("input", _text("\t"), whole=False),
    "table.txt": Sample("input", _text(" "), whole=False),
    "numbers.raw": Sample(
        "input", NUMBERS.tobytes, options=("--raw-shape", "11x13", "--raw-dtype", "f8")
    ),
    "deep-rgb.png": Sample("input", _deep_png, summed=True, package="imagecodecs"),
    "deep-rgb.tiff": Sample("input", _tiff(DEEP), package="tifffile"),
    "packed-rgb.tiff": Sample(
        "input", _tiff(DEEP, compression="zlib", predictor=True), package="tifffile"
    ),
    "told-rgb.tiff": Sample("input", _deep_told, package="tifffile", output="y.tiff"),
    "premultiplied.tiff": Sample(
        "input",
        _tiff(DEEP[..., [0, 1, 2, 0]], extrasamples=["assocalpha"]),
        package="tifffile",
        output="y.tiff",
    ),
    "pages-rgb.tiff": Sample(
        "input",
        _tiff(np.stack([DEEP, DEEP]), metadata=None),
        options=("--frames", "all"),
        package="tifffile",
        output="y.tiff",
    ),
    "tiled.tiff": Sample("input", _tiff(DEEP, tile=(16, 16)), package="tifffile"),
    "lzw-float.tiff": Sample(
        "input", _tiff(DEEP.astype(np.float32), compression="lzw"), package="imagecodecs"
    ),
    "big.tiff": Sample(
        "input", _tiff(DEEP[..., 0], bigtiff=True, photometric="minisblack"), package="tifffile"
    ),
    "stack.tiff": Sample("input", _stack, options=("--dims", "3"), package="tifffile"),
    "volume.nii": Sample("input", _volume, package="nibabel"),
    "scaled.nii": Sample("input", lambda: _volume(0.5, 3.0), package="nibabel"),
    "volume.nii.gz": Sample(
        "input", lambda: gzip.compress(_volume(), mtime=0), summed=True, package="nibabel"
    ),
    "sound.wav": Sample("input", _sound("PCM_16"), package="soundfile"),
    "deep.wav": Sample("input", _sound("PCM_24"), package="soundfile"),
    "ulaw.wav": Sample("input", _sound("ULAW"), package="soundfile", output="y.wav"),
    "adpcm.wav": Sample("input", _sound("IMA_ADPCM"), package="soundfile", output="y.wav"),
    "float.wav": Sample("input", _sound("FLOAT"), package="soundfile"),
    "kernel.npy": Sample("kernel", _array(KERNEL)),
    "kernel.npz": Sample("kernel", _archive(np.savez, KERNEL), summed=True),
    "packed-kernel.npz": Sample("kernel", _archive(np.savez_compressed, KERNEL), summed=True),
    "kernel.csv": Sample("kernel", lambda: b"# sharpen\n0,-1,0\n-1,5,-1\n0,-1/2,0\n", whole=False),
    "kernel.txt": Sample("kernel", lambda: b"3x3: 0,-1,0 -1,5,-1 0,-1,0\n", whole=False),
    "kernel.json": Sample("kernel", lambda: b"[[0, -1, 0], [-1, 5.5, -1], [0, -1, 0]]"),
    "kernel.mat": Sample("kernel", lambda: b"3 3 9 0\n1 1 1\n1 1 1\n1 1 1\n", whole=False),
    "net.toml": Sample("network", lambda: TOML, whole=False),
    "net.onnx": Sample("network", _onnx, whole=False),
}
SAMPLES = {
    name: sample
    for name, sample in _SAMPLES.items()
    if not sample.package or find_spec(sample.package)
}
"""`whole` is false if a part may be a valid file: text; ONNX, whose fields are all optional; and a
TIFF of several pages, whose first pages are valid without the others."""


def call(use: str, name: str, *options: str) -> list[str]:
    """Return the command that reads such a file, and writes to its output or standard output."""
    if use == "network":
        return ["shape", name]
    given = ["apply", name, "-k", "box"] if use == "input" else ["apply", "good.npy", "-k", name]
    sample = SAMPLES.get(name.removeprefix("mutant-"))
    return [
        *given,
        *(sample.options if sample else ()),
        "--padding",
        "same",
        "--max-memory",
        "256M",
        "-o",
        sample.output if sample else "y.npy",
        "--overwrite",
        *options,
    ]


# Mutations.


def cut(content: bytes, other: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flip(content: bytes, other: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def poke(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Overwrite up to 8 bytes at a random place with 0, 255, 127 or 128."""
    value = rng.choice((b"\x00", b"\xff", b"\x7f", b"\x80")) * rng.choice((1, 2, 4, 8))
    at = rng.randrange(len(content))
    return content[:at] + value + content[at + len(value) :]


def splice(content: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(other) + 1) for _ in range(2))
    at, past = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:at] + other[start:end] + content[rng.choice((at, past)) :]


def repeat(content: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:end] + content[start:end] * rng.choice((1, 1, 2, 50)) + content[end:]


def swap(content: bytes, other: bytes, rng: random.Random) -> bytes:
    a, b, c, d = sorted(rng.randrange(len(content) + 1) for _ in range(4))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def drop(content: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:start] + content[end:]


WAYS = {way.__name__: way for way in (cut, flip, poke, splice, repeat, swap, drop)}


@dataclass(frozen=True)
class Mutant:
    """One changed file: its sample and its mutation."""

    sample: str
    way: str
    content: bytes


def mutants(seed: int, count: int) -> Iterator[Mutant]:
    """Yield up to `count` mutants, of each sample in turn; equal seeds give equal mutants."""
    rng = random.Random(seed)
    good = {name: sample.write() for name, sample in SAMPLES.items()}
    names = list(SAMPLES)
    for number in range(count):
        name = names[number % len(names)]
        way = rng.choice(list(WAYS))
        content = WAYS[way](good[name], good[rng.choice(names)], rng)
        if content != good[name]:
            yield Mutant(name, way, content)


# A batch.


@dataclass
class Ended:
    """How one mutant's run ended; wrong: what is wrong with that, empty if nothing is."""

    number: int
    sample: str
    way: str
    code: int
    stderr: str
    wrong: str = ""


def run(words: list[str]) -> tuple[int, str, str]:
    from convcli.cli import main

    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as ended:
            out.flush()
            return int(ended.code or 0), out.buffer.getvalue().decode(), err.getvalue()
        except BaseException:
            return 99, "", traceback.format_exc()
    return 98, "", "main returned"


def result(sample: Sample, stdout: str) -> bytes:
    return stdout.encode() if sample.use == "network" else Path(sample.output).read_bytes()


LEFT_OUT = "left out, as its checksum differs"
"""Warnings about a PNG chunk that the samples do not depend on."""


def same_samples(made: bytes, good: bytes) -> bool:
    """Return whether two pictures have the same samples; one may be rotated if it lost its EXIF."""
    samples = [
        np.sort(np.asarray(Image.open(io.BytesIO(content))), axis=None) for content in (made, good)
    ]
    return np.array_equal(*samples)


def verdict(mutant: Mutant, code: int, stdout: str, stderr: str, noise: int, good: bytes) -> str:
    """Return what is wrong with how a run ended, in words."""
    sample = SAMPLES[mutant.sample]
    if code not in (0, 2, 4):
        return "an exit code that is not documented for a bad file"
    if noise:
        return "something was written past Python's stderr"
    warned = stderr.startswith("warning: ")
    if code == 0 and warned and not stderr.partition("\n")[0].isprintable():
        return "a warning that is no clear line"
    if code == 0 and " is damaged: " in stderr:
        return ""
    if code == 0:
        made = result(sample, stdout)
        if sample.whole and mutant.way == "cut" and not (warned and made == good):
            return "a part was taken for the whole"
        if sample.summed and made != good and not (LEFT_OUT in stderr and same_samples(made, good)):
            return "other values, although their checksum must differ"
        return ""
    if not (stderr.startswith("Error: ") and stderr.endswith("\n") and stderr[:-1].isprintable()):
        return "no clear line on stderr"
    if len(stderr) > 1000:
        return "a line that nobody reads to its end"
    return "a fault of its own" if "fault of convcli" in stderr else ""


def batch(folder: Path, seed: int, count: int, *options: str) -> list[Ended]:
    """Run a batch in a folder, with these options added; return how each run ended."""
    os.chdir(folder)
    np.save("good.npy", NUMBERS)
    good: dict[str, bytes] = {}
    for name, sample in SAMPLES.items():
        Path(name).write_bytes(sample.write())
        code, stdout, stderr = run(call(sample.use, name))
        assert code == 0, (name, stderr)
        good[name] = result(sample, stdout)
    endings = []
    for number, mutant in enumerate(mutants(seed, count)):
        name = f"mutant-{mutant.sample}"
        Path(name).write_bytes(mutant.content)
        Path("now").write_text(f"{seed}:{number} {mutant.sample} {mutant.way}")
        faulthandler.dump_traceback_later(HANG, exit=True)
        before = os.fstat(2).st_size
        use = SAMPLES[mutant.sample].use
        code, stdout, stderr = run(call(use, name, *(options if use == "input" else ())))
        faulthandler.cancel_dump_traceback_later()
        wrong = verdict(
            mutant, code, stdout, stderr, os.fstat(2).st_size - before, good[mutant.sample]
        )
        endings.append(Ended(number, mutant.sample, mutant.way, code, stderr[:2000], wrong))
    return endings


if __name__ == "__main__":
    ended = batch(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
    print(json.dumps([asdict(one) for one in ended]))
