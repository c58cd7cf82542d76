"""Read JPEG 2000: samples of every depth, palettes, channel definitions, colours.

Codestreams of other depths are made from lossless ones of 8 bits that Pillow writes: the depth in
SIZ declares by how much the values are shifted (ISO/IEC 15444-1, G.1), so the expected values are
exact.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from convcli.errors import DtypeError, FileError, InputError, LimitError
from convcli.io import Data, load
from convcli.limits import Limits

HEIGHT, WIDTH = 9, 7
Depth = tuple[int, bool]
NATURAL = ((0, 0, 1), (1, 0, 2), (2, 0, 3))


def random_planes(depths: list[Depth]) -> NDArray[np.int64]:
    rng = np.random.default_rng(len(depths))
    planes = [
        rng.integers(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed), (HEIGHT, WIDTH))
        for bits, signed in depths
    ]
    return np.stack(planes, axis=-1)


def codestream(planes: NDArray[np.int64], depths: list[Depth]) -> bytes:
    shifts = [128 - (0 if signed else 2 ** (bits - 1)) for bits, signed in depths]
    stored = (planes + shifts).astype(np.uint8)
    image = Image.fromarray(stored if len(depths) > 1 else stored[..., 0])
    image.save(stream := io.BytesIO(), "JPEG2000", no_jp2=True, irreversible=False, mct=0)
    content = bytearray(stream.getvalue())
    at = content.index(b"\xff\x51") + 40
    for channel, (bits, signed) in enumerate(depths):
        content[at + 3 * channel] = bits - 1 + 128 * signed
    return bytes(content)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def boxed(stream: bytes, depths: list[Depth], colour_space: int = 16, more: bytes = b"") -> bytes:
    said = bytes(bits - 1 + 128 * signed for bits, signed in depths)
    one = len(set(said)) == 1
    head = box(
        b"ihdr",
        struct.pack(">IIHBBBB", HEIGHT, WIDTH, len(depths), said[0] if one else 255, 7, 0, 0),
    )
    depth = b"" if one else box(b"bpcc", said)
    colour = box(b"colr", struct.pack(">BBBI", 1, 0, 0, colour_space))
    front = b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return front + box(b"jp2h", head + depth + colour + more) + box(b"jp2c", stream)


def palette(colours: NDArray[np.int64], bits: int = 8) -> bytes:
    entries, count = colours.shape
    values = struct.pack(f">{colours.size}{'B' if bits <= 8 else 'H'}", *colours.ravel().tolist())
    mapping = b"".join(struct.pack(">HBB", 0, 1, column) for column in range(count))
    head = struct.pack(">HB", entries, count) + bytes([bits - 1] * count)
    return box(b"pclr", head + values) + box(b"cmap", mapping)


def definitions(*entries: tuple[int, int, int]) -> bytes:
    return box(
        b"cdef",
        struct.pack(">H", len(entries))
        + b"".join(struct.pack(">HHH", *entry) for entry in entries),
    )


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(content: bytes, **options: Any) -> Data:
        (tmp_path / "x.jp2").write_bytes(content)
        return load(tmp_path / "x.jp2", **options)

    return read


def squeezed(planes: NDArray[Any]) -> NDArray[Any]:
    return planes[..., 0] if planes.shape[-1] == 1 else planes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("in_boxes", [False, True])
def test_values_are_as_stored(
    read: Any, bits: int, signed: bool, channels: int, in_boxes: bool
) -> None:
    depths = [(bits, signed)] * channels
    planes = random_planes(depths)
    stream = codestream(planes, depths)
    data = read(boxed(stream, depths, 16 if channels == 3 else 17) if in_boxes else stream)
    np.testing.assert_array_equal(data.array, squeezed(planes))
    assert data.array.dtype == (np.int8 if signed else np.uint8)
    said = (f"{'signed ' if signed else ''}{bits}-bit values as stored",)
    assert data.notes == (() if (bits, signed) == (8, False) else said)


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3), (9, 7, 5)])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [4, 8, 9, 10, 12, 15, 16, 20])
@pytest.mark.parametrize("form", ["jp2", "j2k"])
def test_values_are_what_the_encoder_was_given(
    read: Any, bits: int, signed: bool, shape: tuple[int, ...], form: str
) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    size = next(size for size in (8, 16, 32) if bits <= size)
    low = -(2 ** (bits - 1)) if signed else 0
    values = (
        np.random.default_rng(bits)
        .integers(low, low + 2**bits, shape)
        .astype(f"{'' if signed else 'u'}int{size}")
    )
    data = read(
        imagecodecs.jpeg2k_encode(
            values, level=0, codecformat=form, reversible=True, bitspersample=bits
        )
    )
    np.testing.assert_array_equal(data.array, values)
    assert data.array.dtype == values.dtype
    assert not data.alpha


def test_deep_samples_are_exact_or_refused_without_the_package(
    read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")

    def encoded(*shape: int) -> tuple[NDArray[Any], bytes]:
        values = np.random.default_rng(0).integers(0, 4096, shape).astype(np.uint16)
        return values, imagecodecs.jpeg2k_encode(
            values, level=0, codecformat="j2k", reversible=True, bitspersample=12
        )

    gray, gray_file = encoded(9, 7)
    _, colour_file = encoded(9, 7, 3)
    monkeypatch.setattr("convcli.io.formats.find_spec", lambda package: None)
    np.testing.assert_array_equal(read(gray_file).array, gray)
    with pytest.raises(
        DtypeError,
        match=r"12-bit samples in 3 channels; .* the imagecodecs package does; pip install",
    ):
        read(colour_file)


@pytest.mark.parametrize("bits", [(5, 6, 5), (8, 8, 4), (1, 8, 2)])
@pytest.mark.parametrize("in_boxes", [False, True])
def test_channels_of_different_depths_are_scaled_and_told(
    read: Any, bits: tuple[int, ...], in_boxes: bool
) -> None:
    depths = [(each, False) for each in bits]
    planes = random_planes(depths)
    stream = codestream(planes, depths)
    data = read(boxed(stream, depths) if in_boxes else stream)
    np.testing.assert_array_equal(
        data.array, np.rint(planes * [255 / (2**each - 1) for each in bits])
    )
    assert data.notes[0].startswith("values scaled from 0..")
    assert data.notes[0].endswith("to 0..255")


@pytest.mark.parametrize(
    ("index_bits", "colour_bits", "entries"), [(8, 8, 256), (4, 8, 16), (4, 16, 16), (4, 8, 5)]
)
@pytest.mark.parametrize("columns", [1, 3, 4])
def test_palettes_are_looked_up(
    read: Any, index_bits: int, colour_bits: int, entries: int, columns: int
) -> None:
    depths = [(index_bits, False)]
    planes = random_planes(depths)
    colours = np.random.default_rng(3).integers(0, 2**colour_bits, (entries, columns))
    more = palette(colours, colour_bits) + (
        definitions(*NATURAL, (3, 1, 0)) if columns == 4 else b""
    )
    data = read(boxed(codestream(planes, depths), depths, 17 if columns == 1 else 16, more))
    np.testing.assert_array_equal(
        data.array, squeezed(colours[np.minimum(planes[..., 0], entries - 1)])
    )
    assert data.alpha == (columns == 4)
    assert data.notes == ("palette expanded",)


@pytest.mark.parametrize(
    ("entries", "order", "alpha"),
    [
        ((), [0, 1, 2, 3], False),
        ((*NATURAL, (3, 1, 0)), [0, 1, 2, 3], True),
        ((*NATURAL, (3, 65535, 65535)), [0, 1, 2, 3], False),
        (((0, 1, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3)), [1, 2, 3, 0], True),
        (((0, 0, 3), (1, 0, 2), (2, 0, 1), (3, 1, 0)), [2, 1, 0, 3], True),
    ],
)
def test_channels_are_what_the_file_says(
    read: Any, entries: tuple[tuple[int, int, int], ...], order: list[int], alpha: bool
) -> None:
    depths = [(8, False)] * 4
    planes = random_planes(depths)
    data = read(
        boxed(codestream(planes, depths), depths, more=definitions(*entries) if entries else b"")
    )
    np.testing.assert_array_equal(data.array, planes[..., order])
    assert data.alpha == alpha


def test_alpha_of_another_depth_is_scaled_and_premultiplied_alpha_divided_out(read: Any) -> None:
    depths = [(8, False)] * 3 + [(1, False)]
    planes = random_planes(depths)
    data = read(boxed(codestream(planes, depths), depths, more=definitions(*NATURAL, (3, 1, 0))))
    np.testing.assert_array_equal(data.array, planes * [1, 1, 1, 255])
    assert data.alpha

    depths = [(8, False)] * 4
    planes = random_planes(depths)
    colours, alpha = planes[..., :3], planes[..., 3:]
    data = read(boxed(codestream(planes, depths), depths, more=definitions(*NATURAL, (3, 2, 0))))
    straight = np.where(
        alpha > 0, np.minimum(np.rint(colours * 255 / np.maximum(alpha, 1)), 255), 0
    )
    np.testing.assert_array_equal(data.array, np.concatenate([straight, alpha], axis=-1))
    assert data.notes == ("alpha unpremultiplied",)


@pytest.mark.parametrize("bits", [7, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_luma_and_chroma_become_rgb(read: Any, bits: int, signed: bool) -> None:
    depths = [(bits, False), (bits, signed), (bits, signed)]
    planes = random_planes(depths)
    data = read(boxed(codestream(planes, depths), depths, 18))
    top, middle = 2**bits - 1, 0 if signed else 2 ** (bits - 1)
    luma, blue, red = planes[..., 0], planes[..., 1] - middle, planes[..., 2] - middle
    want = np.stack(
        [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1
    )
    assert np.abs(data.array - np.clip(want, 0, top)).max() <= 1


@pytest.mark.parametrize(
    ("colour_space", "channels", "named"), [(14, 3, "CIELab"), (12, 4, "CMYK")]
)
def test_other_colours_are_refused_by_name(
    read: Any, colour_space: int, channels: int, named: str
) -> None:
    depths = [(7, False)] * channels
    with pytest.raises(DtypeError, match=rf"holds {named} samples; expected gray or RGB"):
        read(boxed(codestream(random_planes(depths), depths), depths, colour_space))


def test_damage_and_limits_are_told(read: Any) -> None:
    depths = [(5, False)]
    content = boxed(codestream(random_planes(depths), depths), depths, 17)
    with pytest.raises(FileError, match="is damaged: it ends too early"):
        read(content[:-20])
    with pytest.raises(LimitError, match="63 pixels"):
        read(content, limits=Limits.of(pixels=62))
    with pytest.raises(InputError, match="frame 1"):
        read(content, frames=1)


@pytest.mark.parametrize(
    "more", [box(b"cmap", struct.pack(">HBB", 7, 0, 0)), box(b"pclr", b"\0"), box(b"cdef", b"\0\1")]
)
def test_boxes_that_mean_nothing_are_no_crash(read: Any, more: bytes) -> None:
    depths = [(8, False)]
    planes = random_planes(depths)
    try:
        data = read(boxed(codestream(planes, depths), depths, 17, more))
    except FileError:
        return
    np.testing.assert_array_equal(data.array, planes[..., 0])
