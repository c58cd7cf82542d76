"""The manifest of a batch whose outputs are objects: an object among them, as is its lock.

SQLite needs a file, so the process that runs the batch has a copy, which it uploads every
UPLOAD_SECONDS and at the end. If it is killed, at most the records since the last upload are lost;
the outputs without records are made again and found equal.

The lock is created on the condition that there is none. Its owner renews it, and it counts as left
behind if it was not renewed for STALE_SECONDS, or if its process on this machine has exited. If two
processes take over the same lock at once, the one that finds another's name in it stops.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from convcli.errors import ConvError, FileError
from convcli.jobs.batch.manifest import NAME, Manifest
from convcli.stores import StorePath

LOCK = ".convcli-batch.lock"
RENEW_SECONDS = 20.0
STALE_SECONDS = 120.0
"""Six renewals; the clocks of machines with the same store differ by less, or S3 refuses them."""
UPLOAD_SECONDS = 30.0
UPLOAD_SHARE = 20
"""Times that the last upload took that pass before the next, so that a large one costs 5%."""


@contextmanager
def existing_manifest(folder: StorePath) -> Iterator[Manifest | None]:
    """Provide a copy of the manifest, None if there is none.

    Raises FileError if a batch is writing there.
    """
    _Lock(folder).check_free()
    with tempfile.TemporaryDirectory(prefix="convcli-") as name:
        if not _download(folder, Path(name)):
            yield None
            return
        manifest = Manifest(Path(name), called=str(folder / NAME))
        try:
            yield manifest
        finally:
            manifest.close()


@contextmanager
def open_manifest(folder: StorePath) -> Iterator[Manifest]:
    """Provide the manifest for a run, locked against other batches; it is uploaded at the end.

    Raises FileError if another batch has the lock, or has taken it over.
    """
    with _Lock.taken(folder) as lock, tempfile.TemporaryDirectory(prefix="convcli-") as name:
        _download(folder, Path(name))
        manifest = Manifest(Path(name), called=str(folder / NAME))
        copies = _Uploads(folder, Path(name), lock)
        try:
            manifest.owner()
            manifest.on_record = lambda: copies.upload_if_due(manifest)
            yield manifest
        finally:
            try:
                copies.upload(manifest)
            finally:
                manifest.close()


def _download(folder: StorePath, to: Path) -> bool:
    """Copy the manifest into a folder; return False if there is none."""
    source = folder / NAME
    if not source.is_file():
        return False
    with source.open() as stream, (to / NAME).open("wb") as copy:
        while block := stream.read(2**20):
            copy.write(block)
    return True


class _Uploads:
    """Uploads copies of the manifest, not too often."""

    def __init__(self, folder: StorePath, working: Path, lock: _Lock) -> None:
        self._target = folder / NAME
        self._copy = working / "upload.sqlite"
        self._lock = lock
        self._due = time.monotonic() + UPLOAD_SECONDS

    def upload_if_due(self, manifest: Manifest) -> None:
        if time.monotonic() >= self._due:
            self.upload(manifest)

    def upload(self, manifest: Manifest) -> None:
        """Upload a consistent copy. Raises FileError if another batch took the lock over."""
        self._lock.check()
        start = time.monotonic()
        self._copy.unlink(missing_ok=True)
        manifest.copy_to(self._copy)
        self._target.put(self._copy, overwrite=True)
        end = time.monotonic()
        self._due = end + max(UPLOAD_SECONDS, UPLOAD_SHARE * (end - start))


@dataclass(frozen=True)
class _Holder:
    """The content of a lock: who has it, and when it was renewed, in seconds since 1970."""

    token: str
    host: str
    process: int
    renewed: float

    def encoded(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, path: StorePath) -> _Holder | None:
        """Return the content of a lock; None if there is none, or if it is damaged."""
        if not path.is_file():
            return None
        try:
            found = json.loads(path.open().read(2**16))
            return cls(
                str(found["token"]),
                str(found["host"]),
                int(found["process"]),
                float(found["renewed"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConvError):
                raise
            return None

    @property
    def is_gone(self) -> bool:
        """Whether the holder has exited, or has not renewed the lock for long."""
        if time.time() - self.renewed > STALE_SECONDS:
            return True
        return self.host == socket.gethostname() and not _is_running(self.process)


class _Lock:
    """The lock of a folder of objects, which a thread renews."""

    def __init__(self, folder: StorePath) -> None:
        self._folder = folder
        self._path = folder / LOCK
        self._own = _Holder(secrets.token_hex(8), socket.gethostname(), os.getpid(), time.time())
        self._ended = threading.Event()

    @classmethod
    @contextmanager
    def taken(cls, folder: StorePath) -> Iterator[_Lock]:
        """Take the lock for the block. Raises FileError if another batch has it."""
        lock = cls(folder)
        lock._take()
        thread = threading.Thread(target=lock._renew, daemon=True)
        thread.start()
        try:
            yield lock
        finally:
            lock._ended.set()
            thread.join()
            if lock._is_own():
                lock._path.delete()

    def check_free(self) -> None:
        """Raise FileError if another batch has the lock."""
        holder = _Holder.read(self._path)
        if holder is not None and not holder.is_gone:
            raise self._in_use(holder)

    def check(self) -> None:
        """Raise FileError if another batch took the lock over."""
        if not self._is_own():
            raise self._in_use(_Holder.read(self._path))

    def _take(self) -> None:
        try:
            self._path.put(self._own.encoded())
        except FileExistsError:
            self.check_free()
            self._path.put(self._own.encoded(), overwrite=True)
            self.check()

    def _is_own(self) -> bool:
        holder = _Holder.read(self._path)
        return holder is not None and holder.token == self._own.token

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                if self._is_own():
                    renewed = replace(self._own, renewed=time.time())
                    self._path.put(renewed.encoded(), overwrite=True)
            except ConvError:
                continue  # the next renewal, or the upload, will succeed or report it

    def _in_use(self, holder: _Holder | None) -> FileError:
        who = f", process {holder.process} on {holder.host}" if holder else ""
        return FileError(
            f"{self._folder} is in use by another batch{who}",
            "expected it free",
            f"wait for it to end, or choose another --out; once it is dead for "
            f"{STALE_SECONDS:.0f} s, its lock is ignored",
        )


def _is_running(process: int) -> bool:
    """Return whether a process of this machine is running; True if that cannot be found out."""
    if os.name != "posix":  # there, signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
