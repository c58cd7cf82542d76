"""Blocks that the specifications of PNG, JPEG, GIF and WebP define, with an example of each."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4s", 0x010F, 2, 4, b"Cat\0") + bytes(4)
HEAD_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
TAIL_XMP = b"</rdf:RDF></x:xmpmeta>"
XMP = HEAD_XMP + b'<rdf:Description rdf:about="" dc:title="cat"/>' + TAIL_XMP
IPTC = b"\x1c\x02\x78\0\5a cat"


def resource(number: int, content: bytes) -> bytes:
    """Return an image resource of Photoshop, without a name."""
    return (
        struct.pack(">4sHHI", b"8BIM", number, 0, len(content)) + content + bytes(len(content) % 2)
    )


# PNG: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 11.3, and the
# registered extensions.

KEPT, TOLD = "kept", "told"


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def raw_profile(kind: bytes, content: bytes) -> bytes:
    """Return a text chunk with a profile, as ImageMagick writes it."""
    text = b"\n%b\n%8d\n%b\n" % (kind, len(content), content.hex().encode())
    return chunk(b"zTXt", b"Raw profile type " + kind + b"\0\0" + zlib.compress(text))


CHRM = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
PNG: dict[str, tuple[bytes, str, bytes]] = {
    "cHRM": (chunk(b"cHRM", CHRM), KEPT, CHRM),
    "gAMA": (chunk(b"gAMA", struct.pack(">I", 100000)), KEPT, b"gAMA\0\1\x86\xa0"),
    "iCCP": (chunk(b"iCCP", b"name\0\0" + zlib.compress(SRGB)), KEPT, b"iCCP"),
    "sBIT": (chunk(b"sBIT", b"\5\6\5"), TOLD, b""),
    "sRGB": (chunk(b"sRGB", b"\1"), KEPT, b"sRGB\1"),
    "cICP": (chunk(b"cICP", b"\x09\x10\0\1"), KEPT, b"cICP\x09\x10\0\1"),
    "mDCV": (chunk(b"mDCV", bytes(range(24))), KEPT, bytes(range(24))),
    "cLLI": (chunk(b"cLLI", bytes(range(8))), KEPT, b"cLLI" + bytes(range(8))),
    "tEXt": (chunk(b"tEXt", b"Title\0a cat"), KEPT, b"tEXtTitle\0a cat"),
    "tEXt of two values": (
        chunk(b"tEXt", b"Author\0one") + chunk(b"tEXt", b"Author\0two"),
        KEPT,
        b"tEXtAuthor\0two",
    ),
    "tEXt Comment, twice": (
        chunk(b"tEXt", b"Comment\0one") + chunk(b"tEXt", b"Comment\0two"),
        KEPT,
        b"tEXtComment\0two",
    ),
    "zTXt": (chunk(b"zTXt", b"Title\0\0" + zlib.compress(b"a cat")), KEPT, b"Title\0a cat"),
    "iTXt": (
        chunk(b"iTXt", b"Title\0\0\0de\0Titel\0Stra\xc3\x9fe"),
        KEPT,
        b"iTXtTitle\0\0\0de\0Titel\0Stra\xc3\x9fe",
    ),
    "iTXt XMP": (chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP), KEPT, XMP),
    "Raw profile type iptc": (
        raw_profile(b"iptc", resource(0x0404, IPTC)),
        KEPT,
        b"Raw profile type iptc",
    ),
    "Raw profile type iptc, of records": (
        raw_profile(b"iptc", IPTC),
        KEPT,
        b"Raw profile type iptc",
    ),
    "Raw profile type 8bim": (
        raw_profile(b"8bim", resource(0x0425, bytes(16))),
        KEPT,
        b"Raw profile type iptc",
    ),
    "Raw profile type exif": (raw_profile(b"exif", b"Exif\0\0" + EXIF), KEPT, b"eXIf" + EXIF),
    "Raw profile type APP1": (raw_profile(b"APP1", b"Exif\0\0" + EXIF), KEPT, b"eXIf" + EXIF),
    "Raw profile type xmp": (raw_profile(b"xmp", XMP), KEPT, XMP),
    "Raw profile type icc": (raw_profile(b"icc", SRGB), KEPT, b"iCCP"),
    "Raw profile type of another kind": (
        raw_profile(b"other", b"cat"),
        KEPT,
        b"Raw profile type other",
    ),
    "bKGD": (chunk(b"bKGD", b"\0\1\0\2\0\3"), KEPT, b"bKGD\0\1\0\2\0\3"),
    "hIST": (chunk(b"hIST", bytes(4)), TOLD, b""),
    "pHYs": (
        chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1)),
        KEPT,
        struct.pack(">4sIIB", b"pHYs", 11811, 11811, 1),
    ),
    "pHYs of unknown unit": (
        chunk(b"pHYs", struct.pack(">IIB", 2, 1, 0)),
        KEPT,
        struct.pack(">4sIIB", b"pHYs", 2, 1, 0),
    ),
    "sPLT": (chunk(b"sPLT", b"few\0\x08\1\2\3\xff\0\1"), KEPT, b"sPLTfew\0\x08\1\2\3\xff\0\1"),
    "sPLT, twice": (
        chunk(b"sPLT", b"few\0\x08") + chunk(b"sPLT", b"two\0\x08"),
        KEPT,
        b"sPLTtwo\0\x08",
    ),
    "eXIf": (chunk(b"eXIf", EXIF), KEPT, b"eXIf" + EXIF),
    "tIME": (chunk(b"tIME", b"\x07\xd1\2\3\4\5\6"), TOLD, b""),
    "oFFs": (
        chunk(b"oFFs", struct.pack(">iiB", 5, -6, 0)),
        KEPT,
        struct.pack(">4siiB", b"oFFs", 5, -6, 0),
    ),
    "pCAL": (
        chunk(b"pCAL", b"depth\0" + struct.pack(">iiBB", 0, 255, 0, 2) + b"m\x000\x001"),
        KEPT,
        b"pCALdepth\0",
    ),
    "sCAL": (chunk(b"sCAL", b"\x010.1\x000.2"), KEPT, b"sCAL\x010.1\x000.2"),
    "sTER": (chunk(b"sTER", b"\1"), KEPT, b"sTER\1"),
    "gIFg": (chunk(b"gIFg", b"\2\0\0\5"), KEPT, b"gIFg\2\0\0\5"),
    "gIFx": (chunk(b"gIFx", b"APPLICAT1.0data"), KEPT, b"gIFxAPPLICAT1.0data"),
    "gIFt": (chunk(b"gIFt", bytes(24) + b"text"), KEPT, b"gIFt"),
    "fRAc": (chunk(b"fRAc", b"fractal"), KEPT, b"fRAcfractal"),
    "dSIG": (chunk(b"dSIG", b"signature"), TOLD, b""),
    "caBX": (chunk(b"caBX", b"\0\0\0\x10jumbclaim"), TOLD, b""),
    "iDOT": (chunk(b"iDOT", bytes(28)), TOLD, b""),
    "private, safe to copy": (chunk(b"abCd", b"mine"), KEPT, b"abCdmine"),
    "private, not safe to copy": (chunk(b"abCD", b"mine"), TOLD, b""),
    "public, safe to copy": (chunk(b"aBCd", b"new"), KEPT, b"aBCdnew"),
}


def png(block: bytes) -> bytes:
    """Return a PNG of 4 x 3 pixels with a chunk before its samples."""
    samples = zlib.compress(b"".join(b"\0" + bytes(range(row, row + 12)) for row in range(3)))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + block + chunk(b"IDAT", samples) + chunk(b"IEND", b"")


# JPEG: ITU-T T.81, B.2.4, whose application segments others define.


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content


def jfif(unit: int, x: int, y: int, thumbnail: bytes = b"\0\0") -> bytes:
    return segment(0xE0, b"JFIF\0\1\2" + struct.pack(">BHH", unit, x, y) + thumbnail)


GUID = b"0123456789ABCDEF0123456789ABCDEF"
POINTING = (
    HEAD_XMP + b'<rdf:Description rdf:about="" xmpNote:HasExtendedXMP="%b"/>' % GUID + TAIL_XMP
)
EXTENDED = b"http://ns.adobe.com/xmp/extension/\0" + GUID + struct.pack(">II", len(XMP), 0) + XMP
EXIF_TWO = EXIF[:-4] + struct.pack("<IHHHIII", len(EXIF), 1, 0x0201, 4, 1, 0, 0)
JPG: dict[str, tuple[bytes, str, bytes]] = {
    "APP0 JFIF, dots per inch": (jfif(1, 300, 150), KEPT, jfif(1, 300, 150)[9:16][2:]),
    "APP0 JFIF, dots per cm": (jfif(2, 118, 118), KEPT, b"\1\1\x2c\1\x2c"),
    "APP0 JFIF, pixel aspect": (jfif(0, 1, 2), KEPT, b"JFIF\0\1\1\0\0\1\0\2"),
    "APP0 JFIF, thumbnail": (jfif(0, 1, 1, b"\1\1abc"), TOLD, b""),
    "APP0 JFXX": (segment(0xE0, b"JFXX\0\x13\1\1abc"), TOLD, b""),
    "APP0 of another": (segment(0xE0, b"AVI1\0\0"), KEPT, b"AVI1\0\0"),
    "APP1 Exif": (segment(0xE1, b"Exif\0\0" + EXIF), KEPT, b"Exif\0\0" + EXIF),
    "APP1 Exif, thumbnail": (segment(0xE1, b"Exif\0\0" + EXIF_TWO), TOLD, b""),
    "APP1 Exif in two segments": (
        segment(0xE1, b"Exif\0\0" + EXIF[:20]) + segment(0xE1, b"Exif\0\0" + EXIF[20:]),
        KEPT,
        b"Exif\0\0" + EXIF,
    ),
    "APP1 XMP": (segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP), KEPT, XMP),
    "APP1 extended XMP": (
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + POINTING) + segment(0xE1, EXTENDED),
        KEPT,
        b'dc:title="cat"',
    ),
    "APP1 of another": (segment(0xE1, b"FLIR\0\1"), KEPT, b"FLIR\0\1"),
    "APP2 ICC profile": (segment(0xE2, b"ICC_PROFILE\0\1\1" + SRGB), KEPT, SRGB),
    "APP2 ICC profile in two segments": (
        segment(0xE2, b"ICC_PROFILE\0\2\2" + SRGB[99:])
        + segment(0xE2, b"ICC_PROFILE\0\1\2" + SRGB[:99]),
        KEPT,
        SRGB,
    ),
    "APP2 FPXR": (segment(0xE2, b"FPXR\0\0\1\0"), KEPT, b"FPXR\0\0\1\0"),
    "APP2 MPF": (segment(0xE2, b"MPF\0II*\0\x08\0\0\0\0\0\0\0\0\0"), TOLD, b""),
    "APP2 gain map": (segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"), TOLD, b""),
    **{
        f"APP{number}": (segment(0xE0 + number, b"word\0"), KEPT, b"word\0")
        for number in (3, 4, 5, 6, 7, 8, 9, 10, 15)
    },
    "APP11 JUMBF": (segment(0xEB, b"JP\0\1\0\0\0\1\0\0\0\x10jumb"), TOLD, b""),
    "APP11 HDR": (segment(0xEB, b"HDR_RI ver=11"), TOLD, b""),
    "APP12 Ducky": (segment(0xEC, b"Ducky\0\1\0\4\0\0\0\x50\0\0"), TOLD, b""),
    "APP12 picture info": (segment(0xEC, b"[picture info]\r\nTimeDate=1"), KEPT, b"[picture info]"),
    "APP13 IPTC": (
        segment(0xED, b"Photoshop 3.0\0" + resource(0x0404, IPTC)),
        KEPT,
        resource(0x0404, IPTC),
    ),
    "APP13 resources": (
        segment(0xED, b"Photoshop 3.0\0" + resource(0x0425, bytes(16))),
        KEPT,
        resource(0x0425, bytes(16)),
    ),
    "APP13 thumbnail": (segment(0xED, b"Photoshop 3.0\0" + resource(0x040C, bytes(30))), TOLD, b""),
    "APP13 of another": (segment(0xED, b"Adobe_CM\0\1"), KEPT, b"Adobe_CM\0\1"),
    "APP14 Adobe": (segment(0xEE, b"Adobe\0\x64\0\0\0\0\1"), TOLD, b""),
    "COM": (segment(0xFE, b"a cat"), KEPT, segment(0xFE, b"a cat")),
    "COM, twice": (segment(0xFE, b"one") + segment(0xFE, b"two"), KEPT, segment(0xFE, b"two")),
}


def jpg(block: bytes) -> bytes:
    """Return a JPEG of 4 x 3 pixels with segments after its first marker."""
    Image.fromarray(np.arange(36, dtype=np.uint8).reshape(3, 4, 3)).save(
        stream := io.BytesIO(), "JPEG"
    )
    content = stream.getvalue()
    return content[:2] + block + content[20:]  # without its own JFIF header


# GIF: CompuServe, "Graphics Interchange Format, version 89a", appendix A, and the applications of
# 26.


def extension(label: int, *blocks: bytes) -> bytes:
    return b"!" + bytes([label]) + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def sub_blocks(content: bytes) -> list[bytes]:
    return [content[start : start + 255] for start in range(0, len(content), 255)]


GIF: dict[str, tuple[bytes, str, bytes]] = {
    "comment": (extension(0xFE, b"a cat"), KEPT, extension(0xFE, b"a cat")),
    "comment, twice": (
        extension(0xFE, b"one") + extension(0xFE, b"two"),
        KEPT,
        extension(0xFE, b"two"),
    ),
    "plain text": (extension(0x01, bytes(12), b"text"), TOLD, b""),
    "application, XMP": (
        b"!\xff\x0bXMP DataXMP" + XMP + b"\1" + bytes(range(255, -1, -1)) + b"\0",
        KEPT,
        b"XMP DataXMP" + XMP + b"\1\xff\xfe",
    ),
    "application, ICC": (
        extension(0xFF, b"ICCRGBG1012", *sub_blocks(SRGB)),
        KEPT,
        b"ICCRGBG1012\xff" + SRGB[:255],
    ),
    "application, C2PA": (extension(0xFF, b"C2PA_GIF\1\0\0", b"claim"), TOLD, b""),
    "application of another": (
        extension(0xFF, b"WHATEVER1.0", b"data"),
        KEPT,
        b"WHATEVER1.0\4data\0",
    ),
    "unknown label": (extension(0x77, b"data"), KEPT, extension(0x77, b"data")),
    "pixel aspect": (b"aspect", KEPT, b""),
    "background colour": (b"background", TOLD, b""),
}


def gif(block: bytes) -> bytes:
    """Return a GIF of 4 x 3 pixels with extensions before its frame."""
    screen = {b"aspect": b"\x81\0\x11", b"background": b"\x81\2\0"}.get(block, b"\x81\0\0")
    palette = b"\1\2\3\4\5\6\7\7\7\x09\0\1"
    frame = b",\0\0\0\0\4\0\3\0\0" + b"\2\5" + b"\x84\x8f\xa9\xcb\x05" + b"\0"
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 4).save(
        stream := io.BytesIO(), "GIF"
    )
    made = stream.getvalue()
    frame = made[made.rindex(b",\0\0\0\0") :]
    extensions = b"" if block in (b"aspect", b"background") else block
    return b"GIF89a\4\0\3\0" + screen + palette + extensions + frame


# WebP: RFC 9649, 2.7.


def riff(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


WEBP: dict[str, tuple[bytes, str, bytes]] = {
    "ICCP": (riff(b"ICCP", SRGB), KEPT, SRGB),
    "EXIF": (riff(b"EXIF", EXIF), KEPT, EXIF),
    "EXIF, named as in JPEG": (riff(b"EXIF", b"Exif\0\0" + EXIF), KEPT, EXIF),
    "XMP": (riff(b"XMP ", XMP), KEPT, XMP),
    "C2PA": (riff(b"C2PA", b"claim"), TOLD, b""),
    "unknown": (riff(b"MINE", b"odd"), KEPT, riff(b"MINE", b"odd")),
    "ANIM, background": (riff(b"ANIM", b"\1\2\3\xff\0\0"), TOLD, b""),
}


def webp(block: bytes) -> bytes:
    """Return a WebP of 4 x 3 pixels with a chunk before or after its samples."""
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    Image.fromarray(pixels).save(stream := io.BytesIO(), "WEBP", lossless=True)
    samples = stream.getvalue()[12:]
    flags = {b"ICCP": 0x20, b"EXIF": 8, b"XMP ": 4}.get(block[:4], 0)
    chunks = riff(b"VP8X", bytes([flags, 0, 0, 0, 3, 0, 0, 2, 0, 0]))
    if block.startswith(b"ANIM"):
        chunks = riff(b"VP8X", bytes([2, 0, 0, 0, 3, 0, 0, 2, 0, 0]))
        samples = riff(b"ANMF", bytes(6) + b"\3\0\0\2\0\0" + bytes(4) + samples)
    first = block.startswith((b"ICCP", b"ANIM"))
    chunks += block + samples if first else samples + block
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


BUILD = {"png": (png, PNG), "jpg": (jpg, JPG), "gif": (gif, GIF), "webp": (webp, WEBP)}
CASES = [(form, name) for form, (_, table) in BUILD.items() for name in table]
