"""A pool of worker processes with the interface of `concurrent.futures`.

If a worker dies, only its call fails::

    submit -> queue -> thread 1 -> worker process 1
                    -> thread 2 -> worker process 2
                       ...

Each thread serves one process: it sends a call, waits for the result, and starts a new process if
the old one died.

Any `Executor` can replace this pool: callers use only `submit` and futures.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from convcli.errors import ConvError, WorkerError, reason
from convcli.jobs.batch.worker import receive, send
from convcli.system import own_session, signal_name

Item = TypeVar("Item")

_BOOT = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from convcli.jobs.batch.worker import serve; serve(sys.argv[1], int(sys.argv[2]))"
)
_EXIT_SECONDS = 1.0  # seconds that a process may take to exit after closing its output
_START_PAUSES = (0.0, 0.05, 0.2, 0.5, 1.0)  # seconds before each attempt to start a process


class _Call(NamedTuple):
    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any]


class Pool(Executor):
    """An Executor whose calls run in worker processes that may die.

    workers: how many processes. timeout: seconds for one call, from when its worker starts it; a
    call that takes longer is stopped by killing its worker, and fails with TimeoutError.
    environment: of the workers, by default the caller's own. preload: a module that workers import
    before their first call. A call whose worker dies fails with WorkerError; other calls continue.
    Starting a worker is tried several times; if it fails, the others continue without it, and if
    none is left, calls fail with ConvError. The same holds for threads that cannot be started.
    Functions and arguments are pickled; a function that is submitted repeatedly is sent to each
    worker once.

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
    ) -> None:
        self._timeout, self._environment, self._preload = timeout, environment, preload
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._alive: set[_Worker] = set()
        self._open = True
        self._killed = threading.Event()
        self._threads = _start_threads(self._serve_calls, workers)
        self._serving = len(self._threads)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        if not self._open:
            raise RuntimeError("the pool is shut down")
        future: Future[Any] = Future()
        self._calls.put(_Call(future, function, arguments, named))
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

    def _cancel(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                if (call := self._calls.get_nowait()) is not None:
                    call.future.cancel()

    def _serve_calls(self) -> None:
        """Run calls until there are no more, in a process that belongs to this thread."""
        worker: _Worker | None = None
        while (call := self._calls.get()) is not None:
            try:
                if worker is None or worker.process.poll() is not None:
                    self._stop_worker(worker)
                    worker = None
                    worker = self._start_worker()
            except BaseException as error:
                if self._retire(call):
                    return
                if call.future.set_running_or_notify_cancel():
                    call.future.set_exception(error)
                continue
            if not call.future.set_running_or_notify_cancel():
                continue
            try:
                result = worker.run(call, self._timeout)
            except BaseException as error:
                call.future.set_exception(error)
            else:
                call.future.set_result(result)
        self._stop_worker(worker)

    def _retire(self, call: _Call) -> bool:
        """Return whether other threads are left, and if so, give the call to them."""
        with self._lock:
            if not self._open or self._serving == 1:
                return False
            self._serving -= 1
            self._calls.put(call)
            return True

    def _start_worker(self) -> _Worker:
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
                    worker = _Worker(self._environment, self._preload)
                except ConvError as error:
                    failure = error
                    continue
                self._alive.add(worker)
            try:
                worker.await_start()
            except ConvError as error:
                failure = error
                self._stop_worker(worker)
            else:
                return worker
        assert failure is not None
        raise failure

    def _stop_worker(self, worker: _Worker | None) -> None:
        if worker is not None:
            worker.close()
            with self._lock:
                self._alive.discard(worker)


class _Worker:
    """One worker process, and the calls that are sent to it."""

    def __init__(self, environment: Mapping[str, str] | None, preload: str) -> None:
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, preload, str(os.getpid()), *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                **own_session(),  # an interrupt at the terminal is the pool's to answer
            )
        except OSError as error:
            raise ConvError("a worker could not start", reason(error)) from error
        self._last_function: Callable[..., Any] | None = None

    def run(self, call: _Call, timeout: float | None) -> Any:
        """Return the value of one call; raise its exception, WorkerError or TimeoutError."""
        expired = threading.Event()
        timer = None if timeout is None else threading.Timer(timeout, self._expire, [expired])
        try:
            if timer is not None:
                _start_watch(timer)
            return self._exchange(call)
        except (EOFError, BrokenPipeError):
            how = self._wait_for_exit()
            if expired.is_set():
                raise TimeoutError(f"it took longer than {timeout:g} s and was stopped") from None
            raise WorkerError(f"its worker {how}") from None
        finally:
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # a dead worker's pipe is broken
                stream.close()  # type: ignore[union-attr]
        self._wait_for_exit()

    def await_start(self) -> None:
        """Wait until the process is ready for calls; raise ConvError if it exits before."""
        try:
            started, problem = receive(self.process.stdout)  # type: ignore[arg-type]
        except EOFError:
            started, problem = False, f"it {self._wait_for_exit()}"
        if not started:
            raise ConvError("a worker could not start", str(problem))

    def _exchange(self, call: _Call) -> Any:
        known = call.function is self._last_function
        message = (None if known else call.function, call.arguments, call.named)
        send(self.process.stdin, message)  # type: ignore[arg-type]
        self._last_function = call.function
        fine, value = receive(self.process.stdout)  # type: ignore[arg-type]
        if not fine:
            raise value
        return value

    def _expire(self, expired: threading.Event) -> None:
        expired.set()
        self.process.kill()

    def _wait_for_exit(self) -> str:
        """Wait for the process to exit, and return how it did, in words."""
        try:
            code = self.process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"


def _start_watch(timer: threading.Timer) -> None:
    """Start a timer. Raises WorkerError if the system allows no thread for it."""
    try:
        timer.start()
    except RuntimeError as error:
        raise WorkerError(f"its time could not be watched; {error}") from error


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


def as_finished(
    pool: Executor, function: Callable[[Item], Any], items: Iterable[Item], window: int
) -> Iterator[tuple[Item, Future[Any]]]:
    """Call function(item) for each item, `window` at a time; yield each with its finished future.

    An item whose worker died is retried once, alone, when all others are done: another item may
    have caused the death, and alone it cannot affect others.
    """
    return in_thread(_with_retries(pool, function, items, window))


def in_thread(items: Iterable[Item]) -> Iterator[Item]:
    """Iterate over `items` in a background thread, or in this one if no thread can be started.

    KeyboardInterrupt then interrupts the main thread in a lock-free queue, not inside a Future
    whose lock would stay locked.

    >>> list(in_thread(number**2 for number in range(4)))
    [0, 1, 4, 9]
    """
    found: SimpleQueue[tuple[Item] | BaseException | None] = SimpleQueue()

    def run() -> None:
        try:
            for item in items:
                found.put((item,))
        except BaseException as error:
            found.put(error)
        else:
            found.put(None)

    # threading.Thread.start takes a lock, which would stay locked after an interrupt.
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # the system allows no more threads
        yield from items
        return
    while (message := found.get()) is not None:
        if isinstance(message, BaseException):
            raise message
        yield message[0]


def _with_retries(
    pool: Executor, function: Callable[[Item], Any], items: Iterable[Item], window: int
) -> Iterator[tuple[Item, Future[Any]]]:
    retries = []
    for item, future in _submit_window(pool, function, items, window):
        if isinstance(future.exception(), WorkerError):
            retries.append(item)
        else:
            yield item, future
    yield from _submit_window(pool, function, retries, 1)


def _submit_window(
    pool: Executor, function: Callable[[Item], Any], items: Iterable[Item], window: int
) -> Iterator[tuple[Item, Future[Any]]]:
    waiting: dict[Future[Any], Item] = {}
    source = iter(items)
    while True:
        for item in islice(source, window - len(waiting)):
            waiting[pool.submit(function, item)] = item
        if not waiting:
            return
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            yield waiting.pop(future), future
