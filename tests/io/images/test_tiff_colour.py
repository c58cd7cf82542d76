"""Convert TIFFs that are neither gray nor RGB, compared with the formulas of TIFF 6.0."""

from __future__ import annotations

from pathlib import Path
from struct import pack

import numpy as np
import pytest
from numpy.typing import NDArray
from tiff_samples import RNG, samples, tiff_of

from convcli.errors import DtypeError
from convcli.io import load

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

pytestmark = pytest.mark.usefixtures("in_tmp")


def rational(*values: tuple[int, int]) -> tuple[int, int, list[int], bool]:
    """Return fractions in tifffile's form for a tag."""
    return 5, len(values), [number for pair in values for number in pair], True


def pack_rows(values: NDArray[np.uint8], bits: int) -> bytes:
    """Pack values (H, ...) of `bits` bits; every row begins with a byte of its own."""
    each = values.reshape(len(values), -1, 1) >> np.arange(bits)[::-1] & 1
    return np.packbits(each.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


@pytest.mark.parametrize("luma", [(299, 587, 114), (2126, 7152, 722)])
@pytest.mark.parametrize("levels", [(0, 255, 128, 255), (16, 235, 128, 240)])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("big", [False, True])
def test_ycbcr_by_its_own_coefficients_and_levels(
    luma: tuple[int, ...], levels: tuple[int, ...], planar: str, big: bool
) -> None:
    stored = samples("uint8", 3)
    fractions = [(value, sum(luma)) for value in luma]
    reference = [(level, 1) for level in (*levels, *levels[2:])]
    tags = [(529, *rational(*fractions)), (532, *rational(*reference)), (530, 3, 2, (1, 1), True)]
    values = stored if planar == "contig" else np.moveaxis(stored, -1, 0)
    tifffile.imwrite(
        "x.tif", values, photometric="ycbcr", planarconfig=planar, extratags=tags, bigtiff=big
    )
    data = load("x.tif")

    black, white, middle, most = levels
    y = (stored[..., 0].astype(float) - black) * 255 / (white - black)
    cb, cr = ((stored[..., band].astype(float) - middle) * 127 / (most - middle) for band in (1, 2))
    kr, kg, kb = (value / sum(luma) for value in luma)
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    wanted = np.stack([red, (y - kr * red - kb * blue) / kg, blue], -1).round().clip(0, 255)
    assert np.abs(data.array - wanted).max() <= 1
    assert "YCbCr converted to RGB" in data.notes


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("extra", ["none", "alpha", "spot"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_cmyk_is_what_the_inks_leave_of_white(dtype: str, extra: str, planar: str) -> None:
    stored = samples(dtype, 4 + (extra != "none"))
    if dtype == "float32":
        stored = stored / stored.max()
    values = stored if planar == "contig" else np.moveaxis(stored, -1, 0)
    kinds = {"none": (), "alpha": ("unassalpha",), "spot": ("unspecified",)}[extra]
    tifffile.imwrite(
        "x.tif", values, photometric="separated", planarconfig=planar, extrasamples=kinds
    )
    data = load("x.tif")
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    bare = top - stored[..., :4].astype(float)
    wanted = bare[..., :3] * bare[..., 3:] / top
    assert np.abs(data.array[..., :3] - wanted).max() <= (1e-6 if top == 1 else 1)
    assert (data.array.dtype, data.alpha) == (dtype, extra == "alpha")
    if extra == "alpha":
        np.testing.assert_array_equal(data.array[..., 3], stored[..., 4])
    told = ("1 more sample of each pixel left out, which is no alpha",)
    assert data.warnings == (told if extra == "spot" else ())


@pytest.mark.parametrize("scale", [1, 256])
def test_a_palette_of_sixteen_bits(scale: int) -> None:
    colours = (RNG.integers(0, 256, (3, 2**16)) * scale).astype(np.uint16)
    indices = RNG.integers(0, 2**16, (6, 8)).astype(np.uint16)
    tifffile.imwrite("x.tif", indices, photometric="palette", colormap=colours)
    np.testing.assert_array_equal(load("x.tif").array, colours.T[indices] // scale)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
def test_fewer_than_eight_bits_are_scaled_to_eight(bits: int, photometric: str) -> None:
    stored = RNG.integers(0, 2**bits, (6, 9, 3) if photometric == "rgb" else (6, 9)).astype(
        np.uint8
    )
    packed = pack_rows(stored, bits)
    tags = {256: 9, 257: 6, 258: bits, 259: 1, 262: 2, 273: 8, 277: 1, 278: 6, 279: len(packed)}
    tags[262] = ["miniswhite", "minisblack", "rgb"].index(photometric)
    if photometric == "rgb":
        tags |= {258: [bits] * 3, 277: 3}
    Path("x.tif").write_bytes(tiff_of(tags, packed))
    values = 2**bits - 1 - stored if photometric == "miniswhite" else stored
    wanted = np.rint(values * 255.0 / (2**bits - 1))
    np.testing.assert_array_equal(load("x.tif").array, wanted)


def test_what_is_not_said_to_be_white_as_0_is_not() -> None:
    gray = samples("uint8", 1)
    tags = {256: gray.shape[1], 257: gray.shape[0], 258: 8, 259: 1, 273: 8, 277: 1, 279: gray.size}
    Path("x.tif").write_bytes(tiff_of(tags, gray.tobytes()))
    np.testing.assert_array_equal(load("x.tif").array, gray)


def test_tiles_that_are_told_as_strips() -> None:
    gray = RNG.integers(0, 256, (20, 40)).astype(np.uint8)
    tifffile.imwrite("x.tif", gray, tile=(16, 16), photometric="minisblack")
    content = Path("x.tif").read_bytes()
    for tile, strip in ((324, 273), (325, 279)):
        content = content.replace(pack("<HH", tile, 4), pack("<HH", strip, 4))
        content = content.replace(pack("<HH", tile, 3), pack("<HH", strip, 3))
    Path("x.tif").write_bytes(content)
    np.testing.assert_array_equal(load("x.tif").array, gray)


def test_other_colours_are_refused_by_name() -> None:
    tifffile.imwrite("x.tif", samples("uint16", 3), photometric="cielab")
    with pytest.raises(DtypeError, match=r"x\.tif holds CIELAB samples; expected gray or RGB"):
        load("x.tif")


def test_premultiplied_alpha_of_few_bits() -> None:
    stored = np.uint8([[[3, 6, 15, 15], [3, 1, 2, 5]]])
    packed = pack_rows(stored, 4)
    tags = {
        256: 2,
        257: 1,
        258: [4] * 4,
        259: 1,
        262: 2,
        273: 8,
        277: 4,
        278: 1,
        279: len(packed),
        338: 1,
    }
    Path("x.tif").write_bytes(tiff_of(tags, packed))
    np.testing.assert_array_equal(
        load("x.tif").array, np.uint8([[[3, 6, 15, 15], [9, 3, 6, 5]]]) * 17
    )
