"""save: encode into a hidden file, then rename it; a target is whole or untouched."""

from __future__ import annotations

import io
import math
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError, OutputError, did_you_mean
from convcli.io.arrays.npy import MAP_ABOVE
from convcli.io.capabilities import check_holds, check_settings
from convcli.io.codec import PLAIN, Codec, WriteRequest, codec_of, plugin_errors
from convcli.io.data import Written
from convcli.io.foreign import foreign_suffix
from convcli.io.formats import SEE_FORMATS, Format, by_suffix, check_extra, lookup, suffixes

Arrays = NDArray[Any] | Mapping[str, NDArray[Any]]

_TEMPORARY = re.compile(r"\.convcli-[0-9a-f]{16}\.tmp")


@dataclass(frozen=True)
class OutputTarget:
    """Where a result goes and in which format: a checked path, or "-", standard output."""

    path: str
    form: Format
    overwrite: bool = False

    @property
    def codec(self) -> Codec:
        return codec_of(self.form)

    def check(self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN) -> None:
        """Raise FormatError for an array, InputError for settings that the format has not."""
        check_holds(self.form, dtype, shape, request)
        check_settings(self.form, request.settings)

    def write(self, array: Arrays, request: WriteRequest = PLAIN) -> Written:
        """Write an array, or several by their names. Raises as `save`."""
        codec = self.codec
        if isinstance(array, Mapping):
            for each in array.values():
                self.check(each.dtype, each.shape, request)
            size = _deliver(self.path, self.overwrite, lambda stream: codec.write_arrays(stream, array))
            return Written(self.path, self.form.name, size)
        values = np.asanyarray(array)
        self.check(values.dtype, values.shape, request)
        with plugin_errors(self.form, f"{self.path} cannot be written"):
            size = _deliver(self.path, self.overwrite, lambda stream: codec.write(stream, values, request))
        return Written(self.path, self.form.name, size, codec.reductions(values, request))

    def grows(self, size: int) -> bool:
        """Return whether a result of so many bytes grows in its file, not in memory."""
        if self.path == "-" or not self.codec.maps_output or size <= MAP_ABOVE:
            return False
        return not _is_special(Path(os.path.realpath(self.path)))

    def encoding_bytes(self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN) -> int:
        """Return how many bytes `write` takes at most; on standard output, the whole file too."""
        whole = self.codec.file_bytes(dtype, shape) if self.path == "-" else 0
        return self.codec.encoding_bytes(dtype, shape, request) + whole


def save(
    target: str | os.PathLike[str],
    array: Arrays,
    *,
    format: str | None = None,
    overwrite: bool = False,
    **request: Any,
) -> Written:
    """Write an array to a path by its suffix, or to standard output for "-", in the format given.

    array: (H, W) or (H, W, C) for an image format, or frames (F, H, W, C); .npz takes several
    arrays by name. request: the fields of WriteRequest. A symbolic link keeps pointing where it
    did. Raises FormatError for what the format cannot hold, InputError for a setting that it has
    not, FileError for a target that is in the way, OutputError where writing fails; the target is
    then untouched.
    """
    name = os.fspath(target)
    return _resolve(name, overwrite, format).write(array, WriteRequest(**request))


@dataclass(frozen=True)
class OutputBuffer:
    """Where a result is put together, piece by piece; `publish` writes it for good."""

    array: NDArray[Any]
    publish: Callable[[WriteRequest], Written]


@contextmanager
def output_buffer(target: OutputTarget | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[OutputBuffer]:
    """Provide a buffer for a result: in memory, or mapped from the target's file.

    A large .npy grows in a hidden file beside its target, which takes its name when it is
    published, and is gone after the block where it is not. Raises OutputError where the disk has no
    place for it.
    """
    if target is None or not target.grows(math.prod(shape) * dtype.itemsize):
        array = np.empty(shape, dtype)

        def write(request: WriteRequest) -> Written:
            if target is None:
                raise OutputError("a result without a target", "expected one to publish it to")
            return target.write(array, request)

        yield OutputBuffer(array, write)
        return
    place = target.path
    path = Path(os.path.realpath(place))
    with _beside(path) as temporary:
        try:
            _create(temporary, path)
            array = target.codec.create(temporary, shape, dtype)
        except OSError as error:
            raise _failure(place, target.overwrite, error) from error

        def publish(_: WriteRequest) -> Written:
            _publish(temporary, path, place, target.overwrite)
            return Written(place, target.form.name, path.stat().st_size)

        yield OutputBuffer(array, publish)


def save_text(target: str | os.PathLike[str], text: str, form: str, *, overwrite: bool = False) -> Written:
    """Write text as UTF-8, with the same care as `save`; `form` is only returned."""
    name, content = os.fspath(target), text.encode()
    if name != "-":
        _check_place(Path(os.path.realpath(name)), name, overwrite)
    return Written(name, form, _deliver(name, overwrite, lambda stream: stream.write(content)))


def check_target(
    target: str | os.PathLike[str], overwrite: bool = False, format: str | None = None
) -> OutputTarget | None:
    """Resolve a target, and refuse what `save` would refuse; nothing is written.

    Returns None for "-" without a format, where the caller may follow its input's. Raises FileError
    for a target that exists, a folder that does not, and a suffix that is not written; OutputError
    for a folder that may not be written to.

    >>> check_target("edges.jpeg").form.name, check_target("-", format="npy").form.name, check_target("-")
    ('jpg', 'npy', None)
    """
    name = os.fspath(target)
    return None if name == "-" and format is None else _resolve(name, overwrite, format)


def _resolve(name: str, overwrite: bool, format: str | None) -> OutputTarget:
    form = check_name(name, format)
    if name != "-":
        try:
            _check_place(Path(os.path.realpath(name)), name, overwrite)
        except OSError as error:
            raise _unwritable(name, error) from error
    return OutputTarget(name, form, overwrite)


def check_name(name: str, format: str | None = None) -> Format:
    """Return the format that a name is written in; only the name is looked at.

    Raises FileError for a suffix that is not written, or that is another format's.

    >>> check_name("out/edges.jpeg").name
    'jpg'
    """
    named = by_suffix(name)
    form = lookup(format) if format else named
    if form is None:
        raise _unknown_suffix(name)
    if named not in (None, form):
        raise FileError(f"{name} is named as {named.name}", f"the format given is {form.name}", "leave --format out")
    if not form.writable:
        raise FileError(f"{form.name} is read but not written", "", "write .png, .tiff or .npy")
    check_extra(form, "standard output" if name == "-" else name)
    return form


def _unknown_suffix(name: str) -> FileError:
    if name == "-":
        return FileError("standard output has no suffix", "expected a format", "name it with --format")
    if Path(name).is_dir():
        return _folder(name)
    suffix = Path(name).suffix.lower()
    if not suffix:
        return FileError(f"{name} has no suffix", "expected one of a format, such as .png or .npy", SEE_FORMATS)
    given = f"{name} ends in '{suffix}'"
    if row := foreign_suffix(name):
        refused = f"the suffix of {row.words}, which convcli does not write"
        return FileError(given, refused, "write .png, .tiff or .npy, and convert that")
    return FileError(given, SEE_FORMATS, did_you_mean(suffix, suffixes(writable=True)))


def _check_place(path: Path, name: str, overwrite: bool) -> None:
    if path.is_dir():
        raise _folder(name)
    if path.exists() and not overwrite and path.is_file():
        raise _exists(name)
    if not path.parent.is_dir():
        raise FileError(f"{name} has no folder to go to", f"{path.parent} is not a folder", "create it first")
    if not os.access(path.parent if not _is_special(path) else path, os.W_OK):
        raise OutputError(f"{name} cannot be written", f"no permission to write in {path.parent}")


def _failure(name: str, overwrite: bool, error: OSError) -> OutputError:
    """Return the error for a failed write; raise FileError if its place was lost meanwhile."""
    _check_place(Path(os.path.realpath(name)), name, overwrite)
    return _unwritable(name, error)


def _unwritable(name: str, error: OSError) -> OutputError:
    return OutputError(f"{name} cannot be written", error.strerror or f"only a part of it went there ({error})")


def _folder(name: str) -> FileError:
    return FileError(f"{name} is a folder", "expected a file name", "name a file in it")


def _exists(name: str) -> FileError:
    return FileError(f"{name} exists", "expected a new file", "pass --overwrite")


def _is_special(path: Path) -> bool:
    """Return whether a path is a device or a named pipe, which is never replaced."""
    return path.exists() and not path.is_file()


def _deliver(name: str, overwrite: bool, encode: Callable[[BinaryIO], object]) -> int:
    """Write what `encode` writes to its place, and return how many bytes there are."""
    if name == "-":
        return _to_stdout(encode)
    try:
        with _stream(Path(os.path.realpath(name)), name, overwrite) as stream:
            encode(stream)
            return stream.seek(0, os.SEEK_END)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _failure(name, overwrite, error) from error


def _to_stdout(encode: Callable[[BinaryIO], object]) -> int:
    """Encode in memory first: a pipe cannot seek, and must not get half a file."""
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
        raise _unwritable("standard output", error) from error
    return content.getbuffer().nbytes


@contextmanager
def _stream(path: Path, name: str, overwrite: bool) -> Iterator[BinaryIO]:
    """Open a stream whose bytes become the target only if the block succeeds."""
    if _is_special(path):
        content = io.BytesIO()  # as for standard output
        yield content
        with path.open("wb") as stream:
            stream.write(content.getbuffer())
        return
    with _beside(path) as temporary:
        _create(temporary, path)
        with temporary.open("r+b") as stream:  # an encoder of several frames reads what it wrote
            yield stream
        _publish(temporary, path, name, overwrite)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Provide the name of a hidden file in the same folder, removed after the block."""
    temporary = path.with_name(f".convcli-{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _create(temporary: Path, path: Path) -> None:
    """Create an empty file of the umask's mode; where it will replace a file, one that its owner alone may read."""
    mode = stat.S_IRUSR | stat.S_IWUSR if path.exists() else 0o666
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove what a killed `save` left in a folder; none may be running."""
    try:
        leftovers = [path for path in Path(folder).iterdir() if _TEMPORARY.fullmatch(path.name)]
    except OSError:  # no folder, no leftovers
        return
    for path in leftovers:
        path.unlink(missing_ok=True)


def _publish(temporary: Path, path: Path, name: str, overwrite: bool) -> None:
    """Give the file its name, and the mode of the file that it replaces.

    A hard link cannot replace a file that was made meanwhile.
    """
    if not overwrite:
        try:
            return path.hardlink_to(temporary)
        except FileExistsError:
            raise _exists(name) from None
        except (OSError, NotImplementedError):  # a file system without hard links: the check is all there is
            if path.exists():
                raise _exists(name) from None
    with suppress(FileNotFoundError):
        temporary.chmod(stat.S_IMODE(path.stat().st_mode) & 0o777)
    temporary.replace(path)
    return None
