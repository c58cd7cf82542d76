"""Workers behind any executor: the same results, and each call in a process of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.metadata import EntryPoint
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from convcli import __version__
from convcli.errors import ConvError, InputError, WorkerError
from convcli.jobs.executors import Probe, Scheduler, Workers, as_finished, host, open_executor
from convcli.jobs.executors.plugins import plugin_schedulers
from convcli.jobs.executors.remote import FIRST_GROUP, MOST, ExecutorWorkers, new_run
from convcli.limits import Limits

THREADS = Scheduler("threads", ThreadPoolExecutor)
OTHERS = Scheduler("Other", ThreadPoolExecutor)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Provide entry points of a scheduler, and of one that cannot be used."""
    monkeypatch.setitem(sys.modules, "test_executors", sys.modules[__name__])
    points = [
        EntryPoint("threads", "test_executors:THREADS", "convcli.executors"),
        EntryPoint("zother", "test_executors:OTHERS", "convcli.executors"),
    ]
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group: [point for point in points if point.group == group],
    )
    plugin_schedulers.cache_clear()
    yield
    plugin_schedulers.cache_clear()


def square(number: int) -> int:
    return number * number


def process(_: int) -> int:
    return os.getpid()


def threads(_: int) -> str:
    return os.environ["CONVCLI_THREADS"]


def deadly(number: int) -> int:
    """End the process for every seventh number."""
    if number % 7 == 3:
        os._exit(7)
    return number * number


def slow(number: int) -> int:
    """Never return for number 1."""
    while number == 1:
        time.sleep(60)
    return number


def results(workers: Workers, function: Any, count: int) -> dict[int, Any]:
    finished = chain.from_iterable(as_finished(workers, function, range(count), count))
    return {item: future.exception() or future.result() for item, future in finished}


def in_threads(jobs: int, **options: Any) -> ExecutorWorkers:
    run = new_run("convcli", options.get("timeout"), 1)
    return ExecutorWorkers(ThreadPoolExecutor(jobs), jobs, run, "threads")


@pytest.mark.usefixtures("registered")
class TestPlugin:
    def test_it_is_found_by_its_name(self) -> None:
        with open_executor("threads", 2) as workers:
            assert results(workers, square, 50) == {n: n * n for n in range(50)}
            assert (workers.count, workers.words) == (2, "2 of threads")
            assert workers.limits(Limits(4000)).memory == 2000
            assert workers.folder == os.getcwd()  # noqa: PTH109

    def test_no_more_workers_than_calls(self) -> None:
        with open_executor("threads", 9, most=3) as workers:
            assert workers.count == 3

    def test_another_name_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"'thread'; .*; did you mean 'threads'"):
            open_executor("thread", 2)

    def test_what_cannot_be_used_is_left_out(self, caplog: pytest.LogCaptureFixture) -> None:
        assert list(plugin_schedulers()) == ["threads"]
        assert "entry point 'zother' of convcli.executors is left out" in caplog.text


class TestCalls:
    def test_they_run_in_processes_of_their_own(self) -> None:
        with in_threads(2) as workers:
            found = set(results(workers, process, 40).values())
            assert 1 <= len(found) <= 2
            assert os.getpid() not in found

    def test_threads_are_shared(self) -> None:
        with in_threads(1) as workers:
            assert results(workers, threads, 1) == {0: "1"}

    def test_one_that_dies_costs_no_other(self) -> None:
        with in_threads(2) as workers:
            found = results(workers, deadly, 40)
        died = {number for number, result in found.items() if isinstance(result, WorkerError)}
        assert died == {3, 10, 17, 24, 31, 38}
        assert {str(found[number]) for number in died} == {"its worker ended with exit code 7"}
        assert all(found[n] == n * n for n in range(40) if n not in died)

    def test_one_that_takes_too_long_is_stopped(self) -> None:
        with in_threads(1, timeout=2.0) as workers:
            found = results(workers, slow, 3)
        assert (found[0], found[2]) == (0, 2)
        assert isinstance(found[1], TimeoutError)
        assert str(found[1]) == "it took longer than 2 s and was stopped"

    def test_no_process_is_left(self) -> None:
        with in_threads(2) as workers:
            found = set(results(workers, process, 9).values())
        assert not any(Path(f"/proc/{pid}").exists() for pid in found)

    def test_killed_they_end_at_once(self) -> None:
        def interrupted() -> None:
            with in_threads(1) as workers:
                workers.submit_each(slow, [1])
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert not host._pools

    def test_an_idle_process_is_stopped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host, "IDLE_SECONDS", 0.01)
        with in_threads(1) as workers:
            (first,) = results(workers, process, 1).values()
            while host._pools:
                time.sleep(0.01)
            (second,) = results(workers, process, 1).values()
        assert first != second

    def test_an_executor_that_breaks_ends_the_run(self) -> None:
        run = new_run("convcli", None, 1)
        with ProcessPoolExecutor(1) as pool:
            pool.submit(os._exit, 3).exception()
            workers = ExecutorWorkers(pool, 1, run, "processes")
            with pytest.raises(ConvError, match="processes"):
                results(workers, square, 3)


class TestGroups:
    def test_they_are_about_a_second_of_work_and_end_small(self) -> None:
        with in_threads(2) as workers:
            assert workers.group(10**6) == FIRST_GROUP
            workers._seconds = 0.1
            assert (workers.group(10**6), workers.group(24), workers.group(3)) == (10, 3, 1)
            assert workers.group() == 10
            workers._seconds = 1e-6
            assert workers.group(10**6) == MOST
            workers._seconds = 30.0
            assert workers.group(10**6) == 1

    def test_a_window_holds_several_groups_of_each_worker(self) -> None:
        with in_threads(3) as workers:
            assert workers.window >= 3 * 2


class TestChecks:
    def test_another_version_is_refused(self) -> None:
        run = host.Run("1", "0.0.1", "convcli", None, 1)
        with pytest.raises(InputError) as refused:
            host.call_each(run, square, [1])
        assert str(refused.value) == (
            f"worker {host.place()} has convcli {__version__}; this is 0.0.1; "
            "install the same on all"
        )

    def test_a_folder_that_is_not_shared_is_refused(self, tmp_path: Path) -> None:
        seen = tmp_path / "seen"
        seen.write_bytes(b"x" * 99)
        with in_threads(1) as workers:
            workers.check_files((Probe.of(seen),))
            assert results(workers, square, 2) == {0: 0, 1: 1}
        for other in (Probe(str(seen), b"y" * 64), Probe(str(tmp_path / "none"), b"")):
            with in_threads(1) as workers:
                workers.check_files((other,))
                found = results(workers, square, 1)[0]
            assert isinstance(found, InputError)
            assert f"does not see {tmp_path}; expected a folder that all mach" in str(found)
