"""Describe bytes that follow the first picture or array in a file or on a pipe."""

from __future__ import annotations

import os
from typing import BinaryIO

from convcli.io.foreign import recognise_foreign
from convcli.io.formats import recognise
from convcli.io.streams import BufferedPipe

_LOOKED_AT = 512  # bytes, from which a format is recognised
_BLOCK = 2**20  # bytes that are searched for anything but zeros at once


def describe_trailing(stream: BinaryIO, end: int, what: str = "picture") -> str:
    """Return a warning about bytes after `end`, "" if there are none, or only zeros.

    This does not wait for a pipe: bytes that arrive later are ignored. The stream's position
    afterwards is undefined.
    """
    if isinstance(stream, BufferedPipe):
        rest = stream.read_behind(end, _LOOKED_AT)
        if not rest.strip(b"\0"):
            return ""
        return f"more bytes follow the {what} on the pipe{_looks(rest)}; they are not read"
    size = stream.seek(0, os.SEEK_END)
    if size <= end:
        return ""
    stream.seek(end)
    rest = stream.read(_LOOKED_AT)
    stream.seek(end)
    if not any(stream.read(_BLOCK).strip(b"\0") for _ in range(end, size, _BLOCK)):
        return ""
    return f"{size - end:,} bytes after the end of the {what} left out{_looks(rest)}"


def _looks(rest: bytes) -> str:
    known = recognise(rest)
    foreign = None if known else recognise_foreign(rest)
    if known:
        return f", which look like {known[1]}"
    return f", which look like {foreign.words}" if foreign else ""
