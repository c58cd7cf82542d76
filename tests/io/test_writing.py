"""Failed writes, as to full disks and closed pipes: a message, an exit code, the old file kept."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import stat
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from convcli.cli import COMMANDS, main
from convcli.jobs import apply

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full and ulimit")

WRITERS = {
    "apply png": "apply rgb.png -k box -o y.png",
    "apply jpg": "apply rgb.png -k box -o y.jpg",
    "apply webp": "apply rgb.png -k box -o y.webp",
    "apply gif": "apply gray.png -k box -o y.gif",
    "apply bmp": "apply rgb.png -k box -o y.bmp",
    "apply tiff": "apply rgb.png -k box -o y.tiff",
    "apply ppm": "apply rgb.png -k box -o y.ppm",
    "apply pfm": "apply x.npy -k box --dtype float32 -o y.pfm",
    "apply npy": "apply x.npy -k box -o y.npy",
    "apply npz": "apply x.npy -k box -o y.npz",
    "apply csv": "apply x.npy -k box -o y.csv",
    "apply raw": "apply x.npy -k box -o y.raw",
    "apply mapped npy": "apply x.npy -k box --padding 2100 -o y.npy",
    "grad": "grad x.npy -k box -o y.npz",
    "gradcheck npz": "gradcheck x.npy -k box --samples 2 --dump y.npz",
    "gradcheck json": "gradcheck x.npy -k box --samples 2 --dump y.json",
    "laws npy": "laws x.npy -k box --matrix y.npy",
    "laws csv": "laws x.npy -k box --matrix y.csv",
    "bench": "bench 8x8 -k box --runs 1 -o y.png",
    "kernels export csv": "kernels export random:100x100 -o y.csv",
    "kernels export npy": "kernels export random:100x100 -o y.npy",
    "shape svg": "shape 8x8 [relu]x20 --diagram y.svg",
    "apply plot": "apply rgb.png -k box --plot y.png",
    "kernels plot": "kernels show random:100x100 --plot y.png",
    "kernels gallery": "kernels gallery -k box -o y.png",
    "animate": "animate x.npy -k box --crop 9 -o y.gif",
    "shape field": "shape 90x100 conv:1,k=3 --at 0,0 --plot rgb.png -o y.png",
}
_BY_EXTRA = {
    "nibabel": {
        "apply nii": "apply x.npy -k box -o y.nii",
        "apply nii.gz": "apply x.npy -k box -o y.nii.gz",
    },
    "tifffile": {"apply tiff of doubles": "apply x.npy -k box --dtype float64 -o y.tiff"},
    "imagecodecs": {
        "apply png of 16 bits": "apply rgb.png -k box --dtype uint16 --range rescale -o y.png"
    },
}
WRITERS |= {
    name: words
    for package, calls in _BY_EXTRA.items()
    if find_spec(package)
    for name, words in calls.items()
}
PRINTERS = {
    "formats": "formats",
    "apply": "apply rgb.png -k box -o - --format png",
    "apply csv": "apply x.npy -k box -o - --format csv",
    "apply json": "apply x.npy -k box --json",
    "grad": "grad x.npy -k box -o -",
    "gradcheck": "gradcheck 5x5 -k box",
    "kernels export": "kernels export random:100x100 -o - --format csv",
    "kernels show": "kernels show box",
    "explain": "explain x.npy -k box --at 0,0",
    "laws": "laws x.npy -k box",
    "bench": "bench 8x8 -k box --runs 1",
    "lesson": "lesson 4",
    "guide": "guide kernels",
    "completion": "completion bash",
    "help": "help apply",
    "shape torch": "shape 8x8x3 conv:8,k=3 --emit torch",
    "shape onnx": "shape 8x8x3 conv:8,k=3 --emit onnx",
    "shape svg": "shape 8x8x3 conv:8,k=3 --diagram -",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (90, 100, 3), dtype=np.uint8)).save("rgb.png")
    Image.fromarray(rng.integers(0, 256, (90, 100), dtype=np.uint8)).save("gray.png")
    np.save("x.npy", rng.normal(size=(80, 70)))
    return tmp_path


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `convcli` is the one under test."""
    command = f"{shlex.quote(sys.executable)} -m convcli"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    script = f'convcli() {{ {command} "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_may_not_grow_leaves_the_old_one(folder: Path, writer: str) -> None:
    words = WRITERS[writer]
    target = words.split()[-1]
    (folder / target).write_bytes(b"old")
    before = names(folder)
    done = shell(f"ulimit -f 4; convcli {words} --overwrite")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"Error: {target} cannot be written; ")
    assert done.stderr.count("Error") == 1
    assert (folder / target).read_bytes() == b"old"
    assert names(folder) == before


def test_every_command_that_writes_has_a_row() -> None:
    assert {words.split()[0] for words in (*WRITERS.values(), *PRINTERS.values())} == set(
        COMMANDS
    ) - {"batch"}


@pytest.mark.slow
@pytest.mark.parametrize("printer", PRINTERS)
def test_a_full_standard_output_is_one_line_and_code_1(printer: str) -> None:
    done = shell(f"convcli {PRINTERS[printer]} > /dev/full")
    assert done.returncode == 1
    message = "standard output cannot be written; No space left on device"
    if "--json" in PRINTERS[printer]:
        assert json.loads(done.stderr)["error"] == message
    else:
        assert done.stderr == f"Error: {message}\n"


@pytest.mark.slow
@pytest.mark.parametrize("printer", PRINTERS)
def test_a_reader_that_stops_early_is_no_failure(printer: str) -> None:
    done = shell(f"convcli {PRINTERS[printer]} | head -c 10 > /dev/null; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 0
    assert "Error" not in done.stderr
    assert "Exception" not in done.stderr


class TestTargets:
    @pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "raw"])
    def test_a_size_that_no_disk_holds_is_refused_as_memory(
        self, tmp_path: Path, suffix: str
    ) -> None:
        np.save(tmp_path / "x.npy", np.arange(3))
        words = [
            "apply",
            "x.npy",
            "-k",
            "1",
            "--dims",
            "1",
            "--padding",
            "99999999999999",
            "-o",
            f"y.{suffix}",
        ]
        with contextlib.chdir(tmp_path):
            result = CliRunner().invoke(main, words)
        assert result.exit_code == 4
        assert "TiB of memory; the limit is" in result.stderr
        assert not (tmp_path / f"y.{suffix}").exists()

    @pytest.mark.parametrize("writer", WRITERS)
    @pytest.mark.parametrize(
        ("place", "code", "told"),
        [
            ("none/{}", 2, "create it first"),
            ("/proc/{}", 1, "cannot be written"),
            ("{}", 2, "is a folder"),
        ],
    )
    def test_what_takes_no_file_is_refused_in_one_line(
        self, folder: Path, writer: str, place: str, code: int, told: str
    ) -> None:
        *words, target = WRITERS[writer].split()
        if place == "{}":
            (folder / target).mkdir()
        before = names(folder)
        refused = CliRunner().invoke(main, [*words, place.format(target)])
        assert refused.exit_code == code
        assert refused.stderr.splitlines()[-1].startswith("Error: ")
        assert told in refused.stderr
        assert names(folder) == before

    @pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="root may write anywhere")
    def test_a_folder_without_permission_is_refused(self, folder: Path) -> None:
        (folder / "closed").mkdir(mode=0o500)
        refused = CliRunner().invoke(main, ["apply", "rgb.png", "-k", "box", "-o", "closed/y.png"])
        assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)

    @pytest.mark.parametrize(
        "words", ["apply rgb.png -k box --format png", WRITERS["apply mapped npy"][:-9]]
    )
    def test_a_device_is_written_to_and_never_replaced(self, folder: Path, words: str) -> None:
        form = [] if "--format" in words else ["--format", "npy"]
        done = CliRunner().invoke(main, [*words.split(), *form, "-o", "/dev/full", "--overwrite"])
        assert done.exit_code == 1
        assert "/dev/full cannot be written; No space left on device" in done.stderr
        CliRunner().invoke(main, [*words.split(), *form, "-o", "/dev/null", "--overwrite"])
        assert all(
            stat.S_ISCHR(Path(device).stat().st_mode) for device in ("/dev/full", "/dev/null")
        )

    def test_a_named_pipe_is_written_to(self, folder: Path) -> None:
        os.mkfifo("pipe.npy")
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append(Path("pipe.npy").read_bytes()))
        reader.start()
        done = CliRunner().invoke(
            main, ["apply", "x.npy", "-k", "box", "-o", "pipe.npy", "--overwrite"]
        )
        reader.join(30)
        assert done.exit_code == 0
        assert read[0].startswith(b"\x93NUMPY")
        assert stat.S_ISFIFO(Path("pipe.npy").stat().st_mode)

    def test_a_folder_that_vanishes_is_named(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("out").mkdir()
        fill = apply.execute

        def vanishing(*given: object) -> object:
            Path("out").rmdir()
            return fill(*given)

        monkeypatch.setattr(apply, "execute", vanishing)
        refused = CliRunner().invoke(main, ["apply", "x.npy", "-k", "box", "-o", "out/y.npy"])
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
        assert "out/y.npy cannot be written; " in refused.stderr
        assert "out is not a folder" in refused.stderr


class TestInputs:
    @pytest.mark.parametrize("command", ["apply", "grad", "gradcheck", "laws"])
    def test_one_that_has_vanished_is_named(self, command: str) -> None:
        Path("x.npy").unlink()
        refused = CliRunner().invoke(main, [command, "x.npy", "-k", "box"])
        assert refused.exit_code == 2
        assert "x.npy does not exist" in refused.stderr

    @pytest.fixture
    def parted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Map inputs, and compute results in several chunks."""
        monkeypatch.setattr("convcli.io.arrays.npy.MAP_ABOVE", 1000)
        monkeypatch.setattr(
            "convcli.jobs.chunks.whole_tiles", lambda wanted, tile, most: min(500, most)
        )
        np.save("x.npy", np.ones((4000, 70), np.float32))

    @pytest.mark.usefixtures("parted")
    @pytest.mark.parametrize("policy", ["clip", "rescale"])
    def test_one_that_shrinks_while_it_is_mapped_is_refused(
        self, folder: Path, policy: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        floats = apply.compute_chunk

        def shrinking(*given: object) -> object:
            made = floats(*given)
            os.truncate("x.npy", 5000)
            return made

        monkeypatch.setattr(apply, "compute_chunk", shrinking)
        refused = CliRunner().invoke(
            main, ["apply", "x.npy", "-k", "box", "--range", policy, "-o", "y.npy"]
        )
        assert refused.exit_code == 2
        assert refused.stderr.startswith(
            "Error: x.npy became shorter while it was read; 1,120,128 bytes were there, 5,000"
        )
        assert names(folder) == {"gray.png", "rgb.png", "x.npy"}

    @pytest.mark.usefixtures("parted")
    def test_one_that_is_deleted_or_replaced_while_it_is_mapped_is_read_to_its_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        floats = apply.compute_chunk

        def deleting(*given: object) -> object:
            Path("x.npy").unlink(missing_ok=True)
            return floats(*given)

        monkeypatch.setattr(apply, "compute_chunk", deleting)
        assert (
            CliRunner().invoke(main, ["apply", "x.npy", "-k", "box", "-o", "y.npy"]).exit_code == 0
        )
        np.testing.assert_array_equal(np.load("y.npy"), np.ones((3998, 68), np.float32))
