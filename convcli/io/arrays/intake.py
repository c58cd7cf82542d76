"""Taking in no more text than the limits allow: its lines may be many, and one may never end."""

from __future__ import annotations

from typing import BinaryIO

from convcli.errors import LimitError
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


def measure(stream: BinaryIO, name: str, limits: Limits) -> TextSize:
    """Count a text's bytes and lines to its end and go back to its beginning.

    Raises LimitError for an endless line, and as soon as the numbers of its lines would take more than they may.
    """
    size = TextSize(name)
    while block := stream.read(BLOCK):
        size.add(block)
        limits.check_memory(name, size.parsing + size.numbers)
    stream.seek(0)
    return size
