"""A pool of worker processes with the interface of `concurrent.futures`.

If a worker dies, only its call fails::

    submit -> queue -> thread 1 -> worker process 1
                    -> thread 2 -> worker process 2
                       ...

Each thread serves one process: it sends calls, receives their results in the same order, and starts
a new process if the old one died. It sends short calls ahead, so that the process does not wait for
the next one. The process answers each call before it starts the next, so the first call without a
result is the one that it died of; those after it are sent again.

Any `Executor` can replace this pool: callers use only `submit` and futures.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any

from convcli.errors import ConvError, WorkerError
from convcli.jobs.executors.process import Call, WorkerProcess

MAX_AHEAD = 16
"""Calls that a process has at most, the running one included."""

AHEAD_SECONDS = 0.02
"""Work in seconds that a process has at most beside the running call: another process may idle as
long at the end."""

PAUSE = 0.005
"""Seconds in which answers to short calls are gathered. To wake a thread for each took 0.2 ms."""

_START_PAUSES = (0.0, 0.05, 0.2, 0.5, 1.0)  # seconds before each attempt to start a process


class Pool(Executor):
    """An Executor whose calls run in worker processes that may die.

    workers: how many processes. timeout: seconds for one call, from when its worker starts it; a
    call that takes longer is stopped by killing its worker, and fails with TimeoutError.
    environment, umask: of the workers, by default the caller's own. preload: a module that workers
    import before their first call. A call whose worker dies fails with WorkerError; other calls
    continue. Starting a worker is tried several times; if it fails, the others continue without it,
    and if none is left, calls fail with ConvError. The same holds for threads that cannot be
    started. Functions and arguments are pickled; a function that is submitted repeatedly is sent
    to each worker once.

    >>> with Pool(2) as pool:
    ...     [future.result() for future in [pool.submit(pow, 2, power) for power in (3, 5)]]
    [8, 32]
    """

    def __init__(
        self,
        workers: int,
        *,
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
        preload: str = "convcli",
        umask: int | None = None,
    ) -> None:
        self.timeout, self._environment, self._preload = timeout, environment, preload
        self._umask = umask
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._alive: set[WorkerProcess] = set()
        self._open = True
        self._killed = threading.Event()
        self._threads = _start_threads(lambda: _Service(self).run(), workers)
        self._serving = len(self._threads)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        if not self._open:
            raise RuntimeError("the pool is shut down")
        future: Future[Any] = Future()
        self._calls.put(Call(future, function, arguments, named))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._open = False
        if cancel_futures:
            self._cancel()
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def kill(self) -> None:
        """Kill every worker; running calls fail with WorkerError, waiting ones are cancelled."""
        with self._lock:
            self._killed.set()
            self._open = False
            doomed = tuple(self._alive)
        self._cancel()
        for worker in doomed:
            worker.process.kill()
        self.shutdown()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.shutdown()
        else:
            self.kill()

    @property
    def is_killed(self) -> bool:
        return self._killed.is_set()

    def _cancel(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                if (call := self._calls.get_nowait()) is not None:
                    call.future.cancel()

    def take(self, *, wait: bool) -> Call | None:
        """Return the next call, None if there are no more. Raises Empty unless it may wait."""
        return self._calls.get(wait)

    def retire(self, calls: Iterable[Call]) -> bool:
        """Return whether other threads are left, and if so, give the calls to them."""
        with self._lock:
            if not self._open or self._serving == 1:
                return False
            self._serving -= 1
            for call in calls:
                self._calls.put(call)
            return True

    def start_worker(self) -> WorkerProcess:
        """Start a process and wait until it is ready.

        Raises ConvError if none starts in several attempts.
        """
        failure: ConvError | None = None
        for pause in _START_PAUSES:
            self._killed.wait(pause)
            with self._lock:
                if self._killed.is_set():
                    raise WorkerError("the pool is stopped")
                try:
                    worker = WorkerProcess(self._environment, self._preload, self._umask)
                except ConvError as error:
                    failure = error
                    continue
                self._alive.add(worker)
            try:
                worker.await_start()
            except ConvError as error:
                failure = error
                self.stop_worker(worker)
            else:
                return worker
        assert failure is not None
        raise failure

    def stop_worker(self, worker: WorkerProcess) -> None:
        worker.close()
        with self._lock:
            self._alive.discard(worker)


class _Service:
    """One thread's work: a process, and the calls that it has not answered."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._worker: WorkerProcess | None = None
        self._sent: deque[Call] = deque()
        self._again: deque[Call] = deque()  # calls that a process died before
        self._more = True
        self._seconds = math.inf  # that a call takes
        self._since = 0.0  # when the process began its present call

    def run(self) -> None:
        """Run calls until there are no more, or until no process can be started for them."""
        while self._send_calls():
            self._receive_answers()
        if self._worker is not None:
            self._stop_worker()

    def _send_calls(self) -> bool:
        """Send calls until the process has enough; return False if it has none, and gets none.

        Wait for a call if it has none.
        """
        is_idle = not self._sent
        wanted = min(1 + int(AHEAD_SECONDS / self._seconds), MAX_AHEAD)
        while len(self._sent) < wanted and (call := self._next()) is not None:
            if self._sent or self._has_worker(call):
                self._write(call)
        if not self._sent:
            return False
        assert self._worker is not None
        self._worker.flush()
        if is_idle:
            self._since = time.monotonic()
            self._begin()
        return True

    def _next(self) -> Call | None:
        """Return the next call; None if there is none, and while others run, none yet."""
        if self._again:
            return self._again.popleft()
        if not self._more:
            return None
        try:
            call = self._pool.take(wait=not self._sent)
        except Empty:
            return None
        self._more = call is not None
        return call

    def _has_worker(self, call: Call) -> bool:
        """Return whether there is a process for a call; else it fails or another thread has it."""
        if self._worker is not None and not self._worker.is_running():
            self._stop_worker()
        try:
            self._worker = self._worker or self._pool.start_worker()
        except BaseException as error:
            if self._pool.retire((call, *self._again)):
                self._again.clear()
                self._more = False
            else:
                _fail(call, error)
            return False
        return True

    def _write(self, call: Call) -> None:
        assert self._worker is not None
        try:
            self._worker.write(call)
        except BaseException as error:  # its arguments cannot be pickled
            _fail(call, error)
        else:
            self._sent.append(call)

    def _begin(self) -> None:
        """Mark the first call as running. If it was cancelled, its result goes nowhere."""
        call = self._sent[0]
        if not call.future.set_running_or_notify_cancel():
            self._sent[0] = call._replace(future=Future())

    def _receive_answers(self) -> None:
        """Wait for answers to the first of the sent calls."""
        assert self._worker is not None
        if len(self._sent) > 1:
            time.sleep(PAUSE)
        try:
            answers = self._worker.answers(self._pool.timeout)
        except (WorkerError, TimeoutError) as error:
            self._lose_worker(error)
            return
        for fine, value in answers:
            future = self._sent.popleft().future
            (future.set_result if fine else future.set_exception)(value)
            if self._sent:
                self._begin()
        began, self._since = self._since, time.monotonic()
        each = (self._since - began) / len(answers)
        self._seconds = max(each, 0.75 * min(self._seconds, 1.0), 1e-6)

    def _lose_worker(self, error: Exception) -> None:
        """Let the running call fail with an error, and keep those behind it for another process."""
        self._sent.popleft().future.set_exception(error)
        self._again.extendleft(reversed(self._sent))
        self._sent.clear()
        self._stop_worker()
        while self._again and self._pool.is_killed:
            self._again.popleft().future.cancel()

    def _stop_worker(self) -> None:
        assert self._worker is not None
        self._pool.stop_worker(self._worker)
        self._worker = None


def _fail(call: Call, error: BaseException) -> None:
    if call.future.set_running_or_notify_cancel():
        call.future.set_exception(error)


def _start_threads(target: Callable[[], None], count: int) -> list[threading.Thread]:
    """Start `count` threads, or fewer if the system allows no more.

    Raises ConvError if it allows none.
    """
    started: list[threading.Thread] = []
    for _ in range(count):
        thread = threading.Thread(target=target, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not started:
                remedy = "end other programs, or raise the limit of processes (ulimit -u)"
                raise ConvError("a thread could not start", str(error), remedy) from error
            break
        started.append(thread)
    return started
