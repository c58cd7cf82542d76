"""What comes through a pipe, kept while it is read: no further than a reader goes, and never more than the limits."""

from __future__ import annotations

import gzip
import io
import os
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from convcli.errors import FileError, LimitError, reason
from convcli.limits import Limits, show_bytes

BLOCK = 2**18
SPOOLED = 2**24
"""Bytes that are kept in memory; more of them go into a file without a name, which ends with the process."""
UNTOLD = 2**32
"""Bytes that are taken in at most where nothing in them tells how many there are."""


class BufferedPipe(io.BufferedIOBase):
    r"""A pipe as a stream that can be read again: whoever reads or seeks on takes in as much, and it is kept.

    Raises LimitError for more bytes than may be, FileError where there is no room to keep them.

    >>> pipe = BufferedPipe(io.BytesIO(b"one\ntwo\n"), "standard input", Limits(2**20))
    >>> pipe.readline(), pipe.taken, pipe.seek(0), pipe.read()
    (b'one\n', 8, 0, b'one\ntwo\n')
    """

    def __init__(self, source: BinaryIO, name: str, limits: Limits) -> None:
        self.taken = 0
        self._source: Any = source
        self._name, self._limits = name, limits
        self._most = min(limits.memory, UNTOLD)
        self._kept = SpooledTemporaryFile(SPOOLED)  # noqa: SIM115 - closed with the stream
        self._at, self._ended = 0, False

    @property
    def held(self) -> int:
        """Bytes of memory that it takes at most."""
        return min(self.taken, SPOOLED)

    def there(self, count: int) -> int:
        """How many of its first bytes there are; LimitError, before they come, for more than there may be."""
        if count > self.taken and not self._ended:
            self._limits.check_memory(self._name, count)
            self._most = max(self._most, count + BLOCK)
            self._take(count)
        return min(count, self.taken)

    def settle(self) -> None:
        """Take in no more: what has been looked at is a whole file, and what lies behind it is left."""
        self._ended = True

    def close(self) -> None:
        self._kept.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_END:
            self._take(None)
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.taken}[whence])
        return self._at

    def read(self, count: int | None = -1, /) -> bytes:
        wanted = None if count is None or count < 0 else count
        self._take(None if wanted is None else self._at + wanted)
        self._kept.seek(self._at)
        content = self._kept.read(-1 if wanted is None else wanted)
        self._at += len(content)
        return content

    def read1(self, count: int = -1, /) -> bytes:
        return self.read(BLOCK if count < 0 else count)

    def _take(self, wanted: int | None) -> None:
        """Keep so many bytes in all, and a block more at most, or all; fewer where the pipe ends."""
        while not self._ended and (wanted is None or self.taken < wanted):
            block = self._source.read1(BLOCK)
            self._ended = not block
            self._keep(block)

    def _keep(self, block: bytes) -> None:
        if self.taken + len(block) > self._most:
            more = f"{self._name} is longer than {show_bytes(self._most)}"
            raise LimitError(more, "no more is kept of a pipe", "name a file instead, or raise --max-memory")
        try:
            self._kept.seek(self.taken)
            self._kept.write(block)
        except OSError as error:
            full = f"{self._name} cannot be kept in a temporary file"
            raise FileError(full, reason(error), "name a file, or set TMPDIR to a folder with room") from error
        self.taken += len(block)


def available_bytes(stream: BinaryIO, count: int) -> int:
    """How many bytes a stream has, which is left anywhere; of a pipe, whose end may not come, at most `count`."""
    return stream.there(count) if isinstance(stream, BufferedPipe) else stream.seek(0, os.SEEK_END)


PADDING = 2**20
"""Zeros in a row at most in a gzip file: more than any data have, of which a stored block is 2**16 bytes at most."""


def open_gzip(packed: BinaryIO) -> gzip.GzipFile:
    r"""Open the content of all members of a gzip file, one behind the other; zeros may follow each.

    Its methods raise EOFError where a member is cut, OSError or zlib.error where one is damaged or something else
    follows it, ValueError for zeros without an end.

    >>> packed = io.BytesIO(gzip.compress(b"one,") + gzip.compress(b"two") + bytes(1000))
    >>> open_gzip(packed).read()
    b'one,two'
    """
    packed.seek(0)
    return gzip.GzipFile(fileobj=cast("BinaryIO", _BoundedZeros(packed)))


class _BoundedZeros:
    """A stream that refuses more than PADDING zeros in a row: GzipFile skips them one by one, however many follow."""

    def __init__(self, stream: BinaryIO) -> None:
        self.seek = stream.seek
        self._stream = stream
        self._zeros = 0

    def read(self, count: int) -> bytes:
        content = self._stream.read(count)
        self._zeros = self._zeros + len(content) if content.count(0) == len(content) else 0
        if self._zeros > PADDING:
            raise ValueError("zeros without an end follow its last member")
        return content
