"""Refuse what a format cannot hold, and write arrays of any layout and dtype."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convcli.errors import DtypeError, FileError, ShapeError
from convcli.io import load, lookup, save
from convcli.io.codec import codec_of

pytestmark = pytest.mark.usefixtures("without_extras")


REFUSED = [
    (
        "png",
        "float32",
        (4, 4),
        False,
        DtypeError,
        "png cannot hold float32; it holds uint8 .*; use --dtype uint8 with",
    ),
    ("png", "int64", (4, 4), False, DtypeError, r"or write \.npy"),
    (
        "png",
        "uint16",
        (4, 4, 5),
        False,
        ShapeError,
        r"uint16 with 5 channels; [^;]*; write \.(tiff or \.)?npy",
    ),
    (
        "pfm",
        "float32",
        (4, 4, 3),
        False,
        ShapeError,
        r"float32 with 3 channels; [^;]*; write \.(tiff or \.)?npy",
    ),
    (
        "pbm",
        "float32",
        (4, 4),
        False,
        DtypeError,
        r"pbm cannot hold float32; [^;]*; write \.tiff or \.npy",
    ),
    ("png", "uint8", (4, 4, 5), False, ShapeError, r"uint8 with 5 channels; .*; write \.npy"),
    ("png", "uint8", (4,), False, ShapeError, "1 axes"),
    (
        "png",
        "uint8",
        (4, 4, 4, 4),
        False,
        ShapeError,
        r"4 axes, 4x4x4x4; an image is HxW or HxWxC; write \.npy",
    ),
    ("png", "uint8", (0, 4), False, ShapeError, "0x4 has no values"),
    ("png", "uint8", (4, 4, 3), True, ShapeError, "3 channels cannot end in alpha"),
    (
        "jpg",
        "uint8",
        (4, 4, 4),
        True,
        ShapeError,
        r"jpg cannot hold alpha .*; use --background white, or write \.png",
    ),
    ("jpg", "uint16", (4, 4), False, DtypeError, "jpg cannot hold uint16"),
    ("gif", "uint8", (4, 4, 5), False, ShapeError, "gif cannot hold uint8 with 5 channels"),
    ("webp", "uint8", (4, 20000, 3), False, ShapeError, "at most 16383 pixels a side"),
    (
        "tiff",
        "float64",
        (4, 4),
        False,
        DtypeError,
        r"the tiff would hold float64 with 1 channel; .*pip install tifffile",
    ),
    ("tiff", "complex64", (4, 4), False, DtypeError, "tiff cannot hold complex64"),
    ("jp2", "uint8", (4, 4), False, FileError, "read but not written"),
]


@pytest.mark.parametrize(("name", "dtype", "shape", "alpha", "error", "message"), REFUSED)
def test_what_a_format_cannot_hold_is_refused_with_the_way_out(
    name: str, dtype: str, shape: tuple[int, ...], alpha: bool, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        save("-", np.zeros(shape, dtype), format=name, alpha=alpha)


def test_nothing_is_written_where_it_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DtypeError):
        save(tmp_path / "x.png", np.zeros((2, 2)))
    assert list(tmp_path.iterdir()) == []


def test_a_trailing_axis_of_one_channel_is_dropped(tmp_path: Path) -> None:
    save(tmp_path / "x.png", np.zeros((2, 3, 1), np.uint16))
    assert load(tmp_path / "x.png").array.shape == (2, 3)


def test_any_strides_and_byte_order_are_written(tmp_path: Path) -> None:
    array = np.arange(24, dtype=">u2").reshape(4, 6)[::-1, ::2].T
    save(tmp_path / "x.png", array)
    np.testing.assert_array_equal(load(tmp_path / "x.png").array, array)


def test_png_is_compressed_at_level_1_unless_told(tmp_path: Path) -> None:
    array = np.tile(np.arange(64, dtype=np.uint8), (64, 8))
    sizes = [
        save(tmp_path / "x.png", array, settings={"compress_level": n}, overwrite=True).bytes
        for n in (0, 9)
    ]
    assert sizes[0] > sizes[1]
    save(tmp_path / "a.png", array)
    save(tmp_path / "b.png", array, settings={"compress_level": 1})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("dtype", "name", "expected"),
    [
        ("uint8", "png", "uint8"),
        ("uint16", "png", "uint16"),
        ("uint8", "jpg", "uint8"),
        ("int32", "tiff", "int32"),
        ("float32", "tiff", "float32"),
        ("float16", "pfm", "float32"),
        ("uint8", "pfm", "float32"),
        ("int16", "tiff", "float32"),
        ("uint8", "npy", None),
        ("int64", "csv", None),
        ("float32", "npz", None),
    ],
)
def test_the_written_type_follows_the_input(dtype: str, name: str, expected: str | None) -> None:
    assert codec_of(lookup(name)).output_dtype(np.dtype(dtype), "image") == (
        None if expected is None else np.dtype(expected)
    )


@pytest.mark.parametrize(
    ("dtype", "name"), [("float32", "png"), ("int64", "png"), ("uint16", "jpg")]
)
def test_a_type_that_no_format_keeps_is_refused(dtype: str, name: str) -> None:
    with pytest.raises(
        DtypeError,
        match=rf"the input array is {dtype}, which {name} cannot hold; .*; use --dtype uint8",
    ):
        codec_of(lookup(name)).output_dtype(np.dtype(dtype), "array")


def test_float64_is_not_halved_without_the_package() -> None:
    remedy = "pip install tifffile imagecodecs, or use --dtype float32"
    with pytest.raises(DtypeError, match=f"the input array is float64; .*{remedy}"):
        codec_of(lookup("tiff")).output_dtype(np.dtype("float64"), "array")
