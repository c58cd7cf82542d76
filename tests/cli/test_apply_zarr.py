"""`convcli apply` with a zarr output: reports, refusals, and what a killed run leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from convcli.cli import main

zarr = pytest.importorskip("zarr")

SOFT = ("-k", "gaussian:sigma=2", "--padding", "same", "--dims", "3", "--dtype", "uint8")
VALUES = np.random.default_rng(1).integers(0, 256, (96, 64, 64)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    array = zarr.create_array("in.zarr", shape=VALUES.shape, dtype="u1", chunks=(16, 16, 16))
    array[:] = VALUES
    return tmp_path


def apply(*words: str) -> Result:
    return CliRunner().invoke(main, ["apply", *words])


def ok(*words: str) -> Result:
    result = apply(*words)
    assert result.exit_code == 0, result.stderr
    return result


def read(path: str) -> Any:
    return zarr.open_array(path, mode="r")[:]


@pytest.mark.usefixtures("folder")
def test_the_plan_counts_regions_and_what_they_read() -> None:
    words = ("in.zarr", *SOFT, "-o", "out.zarr", "--block", "32", "--jobs", "2", "-n")
    text = ok(*words).stdout
    assert "regions    12 of 32x32x32" in text
    assert "-> out.zarr, chunks 16x16x16" in text
    plan = json.loads(ok(*words, "--json").stdout)
    # windows of 17 reach 8 samples beyond a block: a chunk on each side that is not an end
    along = (3 * 16 + 4 * 16 + 3 * 16, 2 * 48, 2 * 48)
    assert plan["regions"]["read"] == along[0] * along[1] * along[2]
    assert plan["regions"]["halo"] == pytest.approx(plan["regions"]["read"] / VALUES.size - 1)
    assert plan["regions"]["count"] == 12
    assert f"{100 * plan['regions']['halo']:,.0f} % more than the input" in text
    assert not Path("out.zarr").exists()


@pytest.mark.usefixtures("folder")
def test_worker_processes_and_this_one_write_the_same() -> None:
    ok("in.zarr", *SOFT, "-o", "one.zarr", "--jobs", "1", "--block", "32")
    told = ok("in.zarr", *SOFT, "-o", "two.zarr", "--jobs", "2", "--block", "32", "--json").stdout
    np.save("in.npy", VALUES)
    ok("in.npy", *SOFT, "-o", "whole.npy")
    np.testing.assert_array_equal(read("one.zarr"), np.load("whole.npy"))
    np.testing.assert_array_equal(read("two.zarr"), np.load("whole.npy"))
    assert json.loads(told)["finished"] is True
    assert json.loads(told)["ledger"]["total"] == VALUES.size
    ok("in.npy", *SOFT, "-o", "three.zarr", "--jobs", "2", "--chunks", "32x32x32", "--block", "32")
    np.testing.assert_array_equal(read("three.zarr"), np.load("whole.npy"))
    assert {path.name for path in Path("one.zarr").iterdir()} == {"c", "zarr.json"}
    ok("in.zarr", *SOFT, "-o", "back.npy")
    np.testing.assert_array_equal(np.load("back.npy"), np.load("whole.npy"))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("-o", "out.npy", "--chunks", "8x8x8"), "--chunks belongs to a zarr output"),
        (("-o", "out.npy", "--resume"), "--resume belongs to a zarr output"),
        (("--jobs", "2"), "--jobs belongs to a zarr output"),
        (("-o", "out.zarr", "--plot", "a.png"), "--plot draws a result in memory"),
        (("-o", "out.zarr", "--codec", "zsd"), "did you mean 'zstd'"),
        (("-o", "out.zarr", "--block", "20"), "no multiple of out.zarr's chunks 16x16x16; use"),
        (("-o", "in.zarr", "-f"), "in.zarr overlaps the input in.zarr"),
        (("-o", "there.zarr"), "there.zarr exists; expected a new file; pass --overwrite"),
        (("-o", "other.zarr", "-f"), "other.zarr exists and is no zarr array"),
        (("-o", "out.zarr", "--quality", "9"), "zarr takes no quality"),
        (("-o", "no/out.zarr"), "no is not a folder"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_does_not_fit_is_refused(words: tuple[str, ...], found: str) -> None:
    zarr.create_array("there.zarr", shape=(3,), dtype="u1")
    Path("other.zarr").mkdir()
    Path("other.zarr/mine.txt").write_text("mine")
    result = apply("in.zarr", *SOFT, *words)
    assert result.exit_code == 2
    assert found in " ".join(result.stderr.split())
    assert Path("other.zarr/mine.txt").read_text() == "mine"


@pytest.mark.usefixtures("folder")
def test_without_the_package_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convcli.io.formats.find_spec", lambda name: name != "zarr" or None)
    for words in (("in.zarr", "-o", "a.npy"), ("in.npy", "-o", "a.zarr")):
        result = apply(words[0], *SOFT, *words[1:])
        assert result.exit_code == 2
        assert "pip install zarr" in result.stderr


@pytest.mark.usefixtures("folder")
def test_a_codec_that_is_not_installed_is_named() -> None:
    path = Path("in.zarr/zarr.json")
    metadata = json.loads(path.read_text())
    metadata["codecs"][-1] = {"name": "nowhere"}
    path.write_text(json.dumps(metadata))
    result = apply("in.zarr", *SOFT, "-o", "out.zarr")
    assert result.exit_code == 2
    assert "in.zarr is compressed by the codec 'nowhere'; which is not installed" in result.stderr


@pytest.mark.usefixtures("folder")
def test_damaged_chunks_fail_their_regions_and_exit_with_3() -> None:
    Path("in.zarr/c/5/3/3").write_bytes(b"x")
    result = apply("in.zarr", *SOFT, "-o", "out.zarr", "--block", "32", "--jobs", "1")
    assert result.exit_code == 3
    assert "chunk c/5/3/3 of in.zarr is damaged" in result.stderr
    assert "of 12 regions failed; out.zarr is not finished" in result.stderr
    refused = apply("out.zarr", "-k", "box", "--dims", "3")
    assert refused.exit_code == 2
    assert "out.zarr is not finished" in refused.stderr


def run_and_kill(words: list[str], done: int) -> None:
    """Start convcli in a process group of its own, and kill all of it after some regions."""
    with subprocess.Popen(
        [sys.executable, "-m", "convcli", "apply", *words],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        for _ in range(6000):
            if len(list(Path("out.zarr").rglob("c/*/*/*"))) >= done or process.poll() is not None:
                break
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there are no process groups")
@pytest.mark.parametrize("done", [0, 1, 9, 30])
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.usefixtures("folder")
def test_a_run_that_is_killed_is_resumed_to_the_same_bytes(done: int, jobs: str) -> None:
    words = ["in.zarr", *SOFT, "--block", "16", "--jobs", jobs]
    run_and_kill([*words, "-o", "out.zarr"], done)
    if not Path("out.zarr/zarr.json").exists():  # it was not finished before it was killed
        with pytest.raises((OSError, KeyError, ValueError)):
            zarr.open("out.zarr", mode="r")
        ok(*words, "-o", "out.zarr", "--resume")
    ok("in.zarr", *SOFT, "-o", "whole.zarr", "--jobs", "1")
    np.testing.assert_array_equal(read("out.zarr"), read("whole.zarr"))
    files = {path.name for path in Path("out.zarr").rglob("*") if path.is_file()}
    assert not [name for name in files if "partial" in name or name.endswith(".tmp")]
