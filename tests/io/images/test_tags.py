"""Keep or report every tag of a TIFF that its specifications list."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tiffs import (
    ASCII,
    BYTE,
    DOUBLE,
    EXIF,
    GPS,
    IFD,
    LONG,
    RATIO,
    RATIONAL,
    SHORT,
    SRATIONAL,
    TEXT,
    UNDEFINED,
    Entry,
    Tags,
    content_of,
    filtered,
    tags_of,
    tiff,
)

from convcli.io import Metadata, load

pytestmark = pytest.mark.usefixtures("in_tmp")

NUMBERS: Entry = (SHORT, [3, 5])
TABLE: dict[str, Tags] = {
    "TIFF 6.0, 8: baseline": {
        **dict.fromkeys((269, 270, 271, 272, 285, 305, 306, 315, 316, 33432), TEXT),
        254: (LONG, [0]),
        255: (SHORT, [1]),
        263: (SHORT, [1]),
        264: (SHORT, [4]),
        265: (SHORT, [4]),
        274: (SHORT, [1]),
        280: (SHORT, [0, 0, 0]),
        281: (SHORT, [200, 200, 200]),
        282: (RATIONAL, [72, 1]),
        283: (RATIONAL, [72, 1]),
        288: (LONG, [0]),
        289: (LONG, [0]),
        290: (SHORT, [2]),
        291: (SHORT, range(256)),
        296: (SHORT, [2]),
    },
    "TIFF 6.0, part 2: extensions": {
        286: RATIO,
        287: RATIO,
        297: (SHORT, [0, 1]),
        300: (SHORT, [2]),
        301: (SHORT, range(256)),
        318: (RATIONAL, [3127, 10000, 329, 1000]),
        319: (RATIONAL, [64, 100, 33, 100, 3, 10, 6, 10, 15, 100, 6, 100]),
        321: (SHORT, [10, 200]),
        330: (LONG, [8]),
        332: (SHORT, [1]),
        333: (ASCII, b"cyan\0magenta\0"),
        334: (SHORT, [4]),
        336: (SHORT, [0, 255]),
        337: TEXT,
        340: (SHORT, [0, 0, 0]),
        341: (SHORT, [9, 9, 9]),
        342: (SHORT, [0, 255, 0, 255, 0, 255]),
        347: (UNDEFINED, b"\xff\xd8\xff\xd9"),
        **dict.fromkeys((519, 520, 521), (LONG, [8])),
        529: (RATIONAL, [299, 1000, 587, 1000, 114, 1000]),
        531: (SHORT, [1]),
        532: (RATIONAL, [0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1]),
    },
    "TIFF supplements 1 and 2, TIFF-F, TIFF-FX": {
        343: (BYTE, [1, 2, 3]),
        344: (LONG, [10]),
        345: (LONG, [12]),
        346: (SHORT, [0]),
        351: (SHORT, [0]),
        400: (LONG, [8]),
        401: (LONG, [1]),
        402: (BYTE, [1]),
        403: (LONG, [1]),
        404: (BYTE, b"1998"),
        405: (BYTE, [1]),
        433: (SRATIONAL, [0, 1, 255, 1]),
        434: (SHORT, [0, 0, 0]),
        32781: TEXT,
        37724: (UNDEFINED, b"Adobe Photoshop Document Data Block\0"),
    },
    "XMP, ICC, IPTC, Photoshop": {
        700: (BYTE, b"<x:xmpmeta/>"),
        33723: (UNDEFINED, b"\x1c\2x\0\5a cat"),
        34377: (BYTE, b"8BIM\3\xf0\0\0\0\0\0\5\4text\0"),
        34675: (UNDEFINED, struct.pack(">I", 128) + bytes(12) + b"RGB " + bytes(108)),
    },
    "TIFF/EP": {
        33421: (SHORT, [2, 2]),
        33422: (BYTE, [0, 1, 1, 2]),
        33423: TEXT,
        33434: RATIO,
        33437: RATIO,
        34850: (SHORT, [2]),
        34855: (SHORT, [100]),
        34856: (UNDEFINED, b"\0\0\0\0"),
        34857: (SHORT, [0]),
        34858: (SHORT, [60]),
        34859: (SHORT, [0]),
        36867: TEXT,
        **dict.fromkeys((37122, 37378, 37381, 37382, 37386, 37387, 37390, 37391, 37397), RATIO),
        **dict.fromkeys((37377, 37379, 37380), (SRATIONAL, [-3, 2])),
        **dict.fromkeys((37383, 37384, 37385, 37392, 37399), (SHORT, [1])),
        37393: (LONG, [7]),
        37394: TEXT,
        37395: TEXT,
        37396: (SHORT, [4, 5]),
        37398: (BYTE, [1, 0, 0, 0]),
        37388: (UNDEFINED, b"response"),
        37389: (UNDEFINED, b"noise"),
    },
    "GeoTIFF 1.1": {
        33550: (DOUBLE, [10, 10, 0]),
        33922: (DOUBLE, [0, 0, 0, 500000, 4600000, 0]),
        34264: (DOUBLE, [10, 0, 0, 5, 0, -10, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1]),
        34735: (SHORT, [1, 1, 0, 1, 3072, 0, 1, 32633]),
        34736: (DOUBLE, [6378137]),
        34737: (ASCII, b"WGS 84|\0"),
        33920: (DOUBLE, range(17)),
    },
    "GDAL": {
        42112: (ASCII, b'<GDALMetadata><Item name="k">v</Item></GDALMetadata>\0'),
        42113: (ASCII, b"-9999\0"),
        50844: (DOUBLE, range(92)),
        50908: TEXT,
        50909: (DOUBLE, [1]),
    },
    "ImageJ, tifffile, OME": {
        50838: (LONG, [12, 8]),
        50839: (BYTE, b"JIJIofni\1\0\0\0a\0b\0c\0d\0"),
    },
    "microscopes and scanners": {
        **dict.fromkeys((33445, 33446, 33447, 33628, 33629, 33630, 33631), (LONG, [1])),
        **dict.fromkeys((33448, 33449, 33450, 33451, 33452), TEXT),
        **dict.fromkeys((34118, 34680, 34682), TEXT),
        **dict.fromkeys((34361, 34362, 34412, 43314), (BYTE, b"stack")),
        **dict.fromkeys((65420, 65421), (LONG, [2])),
    },
    "DNG 1.7": {
        50706: (BYTE, [1, 4, 0, 0]),
        50707: (BYTE, [1, 1, 0, 0]),
        50708: TEXT,
        50721: (SRATIONAL, [1, 2] * 9),
        50728: (RATIONAL, [1, 2, 1, 1, 1, 2]),
        50740: (BYTE, b"private"),
        51111: (SRATIONAL, [1, 2] * 9),
        52536: TEXT,
    },
    "Windows, and others beside EXIF": {
        18246: (SHORT, [5]),
        18249: (SHORT, [99]),
        **dict.fromkeys(range(40091, 40096), (BYTE, b"a\0b\0\0\0")),
        50341: (UNDEFINED, b"PrintIM\0"),
        59932: (UNDEFINED, bytes(8)),
    },
    "private": {
        65000: TEXT,
        65001: (LONG, [8]),
        65002: (DOUBLE, [0.5]),
        65003: (UNDEFINED, b"\1\2\3\4\5\6"),
        65004: (IFD, [8]),
        32997: (LONG, [3]),
    },
}
STORAGE = (254, 255, 274, 282, 283, 288, 289, 296, 529, 531)
"""Tags of how samples are stored, and of the density, which tests of its own look at."""

CASES = [
    pytest.param(number, entry, id=f"{number}-{name}")
    for name, tags in TABLE.items()
    for number, entry in tags.items()
    if number not in STORAGE and not 519 <= number <= 521
]
EXIF_TAGS: Tags = {
    **dict.fromkeys(
        (0x9003, 0x9004, 0x9290, 0x9010, 0xA420, 0xA430, 0xA431, 0xA433, 0xA434, 0xA435), TEXT
    ),
    **dict.fromkeys(
        (0x829A, 0x829D, 0x9102, 0x9202, 0x9205, 0x9206, 0x920A, 0xA20B, 0xA20E, 0xA20F, 0xA215),
        RATIO,
    ),
    **dict.fromkeys(
        (0x8822, 0x8827, 0x9207, 0x9208, 0x9209, 0xA001, 0xA210, 0xA217, 0xA401, 0xA402, 0xA403),
        (SHORT, [1]),
    ),
    **dict.fromkeys((0x9201, 0x9203, 0x9204), (SRATIONAL, [-3, 2])),
    **dict.fromkeys((0x9000, 0xA000), (UNDEFINED, b"0232")),
    0x9101: (UNDEFINED, b"\1\2\3\0"),
    0x9214: (SHORT, [4, 5]),
    0x927C: (UNDEFINED, b"a maker's note"),
    0x9286: (UNDEFINED, b"ASCII\0\0\0hello"),
    0xA004: TEXT,
    0xA214: (SHORT, [4, 5]),
    0xA300: (UNDEFINED, b"\3"),
    0xA302: (UNDEFINED, b"\0\2\0\2\0\1\1\2"),
    0xA432: (RATIONAL, [24, 1, 70, 1, 28, 10, 4, 1]),
    0xA460: (SHORT, [2]),
}
GPS_TAGS: Tags = {
    0: (BYTE, [2, 3, 0, 0]),
    **dict.fromkeys((1, 3, 9, 10, 12, 14, 16, 18, 29), (ASCII, b"N\0")),
    **dict.fromkeys((2, 4, 7), (RATIONAL, [47, 1, 3, 1, 2, 1])),
    5: (BYTE, [0]),
    **dict.fromkeys((6, 11, 13, 15, 17, 31), RATIO),
    **dict.fromkeys((27, 28), (UNDEFINED, b"ASCII\0\0\0GPS")),
    30: (SHORT, [0]),
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("number", "entry"), CASES)
def test_a_tag_is_in_the_output_or_told(number: int, entry: Entry, order: str) -> None:
    kind, values = entry
    Path("x.tif").write_bytes(tiff({number: entry}, order=order))
    kept = tags_of(filtered("x.tif", "y.tif").written and Path("y.tif").read_bytes())
    dropped = filtered("x.tif", "z.tif").plan.dropped
    assert (number in kept) != bool(dropped)
    if number in kept:
        assert kept[number] == (
            UNDEFINED if number in (33723, 34377) else kind,
            content_of(kind, values, "<")[1],
        )
    plan = filtered("x.tif", "y.png").plan
    assert plan.dropped or load("y.png").metadata != Metadata()


@pytest.mark.parametrize("group", [EXIF, GPS])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("target", ["y.tif", "y.png", "y.jpg", "y.webp"])
def test_a_tag_of_exif_is_in_the_output(group: int, order: str, target: str) -> None:
    tags = EXIF_TAGS if group == EXIF else GPS_TAGS
    Path("x.tif").write_bytes(tiff({group: (LONG, None)}, order=order, inner=tags))
    plan = filtered("x.tif", target).plan
    assert plan.dropped == ()
    in_tiff = target == "y.tif"
    kept = tags_of(Path(target).read_bytes() if in_tiff else load(target).metadata.exif)
    for number, (kind, values) in tags.items():
        assert kept[number] == (kind, content_of(kind, values, "<" if in_tiff else order)[1])


def test_tags_of_later_pages_go_with_their_pages() -> None:
    density: Tags = {282: (RATIONAL, [150, 1]), 283: (RATIONAL, [150, 1])}
    Path("x.tif").write_bytes(
        tiff({270: (ASCII, b"one\0")}, {270: (ASCII, b"two\0"), 65000: TEXT, **density})
    )
    assert filtered("x.tif", "y.tif", frames="all", stride=2).plan.dropped == ()
    first, second = (tags_of(Path("y.tif").read_bytes(), page) for page in (0, 1))
    assert (first[270][1], second[270][1], second[65000][1]) == (b"one\0", b"two\0", b"a cat\0")
    assert second[282][1] == struct.pack("<2I", 75, 1)
    assert filtered("x.tif", "y.png", frames="all").plan.dropped == (
        "tags of later pages: png holds none",
    )
    assert filtered("x.tif", "first.tif").plan.dropped == ()
    filtered("x.tif", "second.tif", frames=1)
    assert tags_of(Path("second.tif").read_bytes())[270][1] == b"two\0"
