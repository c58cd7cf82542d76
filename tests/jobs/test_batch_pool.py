"""The pool: every call gets a result or an error, also if workers die."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from convcli.errors import ConvError, InputError, WorkerError
from convcli.jobs.executors.finished import as_finished, in_thread
from convcli.jobs.executors.local import LocalWorkers
from convcli.jobs.executors.pool import MAX_AHEAD, Pool


def square(number: int) -> int:
    return number * number


def deadly(number: int) -> int:
    """Kill the worker, in one of three ways, for every seventh number."""
    if number % 21 == 3:
        os._exit(7)
    if number % 21 == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 21 == 17:
        os.abort()
    return number * number


def crowded(item: tuple[Path, int]) -> int:
    """Return how many calls are running, this one included; the first call for 0 dies."""
    folder, number = item
    mine = folder / f"{number}.running"
    mine.touch()
    time.sleep(0.02)
    count = len(list(folder.glob("*.running")))
    mine.unlink()
    if number == 0 and not (folder / "died").exists():
        (folder / "died").touch()
        os._exit(1)
    return count


def counted(item: tuple[Path, int]) -> int:
    """Note that the call began; every tenth one dies."""
    folder, number = item
    with (folder / "begun").open("a") as stream:
        stream.write(f"{number}\n")
    if number % 10 == 9:
        os._exit(1)
    return number


def timed(number: int) -> int:
    """Wait for a tenth of a second."""
    time.sleep(0.1 if number else 0.0)
    return number


def stubborn(number: int) -> int:
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    while number == 1:
        time.sleep(60)
    return number


def deaf(note: Path) -> None:
    """Hold the interpreter's lock in C without end, signals ignored: no thread or handler runs."""
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    note.write_text(f"{os.getpid()}.")
    ctypes.PyDLL(None).pause()


def noted(note: Path) -> int:
    """Wait until the process ignores signals, and return its id."""
    while not (note.exists() and note.read_text().endswith(".")):
        time.sleep(0.01)
    return int(note.read_text()[:-1])


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def talkative(number: int) -> str:
    print("noise", number)
    os.write(1, b"more noise")
    return sys.stdin.read()


def process(_: int) -> int:
    return os.getpid()


def setting(name: str) -> str | None:
    return os.environ.get(name)


def refuse(number: int) -> int:
    raise InputError(f"number {number}", "expected another", "go on")


def unsendable(_: int) -> Callable[[], int]:
    return lambda: 1


def leave(_: int) -> None:
    sys.exit(3)


def finished(
    pool: Pool, function: Callable[[Any], object], items: Iterable[Any], window: int
) -> Iterator[tuple[Any, Any]]:
    """Yield each item with its future, as `as_finished` does in lists."""
    workers = LocalWorkers(pool, 1, window)
    return itertools.chain.from_iterable(as_finished(workers, function, items))


def results(
    pool: Pool, function: Callable[[int], object], count: int, window: int = 8
) -> dict[int, object]:
    return {
        item: future.exception() or future.result()
        for item, future in finished(pool, function, range(count), window)
    }


def test_every_item_is_answered_once() -> None:
    with Pool(2) as pool:
        pairs = [(item, future.result()) for item, future in finished(pool, square, range(50), 5)]
    assert sorted(pairs) == [(n, n * n) for n in range(50)]


def test_killers_are_named_and_nothing_else_is_lost() -> None:
    with Pool(3) as pool:
        got = results(pool, deadly, 40)
    assert set(got) == set(range(40))
    killers = {number for number, result in got.items() if isinstance(result, WorkerError)}
    assert killers == {3, 10, 17, 24, 31, 38}
    assert all(result == number * number for number, result in got.items() if number not in killers)
    assert [str(got[number]) for number in (3, 10, 17)] == [
        "its worker ended with exit code 7",
        "its worker was killed by SIGKILL",
        "its worker was killed by SIGABRT",
    ]


def test_calls_that_are_sent_ahead_of_a_death_run_once(tmp_path: Path) -> None:
    count = 10 * MAX_AHEAD
    with Pool(1) as pool:
        items = [(tmp_path, number) for number in range(count)]
        got = {item[1]: future.exception() for item, future in finished(pool, counted, items, 99)}
    died = {number for number in range(count) if number % 10 == 9}
    assert {number for number, error in got.items() if isinstance(error, WorkerError)} == died
    begun = Counter(map(int, (tmp_path / "begun").read_text().split()))
    assert begun == {number: 1 + (number in died) for number in range(count)}


def test_the_time_of_a_call_is_counted_from_its_own_start() -> None:
    with Pool(1, timeout=3.0) as pool:
        calls = [pool.submit(timed, number) for number in [0] * 100 + [1] * 60]
        assert sum(call.result() for call in calls) == 60


def test_a_cancelled_call_has_no_result() -> None:
    with Pool(1) as pool:
        for call in [pool.submit(square, 1) for _ in range(100)]:
            call.result()
        calls = [pool.submit(timed, number) for number in (1, 2, 3, 4)]
        assert calls[2].cancel()
        assert [call.result() for call in (calls[0], calls[1], calls[3])] == [1, 2, 4]
        assert calls[2].cancelled()


def test_a_call_that_dies_is_tried_again_last_and_alone(tmp_path: Path) -> None:
    with Pool(3) as pool:
        got = [
            (item[1], future.result())
            for item, future in finished(pool, crowded, [(tmp_path, n) for n in range(9)], 9)
        ]
    assert len(got) == 9
    assert got[-1] == (0, 1)
    assert (tmp_path / "died").exists()


def test_processes_are_kept_for_many_calls() -> None:
    with Pool(2) as pool:
        assert len(set(results(pool, process, 40).values())) <= 2


def test_a_call_over_its_time_is_stopped_whatever_it_ignores() -> None:
    with Pool(1, timeout=2.0) as pool:
        got = results(pool, stubborn, 3)
    assert got[0] == 0
    assert got[2] == 2
    assert isinstance(got[1], TimeoutError)
    assert str(got[1]) == "it took longer than 2 s and was stopped"


def test_kill_ends_all_at_once_and_leaves_no_process() -> None:
    pool = Pool(2)
    pids = {pool.submit(process, 0).result() for _ in range(20)}
    stuck = []
    for _ in range(2):  # one after the other, or both might be sent to one worker
        stuck.append(pool.submit(stubborn, 1))
        while not stuck[-1].running():
            time.sleep(0.01)
    waiting = [pool.submit(square, 1) for _ in range(5)]
    pool.kill()
    assert all(isinstance(future.exception(), WorkerError) for future in stuck)
    assert all(future.cancelled() for future in waiting)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="stops in the C library's pause")
class TestDeaf:
    """A worker that never exits and that only the system can kill: waiting for it would hang."""

    def test_it_is_killed_and_not_awaited(self, tmp_path: Path) -> None:
        pool = Pool(1)
        future = pool.submit(deaf, tmp_path / "note")
        pid = noted(tmp_path / "note")
        pool.kill()
        assert str(future.exception()) == "its worker was killed by SIGKILL"
        assert not alive(pid)

    def test_it_ends_with_a_parent_that_is_killed(self, tmp_path: Path) -> None:
        code = (
            "import sys, test_batch_pool as tests, convcli.jobs.executors.pool as pool; "
            "pool.Pool(1).submit(tests.deaf, tests.Path(sys.argv[1])).result()"
        )
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        }
        parent = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "note")], env=environment
        )
        pid = noted(tmp_path / "note")
        assert alive(pid)
        parent.kill()
        parent.wait()
        for _ in range(3000):
            if not alive(pid):
                return
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the worker outlived its parent")


def test_a_process_that_cannot_be_made_fails_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Pool(1) as pool, pytest.raises(ConvError, match="could not start; No such file"):
        pool.submit(square, 1).result()


def test_an_exception_in_the_block_kills() -> None:
    def interrupted() -> None:
        with Pool(2) as pool:
            pool.submit(stubborn, 1)
            raise KeyboardInterrupt

    began = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == began


def test_exceptions_come_back_as_they_were() -> None:
    with Pool(1) as pool:
        error = pool.submit(refuse, 4).exception()
        assert isinstance(error, InputError)
        assert str(error) == "number 4; expected another; go on"
        assert isinstance(pool.submit(leave, 1).exception(), SystemExit)
        assert "cannot be sent" in str(pool.submit(unsendable, 1).exception())
        assert pool.submit(square, 3).result() == 9


def test_what_a_call_prints_does_not_disturb_the_pool() -> None:
    with Pool(1) as pool:
        assert pool.submit(talkative, 1).result() == ""
        assert pool.submit(square, 3).result() == 9


def test_a_worker_killed_between_calls_is_replaced() -> None:
    with Pool(1) as pool:
        pid = pool.submit(process, 0).result()
        os.kill(pid, signal.SIGKILL)
        assert dict.fromkeys(
            [item for item, future in finished(pool, process, [0, 1], 2) if future.result() != pid]
        )


def test_a_worker_that_cannot_start_is_told() -> None:
    with (
        Pool(1, preload="convcli.no_such_module") as pool,
        pytest.raises(ConvError, match="could not start; No module"),
    ):
        pool.submit(square, 1).result()


def test_workers_have_the_environment_that_was_given() -> None:
    with Pool(1, environment={**os.environ, "CONVCLI_THREADS": "7"}) as pool:
        assert pool.submit(setting, "CONVCLI_THREADS").result() == "7"


def test_nothing_is_taken_after_shutdown() -> None:
    pool = Pool(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(square, 1)


def interrupted_at(line: int) -> bool:
    """Run two items, and raise KeyboardInterrupt at a line of the caller; return if it did."""
    counted = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal counted
        counted += event == "line"
        if event == "line" and counted == line:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    with contextlib.suppress(KeyboardInterrupt), Pool(1) as pool:
        pool.submit(square, 1).result()
        sys.settrace(trace)
        try:
            for _, future in finished(pool, square, range(2), 2):
                future.result()
        finally:
            sys.settrace(None)
    return counted >= line


@pytest.mark.slow
def test_an_interrupt_at_any_line_stops_it() -> None:
    """At any line, an interrupt leaves no lock that others would wait for."""
    reached: list[bool] = []
    for line in itertools.count(1, 5):
        thread = threading.Thread(
            target=lambda line=line: reached.append(interrupted_at(line)), daemon=True
        )
        thread.start()
        thread.join(30)
        assert not thread.is_alive(), f"it hangs when it is interrupted at line {line} of its way"
        if not reached[-1]:
            break
    assert len(reached) > 5


# Workers and threads that the system does not start.

DIES = """
import os, pathlib
counted = pathlib.Path(os.environ["TEST_COUNTED"])
counted.write_text(counted.read_text() + "x" if counted.exists() else "x")
if len(counted.read_text()) <= 3:
    os.kill(os.getpid(), 9)
"""
ALONE = """
import os, pathlib, sys
try:
    os.close(os.open(os.environ["TEST_COUNTED"], os.O_CREAT | os.O_EXCL))
except FileExistsError:
    sys.exit("one process is enough")
"""


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Make options of a pool whose workers run some code first."""

    def options(code: str) -> dict[str, Any]:
        (tmp_path / "first_of_all.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        environment = {**os.environ, "TEST_COUNTED": str(tmp_path / "counted")}
        return {"preload": "first_of_all", "environment": environment}

    return options


def test_workers_killed_while_they_start_cost_nothing(
    first: Callable[[str], dict[str, Any]],
) -> None:
    with Pool(1, **first(DIES)) as pool:
        assert results(pool, square, 5) == {n: n * n for n in range(5)}


def test_it_goes_on_with_fewer_processes(first: Callable[[str], dict[str, Any]]) -> None:
    with Pool(4, **first(ALONE)) as pool:
        assert results(pool, square, 20) == {n: n * n for n in range(20)}


def test_it_goes_on_with_fewer_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    start, left = threading.Thread.start, [2]

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith("Thread"):
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with Pool(4) as pool:
        assert len(pool._threads) == 2
        assert results(pool, square, 9) == {n: n * n for n in range(9)}
    left[0] = 0
    with pytest.raises(ConvError, match="a thread could not start; can't start new thread"):
        Pool(4)


def test_a_limit_of_time_needs_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Timer, "start", refused)
    with (
        Pool(1, timeout=9.0) as pool,
        pytest.raises(WorkerError, match="its time could not be watched; can't start"),
    ):
        pool.submit(square, 1).result()


def test_what_runs_in_a_thread_runs_here_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("convcli.jobs.executors.finished._thread.start_new_thread", refused)
    assert list(in_thread(iter(range(3)))) == [0, 1, 2]
