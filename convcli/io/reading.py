"""load: open a path or standard input, recognise its format, and have the codec decode it."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from convcli.errors import FileError, InputError, did_you_mean, is_there, nearest_file, reason
from convcli.io.arrays.npy import split_key
from convcli.io.codec import ReadRequest, codec_of, plugin_errors
from convcli.io.data import Data, RawLayout
from convcli.io.foreign import foreign_suffix, recognise_foreign
from convcli.io.formats import (
    SEE_FORMATS,
    Format,
    by_suffix,
    check_extra,
    lookup,
    recognise,
    suffixes,
)
from convcli.io.streams import BufferedPipe, unpack_head
from convcli.limits import Limits
from convcli.options import Frames
from convcli.shapes.parse import show
from convcli.stores import location

if TYPE_CHECKING:
    from convcli.stores import StorePath

_TEXT = "text"
_TEXT_FORMAT = "csv"
"""The format of text without a known suffix: its reader recognises every separator."""
SNIFFED_BYTES = 512
"""First bytes that are read to recognise a format: more than any signature needs."""
_PACKED, _UNPACKED = "nii.gz", "nii"  # the only format that is read compressed, and what is in it
_PACKED_BYTES = 2**16
"""Bytes of a compressed file from which SNIFFED_BYTES can be unpacked."""


class Detected(NamedTuple):
    """The result of recognising first bytes: the format or None, a description or "", a remedy."""

    form: Format | None
    words: str
    remedy: str = ""

    @property
    def readable(self) -> str:
        """The name of the format to read it as, or ""."""
        if self.form:
            return self.form.name
        return _TEXT_FORMAT if self.words == _TEXT else ""


def sniff(head: bytes) -> Detected:
    r"""Recognise first bytes as one of convcli's own formats, a foreign one, or text.

    >>> sniff(b"\x93NUMPY").words, sniff(b"1,2,3").words, sniff(b"%PDF-1.7").words
    ('a .npy array', 'text', 'a PDF document')
    """
    if foreign := recognise_foreign(head):
        return Detected(None, foreign.words, foreign.remedy)
    if known := recognise(head):
        return Detected(*known)
    return Detected(None, _TEXT if is_text(head) else "")


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


def detect(stream: BinaryIO, head: bytes) -> Detected:
    """Recognise a stream by its first bytes; look into gzip-compressed data.

    Only NIfTI is read compressed. The content of damaged data is not described.
    """
    look = sniff(head)
    if look.form is None or look.form.name != _PACKED:
        return look
    stream.seek(0)
    inner = sniff(unpack_head(stream.read(_PACKED_BYTES), SNIFFED_BYTES))
    if inner.form is not None and inner.form.name == _UNPACKED:
        return look
    inside = f" with {inner.words} in it" if inner.words else ""
    return Detected(None, f"gzip-compressed data{inside}", "unpack it first with gunzip")


def unrecognised(name: str, look: Detected, head: bytes) -> InputError:
    """Return the error for a file whose suffix and content both match no format that is read.

    Some foreign formats, such as .mgz, are recognised by their suffix only.
    """
    if look.remedy:
        return FileError(
            f"{name} has no suffix that is read and looks like {look.words}",
            SEE_FORMATS,
            look.remedy,
        )
    if row := foreign_suffix(name):
        return FileError(
            f"{name} is named as {row.words}, which convcli does not read", SEE_FORMATS, row.remedy
        )
    found = f"looks like {look.words}" if look.words else _bytes_in_words(head)
    suffix = PurePath(name).suffix.lower()
    hint = did_you_mean(suffix, suffixes()) if suffix else ""
    remedy = hint or "name the format with --input-format"
    return FileError(f"{name} has no suffix that is read and {found}", SEE_FORMATS, remedy)


def _bytes_in_words(head: bytes) -> str:
    return f"begins with the bytes {head[:8].hex(' ')}, as no known format does"


UNTOLD = RawLayout()
"""The layout of raw numbers whose shape and type are not given."""


class _Source(NamedTuple):
    """The name for messages, the same without a key, and the key of an .npz archive.

    place: what the name names; None for standard input.
    """

    name: str
    path: str
    key: str | None
    place: Path | StorePath | None

    @property
    def in_store(self) -> bool:
        return self.place is not None and not isinstance(self.place, Path)

    @classmethod
    def of(cls, name: str) -> _Source:
        """Raises FileError for a URL that is not supported."""
        path, key = split_key(name)
        place = None if path in ("", "-") else location(path)
        if place is not None and not isinstance(place, Path):  # its name without credentials
            path = str(place)
            name = path if key is None else f"{path}:{key}"
        return cls(name, path, key, place)


def load(
    source: str | os.PathLike[str],
    *,
    format: str | None = None,
    limits: Limits | None = None,
    frames: Frames = "first",
    allow_truncated: bool = False,
    raw: RawLayout = UNTOLD,
    volume: bool = False,
    in_parts: bool = False,
) -> Data:
    """Read an image or an array from a path, a URL, `archive.npz:key`, or "-", standard input.

    The format is `format`, or that of the suffix, or that of the first bytes; an image is decoded
    by its content, independently of its suffix. Images are (H, W) or (H, W, C), or (F, H, W, C) if
    several frames are requested; arrays have any shape. Sizes that a header declares are checked
    against the limits, by default `Limits.of()`, before memory is allocated. allow_truncated: read
    the undamaged part of a damaged picture. raw: the layout of a file without a header. volume:
    read all pages of a TIFF as one array, not the first as a picture. Raises FileError for a file
    that is missing, unreadable or damaged, DtypeError for an unsupported number type, LimitError
    for more memory or pixels than the limits allow.
    """
    named = _Source.of(os.fspath(source))
    wanted = lookup(format) if format else by_suffix(named.path)
    limits = limits or Limits.of()
    called = _called(named)
    if (store := _store_format(named.path, wanted)) is not None:
        check_extra(store, called)
        codec_of(store).check_read(ReadRequest(called, frames=frames))
        return _load_store(store, named, limits, in_parts=in_parts)
    with _stream(named, limits) as stream:
        head = stream.read(SNIFFED_BYTES)
        if not head:
            raise FileError(f"{called} is empty", "expected an image or an array")
        pipe = stream if isinstance(stream, BufferedPipe) else None
        form = _choose_format(
            called, wanted, detect(stream, head), head, piped=pipe is not None, raw=raw
        )
        check_extra(form, called)
        request = ReadRequest(
            called,
            limits,
            "" if pipe else _path_of(named, stream),
            named.key,
            frames,
            allow_truncated,
            raw,
            volume,
        )
        codec = codec_of(form)
        codec.check_read(request)
        stream.seek(0)
        with plugin_errors(form, f"{called} cannot be read"):
            read = codec.read(stream, request)
        data = replace(read, name=named.name, decoding=read.decoding + _held_by(stream))
        _check_axes(data)
        return data


def _store_format(path: str, wanted: Format | None) -> Format | None:
    """Return the format of a folder of chunks, or of an array in one; None for a file.

    wanted: the format of the name.
    """
    if wanted is not None and wanted.store:
        return wanted
    parents = (by_suffix(part) for part in PurePath(path).parent.parts)
    form = next((form for form in parents if form is not None and form.store), None)
    return form if form is not None and wanted is None else None


def _load_store(form: Format, named: _Source, limits: Limits, *, in_parts: bool) -> Data:
    """Open a store, and read all its values unless they are wanted in parts."""
    data = codec_of(form).open_store(named.path, named.name)
    _check_axes(data)
    if in_parts or data.parts is None:
        return data
    size = data.array.nbytes
    remedy = "write the result to a .zarr, which is computed region by region"
    limits.check_memory(named.name, 2 * size, f"{remedy}, or raise --max-memory")
    whole = data.parts.read(tuple(slice(0, n) for n in data.array.shape))
    return replace(data, array=whole, decoding=2 * size, parts=None)


def _choose_format(
    called: str, wanted: Format | None, look: Detected, head: bytes, *, piped: bool, raw: RawLayout
) -> Format:
    """Choose the format to decode; raise FileError if content and name disagree.

    wanted: the format of the name. look: the format of the content. raw: the layout of headerless
    values, if it has a shape.
    """
    if wanted is not None and wanted.headerless and raw.shape is not None:
        return wanted
    if wanted is not None and wanted.recognise(head) and (look.form or wanted.name != _PACKED):
        return wanted
    if wanted is not None and wanted.separator and look.words == _TEXT:
        return wanted
    if look.form is None and (known := recognise(head, plugins=True)):
        look = Detected(*known)
    if wanted is None:
        return _by_content(called, look, head, piped=piped)
    if look.form and (wanted.headerless or wanted.may_hold(look.form)):
        return look.form
    if not wanted.signatures and not wanted.separator and not look.remedy:
        return wanted
    raise _mismatch(called, wanted, look, head)


def _by_content(called: str, look: Detected, head: bytes, *, piped: bool) -> Format:
    """Return the format of a file by its content; its suffix matches no format that is read."""
    row = foreign_suffix(called)
    if look.form and row and row.resembles == look.form.name:
        given = f"{called} is named as {row.words}, whose {row.resembles} pages are previews"
        raise FileError(
            given,
            SEE_FORMATS,
            f"{row.remedy}, or read a preview with --input-format {row.resembles}",
        )
    if look.form or (piped and look.readable):
        return lookup(look.readable)
    raise unrecognised(called, look, head)


def _mismatch(called: str, wanted: Format, look: Detected, head: bytes) -> FileError:
    """Return the error for content that does not match the format of the name."""
    remedy = look.remedy
    if look.readable:
        remedy = f"rename it, or use --input-format {look.readable}"
    elif wanted.headerless:
        remedy = f"{remedy}, or give its layout with --raw-shape and --raw-dtype"
    found = f"it looks like {look.words}" if look.words else f"it {_bytes_in_words(head)}"
    return FileError(f"{called} is no {wanted.name} file", found, remedy)


def _called(named: _Source) -> str:
    return "standard input" if named.path == "-" else named.path


@contextmanager
def _stream(named: _Source, limits: Limits) -> Iterator[BinaryIO]:
    """Open a source as a stream that can be read twice: a file, or a buffered pipe."""
    with _opened(named) as opened:
        if named.in_store or _is_regular(opened):
            yield opened
        else:
            with BufferedPipe(opened, _called(named), limits) as pipe:
                yield cast("BinaryIO", pipe)


def _opened(named: _Source) -> AbstractContextManager[BinaryIO]:
    if not named.path:
        raise FileError("no input", "expected the name of a file", "use - for standard input")
    if named.path == "-" and sys.stdin is None:
        raise FileError(
            "standard input is closed",
            "expected an image or an array",
            "pipe one in, or name a file",
        )
    if named.path == "-":
        return nullcontext(sys.stdin.buffer)
    assert named.place is not None
    try:
        return named.place.open("rb")
    except FileError:
        raise
    except FileNotFoundError:
        raise _missing(named.path) from None
    except IsADirectoryError:
        raise FileError(
            f"{named.path} is a folder", "expected a file", "name a file in it"
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(named.path, error) from error


def _path_of(named: _Source, stream: BinaryIO) -> str:
    """Return the path by which a stream's file can be mapped; "" if it has none.

    The copy of a large object has no name, but a number, which Unix offers as a path.
    """
    if not named.in_store:
        return str(named.place)
    if isinstance(stream, BytesIO):
        return ""
    path = f"/dev/fd/{stream.fileno()}"
    return path if is_there(Path(path)) else ""


def _held_by(stream: BinaryIO | BufferedPipe) -> int:
    """Return the bytes of a pipe or an object that are held in memory."""
    if isinstance(stream, BufferedPipe):
        return stream.held
    return stream.getbuffer().nbytes if isinstance(stream, BytesIO) else 0


def _is_regular(stream: BinaryIO) -> bool:
    """Return whether a stream is a file that can be read twice and mapped."""
    try:
        is_stdin = sys.stdin is not None and stream is sys.stdin.buffer
        return not is_stdin and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _unreadable(path: str, error: OSError | ValueError) -> FileError:
    name = repr(path) if "\0" in path else path
    return FileError(f"{name} cannot be read", reason(error))


def _missing(path: str) -> FileError:
    folder = Path(path).parent
    if not is_there(folder, Path.is_dir):
        return FileError(f"{path} does not exist", f"there is no folder {folder}")
    if os.path.lexists(path):
        return FileError(f"{path} is a broken symbolic link", "expected an existing file")
    if any(letter in Path(path).name for letter in "*?"):
        remedy = "use convcli batch for all files that match a pattern"
        return FileError(f"{path} does not exist", "expected one file", remedy)
    near = nearest_file(Path(path))
    if row := foreign_suffix(path):
        given = f"{path} does not exist, and is named as {row.words}, which convcli does not read"
        return FileError(given, SEE_FORMATS, near or row.remedy)
    return FileError(f"{path} does not exist", "", near or "expected an existing file")


def _check_axes(data: Data) -> None:
    shape = data.array.shape
    if data.array.size == 0:
        given = f"{data.name} has shape {show(shape)}, without a value"
        raise FileError(given, "expected at least one value an axis")
    if not shape:
        raise FileError(
            f"{data.name} is a single number without an axis",
            "expected an array of one axis or more",
        )
