"""The folder of a zarr array: on a disk, or under a prefix in an object store."""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convcli.errors import FileError, OutputError, reason
from convcli.io.publishing import create_temporary
from convcli.stores import StorePath, location

_LEFTOVER = re.compile(r"\.convcli-[0-9a-f]{16}\.tmp")
_PARTIAL = re.compile(r".*\.[0-9a-f]{32}\.partial")
"""The names of the zarr package's temporary files."""


class ZarrFolder(ABC):
    """Files by their names below one folder, such as `c/0/0`; a file is whole at any moment."""

    @property
    @abstractmethod
    def exists(self) -> bool:
        """Whether there is anything of this name."""

    @property
    @abstractmethod
    def is_empty(self) -> bool:
        """Whether it has no files; False for a file of this name."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The bytes of all files."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Return whether there is a file of a name."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of a file."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file, or replace it. Raises OutputError."""

    @abstractmethod
    def remove(self, name: str = "") -> None:
        """Remove a folder below this one, or all of it; do nothing if there is none."""

    @abstractmethod
    def remove_leftovers(self) -> None:
        """Remove files that a killed process had not written to their end."""

    @abstractmethod
    def check_parent(self) -> None:
        """Raise FileError if the folder cannot be created."""

    @abstractmethod
    def open(self) -> Any:
        """Return it as a store of the zarr package."""

    @property
    @abstractmethod
    def absolute(self) -> str:
        """The name that means the same in another process."""


@dataclass(frozen=True)
class LocalFolder(ZarrFolder):
    """A folder on a disk."""

    path: Path

    @property
    def exists(self) -> bool:
        return self.path.exists()

    @property
    def is_empty(self) -> bool:
        return self.path.is_dir() and not any(self.path.iterdir())

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    @property
    def absolute(self) -> str:
        return str(self.path.absolute())

    def has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        target = self.path / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = create_temporary(target)
            temporary.write_bytes(content)
            temporary.replace(target)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written", reason(error)) from error

    def remove(self, name: str = "") -> None:
        if (self.path / name).exists():
            shutil.rmtree(self.path / name)

    def remove_leftovers(self) -> None:
        for pattern, known in ((".*.tmp", _LEFTOVER), ("*.partial", _PARTIAL)):
            for path in self.path.rglob(pattern):
                if known.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def check_parent(self) -> None:
        if not self.path.parent.is_dir():
            given = f"{self.path} cannot be written"
            raise FileError(given, f"{self.path.parent} is not a folder", "create it first")

    def open(self) -> Any:
        from zarr.storage import LocalStore

        return LocalStore(str(self.path))


@dataclass(frozen=True)
class RemoteFolder(ZarrFolder):
    """Objects of a store whose names begin alike."""

    path: StorePath

    @property
    def exists(self) -> bool:
        return self.path.exists()

    @property
    def is_empty(self) -> bool:
        return not self.exists

    @property
    def size(self) -> int:
        files, path = self.path.filesystem()
        with self.path.translated():
            return int(files.du(path))

    @property
    def absolute(self) -> str:
        return self.path.url

    def has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        with (self.path / name).open() as stream:
            return stream.read()

    def write(self, name: str, content: bytes) -> None:
        (self.path / name).put(content, overwrite=True)

    def remove(self, name: str = "") -> None:
        place = self.path / name
        files, path = place.filesystem()
        with place.translated(writing=True):
            if files.exists(path):
                files.rm(path, recursive=True)

    def remove_leftovers(self) -> None:
        """Do nothing: a store has an object when it is whole."""

    def check_parent(self) -> None:
        self.path.check_writable()

    def open(self) -> Any:
        from zarr.storage import FsspecStore

        return FsspecStore.from_url(self.path.url, storage_options=self.path.options())


def zarr_folder(name: str) -> ZarrFolder:
    """Return the folder of a path or of a URL. Raises FileError for an invalid URL."""
    place = location(name)
    return RemoteFolder(place) if isinstance(place, StorePath) else LocalFolder(place)
