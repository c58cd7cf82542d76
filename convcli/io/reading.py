"""load: open a path or standard input, recognise what it holds, and decode it."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from numpy.typing import NDArray

from convcli.errors import FileError, did_you_mean
from convcli.io.arrays import read_npy, read_npz
from convcli.io.data import Data
from convcli.io.formats import SNIFFED_BYTES, Format, Look, by_suffix, lookup, sniff, unrecognised
from convcli.io.images import PIXEL_LIMIT, read_image
from convcli.io.text import read_text


class _Source(NamedTuple):
    """What was named: its name as given, the path without a key, and the key of an .npz archive."""

    name: str
    path: str
    key: str | None


def load(source: str | os.PathLike[str], *, format: str | None = None, max_pixels: int = PIXEL_LIMIT) -> Data:
    """Read an image or an array from a path, from `archive.npz:key`, or from standard input for "-".

    The format is the one given, or that of the suffix, or what the first bytes look like; an image is decoded as what
    it is, whatever its suffix says. Images are (H, W) or (H, W, C), arrays have any shape.
    Raises FileError for a file that is missing, unreadable or damaged, DtypeError for numbers that cannot be kept,
    LimitError for an image of more than max_pixels.
    """
    named = _split(os.fspath(source))
    wanted = lookup(format) if format else by_suffix(named.path)
    with _opened(named) as stream:
        head = stream.read(SNIFFED_BYTES)
        stream.seek(0)
        if not head:
            raise FileError(f"{_called(named)} is empty", "expected an image or an array")
        form = _settle(named, wanted, sniff(head), piped=isinstance(stream, io.BytesIO))
        if form.kind == "image":
            return read_image(stream, named.name, form, max_pixels=max_pixels)
        array = _read_array(stream, named, form)
    return Data(_checked(array, named.name), "array", form.name, named.name)


def _split(name: str) -> _Source:
    """Part `archive.npz:key`, unless there is a file of that whole name.

    >>> _split("photo:1.npz").key, _split("weights.npz:conv1:w").key
    (None, 'conv1:w')
    """
    parts = re.fullmatch(r"(.+?\.npz):(.+)", name, re.IGNORECASE | re.DOTALL)
    if parts is None or os.path.lexists(name):
        return _Source(name, name, None)
    return _Source(name, parts[1], parts[2])


def _called(named: _Source) -> str:
    return "standard input" if named.path == "-" else named.path


def _opened(named: _Source) -> BinaryIO:
    """The file, or all the bytes of a pipe, which cannot be read twice."""
    if not named.path:
        raise FileError("no input", "expected the name of a file", "use - for standard input")
    if named.path == "-" and sys.stdin is None:
        raise FileError("standard input is closed", "expected an image or an array", "pipe one in, or name a file")
    if named.path == "-":
        return io.BytesIO(sys.stdin.buffer.read())
    try:
        stream = Path(named.path).open("rb")  # noqa: SIM115 - the caller closes it
    except FileNotFoundError:
        raise _missing(named.path) from None
    except IsADirectoryError:
        raise FileError(f"{named.path} is a folder", "expected a file", "name a file in it") from None
    except (OSError, ValueError) as error:
        raise _unreadable(named.path, error) from error
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return stream
    with stream:
        return io.BytesIO(stream.read())


def _unreadable(path: str, error: OSError | ValueError) -> FileError:
    return FileError(f"{path!r} cannot be read" if "\0" in path else f"{path} cannot be read", _reason(error))


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _missing(path: str) -> FileError:
    folder = Path(path).parent
    if not folder.is_dir():
        return FileError(f"{path} does not exist", f"there is no folder {folder}")
    near = did_you_mean(Path(path).name, _names(folder))
    return FileError(f"{path} does not exist", "", near or "expected an existing file")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def _settle(named: _Source, wanted: Format | None, look: Look, *, piped: bool) -> Format:
    """The format to decode as: what content and name agree on."""
    seen = lookup(look.format) if look.format else None
    if wanted is None:
        if seen is not None:
            return seen
        if piped and look.words == "text":
            return lookup("csv")
        raise unrecognised(_called(named), look.words)
    if wanted.kind == "image" and seen is not None and seen.kind == "image":
        return seen
    if seen is wanted or (wanted.separator and look.words == "text"):
        return wanted
    readable = look.format or ("csv" if look.words == "text" else "")
    raise FileError(
        f"{_called(named)} is no {wanted.name} file",
        f"it looks like {look.words}",
        f"rename it, or use --input-format {readable}" if readable else "",
    )


def _read_array(stream: BinaryIO, named: _Source, form: Format) -> NDArray[Any]:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if form.name == "npz":
        return read_npz(stream, named.path, named.key)
    if form.name == "npy":
        return read_npy(stream, named.name, size, None if isinstance(stream, io.BytesIO) else named.path)
    return read_text(stream.read(), _called(named))


def _checked(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.size == 0:
        shape = "x".join(map(str, array.shape))
        raise FileError(f"{name} has shape {shape}, without a value", "expected at least one value an axis")
    if array.ndim == 0:
        raise FileError(f"{name} is a single number without an axis", "expected an array of one axis or more")
    return array
