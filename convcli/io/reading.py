"""load: open a path or standard input, recognise its format, and have the codec decode it."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple, cast

from convcli.errors import FileError, InputError, did_you_mean, nearest_file, reason
from convcli.io.arrays.npy import split_key
from convcli.io.codec import ReadRequest, codec_of, plugin_errors
from convcli.io.data import Data, RawLayout
from convcli.io.formats import Format, by_suffix, check_extra, lookup, recognise, suffixes
from convcli.io.streams import BufferedPipe
from convcli.limits import Limits
from convcli.options import Frames
from convcli.shapes.parse import show

# What convcli does not read, by its first bytes.
_FOREIGN = (
    (rb"....ftyp(avif|avis)", "an AVIF image"),
    (rb"....ftyp(heic|heix|mif1)", "a HEIC image"),
    (rb"%PDF", "a PDF document"),
    (rb"%!PS", "a PostScript document"),
    (rb"\x89HDF", "an HDF5 file"),
    (rb"\s*<(\?xml|svg|!DOCTYPE|html)", "an XML or HTML document"),
    (rb"(\xff\xfe|\xfe\xff)", "UTF-16 text"),
)
_TEXT = "text"
_TEXT_FORMAT = "csv"
"""What text is read as where no suffix says more: every separator is recognised."""
SNIFFED_BYTES = 512


class Detected(NamedTuple):
    """What first bytes look like: the format, or None; and words for a message."""

    form: Format | None
    words: str

    @property
    def readable(self) -> str:
        """The name of the format to read it as, or ""."""
        if self.form:
            return self.form.name
        return _TEXT_FORMAT if self.words == _TEXT else ""


def sniff(head: bytes) -> Detected:
    r"""Recognise content by its first bytes, as a format of convcli's own or what it does not read.

    >>> sniff(b"\x93NUMPY").words, sniff(b"1,2,3").words, sniff(b"%PDF-1.7").words
    ('a .npy array', 'text', 'a PDF document')
    """
    if known := recognise(head):
        return Detected(*known)
    for pattern, words in _FOREIGN:
        if re.match(pattern, head, re.DOTALL):
            return Detected(None, words)
    return Detected(None, _TEXT if is_text(head) else "unknown data")


def is_text(head: bytes) -> bool:
    """Return whether first bytes are UTF-8 without control characters.

    >>> is_text("1;2 # größe".encode()), is_text(bytes(8))
    (True, False)
    """
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
    return not re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", head)


def unrecognised(name: str, look: str) -> InputError:
    """Return the error for a file whose suffix and content both show no format."""
    bare = PurePath(name).suffix.lower()
    readable = " ".join(suffixes())
    return FileError(
        f"{name} has no suffix that is read" + (f" and looks like {look}" if look else ""),
        f"expected one of {readable}",
        did_you_mean(bare, suffixes()) if bare else "name the format with --input-format",
    )


UNTOLD = RawLayout()
"""Of raw numbers, neither shape nor type."""


class _Source(NamedTuple):
    """The name as given, the path without a key, and the key of an .npz archive."""

    name: str
    path: str
    key: str | None


def load(
    source: str | os.PathLike[str],
    *,
    format: str | None = None,
    limits: Limits | None = None,
    frames: Frames = "first",
    allow_truncated: bool = False,
    raw: RawLayout = UNTOLD,
    volume: bool = False,
) -> Data:
    """Read an image or an array from a path, `archive.npz:key`, or "-", standard input.

    The format is the one given, or that of the suffix, or what the first bytes look like; an image
    is decoded as what it is, whatever its suffix says. Images are (H, W) or (H, W, C), or (F, H, W,
    C) where all of several frames are wanted, arrays have any shape. Headers are held against the
    limits, by default `Limits.of()`, before what they declare is allocated. allow_truncated reads a
    damaged picture as far as it goes, and no other file. raw: how the numbers lie in a file that
    has no header. volume: all pages of a TIFF are one array, not the first a picture. Raises
    FileError for a file that is missing, unreadable or damaged, DtypeError for numbers that cannot
    be kept, LimitError for what would take more memory or has more pixels than may be.
    """
    name = os.fspath(source)
    named = _Source(name, *split_key(name))
    wanted = lookup(format) if format else by_suffix(named.path)
    limits = limits or Limits.of()
    called = _called(named)
    with _stream(named, limits) as stream:
        head = stream.read(SNIFFED_BYTES)
        if not head:
            raise FileError(f"{called} is empty", "expected an image or an array")
        pipe = stream if isinstance(stream, BufferedPipe) else None
        form = _choose_format(called, wanted, head, piped=pipe is not None, has_layout=raw.shape is not None)
        check_extra(form, called)
        request = ReadRequest(
            called, limits, "" if pipe else named.path, named.key, frames, allow_truncated, raw, volume
        )
        codec = codec_of(form)
        codec.check_read(request)
        stream.seek(0)
        with plugin_errors(form, f"{called} cannot be read"):
            read = codec.read(stream, request)
        data = replace(read, name=named.name, decoding=read.decoding + (pipe.held if pipe else 0))
        _check_axes(data)
        return data


def _choose_format(called: str, wanted: Format | None, head: bytes, *, piped: bool, has_layout: bool) -> Format:
    """Choose the format to decode as, on which content and name agree.

    wanted: by the name. has_layout: whether the shape and type of headerless values are given.
    """
    if wanted is not None and (wanted.recognise(head) or (wanted.headerless and has_layout)):
        return wanted
    look = sniff(head)
    if wanted is not None and wanted.separator and look.words == _TEXT:
        return wanted
    if look.form is None and (known := recognise(head, plugins=True)):
        look = Detected(*known)
    if wanted is None:
        if look.form or (piped and look.readable):
            return lookup(look.readable)
        raise unrecognised(called, look.words)
    if look.form and (wanted.headerless or wanted.may_hold(look.form)):
        return look.form
    if not wanted.signatures and not wanted.separator:
        return wanted
    raise FileError(
        f"{called} is no {wanted.name} file",
        f"it looks like {look.words}",
        f"rename it, or use --input-format {look.readable}" if look.readable else "",
    )


def _called(named: _Source) -> str:
    return "standard input" if named.path == "-" else named.path


@contextmanager
def _stream(named: _Source, limits: Limits) -> Iterator[BinaryIO]:
    """Open what was named as a stream that can be read twice: a file, or a buffered pipe."""
    with _opened(named) as opened:
        if _is_regular(opened):
            yield opened
        else:
            with BufferedPipe(opened, _called(named), limits) as pipe:
                yield cast("BinaryIO", pipe)


def _opened(named: _Source) -> AbstractContextManager[BinaryIO]:
    if not named.path:
        raise FileError("no input", "expected the name of a file", "use - for standard input")
    if named.path == "-" and sys.stdin is None:
        raise FileError("standard input is closed", "expected an image or an array", "pipe one in, or name a file")
    if named.path == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(named.path).open("rb")
    except FileNotFoundError:
        raise _missing(named.path) from None
    except IsADirectoryError:
        raise FileError(f"{named.path} is a folder", "expected a file", "name a file in it") from None
    except (OSError, ValueError) as error:
        raise _unreadable(named.path, error) from error


def _is_regular(stream: BinaryIO) -> bool:
    """Return whether a stream is a file that can be read twice and mapped."""
    try:
        return stream is not sys.stdin.buffer and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _unreadable(path: str, error: OSError | ValueError) -> FileError:
    return FileError(f"{path!r} cannot be read" if "\0" in path else f"{path} cannot be read", reason(error))


def _missing(path: str) -> FileError:
    folder = Path(path).parent
    if not folder.is_dir():
        return FileError(f"{path} does not exist", f"there is no folder {folder}")
    if os.path.lexists(path):
        return FileError(f"{path} is a symbolic link that leads nowhere", "expected an existing file")
    return FileError(f"{path} does not exist", "", nearest_file(Path(path)) or "expected an existing file")


def _check_axes(data: Data) -> None:
    shape = data.array.shape
    if data.array.size == 0:
        given = f"{data.name} has shape {show(shape)}, without a value"
        raise FileError(given, "expected at least one value an axis")
    if not shape:
        raise FileError(f"{data.name} is a single number without an axis", "expected an array of one axis or more")
