"""`convcli batch --scheduler` on Dask clusters: what a local run writes, also if workers die."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from convcli import __version__
from convcli.cli import main
from convcli.errors import ConvError
from convcli.io import save
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch import Batch, Record, Search
from convcli.jobs.batch.manifest import NAME, Manifest
from convcli.jobs.executors import dask as own
from convcli.jobs.executors import open_executor
from convcli.limits import Limits
from convcli.shapes.geometry import Geometry

pytest.importorskip("distributed")

import dask
from distributed import Client, LocalCluster

ROOT = Path(__file__).parents[2]
BLUR = ("-k", "gaussian:sigma=2", "--padding", "same")

# A process that opens an input of the name exits, kills its Dask worker, or waits for ever.
HOOKS = """
import os, sys, time

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        name = os.path.basename(os.fsdecode(arguments[0]))
        if name == "deadly.png":
            os._exit(7)
        if name == "fatal.png":
            os.kill(os.getppid(), 9)
        while name == "stuck.png":
            time.sleep(60)

if "convcli.jobs.executors.worker" in " ".join(sys.orig_argv):
    sys.addaudithook(watch)
"""


@contextmanager
def cluster_of(**options: Any) -> Iterator[LocalCluster]:
    """Start a cluster on the loopback interface where two workers may die of a call."""
    quiet = {"logging.distributed": "critical", "distributed.scheduler.allowed-failures": 1}
    options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": None, **options}
    with (
        dask.config.set(quiet),
        LocalCluster(host="127.0.0.1", dashboard_address="127.0.0.1:0", **options) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Provide a cluster of two processes, whose worker processes have the hooks."""
    hooks = tmp_path_factory.mktemp("hooks")
    (hooks / "sitecustomize.py").write_text(HOOKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(hooks), str(ROOT)]))
        with cluster_of(processes=True) as cluster:
            yield cluster


@pytest.fixture
def address(cluster: LocalCluster, in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Provide the address of the cluster, with both workers, which a test may have killed."""
    monkeypatch.setenv("COLUMNS", "100")
    with Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2)
    return str(cluster.scheduler_address)


def run(*words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["batch", *map(str, words)])
    assert done.exit_code == code, done.output
    return done


def refused(*words: object) -> str:
    done = run(*words, code=2)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1), done.output
    return done.stderr


def records(*words: object, code: int = 0) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the records of a run by input, and its summary."""
    *each, last = map(json.loads, run(*words, "--json", "-q", code=code).stdout.splitlines())
    return {record["input"]: record for record in each}, last


def pictures(count: int, size: int = 12) -> None:
    Path("in").mkdir(exist_ok=True)
    for number in range(count):
        values = np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8)
        save(f"in/{number:03}.png", values)


def tree(folder: str) -> dict[str, str]:
    """Return the digest of every file in a folder except the manifest, hidden files included."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).iterdir()
        if not path.name.startswith(NAME)
    }


def planned() -> Batch:
    request = ApplyRequest("", ("gaussian:sigma=2",), geometry=Geometry(padding="same"))
    return Batch.plan(Search().find(["in"]), Path("out"), request, name="{stem}{ext}")


class TestSame:
    def test_outputs_manifest_and_report_of_300_files(self, address: str) -> None:
        pictures(300)
        Path("in/bad.png").write_text("no picture")
        local, summary = records("in", *BLUR, "--out", "local", code=3)
        found, last = records("in", *BLUR, "--out", "out", "--scheduler", address, code=3)
        assert found == local
        assert tree("out") == tree("local")
        assert Manifest.of(Path("out")) == Manifest.of(Path("local"))
        assert last.pop("workers") == f"2 at {address}, convcli {__version__} on all"
        varying = {"workers": None, "folder": None, "seconds": 0}
        assert {**last, **varying} == {**summary, **varying}

    def test_dry_run_resume_and_in_place(self, address: str) -> None:
        pictures(20)
        Path("file.json").write_text(json.dumps({"address": address}))
        words = ("in", *BLUR, "--scheduler", "file.json")
        run(*words, "--out", "out", "--dry-run")
        assert not Path("out").exists()
        run(*words, "--out", "out")
        made = tree("out")
        Path("out/003.png").unlink()
        found, last = records(*words, "--out", "out", "--resume", "--dry-run")
        assert [n for n, r in found.items() if r["status"] == "planned"] == ["in/003.png"]
        assert last["skipped"] == 19
        assert "done     1, in out\n" in run(*words, "--out", "out", "--resume", "-q").stdout
        assert tree("out") == made
        run(*words, "--in-place")
        assert tree("in") == made
        assert "skipped  20" in run(*words, "--in-place", "--resume", "-q").stdout

    def test_a_cluster_of_its_own(self, in_tmp: Path) -> None:
        pictures(40)
        run("in", *BLUR, "--out", "local")
        told = run("in", *BLUR, "--out", "out", "--scheduler", "dask", "--jobs", "2", "-q").stdout
        head = "workers  2 in a Dask cluster on this machine"
        assert " ".join(told.split()).startswith(f"workers {head[9:]}, convcli {__version__} on")
        assert tree("out") == tree("local")

    def test_messages_have_the_paths_that_were_given(self, address: str) -> None:
        Path("in").mkdir()
        Path("in/a.png").write_text("no picture")
        pictures(1)
        Path("out").mkdir()
        Path("out/sub").touch()
        words = ("in/a.png", Path("in/000.png").resolve(), *BLUR, "--name", "sub/{name}")
        local, _ = records(*words, "--out", "out", code=3)
        assert records(*words, "--out", "out", "--scheduler", address, code=3)[0] == local

    def test_files_have_the_umask_of_the_command(self, address: str) -> None:
        pictures(1)
        before = os.umask(0o027)
        try:
            run("in", *BLUR, "--out", "out", "--scheduler", address)
        finally:
            os.umask(before)
        assert Path("out/000.png").stat().st_mode & 0o777 == 0o640

    def test_a_large_kernel(self, address: str) -> None:
        pictures(3, size=120)
        words = ("in", "-k", "random:101x101,seed=1", "--normalize")
        run(*words, "--out", "local")
        run(*words, "--out", "out", "--scheduler", address)
        assert tree("out") == tree("local")


class TestFailures:
    def test_a_decoder_that_exits_fails_its_file_only(self, address: str) -> None:
        pictures(40)
        Path("in/deadly.png").write_bytes(Path("in/000.png").read_bytes())
        found, _ = records("in", *BLUR, "--out", "out", "--scheduler", address, code=3)
        failed = {name: r["reason"] for name, r in found.items() if r["status"] != "done"}
        assert failed == {"in/deadly.png": "its worker ended with exit code 7"}
        assert sorted(tree("out")) == [f"{n:03}.png" for n in range(40)]

    def test_a_timeout_stops_one_file(self, address: str) -> None:
        pictures(4)
        Path("in/stuck.png").write_bytes(Path("in/000.png").read_bytes())
        words = ("in", *BLUR, "--out", "out", "--scheduler", address, "--timeout", "2")
        found, _ = records(*words, code=3)
        failed = {name: r["reason"] for name, r in found.items() if r["status"] != "done"}
        assert failed == {"in/stuck.png": "it took longer than 2 s and was stopped"}

    def test_a_worker_that_is_killed_costs_no_file(
        self, cluster: LocalCluster, address: str
    ) -> None:
        assert self.kill_workers(cluster, pictures_of=(60, 200), every=20, times=1) == 60

    @pytest.mark.slow
    def test_workers_that_are_killed_ten_times_cost_no_file(
        self, cluster: LocalCluster, address: str
    ) -> None:
        assert self.kill_workers(cluster, pictures_of=(300, 300), every=25, times=10) == 300

    @staticmethod
    def kill_workers(
        cluster: LocalCluster, pictures_of: tuple[int, int], every: int, times: int
    ) -> int:
        """Kill a worker after every so many records; return how many files are done."""
        pictures(*pictures_of)
        run("in", *BLUR, "--out", "local")
        done: list[Record] = []
        with Client(cluster, set_as_default=False) as client:
            opener = partial(open_executor, cluster.scheduler_address, None)
            for record in planned().run(opener):
                done.append(record)
                if len(done) % every == 0 and len(done) <= every * times:
                    pids = [nanny.pid for nanny in cluster.workers.values() if nanny.pid]
                    with suppress(ProcessLookupError):  # it was killed a moment ago
                        for pid in pids[:1]:
                            os.kill(pid, signal.SIGKILL)
            client.wait_for_workers(2, timeout=60)
        unlucky = [record.reason for record in done if record.status != "done"]
        assert all("its worker died twice" in reason for reason in unlucky), unlucky
        assert len(unlucky) <= times // 2
        run("in", *BLUR, "--out", "out", "--resume")
        assert tree("out") == tree("local")
        return len(done)

    @pytest.mark.slow
    def test_a_file_that_kills_every_worker_is_named_and_given_up(self, address: str) -> None:
        pictures(40)
        Path("in/fatal.png").write_bytes(Path("in/000.png").read_bytes())
        found, _ = records("in", *BLUR, "--out", "out", "--scheduler", address, code=3)
        failed = {name: r["reason"] for name, r in found.items() if r["status"] != "done"}
        assert list(failed) == ["in/fatal.png"]
        assert re.fullmatch(
            r"its worker died twice, the last time tcp://127.0.0.1:\d+", failed["in/fatal.png"]
        )
        assert sorted(tree("out")) == [f"{n:03}.png" for n in range(40)]

    def test_a_call_that_workers_die_of_names_the_last(self, address: str) -> None:
        from distributed import KilledWorker

        with open_executor(address, None) as workers:
            last = SimpleNamespace(address="tcp://10.0.0.7:39813")
            error = workers._translate(KilledWorker("x", last, 1))
        assert str(error) == "its worker died twice, the last time tcp://10.0.0.7:39813"

    def test_a_scheduler_that_goes_ends_the_run_which_can_be_resumed(self, in_tmp: Path) -> None:
        pictures(80, size=150)
        run("in", *BLUR, "--out", "local")
        with cluster_of(processes=False, protocol="tcp://") as cluster:
            found = planned().run(partial(open_executor, cluster.scheduler_address, None))
            assert next(found).status == "done"
            cluster.close()
            with pytest.raises(ConvError) as gone:
                list(found)
        assert gone.value.exit_code == 1
        assert str(gone.value) == (
            f"the scheduler at {cluster.scheduler_address} is gone; "
            "start it again, and add --resume"
        )
        assert 1 <= len(tree("out")) < 80
        assert tree("out").items() <= tree("local").items()
        run("in", *BLUR, "--out", "out", "--resume")
        assert tree("out") == tree("local")

    def test_an_interrupt_leaves_nothing_half(self, cluster: LocalCluster, address: str) -> None:
        pictures(4)
        Path("in/stuck.png").write_bytes(Path("in/000.png").read_bytes())
        words = ["batch", "in", *BLUR, "--out", "out", "--scheduler", address, "--json"]
        code = "import signal, runpy; signal.signal(2, signal.default_int_handler); "
        code += "runpy.run_module('convcli', run_name='__main__')"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert b'"done"' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130, told
        assert told.startswith(b"stopped: ")
        assert set(tree("out")) <= {f"{n:03}.png" for n in range(4)}
        with Client(cluster, set_as_default=False) as client:
            assert set(client.run(_hosted).values()) == {0}


def _hosted() -> int:
    """Return how many runs have processes here."""
    from convcli.jobs.executors import host

    return len(host._pools)


class TestRefusals:
    def test_no_scheduler(self, in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pictures(1)
        monkeypatch.setattr(own, "CONNECT_SECONDS", 0.2)
        told = refused("in", *BLUR, "--out", "out", "--scheduler", "tcp://127.0.0.1:9")
        assert told == (
            "Error: no scheduler answers at tcp://127.0.0.1:9 within 0.2 s; start one with 'dask "
            "scheduler', or leave --scheduler out\n"
        )
        assert not Path("out").exists()

    @pytest.mark.parametrize(
        ("scheduler", "told"),
        [
            ("dusk", "--scheduler 'dusk'; expected dask, "),
            ("dusk", "did you mean 'dask'?"),
            ("none.json", "or a scheduler file"),
            ("here.json", "here.json is no scheduler file; expected the JSON that 'dask"),
            ("foo://host", "--scheduler 'foo://host'; unknown address scheme 'foo'"),
            ("\x1b[2J", "--scheduler '\\x1b[2J'; expected "),
        ],
    )
    def test_no_address(self, in_tmp: Path, scheduler: str, told: str) -> None:
        pictures(1)
        Path("here.json").write_text("[1]")
        assert told in refused("in", *BLUR, "--out", "out", "--scheduler", scheduler)
        assert not Path("out").exists()

    def test_no_extra(self, in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pictures(1)
        monkeypatch.setattr(own, "find_spec", lambda _: None)
        for scheduler in ("dask", "tcp://host:8786"):
            assert refused("in", *BLUR, "--out", "out", "--scheduler", scheduler) == (
                "Error: --scheduler takes dask's distributed, which is not installed; "
                "pip install 'convcli[dask]'\n"
            )

    def test_another_version(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        pictures(1)
        monkeypatch.setattr(own, "__version__", "0.0.1")
        told = refused("in", *BLUR, "--out", "out", "--scheduler", address)
        assert told.startswith("Error: worker tcp://127.0.0.1:")
        assert told.endswith(
            f" has convcli {__version__}; this is 0.0.1; install the same on all\n"
        )
        assert not Path("out").exists()

    def test_a_worker_without_the_package(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pictures(1)
        monkeypatch.setattr(own, "_VERSIONS", "__import__('no_such_package')")
        told = refused("in", *BLUR, "--out", "out", "--scheduler", address)
        assert " has no convcli; No module named 'no_such_package'; this is " in told

    def test_a_folder_that_is_not_shared(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pictures(1)
        other = own.Probe("/nowhere/in/a.png", b"")
        monkeypatch.setattr(Batch, "_probes", lambda _: (other,))
        for words in (("--out", "out"), ("--out", "out", "--dry-run"), ("--in-place",)):
            told = refused("in", *BLUR, *words, "--scheduler", address, "-q")
            assert told.startswith("Error: worker tcp://127.0.0.1:")
            assert " does not see /nowhere/in; expected a folder that all machines share; " in told
        assert tree("out") == {}
        assert list(tree("in")) == ["000.png"]


class TestResources:
    def test_workers_share_cores_and_memory(self, in_tmp: Path) -> None:
        options: dict[str, Any] = {"processes": False, "protocol": "tcp://"}
        with (
            cluster_of(n_workers=1, threads_per_worker=2, memory_limit="4GB", **options) as cluster,
            open_executor(cluster.scheduler_address, None) as workers,
        ):
            assert (workers.count, workers.memory) == (2, 2 * 10**9)
            assert workers.limits(Limits(10**9)).memory == 10**9
            assert workers.limits(Limits(10**10)).memory == 2 * 10**9
            assert workers.limits(Limits(10**9, is_default=True)).memory == 2 * 10**9
            assert workers._run.threads == max((os.cpu_count() or 1) // 2, 1)
            with open_executor(cluster.scheduler_address, 1) as one:
                assert (one.count, one.window) == (1, 1)

    def test_workers_that_come_later(
        self, in_tmp: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(own, "REFRESH_SECONDS", 0.05)
        with (
            cluster_of(n_workers=0, processes=False, protocol="tcp://") as cluster,
            open_executor(cluster.scheduler_address, None) as workers,
        ):
            assert "has no workers yet" in caplog.text
            (future,) = workers.submit_each(abs, [-3])
            cluster.scale(2)
            assert future.result(60) == 3
            for _ in range(600):
                if workers.count == 2:
                    break
                time.sleep(0.05)
            assert workers.words.startswith("2 at tcp://")

    def test_other_versions_of_numpy_are_told(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pictures(1)
        monkeypatch.setattr(np, "__version__", "0.1")
        done = run("in", *BLUR, "--out", "out", "--scheduler", address, "-q")
        words = " ".join(done.stdout.split())
        assert f"convcli {__version__} on all, numpy 0.1 and " in words


def test_a_local_batch_does_not_import_dask(in_tmp: Path) -> None:
    pictures(1)
    code = (
        "import sys; from convcli.cli import main; main(sys.argv[1:], standalone_mode=False); "
        "assert 'distributed' not in sys.modules"
    )
    words = [sys.executable, "-c", code, "batch", "in", *BLUR, "--out", "out", "-q"]
    subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
