"""Read TIFF of every byte order, compression, predictor, dtype and layout.

Compared with tifffile and the definition of the format.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from contextlib import suppress
from io import BytesIO
from itertools import product
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest
from command import run
from PIL import Image
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2
from tiff_samples import RNG, samples, tiff_of

from convcli.errors import DtypeError, FileError, InputError, LimitError
from convcli.io import Metadata, load, save

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

pytestmark = pytest.mark.usefixtures("in_tmp")

TYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64"),
)
COMPRESSIONS = (None, "zlib", "lzw", "packbits", "zstd", "lzma")
BANDS = {"gray": 1, "gray-alpha": 2, "bands": 3, "rgb": 3, "rgba": 4, "rgb-nir": 4, "five": 5}
"""Layouts of samples, and how many there are."""


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convcli.io.formats.find_spec", lambda name: None)


def layout_options(layout: str) -> dict[str, Any]:
    """Return tifffile's options for the photometric interpretation and extra samples."""
    photometric = "rgb" if layout.startswith("rgb") else "minisblack"
    alpha = layout in ("gray-alpha", "rgba")
    extra = BANDS[layout] - (3 if photometric == "rgb" else 1)
    return {
        "photometric": photometric,
        "extrasamples": ["unassalpha" if alpha else "unspecified"] * extra,
    }


def check_matrix_entry(
    order: str, compression: str | None, predictor: bool, dtype: str, layout: str, how: str
) -> None:
    """Compare the samples read from a file with those written; how: strips, tiles or planes."""
    values = samples(dtype, BANDS[layout])
    planar = how == "planes" and values.ndim == 3
    tifffile.imwrite(
        "x.tif",
        np.moveaxis(values, -1, 0) if planar else values,
        byteorder=order,
        compression=compression,
        predictor=predictor or None,
        planarconfig="separate" if planar else ("contig" if values.ndim == 3 else None),
        tile=(16, 16) if how == "tiles" else None,
        rowsperstrip=None if how == "tiles" else 7,
        **layout_options(layout),
    )
    data = load("x.tif")
    np.testing.assert_array_equal(data.array, values)
    assert data.alpha == (layout in ("gray-alpha", "rgba"))


WAYS = [
    (compression, predictor)
    for compression, predictor in product(COMPRESSIONS, (False, True))
    if not predictor or compression in ("zlib", "lzw", "zstd")
]
ENTRIES = [
    (order, way, dtype, *rest)
    for order, way, dtype, *rest in product("<>", WAYS, TYPES, BANDS, ("strips", "tiles", "planes"))
    if not (way[1] and dtype.endswith("int64"))  # which tifffile writes no predictor for
]
QUICK = ENTRIES[::29]


def check_entries(entries: list[Any]) -> None:
    wrong = []
    for order, way, dtype, layout, how in entries:
        try:
            check_matrix_entry(order, *way, dtype, layout, how)
        except Exception as error:
            wrong.append(f"{order} {way} {dtype} {layout} {how}: {error!r:.200}")
    assert not wrong, f"{len(wrong)} of {len(entries)}:\n" + "\n".join(wrong[:20])


def test_a_part_of_the_matrix_is_read_as_it_was_written() -> None:
    check_entries(QUICK)


@pytest.mark.slow
def test_the_whole_matrix_is_read_as_it_was_written() -> None:
    check_entries(ENTRIES)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits"])
def test_compressed_big_endian_samples(
    monkeypatch: pytest.MonkeyPatch, dtype: str, compression: str
) -> None:
    values = samples(dtype, 1)
    tifffile.imwrite("x.tif", values, byteorder=">", compression=compression)
    np.testing.assert_array_equal(load("x.tif").array, values)
    without(monkeypatch)
    with pytest.raises(
        DtypeError, match=r"compressed and big-endian; .*pip install tifffile imagecodecs"
    ):
        load("x.tif")


class TestWhiteIsZero:
    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("compression", [None, "zlib"])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
    def test_it_is_inverted(self, dtype: str, compression: str | None, order: str) -> None:
        values = samples(dtype, 1)
        tifffile.imwrite(
            "x.tif", values, photometric="miniswhite", compression=compression, byteorder=order
        )
        np.testing.assert_array_equal(load("x.tif").array, np.iinfo(dtype).max - values)

    @pytest.mark.parametrize("bits", [1, 2, 4])
    def test_a_few_bits_are_scaled_and_inverted(self, bits: int) -> None:
        values = RNG.integers(0, 2**bits, (8, 16)).astype(np.uint8)
        packed = np.packbits(
            np.unpackbits(values[..., None], axis=2)[..., -bits:].reshape(8, -1), axis=1
        )
        tags = {
            256: 16,
            257: 8,
            258: bits,
            259: 1,
            262: 0,
            273: 8,
            277: 1,
            278: 8,
            279: packed.size,
        }
        Path("x.tif").write_bytes(tiff_of(tags, packed.tobytes()))
        np.testing.assert_array_equal(load("x.tif").array, 255 - values * (255 // (2**bits - 1)))

    def test_alpha_is_not_inverted(self) -> None:
        values = samples("uint8", 2)
        options = {
            "photometric": "miniswhite",
            "planarconfig": "contig",
            "extrasamples": ["unassalpha"],
        }
        tifffile.imwrite("x.tif", values, **options)
        np.testing.assert_array_equal(load("x.tif").array, values ^ np.array([255, 0], np.uint8))

    def test_without_the_package_sixteen_bits_are_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tifffile.imwrite("x.tif", samples("uint16", 1), photometric="miniswhite")
        without(monkeypatch)
        with pytest.raises(
            DtypeError, match=r"x\.tif holds 16-bit samples, white as 0; .*pip install tifffile"
        ):
            load("x.tif")


@pytest.mark.parametrize("scale", [1, 256, 257])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_palette_of_any_scale(bits: int, scale: int) -> None:
    colours = RNG.integers(0, 256, (2**bits, 3))
    indices = RNG.integers(0, 2**bits, (6, 8)).astype(np.uint8)
    stored = indices if bits == 8 else indices[:, ::2] << 4 | indices[:, 1::2]
    tags = {256: 8, 257: 6, 258: bits, 259: 1, 262: 3, 273: 8, 277: 1, 278: 6, 279: stored.size}
    colour_map = [int(value) * scale for value in colours.T.ravel()]
    Path("x.tif").write_bytes(tiff_of({**tags, 320: colour_map}, stored.tobytes()))
    np.testing.assert_array_equal(load("x.tif").array, colours[indices])


def test_a_mask_of_transparency_beside_the_picture_is_a_page_that_is_not_asked_for() -> None:
    values = samples("uint8", 3)
    with tifffile.TiffWriter("x.tif") as writer:
        writer.write(values, photometric="rgb")
        writer.write(values[..., 0] > 99, photometric="mask", subfiletype=4)
    data = load("x.tif")
    np.testing.assert_array_equal(data.array, values)
    assert "first of 2 frames" in data.notes


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_a_fax_with_a_code_that_means_nothing_is_damaged(compression: str) -> None:
    black = np.zeros((40, 64), bool)
    black[4:30, 9:50:5] = True
    Image.fromarray(~black).save("x.tif", compression=compression)
    whole = load("x.tif").array
    np.testing.assert_array_equal(whole, np.where(black, 0, 255))
    content = bytearray(Path("x.tif").read_bytes())
    with Image.open("x.tif") as image:
        start, count = image.tag_v2[273][0], image.tag_v2[279][0]
    content[start + count // 2 : start + count // 2 + 4] = (
        b"\1\0\1\0"  # no code has so many zeros in a row
    )
    Path("y.tif").write_bytes(content)
    with pytest.raises(FileError, match=r"y\.tif is damaged: "):
        load("y.tif")
    assert load("y.tif", allow_truncated=True).damage
    np.testing.assert_array_equal(load("x.tif").array, whole)


class TestBands:
    @pytest.mark.parametrize("layout", ["bands", "rgb-nir", "five"])
    @pytest.mark.parametrize("planar", ["contig", "separate"])
    def test_no_band_of_8_bits_is_dropped_or_made_alpha(self, layout: str, planar: str) -> None:
        values = samples("uint8", BANDS[layout])
        stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
        tifffile.imwrite("x.tif", stored, planarconfig=planar, **layout_options(layout))
        run("apply", "x.tif", "-k", "identity:size=1", "-o", "y.tif")
        for name in ("x.tif", "y.tif"):
            assert not load(name).alpha
            np.testing.assert_array_equal(load(name).array, values)
        with tifffile.TiffFile("y.tif") as tiff:
            assert tiff.pages[0].extrasamples == (0,) * (
                BANDS[layout] - (1 if layout == "five" else 3)
            )

    def test_without_the_package_they_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = samples("uint8", 4)
        save("x.tif", values)
        without(monkeypatch)
        with pytest.raises(
            DtypeError, match=r"holds 8-bit samples in 4 channels; .*pip install tifffile"
        ):
            load("x.tif")
        with pytest.raises(
            DtypeError,
            match=r"uint8 with 4 channels, none of which is alpha; .*pip install tifffile",
        ):
            save("y.tif", values)
        save("y.tif", values, alpha=True)
        np.testing.assert_array_equal(load("y.tif").array, values)

    @pytest.mark.parametrize("layout", ["gray-alpha", "rgba"])
    def test_premultiplied_alpha_is_divided_out_and_rounded(self, layout: str) -> None:
        values = samples("uint8", BANDS[layout])
        values[..., :-1] = np.minimum(values[..., :-1], values[..., -1:])
        options = {
            **layout_options(layout),
            "extrasamples": ["assocalpha"],
            "planarconfig": "contig",
        }
        tifffile.imwrite("x.tif", values, **options)
        data = load("x.tif")
        assert (data.alpha, data.notes) == (True, ("alpha unpremultiplied",))
        seen = values[..., -1] > 0
        expected = np.rint(values[seen][:, :-1] * 255.0 / values[seen][:, -1:])
        np.testing.assert_array_equal(data.array[seen][:, :-1], expected)
        np.testing.assert_array_equal(data.array[..., -1], values[..., -1])


@pytest.mark.parametrize("compression", ["webp", "jpeg2000", "png", "lerc"])
def test_what_libtiff_does_not_decompress(
    monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    tifffile.imwrite("x.tif", samples("uint8", 3), photometric="rgb", compression=compression)
    np.testing.assert_array_equal(load("x.tif").array, tifffile.imread("x.tif"))
    without(monkeypatch)
    with pytest.raises(
        DtypeError, match=r"x\.tif holds samples of .*pip install tifffile imagecodecs"
    ):
        load("x.tif")


def test_the_wanted_page_decides_who_reads_it() -> None:
    values = samples("int16", 1)
    with tifffile.TiffWriter("x.tif", byteorder=">") as writer:
        writer.write(values.astype(np.uint8))
        writer.write(values, compression="zlib")
    np.testing.assert_array_equal(load("x.tif", frames=1).array, values)
    np.testing.assert_array_equal(load("x.tif").array, values.astype(np.uint8))


def test_jpeg_in_tiff_stays_with_pillow() -> None:
    Image.fromarray(samples("uint8", 3)).save("x.tif", compression="jpeg")
    assert load("x.tif").array.shape == (40, 33, 3)


class TestTypes:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("dtype", TYPES)
    @pytest.mark.parametrize("name", ["x.tif", "x.npy"])
    def test_the_input_s_type_is_kept(self, name: str, dtype: str, channels: int) -> None:
        values = samples(dtype, channels)
        if dtype.endswith("64"):
            values = (values // 2**12).astype(dtype) + (
                0.25 if dtype == "float64" else 0
            )  # what float64 holds
        save(name, values.astype(dtype))
        run("apply", name, "-k", "identity:size=1", "--dims", "2", "-o", "y.tif")
        written = tifffile.imread("y.tif")
        assert written.dtype == dtype
        np.testing.assert_array_equal(written, values)
        np.testing.assert_array_equal(load("y.tif").array, written)

    def test_without_the_package_float64_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        save("x.npy", samples("float64", 1))
        without(monkeypatch)
        told = run("apply", "x.npy", "-k", "identity", "-o", "y.tif", code=2).stderr
        assert "the input array is float64" in told
        assert "pip install tifffile imagecodecs, or use --dtype float32" in told
        run("apply", "x.npy", "-k", "identity", "-o", "y.tif", "--dtype", "float32")


class TestImagesInOneDirectory:
    """ImageJ above 4 GiB and tifffile write one directory for all images of a stack."""

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
    @pytest.mark.parametrize("colours", [1, 3])
    @pytest.mark.parametrize("imagej", [True, False])
    def test_all_are_read(
        self, monkeypatch: pytest.MonkeyPatch, dtype: str, colours: int, imagej: bool
    ) -> None:
        values = RNG.integers(0, 256, (5, 6, 7, colours)).astype(dtype)
        stack = values if colours == 3 else values[..., 0]
        photometric = "rgb" if colours == 3 and not (imagej and dtype != "uint8") else "minisblack"
        if photometric == "minisblack" and colours == 3:
            pytest.skip("ImageJ has colours of 8 bits alone")
        with tifffile.TiffWriter("x.tif", imagej=imagej) as writer:
            writer.write(stack, truncate=True, photometric=photometric)
        np.testing.assert_array_equal(load("x.tif", volume=True).array, stack)
        np.testing.assert_array_equal(load("x.tif", frames="all").array, values)
        np.testing.assert_array_equal(load("x.tif", frames=3).array, stack[3])
        data = load("x.tif")
        np.testing.assert_array_equal(data.array, stack[0])
        assert "first of 5 frames" in data.notes
        without(monkeypatch)
        with pytest.raises(
            DtypeError, match=r"x\.tif holds 5 images in one directory; .*pip install tifffile"
        ):
            load("x.tif")

    def test_one_that_is_cut_is_damaged(self) -> None:
        with tifffile.TiffWriter("x.tif", imagej=True) as writer:
            writer.write(samples("uint16", 5).transpose(2, 0, 1), truncate=True)
        Path("x.tif").write_bytes(Path("x.tif").read_bytes()[:-999])
        with pytest.raises(FileError, match=r"x\.tif is damaged: it ends after 4 of 5 images"):
            load("x.tif")

    @pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=str)
    @pytest.mark.parametrize(
        "description",
        [
            "ImageJ=1.54f\nimages=5\nslices=5",
            '{"shape": [5, 40, 33]}',
            '<OME><Image><Pixels SizeX="33" SizeY="40" SizeZ="5" SizeC="1" SizeT="1"/></Image>'
            "</OME>",
        ],
    )
    def test_one_that_is_alone_is_told(self, description: str, options: dict[str, Any]) -> None:
        values = samples("uint8", 1)
        tifffile.imwrite("x.tif", values, description=description, metadata=None, **options)
        data = load("x.tif")
        np.testing.assert_array_equal(data.array, values)
        assert data.notes == ("its description declares 5 images, the file holds one",)


EXIF_DIRECTORY, GPS_DIRECTORY, ALTITUDE, MAKE = 0x8769, 0x8825, 6, 271


class TestDanglingDirectories:
    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("place", [0, 8, 9, 3000, 65535])
    @pytest.mark.parametrize("tag", [EXIF_DIRECTORY, GPS_DIRECTORY])
    def test_the_samples_are_read_and_it_is_told(self, tag: int, place: int, bits: int) -> None:
        channels = 3 if bits == 16 else 1
        values = RNG.integers(1, 2**bits, (6, 8, channels)).astype(f"<u{bits // 8}")
        tags = {
            256: 8,
            257: 6,
            258: [bits] * channels,
            259: 1,
            262: 2 if channels == 3 else 1,
            273: 8,
        }
        tags |= {277: channels, 278: 6, 279: values.nbytes, tag: place}
        Path("x.tif").write_bytes(tiff_of(tags, values.tobytes()))
        data = load("x.tif")
        np.testing.assert_array_equal(data.array, values.squeeze())
        name = "ExifIFD" if tag == EXIF_DIRECTORY else "GPSInfoIFD"
        assert (data.notes, data.warnings) == (
            (),
            (f"{name} left out, as the file does not hold it",),
        )

    def test_the_other_directory_is_kept(self) -> None:
        exif = Image.Exif()
        exif[MAKE] = "maker"
        exif.get_ifd(GPS_DIRECTORY).update({1: "N"})
        exif.get_ifd(EXIF_DIRECTORY).update({0x9003: "2001:02:03 04:05:06"})
        block = exif.tobytes().removeprefix(b"Exif\0\0")
        save("x.tif", samples("uint8", 3), metadata=Metadata(exif=block))
        content = bytearray(Path("x.tif").read_bytes())
        entry = content.index(pack("<HH", EXIF_DIRECTORY, 4))
        content[entry + 8 : entry + 12] = b"\xff\xff\xff\x7f"
        Path("x.tif").write_bytes(content)
        kept = Image.Exif()
        kept.load(load("x.tif").metadata.exif)
        assert (kept[MAKE], kept.get_ifd(GPS_DIRECTORY)[1], kept.get_ifd(EXIF_DIRECTORY)) == (
            "maker",
            "N",
            {},
        )


def exif_of(entries: dict[int, tuple[int, Any]], group: int | None = None) -> bytes:
    """Return an EXIF block of tags with these types and values, in directory 0 or an inner one."""
    directory = ImageFileDirectory_v2(group=group)
    for tag, (kind, value) in entries.items():
        directory.tagtype[tag] = kind
        directory[tag] = value
    if group is None:
        return b"II*\0\x08\0\0\0" + directory.tobytes(8)
    lead = b"\1\0" + pack("<HHII", group, 4, 1, 26) + bytes(4)
    return b"II*\0\x08\0\0\0" + lead + directory.tobytes(26)


ODD = {
    "ImageDescription": exif_of({270: (5, IFDRational(3, 2))}),
    "Artist": exif_of({315: (12, 0.5)}),
    "Make": exif_of({271: (8, -5)}),
    "tag 18246": exif_of({0x4746: (4, 70000)}),
    "tag 18249": exif_of({0x4749: (3, (1, 2))}),
    "tag 40091": exif_of({0x9C9B: (2, "title")}),
    "GPSAltitude": exif_of({ALTITUDE: (10, IFDRational(-7, 2))}, GPS_DIRECTORY),
}
"""EXIF whose values have other types than the tag's, by the tag's name."""


@pytest.mark.parametrize("name", ODD)
class TestOddExif:
    @pytest.mark.parametrize(
        "words", [(), ("--dtype", "uint16"), ("--compress-level", "1")], ids=str
    )
    def test_it_goes_into_a_tiff_as_it_is(self, name: str, words: tuple[str, ...]) -> None:
        Image.fromarray(samples("uint8", 3)).save("x.png", exif=ODD[name])
        told = run("apply", "x.png", "-k", "identity", "-o", "y.tif", *words)
        assert "not kept" not in told.stdout + told.stderr
        assert load("y.tif").array.shape == load("x.png").array[:-2, :-2].shape
        assert load("y.tif").metadata.exif == ODD[name]

    def test_it_is_kept_from_a_tiff(self, name: str) -> None:
        _append_exif(ODD[name])
        assert load("x.tif").metadata.exif == ODD[name]
        run("apply", "x.tif", "-k", "identity", "-o", "y.jpg")
        assert ODD[name] == load("y.jpg").metadata.exif


def _append_exif(block: bytes) -> None:
    """Write x.tif with the tags of an EXIF block in its directory."""
    given = ImageFileDirectory_v2(block[:8])
    stream = BytesIO(block)
    stream.seek(8)
    given.load(stream)
    directory = ImageFileDirectory_v2()
    for tag, value in {
        256: 8,
        257: 6,
        258: 8,
        259: 1,
        262: 1,
        273: 8,
        277: 1,
        278: 6,
        279: 48,
    }.items():
        directory[tag] = value
    for tag in given:
        directory.tagtype[tag] = given.tagtype[tag]
        directory[tag] = given[tag] + 56 if tag == GPS_DIRECTORY else given[tag]
    pixels = bytes(48)
    if GPS_DIRECTORY in given:
        gps = ImageFileDirectory_v2(block[:8], group=GPS_DIRECTORY)
        stream.seek(given[GPS_DIRECTORY])
        gps.load(stream)
        dict(gps)  # decoded, as Pillow writes no other
        directory[GPS_DIRECTORY] = 56
        pixels += gps.tobytes(56)
    start = 8 + len(pixels)
    content = bytearray(directory.tobytes(start))
    strip = content.index(pack("<H", 273))
    content[strip + 8 : strip + 12] = pack(
        "<I", 8
    )  # which Pillow counts from the end of the directory
    Path("x.tif").write_bytes(b"II*\0" + pack("<I", start) + pixels + content)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", "<>")
def test_a_big_tiff_of_either_byte_order(order: str, compression: str | None) -> None:
    values = samples("float32", 3)
    with tifffile.TiffWriter("x.tif", bigtiff=True, byteorder=order) as writer:
        for page in (values, values[::-1]):
            writer.write(
                page, photometric="rgb", compression=compression, description="a cat", metadata=None
            )
    np.testing.assert_array_equal(load("x.tif", frames="all").array, [values, values[::-1]])
    assert b"a cat" in load("x.tif", frames=1).metadata.exif


WITHOUT_IMAGECODECS = """
import sys

sys.modules["imagecodecs"] = None  # as where tifffile was installed alone
from convcli.io import load

for name in sys.argv[1:]:
    try:
        load(name)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""


def test_a_compression_that_takes_imagecodecs_is_named_where_tifffile_is_alone() -> None:
    pytest.importorskip("imagecodecs")
    compressions = {
        "lzw": "LZW",
        "webp": "WebP",
        "lerc": "LERC",
        "jpegxl": "JPEG XL",
        "jpegxr": "JPEG XR",
    }
    compressions |= {"png": "PNG", "jpeg2000": "JPEG 2000", "zstd": "Zstandard"}
    for compression in compressions:
        values = samples("uint8" if compression == "webp" else "uint16", 3)
        tifffile.imwrite(f"{compression}.tif", values, photometric="rgb", compression=compression)
    command = [
        sys.executable,
        "-c",
        WITHOUT_IMAGECODECS,
        *(f"{compression}.tif" for compression in compressions),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    needed = "which tifffile decompresses by the imagecodecs package; pip install imagecodecs"
    assert done.stdout.splitlines() == [
        f"DtypeError: {compression}.tif holds samples of {named}; {needed}"
        for compression, named in compressions.items()
    ]


@pytest.mark.parametrize("kind", [1, 2, 5, 7, 10, 12, 16, 99])
@pytest.mark.parametrize("count", [0, 1, 7, 2**32 - 1])
def test_a_tag_of_another_type_or_count_is_read_or_refused(kind: int, count: int) -> None:
    """No tag raises any other error, if read as bytes, text, fractions or several values."""
    tifffile.imwrite(
        "x.tif", samples("uint8", 3), photometric="rgb", compression="zlib", resolution=(72, 72)
    )
    content = Path("x.tif").read_bytes()
    start = int.from_bytes(content[4:8], "little")
    for entry in range(int.from_bytes(content[start : start + 2], "little")):
        at = start + 2 + 12 * entry + 2
        Path("y.tif").write_bytes(
            content[:at] + struct.pack("<HI", kind, count) + content[at + 6 :]
        )
        with suppress(InputError, LimitError):
            load("y.tif", frames="all" if entry % 2 else "first")
