"""The regions of an output that are finished, in a file of the output's own store.

The file is replaced as a whole: a process that is killed at any moment leaves a valid one, which
lacks at most the regions of the last second. Those are computed again, to the same bytes.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from convcli.errors import FileError
from convcli.io.arrays.zarr import MANIFEST, UNFINISHED
from convcli.io.arrays.zarr_folder import ZarrFolder
from convcli.jobs.postprocess import Ledger

NAME = f"{UNFINISHED}/{MANIFEST}"
VERSION = 1
SECONDS = 1.0
"""Seconds between two writes of the file, at least."""

PAUSE = 50
"""Times that a write takes until the next one: millions of regions take a second to write."""


@dataclass
class Manifest:
    """What is known of an output that is not finished.

    recipe: digest of the input, the kernels and the options. block: of the regions. extent: the
    range that `rescale` maps, once it is known. ledger: of the regions that are done.
    """

    folder: ZarrFolder
    recipe: str
    block: tuple[int, ...]
    extent: tuple[float, float] | None = None
    ledger: Ledger | None = None
    done: set[int] = field(default_factory=set)
    _next: float = 0.0

    @classmethod
    def read(cls, folder: ZarrFolder) -> Manifest:
        """Return the manifest of an output. Raises FileError for one that is damaged."""
        try:
            content = json.loads(folder.read(NAME))
            if content["version"] != VERSION:
                raise ValueError(f"version {content['version']}")
            ledger = None if content["ledger"] is None else Ledger(**content["ledger"])
            extent = None if content["extent"] is None else tuple(content["extent"])
            found = set(numbers(content["done"]))
            block = tuple(map(int, content["block"]))
            return cls(folder, str(content["recipe"]), block, extent, ledger, found)
        except (ValueError, KeyError, TypeError) as error:
            given = f"{folder.absolute}/{NAME} is no list of regions"
            raise FileError(given, str(error), "pass --overwrite to begin anew") from error

    def add(self, number: int, ledger: Ledger) -> None:
        """Record a region that was written."""
        self.done.add(number)
        self.ledger = ledger if self.ledger is None else self.ledger + ledger
        if time.monotonic() > self._next:
            self.write()

    def write(self) -> None:
        """Replace the file. Raises OutputError."""
        began = time.monotonic()
        content = {
            "version": VERSION,
            "recipe": self.recipe,
            "block": self.block,
            "extent": self.extent,
            "ledger": None if self.ledger is None else vars(replace(self.ledger)),
            "done": spans(self.done),
        }
        self.folder.write(NAME, json.dumps(content).encode())
        now = time.monotonic()
        self._next = now + max(SECONDS, PAUSE * (now - began))


def spans(found: Iterable[int]) -> str:
    """Write numbers in short.

    >>> spans({0, 1, 2, 5, 7, 8}), spans(set())
    ('0-2,5,7-8', '')
    """
    runs = []
    for _, pairs in groupby(enumerate(sorted(found)), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in pairs]
        runs.append(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]))
    return ",".join(runs)


def numbers(text: Any) -> Iterator[int]:
    """Read the numbers that `spans` wrote.

    >>> list(numbers("0-2,5"))
    [0, 1, 2, 5]
    """
    if not isinstance(text, str) or not re.fullmatch(r"(\d+(-\d+)?(,\d+(-\d+)?)*)?", text):
        raise ValueError(f"regions {text!r}")
    for run in filter(None, text.split(",")):
        first, _, last = run.partition("-")
        yield from range(int(first), int(last or first) + 1)
