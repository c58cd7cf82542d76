"""Write PNG in stripes: every sample is read back, for any number of threads."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convcli.errors import FileError
from convcli.io import load, save
from convcli.io.data import Metadata, Text
from convcli.io.images import png_encode
from convcli.io.images.metadata.png import INFLATED
from convcli.io.images.png_encode import FILTERS, STRIPE, write_png

SAMPLES = Path(__file__).parents[3] / "samples"
RNG = np.random.default_rng(0)
SHAPES = [(1, 1), (7, 5), (5, 7, 2), (33, 17, 3), (4, 6, 4), (1, 9000, 3), (3000, 1), (60, 41)]


def written(array: np.ndarray, level: int = 1, threads: int = 1) -> bytes:
    stream = io.BytesIO()
    write_png(stream, array, level, threads)
    return stream.getvalue()


def noise(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    top = 2 if dtype == "bool" else np.iinfo(dtype).max + 1
    return RNG.integers(0, top, shape, np.int64).astype(dtype)


def flat(array: np.ndarray) -> np.ndarray:
    return array.astype(np.uint8) * 255 if array.dtype == bool else array


def chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Return the kind and the content of every chunk, and check its checksum."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, inside = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + inside) == int.from_bytes(
            content[at + 8 + length : at + 12 + length], "big"
        )
        yield kind, inside
        at += 12 + length


def unfiltered(content: bytes, step: int) -> np.ndarray:
    """Reverse the filters row by row and byte by byte, as the specification defines them."""
    found = list(chunks(content))
    (header,) = [inside for kind, inside in found if kind == b"IHDR"]
    height = struct.unpack(">II", header[:8])[1]
    lines = zlib.decompress(b"".join(inside for kind, inside in found if kind == b"IDAT"))
    width = len(lines) // height - 1
    rows = np.zeros((height + 1, width + step), np.int64)  # with zeros above and to the left
    for i in range(height):
        number, *left_over = lines[i * (width + 1) : (i + 1) * (width + 1)]
        for j, byte in enumerate(left_over):
            left, above = rows[i + 1, j], rows[i, j + step]
            rows[i + 1, j + step] = (
                byte + {0: 0, 1: left, 2: above, 3: (left + above) // 2}[number]
            ) % 256
    return rows[1:, step:].astype(np.uint8)


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool"])
def test_every_sample_comes_back(
    dtype: str, shape: tuple[int, ...], level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dtype != "uint8" and len(shape) == 3:
        shape = shape[:2]
    monkeypatch.setattr(png_encode, "STRIPE", 500)
    array = noise(shape, dtype)
    for values in (array, np.sort(array, axis=0), array[::-1, ::-1], np.asfortranarray(array)):
        with Image.open(io.BytesIO(written(values, level))) as picture:
            np.testing.assert_array_equal(flat(np.asarray(picture)), flat(values))


@pytest.mark.parametrize("number", FILTERS)
@pytest.mark.parametrize(
    ("shape", "step"), [((9, 11), 1), ((9, 11, 2), 2), ((9, 11, 3), 3), ((9, 11, 4), 4)]
)
def test_every_filter_is_what_the_specification_says(
    number: int, shape: tuple[int, ...], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png_encode, "FILTERS", {number: FILTERS[number]})
    monkeypatch.setattr(png_encode, "STRIPE", 100)
    array = noise(shape, "uint8")
    np.testing.assert_array_equal(unfiltered(written(array), step), array.reshape(9, -1))


def test_16_bits_are_filtered_two_bytes_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_encode, "FILTERS", {1: FILTERS[1]})
    array = noise((5, 8), "uint16")
    np.testing.assert_array_equal(unfiltered(written(array), 2), array.astype(">u2").view(np.uint8))


def test_the_bytes_are_the_same_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_encode, "STRIPE", 1000)
    array = noise((200, 30, 3), "uint8")
    assert len({written(array, threads=threads) for threads in (1, 2, 3, 8)}) == 1


@pytest.mark.parametrize("level", [1, 6])
@pytest.mark.parametrize(("name", "times"), [("photo", 1), ("photo", 3), ("logo", 9)])
def test_a_picture_is_about_as_small_as_pillow_makes_it(name: str, times: int, level: int) -> None:
    stream = io.BytesIO()
    with Image.open(SAMPLES / f"{name}.png") as picture:
        large = picture.resize(
            (picture.width * times, picture.height * times), Image.Resampling.BICUBIC
        )
    large.save(stream, "PNG", compress_level=level)
    assert len(written(np.asarray(large), level)) <= 1.1 * len(stream.getvalue())


def test_a_large_picture_is_written_so_and_a_small_one_by_pillow(tmp_path: Path) -> None:
    large = noise((600, 1000), "uint8")
    for array, parts in ((large, 1 + 3 + 1), (large[:20, :20], 1)):
        save(tmp_path / "x.png", array, overwrite=True, threads=2)
        content = (tmp_path / "x.png").read_bytes()
        assert [kind for kind, _ in chunks(content)] == [b"IHDR", *[b"IDAT"] * parts, b"IEND"]
        np.testing.assert_array_equal(load(tmp_path / "x.png").array, array)


def test_a_stripe_is_read_before_much_of_the_next_is_made() -> None:
    """Only a few stripes are in memory at a time, so that the file may exceed memory."""
    made: list[int] = []
    taken = png_encode._map_in_order(lambda item: made.append(item) or item, range(100), 2)
    for at, item in enumerate(taken):
        assert item == at
        assert len(made) <= at + 4


def test_an_error_on_writing_ends_it() -> None:
    class Full(io.BytesIO):
        def write(self, content: object) -> int:
            if self.tell() > STRIPE:
                raise OSError("no space left")
            return super().write(content)  # type: ignore[arg-type]

    with pytest.raises(OSError, match="no space left"):
        write_png(Full(), noise((3000, 1000), "uint8"), 1, 2)


def test_what_pillow_would_say_of_a_picture_is_said_of_a_large_one(tmp_path: Path) -> None:
    large = noise((600, 1000, 3), "uint8")
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    metadata = Metadata(
        icc=b"a profile of colours",
        density=(300.0, 300.0),
        exif=exif.tobytes()[6:],
        comments=(b"of a kind",),
    )
    for name, array in (("large", large), ("small", large[:9, :9])):
        save(tmp_path / f"{name}.png", array, metadata=metadata, threads=2)
    kinds, told = zip(*(said(tmp_path / f"{name}.png") for name in ("large", "small")), strict=True)
    assert kinds[0] == kinds[1]
    assert {b"iCCP", b"pHYs", b"eXIf"} <= set(kinds[0])
    assert told[0] == told[1]


def said(path: Path) -> tuple[list[bytes], dict[str, object]]:
    """Return the kinds of a file's ancillary chunks, and what Pillow reads of them."""
    kinds = [
        kind for kind, _ in chunks(path.read_bytes()) if kind not in (b"IHDR", b"IDAT", b"IEND")
    ]
    with Image.open(path) as picture:
        picture.load()
        return kinds, {name: value for name, value in picture.info.items() if name != "exif"}


def parts(*, deep: bool, odd: dict[bytes, bytes], spoiled: bytes = b"") -> bytes:
    """Return a PNG of one pixel, (7, 8, 9), with further chunks.

    spoiled: the kinds whose chunks get a wrong checksum.
    """
    content = b"\x89PNG\r\n\x1a\n"
    samples = np.array([7, 8, 9], ">u2" if deep else "u1").tobytes()
    head = struct.pack(">IIBBBBB", 1, 1, 16 if deep else 8, 2, 0, 0, 0)
    for kind, said in {
        b"IHDR": head,
        **odd,
        b"IDAT": zlib.compress(b"\0" + samples),
        b"IEND": b"",
    }.items():
        checksum = zlib.crc32(kind + said) ^ (kind == spoiled)
        content += len(said).to_bytes(4, "big") + kind + said + checksum.to_bytes(4, "big")
    return content


LONG = b"so long" * 300_000  # beyond what Pillow inflates
FAR_TOO_LONG = zlib.compress(bytes(INFLATED + 1))
ODD = {
    "text compressed otherwise": (
        b"zTXt",
        b"Comment\0\7abc",
        "text left out, as it cannot be read",
    ),
    "text without a keyword": (b"tEXt", b"\0abc", "text left out, as it cannot be read"),
    "international text that is cut": (
        b"iTXt",
        b"Title\0\0\0en",
        "text left out, as it cannot be read",
    ),
    "EXIF as text that is none": (
        b"tEXt",
        b"Raw profile type exif\0\nexif\n 4\nzz\n",
        "text left out, as it cannot be read",
    ),
    "text far too long": (
        b"zTXt",
        b"Comment\0\0" + FAR_TOO_LONG,
        "text left out, as it is too long",
    ),
    "profile far too long": (
        b"iCCP",
        b"p\0\0" + FAR_TOO_LONG,
        "ICC profile left out, as it is too long",
    ),
    "profile that is no zlib": (b"iCCP", b"p\0\0abc", "ICC profile left out, as it cannot be read"),
    "cut profile": (b"iCCP", b"p", "ICC profile left out, as it cannot be read"),
    "EXIF that is none": (b"eXIf", b"hello world", "EXIF left out, as it cannot be read"),
    "short density": (b"pHYs", bytes(4), "density left out, as it cannot be read"),
    "short gamma": (b"gAMA", bytes(2), "gAMA left out, as it cannot be read"),
    "empty intent": (b"sRGB", b"", "sRGB left out, as it cannot be read"),
    "short chromaticities": (b"cHRM", bytes(5), "cHRM left out, as it cannot be read"),
}


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_what_describes_a_picture_and_cannot_be_read_is_left_out(
    tmp_path: Path, name: str, deep: bool
) -> None:
    kind, said, told = ODD[name]
    (tmp_path / "x.png").write_bytes(parts(deep=deep, odd={kind: said}))
    data = load(tmp_path / "x.png")
    assert (data.array.tolist(), data.warnings) == ([[[7, 8, 9]]], (told,))


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("kind", "content", "field", "expected"),
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(LONG), "comments", (LONG,)),
        (
            b"iTXt",
            b"Title\0\1\0en\0\0" + zlib.compress(LONG),
            "text",
            (Text("Title", LONG.decode(), "en"),),
        ),
        (b"iCCP", b"p\0\0" + zlib.compress(LONG), "icc", LONG),
    ],
)
def test_what_is_longer_than_pillow_reads_is_kept(
    tmp_path: Path, kind: bytes, content: bytes, field: str, expected: object, deep: bool
) -> None:
    (tmp_path / "x.png").write_bytes(parts(deep=deep, odd={kind: content}))
    data = load(tmp_path / "x.png")
    assert (data.array.tolist(), data.warnings) == ([[[7, 8, 9]]], ())
    save(tmp_path / "y.png", data.array, metadata=data.metadata)
    assert getattr(load(tmp_path / "y.png").metadata, field) == expected


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    "kind", [b"tEXt", b"iCCP", b"eXIf", b"pHYs", b"gAMA", b"tIME", b"cICP", b"abCd"]
)
def test_a_wrong_checksum_of_what_describes_a_picture_is_told(
    tmp_path: Path, kind: bytes, deep: bool
) -> None:
    (tmp_path / "x.png").write_bytes(parts(deep=deep, odd={kind: b"any\0thing"}, spoiled=kind))
    data = load(tmp_path / "x.png")
    assert data.array.tolist() == [[[7, 8, 9]]]
    assert [note.split(", ")[1] for note in data.warnings] == ["as its checksum differs"]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("kind", [b"tRNS", b"PLTE", b"IDAT", b"acTL", b"ABCD", b"iDAT", b"tRNs"])
def test_a_wrong_checksum_of_what_the_samples_need_is_refused(
    tmp_path: Path, kind: bytes, deep: bool
) -> None:
    odd = {} if kind == b"IDAT" else {kind: bytes(9)}
    (tmp_path / "x.png").write_bytes(parts(deep=deep, odd=odd, spoiled=kind))
    with pytest.raises(FileError, match=f"the checksum of its chunk '{kind.decode()}' differs"):
        load(tmp_path / "x.png")


@pytest.mark.parametrize("deep", [False, True])
def test_an_unknown_chunk_that_is_needed_is_refused_and_another_passed_over(
    tmp_path: Path, deep: bool
) -> None:
    (tmp_path / "x.png").write_bytes(parts(deep=deep, odd={b"ABCD": b""}))
    with pytest.raises(FileError, match="its chunk 'ABCD' is needed to read it, and unknown"):
        load(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes(parts(deep=deep, odd={b"abCD": b""}))
    assert load(tmp_path / "x.png").array.tolist() == [[[7, 8, 9]]]


def test_odd_chunks_before_a_cut_are_left_out_too(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(parts(deep=False, odd={b"pHYs": bytes(4)})[:-12])
    with pytest.raises(FileError, match="it ends too early"):
        load(tmp_path / "x.png")
    data = load(tmp_path / "x.png", allow_truncated=True)
    assert data.array.tolist() == [[[7, 8, 9]]]
    assert data.warnings == ("density left out, as it cannot be read",)


def png_of(colour: int, transparent: bytes) -> bytes:
    """Return a picture of 3 x 2 samples of 8 bits; with two palette entries if it has a palette."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    content = [(b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, colour, 0, 0, 0))]
    if colour == 3:
        content.append((b"PLTE", bytes([9, 8, 7, 6, 5, 4])))
    content += [
        (b"tRNS", transparent),
        (b"IDAT", zlib.compress(bytes(2 * (1 + 3 * channels)))),
        (b"IEND", b""),
    ]
    parts = [
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in content
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("colour", "size", "fits"),
    [
        *((0, 2, True), (0, 1, False), (0, 6, False), (2, 6, True), (2, 2, False)),
        *((3, 1, True), (3, 2, True), (3, 0, False), (4, 2, False), (6, 6, False)),
    ],
)
def test_transparency_that_does_not_fit_the_samples_is_left_out(
    tmp_path: Path, colour: int, size: int, fits: bool
) -> None:
    (tmp_path / "x.png").write_bytes(png_of(colour, bytes(size)))
    data = load(tmp_path / "x.png")
    assert data.alpha == (fits or colour in (4, 6))
    assert data.warnings == (
        () if fits else ("transparency left out, as it does not fit the samples",)
    )
    assert not data.array[..., :3].any() or colour == 3


def test_a_palette_keeps_the_transparency_of_its_colours(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png_of(3, bytes([50, 128, 7, 9])))
    data = load(tmp_path / "x.png")
    assert set(data.array[..., 3].ravel().tolist()) <= {50, 128}
    assert data.warnings == (
        "transparency of 2 more colours than the palette has left out, as there are none",
    )
