"""Raw numbers: shape, dtype, order and offset are options, and checked against the file's size."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command import run

from convcli.errors import FileError, InputError, LimitError
from convcli.io import RawLayout, load, save
from convcli.limits import Limits

VALUES = np.arange(-30, 30, dtype=np.int16).reshape(3, 4, 5)


pytestmark = pytest.mark.usefixtures("in_tmp")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f8", "u1", "<u8"])
@pytest.mark.parametrize("above", [0, 2**30], ids=["mapped", "read"])
def test_numbers_are_read_as_they_lie(
    monkeypatch: pytest.MonkeyPatch, order: str, dtype: str, above: int
) -> None:
    monkeypatch.setattr("convcli.io.arrays.raw.MAP_ABOVE", above)
    values = np.abs(VALUES).astype(dtype)
    Path("x.raw").write_bytes(b"head" + values.tobytes(order))
    data = load("x.raw", raw=RawLayout.of(VALUES.shape, dtype, order, 4))
    assert isinstance(data.array, np.memmap) is (above == 0)
    np.testing.assert_array_equal(data.array, values)
    save("y.dat", data.array, header=data.header)
    assert Path("y.dat").read_bytes() == values.tobytes(order)


@pytest.mark.parametrize("above", [0, 2**30], ids=["mapped", "read"])
def test_a_big_endian_file_is_filtered_like_any_other(
    monkeypatch: pytest.MonkeyPatch, above: int
) -> None:
    monkeypatch.setattr("convcli.io.arrays.raw.MAP_ABOVE", above)
    VALUES.astype(">i2").tofile("x.raw")
    np.save("x.npy", VALUES)
    options = ("-k", "random:2x2x3", "--padding", "same", "--dtype", "float64")
    run("apply", "x.raw", "--raw-shape", "3x4x5", "--raw-dtype", ">i2", *options, "-o", "y.npy")
    run("apply", "x.npy", *options, "-o", "z.npy")
    np.testing.assert_array_equal(np.load("y.npy"), np.load("z.npy"))


@pytest.mark.parametrize("above", [0, 2**30], ids=["mapped", "written"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_a_large_result_is_mapped_from_its_file(
    monkeypatch: pytest.MonkeyPatch, above: int, dtype: str
) -> None:
    monkeypatch.setattr("convcli.io.writing.MAP_ABOVE", above)
    VALUES.astype(dtype).tofile("x.raw")
    layout = ("--raw-shape", "3x4x5", "--raw-dtype", dtype)
    run("apply", "x.raw", *layout, "-k", "random:2x2x3", "--padding", "same", "-o", "y.raw")
    np.save("x.npy", VALUES.astype("f4"))
    run("apply", "x.npy", "-k", "random:2x2x3", "--padding", "same", "-o", "y.npy")
    made = np.fromfile("y.raw", dtype).reshape(VALUES.shape)
    np.testing.assert_array_equal(made, np.load("y.npy"))
    assert sorted(path.name for path in Path().iterdir()) == ["x.npy", "x.raw", "y.npy", "y.raw"]


def test_a_result_is_written_as_its_input_lay() -> None:
    VALUES.astype(">i2").T.tofile("x.bin")
    layout = ("--raw-shape", "3x4x5", "--raw-dtype", ">i2", "--raw-order", "F")
    run("apply", "x.bin", *layout, "-k", "box", "--dims", "3", "--scale", "9000", "-o", "y.bin")
    run(
        "apply",
        "x.bin",
        *layout,
        "-k",
        "box",
        "--dims",
        "3",
        "--scale",
        "9000",
        "--dtype",
        "int16",
        "-o",
        "y.npy",
    )
    np.testing.assert_array_equal(np.fromfile("y.bin", ">i2").reshape(3, 2, 1).T, np.load("y.npy"))
    assert np.load("y.npy").min() == -32768


def test_a_result_of_another_input_is_little_endian_and_keeps_its_type() -> None:
    np.save("x.npy", VALUES.astype(">i4"))
    run("apply", "x.npy", "-k", "identity:size=1", "--dims", "3", "-o", "y.raw")
    assert Path("y.raw").read_bytes() == VALUES.astype("<i4").tobytes()
    run(
        "apply",
        "x.npy",
        "-k",
        "identity:size=1",
        "--dims",
        "3",
        "--raw-dtype",
        ">f8",
        "-o",
        "z.raw",
    )
    assert Path("z.raw").read_bytes() == VALUES.astype(">f8").tobytes()


@pytest.mark.parametrize("size", [119, 121, 240])
def test_another_size_is_told_with_both_numbers(size: int) -> None:
    Path("x.raw").write_bytes(bytes(size))
    told = run(
        "apply", "x.raw", "-k", "box", "--raw-shape", "3x4x5", "--raw-dtype", "i2", code=2
    ).stderr
    assert f"x.raw has {size} bytes; 3x4x5 of int16 takes 120 bytes; correct --raw-shape" in told


def test_what_was_not_told_is_asked_for() -> None:
    Path("x.raw").write_bytes(bytes(120))
    for options in ([], ["--raw-shape", "60"], ["--raw-dtype", "i2"]):
        told = run("apply", "x.raw", "-k", "box", *options, code=2).stderr
        assert "raw numbers without a header; expected their shape and type; " in told
        assert "give apply or batch --raw-shape" in told
    told = run("laws", "x.raw", "-k", "box", code=2).stderr
    assert "apply or batch" in told


class Endless:
    """An endless stream of zeros that counts the bytes it has returned."""

    given = 0

    def read1(self, count: int) -> bytes:
        self.given += count
        return bytes(count)


def test_what_was_not_told_is_asked_for_before_a_pipe_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endless = Endless()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=endless))
    with pytest.raises(FileError, match="standard input holds raw numbers without a header"):
        load("-", format="raw", raw=RawLayout(shape=(100, 100)), limits=Limits(2**20))
    assert endless.given <= 2**18


def test_what_can_be_recognised_is_what_it_is() -> None:
    np.save("x.npy", VALUES)
    Path("x.npy").rename("x.dat")
    assert load("x.dat").format == "npy"
    size = Path("x.dat").stat().st_size
    assert load("x.dat", raw=RawLayout.of((size,), "u1", "C", 0)).format == "raw"


def test_layouts_that_mean_nothing() -> None:
    for text in ("O", "c8", "S3", "nonsense", "i3", "f2,f4", "?", "("):
        with pytest.raises(InputError, match=r"--raw-dtype .*; expected a type of numbers"):
            RawLayout.of((3,), text, "C", 0)
    np.save("x.npy", VALUES)
    for option in (
        ("--raw-shape", "3"),
        ("--raw-dtype", "u1"),
        ("--raw-offset", "9"),
        ("--raw-order", "F"),
    ):
        told = run("apply", "x.npy", "-k", "random:2x2x2", *option, "-o", "y.npy", code=2).stderr
        assert f"{option[0]} is for raw files" in told


def test_limits_come_first() -> None:
    with Path("x.raw").open("wb") as stream:
        stream.truncate(40 * 2**20)
    with pytest.raises(LimitError, match=r"takes 80\.00 MiB of memory"):
        load("x.raw", raw=RawLayout.of((40, 2**20), "u1", "C", 0), limits=Limits(2**25))
    with pytest.raises(FileError, match=r"takes 9,000,000,000,000 bytes"):
        load("x.raw", raw=RawLayout.of((3_000_000, 3_000_000), "u1", "C", 0))


def test_a_batch_takes_them_from_a_folder_only_where_their_shape_is_told() -> None:
    Path("in").mkdir()
    VALUES.tofile("in/x.raw")
    told = run("batch", "in", "-k", "box", "--dims", "3", "--out", "out", code=2).stderr
    assert "has no file to take" in told
    run(
        "batch",
        "in",
        "-k",
        "box",
        "--dims",
        "3",
        "--out",
        "out",
        "--raw-shape",
        "3x4x5",
        "--raw-dtype",
        "i2",
    )
    assert Path("out/x.raw").stat().st_size == 2 * 1 * 2 * 3
