"""Millions of file names in little memory."""

from __future__ import annotations

import marshal
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice

BLOCK = 4096
"""Rows that are compressed together."""


class Rows:
    """Rows of texts, compressed: some 15 bytes for two paths. They can be iterated repeatedly.

    >>> rows = Rows((f"photos/{n}.png", f"{n}.png") for n in range(10_000))
    >>> len(rows), list(rows)[9_999]
    (10000, ('photos/9999.png', '9999.png'))
    """

    def __init__(self, rows: Iterable[tuple[str, ...]]) -> None:
        self._blocks: list[bytes] = []
        self._count = 0
        source = iter(rows)
        while block := list(islice(source, BLOCK)):
            self._blocks.append(zlib.compress(marshal.dumps(block), 1))
            self._count += len(block)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return (row for block in self.blocks() for row in block)

    def blocks(self) -> Iterator[list[tuple[str, ...]]]:
        """Yield the rows in lists of up to BLOCK."""
        for block in self._blocks:
            yield marshal.loads(zlib.decompress(block))
