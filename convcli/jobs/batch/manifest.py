"""The manifest: what a folder of outputs was made from, kept in SQLite among them.

One row an output: the digests of its input, of the recipe (kernels, parameters, convcli's version) and of the file
as it was written. A row without digests was meant to be written and may have been: it is a batch's own, and made anew.
Each change is a transaction, so that a process killed at any moment leaves a manifest that is whole. The file is held
by one batch at a time. The write-ahead log is used without shared memory, which network folders do not offer.
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
    """The digests of one output's input, recipe and content; None where it was only meant to be written."""

    input: str | None
    recipe: str | None
    output: str | None


class Manifest:
    """The open manifest of one folder. Raises FileError where another batch holds it, or where it is none."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        with self._told():
            self._base = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            with self._told():
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
        self._base.execute("BEGIN IMMEDIATE")  # takes hold of the file, whether or not there is anything to write
        if version != _VERSION:
            self._base.execute(_SCHEMA)
            self._base.execute(f"PRAGMA user_version = {_VERSION}")
        self._base.execute("COMMIT")

    @staticmethod
    def of(folder: Path) -> dict[str, Entry]:
        """The entries of a folder by target; none where it has no manifest."""
        if not (folder / NAME).exists():
            return {}
        manifest = Manifest(folder)
        try:
            return manifest.entries()
        finally:
            manifest.close()

    def entries(self) -> dict[str, Entry]:
        with self._told():
            rows = self._base.execute("SELECT target, input, recipe, output FROM outputs")
            return {os.fsdecode(target): Entry(*digests) for target, *digests in rows}

    def expect(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Note which (target, source) are about to be written, where nothing is known of the target yet."""
        rows = [(os.fsencode(target), os.fsencode(source)) for target, source in pairs]
        with self._told():
            self._base.execute("BEGIN")
            self._base.executemany("INSERT OR IGNORE INTO outputs (target, source) VALUES (?, ?)", rows)
            self._base.execute("COMMIT")

    def record(self, target: str, source: str, entry: Entry) -> None:
        """Note what was written."""
        row = (os.fsencode(target), os.fsencode(source), entry.input, entry.recipe, entry.output)
        with self._told():
            self._base.execute("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        self._base.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _trouble(self, error: sqlite3.Error) -> ConvError:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return FileError(f"{self._path.parent} is held by another batch", "expected it free", "wait for it to end")
        if code is not None and code & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return FileError(f"{self._path} is no manifest", str(error), "move it away, or choose another --out")
        return OutputError(f"{self._path} cannot be written", str(error))
