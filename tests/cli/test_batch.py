"""`convcli batch`: what it writes, skips and refuses, and what is left when it is stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from convcli import __version__
from convcli.cli import main
from convcli.io import save
from convcli.jobs.batch.manifest import NAME, Manifest
from convcli.jobs.executors.pool import Pool

ROOT = Path(__file__).parents[2]
SHARPEN = ("-k", "sharpen", "--padding", "same")
BLUR = ("-k", "box", "--padding", "same")


@pytest.fixture(autouse=True)
def _wide(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def run(*words: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["batch", *map(str, words)], input=stdin)


def ok(*words: object, code: int = 0, stdin: bytes | None = None) -> str:
    result = run(*words, "-q", stdin=stdin)
    assert result.exit_code == code, (result.exit_code, result.output)
    assert result.stderr.count("\n") == (code != 0)
    return result.stdout


def refused(*words: object, code: int = 2, stdin: bytes | None = None) -> str:
    result = run(*words, stdin=stdin)
    assert result.exit_code == code, (result.exit_code, result.output)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def records(*words: object, code: int = 0) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The records of a run by input, and its summary."""
    *each, last = map(json.loads, ok(*words, "--json", code=code).splitlines())
    assert {record["command"] for record in each} <= {"batch"}
    assert last["command"] == "batch summary"
    return {record["input"]: record for record in each}, last


def pictures(*names: str, size: int = 12) -> None:
    for number, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(
            0, 256, (size, size + number % 5, 3), np.uint8
        )
        save(name, values, overwrite=True)


def tree(folder: str | Path = "out") -> dict[str, str]:
    """Every file under a folder, the manifest aside, with the digest of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.name.startswith(NAME)
    }


class TestOutputs:
    def test_every_file_is_what_apply_makes(self) -> None:
        pictures("in/a.png", "in/sub/b.png", "in/c.bmp")
        told = ok("in", *BLUR, "--recursive", "--out", "out").splitlines()
        assert [line.split() for line in told[:3]] == [
            ["done", "3,", "in", "out"],
            ["skipped", "0"],
            ["failed", "0"],
        ]
        assert list(tree()) == ["a.png", "c.bmp", "sub/b.png"]
        for name in tree():
            done = CliRunner().invoke(
                main, ["apply", f"in/{name}", *BLUR, "-o", f"one{Path(name).suffix}"]
            )
            assert done.exit_code == 0
            assert Path(f"one{Path(name).suffix}").read_bytes() == Path("out", name).read_bytes()
            Path(f"one{Path(name).suffix}").unlink()

    def test_the_same_bytes_for_any_jobs(self) -> None:
        pictures(*(f"in/{n}.png" for n in range(6)), size=70)
        for jobs in (1, 2, 3):
            ok("in", "-k", "gaussian:sigma=2", "--out", f"out{jobs}", "--jobs", jobs)
        assert tree("out1") == tree("out2") == tree("out3")

    def test_jobs_share_the_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = []

        def noted(workers: int, *, environment: dict[str, str], **options: Any) -> Pool:
            made.append((workers, environment["CONVCLI_THREADS"]))
            return Pool(workers, environment=environment, **options)

        monkeypatch.setattr("convcli.jobs.executors.opening.Pool", noted)
        pictures("in/a.png", "in/b.png")
        for number, words in enumerate(
            ("--threads 6 --jobs 2", "--threads 3 --jobs 2", "--threads 1")
        ):
            ok("in", "-k", "box", "--out", f"out{number}", *words.split())
        monkeypatch.setenv("CONVCLI_THREADS", "2")
        ok("in", "-k", "box", "--out", "told")
        assert made == [(2, "3"), (2, "1"), (1, "1"), (2, "1")]
        assert tree("out0") == tree("out1") == tree("out2") == tree("told")
        monkeypatch.setenv("CONVCLI_THREADS", "x")
        assert "'x'; expected a whole number from 1" in refused("in", "-k", "box", "--out", "other")

    def test_jobs_share_the_memory(self) -> None:
        pictures(*(f"in/{n}.png" for n in range(4)), size=70)
        words = ("in", "-k", "box", "--max-memory", "30M")
        ok(*words, "--out", "alone", "--jobs", 1)
        assert "the limit is 7.50 MiB" in ok(*words, "--out", "together", "--jobs", 4, code=3)

    def test_options_of_apply_reach_every_file(self) -> None:
        pictures("in/a.png", "in/b.png")
        options = [
            "--op",
            "convolve",
            "--stride",
            "2",
            "--scale",
            "0.5",
            "--bias",
            "3",
            "--dtype",
            "float32",
        ]
        ok(
            "in",
            "-k",
            "1,2;3,4",
            "-k",
            "box:2x2",
            "--combine",
            "max",
            *options,
            "--format",
            "npy",
            "--out",
            "out",
        )
        for name in ("a", "b"):
            words = [
                "apply",
                f"in/{name}.png",
                "-k",
                "1,2;3,4",
                "-k",
                "box:2x2",
                "--combine",
                "max",
                *options,
            ]
            assert CliRunner().invoke(main, [*words, "-o", f"{name}.npy"]).exit_code == 0
            np.testing.assert_array_equal(np.load(f"out/{name}.npy"), np.load(f"{name}.npy"))

    def test_verbose_names_each_input(self) -> None:
        pictures("in/a.png", "in/b.png")
        Path("in/c.png").write_text("no picture")
        told = ok("in", *SHARPEN, "--out", "out", "-v", code=3).splitlines()
        assert {"in/a.png -> a.png", "in/b.png -> b.png"} < set(told)
        assert any(line.startswith("in/c.png failed: is no png file") for line in told)
        told = ok("in/a.png", *SHARPEN, "--out", "out", "-v", "--resume").splitlines()
        assert told[0] == "in/a.png skipped: done before, and unchanged"

    def test_every_option_of_apply_is_taken(self) -> None:
        own = {"--output", "-o", "--dry-run", "--format", "--json", "--overwrite", "--debug"}
        own |= {"--threads", "--show", "--plot", "--chunks", "--codec", "--block"}
        options = {
            name: set(
                re.findall(
                    r"^  (?:-\w, )?(--[a-z-]+)", CliRunner().invoke(main, [name, "-h"]).stdout, re.M
                )
            )
            for name in ("apply", "batch")
        }
        assert options["apply"] - own <= options["batch"]

    def test_names_and_formats(self) -> None:
        pictures("in/a.png", "in/sub/b.png")
        ok(
            "in/**/*.png",
            *SHARPEN,
            "--name",
            "{index:02}-{stem}{ext}",
            "--format",
            "tiff",
            "--out",
            "out",
        )
        assert list(tree()) == ["01-a.tiff", "sub/02-b.tiff"]

    def test_lists_from_standard_input_and_names_in_any_encoding(self) -> None:
        pictures("in/a.png", "in/b c.png")
        os.rename(b"in/b c.png", b"in/b\n\xff.png")  # noqa: PTH104
        ok("--files-from", "-", "-0", *SHARPEN, "--out", "out", stdin=b"in/a.png\0in/b\n\xff.png\0")
        assert list(tree()) == ["in/a.png", "in/b\n\udcff.png"]
        told = ok(
            "--files-from",
            "-",
            "-0",
            *SHARPEN,
            "--out",
            "out",
            "--resume",
            stdin=b"in/b\n\xff.png\0in/none\n\0",
            code=3,
        )
        assert "skipped  1, done before and unchanged" in told
        assert "  in/none\\n  cannot be read; No such file or directory" in told

    def test_in_and_out_may_be_one_folder(self) -> None:
        pictures("in/a.png", "in/b.png")
        for skipped in (0, 2):
            told = ok("in", *SHARPEN, "--name", "{stem}-sharp{ext}", "--out", "in", "--resume")
            assert f"skipped  {skipped}" in told
        assert list(tree("in")) == ["a-sharp.png", "a.png", "b-sharp.png", "b.png"]
        ok("in", *SHARPEN, "--recursive", "--out", "in/out")
        assert list(tree("in/out")) == ["a-sharp.png", "a.png", "b-sharp.png", "b.png"]
        ok("in", *SHARPEN, "--recursive", "--out", "in/out", "--resume")
        assert len(tree("in/out")) == 4

    def test_dry_run_writes_nothing(self) -> None:
        pictures("in/a.png", "in/b.png")
        told = ok("in", *SHARPEN, "--out", "out", "--name", "{stem}-x{ext}", "--dry-run")
        assert told.splitlines()[:3] == [
            "in/a.png -> a-x.png",
            "in/b.png -> b-x.png",
            "planned  2, in out",
        ]
        assert not Path("out").exists()
        ok("in/a.png", *SHARPEN, "--out", "out", "--name", "{stem}-x{ext}")
        nothing = ok(
            "in/a.png", *SHARPEN, "--out", "out", "--name", "{stem}-x{ext}", "--dry-run", "--resume"
        )
        assert nothing.splitlines()[:2] == [
            "planned  0, in out",
            "skipped  1, done before and unchanged",
        ]
        before = (tree(), Path("out", NAME).read_bytes())
        each, last = records(
            "in", *SHARPEN, "--out", "out", "--name", "{stem}-x{ext}", "--dry-run", "--resume"
        )
        assert [record["status"] for record in each.values()] == ["skipped", "planned"]
        assert (last["planned"], last["done"], last["skipped"]) == (1, 0, 1)
        assert (tree(), Path("out", NAME).read_bytes()) == before

    def test_json(self) -> None:
        pictures("in/a.png")
        Path("in/b.png").write_bytes(Path("in/a.png").read_bytes()[:100])
        each, last = records("in", *SHARPEN, "--out", "out", code=3)
        assert each["in/a.png"] == {
            "convcli": __version__,
            "schema": 2,
            "command": "batch",
            "warnings": each["in/a.png"]["warnings"],
            "input": "in/a.png",
            "output": "a.png",
            "status": "done",
            "reason": None,
            "shape": [12, 12, 3],
            "dtype": "uint8",
            "bytes": Path("out/a.png").stat().st_size,
            "values": 12 * 12 * 3,
            "clipped": each["in/a.png"]["clipped"],
            "lost": [],
            "sha256": tree()["a.png"],
        }
        assert each["in/a.png"]["clipped"] > 0
        assert [warning[-19:] for warning in each["in/a.png"]["warnings"]] == [
            "use --range rescale"
        ]
        assert each["in/b.png"]["status"] == "failed"
        assert "in/b.png is damaged" in each["in/b.png"]["reason"]
        assert [last[name] for name in ("inputs", "done", "skipped", "failed")] == [2, 1, 0, 1]

    def test_progress_is_on_stderr_and_only_where_it_takes_seconds(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("convcli.cli.report.batch.LINE_EVERY", 0.001)
        pictures("in/a.png", "in/b.png")
        result = run("in", *SHARPEN, "--out", "out")
        assert re.search(r"^\d of 2, [\d.e-]+ per second, \d+:\d\d left$", result.stderr, re.M)
        assert " left" not in result.stdout
        assert run("in", *SHARPEN, "--out", "other", "-q").stderr == ""

    def test_dry_run_of_a_resumed_batch_looks_at_many_files_at_a_time_and_keeps_their_order(
        self,
    ) -> None:
        pictures(*(f"in/{n:02}.png" for n in range(30)))
        ok("in", *SHARPEN, "--out", "out")
        pictures("in/02.png", "in/17.png", size=20)
        Path("in/30.png").touch()
        each, last = records("in", *SHARPEN, "--out", "out", "--dry-run", "--resume", "--jobs", 3)
        assert list(each) == [f"in/{n:02}.png" for n in range(31)]
        assert [name for name, record in each.items() if record["status"] == "planned"] == [
            "in/02.png",
            "in/17.png",
            "in/30.png",
        ]
        assert last["skipped"] == 28

    def test_dry_run_gives_up_what_cannot_be_looked_at(
        self, request: pytest.FixtureRequest
    ) -> None:
        pictures("in/stuck.png", "in/b.png")
        ok("in", *SHARPEN, "--out", "out")
        request.getfixturevalue("stuck_workers")
        words = (
            "in/stuck.png",
            "in/b.png",
            *SHARPEN,
            "--out",
            "out",
            "--dry-run",
            "--resume",
            "--timeout",
            3,
        )
        assert [record["status"] for record in records(*words)[0].values()] == [
            "planned",
            "skipped",
        ]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Provide a scheduler named `threads` by an entry point."""
    import concurrent.futures

    from convcli.jobs.executors import Scheduler, plugins

    own = Scheduler("threads", concurrent.futures.ThreadPoolExecutor)
    monkeypatch.setattr(concurrent.futures, "THREADS", own, raising=False)
    point = EntryPoint("threads", "concurrent.futures:THREADS", "convcli.executors")
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group: [point] if group == point.group else [],
    )
    plugins.plugin_schedulers.cache_clear()
    yield
    plugins.plugin_schedulers.cache_clear()


@pytest.mark.usefixtures("threads")
class TestScheduler:
    """Batches whose workers are those of an executor that a plugin provides."""

    WORDS = ("--scheduler", "threads", "--jobs", "2")

    def test_outputs_manifest_and_report_are_those_of_a_local_run(self) -> None:
        pictures(*(f"in/{n}.png" for n in range(40)))
        Path("in/bad.png").write_text("no picture")
        local, summary = records("in", *SHARPEN, "--out", "out", code=3)
        entries, whole = Manifest.of(Path("out")), tree()
        shutil.rmtree("out")
        found, last = records("in", *SHARPEN, "--out", "out", *self.WORDS, code=3)
        assert found == local
        assert (tree(), Manifest.of(Path("out"))) == (whole, entries)
        assert (summary.pop("workers"), last.pop("workers")) == (None, "2 of threads")
        assert {**last, "seconds": 0} == {**summary, "seconds": 0}
        assert not list(Path("out").glob("*.tmp"))
        told = ok("in", *SHARPEN, "--out", "out", "--resume", *self.WORDS, code=3).splitlines()
        assert told[:3] == [
            "workers  2 of threads",
            "done     0, in out",
            "skipped  40, done before and unchanged",
        ]

    def test_dry_run(self) -> None:
        pictures(*(f"in/{n:02}.png" for n in range(30)))
        ok("in", *SHARPEN, "--out", "out")
        pictures("in/17.png", size=20)
        words = ("in", *SHARPEN, "--out", "out", "--dry-run", "--resume")
        before = sorted(Path("out").iterdir())
        found, last = records(*words, *self.WORDS)
        assert found == records(*words)[0]
        assert (last["planned"], last["skipped"]) == (1, 29)
        assert sorted(Path("out").iterdir()) == before

    def test_in_place(self) -> None:
        pictures("in/a.png", "in/b.png")
        shutil.copytree("in", "other")
        ok("other", *SHARPEN, "--in-place")
        ok("in", *SHARPEN, "--in-place", *self.WORDS)
        assert tree("in") == tree("other")
        assert "skipped  2" in ok("in", *SHARPEN, "--in-place", "--resume", *self.WORDS)

    def test_timeout(self, stuck_workers: None) -> None:
        pictures("in/a.png", "in/stuck.png", "in/b.png")
        inputs = ("in/a.png", "in/stuck.png", "in/b.png")
        told = ok(*inputs, *SHARPEN, "--out", "out", "--timeout", 3, *self.WORDS, code=3)
        assert "  in/stuck.png  it took longer than 3 s and was stopped" in told
        assert list(tree()) == ["a.png", "b.png"]

    def test_it_is_chosen_by_an_environment_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pictures("in/a.png")
        monkeypatch.setenv("CONVCLI_SCHEDULER", "threads")
        assert "workers  1 of threads\n" in ok("in", *SHARPEN, "--out", "out")
        monkeypatch.setenv("CONVCLI_SCHEDULER", "thread")
        told = refused("in", *SHARPEN, "--out", "other")
        assert "--scheduler 'thread'; expected " in told
        assert "did you mean 'threads'?" in told


class TestRefusals:
    def test_usage(self) -> None:
        pictures("a.png")
        assert "no input; expected files" in refused(*SHARPEN, "--out", "out")
        assert "nothing to do" in refused("--files-from", "-", *SHARPEN, "--out", "out", stdin=b"")
        ok("a.png", *SHARPEN, "--out", "made")
        told = refused("made", *SHARPEN, "--out", "made")
        assert "all inputs are outputs of an earlier batch in made" in told
        assert "add --files-from FILE" in refused("a.png", "-0", *SHARPEN, "--out", "out")
        assert "no name; expected that of a folder" in refused("a.png", *SHARPEN, "--out", "")
        assert "nothing matches *.tif" in refused("*.tif", *SHARPEN, "--out", "out")
        assert "did you mean 'sharpen'" in refused("a.png", "-k", "sharpe", "--out", "out")
        assert "did you mean '{stem}'" not in refused(
            "a.png", *SHARPEN, "--out", "out", "--name", "{}"
        )
        assert "unknown format 'pgn'" in refused(
            "a.png", *SHARPEN, "--out", "out", "--format", "pgn"
        )
        assert not Path("out").exists()

    def test_collisions_are_refused_before_the_first_write(self) -> None:
        pictures("x/a.png", "y/a.png", "y/b.png", "x/B.png")
        told = refused("x", "y", *SHARPEN, "--out", "out")
        assert (
            "x/B.png -> B.png and y/b.png -> b.png, x/a.png -> a.png and y/a.png -> a.png" in told
        )
        assert not Path("out").exists()
        ok("x", "y", *SHARPEN, "--out", "out", "--name", "{parent}-{name}")

    def test_outputs_that_are_inputs(self) -> None:
        pictures("in/a.png")
        before = tree("in")
        assert "in/a.png is an input" in refused("in", *SHARPEN, "--out", "in", "--overwrite")
        assert tree("in") == before

    def test_files_that_exist_are_replaced_only_on_demand(self) -> None:
        pictures("in/a.png", "in/b.png", "out/a.png")
        before = tree()
        assert "out/a.png exists; expected new files; pass --resume" in refused(
            "in", *SHARPEN, "--out", "out"
        )
        assert "no batch made it; pass --overwrite" in refused(
            "in", *SHARPEN, "--out", "out", "--resume"
        )
        assert tree() == before
        ok("in", *SHARPEN, "--out", "out", "--overwrite")
        assert "2 outputs exist, such as out/a.png" in refused("in", *SHARPEN, "--out", "out")
        assert "skipped  2" in ok("in", *SHARPEN, "--out", "out", "--resume")

    def test_suffixes_that_are_not_written_are_refused_before_the_first_write(self) -> None:
        pictures("in/a.png", "in/b.png")
        told = refused("in", *SHARPEN, "--out", "out", "--name", "{stem}.zzz")
        assert "out/a.zzz ends in '.zzz'; expected the suffix of a format" in told
        assert "out/1 has no suffix" in refused("in", *SHARPEN, "--out", "out", "--name", "{index}")
        told = refused("in", *SHARPEN, "--out", "out", "--name", "{stem}.jpg", "--format", "png")
        assert "out/a.jpg is named as jpg; the format given is png" in told
        assert "jp2" in refused("in", *SHARPEN, "--out", "out", "--format", "jp2")
        assert not Path("out").exists()

    def test_a_suffix_that_an_input_brings_is_its_own_trouble(self) -> None:
        pictures("in/a.png", "b.png")
        Path("b.png").rename("in/b.jp2")
        told = ok("in", *SHARPEN, "--out", "out", code=3)
        assert "in/b.jp2  " in told
        assert list(tree()) == ["a.png"]

    @pytest.mark.parametrize("out", ["file", "file/out", "link"])
    def test_a_folder_that_is_none(self, out: str) -> None:
        pictures("in/a.png")
        Path("file").touch()
        Path("link").symlink_to("nowhere")
        told = refused("in", *SHARPEN, "--out", out)
        assert (
            f"{out.partition('/')[0]} is no folder; expected one, or a name that is free; "
            "choose --out" in told
        )

    def test_a_folder_that_cannot_be_made(self) -> None:
        pictures("in/a.png")
        long = 300 * "x"
        assert f"{long} cannot be created; File name too long" in refused(
            "in", *SHARPEN, "--out", long, code=1
        )

    def test_a_folder_that_the_system_does_not_make(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pictures("in/a.png")

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "mkdir", full)
        assert "out cannot be created; No space left on device" in refused(
            "in", *SHARPEN, "--out", "out", code=1
        )

    def test_the_help_says_what_json_prints(self) -> None:
        assert "one line of JSON per input" in " ".join(run("--help").stdout.split())

    def test_two_batches_at_one_folder(self) -> None:
        pictures("in/a.png")
        Path("out").mkdir()
        held = Manifest(Path("out"))
        given = f"out is in use by another batch, process {os.getpid()}; "
        assert given in refused("in", *SHARPEN, "--out", "out")
        held.close()

    @pytest.mark.skipif(
        sys.platform not in ("linux", "darwin"), reason="the system does not tell who has a lock"
    )
    def test_the_process_that_uses_the_folder_is_named(self) -> None:
        pictures("in/a.png")
        Path("out").mkdir()
        code = (
            "from pathlib import Path; from convcli.jobs.batch.manifest import Manifest; "
            "held = Manifest(Path('out')); print('held', flush=True); input()"
        )
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", code], env=environment(), **pipes) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            told = refused("in", *SHARPEN, "--out", "out")
            other.communicate(b"\n")
        assert f"in use by another batch, process {other.pid}; expected it free; wait for" in told
        assert "done     1" in ok("in", *SHARPEN, "--out", "out")


class TestFailures:
    def test_the_others_are_done(self) -> None:
        pictures("in/a.png", "in/b.png", "in/d.png")
        Path("in/b.png").write_bytes(b"no picture")
        Path("in/c.csv").write_text("1,2\n3,4\n")
        told = ok("in", "-k", "random:3x3x3", "--out", "out", code=3)
        assert "done     2, in out\n" in told
        assert "failed   2\n" in told
        assert "  in/b.png  is no png file; it looks like text" in told
        assert re.search(r"^  in/c.csv  .*kernel 3x3x3", told, re.M)
        assert list(tree()) == ["a.png", "d.png"]

    def test_all_failed_is_3_too(self) -> None:
        Path("a.png").write_bytes(b"x")
        assert "failed   1" in ok("a.png", *SHARPEN, "--out", "out", code=3)

    def test_a_full_disk_fails_one_file(self) -> None:
        """A limit on the size of files, which the large output passes and the small ones and the
        manifest do not.
        """
        pictures("in/a.png", "in/b.png")
        save("in/c.png", np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8))
        limited = (
            "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
            + MAIN
        )
        words = command("in", *SHARPEN, "--out", "out", "-q", code=limited)
        done = subprocess.run(words, env=environment(), capture_output=True)
        assert done.returncode == 3, done
        assert b"  in/c.png  out/c.png cannot be written; File too large" in done.stdout
        assert sorted(path.name for path in Path("out").iterdir()) == [NAME, "a.png", "b.png"]

    @pytest.mark.skipif(
        not Path("/dev/zero").is_char_device(), reason="the system has no such device"
    )
    def test_a_device_without_an_end_is_not_read(self) -> None:
        pictures("in/a.png")
        Path("in/zero.png").symlink_to("/dev/zero")
        told = ok("in/a.png", "in/zero.png", *SHARPEN, "--out", "out", "--timeout", "30", code=3)
        assert "in/zero.png  is a pipe or a device; expected a file; use convcli apply" in told

    def test_an_input_that_vanishes(self) -> None:
        pictures("in/a.png", "in/b.png")
        told = ok(
            "--files-from",
            "-",
            *SHARPEN,
            "--out",
            "out",
            stdin=b"in/a.png\nin/gone.png\nin/b.png\n",
            code=3,
        )
        assert "in/gone.png  cannot be read; No such file or directory" in told
        assert list(tree()) == ["in/a.png", "in/b.png"]

    def test_an_output_folder_that_turns_out_a_file(self) -> None:
        pictures("in/sub/a.png", "in/b.png")
        Path("out").mkdir()
        Path("out/sub").touch()
        told = ok("in", "--recursive", *SHARPEN, "--out", "out", code=3)
        assert "in/sub/a.png  out/sub cannot be created; File exists" in told

    @pytest.mark.parametrize("seconds", ["nan", "inf", "0", "1e300", "soon"])
    def test_a_timeout_is_a_time_that_can_be_waited_for(self, seconds: str) -> None:
        pictures("in/a.png")
        told = refused("in", *SHARPEN, "--out", "out", "--timeout", seconds)
        assert f"{seconds!r}; expected a number of seconds above 0" in told
        assert not Path("out").exists()

    def test_a_pipe_is_not_waited_for(self) -> None:
        pictures("in/a.png")
        os.mkfifo("in/pipe.png")
        told = ok("in/a.png", "in/pipe.png", *SHARPEN, "--out", "out", code=3)
        assert "in/pipe.png  is a pipe or a device; expected a file; use convcli apply" in told

    def test_a_timeout_stops_one_file(self, stuck_workers: None) -> None:
        pictures("in/a.png", "in/stuck.png", "in/b.png")
        inputs = ("in/a.png", "in/stuck.png", "in/b.png")
        told = ok(*inputs, *SHARPEN, "--out", "out", "--timeout", 3, code=3)
        assert "  in/stuck.png  it took longer than 3 s and was stopped" in told
        assert list(tree()) == ["a.png", "b.png"]


class TestResume:
    def test_what_is_done_is_skipped_and_what_changed_is_redone(self) -> None:
        pictures(*(f"in/{n}.png" for n in range(6)))
        ok("in", *SHARPEN, "--out", "out")
        before = {name: Path("out", name).stat().st_mtime_ns for name in tree()}
        whole = tree()
        pictures("new.png", "newer.png")
        shutil.copy("newer.png", "in/0.png")  # another input
        Path("out/1.png").write_bytes(b"spoilt")
        Path("out/2.png").unlink()
        pictures("in/6.png")
        each, last = records("in", *SHARPEN, "--out", "out", "--resume")
        assert [last[name] for name in ("done", "skipped", "failed")] == [4, 3, 0]
        skipped = {name for name, record in each.items() if record["status"] == "skipped"}
        assert skipped == {f"in/{n}.png" for n in (3, 4, 5)}
        after = tree()
        assert all(after[name] == whole[name] for name in ("1.png", "2.png", "3.png"))
        assert after["0.png"] != whole["0.png"]
        assert all(
            Path("out", f"{n}.png").stat().st_mtime_ns == before[f"{n}.png"] for n in (3, 4, 5)
        )

    @pytest.mark.parametrize(
        "change",
        [
            ("-k", "emboss", "--padding", "same"),
            (*SHARPEN, "--boundary", "edge"),
            (*SHARPEN, "--scale", "2"),
        ],
    )
    def test_another_recipe_redoes_all(self, change: tuple[str, ...]) -> None:
        pictures("in/a.png", "in/b.png")
        ok("in", *SHARPEN, "--out", "out")
        assert "done     2" in ok("in", *change, "--out", "out", "--resume")
        ok("in", *change, "--out", "fresh")
        assert tree("out") == tree("fresh")

    def test_a_kernel_file_counts_by_its_content(self) -> None:
        pictures("in/a.png")
        Path("w.csv").write_text("0,1\n1,0\n")
        ok("in", "-k", "w.csv", "--out", "out")
        Path("w.csv").rename("v.csv")
        assert "skipped  1" in ok("in", "-k", "v.csv", "--out", "out", "--resume")
        Path("v.csv").write_text("0,1\n1,1\n")
        assert "done     1" in ok("in", "-k", "v.csv", "--out", "out", "--resume")

    def test_failures_are_tried_again(self) -> None:
        pictures("in/a.png", "in/b.png")
        good = Path("in/b.png").read_bytes()
        Path("in/b.png").write_bytes(good[:50])
        ok("in", *SHARPEN, "--out", "out", code=3)
        Path("in/b.png").write_bytes(good)
        assert "done     1" in ok("in", *SHARPEN, "--out", "out", "--resume")


# Processes that are stopped.

MAIN = "import sys; sys.argv[0] = 'convcli'; from convcli.cli import main; main()"


def command(*words: object, code: str = MAIN) -> list[str]:
    return [sys.executable, "-c", code, "batch", *map(str, words)]


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([*([more.pop("hooks")] if "hooks" in more else []), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, **more}


# Every interpreter that has this on PYTHONPATH notes that it runs. A worker that opens the input
# that is stuck notes it and waits for ever, where it is to be deaf holding the interpreter's lock.
# At the given number of file events, those of one role kill themselves or their parent.
HOOKS = """
import ctypes, os, signal, sys
from pathlib import Path

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
role = "worker" if os.environ.get("TEST_BATCH") else "parent"
os.environ["TEST_BATCH"] = "1"
notes = Path(os.environ["TEST_NOTES"])
Path(notes, f"{os.getpid()}.{role}").touch()
counted, victim, left = os.environ.get("TEST_KILL", ",,0").split(",")
left = int(left)

def watch(event, arguments):
    global left
    if event not in ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "sqlite3.connect"):
        return
    name = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes, os.PathLike)) else ""
    if "in/stuck" in name and role == "worker":
        Path(notes, f"{os.getpid()}.stuck").touch()
        (ctypes.PyDLL if "TEST_DEAF" in os.environ else ctypes.CDLL)(None).pause()
    if counted == role and "out" in name:
        left -= 1
        if left == 0:
            os.kill(os.getpid() if victim == role else os.getppid(), signal.SIGKILL)

sys.addaudithook(watch)
"""


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH whose hooks are loaded by every process, and where each notes its
    number and role.
    """
    folder = tmp_path / "hooks"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOKS)
    return folder


@pytest.fixture
def stuck_workers(hooks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every worker that opens an input of the name wait there for ever."""
    for name, value in watched(hooks, TEST_BATCH="1").items():
        monkeypatch.setenv(name, value)


def watched(hooks: Path, **more: str) -> dict[str, str]:
    return environment(hooks=str(hooks), TEST_NOTES=str(hooks), **more)


def alive(hooks: Path, role: str = "*") -> list[int]:
    """The processes that were noted and still run; those that have ended and were not waited for do
    not count.
    """
    found = []
    for path in hooks.glob(f"[0-9]*.{role}"):
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{path.stem}/stat").read_text().rpartition(")")[2].split()[0]
            found += [int(path.stem)] * (state != "Z")
    return found


def gone(hooks: Path) -> bool:
    """Whether every process ends, those that must notice by themselves that their parent did within
    some seconds.
    """
    for _ in range(500):
        if not alive(hooks):
            return True
        time.sleep(0.02)
    return False


def stuck_batch(hooks: Path, *options: str, **more: str) -> subprocess.Popen[bytes]:
    """A batch that never ends, for a worker never does at one of its inputs.

    One record has been printed, and with two jobs a worker is at that input.
    """
    pictures("in/a.png", "in/stuck.png", "in/b.png")
    words = command(
        "in/a.png", "in/stuck.png", "in/b.png", *SHARPEN, "--out", "out", "--json", *options
    )
    process = subprocess.Popen(
        words, env=watched(hooks, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert b'"done"' in process.stdout.readline()
    while not alive(hooks, "stuck"):
        time.sleep(0.01)
    return process


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="tells by /proc which processes run"
)


@needs_proc
class TestStopped:
    @pytest.mark.parametrize("how", [{}, {"TEST_DEAF": "1"}], ids=["waiting", "deaf"])
    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
    )
    def test_a_signal_leaves_nothing_half(
        self, hooks: Path, number: int, code: int, how: dict[str, str]
    ) -> None:
        """The batch ends although a worker never would: that worker is killed."""
        process = stuck_batch(hooks, "--jobs", "2", **how)
        process.send_signal(number)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
        assert process.returncode == code
        assert re.fullmatch(
            rb"stopped: [12] of 3 done; to continue, run the same command with --resume\n", told
        )
        assert not alive(hooks)
        assert not list(Path("out").glob(".convcli-*.tmp"))
        entries = Manifest.of(Path("out"))
        for name, digest in tree().items():  # recorded before it is published
            assert entries[name].output == digest
        assert {"a.png"} <= set(entries) <= {"a.png", "b.png"}
        assert "skipped  " in ok("in/a.png", "in/b.png", *SHARPEN, "--out", "out", "--resume")

    def test_a_closed_pipe_ends_it_silently(self, hooks: Path) -> None:
        pictures(*(f"in/{n}.png" for n in range(30)))
        words = command("in", *SHARPEN, "--out", "out", "--json", "--jobs", "2")
        process = subprocess.Popen(
            words, env=watched(hooks), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        with process.stderr:
            assert process.stderr.read() == b""
        assert process.wait(60) == 0
        assert not alive(hooks)

    def test_a_worker_killed_from_outside_costs_its_file_alone(self, hooks: Path) -> None:
        process = stuck_batch(hooks, "--jobs", "1")
        for _ in range(2):  # it is tried once more
            while not (stuck := alive(hooks, "stuck")):
                time.sleep(0.01)
            os.kill(stuck[0], signal.SIGKILL)
            while alive(hooks, "stuck") == stuck:
                time.sleep(0.01)
        told, _ = process.communicate(timeout=60)
        assert process.returncode == 3
        each = {record.get("input"): record for record in map(json.loads, told.splitlines())}
        assert each["in/stuck.png"]["reason"] == "its worker was killed by SIGKILL"
        assert each["in/b.png"]["status"] == "done"

    @pytest.mark.parametrize("how", [{}, {"TEST_DEAF": "1"}], ids=["waiting", "deaf"])
    def test_workers_end_with_their_parent(self, hooks: Path, how: dict[str, str]) -> None:
        if how and sys.platform != "linux":
            pytest.skip("only Linux ends what nothing else can")
        process = stuck_batch(hooks, "--jobs", "2", **how)
        process.kill()
        process.communicate(timeout=60)
        assert gone(hooks)


@needs_proc
@pytest.mark.slow
def test_killed_at_fifty_moments_and_resumed_it_ends_with_the_same_bytes(hooks: Path) -> None:
    """Each moment is a file event of one process, so that it is the same on every machine."""
    pictures(*(f"in/{n % 3}/{n}.png" for n in range(24)), size=30)
    batch = ("in", *SHARPEN, "--recursive", "--jobs", "1", "-q")
    ok(*batch, "--out", "whole")
    whole, originals = tree("whole"), tree("in")
    rng, killed = random.Random(6), 0
    for _ in range(5):
        shutil.rmtree("out", ignore_errors=True)
        for _ in range(10):
            counted, victim = rng.choice(
                [("worker", "parent"), ("worker", "worker"), ("parent", "parent")]
            )
            moment = f"{counted},{victim},{rng.randint(1, 16)}"
            words = command(*batch, "--out", "out", "--resume")
            done = subprocess.run(words, env=watched(hooks, TEST_KILL=moment), capture_output=True)
            killed += done.returncode == -signal.SIGKILL
            assert gone(hooks)
            published = {
                name: digest for name, digest in tree().items() if not name.endswith(".tmp")
            }
            assert published.items() <= whole.items(), moment
        ok(*batch, "--out", "out", "--resume")
        assert tree() == whole
        assert tree("in") == originals
    assert killed >= 10
