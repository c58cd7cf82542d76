"""A worker process as its pool sees it: started, sent calls ahead of their answers, stopped."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from convcli.errors import ConvError, WorkerError, reason
from convcli.jobs.executors.worker import Inbox, encode
from convcli.system import own_session, signal_name

_BOOT = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from convcli.jobs.executors.worker import serve; serve(sys.argv[1], int(sys.argv[2]))"
)
_EXIT_SECONDS = 1.0  # seconds that a process may take to exit after closing its output


class Call(NamedTuple):
    """A function and its arguments, and the future that gets its result."""

    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any]


class WorkerProcess:
    """A process that runs calls one after the other, and answers them in the order of `send`."""

    def __init__(
        self, environment: Mapping[str, str] | None, preload: str, umask: int | None = None
    ) -> None:
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, preload, str(os.getpid()), *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                umask=-1 if umask is None else umask,
                **own_session(),  # an interrupt at the terminal is the pool's to answer
            )
        except OSError as error:
            raise ConvError("a worker could not start", reason(error)) from error
        self._last_function: Callable[..., Any] | None = None
        self._outbox = bytearray()
        self._inbox = Inbox(self.process.stdout.fileno())  # type: ignore[union-attr]

    def await_start(self) -> None:
        """Wait until the process is ready for calls; raise ConvError if it exits before."""
        try:
            (frame,) = self._inbox.read_frames()
            started, problem = _decode(frame)
        except EOFError:
            started, problem = False, f"it {self._wait_for_exit()}"
        if not started:
            raise ConvError("a worker could not start", str(problem))

    def write(self, call: Call) -> None:
        """Add a call to those that `flush` sends. Raises what pickle raises."""
        known = call.function is self._last_function
        message = (None if known else call.function, call.arguments, call.named)
        self._outbox += encode(message)
        self._last_function = call.function

    def flush(self) -> None:
        """Send the calls; if the process has died, `answers` raises an error."""
        content, self._outbox = self._outbox, bytearray()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(content)  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]

    def answers(self, timeout: float | None) -> list[tuple[bool, Any]]:
        """Wait for answers, and return all there are, in the order of the calls.

        Each is (True, value) or (False, exception). Raises WorkerError if the process dies,
        TimeoutError if it was killed because there was no answer after `timeout` seconds.
        """
        expired = threading.Event()
        timer = None if timeout is None else threading.Timer(timeout, self._expire, [expired])
        try:
            if timer is not None:
                self._start_watch(timer)
            return [_decode(frame) for frame in self._inbox.read_frames()]
        except EOFError:
            how = self._wait_for_exit()
            if expired.is_set():
                raise TimeoutError(f"it took longer than {timeout:g} s and was stopped") from None
            raise WorkerError(f"its worker {how}") from None
        finally:
            if timer is not None:
                timer.cancel()

    def is_running(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        """Let the process exit; kill it if it does not."""
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # a dead worker's pipe is broken
                stream.close()  # type: ignore[union-attr]
        self._wait_for_exit()

    def _start_watch(self, timer: threading.Timer) -> None:
        """Start a timer. If the system allows no thread for it, kill the process, which has the
        call already, and raise WorkerError.
        """
        try:
            timer.start()
        except RuntimeError as error:
            self.process.kill()
            self._wait_for_exit()
            raise WorkerError(f"its time could not be watched; {error}") from error

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


def _decode(frame: bytes) -> tuple[bool, Any]:
    try:
        fine, value = pickle.loads(frame)
    except Exception as error:  # of an exception that cannot be copied
        return False, error
    return fine, value
