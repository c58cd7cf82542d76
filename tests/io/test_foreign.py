"""Formats that convcli does not read are recognised, and the error names a converter."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convcli.errors import FileError, did_you_mean
from convcli.io import load, save
from convcli.io.foreign import FOREIGN, foreign_suffix, recognise_foreign
from convcli.io.formats import recognise, suffixes
from convcli.io.reading import sniff

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8))


def by_pillow(form: str, mode: str = "RGB", **options: object) -> bytes:
    PICTURE.convert(mode).save(stream := io.BytesIO(), form, **options)
    return stream.getvalue()


def zipped(*names: str) -> bytes:
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        for name in names:
            archive.writestr(
                name, "application/vnd.oasis.opendocument" if name == "mimetype" else "text"
            )
    return stream.getvalue()


def tarred() -> bytes:
    with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    return stream.getvalue()


def ftyp(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand + bytes(400)


def at(offset: int, magic: bytes) -> bytes:
    return bytes(offset) + magic + bytes(400)


HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
SAMPLES: list[tuple[bytes, str]] = [
    *((ftyp(brand), "a HEIC image") for brand in HEIC),
    (ftyp(b"avif"), "an AVIF image"),
    (ftyp(b"avis"), "an AVIF image"),
    (ftyp(b"crx "), "a Canon raw picture (CR3)"),
    (ftyp(b"isom"), "an MP4 film"),
    (ftyp(b"qt  "), "a QuickTime film"),
    (ftyp(b"M4A "), "an M4A recording"),
    (b"\xff\x0a" + bytes(300), "a JPEG XL image"),
    (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(300), "a JPEG XL image"),
    (b"II\xbc\x01" + bytes(300), "a JPEG XR image"),
    (b"v/1\x01\x02\0\0\0", "an OpenEXR image"),
    (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n", "a Radiance HDR image"),
    (b"8BPS\0\x01" + bytes(30), "a Photoshop document"),
    (b"8BPS\0\x02" + bytes(30), "a large Photoshop document"),
    (b"gimp xcf v011\0", "a GIMP image"),
    (b"P7\nWIDTH 16\nHEIGHT 16\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n", "a PAM image"),
    (by_pillow("TGA"), "a Targa image"),
    (by_pillow("TGA", "L"), "a Targa image"),
    (by_pillow("TGA", "RGBA", compression="tga_rle"), "a Targa image"),
    (by_pillow("TGA", "P"), "a Targa image"),
    (by_pillow("ICO"), "a Windows icon"),
    (b"\0\0\x02\0" + by_pillow("ICO")[4:], "a Windows cursor"),
    (by_pillow("ICNS"), "an Apple icon"),
    (by_pillow("DDS"), "a DDS texture"),
    (by_pillow("PCX"), "a PCX image"),
    (by_pillow("SGI"), "an SGI image"),
    (by_pillow("XBM", "1"), "an X bitmap"),
    (by_pillow("PDF"), "a PDF document"),
    (by_pillow("EPS"), "a PostScript document"),
    (b"qoif" + struct.pack(">IIBB", 24, 16, 3, 0), "a QOI image"),
    (b"AT&TFORM\0\0\0\x20DJVU", "a DjVu document"),
    (b"\xd7\xcd\xc6\x9a" + bytes(30), "a WMF drawing"),
    (b"\x01\0\0\0" + bytes(36) + b" EMF" + bytes(60), "an EMF drawing"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
    (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg width='3'>", "an SVG drawing"),
    (b"<?xml version='1.0'?><points/>", "an XML or HTML document"),
    (b"<!DOCTYPE html><html>", "an XML or HTML document"),
    (b"II*\0\x10\0\0\0CR\x02\0", "a Canon raw picture (CR2)"),
    (b"FUJIFILMCCD-RAW 0201", "a Fujifilm raw picture (RAF)"),
    (b"IIRO\x08\0\0\0", "an Olympus raw picture (ORF)"),
    (b"IIU\0\x18\0\0\0", "a Panasonic raw picture (RW2)"),
    (at(128, b"DICM"), "a DICOM image"),
    (b"SIMPLE  =                    T".ljust(2880), "a FITS file"),
    (b"NRRD0004\ntype: float\n", "an NRRD volume"),
    (b"ObjectType = Image\nNDims = 3\n", "a MetaImage volume"),
    (b"NDims = 3\n", "a MetaImage volume"),
    (at(208, b"MAP "), "an MRC volume"),
    (b"\x5c\x01\0\0" + bytes(34) + b"r" + bytes(400), "the header of an Analyze pair"),
    (
        b"\x5c\x01\0\0" + bytes(34) + b"r" + bytes(305) + b"ni1\0",
        "the header of a NIfTI pair of .hdr and .img",
    ),
    (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "a Matlab file"),
    (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n", "a Matlab file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"CDF\x01", "a NetCDF file"),
    (b"CDF\x05", "a NetCDF file"),
    (b"PAR1", "a Parquet table"),
    (b"ARROW1\0\0", "an Arrow or Feather table"),
    (b"SQLite format 3\0" + bytes(84), "an SQLite database"),
    (pickle.dumps([1, 2], 2), "a NumPy or Python pickle"),
    (pickle.dumps({"a": np.eye(2)}, 4), "a NumPy or Python pickle"),
    (pickle.dumps(np.eye(2)), "a NumPy or Python pickle"),
    (zipped("archive/data.pkl", "archive/version"), "a PyTorch file"),
    (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook"),
    (zipped("mimetype", "content.xml"), "an OpenDocument file"),
    (zipped("a.png"), "a zip archive"),
    (struct.pack("<Q", 80) + b'{"weight":{"dtype":"F32"}}', "a safetensors file"),
    (b'{"a": 1}', "a JSON document"),
    (bz2.compress(b"1,2"), "bzip2-compressed data"),
    (lzma.compress(b"1,2"), "xz-compressed data"),
    (lzma.compress(b"1,2", lzma.FORMAT_ALONE), "lzma-compressed data"),
    (b"\x28\xb5\x2f\xfd\x04\0", "Zstandard-compressed data"),
    (tarred(), "a tar archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07\x01", "a RAR archive"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM film"),
    (b"RIFF\0\0\0\0AVI LIST", "an AVI film"),
    (b"ID3\x04\0\0", "an MP3 recording"),
    (b"\xff\xfb\x90\x64", "an MP3 recording"),
    (b"fLaC\0\0\0\x22", "a FLAC recording"),
    (b"OggS\0\x02", "an Ogg recording"),
    (b"FORM\0\0\0\0AIFF", "an AIFF recording"),
    ("1,2".encode("utf-16"), "UTF-16 text"),
]


@pytest.mark.parametrize(
    ("content", "words"), SAMPLES, ids=[f"{words}-{n}" for n, (_, words) in enumerate(SAMPLES)]
)
def test_content_is_named_under_any_name_and_on_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str
) -> None:
    row = recognise_foreign(content)
    assert row is not None
    assert row.words == words
    for name in ("x", "x.unknown", "x.jpg", "x.csv", "x.npy", "x.dat", "x.wav", "x.nii"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileError) as caught:
            load(tmp_path / name)
        told = str(caught.value)
        assert f"looks like {words}; " in told
        assert row.remedy in told
        assert "did you mean" not in told
        assert len(told) < 300
    monkeypatch.setattr("sys.stdin", type("Pipe", (), {"buffer": io.BytesIO(content)}))
    with pytest.raises(
        FileError,
        match=f"^standard input has no suffix .* looks like {words.replace('(', '.')[:10]}",
    ):
        load("-")


@pytest.mark.parametrize(
    "suffix",
    [suffix for row in FOREIGN for suffix in row.suffixes.split()],
    ids=lambda suffix: suffix,
)
def test_a_suffix_is_named_where_the_content_says_nothing(tmp_path: Path, suffix: str) -> None:
    row = foreign_suffix(suffix)
    assert row is not None
    assert suffix not in suffixes()
    with pytest.raises(FileError) as caught:
        load(tmp_path / f"x{suffix.upper()}")
    given = f"does not exist, and is named as {row.words}, which convcli does not read"
    assert f"{given}; see: convcli formats; {row.remedy}" in str(caught.value)
    with pytest.raises(
        FileError,
        match=r"which convcli does not write; write \.png, \.tiff or \.npy, and convert that",
    ):
        save(tmp_path / f"x{suffix}", np.eye(3))
    (tmp_path / f"x{suffix}").write_bytes(b"\0\x07\x07\x03" + bytes(range(100)))
    with pytest.raises(FileError) as caught:
        load(tmp_path / f"x{suffix}")
    assert (
        f"is named as {row.words}, which convcli does not read; see: convcli formats; {row.remedy}"
        in str(caught.value)
    )


def test_a_picture_that_is_named_as_another_kind_is_read_as_what_it_is(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "x.png")
    for name in ("x.heic", "x.tga", "x.jxl", "x.webm"):
        (tmp_path / name).write_bytes((tmp_path / "x.png").read_bytes())
        assert load(tmp_path / name).format == "png"


@pytest.mark.parametrize("suffix", [".nef", ".ARW", ".dng", ".pef"])
def test_the_preview_in_a_cameras_raw_picture_is_not_taken_for_it(
    tmp_path: Path, suffix: str
) -> None:
    PICTURE.save(tmp_path / f"x{suffix}", "TIFF")
    with pytest.raises(
        FileError,
        match=r"whose tiff pages are previews; .*; develop it to \.tiff .* --input-format tiff",
    ):
        load(tmp_path / f"x{suffix}")
    assert load(tmp_path / f"x{suffix}", format="tiff").array.shape == (16, 24, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (by_pillow("PNG"), " with a PNG image in it"),
        (by_pillow("TIFF"), " with a TIFF image in it"),
        (b"1,2\n3,4\n" * 1000, " with text in it"),
        (tarred(), " with a tar archive in it"),
        (b"\0\x07\x07" * 40, ""),
    ],
)
@pytest.mark.parametrize("name", ["i.png.gz", "i.gz", "i", "i.nii.gz", "i.csv", "i.png"])
def test_gzip_of_anything_is_named_as_such(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(gzip.compress(content))
    with pytest.raises(
        FileError, match=f"looks like gzip-compressed data{words}; .*unpack it first with gunzip"
    ) as caught:
        load(tmp_path / name)
    assert "NIfTI" not in str(caught.value)


def test_volumes_are_read_packed_under_any_name(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    save(tmp_path / "x.nii.gz", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    (tmp_path / "volume").write_bytes((tmp_path / "x.nii.gz").read_bytes())
    assert load(tmp_path / "volume").format == "nii.gz"


def test_no_pattern_matches_what_is_read() -> None:
    heads = [
        by_pillow(form) for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000")
    ]
    heads += [
        b"P5\n3 3\n255\n",
        b"P1 3 3 1",
        b"Pf\n3 3\n-1\n",
        b"MM\0*\0\0\0\x08",
        b"II\x2b\0",
        b"MM\0\x2b",
    ]
    heads += [
        b"RIFF\0\0\0\0WAVEfmt ",
        zipped("conv1.npy"),
        b"PK\x05\x06" + bytes(18),
        b"\x93NUMPY\x01\0",
    ]
    heads += [
        b"\x5c\x01\0\0" + bytes(340) + b"n+1\0",
        b"\0\0\x01\x5c" + bytes(340) + b"n+1\0",
        b"\x1c\x02\0\0n+2\0",
    ]
    for head in heads:
        assert recognise_foreign(head) is None, head[:16]
        assert recognise(head), head[:16]
    assert [sniff(text).words for text in (b"1,2", b"[1, 2]", b"# a comment\n1 2", b"nan\n1")] == [
        "text"
    ] * 4


def test_a_bitmap_whose_pixels_lie_far_behind_its_header_is_recognised() -> None:
    head = bytearray(by_pillow("BMP"))
    head[10:14] = struct.pack("<I", 70_000)
    assert sniff(bytes(head)).words == "a BMP image"


@pytest.mark.parametrize(
    ("given", "known", "suggested"),
    [
        (".avif", (".wav", ".gif"), ""),
        (".jxl", (".jpx", ".jpg"), ""),
        (".jgp", (".jpx", ".jpg"), ".jpg"),
        (".pgn", (".npy", ".png"), ".png"),
        (".jpegg", (".jpe", ".jpeg"), ".jpeg"),
        ("gausian", ("box", "gaussian"), "gaussian"),
    ],
)
def test_a_suggestion_is_a_slip_away(given: str, known: tuple[str, ...], suggested: str) -> None:
    assert did_you_mean(given, known) == (f"did you mean '{suggested}'?" if suggested else "")


def test_a_format_of_that_name_is_named() -> None:
    with pytest.raises(
        FileError,
        match="unknown format 'heic'; convcli neither reads nor writes a HEIC image; convert",
    ):
        load("x.png", format="heic")
