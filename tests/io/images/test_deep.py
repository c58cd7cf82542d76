"""Read and write samples beyond Pillow, compared with tifffile and imagecodecs.

16 and 32 bits in several channels, floats, stacks.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from struct import pack
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from command import run
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from convcli.errors import DtypeError, FileError, InputError, LimitError
from convcli.io import NO_METADATA, Metadata, load, save
from convcli.io.images.png_chunks import ancillary
from convcli.io.images.png_encode import write_png
from convcli.limits import Limits
from convcli.options import DTYPES, Frames

tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (12, 17, 4), dtype=np.uint16)


pytestmark = pytest.mark.usefixtures("in_tmp")


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convcli.io.formats.find_spec", lambda name: None)


class TestPng:
    @pytest.mark.parametrize("channels", [2, 3, 4])
    def test_sixteen_bits_come_back(self, channels: int) -> None:
        values = DEEP[..., :channels]
        save("x.png", values, alpha=channels != 3)
        np.testing.assert_array_equal(imagecodecs.png_decode(Path("x.png").read_bytes()), values)
        data = load("x.png")
        np.testing.assert_array_equal(data.array, values)
        assert (data.kind, data.format, data.alpha) == ("image", "png", channels != 3)

    def test_one_is_filtered_in_its_own_depth(self) -> None:
        Path("x.png").write_bytes(imagecodecs.png_encode(DEEP[..., :3].copy()))
        run("apply", "x.png", "-k", "box:size=3", "-o", "y.png")
        np.save("x.npy", DEEP[..., :3])
        run("apply", "x.npy", "-k", "box:size=3", "--dims", "2", "--dtype", "uint16", "-o", "y.npy")
        np.testing.assert_array_equal(load("y.png").array, np.load("y.npy"))

    def test_a_transparent_colour_is_alpha(self) -> None:
        Path("x.png").write_bytes(
            _with_transparent(imagecodecs.png_encode(DEEP[..., :3].copy()), DEEP[2, 3, :3])
        )
        data = load("x.png")
        assert data.alpha
        assert data.notes == ("transparent colour made alpha",)
        assert data.array[2, 3, 3] == 0
        assert data.array[0, 0, 3] == 65535

    def test_the_level_is_obeyed(self) -> None:
        flat = np.zeros((99, 99, 3), np.uint16)
        sizes = [
            save(f"{level}.png", flat, settings={"compress_level": level}).bytes for level in (0, 9)
        ]
        assert sizes[0] > 99 * 99 * 6 > 100 * sizes[1]

    def test_what_it_says_besides_is_kept(self) -> None:
        exif, text = Image.Exif(), PngInfo()
        exif[0x010F], exif[0x0112] = "Maker", 6
        text.add_text("Title", "a cat")
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        given = {"exif": exif.tobytes(), "pnginfo": text, "icc_profile": profile, "dpi": (300, 150)}
        Image.fromarray(DEEP.astype(np.uint8)).save("shallow.png", **given)
        said = [
            chunk
            for chunk in ancillary(io.BytesIO(Path("shallow.png").read_bytes()))
            if chunk.kind != b"IDAT"
        ]
        write_png(stream := io.BytesIO(), DEEP, chunks=said)
        Path("x.png").write_bytes(stream.getvalue())
        deep, shallow = load("x.png"), load("shallow.png")
        np.testing.assert_array_equal(deep.array.astype(np.uint8), shallow.array)
        assert deep.notes == shallow.notes == ("EXIF orientation applied",)
        assert deep.metadata == shallow.metadata
        run("apply", "x.png", "-k", "box", "-o", "y.png")
        assert load("y.png").metadata == deep.metadata
        run("apply", "x.png", "-k", "box", "-o", "z.png", "--strip")
        assert load("z.png").metadata == NO_METADATA

    @pytest.mark.parametrize(("shown", "count"), [(True, 2), (False, 3)])
    def test_of_an_animation_the_first_frame_alone_is_read(self, shown: bool, count: int) -> None:
        Path("x.png").write_bytes(_animated(imagecodecs.png_encode(DEEP), default_plays=shown))
        data = load("x.png")
        assert data.notes == (f"first of {count} frames",)
        np.testing.assert_array_equal(data.array, DEEP)
        wanted: Frames
        for wanted in ("all", 1):
            with pytest.raises(
                FileError, match=f"has {count} frames of 16-bit samples .* leave --frames out"
            ):
                load("x.png", frames=wanted)
        with pytest.raises(InputError, match=f"it has {count}"):
            load("x.png", frames=count)

    def test_a_still_one_has_all_its_frames(self) -> None:
        save("x.png", DEEP[..., :3])
        np.testing.assert_array_equal(load("x.png", frames="all").array, DEEP[..., :3])
        with pytest.raises(InputError, match="it has one alone"):
            load("x.png", frames=1)

    def test_limits_come_first(self) -> None:
        Path("x.png").write_bytes(imagecodecs.png_encode(DEEP))
        with pytest.raises(LimitError, match="204 pixels"):
            load("x.png", limits=Limits(2**30, 100))
        with pytest.raises(LimitError, match="of memory"):
            load("x.png", limits=Limits(2000))

    def test_without_the_package_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        save("x.png", DEEP)
        without(monkeypatch)
        assert (
            "imagecodecs package does; pip install imagecodecs"
            in run("apply", "x.png", "-k", "box", code=2).stderr
        )
        with pytest.raises(DtypeError, match=r"x\.png holds 16-bit samples"):
            load("x.png")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        len(content).to_bytes(4, "big") + kind + content + crc32(kind + content).to_bytes(4, "big")
    )


def _with_transparent(content: bytes, colour: Any) -> bytes:
    """Insert a tRNS chunk before the samples of a PNG."""
    at = content.index(b"IDAT") - 4
    return content[:at] + _chunk(b"tRNS", colour.astype(">u2").tobytes()) + content[at:]


def _animated(content: bytes, *, default_plays: bool) -> bytes:
    """Return a PNG of two equal frames; the first is the still image or not."""
    at, end = content.index(b"IDAT") - 4, content.rindex(b"IEND") - 4
    samples = content[at + 8 : at + 8 + int.from_bytes(content[at : at + 4], "big")]
    head = content[:at] + _chunk(b"acTL", pack(">II", 2, 0))
    controls = [
        _chunk(b"fcTL", pack(">IIIIIHHBB", 2 * n, 17, 12, 0, 0, 1, 10, 0, 0)) for n in range(2)
    ]
    frames = [
        control + _chunk(b"fdAT", pack(">I", 2 * n + 1) + samples)
        for n, control in enumerate(controls)
    ]
    played = (
        [controls[0] + content[at:end], frames[1]] if default_plays else [content[at:end], *frames]
    )
    return head + b"".join(played) + content[end:]


class TestTiff:
    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_every_number_comes_back(self, dtype: str, channels: int) -> None:
        values = DEEP[..., :1].repeat(channels, 2).astype(dtype)
        values[..., -1] = 1
        values = values[..., 0] if channels == 1 else values
        save("x.tiff", values)
        np.testing.assert_array_equal(tifffile.imread("x.tiff"), values)
        data = load("x.tiff")
        np.testing.assert_array_equal(data.array, values)
        assert not data.alpha or dtype == "uint8"  # which Pillow writes
        assert data.kind == "image"

    @pytest.mark.parametrize("channels", [1, 3, 7])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_every_number_comes_back_deflated(self, dtype: str, channels: int) -> None:
        values = (
            np.arange(40 * 60 * channels).reshape(40, 60, channels).squeeze() // 7 % 120
        ).astype(dtype)
        plain, packed, shared = (
            save(
                f"{level}{threads}.tiff",
                values,
                settings={"compress_level": level},
                threads=threads,
            )
            for level, threads in ((0, 1), (9, 1), (9, 2))
        )
        assert packed.bytes < plain.bytes / 2
        assert Path(packed.path).read_bytes() == Path(shared.path).read_bytes()
        np.testing.assert_array_equal(load(packed.path).array, values)
        with tifffile.TiffFile(packed.path) as tiff:
            assert tiff.pages[0].compression == 8
            np.testing.assert_array_equal(tiff.asarray(), values)

    def test_bits_come_back_deflated(self) -> None:
        save("x.tiff", DEEP[..., 0] > 999, settings={"compress_level": 1})
        with Image.open("x.tiff") as picture:
            assert (picture.mode, picture.info["compression"]) == ("1", "tiff_adobe_deflate")
            np.testing.assert_array_equal(np.asarray(picture), DEEP[..., 0] > 999)

    def test_pillow_reads_what_is_deflated(self) -> None:
        for values in (DEEP[..., 0], DEEP.astype(np.uint8), DEEP[..., 0].astype(np.float32)):
            save(
                "x.tif",
                values,
                overwrite=True,
                alpha=values.ndim == 3,
                settings={"compress_level": 1},
            )
            with Image.open("x.tif") as picture:
                assert picture.info["compression"] == "tiff_adobe_deflate"
                np.testing.assert_array_equal(np.asarray(picture), values)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"compression": "zlib", "predictor": True},
            {"compression": "lzw"},
            {"compression": "zstd"},
            {"tile": (16, 16)},
            {"tile": (16, 16), "compression": "zlib"},
            {"rowsperstrip": 5},
            {"byteorder": ">"},
            {"bigtiff": True},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("planar", ["contig", "separate"])
    def test_every_way_to_lay_it_down_is_read(self, options: dict[str, Any], planar: str) -> None:
        values = DEEP[..., :3] if planar == "contig" else DEEP[..., :3].transpose(2, 0, 1)
        tifffile.imwrite("x.tif", values, photometric="rgb", planarconfig=planar, **options)
        data = load("x.tif")
        np.testing.assert_array_equal(data.array, DEEP[..., :3])
        assert data.array.dtype == np.dtype("=u2")

    def test_straight_alpha_is_alpha(self) -> None:
        tifffile.imwrite("x.tif", DEEP, photometric="rgb", extrasamples=["unassalpha"])
        assert load("x.tif").alpha
        run("apply", "x.tif", "-k", "box", "-o", "y.tif")
        assert load("y.tif").alpha

    @pytest.mark.parametrize("dtype", ["uint16", "float32"])
    def test_premultiplied_alpha_is_divided_out(self, dtype: str) -> None:
        alpha = np.linspace(0.1, 1, 12 * 17).reshape(12, 17, 1)
        alpha[0, :3] = 0
        colours = RNG.random((12, 17, 3))
        top = 65535 if dtype == "uint16" else 1
        stored = np.concatenate([colours * alpha, alpha], axis=2) * top
        stored = np.rint(stored).astype(dtype) if top > 1 else stored.astype(dtype)
        tifffile.imwrite("x.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
        data = load("x.tif")
        assert data.alpha
        assert data.notes == ("alpha unpremultiplied",)
        seen = alpha[..., 0] > 0
        np.testing.assert_allclose(data.array[seen][:, :3] / top, colours[seen], atol=1e-4)
        assert not data.array[~seen].any()
        np.testing.assert_array_equal(data.array[..., 3], stored[..., 3])

    @pytest.mark.parametrize("wanted", ["all", 0, 2])
    def test_frames_are_pages(self, wanted: Frames) -> None:
        pages = np.stack([np.roll(DEEP[..., :3], at, axis=0) for at in range(3)])
        with tifffile.TiffWriter("x.tif") as writer:
            for page in pages:
                writer.write(page, photometric="rgb", metadata=None)
        expected = pages if wanted == "all" else pages[wanted]
        data = load("x.tif", frames=wanted)
        np.testing.assert_array_equal(data.array, expected)
        assert (data.frames, data.kind) == (3 if wanted == "all" else 1, "image")
        run("apply", "x.tif", "-k", "identity:size=1", "--frames", str(wanted), "-o", "y.tif")
        np.testing.assert_array_equal(tifffile.imread("y.tif").squeeze(), expected)

    def test_a_page_that_there_is_not_is_told(self) -> None:
        tifffile.imwrite("x.tif", DEEP[..., :3], photometric="rgb")
        save("x.png", DEEP[..., :3])
        for name in ("x.tif", "x.png"):
            told = run("apply", name, "-k", "box", "--frames", "4", code=2).stderr
            assert f"frame 4 of {name}; it has one alone; leave --frames out" in told
            assert load(name, frames="all").array.shape == (12, 17, 3)

    def test_gray_pages_are_frames_of_one_channel(self) -> None:
        pages = DEEP.transpose(2, 0, 1).astype(np.uint32)
        tifffile.imwrite("x.tif", pages, photometric="minisblack", metadata=None)
        run("apply", "x.tif", "-k", "box", "--padding", "same", "--frames", "all", "-o", "y.tif")
        run(
            "apply",
            "x.tif",
            "-k",
            "box:size=3",
            "--padding",
            "same",
            "--frames",
            "3",
            "-o",
            "z.tif",
        )
        with tifffile.TiffFile("y.tif") as tiff:
            assert [page.shape for page in tiff.pages] == [(12, 17)] * 4
            np.testing.assert_array_equal(tiff.pages[3].asarray(), tifffile.imread("z.tif"))

    def test_what_it_says_besides_is_kept(self) -> None:
        exif = Image.Exif()
        exif[270], exif[305], exif[0x9C9B] = "a cat", "by hand", "cat".encode("utf-16-le")
        exif.get_ifd(0x8769).update(
            {0x9003: "2001:02:03 04:05:06", 0x829A: 0.5, 0x9286: b"ASCII\0\0\0hello"}
        )
        exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.5)})
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        Image.fromarray(DEEP.astype(np.uint8)).save(
            "shallow.png", exif=exif.tobytes(), icc_profile=profile, dpi=(300, 150)
        )
        metadata = replace(load("shallow.png").metadata, xmp=b"<x:xmpmeta/>", density=(300, 150))
        save("x.tif", DEEP, alpha=True, metadata=metadata)
        save("shallow.tif", DEEP.astype(np.uint8), alpha=True, metadata=metadata)
        deep, shallow = load("x.tif").metadata, load("shallow.tif").metadata
        assert (deep.icc, deep.xmp) == (profile, b"<x:xmpmeta/>")
        assert deep.density == (300, 150)
        assert deep == shallow
        told = json.loads(run("apply", "x.tif", "-k", "box", "-o", "y.tif", "--json").stdout)[
            "output"
        ]
        assert (told["kept"], told["lost"]) == (["ICC profile", "density", "EXIF", "XMP"], [])
        assert load("y.tif").metadata == deep
        with tifffile.TiffFile("y.tif") as tiff:
            tags = tiff.pages[0].tags
            assert tags["ImageDescription"].value == "a cat"
            assert tags["ExifTag"].value["DateTimeOriginal"] == "2001:02:03 04:05:06"
            assert tags["XResolution"].value == (300, 1)
        run("apply", "x.tif", "-k", "box", "-o", "z.tif", "--strip")
        assert load("z.tif").metadata == NO_METADATA

    def test_a_large_one_keeps_it_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("convcli.io.images.tiff_write._BIG", 0)
        exif = Image.Exif()
        exif.get_ifd(0x8769).update({0x9003: "2001:02:03 04:05:06"})
        save("x.tif", DEEP, metadata=Metadata(exif=exif.tobytes().removeprefix(b"Exif\0\0")))
        with tifffile.TiffFile("x.tif") as tiff:
            assert tiff.is_bigtiff
            assert tiff.pages[0].tags["ExifTag"].value["DateTimeOriginal"] == "2001:02:03 04:05:06"
        assert load("x.tif").metadata.exif

    def test_the_same_picture_gives_the_same_bytes(self) -> None:
        for name in ("x.tif", "y.tif"):
            save(name, DEEP, alpha=True, metadata=Metadata(density=(72, 72)))
        assert Path("x.tif").read_bytes() == Path("y.tif").read_bytes()

    def test_density_turns_with_the_picture(self) -> None:
        options = {"resolution": (100, 40), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(
            "x.tif", DEEP[..., :3], photometric="rgb", extratags=[(274, 3, 1, 6, True)], **options
        )
        assert load("x.tif").metadata.density == pytest.approx((101.6, 254))

    def test_what_pillow_keeps_stays_with_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        without(monkeypatch)
        for values in (DEEP[..., 0], DEEP.astype(np.uint8), DEEP[..., 0].astype(np.float32)):
            save("x.tif", values, overwrite=True, alpha=values.ndim == 3)
            np.testing.assert_array_equal(load("x.tif").array, values)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_it_is_upright(self, orientation: int) -> None:
        tags = [(274, 3, 1, orientation, True)]
        tifffile.imwrite("x.tif", DEEP[..., :3], photometric="rgb", extratags=tags)
        Image.fromarray(DEEP[..., :3].astype(np.uint8)).save("y.tif", tiffinfo={274: orientation})
        np.testing.assert_array_equal(load("x.tif").array.astype(np.uint8), load("y.tif").array)

    def test_a_part_is_not_taken_for_the_whole(self) -> None:
        tifffile.imwrite("x.tif", DEEP[..., :3], photometric="rgb", compression="zlib")
        content = bytearray(Path("x.tif").read_bytes())
        content[-1] ^= 1
        Path("x.tif").write_bytes(content)
        with pytest.raises(FileError, match=r"x\.tif is damaged: the checksum of a strip differs"):
            load("x.tif")

    def test_one_that_is_cut_within_a_later_page_is_told(self) -> None:
        tifffile.imwrite(
            "x.tif", DEEP[..., :3][None].repeat(3, 0), photometric="rgb", rowsperstrip=12
        )
        content = Path("x.tif").read_bytes()
        Path("x.tif").write_bytes(content[:-99])
        with pytest.raises(FileError, match=r"x\.tif is damaged"):
            load("x.tif")

    def test_limits_come_first(self) -> None:
        tifffile.imwrite(
            "x.tif", np.zeros((3000, 3000, 3), np.uint16), photometric="rgb", compression="zlib"
        )
        with pytest.raises(LimitError, match="9,000,000 pixels"):
            load("x.tif", limits=Limits(2**30, 10**6))
        with pytest.raises(LimitError, match="of memory"):
            load("x.tif", limits=Limits(2**24))

    def test_pages_that_are_no_volume_are_told(self) -> None:
        tifffile.imwrite(
            "x.tif",
            DEEP.transpose(2, 0, 1)[:, None].repeat(3, 1),
            photometric="rgb",
            planarconfig=2,
        )
        assert load("x.tif").notes == ("first of 4 frames",)

    def test_without_the_package_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tifffile.imwrite("x.tif", DEEP[..., :3], photometric="rgb")
        save("plain.tif", DEEP[..., 0])
        np.save("x.npy", DEEP[..., :3])
        without(monkeypatch)
        for words in (
            ["x.tif"],
            ["plain.tif", "--dims", "3"],
            ["x.npy", "--dims", "2", "-o", "y.tif"],
            ["plain.tif", "--compress-level", "1", "-o", "y.tif"],
        ):
            told = run("apply", *words, "-k", "box", code=2).stderr
            assert "the tifffile package does; pip install tifffile imagecodecs" in told
        assert (
            "x.tif holds 16-bit samples in 3 channels"
            in run("apply", "x.tif", "-k", "box", code=2).stderr
        )


class TestStacks:
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_pages_are_a_volume_in_three_dimensions(self, dtype: str, channels: int) -> None:
        values = RNG.integers(0, 99, (5, 6, 7, channels)).astype(dtype)
        values = values[..., 0] if channels == 1 else values
        np.save("x.npy", values)
        run(
            "apply",
            "x.npy",
            "-k",
            "identity:size=1",
            "--dims",
            "3",
            "--dtype",
            dtype,
            "-o",
            "x.tif",
        )
        with tifffile.TiffFile("x.tif") as tiff:
            np.testing.assert_array_equal(np.stack([page.asarray() for page in tiff.pages]), values)
        for name, target in (("x.npy", "y.npy"), ("x.tif", "z.npy")):
            run(
                "apply",
                name,
                "-k",
                "gaussian:sigma=0.5",
                "--dims",
                "3",
                "--dtype",
                "float32",
                "-o",
                target,
            )
        np.testing.assert_array_equal(np.load("y.npy"), np.load("z.npy"))

    def test_a_stack_of_imagej_and_of_ome_is_read(self) -> None:
        values = RNG.integers(0, 999, (5, 6, 7)).astype(np.uint16)
        tifffile.imwrite("i.tif", values, imagej=True, metadata={"axes": "ZYX"})
        tifffile.imwrite("o.ome.tif", values, metadata={"axes": "ZYX"})
        for name in ("i.tif", "o.ome.tif"):
            np.testing.assert_array_equal(load(name, volume=True).array, values)
            data = load(name)
            assert data.array.shape == (6, 7)
            assert data.notes == (
                "first of 5 frames",
                "its pages are slices, which --dims 3 reads as a volume",
            )
            assert (
                b"ImageJ=" not in data.metadata.exif
            )  # the description, which is of the stored pages
            assert b"<OME" not in data.metadata.exif
        tifffile.imwrite("t.tif", values[:, None], imagej=True, metadata={"axes": "TCYX"})
        assert load("t.tif").notes == ("first of 5 frames",)

    def test_pages_that_differ_are_refused(self) -> None:
        with tifffile.TiffWriter("x.tif") as writer:
            writer.write(DEEP[..., 0])
            writer.write(DEEP[:5, :5, 0])
        told = run("apply", "x.tif", "-k", "box", "--dims", "3", code=2).stderr
        assert (
            "x.tif has pages of different shapes or types; expected a stack of one; part it first"
            in told
        )
