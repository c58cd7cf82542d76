"""The worker process: it reads calls from standard input and writes results to standard output.

A message is a pickle after its length. A worker exits when its input ends, or when Linux signals
that its parent has exited, whatever it is doing: a pool that was killed leaves no worker behind.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from queue import SimpleQueue
from typing import Any

from convcli.system import end_with_parent

_COLLECT_AFTER = 200_000
"""New objects after which garbage is collected: imports start a hundred collections for nothing."""
_LENGTH = 8  # bytes of a message's length, little-endian
_AT_ONCE = 2**16  # bytes read at once, which is what a pipe of Linux holds


def encode(message: Any) -> bytes:
    """Return the bytes of one message. Raises what pickle raises."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return len(content).to_bytes(_LENGTH, "little") + content


class Inbox:
    """The messages that arrive at a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._content = bytearray()

    def read_frames(self) -> list[bytes]:
        """Wait for messages, and return the bytes of all that have arrived.

        Raises EOFError if the other side has exited.
        """
        frames: list[bytes] = []
        while not frames:
            arrived = os.read(self._descriptor, _AT_ONCE)
            if not arrived:
                raise EOFError("the other side is gone")
            self._content += arrived
            start = 0
            while (begin := start + _LENGTH) <= len(self._content):
                end = begin + int.from_bytes(self._content[start:begin], "little")
                if end > len(self._content):
                    break
                frames.append(bytes(self._content[begin:end]))
                start = end
            del self._content[:start]
        return frames


def serve(preload: str, parent: int) -> None:
    """Import the module `preload`, report that, then run calls.

    It returns when the input ends or the process `parent` exits.

    A call is (function or None for the one before, arguments, named arguments); an answer is (True,
    value) or (False, exception).
    """
    gc.set_threshold(_COLLECT_AFTER)
    end_with_parent(parent)
    requests, replies = _take_streams()
    calls: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(Inbox(requests), calls), daemon=True).start()
    _answer(replies, lambda: import_module(preload) and None)
    function: Any = None

    def call() -> Any:
        nonlocal function
        given, arguments, named = pickle.loads(calls.get())
        function = given or function
        return function(*arguments, **named)

    while True:
        _answer(replies, call)


def _take_streams() -> tuple[int, int]:
    """Return stdin and stdout for the pool's use: calls print to stderr and read an empty stdin."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123 - for as long as the process lives
    return requests, replies


def _listen(inbox: Inbox, calls: SimpleQueue[bytes]) -> None:
    try:
        while True:
            for frame in inbox.read_frames():
                calls.put(frame)
    finally:
        os._exit(0)


def _answer(replies: int, call: Callable[[], Any]) -> None:
    try:
        answer = (True, call())
    except BaseException as error:
        answer = (False, error)
    try:
        content = encode(answer)
    except (pickle.PicklingError, TypeError, AttributeError):
        content = encode((False, RuntimeError(f"an answer that cannot be sent: {answer[1]!r}")))
    while content:
        content = content[os.write(replies, content) :]
