"""What a gzip file holds, unpacked as it is read; zeros behind it, of which there may be some, are passed over."""

from __future__ import annotations

import io
import zlib
from typing import Any, BinaryIO

BLOCK = 2**18
PADDING = 2**26
"""Bytes of zeros at most that may follow a member, so that what never ends is refused."""

_GZIP = 16 + zlib.MAX_WBITS


class Unpacked(io.RawIOBase):
    """The content of all of a file's members, one behind the other.

    Raises EOFError where a member is cut, zlib.error where one is damaged or something else follows it, ValueError
    where zeros do without an end.
    Source: RFC 1952, section 2.2; gzip's manual, of the zeros that fill up a tape.

    >>> import gzip
    >>> packed = io.BytesIO(gzip.compress(b"one,") + gzip.compress(b"two") + bytes(1000))
    >>> io.BufferedReader(Unpacked(packed)).read()
    b'one,two'
    """

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._rewind()

    def _rewind(self) -> None:
        self._packed.seek(0)
        self._at, self._rest = 0, b""
        self._member = zlib.decompressobj(_GZIP)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place counted from the start or from here, by unpacking what lies before it."""
        target = offset + (self._at if whence == io.SEEK_CUR else 0)
        if target < self._at:
            self._rewind()
        while self._at < target and self.read(min(target - self._at, BLOCK)):
            pass
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        content = b""
        while not content and self._goes_on():
            content = self._member.decompress(self._rest, len(buffer))
            self._rest = self._member.unconsumed_tail or self._member.unused_data
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def _goes_on(self) -> bool:
        """Whether there is more to unpack: of this member, or of one behind it."""
        if not self._member.eof:
            self._rest = self._rest or self._packed.read(BLOCK)
            if not self._rest:
                raise EOFError("it ends too early")
            return True
        self._rest = self._behind()
        self._member = zlib.decompressobj(_GZIP) if self._rest else self._member
        return bool(self._rest)

    def _behind(self) -> bytes:
        """What follows a member and the zeros behind it, as far as it is read; nothing at the end of the file."""
        rest, passed = self._rest.lstrip(b"\0"), 0
        while not rest and (block := self._packed.read(BLOCK)):
            rest, passed = block.lstrip(b"\0"), passed + len(block)
            if passed > PADDING:
                raise ValueError("zeros without an end follow its last member")
        return rest
