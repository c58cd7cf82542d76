"""Keep descriptions of stacks by ImageJ, OME and tifffile if they describe the output."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiffs import ASCII, PIXELS, filtered, tags_of, tiff

from convcli.io import load

tifffile = pytest.importorskip("tifffile")

pytestmark = pytest.mark.usefixtures("in_tmp")

RNG = np.random.default_rng(0)
SLICES = RNG.integers(0, 60000, (5, 20, 30)).astype(np.uint16)
CALIBRATION = {"unit": "um", "spacing": 0.5, "xorigin": 9.0, "axes": "ZYX"}
LABELS = {"Labels": list("abcde"), "Info": "caf\xe9", "Ranges": (1.0, 2.0), "ROI": b"Iout region"}


def write_stack(order: str = "<", values: Any = SLICES, **metadata: Any) -> None:
    tifffile.imwrite(
        "x.tif",
        values,
        imagej=True,
        byteorder=order,
        resolution=(5, 4),
        metadata={**CALIBRATION, **metadata},
    )


def described(name: str) -> dict[str, Any]:
    with tifffile.TiffFile(name) as tiff_file:
        return dict(tiff_file.imagej_metadata)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("options", [{"dims": 3, "padding": "same"}, {"frames": "all"}], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_stack_of_imagej_stays_one(order: str, options: dict[str, Any], dtype: str) -> None:
    values = (SLICES // 257).astype(dtype)
    write_stack(order, values, **LABELS)
    kernel = "random:3x3x3,seed=0" if "dims" in options else "box"
    plan = filtered("x.tif", "y.tif", kernel, **{**options, "padding": "same"}).plan
    assert plan.dropped == ()
    assert described("y.tif") == described("x.tif")
    np.testing.assert_array_equal(tifffile.imread("y.tif"), load("y.tif", volume=True).array)
    with tifffile.TiffFile("y.tif") as written:
        starts = [page.dataoffsets[0] for page in written.pages]
        assert written.pages[0].tags["XResolution"].value == (5, 1)
    assert set(np.diff(starts)) == {values[0].nbytes}


def test_calibration_follows_strides_along_every_axis() -> None:
    write_stack()
    assert (
        filtered("x.tif", "y.tif", "random:1x3x3,seed=0", dims=3, stride=(1, 3, 2)).plan.dropped
        == ()
    )
    found = described("y.tif")
    assert (found["images"], found["spacing"], found["unit"], found["xorigin"]) == (5, 0.5, "um", 4)
    with tifffile.TiffFile("y.tif") as written:
        assert [written.pages[0].tags[name].value for name in ("XResolution", "YResolution")] == [
            (5, 2),
            (4, 3),
        ]


def test_a_stack_with_fewer_slices_is_none_of_imagej_s() -> None:
    write_stack(**LABELS)
    told = filtered("x.tif", "y.tif", "random:3x3x3,seed=0", dims=3, stride=2).plan.dropped
    assert told == (
        "ImageJ description: it describes the input's pages",
        "ImageJ metadata: it describes the input's pages, their size and number type",
        "tags of later pages: it describes the input's pages",
    )


@pytest.mark.parametrize("target", ["y.tif", "y.png"])
def test_one_slice_is_no_stack(target: str) -> None:
    write_stack(**LABELS)
    told = {line.split(":")[0] for line in filtered("x.tif", target).plan.dropped}
    assert {"ImageJ description", "ImageJ metadata"} <= told
    assert load(target).array.shape == SLICES[0].shape


def test_one_picture_of_imagej_keeps_its_calibration() -> None:
    write_stack(values=SLICES[0], axes="YX")
    assert filtered("x.tif", "y.tif", "box").plan.dropped == ()
    found = described("y.tif")
    assert (found["unit"], found["xorigin"]) == ("um", 8)


def test_what_is_compressed_is_no_stack_of_imagej_s_and_told() -> None:
    write_stack(**LABELS)
    outcome = filtered("x.tif", "y.tif", frames="all", compress_level=1)
    assert outcome.written.dropped == (
        "ImageJ description and metadata: ImageJ reads them of pages that are not compressed",
    )
    with tifffile.TiffFile("y.tif") as written:
        assert not written.is_imagej
        np.testing.assert_array_equal(written.asarray(), SLICES)


def test_without_the_package_a_stack_s_description_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    write_stack(values=(SLICES // 257).astype(np.uint8))
    monkeypatch.setattr("convcli.io.formats.find_spec", lambda name: None)
    assert (
        "ImageJ description: not carried over"
        in filtered("x.tif", "y.tif", frames="all").plan.dropped
    )


@pytest.mark.parametrize("name", ["OME", "shape"])
def test_a_description_with_sizes_is_kept_where_they_are_the_same(name: str) -> None:
    tifffile.imwrite("x.tif", SLICES, ome=name == "OME", metadata={"axes": "ZYX"})
    assert filtered("x.tif", "y.tif", frames="all").plan.dropped == ()
    np.testing.assert_array_equal(tifffile.imread("y.tif"), SLICES)
    with tifffile.TiffFile("y.tif") as written:
        assert written.is_ome == (name == "OME")
    for options in ({"dtype": "float32"}, {"stride": 2}):
        told = filtered(
            "x.tif", "z.tif", "box", frames="all", overwrite=True, padding="same", **options
        ).plan.dropped
        assert told == (
            f"{name} description: it describes the input's pages, their size and number type",
        )
    assert f"{name} description: not carried over" in filtered("x.tif", "y.png").plan.dropped


def test_imagej_s_metadata_whose_counts_are_wrong_is_no_fault() -> None:
    head = b"IJIJ" + b"info" + struct.pack(">I", 2**31)
    tags = {
        270: (ASCII, b"ImageJ=1\n\0"),
        50838: (4, [len(head), 2**31, 3]),
        50839: (1, head + b"\0a"),
    }
    Path("x.tif").write_bytes(tiff(tags, order=">"))
    filtered("x.tif", "y.tif")
    np.testing.assert_array_equal(load("y.tif").array, PIXELS)
    assert 50839 in tags_of(Path("y.tif").read_bytes())
