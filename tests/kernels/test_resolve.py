"""Test kernels as text and in files, read and written, and the errors for invalid ones."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convcli.errors import ConvError, FileError, KernelError, LimitError
from convcli.kernels import SUFFIX_FORMS, Kernel, kernel, names, render

SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
SHARPEN_TEXTS = [
    "0,-1,0; -1,5,-1; 0,-1,0",
    "0 -1 0;-1 5 -1;0 -1 0",
    "0, -1, 0\n-1, 5, -1\n0, -1, 0\n",
    "0,-1,0 ;\n -1,5,-1 ;\n 0,-1,0 ;",
    "[[0, -1, 0], [-1, 5, -1], [0, -1, 0]]",
    "3x3: 0,-1,0 -1,5,-1 0,-1,0",
    "3x3+1+1: 0,-1,0  -1,5,-1  0,-1,0",
    "3: 0,-1,0,-1,5,-1,0,-1,0",
]


@pytest.mark.parametrize("text", SHARPEN_TEXTS)
def test_forms_of_one_kernel(text: str) -> None:
    np.testing.assert_array_equal(kernel(text).taps, SHARPEN)


@pytest.mark.parametrize(
    ("text", "taps"),
    [
        ("1,0,-1", [1, 0, -1]),
        ("-1", [-1]),
        ("1;2;1", [[1], [2], [1]]),
        ("1,2,1;", [[1, 2, 1]]),
        ("0, 0.0e-999, 9007199254740994", [0, 0, 9007199254740994]),
        ("1/9, -1/4, .5, 1e-3, +2.", [1 / 9, -1 / 4, 0.5, 0.001, 2]),
        ("[[[1, 2]], [[3, 4]]]", [[[1, 2]], [[3, 4]]]),
        ("3x1: 1 2 3", [[1, 2, 3]]),
        ("2x2+0+0: 1 2 3 4", [[1, 2], [3, 4]]),
    ],
)
def test_literals(text: str, taps: list[object]) -> None:
    np.testing.assert_array_equal(kernel(text).taps, taps)


def test_a_literal_keeps_its_text_as_its_name() -> None:
    assert kernel("1, 2\n3, 4").name == "1, 2 3, 4"
    assert kernel(";".join(["1,2,3,4,5"] * 9)).name == "9x5 taps"


def test_arrays_and_lists() -> None:
    given_array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    made = kernel(given_array)
    np.testing.assert_array_equal(made.taps, given_array)
    given_array[0, 0] = 9
    assert made.taps[0, 0] == 0
    np.testing.assert_array_equal(kernel([[1, 2], (3, np.float32(4))]).taps, [[1, 2], [3, 4]])
    assert kernel([1, 2, 1]).rank == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty kernel"),
        ("  ", "an empty kernel"),
        ("[]", "an empty kernel"),
        ("[[]]", "kernel row 1 is empty"),
        ("1,2,3; 4,5", "kernel row 2 has 2 entries, row 1 has 3 entries; expected equal rows"),
        ("[1, [2]]", "kernel row 2 has 1 entry, row 1 is a number; expected equal rows"),
        ("1e-400", "kernel entry '1e-400' in row 1 is too small: float64 holds it as 0"),
        ("1e-200/1e200", "is too small: float64 holds it as 0"),
        ("[1, 1e-400]", "a number is too small: float64 holds it as 0"),
        (
            "9007199254740993",
            "kernel entry '9007199254740993' in row 1 is beyond 2**53, and no float64",
        ),
        ("[9007199254740993]", "a number is beyond 2**53, and no float64"),
        ("0x1: ", "a 0x1 kernel with 0 entries; expected sizes of 1 or more"),
        ("1 /3,1", "kernel entry '/3' in row 1 is not a number"),
        ("1/ 3", "kernel entry '1/' in row 1 is not a number"),
        ("[[1, 2, 3], [4]]", "kernel row 2 has 1 entry, row 1 has 3 entries"),
        ("[[[1, 2]], [[3]]]", "kernel row 2 has 1x1 entries, row 1 has 1x2 entries"),
        ("[[[1], [2, 3]]]", "kernel row 1,2 has 2 entries, row 1,1 has 1 entry"),
        ("1,nan,3", "kernel entry 'nan' in row 1 is not finite"),
        ("1,2;-inf,3", "kernel entry '-inf' in row 2 is not finite"),
        ("1e999", "kernel entry '1e999' in row 1 is too large"),
        ("1/0", "kernel entry '1/0' in row 1 divides by zero"),
        ("1,x,3", "kernel entry 'x' in row 1 is not a number"),
        ("1,,3", "kernel entry '' in row 1 is missing"),
        ("1,2;;3,4", "kernel row 2 is empty"),
        ("[1, NaN]", "a kernel with nan or inf among its taps"),
        (f"[1, {10**400}]", "a kernel with nan or inf among its taps"),
        ("[1, true]", "kernel entry true at 2; expected a number"),
        ('[[1, "2"]]', 'kernel entry "2" at 1,2; expected a number'),
        ("[1, null]", "kernel entry null at 2"),
        ("[1, 2", "a kernel in JSON that cannot be read"),
        ("[" * 100_000, "a kernel in JSON that cannot be read"),
        ("3x3: 1 2 3", "a 3x3 kernel with 3 entries; expected 9"),
        ("0x3: ", "a 0x3 kernel with 0 entries"),
        (
            "3x3+0+0: 1 1 1 1 1 1 1 1 1",
            "an ImageMagick kernel with the origin +0+0; expected the centre, +1+1",
        ),
        ("3x1: 1 - 1", "an ImageMagick kernel with '-' or nan entries"),
        ("3x1: 1 nan 1", "an ImageMagick kernel with '-' or nan entries"),
        ("3x1>: 1 2 1", "an ImageMagick kernel to be rotated ('>')"),
        ("3x1: 1 2 1; 3x1: 1 2 1", "kernel entry '1;' in an entry"),
    ],
)
def test_mistakes_in_a_literal_are_named(text: str, message: str) -> None:
    with pytest.raises(KernelError) as caught:
        kernel(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.array([1j]),
            "kernel taps of type complex128; expected real numbers; "
            "give the real and the imaginary",
        ),
        (np.array(["a"]), "kernel taps of type <U1"),
        (np.array([None]), "kernel taps of type object"),
        (np.array(3.0), "an empty kernel of shape ()"),
        (np.zeros((3, 0)), "an empty kernel of shape (3, 0)"),
        (np.array([1, np.inf]), "a kernel with nan or inf among its taps"),
        (np.array([2**53 + 1]), "kernel taps beyond 2**53"),
        ([[1, 2], [3]], "kernel row 2 has 1 entry"),
        ([1, "a"], 'kernel entry "a" at 2'),
        (None, "kernel taps of type object"),
        (5, "an empty kernel of shape ()"),
    ],
)
def test_what_is_no_kernel_is_refused(value: object, message: str) -> None:
    with pytest.raises(KernelError) as caught:
        kernel(value)
    assert message in str(caught.value)


FILES = {
    "k.csv": "0,-1,0\n-1,5,-1\n0,-1,0\n",
    "bom.csv": "\ufeff0,-1,0\r\n-1,5,-1\r\n0,-1,0\r\n",
    "k.txt": "# a comment\n0 -1 0\n-1 5 -1  # and another\n0 -1 0\n",
    "im.txt": "3x3:\n 0,-1,0\n -1,5,-1\n 0,-1,0\n",
    "vips.txt": "3 3 2 0\n0 -2 0\n-2 10 -2\n0 -2 0\n",
    "json.txt": "[[0, -1, 0], [-1, 5, -1], [0, -1, 0]]",
    "k.json": "[[0, -1, 0], [-1, 5, -1], [0, -1, 0]]",
    "k.mat": "3 3 0.5\n0 -0.5 0\n-0.5 2.5 -0.5\n0 -0.5 0\n",
    "bare.mat": "3 3\n0 -1 0\n-1 5 -1\n0 -1 0",
    "no_suffix": "0,-1,0; -1,5,-1; 0,-1,0",
    "UPPER.CSV": "0,-1,0\n-1,5,-1\n0,-1,0\n",
}


@pytest.mark.parametrize("name", FILES)
def test_text_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name].encode())
    for reference in (path, str(path)):
        made = kernel(reference)
        np.testing.assert_array_equal(made.taps, SHARPEN)
        assert made.name == str(path)


def test_rows_that_a_size_could_head_are_read_as_rows(tmp_path: Path) -> None:
    path = tmp_path / "k.txt"
    path.write_text("3 2 1\n1 2 3\n4 5 6\n")
    assert kernel(path).shape == (3, 3)


def test_array_files(tmp_path: Path) -> None:
    taps = np.arange(24.0).reshape(2, 3, 4)
    np.save(tmp_path / "k.npy", np.asfortranarray(taps.astype(">f4")))
    np.savez(tmp_path / "one.npz", taps)
    np.savez_compressed(tmp_path / "two.npz", conv1=taps, conv2=taps + 1)
    for name, expected in (
        ("k.npy", taps),
        ("one.npz", taps),
        ("two.npz:conv1", taps),
        ("two.npz:conv2", taps + 1),
    ):
        np.testing.assert_array_equal(kernel(f"{tmp_path}/{name}").taps, expected)
    for name, message in (
        ("two.npz", "an archive of 2 arrays; expected one of conv1, conv2; write FILE.npz:KEY"),
        ("two.npz:conv3", "no array 'conv3'; expected one of conv1, conv2; did you mean 'conv"),
    ):
        with pytest.raises(KernelError) as caught:
            kernel(f"{tmp_path}/{name}")
        assert message in str(caught.value)


def test_a_name_wins_over_a_file_and_a_path_over_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("box").write_text("1 2 3")
    assert kernel("box").shape == (3, 3)
    assert kernel("./box").shape == (3,)
    Path("1,5 rows.csv").write_text("1,2")
    assert kernel("1,5 rows.csv").shape == (2,)


BAD_FILES: list[tuple[str, bytes, type[ConvError], str]] = [
    ("empty.npy", b"", FileError, "is empty"),
    ("empty.csv", b"", FileError, "is empty"),
    ("blank.txt", b" \n", FileError, "is empty"),
    (
        "k.png",
        b"\x89PNG",
        FileError,
        "of an unknown kind; expected .npy, .npz, .csv, .txt, .json, .mat",
    ),
    ("bad.npy", b"not an array", FileError, "damaged"),
    ("bad.npz", b"not an archive", FileError, "damaged"),
    ("latin.csv", b"1,2,\xff", KernelError, "not text"),
    ("ragged.csv", b"1,2,3\n1,2\n", KernelError, "kernel row 2 has 2 entries, row 1 has 3 entries"),
    ("word.csv", b"a,b\n1,2\n", KernelError, "kernel entry 'a' in row 1 is not a number"),
    ("object.json", b'{"taps": [1]}', KernelError, "not a list"),
    ("matlab.mat", b"MATLAB 5.0 MAT-file", KernelError, "kernel entry 'MATLAB' in row 1"),
    (
        "text.mat",
        b"1.5 2\n1 2",
        KernelError,
        "expected a first line of width height [scale [offset]]",
    ),
    (
        "offset.mat",
        b"2 1 1 128\n1 2",
        KernelError,
        "with the offset 128; expected 0; write 0 and add --bias 128",
    ),
    ("scale.mat", b"2 1 0\n1 2", KernelError, "with the scale 0"),
    ("short.mat", b"2 2\n1 2", KernelError, "a 2x2 kernel with 2 entries; expected 4"),
    ("huge.mat", b"99999 99999\n1 2", LimitError, "expected at most 10000000 taps"),
]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"), BAD_FILES, ids=[row[0] for row in BAD_FILES]
)
def test_files_that_hold_no_kernel(
    tmp_path: Path, name: str, content: bytes, error: type[ConvError], message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error) as caught:
        kernel(path)
    assert type(caught.value) is error
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_that_are_no_kernel(tmp_path: Path) -> None:
    path = tmp_path / "k.npy"
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(KernelError, match="an array of Python objects"):
        kernel(path)
    np.save(path, np.array([1j]))
    with pytest.raises(KernelError, match="type complex128"):
        kernel(path)
    np.save(path, np.ones(100))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FileError, match="damaged"):
        kernel(path)


def test_a_header_that_promises_too_much_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "k.npy"
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)}
        )
    with pytest.raises(LimitError, match="expected at most 10000000 taps"):
        kernel(path)


def test_missing_files_name_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "sharpen.csv").write_text("1")
    with pytest.raises(FileError) as caught:
        kernel(f"{tmp_path}/sharpn.csv")
    missing_file = f"kernel file '{tmp_path}/sharpn.csv' does not exist"
    assert str(caught.value) == f"{missing_file}; did you mean '{tmp_path}/sharpen.csv'?"
    for missing in (
        tmp_path / "absent.npy",
        f"{tmp_path}/absent.npz:key",
        f"{tmp_path}/no/such",
        "absent.dat",
    ):
        with pytest.raises(FileError, match="does not exist"):
            kernel(missing)
    with pytest.raises(FileError, match="is a directory"):
        kernel(tmp_path)
    with pytest.raises(FileError, match="does not exist"):
        kernel("/" + "a" * 5000)
    with pytest.raises(ConvError):
        kernel("a\0b/c")


@pytest.mark.parametrize("suffix", SUFFIX_FORMS)
@pytest.mark.parametrize(
    "name", [name for name in names() if not name.endswith("-z") and name != "random"]
)
def test_exports_are_read_back_tap_for_tap(tmp_path: Path, name: str, suffix: str) -> None:
    made, path = kernel(name), tmp_path / f"k{suffix}"
    if len(made.taps) == 1 and suffix in (".csv", ".txt"):
        with pytest.raises(KernelError, match="a single one is read back as one axis"):
            render(made, SUFFIX_FORMS[suffix])
        return
    if made.taps.ndim == 1 and SUFFIX_FORMS[suffix] == "vips":
        with pytest.raises(KernelError, match="expected two axes"):
            render(made, SUFFIX_FORMS[suffix])
        return
    path.write_text(render(made, SUFFIX_FORMS[suffix]))
    np.testing.assert_array_equal(kernel(path).taps, made.taps)


@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=4),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_any_plane_survives_imagemagick_vips_and_json(taps: np.ndarray) -> None:
    made = Kernel.of_taps("k", taps)
    np.testing.assert_array_equal(kernel(render(made, "imagemagick")).taps, taps)
    np.testing.assert_array_equal(kernel(render(made, "json")).taps, taps)


def test_exports_of_other_dimensions() -> None:
    line, volume = kernel("1,-2.5,1"), kernel("sobel-z")
    assert render(line, "csv") == "1,-2.5,1\n"
    assert render(line, "json") == "[1, -2.5, 1]\n"
    assert render(kernel("2/3;1"), "vips") == "1 2 1 0\n0.6666666666666666\n1\n"
    np.testing.assert_array_equal(kernel(render(volume, "json")).taps, volume.taps)
    for made, form in (
        (line, "vips"),
        (line, "imagemagick"),
        (volume, "csv"),
        (volume, "txt"),
        (volume, "vips"),
    ):
        with pytest.raises(KernelError, match=r"write \.json or \.npy instead"):
            render(made, form)  # type: ignore[arg-type]


@given(st.text(max_size=30) | st.text(alphabet="0123456789.,;:x-+/ e[]\nnaif=", max_size=20))
def test_any_text_is_a_kernel_or_a_named_mistake(text: str) -> None:
    with contextlib.suppress(ConvError):
        assert np.isfinite(kernel(text).taps).all()
