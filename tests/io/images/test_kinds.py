"""Keep or report every kind of block that a format's specification lists."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blocks import (
    BUILD,
    CASES,
    EXTENDED,
    GUID,
    HEAD_XMP,
    KEPT,
    PNG,
    POINTING,
    TAIL_XMP,
    TOLD,
    chunk,
    gif,
    jpg,
    png,
    segment,
)
from PIL import Image

from convcli.io import kinds, load
from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.requests import from_options

TARGETS = ("png", "jpg", "gif", "webp", "tiff", "bmp")


def filtered(source: Path, target: Path, **options: Any) -> Any:
    job = from_options(
        ApplyRequest, str(source), ("identity",), str(target), padding="same", **options
    )
    return run_apply(plan_apply(job))


def said(outcome: Any) -> set[str]:
    """Return the metadata that is kept, and the messages about what is lost or left out."""
    return {*kinds(outcome.plan.metadata), *outcome.plan.dropped, *outcome.plan.warnings}


@pytest.mark.parametrize(("form", "name"), CASES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_kind_is_kept_or_told(tmp_path: Path, form: str, name: str, target: str) -> None:
    build, table = BUILD[form]
    block, ending, expected = table[name]
    (tmp_path / f"plain.{form}").write_bytes(build(b""))
    (tmp_path / f"told.{form}").write_bytes(build(block))
    plain = filtered(tmp_path / f"plain.{form}", tmp_path / f"p.{target}")
    outcome = filtered(tmp_path / f"told.{form}", tmp_path / f"o.{target}")
    np.testing.assert_array_equal(outcome.values, plain.values)
    assert outcome.plan.warnings == ()
    assert said(outcome) > said(plain)
    assert set(kinds(load(tmp_path / f"o.{target}").metadata)) >= set(kinds(outcome.plan.metadata))
    if target == form:
        assert bool(outcome.plan.dropped) == (ending == TOLD), outcome.plan.dropped
        assert expected in (tmp_path / f"o.{target}").read_bytes()
        written, planned = load(tmp_path / f"o.{target}").metadata, outcome.plan.metadata
        assert replace(written, density=None) == replace(planned, density=None)
        assert written.density == pytest.approx(
            planned.density, abs=0.5
        )  # a JPEG has integer densities


def test_a_picture_that_says_nothing_tells_nothing(tmp_path: Path) -> None:
    for form, (build, _) in BUILD.items():
        (tmp_path / f"plain.{form}").write_bytes(build(b""))
        assert said(filtered(tmp_path / f"plain.{form}", tmp_path / f"o.{form}")) == set()


def described(block: bytes, *, deep: bool = False) -> bytes:
    """Return a PNG of 4 x 3 pixels, 8 or 16 bits, with a chunk before its samples."""
    content = png(block)
    if not deep:
        return content
    samples = zlib.compress(bytes(3 * (1 + 4 * 6)))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0))
    return content[:8] + head + block + chunk(b"IDAT", samples) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", [name for name, (_, ending, _) in PNG.items() if ending == KEPT])
def test_a_png_of_16_bits_keeps_as_much(tmp_path: Path, name: str) -> None:
    pytest.importorskip("imagecodecs")
    block, _, expected = PNG[name]
    (tmp_path / "x.png").write_bytes(described(block, deep=True))
    outcome = filtered(tmp_path / "x.png", tmp_path / "y.png")
    assert (outcome.plan.dropped, outcome.plan.warnings) == ((), ())
    assert expected in (tmp_path / "y.png").read_bytes()


def test_an_animation_keeps_chunks_before_and_behind_its_samples(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), (level, 0, 0)) for level in (9, 99)]
    frames[0].save(
        stream := io.BytesIO(), "PNG", save_all=True, append_images=frames[1:], duration=50
    )
    content = stream.getvalue()
    end = content.rindex(b"IEND") - 4
    told = content[:33] + PNG["gAMA"][0] + content[33:end] + chunk(b"abCd", b"late") + content[end:]
    (tmp_path / "x.png").write_bytes(told)
    outcome = filtered(tmp_path / "x.png", tmp_path / "y.png", frames="all")
    assert outcome.plan.dropped == ()
    written = (tmp_path / "y.png").read_bytes()
    places = [written.index(kind) for kind in (b"gAMA", b"acTL", b"fdAT", b"abCdlate", b"IEND")]
    assert places == sorted(places)
    np.testing.assert_array_equal(
        load(tmp_path / "y.png", frames="all").array, load(tmp_path / "x.png", frames="all").array
    )


def test_a_large_picture_keeps_chunks_before_and_behind_its_samples(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream := io.BytesIO(), "PNG")
    content = stream.getvalue()
    end = content.rindex(b"IEND") - 4
    (tmp_path / "x.png").write_bytes(
        content[:33] + PNG["gAMA"][0] + content[33:end] + chunk(b"abCd", b"") + content[end:]
    )
    filtered(tmp_path / "x.png", tmp_path / "y.png")
    written = (tmp_path / "y.png").read_bytes()
    assert (
        written.index(b"gAMA")
        < written.index(b"IDAT")
        < written.index(b"abCd")
        < written.index(b"IEND")
    )


@pytest.mark.parametrize(
    ("options", "lost"),
    [
        ({"dtype": "uint16"}, {"gAMA", "bKGD"}),
        ({"channels": "sum"}, {"gAMA", "bKGD"}),
        ({"stride": 2}, {"oFFs", "sCAL"}),
    ],
)
def test_parts_are_kept_where_they_are_true_of_the_output(
    tmp_path: Path, options: dict[str, Any], lost: set[str]
) -> None:
    blocks = b"".join(PNG[name][0] for name in ("gAMA", "bKGD", "oFFs", "sCAL", "fRAc"))
    (tmp_path / "x.png").write_bytes(png(blocks))
    outcome = filtered(tmp_path / "x.png", tmp_path / "y.png", **options)
    assert {told.split(":")[0] for told in outcome.plan.dropped} == lost
    assert set(kinds(outcome.plan.metadata)) == {"gAMA", "bKGD", "oFFs", "sCAL", "fRAc"} - lost


def test_what_turns_with_the_picture_is_turned_or_told(tmp_path: Path) -> None:
    turned = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    blocks = PNG["pHYs of unknown unit"][0] + PNG["oFFs"][0] + chunk(b"eXIf", turned)
    (tmp_path / "x.png").write_bytes(png(blocks))
    outcome = filtered(tmp_path / "x.png", tmp_path / "y.png")
    assert outcome.plan.metadata.aspect == (1, 2)
    assert [told.split(":")[0] for told in outcome.plan.dropped] == ["oFFs"]


@pytest.mark.parametrize(
    ("colours", "bits", "content", "expected"),
    [
        (3, 8, b"\1", b"\0\4\0\5\0\6"),
        (0, 2, b"\0\2", b"\0\xaa"),
        (0, 16, b"\1\2", b"\1\2"),
        (4, 8, b"\0\2", b"\0\2"),
    ],
)
def test_a_background_is_that_of_the_samples_as_they_are_written(
    tmp_path: Path, colours: int, bits: int, content: bytes, expected: bytes
) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, bits, colours, 0, 0, 0))
    palette = chunk(b"PLTE", bytes(range(1, 7))) if colours == 3 else b""
    samples = chunk(b"IDAT", zlib.compress(bytes(1 + (2 if colours == 4 or bits == 16 else 1))))
    blocks = palette + chunk(b"bKGD", content) + samples + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + blocks)
    filtered(tmp_path / "x.png", tmp_path / "y.png")
    assert chunk(b"bKGD", expected) in (tmp_path / "y.png").read_bytes()


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        (b"hello\0\0", b"tEXtComment\0hello"),
        (b"one\0two\r\nthree", b"tEXtComment\0one two\nthree"),
        (b"Gr\xfc\xdfe", b"tEXtComment\0Gr\xfc\xdfe"),
        ("snow \N{SNOWMAN}".encode(), b"iTXtComment\0\0\0\0\0snow \xe2\x98\x83"),
    ],
)
def test_a_comment_becomes_a_text_that_a_png_can_hold(
    tmp_path: Path, comment: bytes, expected: bytes
) -> None:
    (tmp_path / "x.jpg").write_bytes(jpg(segment(0xFE, comment)))
    filtered(tmp_path / "x.jpg", tmp_path / "y.png")
    written = (tmp_path / "y.png").read_bytes()
    assert expected + struct.pack(">I", zlib.crc32(expected)) in written


def test_pixel_aspect_goes_between_formats(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(gif(b"aspect"))
    for source, target in (
        ("a.gif", "b.png"),
        ("b.png", "c.jpg"),
        ("c.jpg", "d.tiff"),
        ("d.tiff", "e.gif"),
    ):
        filtered(tmp_path / source, tmp_path / target)
        x, y = load(tmp_path / target).metadata.aspect
        assert x / y == 2
    assert (tmp_path / "e.gif").read_bytes()[12] == 0x11


def test_extended_xmp_of_any_length_is_one_packet_and_cut_again_for_jpeg(tmp_path: Path) -> None:
    long = (
        HEAD_XMP
        + b'<rdf:Description rdf:about="" xmlns:a="b"><a:c>'
        + b"x" * 150_000
        + b"</a:c></rdf:Description>"
        + TAIL_XMP
    )
    pieces = [long[start : start + 65000] for start in range(0, len(long), 65000)]
    segments = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + POINTING)
    for number, piece in enumerate(pieces):
        place = struct.pack(">II", len(long), 65000 * number)
        segments += segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + GUID + place + piece)
    (tmp_path / "x.jpg").write_bytes(jpg(segments))
    for source, target in (("x.jpg", "y.jpg"), ("y.jpg", "z.png"), ("z.png", "z.webp")):
        outcome = filtered(tmp_path / source, tmp_path / target)
        assert (outcome.plan.dropped, outcome.plan.warnings) == ((), ())
        packet = load(tmp_path / target).metadata.xmp
        assert b"x" * 150_000 in packet
        assert b"HasExtendedXMP" not in packet
        assert packet.count(b"<rdf:RDF") == packet.count(b"</rdf:RDF>") == 1


@pytest.mark.parametrize("left", [b"", EXTENDED[:-9], EXTENDED.replace(b"F", b"E")])
def test_a_packet_does_not_point_to_an_extension_that_is_gone(tmp_path: Path, left: bytes) -> None:
    given = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + POINTING)
    (tmp_path / "x.jpg").write_bytes(jpg(given + (segment(0xE1, left) if left else b"")))
    data = load(tmp_path / "x.jpg")
    assert data.warnings[0].startswith("extended XMP left out, as ")
    assert b"rdf:Description" in data.metadata.xmp
    assert b"HasExtendedXMP" not in data.metadata.xmp
