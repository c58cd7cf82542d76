"""A format is one row and one codec: a toy format is read, written, listed and used by commands.

The toy is the one that the guide's page on plugins shows, built as a wheel and installed into a
folder of its own.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from command import run
from numpy.typing import NDArray

from convcli.errors import FileError, FormatError, KernelError
from convcli.io import (
    PLAIN,
    Codec,
    Data,
    Format,
    ReadRequest,
    WriteRequest,
    all_formats,
    load,
    lookup,
    save,
)
from convcli.io import formats as table
from convcli.io.codec import codec_of
from convcli.io.images.codec import ImageCodec
from convcli.kernels import KernelFamily, bank

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "convcli" / "guide" / "plugins.md").read_text(encoding="utf-8")
X = np.arange(20, dtype=np.float32).reshape(4, 5)


# In this process: one class, and one row.


class Toy(Codec):
    """A codec of files that have a line of sizes, then bytes."""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        sizes = [int(size) for size in stream.readline().split()[1:]]
        return self.make_data(np.frombuffer(stream.read(), np.uint8).reshape(sizes), request)

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        stream.write(f"TOY {' '.join(map(str, array.shape))}\n".encode() + array.tobytes())

    def holds(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> str:
        return super().holds(dtype, shape, request) or (
            "toy holds no odd rows; pad them" if shape[-1] % 2 else ""
        )


class Tiles(ImageCodec):
    """A codec of files that have height, width and channels in a byte each, then samples."""

    def read(self, stream: BinaryIO, request: ReadRequest) -> Data:
        height, width, channels = stream.read(3)
        request.limits.check_pixels(request.name, width, height)
        return self.make_data(
            np.frombuffer(stream.read(), np.uint8).reshape(height, width, channels), request
        )

    def write(self, stream: BinaryIO, array: NDArray[Any], request: WriteRequest) -> None:
        stream.write(bytes((*array.shape, 1)[:3]) + array.tobytes())


PICTURE = Format(
    "tiles", (".tiles",), "test_registry:Tiles", "image", channels={"uint8": (1, 3)}, max_side=255
)
ROW = Format(
    "toy",
    (".toy", ".toy.gz"),
    "test_registry:Toy",
    signatures={rb"TOY ": "a toy"},
    dtypes=("uint8",),
)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Provide entry points of this module's row, and of three that cannot be used."""
    monkeypatch.setitem(sys.modules, "test_registry", sys.modules[__name__])
    points = [
        EntryPoint("broken", "no_such_module:FORMAT", "convcli.formats"),
        EntryPoint("picture", "test_registry:PICTURE", "convcli.formats"),
        EntryPoint("toy", "test_registry:ROW", "convcli.formats"),
        EntryPoint("wrong", "test_registry:X", "convcli.formats"),
        EntryPoint("zpng", "test_registry:TAKEN", "convcli.formats"),
    ]
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group: [point for point in points if point.group == group],
    )
    table.plugin_formats.cache_clear()
    yield
    table.plugin_formats.cache_clear()


TAKEN = Format("mine", (".png",), "test_registry:Toy")


@pytest.mark.usefixtures("registered")
class TestOneRow:
    def test_it_is_read_and_written(self, in_tmp: Path) -> None:
        values = np.arange(6, dtype=np.uint8).reshape(1, 3, 2)
        assert save("x.toy", values).format == "toy"
        assert Path("x.toy").read_bytes() == b"TOY 1 3 2\n" + bytes(range(6))
        Path("x.bin.toy.GZ").write_bytes(Path("x.toy").read_bytes())
        for name in ("x.toy", "x.bin.toy.GZ"):
            data = load(name)
            np.testing.assert_array_equal(data.array, values)
            assert (data.format, data.kind) == ("toy", "array")

    def test_content_shows_it_where_the_name_does_not(self, in_tmp: Path) -> None:
        Path("x").write_bytes(b"TOY 3\nabc")
        assert load("x").format == "toy"
        Path("x.csv").write_bytes(b"TOY 3\n\0\0\0")
        with pytest.raises(
            FileError, match=r"x\.csv is no csv file; it looks like a toy; .* --input-format toy"
        ):
            load("x.csv")
        Path("y.toy").write_bytes(b"%PDF")
        with pytest.raises(FileError, match=r"y\.toy is no toy file; it looks like a PDF document"):
            load("y.toy")

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (np.zeros((2, 3), np.uint8), r"^toy holds no odd rows; pad them$"),
            (
                np.zeros((2, 2)),
                r"^toy cannot hold float64; it holds uint8 in up to 64 axes; use --dtype uint8, or",
            ),
        ],
    )
    def test_what_it_does_not_hold_is_refused(
        self, in_tmp: Path, values: NDArray[Any], message: str
    ) -> None:
        with pytest.raises(FormatError, match=message):
            save("x.toy", values)
        np.save("x.npy", values)
        words = [
            "apply",
            "x.npy",
            "-k",
            "1",
            "--padding",
            "same",
            "-o",
            "y.toy",
            "--dtype",
            str(values.dtype),
        ]
        assert re.search(message.strip("^$"), run(*words, code=2).stderr)
        assert not Path("y.toy").exists()

    def test_settings_and_frames_that_it_has_not_are_refused(self, in_tmp: Path) -> None:
        save("x.toy", np.zeros((2, 2), np.uint8))
        assert (
            "toy takes no quality; jpg and webp do"
            in run(*("apply", "x.toy", "-k", "1", "-o", "y.toy", "--quality", "5"), code=2).stderr
        )
        assert (
            "frames all; x.toy is an array"
            in run("apply", "x.toy", "-k", "1", "--frames", "all", code=2).stderr
        )

    def test_it_is_listed(self) -> None:
        assert all_formats()[-1].name == "toy"
        assert re.search(r"^toy +\.toy \.toy\.gz ", run("formats").stdout, re.MULTILINE)
        record = json.loads(run("formats", "--json").stdout)["formats"][-1]
        assert (record["name"], record["suffixes"], record["available"]) == (
            "toy",
            [".toy", ".toy.gz"],
            True,
        )
        assert "toy" not in run("formats", "--markdown").stdout
        with pytest.raises(FileError, match=r"unknown format 'toyy'; .*; did you mean 'toy'\?"):
            lookup("toyy")

    def test_apply_reads_and_writes_it(self, in_tmp: Path) -> None:
        save("x.toy", X.astype(np.uint8)[:, :4])
        run("apply", "x.toy", "-k", "box", "--padding", "same", "-o", "y.toy")
        assert (load("y.toy").array.shape, load("y.toy").array.dtype) == ((4, 4), np.uint8)
        piped = run(
            "apply", "-", "-k", "1", "--padding", "same", stdin=Path("x.toy").read_bytes()
        ).output
        assert "standard input 4x4 uint8" in piped

    def test_a_picture_is_one_too(self, in_tmp: Path) -> None:
        run(
            "apply",
            str(ROOT / "samples" / "photo.png"),
            "-k",
            "box",
            "--stride",
            "2",
            "-o",
            "x.tiles",
        )
        data = load("x.tiles")
        assert (data.kind, data.array.shape, data.array.dtype) == ("image", (127, 191, 3), np.uint8)
        assert (
            "not kept"
            not in run(
                "apply", "x.tiles", "-k", "sharpen", "--padding", "same", "-o", "y.png"
            ).output
        )
        assert load("y.png").array.shape == data.array.shape
        with pytest.raises(
            FormatError,
            match=r"tiles cannot hold uint8 with 2 channels; it holds uint8 \(1 or 3 ch",
        ):
            save("y.tiles", np.zeros((2, 2, 2), np.uint8))
        with pytest.raises(
            FormatError, match="tiles cannot hold 256x1; it holds at most 255 pixels a side"
        ):
            save("y.tiles", np.zeros((256, 1), np.uint8))

    def test_what_its_codec_raises_names_its_package(self, in_tmp: Path) -> None:
        Path("x.toy").write_bytes(b"TOY 3 x\n")
        told = run("apply", "x.toy", "-k", "1", code=2).stderr
        assert told.startswith(
            "Error: x.toy cannot be read as toy; package test_registry:ROW: invalid literal"
        )
        assert told.count("\n") == 1

    def test_what_cannot_be_used_is_told_once_and_left_out(
        self, in_tmp: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(2):
            assert [form.name for form in all_formats() if form.package] == ["tiles", "toy"]
        told = [record.getMessage() for record in caplog.records]
        left_out = "of convcli.formats is left out"
        assert told == [
            f"warning: package no_such_module:FORMAT: entry point 'broken' {left_out}; "
            "No module named 'no_such_module'",
            f"warning: package test_registry:X: entry point 'wrong' {left_out}; "
            "test_registry:X is a ndarray, expected a Format",
            f"warning: package test_registry:TAKEN: entry point 'zpng' {left_out}; "
            ".png is taken by convcli",
        ]
        assert lookup(".png").name == "png"

    def test_a_codec_that_cannot_be_imported_is_named(self) -> None:
        with pytest.raises(
            FileError, match="format toy cannot be used; its codec nowhere:Toy: No module named"
        ):
            codec_of(Format("toy", (".toy",), "nowhere:Toy"))


PLUS = KernelFamily(
    "plus", lambda *, dims: np.ones((3,) * dims), "ones", "here", variants={"a": 1, "b": 1}
)


def test_kernels_of_packages_stand_beside_those_of_the_bank(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "test_registry", sys.modules[__name__])
    monkeypatch.setattr(sys.modules[__name__], "BOX", replace(PLUS, name="box"), raising=False)
    points = [
        EntryPoint(name, f"test_registry:{name.upper()}", "convcli.kernels")
        for name in ("box", "plus")
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    bank.plugin_families.cache_clear()
    try:
        assert [record.getMessage() for record in caplog.records] == []
        assert bank.listing()[-1] is PLUS
        assert "box is taken by convcli" in caplog.text
        assert bank.is_named("Plus-A")
        assert not bank.is_named("plus-c")
        with pytest.raises(
            KernelError, match="kernel 'plus' without a direction; choose plus-a or plus-b"
        ):
            bank.named("plus")
    finally:
        bank.plugin_families.cache_clear()


def test_a_kernel_of_the_bank_asks_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    bank.plugin_families.cache_clear()
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: pytest.fail(f"looked for {group}")
    )
    for name in ("sobel-x", "laplacian-8", "gaussian:sigma=2", "Sobel_Y"):
        bank.named(name)
        assert bank.is_named(name)
    assert not bank.is_named("blur.csv")


# Installed: the package of the guide.


def block_of_page(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


def wheel_of(
    folder: Path, name: str, groups: Mapping[str, Mapping[str, str]], modules: Mapping[str, str]
) -> Path:
    """Build a wheel of some modules in a folder."""
    stem, info = name.replace("-", "_"), f"{name.replace('-', '_')}-1.0.dist-info"
    entries = "".join(
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
        for group, points in groups.items()
    )
    content = {f"{module}.py": code for module, code in modules.items()} | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
        f"{info}/entry_points.txt": entries,
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*content, f"{info}/RECORD"))
    wheel = folder / f"{stem}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheel


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the guide's package, and one that raises when it is imported."""
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("environment")
    project = tomllib.loads(block_of_page("toml"))["project"]
    bad = {
        "convcli.formats": {"bad": "bad_toy:FORMAT"},
        "convcli.kernels": {"bad": "bad_toy:KERNEL"},
    }
    wheels = [
        wheel_of(
            folder,
            project["name"],
            project["entry-points"],
            {"convcli_toy": block_of_page("python")},
        ),
        wheel_of(folder, "bad-toy", bad, {"bad_toy": "raise RuntimeError('out of order')"}),
    ]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--disable-pip-version-check",
    ]
    subprocess.run(
        [*pip, "--target", str(folder / "packages"), *map(str, wheels)],
        check=True,
        capture_output=True,
    )
    return folder / "packages"


def convcli(packages: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(packages), str(ROOT), *filter(None, sys.path)])
    command = [sys.executable, "-m", "convcli", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=60
    )
    assert done.returncode == code, done.stderr
    return done


class TestInstalled:
    def test_apply_takes_its_format_and_its_kernel(self, in_tmp: Path, packages: Path) -> None:
        np.save("x.npy", X)
        told = convcli(packages, "apply", "x.npy", "-k", "plus", "-o", "x.toy").stderr.splitlines()
        assert [line for line in told if "warning" in line] == [
            f"warning: package bad-toy: entry point 'bad' of {group} is left out; out of order"
            for group in ("convcli.formats", "convcli.kernels")
        ]
        assert "Traceback" not in "".join(told)
        content = Path("x.toy").read_bytes()
        assert content[:12] == b"TOY1" + np.array([2, 3], "<u4").tobytes()
        np.testing.assert_allclose(
            np.frombuffer(content[12:], "<f4").reshape(2, 3), X[1:3, 1:4], rtol=1e-6
        )
        convcli(packages, "apply", "x.toy", "-k", "plus", "--padding", "same", "-o", "y.toy")
        assert len(Path("y.toy").read_bytes()) == len(content)

    def test_batch_takes_both_and_its_executor(self, in_tmp: Path, packages: Path) -> None:
        for name in ("a", "b"):
            Path(f"{name}.toy").write_bytes(
                b"TOY1" + np.array(X.shape, "<u4").tobytes() + X.tobytes()
            )
        words = ("batch", ".", "-k", "plus", "--padding", "same", "--jobs", "2")
        convcli(packages, *words, "--out", "out")
        made = {path.name: path.read_bytes() for path in Path("out").glob("*.toy")}
        assert sorted(made) == ["a.toy", "b.toy"]
        told = convcli(packages, *words, "--out", "other", "--scheduler", "toy-threads").stdout
        assert told.startswith("workers  2 of toy-threads\n")
        assert {path.name: path.read_bytes() for path in Path("other").glob("*.toy")} == made

    def test_both_are_listed(self, packages: Path) -> None:
        assert re.search(
            r"^toy +\.toy .* package convcli-toy", convcli(packages, "formats").stdout, re.MULTILINE
        )
        assert "four neighbours" in " ".join(
            convcli(packages, "kernels", "show", "plus").stdout.split()
        )
        assert '"plus"' in convcli(packages, "kernels", "list", "--json").stdout

    def test_what_it_refuses_and_what_is_damaged_is_one_line(
        self, in_tmp: Path, packages: Path
    ) -> None:
        np.save("x.npy", X[0])
        told = convcli(
            packages, "apply", "x.npy", "-k", "1", "-o", "x.toy", code=2
        ).stderr.splitlines()
        assert told[-1] == "Error: toy holds two axes, not 1; write .npy"
        Path("x.toy").write_bytes(b"TOY1" + np.array([9, 9], "<u4").tobytes())
        told = convcli(packages, "apply", "x.toy", "-k", "1", code=2).stderr.splitlines()
        assert told[-1] == "Error: x.toy is damaged; its values end too early"
        Path("x.toy").write_bytes(b"TOY1")
        told = convcli(packages, "apply", "x.toy", "-k", "1", code=2).stderr.splitlines()
        assert told[-1].startswith("Error: x.toy cannot be read as toy; package convcli-toy: ")

    @pytest.mark.parametrize("words", ["--help", "--version", "shape 28x28 -k 3x3", "apply --help"])
    def test_the_fast_paths_ask_no_package(self, packages: Path, words: str) -> None:
        assert convcli(packages, *words.split()).stderr == ""

    def test_a_picture_filtered_by_a_kernel_of_the_bank_asks_no_package(
        self, in_tmp: Path, packages: Path
    ) -> None:
        photo = str(ROOT / "samples" / "photo.png")
        assert "warning" not in convcli(packages, "apply", photo, "-k", "box", "-o", "y.png").stderr


def test_the_page_is_a_package_that_is_read_here() -> None:
    namespace: dict[str, Any] = {}
    exec(compile(block_of_page("python"), "plugins.md", "exec"), namespace)
    codec = namespace["Toy"](namespace["FORMAT"])
    codec.write(stream := io.BytesIO(), X, WriteRequest())
    stream.seek(0)
    np.testing.assert_array_equal(codec.read(stream, ReadRequest("x.toy")).array, X)
