"""StorePath: an object in a store, or a folder of objects; the counterpart of pathlib.Path."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, NamedTuple, cast

from convcli.errors import FileError, LimitError, OutputError, reason
from convcli.limits import show_bytes
from convcli.stores.connect import connect, options_of
from convcli.stores.failures import is_no_bucket, translated_errors
from convcli.stores.protocols import LONGEST, Protocol, check_protocol

HELD = 2**24
"""Bytes of an object up to which it is read into memory; a larger one into a temporary file."""
UNDECLARED = 2**32
"""Bytes of an object at most if its server does not say how many there are."""
_BLOCK = 2**23  # bytes that are requested at once, and held

_KEPT: ContextVar[dict[str, BinaryIO] | None] = ContextVar("kept", default=None)
"""The copies of objects that are read once, in the block of `StorePath.kept`."""


class Entry(NamedTuple):
    """One entry of a folder: its name, and whether it is a folder itself."""

    name: str
    is_folder: bool


@dataclass(frozen=True, repr=False)
class StorePath:
    """An object in a store, or a folder of objects: a key up to a slash.

    url: as it was given; it may contain credentials, which `str` leaves out. Operations raise
    FileError for what cannot be read, OutputError for what cannot be written, each in one line.

    >>> path = StorePath.of("https://user:secret@example.org/a/photo%201.png?signature=x")
    >>> str(path), path.name, path.suffix
    ('https://example.org/a/photo%201.png', 'photo 1.png', '.png')
    >>> str(StorePath.of("s3://bucket/soft") / "a.png")
    's3://bucket/soft/a.png'
    """

    url: str

    @classmethod
    def of(cls, url: str) -> StorePath:
        """Return the path of a URL. Raises FileError for one that is not supported."""
        row = check_protocol(url)
        scheme, _, rest = url.partition("://")
        path = cls(f"{scheme.lower()}://{rest}")
        if len(url) > LONGEST:
            raise FileError(
                f"a URL of {len(url):,} characters", f"expected at most {LONGEST:,}", ""
            )
        if "\0" in url:
            raise FileError(f"{url!r} holds a NUL", "expected the URL of an object")
        if not rest.strip("/"):
            raise FileError(f"{path} names nothing", f"expected {row.name}://.../name", "")
        if row.credentials and row.writable:
            _check_bucket(row, rest)
        return path

    @cached_property
    def protocol(self) -> Protocol:
        return check_protocol(self.url)

    @cached_property
    def shown(self) -> str:
        """The URL without user, password, query and fragment."""
        if self.protocol.listable:
            return self.url
        scheme, rest = self.url.split("://", 1)
        host, slash, path = rest.split("?", 1)[0].split("#", 1)[0].partition("/")
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"

    @property
    def _secrets(self) -> tuple[str, ...]:
        """The parts of the URL that no message repeats."""
        if self.url == self.shown:
            return ()
        from urllib.parse import urlsplit

        parts = urlsplit(self.url)
        return self.url, parts.query, parts.netloc.rpartition("@")[0], parts.password or ""

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return f"StorePath({self.shown!r})"

    def __truediv__(self, below: str) -> StorePath:
        return StorePath(f"{self.url.rstrip('/')}/{below}" if below else self.url)

    @property
    def name(self) -> str:
        last = self.shown.rstrip("/").rpartition("/")[2]
        if self.protocol.listable:
            return last
        from urllib.parse import unquote

        return unquote(last)

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> StorePath:
        return StorePath(self.shown.rstrip("/").rpartition("/")[0])

    def with_name(self, name: str) -> StorePath:
        return self.parent / name

    def filesystem(self) -> tuple[Any, str]:
        """Return fsspec's file system for this path, and the path in it.

        Use it in the block of `translated`. Raises FileError if a package is not installed.
        """
        files = connect(self.protocol, self.shown)
        return files, files._strip_protocol(self.url)

    @contextmanager
    def translated(self, *, writing: bool = False) -> Iterator[None]:
        """Translate what fsspec raises in the block; see `translated_errors`."""
        with translated_errors(self.protocol, self.shown, secrets=self._secrets, writing=writing):
            yield

    # Read.

    def _check_key(self) -> None:
        """Raise FileError for a bucket."""
        row = self.protocol
        if row.credentials and row.writable and "/" not in self.url.split("://", 1)[1].strip("/"):
            raise FileError(f"{self} is a bucket", "expected an object", "name an object in it")

    def kind(self) -> str:
        """Return "file", "directory", or "" if there is nothing of this name."""
        files, path = self.filesystem()
        if not self.protocol.listable:
            return "file"
        with self.translated():
            try:
                return str(files.info(path)["type"])
            except FileNotFoundError as error:
                if is_no_bucket(error):
                    raise
                return ""

    def options(self) -> dict[str, Any]:
        """Return the options with which fsspec opens the store, for packages that do so."""
        return options_of(self.protocol, self.shown)

    def exists(self) -> bool:
        return self.kind() != ""

    def is_file(self) -> bool:
        return self.kind() == "file"

    def is_dir(self) -> bool:
        return self.kind() == "directory"

    def open(self, mode: Literal["rb"] = "rb") -> BinaryIO:
        """Return a copy of the object, as a stream that can seek: in memory, or a temporary file.

        Raises FileError if it cannot be read, LimitError if there is no room for it.
        """
        kept = _KEPT.get()
        if kept is not None and self.url in kept:
            return _again(kept[self.url])
        self._check_key()
        files, path = self.filesystem()
        with (
            self.translated(),
            files.open(path, "rb", block_size=_BLOCK, cache_type="readahead") as source,
        ):
            if getattr(source, "details", {}).get("type") == "directory":
                raise IsADirectoryError(self.shown)
            size = getattr(source, "size", None)
            _check_room(self.shown, size)
            copy = _copied(self.shown, source, UNDECLARED if size is None else size)
        if size is not None and (found := copy.seek(0, os.SEEK_END)) != size:
            copy.close()
            raise FileError(
                f"{self} ended early", f"{found:,} of {size:,} bytes were received", "run again"
            )
        copy.seek(0)
        return copy

    @contextmanager
    def kept(self) -> Iterator[BinaryIO]:
        """Read the object once: in the block, `open` returns this copy, which is also provided."""
        with self.open() as copy:
            token = _KEPT.set({**(_KEPT.get() or {}), self.url: copy})
            try:
                yield copy
            finally:
                _KEPT.reset(token)

    def entries(self) -> Iterator[Entry]:
        """Yield the entries of a folder, by name; none if it does not exist.

        Names that are empty, `.` or `..`, which stores allow, are left out.
        """
        files, path = self.filesystem()
        with self.translated():
            try:
                found = files.ls(path, detail=True)
            except FileNotFoundError as error:
                if is_no_bucket(error):
                    raise
                return
        start = f"{path.strip('/')}/"
        names = {}
        for each in found:
            below = str(each["name"]).lstrip("/").removeprefix(start).rstrip("/")
            if below not in ("", ".", "..") and "/" not in below:
                names[below] = each["type"] == "directory"
        for name in sorted(names):
            yield Entry(name, names[name])

    # Write.

    def check_shared(self) -> None:
        """Raise FileError for objects that other processes do not see."""
        if not self.protocol.shared:
            raise FileError(
                f"{self} exists in one process only",
                "a batch runs in several",
                "use a folder, or s3://",
            )

    def check_writable(self) -> None:
        """Raise FileError for a protocol that is only read."""
        if not self.protocol.writable:
            raise FileError(
                f"{self} cannot be written",
                f"{self.protocol.name}:// is only read",
                "write to a file, or to s3://",
            )

    def put(self, content: Path | bytes, *, overwrite: bool = False) -> None:
        """Write an object from a file or from bytes: other programs see all of it, or none.

        overwrite: replace an object that exists; otherwise FileExistsError is raised for one. On
        s3:// and gs:// the store itself refuses to replace it, whoever has written it a moment
        ago. On az://, and on servers of S3 that do not support the condition, it is checked just
        before, so that of two programs that write at once the second wins.
        """
        self.check_writable()
        files, path = self.filesystem()
        if isinstance(content, bytes):
            write = partial(files.pipe_file, path, content)
        else:
            write = partial(files.put_file, str(content), path)
        if not overwrite and self.protocol.conditional:
            try:
                with self.translated(writing=True):
                    write(mode="create")
                return
            except OutputError as error:
                if "not implemented" not in str(error).lower():
                    raise
        if not overwrite and self.is_file():
            raise FileExistsError(self.shown)
        with self.translated(writing=True):
            write()

    def delete(self) -> None:
        """Delete the object, if there is one."""
        files, path = self.filesystem()
        with self.translated(writing=True):
            try:
                files.rm_file(path)
            except FileNotFoundError:
                return


def _check_bucket(row: Protocol, rest: str) -> None:
    """Raise FileError for a URL with credentials, without a bucket, or with `..` in it."""
    bucket, _, key = rest.partition("/")
    if "@" in bucket:
        raise FileError(
            f"{row.name}://...@{bucket.rpartition('@')[2]} holds credentials",
            "expected none in a URL",
            row.credentials,
        )
    parts = (bucket, *key.split("/"))
    if not bucket or ".." in parts or "." in parts:
        raise FileError(
            f"{row.name}://{rest} names no object",
            f"expected {row.name}://bucket/name without a part . or ..",
            "write it in full",
        )


def _check_room(shown: str, size: int | None) -> None:
    """Raise LimitError if the temporary folder has no room for a copy of an object."""
    if size is None or size <= HELD:
        return
    import shutil
    import tempfile

    folder = tempfile.gettempdir()
    if size > (free := shutil.disk_usage(folder).free):
        raise LimitError(
            f"{shown} has {show_bytes(size)}",
            f"its copy is made in {folder}, which has {show_bytes(free)} left",
            "set TMPDIR to a folder with room",
        )


def _copied(shown: str, source: BinaryIO, most: int) -> BinaryIO:
    """Copy a stream into memory, or into an unnamed temporary file."""
    copy: BinaryIO = io.BytesIO()
    taken = 0
    while block := source.read(_BLOCK):
        taken += len(block)
        if taken > most:
            copy.close()
            raise LimitError(f"{shown} is longer than {show_bytes(most)}", "", "copy it first")
        try:
            if taken > HELD and isinstance(copy, io.BytesIO):
                copy = _on_disk(copy)
            copy.write(block)
        except OSError as error:
            copy.close()
            raise FileError(
                f"{shown} cannot be copied to a temporary file",
                reason(error),
                "set TMPDIR to a folder with room",
            ) from None
    return copy


def _on_disk(copy: io.BytesIO) -> BinaryIO:
    import tempfile

    larger = tempfile.TemporaryFile(prefix="convcli-")  # noqa: SIM115 - closed by the caller
    larger.write(copy.getbuffer())
    return cast("BinaryIO", larger)


def _again(copy: BinaryIO) -> BinaryIO:
    """Return a stream of the same content, which can be closed by itself."""
    if isinstance(copy, io.BytesIO):
        return io.BytesIO(copy.getvalue())
    stream = os.fdopen(os.dup(copy.fileno()), "rb")
    stream.seek(0)
    return stream
