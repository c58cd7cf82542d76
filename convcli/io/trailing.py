"""What follows the end of a picture or an array, in its file or on its pipe: only the first is
read.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from convcli.io.foreign import recognise_foreign
from convcli.io.formats import recognise
from convcli.io.streams import BufferedPipe

_LOOKED_AT = 512
_BLOCK = 2**20


def describe_trailing(stream: BinaryIO, end: int, what: str = "picture") -> str:
    """Say in words what follows the end of what was read, "" for nothing, or for zeros alone.

    A pipe is not waited for: what has not come by then is none of ours. The stream is left
    anywhere.
    """
    if isinstance(stream, BufferedPipe):
        rest = stream.read_behind(end, _LOOKED_AT)
        return (
            f"more bytes follow the {what} on the pipe{_looks(rest)}; they are not read"
            if rest.strip(b"\0")
            else ""
        )
    size = stream.seek(0, os.SEEK_END)
    if size <= end:
        return ""
    stream.seek(end)
    rest = stream.read(_LOOKED_AT)
    stream.seek(end)
    if not any(stream.read(_BLOCK).strip(b"\0") for _ in range(end, size, _BLOCK)):
        return ""
    return f"{size - end:,} bytes behind the end of the {what} left out{_looks(rest)}"


def _looks(rest: bytes) -> str:
    known = recognise(rest)
    foreign = None if known else recognise_foreign(rest)
    if known:
        return f", which look like {known[1]}"
    return f", which look like {foreign.words}" if foreign else ""
