"""A pool of worker processes with the interface of `concurrent.futures`; a worker's death fails only its call.

::

    submit -> queue -> thread 1 -> worker process 1        one thread serves one process: it sends a call, waits for
                    -> thread 2 -> worker process 2        the result, and starts a new process if it died
                       ...

Any `Executor` can replace this pool: callers use only `submit` and futures.
"""

from __future__ import annotations

import contextlib
import os
import signal
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

Item = TypeVar("Item")

_BOOT = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from convcli.jobs.batch.worker import serve; serve(sys.argv[1], int(sys.argv[2]))"
)
_EXIT_SECONDS = 1.0  # seconds that a process may take to exit after closing its output


class _Call(NamedTuple):
    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any]


class Pool(Executor):
    """An Executor whose calls run in worker processes that may die.

    workers: how many processes. timeout: seconds for one call, from when its worker starts it; a call that takes
    longer is stopped by killing its worker, and fails with TimeoutError. environment: of the workers, for the
    caller's own. preload: a module that workers import before their first call. A call whose worker dies fails
    with WorkerError; nothing else is lost. A worker that cannot start fails its call with ConvError.
    Functions and arguments are pickled; a function that is submitted again and again is sent to each worker once.

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
        self._open, self._killed = True, False
        self._threads = [threading.Thread(target=self._serve_calls, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        if not self._open:
            raise RuntimeError("the pool is shut down")
        future: Future[Any] = Future()
        self._calls.put(_Call(future, function, arguments, named))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
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
            self._killed = True
            doomed = tuple(self._alive)
        self._open = False
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
        """Run calls until there are no more, in a process of this thread's own that ends with it."""
        worker: _Worker | None = None
        while (call := self._calls.get()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            try:
                if worker is None or worker.process.poll() is not None:
                    self._stop_worker(worker)
                    worker = self._start_worker()
                result = worker.run(call, self._timeout)
            except BaseException as error:
                call.future.set_exception(error)
            else:
                call.future.set_result(result)
        self._stop_worker(worker)

    def _start_worker(self) -> _Worker:
        with self._lock:
            if self._killed:
                raise WorkerError("the pool is stopped")
            worker = _Worker(self._environment, self._preload)
            self._alive.add(worker)
            return worker

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
                start_new_session=True,  # an interrupt at the terminal is the pool's to answer
            )
        except OSError as error:
            raise ConvError("a worker could not start", reason(error)) from error
        self._ready = False
        self._last_function: Callable[..., Any] | None = None

    def run(self, call: _Call, timeout: float | None) -> Any:
        """Return the value of one call; raises what it raised, WorkerError or TimeoutError."""
        if not self._ready:
            self._await_start()
        expired = threading.Event()
        timer = None if timeout is None else threading.Timer(timeout, self._expire, [expired])
        try:
            if timer is not None:
                timer.start()
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

    def _await_start(self) -> None:
        try:
            started, problem = receive(self.process.stdout)  # type: ignore[arg-type]
        except EOFError:
            started, problem = False, f"it {self._wait_for_exit()}"
        if not started:
            raise ConvError("a worker could not start", str(problem))
        self._ready = True

    def _exchange(self, call: _Call) -> Any:
        known = call.function is self._last_function
        send(self.process.stdin, (None if known else call.function, call.arguments, call.named))  # type: ignore[arg-type]
        self._last_function = call.function
        fine, value = receive(self.process.stdout)  # type: ignore[arg-type]
        if not fine:
            raise value
        return value

    def _expire(self, expired: threading.Event) -> None:
        expired.set()
        self.process.kill()

    def _wait_for_exit(self) -> str:
        """Wait for the process to exit. Returns how it did, in words."""
        try:
            code = self.process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def as_finished(
    pool: Executor, function: Callable[[Item], Any], items: Iterable[Item], window: int
) -> Iterator[tuple[Item, Future[Any]]]:
    """Call function(item) for each item, `window` at a time. Yields each with its future, in the order of finishing.

    An item whose worker died is retried once, alone, when all others are done: another item may have caused it, and
    alone it cannot harm others.
    """
    return in_thread(_with_retries(pool, function, items, window))


def in_thread(items: Iterable[Item]) -> Iterator[Item]:
    """Iterate over `items` in a background thread.

    KeyboardInterrupt then hits the main thread in a lock-free queue, not inside a Future whose lock it would leave
    held.

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

    threading.Thread(target=run, daemon=True).start()
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
