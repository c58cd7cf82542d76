"""Unlucky moments: interrupts while Python imports, a standard input or a working directory that is
gone.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs bash and POSIX signals")

INTERRUPTS = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)

def watch(event, arguments):
    if event == "import" and arguments[0] == os.environ["TEST_MODULE"]:
        os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(watch)
"""


def environment(*folders: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, folders), *filter(None, sys.path)]),
        **more,
    }


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `convcli` is this one."""
    script = f'convcli() {{ {shlex.quote(sys.executable)} -m convcli "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment(), check=False
    )


@pytest.mark.parametrize(
    "module",
    [
        "convcli.cli",
        "click",
        "convcli.errors",
        "convcli.cli.types",
        "numpy",
        "convcli.jobs.apply",
        "convcli.io.reading",
    ],
)
def test_an_interrupt_while_modules_are_imported_is_one_line(in_tmp: Path, module: str) -> None:
    (in_tmp / "sitecustomize.py").write_text(INTERRUPTS)
    np.save("x.npy", np.ones((5, 5)))
    words = [sys.executable, "-m", "convcli", "apply", "x.npy", "-k", "box", "-o", "y.npy"]
    done = subprocess.run(
        words, env=environment(in_tmp, TEST_MODULE=module), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, b"Error: interrupted\n")
    assert not Path("y.npy").exists()


@pytest.mark.parametrize(
    "words",
    [
        "apply x.npy -k box -o y.npy",
        "explain x.npy -k box --at 1,1",
        "animate x.npy -k box -o y.gif",
        "grad x.npy -k box -o y.npz",
        "gradcheck x.npy -k box --samples 2",
        "laws x.npy -k box",
        "batch x.npy -k box --out out -q",
        "shape 8x8 -k 3x3",
        "kernels show box",
    ],
)
def test_a_closed_standard_input_is_no_trouble(in_tmp: Path, words: str) -> None:
    np.save("x.npy", np.ones((5, 5)))
    done = shell(f"convcli {words} <&-")
    assert (done.returncode, done.stderr.count("Error")) == (0, 0), done.stderr


def test_a_closed_standard_input_that_is_the_input_is_told(in_tmp: Path) -> None:
    done = shell("convcli apply - -k box -o y.npy <&-")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: standard input is closed; ")


class TestNoWorkingDirectory:
    def gone(self, words: str) -> subprocess.CompletedProcess[str]:
        return shell(f"mkdir gone && cd gone && rmdir ../gone && convcli {words}")

    @pytest.mark.parametrize(
        "words", ["apply {}/x.npy -k box -o {}/y.npy", "shape 8x8 -k 3x3", "--version"]
    )
    def test_what_needs_none_goes_on(self, in_tmp: Path, words: str) -> None:
        np.save("x.npy", np.ones((5, 5)))
        done = self.gone(words.format(in_tmp, in_tmp))
        assert (done.returncode, done.stderr.count("Error")) == (0, 0), done.stderr

    @pytest.mark.parametrize(
        "words",
        [
            "batch {}/x.npy -k box --out out",
            "batch x.npy -k box --out out",
            "apply {}/x.npy -k box -o y.npy",
        ],
    )
    def test_what_needs_one_says_so(self, in_tmp: Path, words: str) -> None:
        np.save("x.npy", np.ones((5, 5)))
        done = self.gone(words.format(in_tmp))
        assert done.returncode == (1 if " -o " in words else 2)
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1
        assert "standard output" not in done.stderr
        assert "fault of convcli" not in done.stderr
