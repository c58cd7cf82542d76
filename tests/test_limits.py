"""Test limits before allocation: small files and short words that request too much memory."""

from __future__ import annotations

import gzip
import io
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from measured import measured
from numpy.lib import format as npy
from PIL import Image

from convcli import limits
from convcli.cli import main
from convcli.errors import InputError, LimitError
from convcli.io import load, save
from convcli.limits import Limits, machine_memory, parse_size

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SMALL = 64 * 2**20
GIB = 2**30


# Decompression bombs: each writes its file, if any, and returns the arguments of a call.


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = _zeros((width // 8 + 1) * height)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", b"\x78\x9c" + rows)
        + chunk(b"IEND", b"")
    )


def _zeros(count: int) -> bytes:
    """Return `count` deflated zeros or a few more: one compressed block of 16 MiB, repeated."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(bytes(2**24)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return block * (count // 2**24 + 1)


def _npz(path: Path, declared: int) -> None:
    """Write an archive that declares one array of `declared` bytes of zeros, its checksum 0."""
    header = io.BytesIO()
    npy.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (declared,)}
    )
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = deflate.compress(header.getvalue()) + deflate.flush(zlib.Z_FULL_FLUSH)
    body, size, name = start + _zeros(declared), declared + len(header.getvalue()), b"bomb.npy"
    extra = struct.pack("<HHQQ", 1, 16, size, len(body))
    common = struct.pack(
        "<HHHHHIIIHH", 45, 0, 8, 0, 33, 0, 2**32 - 1, 2**32 - 1, len(name), len(extra)
    )
    local = b"PK\x03\x04" + common + name + extra + body
    central = (
        b"PK\x01\x02"
        + struct.pack("<H", 45)
        + common
        + struct.pack("<HHHII", 0, 0, 0, 0, 0)
        + name
        + extra
    )
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)


def _tiff(width: int, height: int) -> bytes:
    entries = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 1),
    ]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + body + bytes(64)


def _tiff_of_pages(count: int) -> bytes:
    page = _tiff(4, 4)[8:-64]
    links = [struct.pack("<I", 8 + (at + 1) * (len(page) + 4)) for at in range(count - 1)] + [
        bytes(4)
    ]
    return b"II*\x00\x08\x00\x00\x00" + b"".join(page + link for link in links)


def _deep_png() -> bytes:
    head, _, rest = _png(60000, 60000).partition(b"IHDR")
    body = b"IHDR" + rest[:8] + bytes([16, 2]) + rest[10:13]
    return head + body + struct.pack(">I", zlib.crc32(body)) + rest[17:]


def _deep_tiff(side: int) -> bytes:
    whole = _tiff(side, side)
    return whole.replace(
        struct.pack("<HHII", 258, 4, 1, 8), struct.pack("<HHII", 258, 4, 1, 16)
    ).replace(struct.pack("<HHII", 277, 4, 1, 1), struct.pack("<HHII", 277, 4, 1, 3))


def _nifti(shape: tuple[int, ...], offset: float = 352, extension: int = 0) -> bytes:
    """Return a NIfTI-1 header of floats. Source: nifti1.h of the NIfTI working group, 2007."""
    head = struct.pack(
        "<i36x8h14xhh34xff", 348, len(shape), *shape, *[1] * (7 - len(shape)), 64, 64, 1, 1
    )
    head = head[:108] + struct.pack("<f", offset) + head[112:]
    whole = head + bytes(344 - len(head)) + b"n+1\x00" + (b"\1\0\0\0" if extension else bytes(4))
    return whole + (struct.pack("<ii", extension, 0) if extension else b"")


def _nifti_pack(content: bytes, zeros: int) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = pack.compress(content) + pack.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + start + _zeros(zeros)


def _npy(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue() + bytes(800)


def _file(name: str, content: Callable[[], bytes]) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        (folder / name).write_bytes(content())
        return ["apply", name, "-k", "box"]

    return write


def _archive(folder: Path) -> list[str]:
    _npz(folder / "bomb.npz", 40 * GIB)
    return ["apply", "bomb.npz", "-k", "box"]


def _archived_kernel(folder: Path) -> list[str]:
    _npz(folder / "bomb.npz", 40 * GIB)
    return ["apply", "10x10", "-k", "bomb.npz"]


def _endless_line(name: str) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        with (folder / name).open("wb") as stream:
            for _ in range(200):
                stream.write(b"1," * 2**19)
        return ["apply", name, "-k", "box"]

    return write


def _kernel_file(name: str, content: Callable[[], bytes]) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        (folder / name).write_bytes(content())
        return ["kernels", "show", name]

    return write


def _sparse(name: str, size: int) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        with (folder / name).open("wb") as stream:
            stream.truncate(size)
        return ["shape", name]

    return write


def _device(name: str) -> Callable[[Path], list[str]]:
    def write(folder: Path) -> list[str]:
        (folder / name).symlink_to("/dev/zero")
        return ["shape", name] if name.endswith("toml") else ["kernels", "show", name]

    return write


def _endless_kernel(folder: Path) -> list[str]:
    _endless_line("k.csv")(folder)
    return ["kernels", "show", "k.csv"]


def _words(*words: str) -> Callable[[Path], list[str]]:
    return lambda folder: list(words)


VAST = str(2**63)
BOMBS: dict[str, Callable[[Path], list[str]]] = {
    "png": _file("bomb.png", lambda: _png(60000, 60000)),
    "tiff": _file("bomb.tif", lambda: _tiff(2**31, 2**31)),
    "npz": _archive,
    "npz kernel": _archived_kernel,
    "npy of more than it holds": _file("bomb.npy", lambda: _npy((10**6, 10**6))),
    "npy of nothing, over more than 64 bits": _file("bomb.npy", lambda: _npy((0, 2**63))),
    "npy of more than 64 bits": _file("bomb.npy", lambda: _npy((2**40, 2**40))),
    "png of 16 bits": _file("bomb.png", _deep_png),
    "tiff of 16 bits": _file("bomb.tif", lambda: _deep_tiff(60000)),
    "tiff of more than 64 bits": _file("bomb.tif", lambda: _deep_tiff(2**32 - 1)),
    "nii": _file("bomb.nii", lambda: _nifti((30000, 30000, 30000))),
    "nii.gz": _file("bomb.nii.gz", lambda: _nifti_pack(_nifti((30000, 30000, 30000)), 4 * GIB)),
    "nii.gz that goes on": _file("bomb.nii.gz", lambda: _nifti_pack(_nifti((2, 2, 2)), 4 * GIB)),
    "nii.gz of a far start": _file(
        "bomb.nii.gz", lambda: _nifti_pack(_nifti((2, 2, 2), 3e9), 4 * GIB)
    ),
    "nii.gz of an extension": _file(
        "bomb.nii.gz", lambda: _nifti_pack(_nifti((2, 2, 2), 3e9, 2**31 - 16), 4 * GIB)
    ),
    "wav": _file("bomb.wav", lambda: b"RIFF\xff\xff\xff\x7fWAVEfmt " + bytes(99)),
    "pgm": _file("bomb.pgm", lambda: b"P5\n99999999 99999999\n255\n"),
    "tiff of many pages": _file("bomb.tif", lambda: _tiff_of_pages(100_000)),
    "onnx": _sparse("bomb.onnx", 5 * GIB),
    "toml": _sparse("bomb.toml", 5 * GIB),
    "toml of a device": _device("bomb.toml"),
    "kernel of a device": _device("bomb.csv"),
    "csv of one line": _endless_line("bomb.csv"),
    "kernel of one line": _endless_kernel,
    "kernel npy": _kernel_file("k.npy", lambda: _npy((10**6, 10**6))),
    "random kernel": _words("apply", "photo.npy", "-k", "random:1000000x1000000"),
    "gaussian kernel": _words("apply", "photo.npy", "-k", "gaussian:size=1000001"),
    "gaussian sigma": _words("apply", "photo.npy", "-k", "gaussian:sigma=1e9"),
    "box kernel": _words("apply", "photo.npy", "-k", "box:size=1000000"),
    "disk kernel": _words("apply", "photo.npy", "-k", "disk:radius=1e6"),
    "imagemagick kernel": _words("apply", "photo.npy", "-k", "1000000x1000000: 1"),
    "padding": _words("apply", "photo.npy", "-k", "box", "--padding", VAST),
    "padding that 64 bits hold": _words("apply", "photo.npy", "-k", "box", "--padding", "1000000"),
    "wrapped padding": _words(
        "apply", "photo.npy", "-k", "box", "--padding", "1000000", "--boundary", "wrap"
    ),
    "dilation": _words("apply", "photo.npy", "-k", "box", "--dilation", VAST, "--padding", "same"),
    "full padding": _words(
        "apply", "photo.npy", "-k", "box", "--dilation", "9999999", "--padding", "full"
    ),
    "grad padding": _words("grad", "photo.npy", "-k", "box", "--padding", "1000000"),
    "grad padding that fits somewhere": _words(
        "grad", "photo.npy", "-k", "box", "--padding", "30000"
    ),
    "gradcheck padding that fits somewhere": _words(
        "gradcheck", "photo.npy", "-k", "box", "--padding", "30000"
    ),
    "laws padding that fits somewhere": _words(
        "laws", "photo.npy", "-k", "box", "--padding", "30000"
    ),
    "grad shape": _words("grad", "1000000x1000000", "-k", "box"),
    "gradcheck padding": _words("gradcheck", "photo.npy", "-k", "box", "--padding", "1000000"),
    "gradcheck shape": _words("gradcheck", "1000000x1000000", "-k", "box"),
    "laws padding": _words("laws", "photo.npy", "-k", "box", "--padding", "1000000"),
    "laws shape": _words("laws", "1000000x1000000", "-k", "box"),
    "bench shape": _words("bench", "1000000x1000000", "-k", "box"),
    "explain shape": _words("explain", "1000000x1000000", "-k", "box", "--at", "0,0"),
    "nested kernel": _words("kernels", "show", "[" * 100_000),
    "nested json": _kernel_file("k.json", lambda: b"[" * 100_000 + b"1" + b"]" * 100_000),
    "nested less": _kernel_file("k.json", lambda: b"[" * 900 + b"1" + b"]" * 900),
    "nested toml": lambda folder: (
        (folder / "n.toml").write_text("layers = " + "[" * 100_000) and ["shape", "n.toml"]
    ),
    "nested groups": _words("shape", "8x8x3", "[" * 100_000),
    "nested branches": _words("shape", "8x8x3", "residual[" * 9_000 + "relu" + "]" * 9_000),
    "repeated groups": _words("shape", "8x8x3", "[" * 20 + "relu" + "]x1000" * 20),
}


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, bomb: str) -> None:
    np.save(tmp_path / "photo.npy", np.zeros((32, 48), np.uint8))
    words = BOMBS[bomb](tmp_path)
    done = measured(words, tmp_path, warm=[["apply", "photo.npy", "-k", "box"]], memory="4G")
    assert done.code in (2, 4), done
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr) < 1000
    assert done.growth < SMALL


ENDLESS = {
    "line": ("yes 1, | tr -d '\\n'", ["--input-format", "csv"]),
    "line of no format": ("yes 1, | tr -d '\\n'", []),
    "numbers": ("yes 1", ["--max-memory", "100M"]),
    "zeros": ("cat /dev/zero", []),
    "rows": ("yes 1,2,3", ["--max-memory", "200M"]),
    "rows between tabs": ("yes '1\t2'", ["--max-memory", "200M"]),
    "blank lines": ("yes ''", ["--input-format", "csv", "--max-memory", "200M"]),
    "comments": ("echo 1,2; yes '# nothing'", ["--max-memory", "200M"]),
    "npy of more than may be": ("cat vast.npy /dev/zero", ["--max-memory", "200M"]),
    "npz": ("cat good.npz /dev/zero", ["--max-memory", "200M"]),
    "tiff": ("cat good.tif /dev/zero", ["--max-memory", "200M"]),
    "png that is cut": ("head -c 60 good.png; cat /dev/zero", ["--max-memory", "200M"]),
    "jpg that is cut": ("head -c 640 good.jpg; cat /dev/zero", ["--max-memory", "200M"]),
    "nii.gz": ("cat good.nii.gz /dev/zero", ["--max-memory", "200M"]),
    "raw numbers": (
        "cat /dev/zero",
        ["--input-format", "raw", "--raw-shape", "1000x1000", "--raw-dtype", "u1"],
    ),
}


def _good_files(folder: Path) -> None:
    picture = Image.fromarray(np.arange(60 * 50 * 3, dtype=np.uint8).reshape(60, 50, 3))
    for suffix in ("png", "jpg", "gif", "webp", "bmp", "tif", "ppm"):
        picture.save(folder / f"good.{suffix}")
    np.save(folder / "good.npy", np.arange(120.0).reshape(10, 12))
    np.savez(folder / "good.npz", np.arange(120.0).reshape(10, 12))
    (folder / "vast.npy").write_bytes(_npy((10**4, 10**4)))
    (folder / "good.nii.gz").write_bytes(gzip.compress(_nifti((2, 2, 2)) + bytes(32)))


@LINUX
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp", "ppm", "npy"])
def test_of_a_pipe_no_more_is_read_than_its_content(tmp_path: Path, suffix: str) -> None:
    _good_files(tmp_path)
    assert measured(["apply", f"good.{suffix}", "-k", "box", "-o", "file.npy"], tmp_path).code == 0
    words = ["apply", "-", "-k", "box", "-o", "pipe.npy"]
    done = measured(words, tmp_path, feed=f"cat good.{suffix} /dev/zero", memory="4G")
    assert done.code == 0, done
    assert done.growth < SMALL
    assert (tmp_path / "pipe.npy").read_bytes() == (tmp_path / "file.npy").read_bytes()


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("kind", ENDLESS)
def test_a_pipe_without_an_end_is_refused(tmp_path: Path, kind: str) -> None:
    feed, options = ENDLESS[kind]
    _good_files(tmp_path)
    done = measured(["apply", "-", "-k", "box:size=3", *options], tmp_path, feed=feed)
    assert done.code in (2, 4), done
    assert done.stderr.count("\n") == 1
    assert "standard input" in done.stderr
    assert done.growth < SMALL


@LINUX
@pytest.mark.parametrize("name", ["/dev/zero", "/dev/urandom"])
def test_a_device_without_an_end_is_refused(tmp_path: Path, name: str) -> None:
    for words in (["apply", name, "-k", "box"], ["kernels", "show", name]):
        done = measured(words, tmp_path)
        assert done.code in (2, 4), done
        assert done.growth < SMALL


class TestTheLimits:
    def test_they_hold_at_their_edge(self) -> None:
        Limits(memory=1000, pixels=12).check_memory("x", 1000)
        Limits(memory=1000, pixels=12).check_pixels("x", 3, 4)
        with pytest.raises(
            LimitError,
            match=r"x takes 1001 bytes of memory; the limit is 1000 bytes; .*--max-memory",
        ):
            Limits(memory=1000).check_memory("x", 1001)
        with pytest.raises(
            LimitError, match=r"x has 15 pixels \(5x3\); the limit is 12 pixels; .*--max-pixels"
        ):
            Limits(memory=1000, pixels=12).check_pixels("x", 3, 5)

    def test_half_of_the_machine_by_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "machine_memory", lambda: 4000)
        assert Limits.of() == Limits(2000, 2**28, is_default=True)
        assert Limits.of(7, 9) == Limits(7, 9)
        assert 2**20 < machine_memory() < 2**63

    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "500\n"}, [500]),
            ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, []),
            ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "700\n"}, [700]),
            (
                {
                    "proc/self/cgroup": "3:cpu:/\n2:memory:/a\n",
                    "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "900",
                },
                [900],
            ),
            ({}, []),
        ],
    )
    def test_a_control_group_may_have_less(
        self, tmp_path: Path, files: dict[str, str], expected: list[int]
    ) -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        assert list(limits.group_limits(tmp_path)) == expected

    @pytest.mark.parametrize(
        "text", ["", "0", "-1", "2X", "G", "1e3", "nan", "9" * 30, "0.0000000001K"]
    )
    def test_what_is_no_size_is_refused(self, text: str) -> None:
        with pytest.raises(InputError, match="expected a number of bytes above 0"):
            parse_size(text)

    def test_an_array_is_held_against_its_header(self, tmp_path: Path) -> None:
        for name, bytes_ in (("x.npy", 80_000), ("x.npz", 80_000), ("x.csv", 1_000_000)):
            write = {"y": np.save, "z": np.savez, "v": np.savetxt}[name[-1]]
            write(tmp_path / name, np.ones(10_000))
            load(tmp_path / name, limits=Limits(2 * bytes_))
            with pytest.raises(LimitError, match=rf"{name}.* of memory; the limit is"):
                load(tmp_path / name, limits=Limits(bytes_ - 1))


CALLS = [
    ["apply", "x.npy"],
    ["grad", "x.npy"],
    ["gradcheck", "x.npy", "--samples", "2"],
    ["laws", "x.npy"],
]


@pytest.mark.parametrize(
    "call", [*CALLS, ["explain", "x.npy", "--at", "0,0"]], ids=lambda call: call[0]
)
def test_every_command_that_reads_takes_the_limits(
    call: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.ones((100, 100)))
    words = [*call, "-k", "box"]
    assert (
        CliRunner().invoke(main, [*words, "--max-memory", "1G", "--max-pixels", "9"]).exit_code == 0
    )
    refused = CliRunner().invoke(
        main, [*words, "--max-memory", "70K"], env={"CONVCLI_MAX_MEMORY": "1G"}
    )
    assert (refused.exit_code, refused.stderr.count("\n")) == (4, 1)
    assert CliRunner().invoke(main, words, env={"CONVCLI_MAX_MEMORY": "70K"}).exit_code == 4
    wrong = CliRunner().invoke(main, words, env={"CONVCLI_MAX_MEMORY": "lots"})
    assert wrong.exit_code == 2
    assert "lots" in wrong.stderr


def test_a_picture_may_be_large_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (30, 20)).save("x.png")
    refused = CliRunner().invoke(main, ["apply", "x.png", "-k", "box", "--max-pixels", "599"])
    assert refused.exit_code == 4
    assert "x.png has 600 pixels (20x30)" in refused.stderr
    assert (
        CliRunner().invoke(main, ["apply", "x.png", "-k", "box", "--max-pixels", "600"]).exit_code
        == 0
    )


def test_a_kernel_is_not_written_where_it_would_not_be_read(tmp_path: Path) -> None:
    refused = CliRunner().invoke(
        main, ["kernels", "export", "random:1000x1000", "-o", str(tmp_path / "k.csv")]
    )
    assert refused.exit_code == 4
    assert "write .npy" in refused.stderr
    assert not list(tmp_path.iterdir())


class TestNoThreads:
    """If the system cannot start a thread, the caller does all of the work."""

    @pytest.fixture(autouse=True)
    def _refuse(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refused)
        monkeypatch.setattr("convcli.engine.threads._pool", None)

    def test_none_can_be_started(self) -> None:
        assert limits.startable_threads(5) == 1

    def test_files_are_written(self, in_tmp: Path, set_threads: Callable[[int], None]) -> None:
        set_threads(4)
        values = np.random.default_rng(0).integers(0, 256, (1200, 1000, 3), np.uint8)
        save("x.png", values)
        for name in ("y.png", "y.tiff", "y.npy"):
            words = ["apply", "x.png", "-k", "gaussian:sigma=2", "-o", name]
            words += ["--compress-level", "3"] if name != "y.npy" else []
            done = CliRunner().invoke(main, words)
            assert done.exit_code == 0, done.output
