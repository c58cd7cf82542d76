"""Read every mode as defined, write and read back every format, and cut no bits silently."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from convcli.errors import DtypeError, FileError, LimitError
from convcli.io import all_formats, load, lookup, save
from convcli.io.codec import WriteRequest, codec_of
from convcli.limits import Limits

pytestmark = pytest.mark.usefixtures("without_extras")

RNG = np.random.default_rng(7)


def values(dtype: str, channels: int) -> NDArray[Any]:
    shape = (5, 7) if channels == 1 else (5, 7, channels)
    if dtype == "bool":
        return RNG.random(shape) < 0.5
    if dtype == "float32":
        return RNG.standard_normal(shape).astype(np.float32)
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


HELD = [
    (form.name, dtype, count)
    for form in all_formats()
    if form.kind == "image"
    for dtype, counts in form.channels.items()
    for count in counts
]


READ_BACK = [
    row for row in HELD if row[0] not in ("jpg", "gif") and (row[1] != "uint16" or row[2] == 1)
]
"""Without loss, and without an extra."""


@pytest.mark.parametrize(("name", "dtype", "channels"), READ_BACK)
def test_what_a_format_holds_comes_back_bit_for_bit(
    tmp_path: Path, name: str, dtype: str, channels: int
) -> None:
    array = values(dtype, channels)
    written = save(tmp_path / f"x.{name}", array, alpha=channels in (2, 4))
    data = load(tmp_path / f"x.{name}")
    expected = array * np.uint8(255) if dtype == "bool" else array
    if name == "webp" and channels < 3:  # WebP has no gray
        gray = expected.reshape(5, 7, -1)
        expected = np.concatenate([gray[..., :1]] * 3 + [gray[..., 1:]], axis=-1)
    np.testing.assert_array_equal(data.array, expected)
    assert data.array.dtype == expected.dtype
    assert (data.kind, data.format, data.alpha) == ("image", name, channels in (2, 4))
    assert written.bytes == (tmp_path / f"x.{name}").stat().st_size


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_close_and_keeps_its_colour_resolution(tmp_path: Path, channels: int) -> None:
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)
    array = (
        smooth if channels == 1 else np.stack([smooth, smooth[::-1], smooth.T[:, ::-1]], axis=-1)
    )
    save(tmp_path / "x.jpg", array)
    assert np.abs(load(tmp_path / "x.jpg").array.astype(int) - array).max() <= 4
    with Image.open(tmp_path / "x.jpg") as image:
        assert all(layer[1:3] == (1, 1) for layer in image.layer)


MODES = {
    "1": ("png", (4, 6), "uint8", False),
    "L": ("png", (4, 6), "uint8", False),
    "LA": ("png", (4, 6, 2), "uint8", True),
    "P": ("png", (4, 6, 3), "uint8", False),
    "RGB": ("png", (4, 6, 3), "uint8", False),
    "RGBA": ("png", (4, 6, 4), "uint8", True),
    "I;16": ("png", (4, 6), "uint16", False),
    "I;16B": ("tiff", (4, 6), "uint16", False),
    "I": ("tiff", (4, 6), "int32", False),
    "F": ("tiff", (4, 6), "float32", False),
    "CMYK": ("tiff", (4, 6, 3), "uint8", False),
    "LAB": ("tiff", (4, 6, 3), "uint8", False),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_mapped(tmp_path: Path, mode: str) -> None:
    suffix, shape, dtype, alpha = MODES[mode]
    Image.new(mode, (6, 4)).save(tmp_path / f"x.{suffix}")
    data = load(tmp_path / f"x.{suffix}")
    assert (data.array.shape, data.array.dtype, data.alpha, data.mode) == (
        shape,
        np.dtype(dtype),
        alpha,
        mode,
    )
    assert data.array.dtype.isnative
    if mode in ("CMYK", "LAB"):
        assert data.notes == (f"{mode} converted to RGB",)


IN_MEMORY = {
    "PA": "RGBA",
    "La": "LA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "HSV": "RGB",
    "YCbCr": "RGB",
    "I;16L": "",
    "I;16N": "",
}


@pytest.mark.parametrize("mode", IN_MEMORY)
def test_modes_that_few_files_hold_are_in_the_table(mode: str) -> None:
    from convcli.io.images.modes import MODES

    reading = MODES[mode]
    assert reading.opaque == IN_MEMORY[mode]
    if reading.opaque:
        assert Image.new(mode, (2, 2)).convert(reading.opaque).mode == reading.opaque


def test_the_table_names_every_mode_of_pillow() -> None:
    from convcli.io.images.modes import MODES

    assert set(Image.MODES) <= set(MODES)


def test_the_guide_shows_the_table() -> None:
    from convcli.io.images.modes import MODES

    rows = [
        f"| {mode} | {' | '.join(reading.words)} |".replace("|  |", "| |")
        for mode, reading in MODES.items()
    ]
    page = (Path(__file__).parents[3] / "convcli" / "guide" / "formats.md").read_text(
        encoding="utf-8"
    )
    head = "| mode | becomes | with transparency | what is done |\n|---|---|---|---|\n"
    assert head + "\n".join(rows) + "\n\n" in page


def test_a_bilevel_image_is_0_and_255(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "x.png")
    assert load(tmp_path / "x.png").array.tolist() == [[255, 0]]


def test_a_palette_is_expanded_with_its_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "clear.png", transparency=1)
    opaque, clear = load(tmp_path / "opaque.png"), load(tmp_path / "clear.png")
    assert opaque.array.tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert clear.array.tolist() == [[[10, 20, 30, 255], [40, 50, 60, 0]]]
    assert (opaque.alpha, clear.alpha, clear.notes) == (False, True, ("palette expanded",))


@pytest.mark.parametrize(("mode", "colour", "channels"), [("L", 9, 2), ("RGB", (9, 9, 9), 4)])
def test_a_transparent_colour_becomes_alpha(
    tmp_path: Path, mode: str, colour: Any, channels: int
) -> None:
    image = Image.new(mode, (2, 1), colour)
    image.putpixel((0, 0), 1 if mode == "L" else (1, 2, 3))
    image.save(tmp_path / "x.png", transparency=colour)
    data = load(tmp_path / "x.png")
    assert data.array.shape == (1, 2, channels)
    assert data.array[0, :, -1].tolist() == [255, 0]
    assert data.notes == ("transparent colour made alpha",)


def gray_png(path: Path, depth: int, samples: list[int], clear: int) -> Path:
    """Return a PNG of one row of gray samples with a transparent level."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    row = int("".join(f"{sample:0{depth}b}" for sample in samples).ljust(8, "0"), 2)
    packed = row.to_bytes(max(len(samples) * depth // 8, 1), "big")
    header = struct.pack(">IIBBBBB", len(samples), 1, depth, 0, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"tRNS", struct.pack(">H", clear)),
        (b"IDAT", zlib.compress(b"\0" + packed)),
    )
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize(("depth", "clear"), [(1, 1), (2, 1), (4, 3), (8, 3)])
def test_a_transparent_level_is_scaled_as_the_samples_are(
    tmp_path: Path, depth: int, clear: int
) -> None:
    data = load(gray_png(tmp_path / "x.png", depth, [clear, 0], clear))
    assert data.array.tolist() == [[[clear * 255 // (2**depth - 1), 0], [0, 255]]]


def test_a_transparent_level_of_16_bits_is_said_to_be_left_out(tmp_path: Path) -> None:
    data = load(gray_png(tmp_path / "x.png", 16, [1000, 2000], 1000))
    assert data.array.tolist() == [[1000, 2000]]
    assert (data.notes, data.warnings) == ((), ("transparent level 1000 left opaque",))


def test_alpha_is_straight(tmp_path: Path) -> None:
    pixel = np.array([[[200, 100, 50, 0], [200, 100, 50, 7]]], np.uint8)
    for suffix in ("png", "webp", "tiff"):
        save(tmp_path / f"x.{suffix}", pixel, alpha=True)
        np.testing.assert_array_equal(load(tmp_path / f"x.{suffix}").array, pixel)


# EXIF 2.3, 4.6.4: the rotation that makes the stored rows upright.
ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [("png", "uint8"), ("png", "uint16"), ("tiff", "uint8"), ("tiff", "float32")],
)
def test_exif_orientation_is_applied(
    tmp_path: Path, orientation: int, suffix: str, dtype: str
) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(array).save(tmp_path / f"x.{suffix}", exif=exif)
    data = load(tmp_path / f"x.{suffix}")
    np.testing.assert_array_equal(data.array, ORIENTATIONS[orientation](array))
    assert data.notes == (("EXIF orientation applied",) if orientation > 1 else ())


def png(depth: int, colour: int, samples: int, width: int = 4, height: int = 3) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    row = b"\0" + bytes(width * samples * depth // 8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * height)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg2000_of_16_bits() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG2000")
    content = bytearray(stream.getvalue())
    at = content.find(b"\xff\x51") + 40  # the first component of the SIZ segment
    content[at], content[at + 3], content[at + 6] = 15, 15, 15
    return bytes(content)


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


CUT = {
    "rgb16.png": lambda: png(16, 2, 3),
    "gray-alpha16.png": lambda: png(16, 4, 2),
    "rgba16.png": lambda: png(16, 6, 4),
    "rgb16.ppm": lambda: b"P6\n4 3\n65535\n" + bytes(72),
    "plain16.ppm": lambda: b"P3\n1 1\n65535\n1 2 3\n",
    "rgb16.tiff": lambda: tiff(np.zeros((3, 4, 3), np.uint16), photometric="rgb"),
    "rgb16-zip.tiff": lambda: tiff(
        np.zeros((3, 4, 3), np.uint16), photometric="rgb", compression="zlib"
    ),
    "int8.tiff": lambda: tiff(np.zeros((3, 4), np.int8)),
    "uint32.tiff": lambda: tiff(np.zeros((3, 4), np.uint32)),
    "rgb16.jp2": jpeg2000_of_16_bits,
}


@pytest.mark.parametrize("name", CUT)
def test_samples_that_pillow_would_cut_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CUT[name]())
    by_itself = r"Pillow would cut them.*; convert it to 8 bits"
    by_an_extra = r"which Pillow does not keep whole .*; pip install (tifffile )?imagecodecs"
    with pytest.raises(DtypeError, match=rf"holds .*bit samples.*; ({by_itself}|{by_an_extra})"):
        load(tmp_path / name)


@pytest.mark.parametrize(("mode", "shape"), [("L", (8, 8)), ("RGB", (8, 8, 3)), ("I;16", (8, 8))])
def test_jpeg_2000_is_read(tmp_path: Path, mode: str, shape: tuple[int, ...]) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / "x.jp2")
    data = load(tmp_path / "x.jp2")
    assert (data.array.shape, data.format) == (shape, "jp2")
    with pytest.raises(FileError, match=r"jp2 is read but not written; write \.png"):
        save(tmp_path / "y.jp2", data.array)


def test_a_16_bit_pgm_is_uint16_and_other_scales_are_told(tmp_path: Path) -> None:
    (tmp_path / "full.pgm").write_bytes(b"P5\n2 1\n65535\n\x01\x02\xff\xff")
    (tmp_path / "hundred.pgm").write_bytes(b"P5\n2 1\n100\n\x00\x64")
    full, hundred = load(tmp_path / "full.pgm"), load(tmp_path / "hundred.pgm")
    assert (full.array.tolist(), full.array.dtype, full.notes) == ([[258, 65535]], np.uint16, ())
    assert (hundred.array.tolist(), hundred.notes) == (
        [[0, 255]],
        ("values scaled from 0..100 to 0..255",),
    )


def test_sixteen_bits_a_pixel_are_not_sixteen_bits_a_sample(tmp_path: Path) -> None:
    header = b"BM" + struct.pack("<IHHI", 70, 0, 0, 66)
    info = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    (tmp_path / "x.bmp").write_bytes(
        header + info + struct.pack("<IIII", 0xF800, 0x07E0, 0x001F, 0x0000F800)
    )
    assert load(tmp_path / "x.bmp").array.tolist() == [[[255, 0, 0]]]


@pytest.mark.parametrize("suffix", ["gif", "tiff", "png", "webp"])
def test_the_first_of_several_frames_is_read_and_told(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("L", (3, 2), shade) for shade in (0, 80, 160)]
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:])
    data = load(tmp_path / f"x.{suffix}")
    assert data.array.shape[:2] == (2, 3)
    assert data.array.max() in (0, 255)  # black, with alpha where the format added it
    assert "first of 3 frames" in data.notes


def test_a_phone_jpeg_of_two_pictures_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), shade) for shade in ("red", "blue")]
    frames[0].save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=frames[1:])
    data = load(tmp_path / "x.jpg")
    assert (data.format, data.notes) == ("jpg", ("first of 2 frames",))


def test_an_image_is_decoded_as_what_it_is(tmp_path: Path) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "x.png", "JPEG")
    assert load(tmp_path / "x.png").format == "jpg"


def gif_with_screen(width: int, height: int) -> bytes:
    """Return a frame that is cleared before the next, for which Pillow allocates the background."""
    size = struct.pack("<2H", width, height)
    head = b"GIF89a" + size + bytes(3)
    control = b"!\xf9\x04\x08" + bytes(4)
    frame = b"," + bytes(4) + size + b"\0\x02\x02\x44\x01\0"
    return head + control + frame + b";"


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(2**40), r"x\.gif has 4,294,836,225 pixels; the limit is 268,435,456 pixels"),
        (Limits(2**30, 2**40), r"x\.gif takes 4\.00 GiB of memory; the limit is 1\.00 GiB"),
    ],
)
def test_what_pillow_allocates_on_opening_is_limited(
    tmp_path: Path, limits: Limits, told: str
) -> None:
    (tmp_path / "x.gif").write_bytes(gif_with_screen(65535, 65535))
    with pytest.raises(LimitError, match=told):
        load(tmp_path / "x.gif", limits=limits)


def test_a_webp_of_a_large_canvas_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(
        tmp_path / "x.webp", save_all=True, append_images=[Image.new("RGB", (3, 2), "red")]
    )
    content = bytearray((tmp_path / "x.webp").read_bytes())
    content[24:30] = (59999).to_bytes(3, "little") * 2
    (tmp_path / "x.webp").write_bytes(content)
    with pytest.raises(
        LimitError, match=r"x\.webp has 3,600,000,000 pixels; the limit is 268,435,456"
    ):
        load(tmp_path / "x.webp")


def test_pillow_asks_for_no_more_than_the_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "x.jp2")
    content = (tmp_path / "x.jp2").read_bytes()
    start = content.index(b"jp2h") - 4
    declared = b"\0\0\0\x01jp2h" + (2**40).to_bytes(8, "big")
    (tmp_path / "x.jp2").write_bytes(content[:start] + declared + content[start + 8 :])
    asked = []

    class Watched(io.BufferedReader):
        def read(self, count: int | None = -1, /) -> bytes:
            asked.append(count or 0)
            return super().read(count)

    monkeypatch.setattr(Path, "open", lambda path, mode: Watched(io.FileIO(path, mode)))
    with pytest.raises(FileError, match=r"x\.jp2 is damaged: Expected to read 1,?[0-9,]* bytes"):
        load(tmp_path / "x.jp2")
    assert 0 < max(asked) <= 2**20


@pytest.mark.parametrize(
    ("marker", "bits", "coding"),
    [
        (0xC0, 12, "12-bit samples"),
        (0xC2, 12, "12-bit samples"),
        (0xC3, 16, "lossless coding"),
        (0xC9, 12, "arithmetic coding"),
        (0xCD, 8, "hierarchical coding"),
    ],
)
def test_a_jpeg_that_pillow_does_not_decode_is_not_called_damaged(
    tmp_path: Path, marker: int, bits: int, coding: str
) -> None:
    Image.new("RGB", (9, 8), "red").save(tmp_path / "x.jpg")
    content = bytearray((tmp_path / "x.jpg").read_bytes())
    at = content.index(b"\xff\xc0")
    content[at + 1], content[at + 4] = marker, bits
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(
        DtypeError, match=rf"x\.jpg is a JPEG of {coding}; which Pillow does not decode"
    ):
        load(tmp_path / "x.jpg")


@pytest.mark.parametrize("factor", [1.5, 3])  # Pillow warns at the first and raises at the second
def test_too_many_pixels_are_refused_and_pillow_is_left_as_it_was(
    tmp_path: Path, factor: float
) -> None:
    Image.new("L", (60, 50)).save(tmp_path / "x.png")
    before, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with pytest.raises(
        LimitError, match=r"x\.png has 3,000 pixels \(50x60\); the limit is [12],000 p"
    ):
        load(tmp_path / "x.png", limits=Limits.of(pixels=round(3000 / factor)))
    assert load(tmp_path / "x.png", limits=Limits.of(pixels=3000)).array.shape == (50, 60)
    assert before == Image.MAX_IMAGE_PIXELS
    assert filters == warnings.filters


def test_a_declared_bomb_is_refused_by_default(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(
        png(8, 0, 1, width=10, height=3).replace(
            struct.pack(">II", 10, 3), struct.pack(">II", 30000, 30000)
        )
    )
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(LimitError, match=r"900,000,000 pixels .*; the limit is 268,435,456 pixels"):
        load(tmp_path / "bomb.png")


def test_threads_may_read_at_once(tmp_path: Path) -> None:
    Image.new("L", (60, 50)).save(tmp_path / "x.png")
    before, shapes = Image.MAX_IMAGE_PIXELS, []
    threads = [
        threading.Thread(target=lambda: shapes.append(load(tmp_path / "x.png").array.shape))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shapes == [(50, 60)] * 8
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp", "ppm", "pgm"])
@pytest.mark.parametrize("kept", [0.2, 0.6])
def test_a_truncated_image_is_an_error(tmp_path: Path, suffix: str, kept: float) -> None:
    array = values("uint8", 3 if suffix == "ppm" else 1).repeat(20, 0).repeat(20, 1)
    save(tmp_path / f"whole.{suffix}", array)
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    (tmp_path / f"x.{suffix}").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(
        FileError, match=rf"x\.{suffix} is damaged(: .*|, or .*); expected a whole {suffix} file; "
    ):
        load(tmp_path / f"x.{suffix}")


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"%!PS-Adobe", "a PostScript document"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\xd7\xcd\xc6\x9a", "a WMF drawing"),
    ],
)
def test_what_would_start_other_programs_is_not_opened(
    tmp_path: Path, content: bytes, looks: str
) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(FileError, match=f"is no png file; it looks like {looks}"):
        load(tmp_path / "x.png")
    (tmp_path / "x.eps").write_bytes(content)
    with pytest.raises(FileError, match=f"no suffix that is read and looks like {looks}"):
        load(tmp_path / "x.eps")


def test_a_codec_holds_what_its_row_keeps() -> None:
    for name, dtype, count in HELD:
        assert lookup(name).keeps(dtype, count)
        request = WriteRequest(alpha=count in (2, 4))
        assert codec_of(lookup(name)).holds(np.dtype(dtype), (2, 3, count), request) == ""


def test_arrays_are_read_and_written_without_pillow(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from convcli import io;"
        "io.save(sys.argv[1], np.eye(2)); io.load(sys.argv[1]); assert 'PIL' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.npy")], check=True)
