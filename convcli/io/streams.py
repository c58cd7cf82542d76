"""Pipes that can be read again, and gzip files, both within limits."""

from __future__ import annotations

import io
import os
import select
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from convcli.errors import FileError, LimitError, reason
from convcli.limits import Limits, show_bytes

if TYPE_CHECKING:
    import gzip

BLOCK = 2**18
"""Bytes that are read from a pipe at once."""

SPOOLED = 2**24
"""Bytes that are kept in memory; more are written to an unnamed temporary file, which the system
removes when the process exits."""
UNDECLARED = 2**32
"""Bytes that are read from a pipe at most, unless a header declares more."""


_MOMENT = 0.2
"""Seconds to wait for a pipe's writer, in which one that is active writes more."""


class BufferedPipe(io.BufferedIOBase):
    r"""A pipe as a seekable stream: it buffers all bytes that have been read from the pipe.

    Its methods raise LimitError for more bytes than allowed, FileError if the buffer cannot be
    written.

    >>> pipe = BufferedPipe(io.BytesIO(b"one\ntwo\n"), "standard input", Limits(2**20))
    >>> pipe.readline(), pipe.taken, pipe.seek(0), pipe.read()
    (b'one\n', 8, 0, b'one\ntwo\n')
    """

    def __init__(self, source: BinaryIO, name: str, limits: Limits) -> None:
        from tempfile import SpooledTemporaryFile

        self.taken = 0
        self._source: Any = source
        self._name = name
        self._limits = limits
        self._max_bytes = min(limits.memory, UNDECLARED)
        self._buffer = SpooledTemporaryFile(SPOOLED)  # noqa: SIM115 - closed with the stream
        self._position = 0
        self._ended = False

    @property
    def held(self) -> int:
        """Bytes of memory that the buffer uses at most."""
        return min(self.taken, SPOOLED)

    def available(self, count: int) -> int:
        """Read up to `count` bytes in all and return how many there are.

        Raises LimitError for too many before they are read.
        """
        if count > self.taken and not self._ended:
            self._limits.check_memory(self._name, count)
            self._max_bytes = max(self._max_bytes, count + BLOCK)
            self._read_up_to(count)
        return min(count, self.taken)

    def read_behind(self, start: int, count: int) -> bytes:
        """Return up to `count` bytes from `start` on, those that arrive within _MOMENT.

        This does not wait longer for a writer that neither writes nor closes the pipe.
        """
        if self.taken <= start and not self._ended and self._is_ready():
            self._read_up_to(start + 1)
        if self.taken <= start:
            return b""
        self._buffer.seek(start)
        return self._buffer.read(count)

    def _is_ready(self) -> bool:
        """Return whether the pipe has more, or has ended; True if the system cannot report it."""
        try:
            return bool(select.select([self._source], [], [], _MOMENT)[0])
        except (OSError, ValueError, TypeError):
            return True

    def stop(self) -> None:
        """Read no more from the pipe: the bytes read so far are a whole file."""
        self._ended = True

    def close(self) -> None:
        self._buffer.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_END:
            self._read_up_to(None)
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.taken}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def read(self, count: int | None = -1, /) -> bytes:
        wanted = None if count is None or count < 0 else count
        self._read_up_to(None if wanted is None else self._position + wanted)
        self._buffer.seek(self._position)
        content = self._buffer.read(-1 if wanted is None else wanted)
        self._position += len(content)
        return content

    def read1(self, count: int = -1, /) -> bytes:
        return self.read(BLOCK if count < 0 else count)

    def _read_up_to(self, wanted: int | None) -> None:
        """Read until the buffer has the first `wanted` bytes, or all, or the pipe ends."""
        while not self._ended and (wanted is None or self.taken < wanted):
            block = self._source.read1(BLOCK)
            self._ended = not block
            self._keep(block)

    def _keep(self, block: bytes) -> None:
        if self.taken + len(block) > self._max_bytes:
            given = f"{self._name} is longer than {show_bytes(self._max_bytes)}"
            raise LimitError(
                given, "no more is kept of a pipe", "name a file instead, or raise --max-memory"
            )
        try:
            self._buffer.seek(self.taken)
            self._buffer.write(block)
        except OSError as error:
            given = f"{self._name} cannot be kept in a temporary file"
            raise FileError(
                given, reason(error), "name a file, or set TMPDIR to a folder with room"
            ) from error
        self.taken += len(block)


class FirstBytes(io.RawIOBase):
    """The first `size` bytes of a stream that can seek, as a stream of its own.

    >>> FirstBytes(io.BytesIO(b"one and two"), 3).read()
    b'one'
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size, self._position = stream, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        self._stream.seek(self._position)
        content = self._stream.read(max(min(len(buffer), self._size - self._position), 0))
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def available_bytes(stream: BinaryIO, count: int) -> int:
    """Return how many bytes a stream has, of a pipe at most `count`; its position is undefined."""
    if isinstance(stream, BufferedPipe):
        return stream.available(count)
    return stream.seek(0, os.SEEK_END)


def count_bytes(stream: BinaryIO, most: int | None = None) -> int:
    """Return how many bytes a stream has, of a pipe at most `most` if given; keep its position."""
    position = stream.tell()
    try:
        return stream.seek(0, os.SEEK_END) if most is None else available_bytes(stream, most)
    finally:
        stream.seek(position)


PADDING = 2**20
"""Zeros in a row at most in a gzip file. Compressed data have fewer: a stored block has at most
2**16 bytes."""


def open_gzip(packed: BinaryIO) -> gzip.GzipFile:
    r"""Open the concatenated content of all members of a gzip file; zeros may follow each member.

    Its methods raise EOFError if a member is cut, OSError or zlib.error if one is damaged or
    followed by other bytes, ValueError for endless zeros.

    >>> import gzip
    >>> packed = io.BytesIO(gzip.compress(b"one,") + gzip.compress(b"two") + bytes(1000))
    >>> open_gzip(packed).read()
    b'one,two'
    """
    import gzip

    packed.seek(0)
    return gzip.GzipFile(fileobj=cast("BinaryIO", _BoundedZeros(packed)))


def unpack_head(packed: bytes, count: int) -> bytes:
    """Unpack up to `count` first bytes of gzip data; fewer, or none, if they are damaged or cut.

    >>> import gzip
    >>> unpack_head(gzip.compress(b"one and two"), 3), unpack_head(b"no gzip", 3)
    (b'one', b'')
    """
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, count)
    except zlib.error:
        return b""


class _BoundedZeros:
    """A stream that raises ValueError for more than PADDING zeros in a row.

    GzipFile would skip any number of them, one by one.
    """

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
