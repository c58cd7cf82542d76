"""NIfTI volumes, compared with nibabel: values, dtype, header, and the convolved affine."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run

from convcli.errors import DtypeError, FileError, LimitError
from convcli.io import load, save
from convcli.limits import Limits

nibabel = pytest.importorskip("nibabel")

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 1.5, -0.5, -126], [0, 0.5, 3, -72], [0, 0, 0, 1]])
VALUES = np.random.default_rng(0).integers(-500, 2000, (9, 11, 8)).astype(np.int16)


pytestmark = pytest.mark.usefixtures("in_tmp")


def volume(name: str, values: Any = VALUES, affine: Any = AFFINE, kind: str = "Nifti1Image") -> Any:
    image = getattr(nibabel, kind)(values, affine)
    image.header["descrip"] = b"a head"
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, name)
    return nibabel.load(name)


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "<i2", ">i2", "u2", "i4", "u4", "i8", "u8", "f4", ">f8"]
)
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_values_come_back_as_they_were(name: str, dtype: str) -> None:
    values = np.abs(VALUES).astype(dtype)
    header = nibabel.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    nibabel.save(nibabel.Nifti1Image(values, AFFINE, header, dtype=dtype), name)
    data = load(name)
    np.testing.assert_array_equal(data.array, values)
    assert data.array.dtype == np.dtype(dtype).newbyteorder("=")
    assert data.dims == 3
    save(f"y-{name}", data.array, header=data.header)
    image = nibabel.load(f"y-{name}")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), values)
    assert image.header == nibabel.load(name).header


@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
def test_type_units_description_and_version_are_kept(kind: str) -> None:
    volume("x.nii.gz", kind=kind)
    run(
        "apply",
        "x.nii.gz",
        "-k",
        "gaussian:sigma=1",
        "--padding",
        "same",
        "--boundary",
        "edge",
        "-o",
        "y.nii",
    )
    image = nibabel.load("y.nii")
    assert type(image).__name__ == kind
    assert image.get_data_dtype() == np.int16
    assert bytes(image.header["descrip"]).rstrip(b"\0") == b"a head"
    assert image.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--stride", "2"),
        ("--stride", "1x2x3", "--padding", "same"),
        ("--padding", "full"),
        ("--padding", "1:2,0:0,3:1", "--stride", "2"),
        ("--dilation", "2"),
    ],
)
def test_the_affine_says_where_each_voxel_came_from(options: tuple[str, ...]) -> None:
    """A symmetric mean of voxels that hold their own coordinates is its window's centre."""
    places = np.stack(np.meshgrid(*map(np.arange, VALUES.shape), indexing="ij"), -1).astype(
        np.float64
    )
    world = places @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    volume("x.nii", world)
    run("apply", "x.nii", "-k", "box:size=3", *options, "-o", "y.nii")
    volume("ones.nii", np.ones_like(VALUES, dtype=np.float64))
    run("apply", "ones.nii", "-k", "box:size=3", *options, "-o", "whole.nii")
    image, whole = nibabel.load("y.nii"), nibabel.load("whole.nii").get_fdata() > 1 - 1e-9
    moved = np.stack(np.meshgrid(*map(np.arange, image.shape[:3]), indexing="ij"), -1)
    told = moved @ image.affine[:3, :3].T + image.affine[:3, 3]
    assert whole.sum() >= 4
    np.testing.assert_allclose(image.get_fdata()[whole], told[whole], atol=1e-4)
    steps = np.linalg.norm(image.affine[:3, :3], axis=0)
    np.testing.assert_allclose(image.header.get_zooms()[:3], steps, rtol=1e-5)


def test_an_even_kernel_moves_it_by_half_a_voxel() -> None:
    volume("x.nii")
    run("apply", "x.nii", "-k", "random:2x1x4", "-o", "y.nii")
    np.testing.assert_allclose(
        nibabel.load("y.nii").affine[:3, 3], (AFFINE @ [0.5, 0, 1.5, 1])[:3], rtol=1e-5
    )


def test_scaled_values_are_those_that_are_meant() -> None:
    image = nibabel.Nifti1Image(VALUES * 0.37 + 3, AFFINE)
    image.set_data_dtype(np.int16)
    nibabel.save(image, "x.nii.gz")
    data = load("x.nii.gz")
    np.testing.assert_array_equal(data.array, nibabel.load("x.nii.gz").get_fdata())
    assert data.notes[0].startswith("values times ")
    run("apply", "x.nii.gz", "-k", "identity:size=1", "-o", "y.nii.gz")
    np.testing.assert_array_equal(nibabel.load("y.nii.gz").get_fdata(), data.array)


def test_time_is_a_lane() -> None:
    volume("x.nii", np.stack([VALUES, -VALUES, 2 * VALUES, VALUES], -1))
    run("apply", "x.nii", "-k", "box", "--stride", "2", "-o", "y.nii")
    volume("z.nii", -VALUES)
    run("apply", "z.nii", "-k", "box", "--stride", "2", "-o", "w.nii")
    image = nibabel.load("y.nii")
    assert image.shape == (4, 5, 3, 4)
    np.testing.assert_array_equal(image.get_fdata()[..., 1], nibabel.load("w.nii").get_fdata())


def test_a_result_of_an_array_has_the_identity() -> None:
    np.save("x.npy", VALUES)
    run("apply", "x.npy", "-k", "box", "--dims", "3", "-o", "y.nii")
    np.testing.assert_array_equal(nibabel.load("y.nii").affine, np.eye(4))
    assert nibabel.load("y.nii").get_data_dtype() == np.int16


def test_the_same_values_give_the_same_bytes() -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        save(name, VALUES)
    assert Path("a.nii.gz").read_bytes() == Path("b.nii.gz").read_bytes()


def test_a_batch_keeps_the_whole_suffix() -> None:
    volume("x.nii.gz")
    run("batch", "x.nii.gz", "-k", "box", "--out", "out", "--name", "{stem}-soft{ext}")
    assert nibabel.load("out/x-soft.nii.gz").shape == (7, 9, 6)


def test_what_does_not_fit_is_refused() -> None:
    volume("x.nii")
    assert (
        "with its channels last"
        in run("apply", "x.nii", "-k", "box", "--layout", "channels_first", code=2).stderr
    )
    nibabel.save(nibabel.Nifti1Image(VALUES.astype(np.complex64), AFFINE), "c.nii")
    with pytest.raises(DtypeError, match=r"c\.nii holds complex64; expected real numbers"):
        load("c.nii")
    told = run("apply", "x.nii", "-k", "box", "--dtype", "float16", "-o", "y.nii", code=2).stderr
    assert "nii cannot hold float16; it holds uint8, " in told


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_a_header_that_asks_for_much_is_refused_at_once(name: str) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((30000, 30000, 30000))
    header.set_data_dtype(np.float64)
    content = header.binaryblock + bytes(400)
    Path(name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(
        (LimitError, FileError), match=r"of memory; the limit is|declares 216,000,000,000,000 bytes"
    ):
        load(name, limits=Limits(2**30))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_what_analyze_calls_regular_is_still_a_volume(name: str, order: str) -> None:
    header = nibabel.Nifti1Header(endianness=order)
    header["regular"] = b"r"
    content = nibabel.Nifti1Image(VALUES, AFFINE, header, dtype=VALUES.dtype).to_bytes()
    assert content[38:39] == b"r"
    Path(name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    np.testing.assert_array_equal(load(name).array, VALUES)
    assert load(name, format=name[2:]).format == name[2:]


@pytest.mark.parametrize("size", [0, 1, 10, 347, 348, 539])
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_a_file_shorter_than_a_header_is_damaged(name: str, size: int) -> None:
    content = bytes(nibabel.Nifti2Image(VALUES, AFFINE).to_bytes())[:size]
    Path(name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(FileError):
        load(name, format=name[2:])


def test_what_goes_on_behind_the_values_is_not_followed_for_ever() -> None:
    Path("x.nii.gz").write_bytes(
        gzip.compress(nibabel.Nifti1Image(VALUES, AFFINE).to_bytes() + bytes(2**27))
    )
    with pytest.raises(FileError, match="many bytes follow the last value"):
        load("x.nii.gz")


def test_a_large_volume_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    volume("x.nii")
    options = ("-k", "gaussian:sigma=1", "--padding", "same")
    run("apply", "x.nii", *options, "-o", "read.npy")
    monkeypatch.setattr("convcli.io.arrays.nifti.MAP_ABOVE", 0)
    data = load("x.nii")
    assert isinstance(data.array, np.memmap)
    assert data.dims == 3
    run("apply", "x.nii", *options, "-o", "mapped.npy")
    np.testing.assert_array_equal(np.load("mapped.npy"), np.load("read.npy"))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    volume("x.nii")
    np.save("x.npy", VALUES)
    monkeypatch.setattr("convcli.io.formats.find_spec", lambda name: None)
    for words in (["x.nii"], ["x.npy", "--dims", "3", "-o", "y.nii.gz"]):
        told = run("apply", *words, "-k", "box", code=2).stderr
        assert (
            "the nibabel package, which reads and writes it, is not installed; pip install nibabel"
            in told
        )
