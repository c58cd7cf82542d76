"""Keep or report every box of JPEG 2000 and the comments of its codestream."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features
from tiffs import filtered

from convcli.io import load

pytestmark = [
    pytest.mark.usefixtures("in_tmp"),
    pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow was built without JPEG 2000"),
]

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHI", 0x0110, 2, 3) + b"X7\0\0" + bytes(4)
IPTC = b"\x1c\2x\0\5a cat"
XMP = b"<x:xmpmeta>a cat</x:xmpmeta>"


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def uuid(name: str, content: bytes) -> bytes:
    return box(b"uuid", bytes.fromhex(name) + content)


def jp2(
    *, top: bytes = b"", header: bytes = b"", comment: bytes = b"", colour: bytes = b""
) -> bytes:
    """Return a JPEG 2000 file with boxes at the top level and in its header.

    colour: replaces its colour box.
    """
    Image.fromarray(PIXELS).save(held := BytesIO(), "JPEG2000", irreversible=False)
    content = held.getvalue()
    start = content.index(b"jp2c") + 4
    codestream = content[start:]
    if comment:
        length = struct.unpack_from(">H", codestream, 4)[0]
        segment = struct.pack(">3H", 0xFF64, 4 + len(comment), 1) + comment
        codestream = codestream[: 4 + length] + segment + codestream[4 + length :]
    size = struct.pack(">IIHBBBB", 12, 10, 3, 7, 7, 0, 0)
    inner = (
        box(b"ihdr", size) + (colour or box(b"colr", b"\1\0\0" + struct.pack(">I", 16))) + header
    )
    lead = content[: content.index(b"jp2h") - 4]
    return lead + box(b"jp2h", inner) + top + box(b"jp2c", codestream)


KEPT = {
    "XMP": (jp2(top=uuid("be7acfcb97a942e89c71999491e3afac", XMP)), "xmp", XMP),
    "EXIF": (jp2(top=uuid("4a706754696666457869662d3e4a5032", EXIF)), "exif", EXIF),
    "EXIF of Photoshop": (jp2(top=uuid("0537cdab9d0c4431a72afa561f2a113e", EXIF)), "exif", EXIF),
    "EXIF by its JPEG name": (
        jp2(top=uuid("4a706754696666457869662d3e4a5032", b"Exif\0\0" + EXIF)),
        "exif",
        EXIF,
    ),
    "IPTC": (jp2(top=uuid("33c7a4d2b81d4723a0baf1a3e097ad38", IPTC)), "iptc", IPTC),
    "profile": (jp2(colour=box(b"colr", b"\2\0\0" + SRGB)), "icc", SRGB),
    "any profile": (jp2(colour=box(b"colr", b"\3\0\0" + SRGB)), "icc", SRGB),
    "comment": (jp2(comment=b"a cat"), "comments", (b"a cat",)),
}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("target", ["y.png", "y.jpg", "y.tif", "y.webp"])
def test_what_the_output_holds_is_kept(name: str, target: str) -> None:
    content, field, value = KEPT[name]
    Path("x.jp2").write_bytes(content)
    data = load("x.jp2")
    np.testing.assert_array_equal(data.array, PIXELS)
    assert getattr(data.metadata, field) == value
    plan = filtered("x.jp2", target).plan
    held = field in plan.target.form.metadata_limits
    assert bool(plan.dropped) != held
    assert getattr(load(target).metadata, field) == (value if held else type(value)())


TOLD = {
    "GeoJP2": uuid("b14bf8bd083d4b43a5ae8cd7d5a6ce03", b"II*\0"),
    "world file": uuid("96a9f1f1dc98402da7aed68e34451809", b"MSIG"),
    f"UUID box {'ab' * 16}": uuid("ab" * 16, b"private"),
    "XML box": box(b"xml ", b"<gml/>"),
    "intellectual property box": box(b"jp2i", b"rights"),
    "UUID info box": box(b"uinf", box(b"ulst", b"\0\0") + box(b"url ", bytes(4) + b"http://a\0")),
    "association box": box(b"asoc", box(b"lbl ", b"gml.data")),
    "C2PA or other JUMBF": box(b"jumb", b"claim"),
    "reader requirements box": box(b"rreq", bytes(9)),
    "box 'abcd'": box(b"abcd", b"private"),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_no_output_holds_is_told(name: str) -> None:
    Path("x.jp2").write_bytes(jp2(top=TOLD[name]))
    np.testing.assert_array_equal(load("x.jp2").array, PIXELS)
    assert [told.split(":")[0] for told in filtered("x.jp2", "y.png").plan.dropped] == [name]


def resolution(kind: bytes, across: int, down: int) -> bytes:
    return box(kind, struct.pack(">4H2b", down, 254, across, 254, 4, 4))


@pytest.mark.parametrize("kinds", [(b"resd",), (b"resc",), (b"resc", b"resd")], ids=str)
def test_the_resolution_is_kept(kinds: tuple[bytes, ...]) -> None:
    boxes = b"".join(resolution(kind, 300 if kind == kinds[-1] else 72, 150) for kind in kinds)
    Path("x.jp2").write_bytes(jp2(header=box(b"res ", boxes)))
    plan = filtered("x.jp2", "y.png", "box", stride=2).plan
    assert load("x.jp2").metadata.density == pytest.approx((300, 150), abs=0.01)
    assert load("y.png").metadata.density == pytest.approx((150, 75), abs=0.02)
    assert [told.split(":")[0] for told in plan.dropped] == ["capture resolution"] * (
        len(kinds) - 1
    )


@pytest.mark.parametrize(
    "top",
    [
        uuid("4a706754696666457869662d3e4a5032", b"no EXIF"),
        struct.pack(">I4s", 9999, b"uuid"),
        struct.pack(">I4s", 3, b"abcd"),
    ],
    ids=["EXIF", "cut", "short"],
)
def test_a_box_that_is_broken_is_left_out(top: bytes) -> None:
    Path("x.jp2").write_bytes(jp2(top=top) if len(top) > 8 else jp2() + top)
    data = load("x.jp2")
    np.testing.assert_array_equal(data.array, PIXELS)
    assert data.metadata.exif == b""
    assert len(data.warnings) == 1


def test_a_codestream_alone_has_comments() -> None:
    content = jp2(comment=b"a cat")
    Path("x.j2k").write_bytes(content[content.index(b"jp2c") + 4 :])
    assert load("x.j2k").metadata.comments == (b"a cat",)
