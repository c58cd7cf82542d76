"""Taking in no more than the limits allow: pipes that may never end, and text whose lines may not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from convcli.errors import FileError, LimitError
from convcli.limits import Limits, show_bytes

BLOCK = 2**18
LINE_BYTES = 2**25
"""Bytes of a line of text at most: more than a million numbers with all their digits."""
PARSING = 4
"""Bytes of memory that parsing takes, at most, for each byte of what is held of a text at once."""


class TextSize:
    """What is known of a text while it comes in, block by block, none of which is kept."""

    def __init__(self, name: str) -> None:
        self.name, self.bytes, self.lines, self.unbroken, self.longest = name, 0, 1, 0, 0

    def add(self, block: bytes) -> None:
        """Count one more block; raises LimitError in the middle of a line that is too long."""
        self.bytes += len(block)
        self.lines += block.count(b"\n") + block.count(b"\r")
        first = min(len(line) for line in (block.partition(b"\n")[0], block.partition(b"\r")[0]))
        self.longest = max(self.longest, self.unbroken + first)
        if self.longest > LINE_BYTES:
            raise LimitError(
                f"{self.name} has a line of more than {show_bytes(LINE_BYTES)}",
                "expected a row of numbers",
                "write fewer numbers a line, or a .npy file",
            )
        last = max(block.rfind(b"\n"), block.rfind(b"\r"))
        self.unbroken = len(block) - last - 1 + (self.unbroken if last < 0 else 0)

    @property
    def parsing(self) -> int:
        """Bytes that parsing takes at most, besides the numbers: those of its longest line, or of several short ones.

        Lines within a block are not told apart.
        """
        return PARSING * min(self.bytes, max(self.longest, BLOCK))

    @property
    def numbers(self) -> int:
        """Bytes of the numbers at least, one a line."""
        return 8 * self.lines


def measure(stream: BinaryIO, name: str) -> TextSize:
    """Count a text's bytes and lines to its end and go back to its beginning; LimitError for an endless line."""
    size = TextSize(name)
    for block in _blocks(stream):
        size.add(block)
    stream.seek(0)
    return size


def drained(
    stream: BinaryIO, head: bytes, name: str, limits: Limits, *, text: bool, most: int | None = None
) -> io.BytesIO:
    """All the bytes of a pipe, which cannot be read twice, after `head`, which has been read already.

    most: the bytes that it was told to have. Raises FileError where it has more, LimitError where they would take more
    memory than there may be, and for an endless line of text.
    """
    content, size = io.BytesIO(), TextSize(name)
    for block in _blocks(stream, head):
        content.write(block)
        if text:
            size.add(block)
        if most is not None and content.tell() > most:
            told = f"expected {most:,}, as its shape and type say"
            raise FileError(
                f"{name} has more than {most:,} bytes", told, "correct --raw-shape, --raw-dtype or --raw-offset"
            )
        limits.check_memory(name, content.tell() + size.numbers * text)
    content.seek(0)
    return content


def _blocks(stream: BinaryIO, head: bytes = b"") -> Iterator[bytes]:
    if head:
        yield head
    while block := stream.read(BLOCK):
        yield block
