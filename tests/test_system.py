"""Test that everything works without the modules and calls of POSIX or of Linux."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import sys
from pathlib import Path, PurePath
from types import SimpleNamespace

import numpy as np
import pytest

from convcli import system
from convcli.errors import InputError
from convcli.io import PLAIN, check_target, output_buffer, save
from convcli.jobs.apply import plan_apply
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch import naming
from convcli.jobs.batch.naming import Template, output_name
from convcli.jobs.batch.sources import Search, Source
from convcli.jobs.requests import WriteOptions

WITHOUT = """
import importlib.abc, mmap, os, signal, subprocess, sys

for name in ("fcntl", "resource", "termios", "tty", "pwd", "grp", "pty", "syslog"):
    sys.modules.pop(name, None)

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("fcntl", "resource", "termios", "tty", "pwd", "grp", "pty", "syslog"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
CALLS = '''sched_getaffinity sched_setaffinity posix_fallocate posix_fadvise register_at_fork
fchmod chown fchown lchown mkfifo getuid geteuid getgid getgroups
sysconf setsid killpg getpgid nice fork forkpty openpty uname'''
for name in CALLS.split():
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGPIPE"):
    if hasattr(signal, name):
        delattr(signal, name)
for name in [name for name in dir(mmap) if name.startswith(("MADV_", "MAP_", "PROT_"))]:
    delattr(mmap, name)
sys.platform = "elsewhere"
"""
# numpy maps a file by mmap.mmap(..., access=...), which needs none of these constants;
# shutil.disk_usage, which uses statvfs here, exists on Windows too.

WAYS = (
    "--version",
    "shape 28x28x3 conv:8,k=3 gap linear:10",
    "kernels show sobel-x",
    "apply in/a.png -k gaussian:sigma=2 -o y.png",
    "apply large.npy -k 1,2,1 --dims 1 -o large-y.npy",
    "apply in/a.png -k box -o y.png --overwrite",
    "apply in/a.png -k box -o y.jpg",
    "apply in/a.png -k box -o y.tiff",
    "explain in/a.png -k box --at 1,1,0",
    "grad in/a.png -k box -o g.npz",
    "gradcheck 6x6 -k random:3x3 --samples 5",
    "laws 6x6 -k random:3x3",
    "bench 16x16 -k box --runs 1",
    "batch in -k box --out out --jobs 2 --timeout 60",
    "batch in -k box --out out --resume",
    "batch in -k sharpen --out out --overwrite",
)


@pytest.fixture
def inputs(in_tmp: Path) -> Path:
    Path("in").mkdir()
    for name in ("a", "b", "c"):
        save(
            f"in/{name}.png",
            np.random.default_rng(ord(name)).integers(0, 256, (20, 30, 3), np.uint8),
        )
    np.save(
        "large.npy", np.random.default_rng(0).random((100, 100_000), np.float32).astype(np.float64)
    )
    return in_tmp


def run_all(hooks: Path | None) -> dict[str, str]:
    """Run every kind of job, and return the digest of each file that it wrote."""
    path = os.pathsep.join(filter(None, [str(hooks or ""), *sys.path]))
    environment = {**os.environ, "PYTHONPATH": path, "CONVCLI_THREADS": "2"}
    for words in WAYS:
        command = [sys.executable, "-m", "convcli", *words.split()]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("Error")) == (0, 0), (words, done.stderr)
    left = [
        path
        for path in Path().rglob("*")
        if path.suffix in (".png", ".jpg", ".tiff", ".npy", ".npz", ".tmp")
    ]
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in left
        if "hooks" not in path.parts
    }


@pytest.mark.slow
def test_everything_works_without_them_and_makes_the_same_files(
    inputs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    hooks = tmp_path_factory.mktemp("hooks")
    (hooks / "sitecustomize.py").write_text(WITHOUT)
    without = run_all(hooks)
    for path in without:
        if not path.startswith(("in/", "large.npy")):
            Path(path).unlink()
    Path("out/.convcli-batch.sqlite").unlink()
    assert run_all(None) == without


def test_each_call_that_is_missing_has_another_branch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("sched_getaffinity", "sysconf", "posix_fallocate", "chown"):
        monkeypatch.delattr(os, name, raising=False)
    assert system.core_count() == os.cpu_count()
    assert system.physical_memory() is None
    with (tmp_path / "x").open("wb") as stream:
        system.allocate(stream, 10, 90)
    assert (tmp_path / "x").stat().st_size == 100
    changed = SimpleNamespace(st_uid=-5, st_gid=-5)
    assert system.keep_owner(tmp_path / "x", changed)  # type: ignore[arg-type]
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    assert system.own_session() == {"creationflags": 512}
    monkeypatch.setattr(sys, "platform", "win32")
    system.end_with_parent(-1)


def test_memory_without_the_constants_of_posix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAP_ANONYMOUS", "MADV_HUGEPAGE", "MADV_DONTNEED"):
        monkeypatch.delattr(system.mmap, name, raising=False)
    memory = system.anonymous_memory(1 << 16)
    system.drop_pages(memory)
    assert memory[:3] == bytes(3)


def test_a_file_that_cannot_be_renamed_while_it_is_mapped_is_not_mapped(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcli.io.writing.MAP_ABOVE", 0)
    monkeypatch.setattr("convcli.io.writing.renames_open_files", lambda: False)
    with output_buffer(check_target("x.npy"), (3, 3), np.dtype(np.float64)) as buffer:
        assert not isinstance(buffer.array.base, np.memmap)
        buffer.array[...] = np.eye(3)
        buffer.publish(PLAIN)
    np.testing.assert_array_equal(np.load("x.npy"), np.eye(3))


def test_a_mapped_input_is_read_whole_if_its_output_replaces_it(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convcli.io.arrays.npy.MAP_ABOVE", 0)
    np.save("x.npy", np.ones((9, 9)))

    def is_mapped(output: str) -> bool:
        writing = WriteOptions(overwrite=True)
        return isinstance(
            plan_apply(ApplyRequest("x.npy", ("box",), output, writing=writing)).data.array,
            np.memmap,
        )

    assert is_mapped("x.npy")
    monkeypatch.setattr("convcli.jobs.apply.renames_open_files", lambda: False)
    assert is_mapped("y.npy")
    assert not is_mapped("x.npy")


@pytest.mark.parametrize(
    ("name", "status", "hidden"),
    [
        (".a.png", {}, True),
        ("a.png", {}, False),
        ("a.png", {"st_file_attributes": stat.FILE_ATTRIBUTE_HIDDEN}, True),
        ("a.png", {"st_file_attributes": stat.FILE_ATTRIBUTE_ARCHIVE}, False),
        ("a.png", {"st_flags": stat.UF_HIDDEN}, True),
    ],
)
def test_hidden_files(
    monkeypatch: pytest.MonkeyPatch, name: str, status: dict[str, int], hidden: bool
) -> None:
    monkeypatch.setattr(system, "_MARKS_HIDDEN", True)
    entry = SimpleNamespace(name=name, stat=lambda follow_symlinks: SimpleNamespace(**status))
    assert system.is_hidden(entry) == hidden  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["con.png", "NUL.tar.gz", "a:b.png", "x/COM1/a.png", "end./a.png", "a?.png"]
)
def test_names_that_windows_does_not_take_are_refused_there(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert system.reserved_part(PurePath(name)) == ""
    monkeypatch.setattr(system, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(naming, "_PLAIN", re.compile("(?!)"))
    assert system.reserved_part(PurePath(name))
    with pytest.raises(InputError, match="this system takes no file named"):
        output_name(Source(name, name), Template("{name}"), 1)
    assert system.reserved_part(PurePath("x/console.png")) == ""


def test_signals_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert system.signal_name(64) in ("SIGRTMAX", "signal 64")
    assert system.exit_code(1) == 129


def test_drive_letters_are_no_keys_and_no_parameters(in_tmp: Path) -> None:
    r"""Read files named as on a drive: `C:\k.npy` is a path, `C:\x.npz:key` an array in one."""
    np.save("C:\\k.npy", np.ones((3, 3)))
    np.savez("C:\\x.npz", key=np.ones((5, 5)), other=np.zeros(3))
    Path("C:\\net.toml").write_text('input = "8x8x1"\nlayers = "conv:2,k=3"\n')
    command = [sys.executable, "-m", "convcli"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for words in (
        ["apply", "C:\\x.npz:key", "-k", "C:\\k.npy", "-o", "C:\\y.npy"],
        ["batch", "C:\\k.npy", "-k", "C:\\k.npy", "--padding", "same", "--out", "C:\\out"],
        ["kernels", "show", "C:\\k.npy"],
        ["kernels", "export", "C:\\k.npy", "-o", "C:\\w.csv"],
        ["shape", "C:\\net.toml"],
        ["grad", "C:\\x.npz:key", "-k", "C:\\k.npy", "-o", "C:\\g.npz"],
    ):
        done = subprocess.run(
            [*command, *words], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (words, done.stderr)
    assert np.load("C:\\y.npy").shape == (3, 3)
    assert list(Search().find(["C:\\*.npy"]))
