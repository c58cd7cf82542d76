"""--linear decodes light by the curve of a picture's file, and warns if it cannot."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from convcli.io import load
from convcli.jobs.apply import ApplyResult, plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.transfer import SRGB, light_of

STEP = np.tile(np.uint8([0, 255]), (4, 4))


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def write_png(path: Path, *chunks: bytes, array: NDArray[Any] = STEP) -> Path:
    """Write a picture with chunks after its header."""
    Image.fromarray(array).save(path, "PNG")
    content = path.read_bytes()
    path.write_bytes(content[:33] + b"".join(chunks) + content[33:])
    return path


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def cicp(transfer: int, full_range: int = 1) -> bytes:
    return chunk(b"cICP", bytes([1, transfer, 0, full_range]))


def profile(tag: bytes, *names: bytes) -> bytes:
    """Return an ICC profile with a curve under these names, by the layout of ICC.1, 7."""
    start = 128 + 4 + 12 * len(names)
    table = b"".join(struct.pack(">4sII", name, start, len(tag)) for name in names)
    body = struct.pack(">I", len(names)) + table + tag
    head = bytearray(128)
    head[12:24], head[36:40] = b"mntrRGB XYZ ", b"acsp"
    head[:4] = struct.pack(">I", 128 + len(body))
    return bytes(head) + body


def iccp(icc: bytes) -> bytes:
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(icc))


def parametric(kind: int, *values: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(
        f">HH{len(values)}i", kind, 0, *(round(value * 65536) for value in values)
    )


def run(path: Path) -> ApplyResult:
    return run_apply(plan_apply(ApplyRequest(str(path), ("[[0.5,0.5]]",), linear=True)))


RGB = (b"rTRC", b"gTRC", b"bTRC")
S = struct.pack
SRGB_MEAN, LINEAR_MEAN = 188, 128
ADOBE = b"curv\0\0\0\0" + S(">IH", 1, 0x0233)
TABLE = (
    b"curv\0\0\0\0"
    + S(">I", 1024)
    + np.rint(65535 * SRGB.decode(np.linspace(0, 1, 1024))).astype(">u2").tobytes()
)
IDENTITY = b"curv\0\0\0\0" + S(">I", 0)

GRAY = profile(parametric(0, 1.8), b"kTRC")
STEEP = profile(b"curv\0\0\0\0" + S(">I3H", 3, 0, 60000, 65535), *RGB)

CURVES: dict[str, tuple[tuple[bytes, ...], float, str]] = {
    "nothing": ((), SRGB_MEAN, "the sRGB curve"),
    "gAMA 1": ((gama(1),), LINEAR_MEAN, "its gAMA: linear"),
    "gAMA 1/2.2": ((gama(1 / 2.2),), 255 * 0.5 ** (1 / 2.2), "its gAMA: a power of 2.2"),
    "gAMA 0": ((gama(0),), SRGB_MEAN, "the sRGB curve"),
    "sRGB before gAMA": ((gama(1), chunk(b"sRGB", b"\0")), SRGB_MEAN, "the sRGB curve"),
    "cICP sRGB before gAMA": ((cicp(13), gama(1)), SRGB_MEAN, "the sRGB curve"),
    "cICP linear before sRGB": ((cicp(8), chunk(b"sRGB", b"\0")), LINEAR_MEAN, "its cICP: linear"),
    "cICP unspecified": ((cicp(2), gama(1)), LINEAR_MEAN, "its gAMA: linear"),
    "cICP BT.709": (
        (cicp(1),),
        255 * (1.099296826809442 * 0.5**0.45 - 0.099296826809442),
        "its cICP: the BT.709 curve",
    ),
    "cICP gamma 2.8": ((cicp(5),), 255 * 0.5 ** (1 / 2.8), "its cICP: a power of 2.8"),
    "iCCP before gAMA": ((iccp(profile(TABLE, *RGB)), gama(1)), SRGB_MEAN, "the sRGB curve"),
    "iCCP Adobe RGB": (
        (iccp(profile(ADOBE, *RGB)),),
        255 * 0.5 ** (256 / 0x0233),
        "its ICC profile: a power of 2.199",
    ),
    "iCCP linear": ((iccp(profile(IDENTITY, *RGB)),), LINEAR_MEAN, "its ICC profile: linear"),
    "iCCP gray": (
        (iccp(profile(parametric(0, 1.8), b"kTRC")),),
        255 * 0.5 ** (1 / 1.8),
        "its ICC profile: a power of 1.8",
    ),
    "iCCP parametric sRGB": (
        (iccp(profile(parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045), *RGB)),),
        SRGB_MEAN,
        "the sRGB curve",
    ),
    "iCCP parametric BT.709": (
        (iccp(profile(parametric(3, 1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081), *RGB)),),
        255 * (1.099 * 0.5**0.45 - 0.099),
        "its ICC profile",
    ),
}


@pytest.mark.parametrize("name", CURVES)
def test_light_is_averaged_by_the_curve_that_the_file_tells(tmp_path: Path, name: str) -> None:
    chunks, mean, curve = CURVES[name]
    result = run(write_png(tmp_path / "x.png", *chunks))
    assert np.abs(result.values.astype(float) - mean).max() <= 0.51
    assert result.plan.curve is not None
    assert result.plan.curve.name == curve
    assert result.warnings == ()


UNKNOWN: dict[str, tuple[tuple[bytes, ...], str, str]] = {
    "PQ": ((cicp(16),), "says by cICP that its samples are PQ", "the sRGB curve"),
    "HLG with gAMA": (
        (cicp(18), gama(1)),
        "says by cICP that its samples are HLG",
        "its gAMA: linear",
    ),
    "reserved": ((cicp(99),), "of transfer characteristic 99", "the sRGB curve"),
    "narrow": ((cicp(1, 0),), "of narrow range", "the sRGB curve"),
    "table": (
        (iccp(profile(b"curv\0\0\0\0" + S(">I3H", 3, 0, 60000, 65535), *RGB)),),
        "an ICC profile",
        "the sRGB curve",
    ),
    "none": ((iccp(profile(ADOBE, b"A2B0")),), "an ICC profile", "the sRGB curve"),
    "gAMA of nonsense": (
        (gama(0.0001),),
        "says by gAMA that its samples are a power of 1e+04",
        "the sRGB curve",
    ),
    "gamma 0": ((iccp(profile(parametric(0, 0), *RGB)),), "an ICC profile", "the sRGB curve"),
    "line of 0": (
        (iccp(profile(parametric(3, 2.4, 1, 0, 0, 0.5), *RGB)),),
        "an ICC profile",
        "the sRGB curve",
    ),
    "cut": ((iccp(profile(b"curv\0\0", *RGB)),), "an ICC profile", "the sRGB curve"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_curve_that_is_not_decoded_is_told(tmp_path: Path, name: str) -> None:
    chunks, named, used = UNKNOWN[name]
    result = run(write_png(tmp_path / "x.png", *chunks))
    (warning,) = result.warnings
    assert named in warning
    assert warning.endswith(f"which --linear does not decode: it uses {used}")


def test_nothing_is_told_where_samples_are_filtered(tmp_path: Path) -> None:
    path = write_png(tmp_path / "x.png", cicp(16), gama(1))
    result = run_apply(plan_apply(ApplyRequest(str(path), ("[[0.5,0.5]]",))))
    assert result.values.tolist() == [[128] * 7] * 4
    assert (result.warnings, result.plan.curve) == ((), None)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_the_usual_profile_is_recognised_in_every_format(tmp_path: Path, suffix: str) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(np.dstack([STEP] * 3)).save(tmp_path / f"x.{suffix}", icc_profile=icc)
    assert light_of(load(tmp_path / f"x.{suffix}")) == (SRGB, ())


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("gamma", [1, 1 / 1.8, 1 / 2.2, 1 / 2.6])
def test_every_level_comes_back(tmp_path: Path, gamma: float, dtype: str) -> None:
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1)
    path = write_png(tmp_path / "x.png", gama(gamma), array=levels)
    result = run_apply(plan_apply(ApplyRequest(str(path), ("identity:size=1",), linear=True)))
    np.testing.assert_array_equal(result.values, levels)
