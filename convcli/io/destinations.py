"""Where a result is written: a file, standard output, a device, or an object in a store.

Results are encoded into a temporary file, which is then renamed to the target, or uploaded.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from convcli.errors import FileError, OutputError
from convcli.io.publishing import check_replaceable, create_temporary, exists_error, publish
from convcli.stores import location

if TYPE_CHECKING:
    from convcli.stores import StorePath


def destination(name: str, overwrite: bool = False, own: Path | None = None) -> Destination:
    """Return the destination of a name, of a URL, or of "-", standard output.

    own: a temporary file of the caller's. Raises FileError for a URL that is not supported.
    """
    found = location(name)
    if not isinstance(found, Path):
        return StoreDestination(found, overwrite, own)
    return Destination(name, Path(os.path.realpath(found)), overwrite, own)


def _check_place(path: Path, name: str, overwrite: bool) -> None:
    if path.is_dir():
        raise folder_error(name)
    if path.exists() and path.is_file():
        if not overwrite:
            raise exists_error(name)
        check_replaceable(path, name)
    if not path.parent.is_dir():
        raise FileError(
            f"{name} cannot be written", f"{path.parent} is not a folder", "create it first"
        )
    if not os.access(path.parent if not _is_special(path) else path, os.W_OK):
        raise OutputError(f"{name} cannot be written", f"no permission to write in {path.parent}")


def unwritable(name: str, error: OSError) -> OutputError:
    return OutputError(
        f"{name} cannot be written", error.strerror or f"only a part of it was written ({error})"
    )


def folder_error(name: str) -> FileError:
    return FileError(f"{name} is a folder", "expected a file name", "name a file in it")


def _is_special(path: Path) -> bool:
    """Return whether a path is a device or a named pipe, which is written to, not replaced."""
    return path.exists() and not path.is_file()


class Destination:
    """Where bytes are written: a name as given, and the path with its links resolved.

    overwrite: whether a file there may be replaced. own: a temporary file of the caller's, which
    the caller publishes.
    """

    def __init__(self, name: str, path: Path, overwrite: bool, own: Path | None = None) -> None:
        self.name, self.path, self.overwrite, self.own = name, path, overwrite, own

    @property
    def working_folder(self) -> Path | None:
        """The folder of temporary files; None for a device or a named pipe, which has none."""
        return None if _is_special(self.path) else self.path.parent

    def check(self) -> None:
        """Raise FileError or OutputError if the target cannot be written. Raises OSError."""
        _check_place(self.path, self.name, self.overwrite)

    def create(self) -> Path:
        """Create an empty temporary file. Raises OSError."""
        return create_temporary(self.path)

    def deliver(self, encode: Callable[[BinaryIO], object]) -> tuple[int, tuple[str, ...]]:
        """Write the output of `encode`, and return its size in bytes and warnings."""
        if self.name == "-":
            return _to_stdout(encode), ()
        try:
            if self.working_folder is None:
                return _to_special(self.path, encode), ()
            with self.temporary() as temporary:
                # An encoder of several frames reads what it has written.
                with temporary.open("r+b") as stream:
                    encode(stream)
                    size = stream.seek(0, os.SEEK_END)
                return size, self.publish(temporary)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self.failure(error) from error

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """Provide the file to write: the caller's own, or one that is removed after the block."""
        if self.own is not None:
            yield self.own
            return
        try:
            temporary = self.create()
        except OSError as error:
            raise self.failure(error) from error
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def publish(self, temporary: Path) -> tuple[str, ...]:
        """Rename a temporary file to the target, unless the caller does; return warnings."""
        if self.own is not None:
            return ()
        try:
            return publish(temporary, self.path, self.name, overwrite=self.overwrite)
        except OSError as error:
            raise self.failure(error) from error

    def failure(self, error: OSError) -> OutputError:
        """Return the error for a failed write; raise FileError if the target became invalid."""
        self.check()
        return unwritable(self.name, error)


class StoreDestination(Destination):
    """An object in a store: written to a temporary file on this machine, and uploaded whole."""

    def __init__(self, store: StorePath, overwrite: bool, own: Path | None = None) -> None:
        super().__init__(str(store), Path(), overwrite, own)
        self._object = store

    @property
    def working_folder(self) -> Path:
        import tempfile

        return Path(tempfile.gettempdir())

    def check(self) -> None:
        """Raise FileError for an object that exists, if it must not be replaced."""
        self._object.check_writable()
        if not self.overwrite and self._object.is_file():
            raise exists_error(self.name)

    def create(self) -> Path:
        """Create an empty temporary file; its suffix tells stores the type of the content."""
        import tempfile

        descriptor, name = tempfile.mkstemp(self._object.suffix, "convcli-")
        os.close(descriptor)
        return Path(name)

    def publish(self, temporary: Path) -> tuple[str, ...]:
        """Upload a temporary file, unless the caller does.

        Raises FileError for an object that has appeared meanwhile.
        """
        if self.own is not None:
            return ()
        try:
            self._object.put(temporary, overwrite=self.overwrite)
        except FileExistsError:
            raise exists_error(self.name) from None
        return ()

    def failure(self, error: OSError) -> OutputError:
        return unwritable(self.name, error)


def _to_stdout(encode: Callable[[BinaryIO], object]) -> int:
    """Write to standard output; encode in memory first, as a pipe cannot seek.

    If the encoder fails, nothing has been written.
    """
    content = io.BytesIO()
    encode(content)
    if sys.stdout is None:
        raise OutputError("standard output cannot be written", "it is closed")
    try:
        sys.stdout.buffer.write(content.getbuffer())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable("standard output", error) from error
    return content.getbuffer().nbytes


def _to_special(path: Path, encode: Callable[[BinaryIO], object]) -> int:
    """Write to a device or a named pipe; encode in memory first, as for standard output."""
    content = io.BytesIO()
    encode(content)
    with path.open("wb") as stream:
        stream.write(content.getbuffer())
    return content.getbuffer().nbytes
