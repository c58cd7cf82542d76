"""Arrays, text, pipes and targets: round trips, errors for damaged files, existing files kept."""

from __future__ import annotations

import io
import os
import pickle
import stat
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convcli.errors import ConvError, DtypeError, FileError, InputError, OutputError, ShapeError
from convcli.io import Written, all_formats, available, check_target, load, output_buffer, save
from convcli.io.arrays import npy
from convcli.io.arrays.wav import Recording
from convcli.io.codec import PLAIN

NUMBERS = [
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
]
LINUX = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def spread(dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    values = np.random.default_rng(3).standard_normal(shape) * 50
    return values.astype(dtype) if dtype.startswith("f") else np.abs(values).astype(dtype)


# Round trips


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numpy_files_come_back(tmp_path: Path, suffix: str, dtype: str) -> None:
    array = spread(dtype, (2, 3, 4, 5))
    written = save(tmp_path / f"x.{suffix}", array)
    data = load(tmp_path / f"x.{suffix}")
    np.testing.assert_array_equal(data.array, array)
    assert data.array.dtype == array.dtype
    assert (data.kind, data.format, data.mode, data.alpha, data.notes) == (
        "array",
        suffix,
        "",
        False,
        (),
    )
    assert written == Written(
        str(tmp_path / f"x.{suffix}"), suffix, (tmp_path / f"x.{suffix}").stat().st_size
    )


@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt"])
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("shape", [(6,), (3, 4)])
def test_text_comes_back_with_every_digit(
    tmp_path: Path, suffix: str, dtype: str, shape: tuple[int, ...]
) -> None:
    array = spread(dtype, shape)
    save(tmp_path / f"x.{suffix}", array)
    data = load(tmp_path / f"x.{suffix}")
    np.testing.assert_array_equal(data.array, array)
    assert data.array.dtype == (np.float64 if dtype.startswith("f") else np.int64)


def test_text_keeps_the_ends_of_the_number_line(tmp_path: Path) -> None:
    floats = np.array([np.nan, np.inf, -np.inf, 5e-324, 0.1, -0.0, np.finfo(float).max])
    save(tmp_path / "f.csv", floats)
    back = load(tmp_path / "f.csv").array
    np.testing.assert_array_equal(back, floats)
    assert np.signbit(back[5])
    integers = np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max])
    save(tmp_path / "i.csv", integers)
    assert load(tmp_path / "i.csv").array.tolist() == integers.tolist()


def test_an_archive_holds_arrays_by_name(tmp_path: Path) -> None:
    arrays = {"dx": np.ones((2, 3)), "file": np.arange(3)}
    save(tmp_path / "g.npz", arrays)
    for key, array in arrays.items():
        data = load(f"{tmp_path}/g.npz:{key}")
        np.testing.assert_array_equal(data.array, array)
        assert data.name.endswith(f":{key}")
    with np.load(tmp_path / "g.npz") as archive:
        assert sorted(archive.files) == ["dx", "file"]
    with pytest.raises(ShapeError, match=r"npy cannot hold 2 arrays; it holds one; write \.npz"):
        save(tmp_path / "g.npy", arrays)


def test_the_same_archive_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save(tmp_path / name, np.arange(9))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_large_array_is_mapped_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convcli.io.arrays.npy.MAP_ABOVE", 1000)
    save(tmp_path / "x.npy", np.arange(1000))
    mapped = load(tmp_path / "x.npy").array
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable


def test_a_colon_in_a_name_is_a_key_only_after_npz(tmp_path: Path) -> None:
    for name in ("photo:1.npz", "a.npz:b.npy"):
        save(tmp_path / name, np.arange(3))
        assert load(tmp_path / name).array.tolist() == [0, 1, 2]
    assert load(f"{tmp_path}/photo:1.npz:array").array.tolist() == [0, 1, 2]


# Text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("1;2\n3;4", [[1, 2], [3, 4]]),
        ("1\t2\r\n3\t4\r\n", [[1, 2], [3, 4]]),
        ("  1   2\n 3 4 ", [[1, 2], [3, 4]]),
        ("\ufeff1, 2.5\n3, 4", [[1, 2.5], [3, 4]]),
        ("# a comment, with words\n\n1,2 # and more\n3,4", [[1, 2], [3, 4]]),
        ("1\n2\n3", [1, 2, 3]),
        ("1 2 3", [1, 2, 3]),
        ("7", [7]),
        ("1e3,-2", [1000.0, -2.0]),
        ("99999999999999999999", [1e20]),
        ("9223372036854775807,-9223372036854775808", [2**63 - 1, -(2**63)]),
        ("0000000000000000000000001 -2 +3", [1, -2, 3]),
    ],
)
def test_text_is_read_in_every_common_shape(tmp_path: Path, text: str, expected: list[Any]) -> None:
    (tmp_path / "x.csv").write_bytes(text.encode())
    array = load(tmp_path / "x.csv").array
    assert array.tolist() == expected
    assert array.dtype == (
        np.int64 if all(type(v) is int for v in np.ravel(expected).tolist()) else np.float64
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1,2\n# note\n3,4,5\n",
            r"x\.csv has 3 values on line 3; expected 2, as on line 1; make the rows",
        ),
        ("1,2\n3\n", "has 1 value on line 2; expected 2"),
        (
            "time,volt\n1,2\n",
            "begins with words on line 1, 'time,volt'; expected numbers; remove the header, or",
        ),
        ("1,2\n3,four\n", "has 'four' on line 2; expected a number"),
        ("1,2,\n3,4,\n", "has an empty value on line 1; expected a number"),
        ("1,5;2,5\n", "begins with words on line 1|has '1,5' on line 1"),
        ("1,2\n3,1_000\n", "has '1_000' on line 2"),
        ("0x10,3\n", "has '0x10' on line 1"),
        ("1,99999999999999999999\n3\n", "has 1 value on line 2"),
        ("1,99999999999999999999-\n", "has '99999999999999999999-' on line 1"),
        ("1,\u0662.5\n", "cannot be read as numbers; expected plain decimal ones"),
        ("1+2j,3\n", r"has '1\+2j' on line 1"),
        ("# nothing\n\n", "holds no numbers"),
    ],
)
def test_bad_text_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(FileError, match=message):
        load(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("separator", "end"), [(",", "\n"), (";", "\r\n"), (" ", "\r"), ("  \t ", "\n")]
)
@pytest.mark.parametrize("shape", [(3, 70_000), (5000, 3), (1, 100_000), (50_000, 1)])
def test_long_texts_are_parsed_in_parts(
    tmp_path: Path, shape: tuple[int, int], separator: str, end: str
) -> None:
    numbers = np.random.default_rng(0).integers(-(10**6), 10**6, shape)
    text = end.join(separator.join(map(str, row)) for row in numbers.tolist())
    (tmp_path / "x.csv").write_bytes(b"# words" + end.encode() + text.encode())
    expected = numbers.reshape(-1) if 1 in shape else numbers
    np.testing.assert_array_equal(load(tmp_path / "x.csv").array, expected, strict=True)
    (tmp_path / "x.csv").write_bytes(text.encode() + b".5")
    found = load(tmp_path / "x.csv").array
    assert found.dtype == np.float64
    assert np.count_nonzero(found != expected) == 1


def test_a_mistake_far_down_a_long_text_is_named(tmp_path: Path) -> None:
    lines = ["1,2,3"] * 5000
    for at, wrong, message in (
        (4999, "1,2", "has 2 values on line 5000; expected 3, as on line 1"),
        (4000, "1,x,3", "has 'x' on line 4001"),
        (4000, "1,,3", "has an empty value on line 4001"),
        (3000, "1,2,3\n4,5,6,7", "has 4 values on line 3002"),
    ):
        (tmp_path / "x.csv").write_text("\n".join([*lines[:at], wrong, *lines[at + 1 :]]))
        with pytest.raises(FileError, match=message):
            load(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("1," * 200_000 + "2,x")
    with pytest.raises(FileError, match="has 'x' on line 1"):
        load(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("1," + " " * 200_000 + ",2")
    with pytest.raises(FileError, match="has an empty value on line 1"):
        load(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_bytes(b"1,2\n" * 100_000 + b"1,\xff\n")
    with pytest.raises(FileError, match="is not UTF-8 text; byte 400002 is 0xff"):
        load(tmp_path / "x.csv")


def test_one_wide_integer_far_down_makes_all_of_them_floats(tmp_path: Path) -> None:
    rows = ["9223372036854775807"] * 5000
    (tmp_path / "x.csv").write_text("\n".join(rows))
    assert load(tmp_path / "x.csv").array.dtype == np.int64
    (tmp_path / "x.csv").write_text("\n".join([*rows, "9223372036854775808"]))
    assert load(tmp_path / "x.csv").array.dtype == np.float64


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"1,2\n" * 400 + b"\xff\n")
    with pytest.raises(FileError, match="is not UTF-8 text; byte 1600 is 0xff"):
        load(tmp_path / "x.csv")


# What cannot be read


def npy_bytes(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


FILES: dict[str, tuple[bytes, type[ConvError], str]] = {
    "empty.png": (b"", FileError, r"empty\.png is empty"),
    "text.png": (
        b"1,2,3\n",
        FileError,
        r"is no png file; it looks like text; rename it, or use --input-format csv",
    ),
    "image.npy": (
        b"\x89PNG\r\n\x1a\n",
        FileError,
        "is no npy file; it looks like a PNG image; .* --input-format png",
    ),
    "array.png": (npy_bytes(np.eye(2)), FileError, r"is no png file; it looks like a \.npy array"),
    "gzip.csv": (b"\x1f\x8b\x08", FileError, "is no csv file; it looks like gzip-compressed data"),
    "unknown.xyz": (
        b"\x00\x01",
        FileError,
        r"no suffix that is read and begins with the bytes 00 01, as no known",
    ),
    "near.pgn": (b"1,2", FileError, r"did you mean '\.p.*'"),
    "short.npy": (
        npy_bytes(np.eye(50))[:-8],
        FileError,
        "is truncated; its header declares 20,000 bytes .* 19,992",
    ),
    "header.npy": (
        npy_bytes(np.eye(2))[:40],
        FileError,
        r"header\.npy is damaged; expected a \.npy header",
    ),
    "version.npy": (b"\x93NUMPY\x09\x00" + bytes(80), FileError, "is damaged"),
    "huge.npy": (
        npy_bytes(np.eye(2)).replace(b"(2, 2), }          ", b"(999999999, 999), }"),
        FileError,
        "is truncated; its header declares 7,991,999,992,008 bytes",
    ),
    "objects.npy": (
        npy_bytes(np.array([1, None])),
        DtypeError,
        "holds Python objects; expected real numbers",
    ),
    "complex.npy": (
        npy_bytes(np.array([1j])),
        DtypeError,
        r"holds complex numbers \(complex128\).*separately",
    ),
    "strings.npy": (npy_bytes(np.array(["a"])), DtypeError, "holds <U1 values"),
    "dates.npy": (npy_bytes(np.array(["2020"], "M8[Y]")), DtypeError, "datetime64"),
    "records.npy": (npy_bytes(np.zeros(2, "i4,f4")), DtypeError, "expected real numbers"),
    "none.npy": (npy_bytes(np.zeros((0, 3))), FileError, "has shape 0x3, without a value"),
    "scalar.npy": (npy_bytes(np.array(3.0)), FileError, "is a single number without an axis"),
    "damaged.npz": (
        b"PK\x03\x04" + bytes(90),
        FileError,
        r"damaged\.npz is damaged; expected a whole \.npz",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_what_cannot_be_read_is_named_on_one_line(tmp_path: Path, name: str) -> None:
    content, error, message = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_file_gets_the_nearest_name(tmp_path: Path) -> None:
    save(tmp_path / "signal.csv", np.arange(3))
    with pytest.raises(
        FileError, match=r"signl\.csv does not exist; did you mean '.*signal\.csv'\?"
    ):
        load(tmp_path / "signl.csv")
    (tmp_path / "dangling.csv").symlink_to("gone.csv")
    with pytest.raises(FileError, match=r"dangling\.csv is a broken symbolic link; expected"):
        load(tmp_path / "dangling.csv")
    with pytest.raises(FileError, match=r"does not exist; there is no folder .*nowhere"):
        load(tmp_path / "nowhere" / "signal.csv")
    with pytest.raises(FileError, match="is a folder; expected a file"):
        load(tmp_path)
    with pytest.raises(FileError, match="cannot be read; Not a directory"):
        load(tmp_path / "signal.csv" / "x.csv")


def test_a_file_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileError, match=r"x\.png cannot be read; Permission denied"):
        load(tmp_path / "x.png")


def test_an_archive_of_several_arrays_wants_a_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", conv1=np.eye(2), conv2=np.eye(3))
    with pytest.raises(
        FileError, match=r"w\.npz holds 2 arrays; expected one of conv1, conv2; use .*w\.npz:conv1"
    ):
        load(tmp_path / "w.npz")
    with pytest.raises(
        FileError, match=r"holds no array 'conv3'; it holds conv1, conv2; did you mean 'conv[12]'\?"
    ):
        load(f"{tmp_path}/w.npz:conv3")
    with zipfile.ZipFile(tmp_path / "e.npz", "w"):
        pass
    with pytest.raises(FileError, match=r"e\.npz holds no array"):
        load(tmp_path / "e.npz")


def test_a_compressed_archive_is_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "c.npz", np.arange(5))
    assert load(tmp_path / "c.npz").array.tolist() == [0, 1, 2, 3, 4]


class Payload:
    """An object whose unpickling fails the test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import os; os.environ['CONVCLI_TEST_UNPICKLED'] = '1'",)


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "png"])
@pytest.mark.parametrize("raw", [False, True])
def test_nothing_is_ever_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, raw: bool
) -> None:
    monkeypatch.delenv("CONVCLI_TEST_UNPICKLED", raising=False)
    array = np.array([Payload()], dtype=object)
    path = tmp_path / f"x.{suffix}"
    if raw:
        path.write_bytes(pickle.dumps(array))
    elif suffix == "npz":
        np.savez(path, array)
    else:
        path.write_bytes(npy_bytes(array))
    with pytest.raises(InputError):
        load(path)
    assert "CONVCLI_TEST_UNPICKLED" not in os.environ


# Pipes


def piped(monkeypatch: pytest.MonkeyPatch, stream: str, content: bytes = b"") -> io.BytesIO:
    buffer = io.BytesIO(content)
    monkeypatch.setattr(sys, stream, SimpleNamespace(buffer=buffer, isatty=lambda: False))
    return buffer


WRITABLE = [
    form.name for form in all_formats() if form.writable and available(form) and not form.store
]
HEADERS = {"wav": Recording(8000, "DOUBLE")}


@pytest.mark.parametrize("name", [name for name in WRITABLE if name != "raw"])
def test_a_pipe_carries_every_format(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    stdout = piped(monkeypatch, "stdout")
    form = next(form for form in all_formats() if form.name == name)
    dtype = next(iter(form.channels), "float64")
    array = np.ones((4, 5, 3) if name == "ppm" else (4, 5), dtype)
    written = save("-", array, format=name, header=HEADERS.get(name))
    assert written == Written("-", name, len(stdout.getvalue()))
    piped(monkeypatch, "stdin", stdout.getvalue())
    data = load("-")
    assert (data.name, data.array.shape[:2]) == ("-", (4, 5))
    assert data.format == ("csv" if form.separator else name)
    piped(monkeypatch, "stdin", stdout.getvalue())
    assert load("-", format=name).format == name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "standard input is empty"),
        (b"%PDF-1.7", "input has no suffix that is read and looks like a PDF.* with pdftoppm"),
        (b"\x00\x01", "no suffix that is read and begins with the bytes 00 01, .* --input-format"),
        (b"hello, world", "standard input begins with words on line 1"),
    ],
)
def test_a_pipe_that_carries_nothing_useful_is_named(
    monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    piped(monkeypatch, "stdin", content)
    with pytest.raises(FileError, match=message):
        load("-")


def test_a_named_pipe_is_read_like_standard_input() -> None:
    reading, writing_end = os.pipe()
    with os.fdopen(writing_end, "wb") as stream:
        stream.write(b"1,2\n3,4\n")
    try:
        assert load(f"/dev/fd/{reading}").array.tolist() == [[1, 2], [3, 4]]
    finally:
        os.close(reading)


def test_standard_output_wants_a_format(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = piped(monkeypatch, "stdout")
    with pytest.raises(
        FileError, match="standard output has no suffix; expected a format; name it with --format"
    ):
        save("-", np.eye(2))
    assert check_target("-") is None
    target = check_target("-", format=".JPEG")
    assert target is not None
    assert target.form.name == "jpg"
    assert stdout.getvalue() == b""


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (BrokenPipeError(32, "Broken pipe"), BrokenPipeError),
        (OSError(28, "No space left on device"), OutputError),
    ],
)
def test_a_closed_pipe_passes_and_a_full_one_is_named(
    monkeypatch: pytest.MonkeyPatch, error: OSError, raised: type[Exception]
) -> None:
    def fail(_: Any) -> None:
        raise error

    monkeypatch.setattr(
        sys, "stdout", SimpleNamespace(buffer=SimpleNamespace(write=fail), isatty=lambda: False)
    )
    with pytest.raises(raised):
        save("-", np.eye(2), format="npy")


# Places


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "x.npy"
    path.write_bytes(b"old")
    return path


def test_a_file_is_replaced_only_when_told(old: Path) -> None:
    for attempt in (lambda: save(old, np.eye(2)), lambda: check_target(old)):
        with pytest.raises(
            FileError, match=r"x\.npy exists; expected a new file; pass --overwrite"
        ):
            attempt()
    assert old.read_bytes() == b"old"
    target = check_target(old, overwrite=True)
    assert target is not None
    assert (target.form.name, target.overwrite) == ("npy", True)
    save(old, np.eye(2), overwrite=True)
    assert load(old).array.tolist() == np.eye(2).tolist()


def test_a_file_made_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.npy"
    monkeypatch.setattr(npy.Npy, "write", lambda *_: target.write_bytes(b"other"))
    with pytest.raises(FileError, match="exists"):
        save(target, np.eye(2))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"other"]


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    save(tmp_path / "x.npy", np.eye(2))
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("encoder"), MemoryError()])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failing_encoder_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, overwrite: bool
) -> None:
    def fail(codec: Any, stream: Any, *_: Any) -> None:
        stream.write(b"half")
        raise error

    monkeypatch.setattr(npy.Npy, "write", fail)
    target = tmp_path / "x.npy"
    if overwrite:
        target.write_bytes(b"old")
    with pytest.raises(type(error)):
        save(target, np.eye(2), overwrite=overwrite)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"] * overwrite


def test_a_full_disk_is_named_and_leaves_the_old_file(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(npy.Npy, "write", fail)
    with pytest.raises(OutputError, match=r"x\.npy cannot be written; No space left on device"):
        save(old, np.eye(2), overwrite=True)
    assert [path.read_bytes() for path in old.parent.iterdir()] == [b"old"]


@LINUX
def test_a_device_is_written_to_and_never_replaced() -> None:
    with pytest.raises(OutputError, match="/dev/full cannot be written; No space left on device"):
        save("/dev/full", np.eye(2), format="npy")
    save("/dev/null", np.eye(2), format="npy")
    assert all(stat.S_ISCHR(Path(device).stat().st_mode) for device in ("/dev/full", "/dev/null"))


def test_a_symbolic_link_keeps_pointing(tmp_path: Path, old: Path) -> None:
    link, dangling = tmp_path / "link.npy", tmp_path / "dangling.npy"
    link.symlink_to(old)
    dangling.symlink_to(tmp_path / "new.npy")
    with pytest.raises(FileError, match=r"link\.npy exists"):
        save(link, np.eye(2))
    save(link, np.eye(2), overwrite=True)
    save(dangling, np.eye(2))
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert old.read_bytes() == (tmp_path / "new.npy").read_bytes() != b"old"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save(tmp_path / "x.npy", np.eye(2))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.npy").stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_file_that_is_replaced_keeps_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, mapped: bool
) -> None:
    monkeypatch.setattr("convcli.io.writing.MAP_ABOVE", 0 if mapped else 1 << 30)
    target = tmp_path / "x.npy"
    target.touch()
    target.chmod(mode)
    before = os.umask(0o022)
    try:
        with output_buffer(
            check_target(target, overwrite=True), (3, 3), np.dtype(np.float64)
        ) as buffer:
            buffer.array[...] = np.eye(3)
            buffer.publish(PLAIN)
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == mode
    np.testing.assert_array_equal(load(target).array, np.eye(3))


@pytest.mark.parametrize("name", WRITABLE)
def test_only_the_target_is_left(tmp_path: Path, name: str) -> None:
    form = next(form for form in all_formats() if form.name == name)
    array = np.ones((4, 5, 3) if name == "ppm" else (4, 5), next(iter(form.channels), "float64"))
    save(tmp_path / f"x.{name}", array, header=HEADERS.get(name))
    assert [path.name for path in tmp_path.iterdir()] == [f"x.{name}"]


@pytest.mark.parametrize(
    ("target", "format", "error", "message"),
    [
        (
            "x.pgn",
            None,
            FileError,
            r"x\.pgn ends in '\.pgn'; expected the suffix of a format, .*; did you mean '\.p.*'\?",
        ),
        ("x", None, FileError, "x has no suffix; expected one of"),
        ("x.jp2", None, FileError, "jp2 is read but not written"),
        (
            "x.png",
            "pngg",
            FileError,
            "unknown format 'pngg'; expected one of png.*; did you mean 'png'",
        ),
        (
            "nowhere/x.png",
            None,
            FileError,
            "cannot be written; .*nowhere is not a folder; create it first",
        ),
        ("file/x.png", None, FileError, "cannot be written; .* is not a folder"),
        ("folder.png", None, FileError, r"folder\.png is a folder; expected a file name"),
        ("x" * 300 + ".png", None, OutputError, "cannot be written; File name too long"),
    ],
)
def test_a_target_is_refused_before_any_work(
    tmp_path: Path, target: str, format: str | None, error: type[ConvError], message: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    for attempt in (
        lambda: check_target(tmp_path / target, format=format),
        lambda: save(tmp_path / target, np.zeros((2, 2), np.uint8), format=format),
    ):
        with pytest.raises(error, match=message):
            attempt()


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match=r"x\.png cannot be written; no permission to write in"):
        check_target(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("name", "array", "error", "message"),
    [
        (
            "csv",
            np.zeros((2, 2, 2)),
            ShapeError,
            r"csv cannot hold 3 axes, 2x2x2; it holds 1 to 2; write \.npy",
        ),
        ("csv", np.zeros(2, complex), DtypeError, "csv cannot hold complex128"),
        ("npy", np.array([None]), DtypeError, "npy cannot hold object; it holds real numbers"),
        ("npy", np.array(["a"]), DtypeError, "npy cannot hold <U1"),
        ("npy", np.zeros((0, 2)), ShapeError, "0x2 has no values"),
        ("npy", np.array(1.0), ShapeError, "npy cannot hold 0 axes"),
    ],
)
def test_arrays_that_cannot_be_written(
    tmp_path: Path, name: str, array: NDArray[Any], error: type[ConvError], message: str
) -> None:
    with pytest.raises(error, match=message):
        save(tmp_path / f"x.{name}", array)
    assert list(tmp_path.iterdir()) == []
