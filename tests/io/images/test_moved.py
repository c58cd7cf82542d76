"""Adjust positions and densities in metadata to the output's samples."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiffs import (
    ASCII,
    BYTE,
    DOUBLE,
    EXIF,
    LONG,
    PIXELS,
    RATIO,
    RATIONAL,
    SHORT,
    TEXT,
    Entry,
    Tags,
    filtered,
    tags_of,
    tiff,
)

from convcli.io import load

pytestmark = pytest.mark.usefixtures("in_tmp")

FOCAL: Tags = {0xA20E: (RATIONAL, [3000, 1]), 0xA20F: (RATIONAL, [2000, 1])}


def world(content: bytes, column: int, row: int) -> tuple[float, float]:
    """Return the world coordinates of a sample's centre, by GeoTIFF 1.1, B.6."""
    tags = tags_of(content)
    keys = np.frombuffer(tags[34735][1], "<u2").reshape(-1, 4).tolist()
    half = 0.0 if [1025, 0, 1, 2] in keys else 0.5
    if 34264 in tags:
        matrix = np.frombuffer(tags[34264][1]).reshape(4, 4)
        x, y, _, _ = matrix @ [column + half, row + half, 0, 1]
        return x, y
    i, j, _, x, y, _ = np.frombuffer(tags[33922][1])
    across, down, _ = np.frombuffer(tags[33550][1])
    return x + (column + half - i) * across, y - (row + half - j) * down


KEYS = [1, 1, 0, 1, 1025, 0, 1]
GEO: dict[str, Tags] = {
    "scale": {33550: (DOUBLE, [10, 20, 0]), 33922: (DOUBLE, [0, 0, 0, 500000, 4600000, 0])},
    "tied elsewhere": {
        33550: (DOUBLE, [10, 20, 0]),
        33922: (DOUBLE, [3, 5, 0, 500000, 4600000, 0]),
    },
    "matrix": {34264: (DOUBLE, [10, 1, 0, 500000, 2, -20, 0, 4600000, 0, 0, 0, 0, 0, 0, 0, 1])},
}
MOVES: list[dict[str, Any]] = [
    {"padding": "same"},
    {"padding": "valid"},
    {"padding": "same", "stride": 2},
    {"padding": "valid", "stride": (3, 2), "dilation": 2},
    {"padding": "full", "stride": (1, 2)},
]


@pytest.mark.parametrize("move", MOVES, ids=str)
@pytest.mark.parametrize("raster", [1, 2])
@pytest.mark.parametrize("name", GEO)
def test_the_places_of_a_geotiff_are_those_of_its_samples(
    name: str, raster: int, move: dict[str, Any]
) -> None:
    Path("x.tif").write_bytes(tiff({**GEO[name], 34735: (SHORT, [*KEYS, raster])}))
    plan = filtered("x.tif", "y.tif", "box", **move).plan
    assert plan.dropped == ()
    given, written = Path("x.tif").read_bytes(), Path("y.tif").read_bytes()
    rows, columns = plan.passes[0].plan.axes
    for row, column in ((0, 0), (1, 2), (2, 1)):
        source = world(given, 0, 0), world(given, 1, 0), world(given, 0, 1)
        at = np.array([columns.start + column * columns.stride, rows.start + row * rows.stride])
        origin = np.array(source[0])
        expected = (
            origin + at[0] * (np.array(source[1]) - origin) + at[1] * (np.array(source[2]) - origin)
        )
        np.testing.assert_allclose(world(written, column, row), expected, rtol=0, atol=1e-6)
    assert tags_of(written)[34735] == tags_of(given)[34735]


def test_control_points_and_coefficients_follow() -> None:
    points = [2, 4, 0, 10.5, 50.5, 0, 8, 10, 0, 10.9, 50.1, 0, 1, 1, 0, 10, 50, 0]
    coefficients = [0, 0, 6, 5, 50, 10, 0, 6, 5, 1, 1, *range(81)]
    tags = {33922: (DOUBLE, points), 34735: (SHORT, [*KEYS, 2]), 50844: (DOUBLE, coefficients)}
    Path("x.tif").write_bytes(tiff(tags))
    assert filtered("x.tif", "y.tif", "box", stride=(3, 2)).plan.dropped == ()
    written = tags_of(Path("y.tif").read_bytes())
    moved = np.frombuffer(written[33922][1]).reshape(3, 6)
    np.testing.assert_allclose(moved[:, :2], [[0.5, 1], [3.5, 3], [0, 0]])
    np.testing.assert_array_equal(moved[:, 2:], np.reshape(points, (3, 6))[:, 2:])
    np.testing.assert_allclose(np.frombuffer(written[50844][1])[[2, 3, 7, 8]], [5 / 3, 2, 2, 2.5])


def test_what_cannot_be_moved_is_told() -> None:
    tags: Tags = {
        343: (BYTE, [1]),
        286: RATIO,
        33920: (DOUBLE, range(17)),
        42113: (ASCII, b"-9999\0"),
    }
    Path("x.tif").write_bytes(tiff(tags))
    told = filtered("x.tif", "y.tif", "box", dtype="float32").plan.dropped
    assert {line.split(":")[0] for line in told} == {
        "ClipPath",
        "XPosition",
        "GeoTIFF",
        "GDAL nodata",
    }
    Path("z.tif").write_bytes(tiff({274: (SHORT, [6]), **GEO["scale"], 34735: (SHORT, [*KEYS, 1])}))
    assert filtered("z.tif", "w.tif").plan.dropped == ("GeoTIFF: not carried over",)


def test_nodata_is_filtered_as_a_number_and_told() -> None:
    Path("x.tif").write_bytes(tiff({42113: (ASCII, b"-9999\0")}))
    assert load("x.tif").warnings == ("GDAL nodata: -9999 is filtered like any other number",)
    Path("x.tif").write_bytes(tiff({42113: (ASCII, b"nan\0")}))
    assert load("x.tif").warnings == ()


def test_statistics_of_the_input_are_not_kept() -> None:
    item = b'<Item name="k">v</Item>'
    text = (
        b'<GDALMetadata><Item name="STATISTICS_MEAN" sample="0">3.5</Item>%b</GDALMetadata>\0'
        % item
    )
    Path("x.tif").write_bytes(tiff({42112: (ASCII, text)}))
    filtered("x.tif", "y.tif")
    assert (
        tags_of(Path("y.tif").read_bytes())[42112][1] == b"<GDALMetadata>%b</GDALMetadata>\0" % item
    )


# Densities, and positions in EXIF and XMP.


@pytest.mark.parametrize("source", ["tif", "png", "jpg", "bmp"])
@pytest.mark.parametrize("target", ["tif", "png", "jpg", "bmp"])
def test_density_follows_the_stride(source: str, target: str) -> None:
    Image.fromarray(PIXELS).save(f"x.{source}", dpi=(300, 300))
    filtered(f"x.{source}", f"y.{target}", "box", stride=(3, 2))
    assert load(f"y.{target}").metadata.density == pytest.approx((150, 100), abs=0.03)


def test_a_density_that_becomes_too_small_is_told() -> None:
    Image.fromarray(PIXELS).save("x.tif", dpi=(1, 1))
    plan = filtered("x.tif", "y.tif", "box", stride=4).plan
    assert (plan.metadata.density, plan.dropped) == (
        None,
        ("density: it is less than 0.5 dots per inch",),
    )


def test_the_aspect_of_pixels_follows_the_stride() -> None:
    tags: Tags = {282: (RATIONAL, [2, 1]), 283: (RATIONAL, [1, 1]), 296: (SHORT, [1])}
    Path("x.tif").write_bytes(tiff(tags))
    assert load("x.tif").metadata.aspect == (2, 1)
    for stride, aspect in ((1, (2, 1)), ((2, 1), (2, 0.5)), ((1, 2), None)):
        filtered("x.tif", "y.tif", "box", stride=stride, overwrite=True)
        assert load("y.tif").metadata.aspect == aspect


@pytest.mark.parametrize("target", ["y.jpg", "y.png", "y.webp", "y.tif"])
def test_resolutions_and_places_in_exif_follow(target: str) -> None:
    inner: Tags = {
        0xA20E: (RATIONAL, [3000, 1]),
        0xA20F: (RATIONAL, [3000, 1]),
        0x9214: (SHORT, [5, 7, 4, 6]),
    }
    Path("x.tif").write_bytes(tiff({EXIF: (LONG, None)}, inner=inner))
    assert filtered("x.tif", target, "box", stride=(3, 2)).plan.dropped == ()
    block = Path(target).read_bytes() if target == "y.tif" else load(target).metadata.exif
    tags = tags_of(block)
    assert [tags[number][1] for number in (0xA20E, 0xA20F)] == [
        struct.pack("<2I", 1500, 1),
        struct.pack("<2I", 1000, 1),
    ]
    assert tags[0x9214][1] == struct.pack("<4H", 2, 2, 2, 2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "place", [(SHORT, [65535, 65535]), (SHORT, [0, 0, 65535, 1]), (RATIONAL, [1, 2, 9, 0])]
)
def test_a_place_outside_the_picture_is_no_reason_to_refuse_it(
    orientation: int, place: Entry
) -> None:
    content = tiff(
        {EXIF: (LONG, None), 0x112: (SHORT, [orientation])}, inner={0x9214: place, 0x9003: TEXT}
    )
    Path("x.tif").write_bytes(content)
    assert load("x.tif").array.size == PIXELS.size
    filtered("x.tif", "y.tif")
    assert load("y.tif").array.size == PIXELS.size


def test_a_place_outside_the_output_is_told() -> None:
    Path("x.tif").write_bytes(
        tiff({EXIF: (LONG, None)}, inner={0x9214: (SHORT, [0, 7]), 0x9003: TEXT})
    )
    plan = filtered("x.tif", "y.tif", "box").plan
    assert plan.dropped == ("EXIF subject area: it is a position outside the output",)
    assert 0x9003 in tags_of(Path("y.tif").read_bytes())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_places_and_resolutions_are_those_of_the_upright_picture(orientation: int) -> None:
    """The subject is the only sample that is not 0."""
    pixels = np.zeros((12, 10, 1), np.uint8)
    pixels[7, 2] = 255
    inner: Tags = {
        0xA20E: (RATIONAL, [3000, 1]),
        0xA20F: (RATIONAL, [2000, 1]),
        0x9214: (SHORT, [2, 7, 4, 6]),
    }
    Path("x.tif").write_bytes(
        tiff({EXIF: (LONG, None), 274: (SHORT, [orientation])}, inner=inner, pixels=pixels)
    )
    data = load("x.tif")
    tags = tags_of(data.metadata.exif)
    x, y, width, height = struct.unpack("<4H", tags[0x9214][1])
    assert (y, x) == tuple(np.argwhere(data.array)[0])
    turned = orientation > 4
    assert (width, height) == ((6, 4) if turned else (4, 6))
    assert tags[0xA20E][1] == struct.pack("<2I", 2000 if turned else 3000, 1)


def test_xmp_follows() -> None:
    packet = (
        b'<rdf:Description tiff:XResolution="300/1" tiff:YResolution="300"'
        b' exif:PixelXDimension="10">'
        b"<tiff:ImageLength>12</tiff:ImageLength><exif:SubjectArea><rdf:Seq/></exif:SubjectArea>"
        b'<mwg-rs:Regions rdf:parseType="Resource"><x/></mwg-rs:Regions></rdf:Description>'
    )
    Path("x.tif").write_bytes(tiff({700: (BYTE, packet)}))
    plan = filtered("x.tif", "y.tif", "box", stride=(3, 2)).plan
    assert plan.dropped == (
        "XMP subject area: it has positions in the input",
        "XMP regions: it has positions in the input",
    )
    assert load("y.tif").metadata.xmp == (
        b'<rdf:Description tiff:XResolution="150/1" tiff:YResolution="100/1"'
        b' exif:PixelXDimension="4">'
        b"<tiff:ImageLength>4</tiff:ImageLength></rdf:Description>"
    )
    filtered("x.tif", "z.tif", "box", padding="same")
    assert load("z.tif").metadata.xmp == packet
