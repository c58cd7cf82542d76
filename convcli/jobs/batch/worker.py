"""The worker process: it reads calls from standard input and writes results to standard output.

A message is a pickle after its length. A worker exits when its input ends, or when Linux signals
that its parent has exited, whatever it is doing: a pool that was killed leaves no worker behind.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from importlib import import_module
from queue import SimpleQueue
from typing import Any, BinaryIO

from convcli.system import end_with_parent

_LENGTH = 8  # bytes of a message's length, little-endian


def send(stream: BinaryIO, message: Any) -> None:
    """Write and flush one message."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    stream.write(len(content).to_bytes(_LENGTH, "little") + content)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message. Raises EOFError if the other side has exited."""
    return pickle.loads(_read_frame(stream))


def _read_frame(stream: BinaryIO) -> bytes:
    size = int.from_bytes(_read_exactly(stream, _LENGTH), "little")
    return _read_exactly(stream, size)


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError("the other side is gone")
    return content


def serve(preload: str, parent: int) -> None:
    """Import the module `preload`, report that, then run calls.

    It returns when the input ends or the process `parent` exits.

    A call is (function or None for the one before, arguments, named arguments); an answer is (True,
    value) or (False, exception).
    """
    end_with_parent(parent)
    requests, replies = _take_streams()
    inbox: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(requests, inbox), daemon=True).start()
    _answer(replies, lambda: import_module(preload) and None)
    function: Any = None

    def call() -> Any:
        nonlocal function
        given, arguments, named = pickle.loads(inbox.get())
        function = given or function
        return function(*arguments, **named)

    while True:
        _answer(replies, call)


def _take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return stdin and stdout for the pool's use: calls print to stderr and read an empty stdin."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123 - for as long as the process lives
    return requests, replies


def _listen(requests: BinaryIO, inbox: SimpleQueue[bytes]) -> None:
    try:
        while True:
            inbox.put(_read_frame(requests))
    finally:
        os._exit(0)


def _answer(replies: BinaryIO, call: Any) -> None:
    try:
        answer = (True, call())
    except BaseException as error:
        answer = (False, error)
    try:
        send(replies, answer)
    except (pickle.PicklingError, TypeError, AttributeError):
        send(replies, (False, RuntimeError(f"an answer that cannot be sent: {answer[1]!r}")))
