"""The manifest: what a folder of outputs was made from, in an SQLite file among them.

It has one row per output: the digests of its input, of the recipe (kernels, parameters, convcli's version) and of the
file as it was written. A row without digests was about to be written: it belongs to a batch, and is made anew. Each
change is a transaction, so a process killed at any moment leaves a valid manifest. One batch at a time opens it. The
write-ahead log is used without shared memory, which network folders do not offer.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from convcli.errors import ConvError, FileError, OutputError

NAME = ".convcli-batch.sqlite"
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS outputs (
    target BLOB PRIMARY KEY,  -- below the folder, as the file system spells it
    source BLOB NOT NULL,
    input TEXT,               -- SHA-256 of the input file
    recipe TEXT,              -- SHA-256 of kernels, parameters and version
    output TEXT               -- SHA-256 of the output file
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Entry:
    """The digests of one output's input, recipe and content; None if it was only about to be written."""

    input: str | None
    recipe: str | None
    output: str | None


class Manifest:
    """The open manifest of one folder. Raises FileError if another batch has it open, or if it is no manifest."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        with self._translated_errors():
            self._base = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            with self._translated_errors():
                self._prepare()
        except ConvError:
            self.close()
            raise

    def _prepare(self) -> None:
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL"):
            self._base.execute(f"PRAGMA {setting}")
        (version,) = self._base.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise FileError(f"{self._path} is of version {version}", f"expected {_VERSION}", "choose another --out")
        self._base.execute("BEGIN IMMEDIATE")  # locks the file, even if there is nothing to write
        if version != _VERSION:
            self._base.execute(_SCHEMA)
            self._base.execute(f"PRAGMA user_version = {_VERSION}")
        self._base.execute("COMMIT")

    @staticmethod
    def of(folder: Path) -> dict[str, Entry]:
        """Return the entries of a folder by target; none if it has no manifest."""
        if not (folder / NAME).exists():
            return {}
        manifest = Manifest(folder)
        try:
            return manifest.entries()
        finally:
            manifest.close()

    def entries(self) -> dict[str, Entry]:
        with self._translated_errors():
            rows = self._base.execute("SELECT target, input, recipe, output FROM outputs")
            return {os.fsdecode(target): Entry(*digests) for target, *digests in rows}

    def expect(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Add the (target, source) that are about to be written, if the target has no row yet."""
        rows = [(os.fsencode(target), os.fsencode(source)) for target, source in pairs]
        with self._translated_errors():
            self._base.execute("BEGIN")
            self._base.executemany("INSERT OR IGNORE INTO outputs (target, source) VALUES (?, ?)", rows)
            self._base.execute("COMMIT")

    def record(self, target: str, source: str, entry: Entry) -> None:
        """Record an output that was written."""
        row = (os.fsencode(target), os.fsencode(source), entry.input, entry.recipe, entry.output)
        with self._translated_errors():
            self._base.execute("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        self._base.close()

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _translate(self, error: sqlite3.Error) -> ConvError:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return FileError(f"{self._path.parent} is held by another batch", "expected it free", "wait for it to end")
        if code is not None and code & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return FileError(f"{self._path} is no manifest", str(error), "move it away, or choose another --out")
        return OutputError(f"{self._path} cannot be written", str(error))
