"""The manifest: what a folder of outputs was made from, in an SQLite file among them.

It has one row per output: the digests of its input, of the recipe (kernels, parameters, convcli's
version) and of the file as it was written. A row without digests, which earlier versions wrote,
matches nothing. Each change is a transaction, so a process killed at any moment leaves a valid
manifest. One batch at a time opens it. The write-ahead log is used without shared memory, which
network folders do not offer.

It also has the owner of the batches' temporary files: letters in their names, by which the next
batch finds those that a killed one left, and no others.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from convcli.errors import ConvError, FileError, OutputError
from convcli.system import lock_holder

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
_PARAMETERS = 500  # of one statement; SQLite allows 999 and more
_PAUSES = (0.05, 0.15)
"""Seconds before further attempts to open a file that is locked: two batches that open it at the
same moment refuse each other, and after different times one of them succeeds."""
_HELD: set[str] = set()  # the manifests that this process has open
_OWNER = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Entry:
    """The digests of an output's input, recipe and content."""

    input: str
    recipe: str
    output: str


class Manifest:
    """The open manifest of one folder.

    called: its name in messages. on_record: is called after each change of the outputs.

    Several threads may use it. Raises FileError if another batch has it open, or if it is no
    manifest.
    """

    def __init__(self, folder: Path, called: str = "") -> None:
        self._path = folder / NAME
        self._called = called or str(self._path)
        self.on_record: Callable[[], None] | None = None
        self._lock = threading.Lock()
        for suffix in ("", "-wal", "-shm", "-journal"):
            _check_own_file(folder / f"{NAME}{suffix}")
        if _is_other_database(self._path):
            raise self._foreign("it is a database of another program")
        with self._translated_errors():
            self._open()
        _HELD.add(os.path.realpath(self._path))

    def _open(self) -> None:
        """Open and lock the file, in several attempts unless this process has it open already."""
        for pause in () if self._is_held() else _PAUSES:
            try:
                return self._attempt()
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
            time.sleep(pause * random.uniform(0.5, 1.5))
        return self._attempt()

    def _attempt(self) -> None:
        self._base = sqlite3.connect(
            self._path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except BaseException:
            self._base.close()
            raise

    def _is_held(self) -> bool:
        return os.path.realpath(self._path) in _HELD

    def _prepare(self) -> None:
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL"):
            self._base.execute(f"PRAGMA {setting}")
        (version,) = self._base.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise FileError(
                f"{self._called} is of version {version}",
                f"expected {_VERSION}",
                "choose another --out",
            )
        self._base.execute("BEGIN IMMEDIATE")  # locks the file, even if nothing is written
        if version != _VERSION:
            self._base.execute(_SCHEMA)
            self._base.execute(f"PRAGMA user_version = {_VERSION}")
        self._base.execute("COMMIT")
        found = self._base.execute(
            "SELECT type FROM sqlite_master WHERE name = 'outputs'"
        ).fetchall()
        if found != [("table",)]:  # a view may recur for ever
            raise self._foreign("it has no table of outputs")
        if self._base.execute("SELECT 1 FROM outputs WHERE typeof(target) != 'blob'").fetchone():
            raise self._foreign("its targets are no paths")

    @staticmethod
    @contextmanager
    def existing(folder: Path) -> Iterator[Manifest | None]:
        """Provide the manifest of a folder, None if it has none."""
        if not os.path.lexists(folder / NAME):
            yield None
            return
        manifest = Manifest(folder)
        try:
            yield manifest
        finally:
            manifest.close()

    @staticmethod
    def of(folder: Path) -> dict[str, Entry]:
        """Return the entries of a folder by target; none if it has no manifest."""
        with Manifest.existing(folder) as manifest:
            return {} if manifest is None else manifest.entries()

    def entries(self) -> dict[str, Entry]:
        """Return all entries by target: some 500 bytes for each."""
        with self._translated_errors():
            return dict(
                map(_entry, self._base.execute("SELECT target, input, recipe, output FROM outputs"))
            )

    def owner(self) -> str:
        """Return the letters in the names of the temporary files of this folder's batches."""
        with self._translated_errors():
            self._base.execute("BEGIN")
            self._base.execute("CREATE TABLE IF NOT EXISTS batch (owner TEXT)")
            found = self._base.execute("SELECT owner FROM batch").fetchone()
            if found is None:
                found = (secrets.token_hex(4),)
                self._base.execute("INSERT INTO batch VALUES (?)", found)
            self._base.execute("COMMIT")
        (owner,) = found
        if not isinstance(owner, str) or not _OWNER.fullmatch(owner):
            raise self._foreign("its owner is none")
        return owner

    def find(self, targets: Iterable[str]) -> dict[str, Entry]:
        """Return the entries of those targets that have one."""
        return dict(map(_entry, self._select("target, input, recipe, output", targets)))

    def known(self, targets: Iterable[str]) -> set[str]:
        """Return those targets that have an entry: in half of the time of `find`."""
        return {os.fsdecode(target) for (target,) in self._select("target", targets)}

    def _select(self, columns: str, targets: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        keys = map(os.fsencode, targets)
        with self._lock, self._translated_errors():
            while some := tuple(islice(keys, _PARAMETERS)):
                places = ",".join("?" * len(some))
                yield from self._base.execute(
                    f"SELECT {columns} FROM outputs WHERE target IN ({places})", some
                )

    def record(self, outputs: Iterable[tuple[str, str, Entry | None]]) -> None:
        """Record outputs (target, source, entry) in one transaction; None: no batch made it."""
        rows = []
        removed = []
        for target, source, entry in outputs:
            key = os.fsencode(target)
            if entry is None:
                removed.append((key,))
            else:
                digests = (entry.input, entry.recipe, entry.output)
                rows.append((key, os.fsencode(source), *digests))
        if not (rows or removed):
            return
        with self._lock, self._translated_errors():
            self._base.execute("BEGIN")
            self._base.executemany("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?)", rows)
            self._base.executemany("DELETE FROM outputs WHERE target = ?", removed)
            self._base.execute("COMMIT")
        if self.on_record is not None:
            self.on_record()

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy of the manifest to a new file."""
        with self._lock, self._translated_errors():
            self._base.execute("VACUUM INTO ?", (str(path),))

    def close(self) -> None:
        self._base.close()
        _HELD.discard(os.path.realpath(self._path))

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _translate(self, error: sqlite3.Error) -> ConvError:
        code = getattr(error, "sqlite_errorcode", None)
        if _is_busy(error):
            holder = os.getpid() if self._is_held() else lock_holder(self._path)
            process = "" if holder is None else f", process {holder}"
            return FileError(
                f"{self._path.parent} is in use by another batch{process}",
                "expected it free",
                "wait for it to end, or choose another --out",
            )
        if code is not None and code & 0xFF in (
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_ERROR,
        ):
            return self._foreign(str(error))
        return OutputError(f"{self._called} cannot be written", str(error))

    def _foreign(self, why: str) -> FileError:
        return FileError(
            f"{self._called} is no manifest", why, "move it away, or choose another --out"
        )


def _entry(row: tuple[Any, ...]) -> tuple[str, Entry]:
    target, *digests = row
    return os.fsdecode(target), Entry(*digests)


def _is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection has the file locked."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _is_other_database(path: Path) -> bool:
    """Return whether a file is a database with tables and without a version, as no manifest is.

    To open it in SQLite would change how it is written.

    Source: SQLite, "Database File Format", 1.3: the schema cookie and the user version.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(100)
    except OSError:  # there is none, or opening it will fail with the reason
        return False
    return head.startswith(b"SQLite format 3\0") and any(head[40:44]) and not any(head[60:64])


def _check_own_file(path: Path) -> None:
    """Raise FileError for anything but a plain file: a link would redirect writes."""
    try:
        status = path.lstat()
    except OSError:  # there is none, or opening it will fail with the reason
        return
    if not stat.S_ISREG(status.st_mode):
        found = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no plain file"
        raise FileError(
            f"{path} is {found}",
            "expected a manifest or nothing",
            "remove it, or choose another --out",
        )
    if status.st_nlink > 1:
        given = f"{path} is a hard link, another name of a file"
        raise FileError(
            given, "expected a manifest of its own", "remove it, or choose another --out"
        )
