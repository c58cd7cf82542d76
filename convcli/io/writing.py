"""save: encode into a hidden file beside the target, then rename; a target is whole or untouched."""

from __future__ import annotations

import io
import math
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError, OutputError, ShapeError, did_you_mean
from convcli.io.arrays.nifti import Geometry, write_nifti
from convcli.io.arrays.npy import MAP_ABOVE, create_npy, write_npy, write_npz
from convcli.io.arrays.raw import RawLayout, write_raw
from convcli.io.arrays.text import write_text
from convcli.io.arrays.wav import Recording, write_wav
from convcli.io.capabilities import check_fit, check_header, check_settings, check_writable, takes_extra
from convcli.io.data import NO_METADATA, Header, Metadata, Written
from convcli.io.formats import NONE, Format, by_suffix, check_extra, lookup, suffixes
from convcli.io.images.gif import losses
from convcli.io.images.tiff import encoding_bytes as tiff_bytes
from convcli.io.images.tiff import write_tiff
from convcli.io.images.write import encoding_bytes, write_image

PIECE = 2**25
"""Bytes that numpy copies at once, at most, where it cannot write an array as it lies in memory."""

TEXT_BYTES = 26
"""Bytes of a number as text, at most, its separator included."""

Arrays = NDArray[Any] | Mapping[str, NDArray[Any]]

_TEMPORARY = re.compile(r"\.convcli-[0-9a-f]{16}\.tmp")


def save(
    target: str | os.PathLike[str],
    array: Arrays,
    *,
    format: str | None = None,
    overwrite: bool = False,
    alpha: bool = False,
    frames: bool = False,
    settings: Mapping[str, int] = NONE,
    header: Header | None = None,
    metadata: Metadata = NO_METADATA,
    threads: int = 1,
    volume: bool = False,
) -> Written:
    """Write an array to a path by its suffix, or to standard output for "-", in the format given.

    array: (H, W) or (H, W, C) for an image format, where `alpha` says that the last channel is alpha, `frames` that
    there are several, (F, H, W, C), and `volume` that the first axis is one of pages; .npz takes several arrays by
    name. settings: `compress_level` (0 to 9) is PNG's and TIFF's, which is uncompressed without it,
    `quality` (1 to 100) JPEG's and WebP's, which is lossless without it. header: what the file is to say besides its
    values, where its format has words for it; metadata: the same of a picture, as `carry_over` leaves it. threads:
    that may share the encoding; the bytes are the same for any number. A symbolic link keeps pointing where it did.
    Raises ShapeError or DtypeError for what the format cannot hold, InputError for a setting that it has not,
    FileError for a target that is in the way, OutputError where writing fails; the target is then untouched.
    """
    name = os.fspath(target)
    form = lookup(_target_format(name, overwrite, format))
    encode = _encoder(form, array, alpha, frames, settings, header, metadata, threads, volume)
    size = _deliver(name, overwrite, encode)
    dropped = losses([*np.asarray(array)] if frames else [np.asarray(array)]) if form.palette else ()
    return Written(name, form.name, size, dropped)


@dataclass(frozen=True)
class OutputBuffer:
    """Where a result is put together, piece by piece; `publish` writes it for good, with the options of `save`."""

    array: NDArray[Any]
    publish: Callable[..., Written]


@contextmanager
def output_buffer(
    target: str | os.PathLike[str] | None,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    format: str | None = None,
    overwrite: bool = False,
) -> Iterator[OutputBuffer]:
    """A buffer for a result (*shape) of `dtype` on its way to the target: in memory, or mapped from the file itself.

    A large .npy grows in a hidden file beside its target, which takes its name when it is kept, and is gone after the
    block where it is not. Raises OutputError where the disk has no place for it.
    """
    place = "" if target is None else os.fspath(target)
    if not grows_in_its_file(place, format, math.prod(shape) * dtype.itemsize):
        array = np.empty(shape, dtype)
        yield OutputBuffer(array, partial(save, place, array, format=format, overwrite=overwrite))
        return
    path = Path(os.path.realpath(place))
    with _beside(path) as temporary:
        try:
            array = create_npy(temporary, shape, dtype)
        except OSError as error:
            raise _unwritable(place, error) from error

        def publish(**_: Any) -> Written:
            _publish(temporary, path, place, overwrite)
            return Written(place, "npy", path.stat().st_size)

        yield OutputBuffer(array, publish)


def grows_in_its_file(target: str, format: str | None, size: int) -> bool:
    """Whether the `output_buffer` for a result of so many bytes is its file, and not memory."""
    if target in ("", "-") or format != "npy" or size <= MAP_ABOVE:
        return False
    return not _is_special(Path(os.path.realpath(target)))


def writing_bytes(
    target: str,
    format: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    settings: Mapping[str, int] = NONE,
    threads: int = 1,
) -> int:
    """Bytes that `save` takes at most, besides the array: the encoder's, and for standard output the whole file's."""
    form, size = lookup(format), math.prod(shape) * dtype.itemsize
    pieces = 0 if form.separator else min(size, PIECE)
    encoding = encoding_bytes(form, shape, dtype, settings, threads) if form.kind == "image" else pieces
    if takes_extra(form, shape[-3:], dtype, settings):
        encoding = tiff_bytes(size, settings)
    whole = {"": size + size // 16}.get(form.separator, TEXT_BYTES * math.prod(shape))
    return encoding + (whole if target == "-" or form.extra == "wav" else 0)


def save_text(target: str | os.PathLike[str], text: str, form: str, *, overwrite: bool = False) -> Written:
    """Write text as UTF-8, with the same care as `save`; `form` only names it in what is returned."""
    name, content = os.fspath(target), text.encode()
    if name != "-":
        _check_place(Path(os.path.realpath(name)), name, overwrite)
    return Written(name, form, _deliver(name, overwrite, lambda stream: stream.write(content)))


def check_target(target: str | os.PathLike[str], overwrite: bool = False, format: str | None = None) -> str | None:
    """Refuse a target that `save` would refuse, before any work; nothing is written.

    Returns the format to write; None for "-" without one, where the caller may follow its input's.
    Raises FileError for a target that exists, a folder that does not, and a suffix that is not written; OutputError
    for a folder that may not be written to.

    >>> check_target("edges.jpeg"), check_target("-", format="npy"), check_target("-")
    ('jpg', 'npy', None)
    """
    name = os.fspath(target)
    return None if name == "-" and format is None else _target_format(name, overwrite, format)


def _target_format(name: str, overwrite: bool, format: str | None) -> str:
    form = check_name(name, format)
    if name != "-":
        try:
            _check_place(Path(os.path.realpath(name)), name, overwrite)
        except OSError as error:
            raise _unwritable(name, error) from error
    return form.name


def check_name(name: str, format: str | None = None) -> Format:
    """The format that a name, with the format given beside it, is written in; nothing is looked at but the name.

    Raises FileError for a suffix that is not written, or that is another format's.

    >>> check_name("out/edges.jpeg").name
    'jpg'
    """
    form = lookup(format) if format else by_suffix(name)
    if form is None:
        raise _unknown_suffix(name)
    if (named := by_suffix(name)) not in (None, form):
        raise FileError(f"{name} is named as {named.name}", f"the format given is {form.name}", "leave --format out")
    check_writable(form)
    check_extra(form, "standard output" if name == "-" else name)
    return form


def _unknown_suffix(name: str) -> FileError:
    if name == "-":
        return FileError("standard output has no suffix", "expected a format", "name it with --format")
    if Path(name).is_dir():
        return _folder(name)
    suffix, known = Path(name).suffix.lower(), suffixes(writable=True)
    given = f"{name} ends in '{suffix}'" if suffix else f"{name} has no suffix"
    return FileError(given, f"expected one of {' '.join(known)}", did_you_mean(suffix, known))


def _check_place(path: Path, name: str, overwrite: bool) -> None:
    if path.is_dir():
        raise _folder(name)
    if path.exists() and not overwrite and path.is_file():
        raise _exists(name)
    if not path.parent.is_dir():
        raise FileError(f"{name} has no folder to go to", f"{path.parent} is not a folder", "create it first")
    if not os.access(path.parent if not _is_special(path) else path, os.W_OK):
        raise OutputError(f"{name} cannot be written", f"no permission to write in {path.parent}")


def _unwritable(name: str, error: OSError) -> OutputError:
    return OutputError(f"{name} cannot be written", error.strerror or f"only a part of it went there ({error})")


def _folder(name: str) -> FileError:
    return FileError(f"{name} is a folder", "expected a file name", "name a file in it")


def _exists(name: str) -> FileError:
    return FileError(f"{name} exists", "expected a new file", "pass --overwrite")


def _is_special(path: Path) -> bool:
    """A device or a named pipe: written to as it is, never replaced."""
    return path.exists() and not path.is_file()


def _encoder(
    form: Format,
    array: Arrays,
    alpha: bool,
    frames: bool,
    settings: Mapping[str, int],
    header: Header | None,
    metadata: Metadata,
    threads: int,
    volume: bool,
) -> Callable[[BinaryIO], None]:
    """What encodes the array into a stream, once it is known to fit."""
    check_settings(form.name, settings)
    check_header(form.name, header)
    if isinstance(array, Mapping):
        return _archive_encoder(form, array)
    volume = volume and form.stacks
    array = _squeezed(np.asanyarray(array)) if form.kind == "image" and not volume else np.asanyarray(array)
    check_fit(form.name, array.dtype, array.shape, alpha=alpha, frames=frames, volume=volume)
    pages = volume or frames
    if volume or takes_extra(form, array.shape[1:] if frames else array.shape, array.dtype, settings):
        return lambda stream: write_tiff(stream, array, metadata, settings, threads, alpha=alpha, pages=pages)
    if form.kind == "image":
        return lambda stream: write_image(stream, array, form, settings, metadata, threads)
    if form.separator:
        return lambda stream: write_text(stream, array, form.separator)
    if form.extra == "nifti":
        geometry, packed = header if isinstance(header, Geometry) else None, form.name == "nii.gz"
        return lambda stream: write_nifti(stream, array, geometry, packed=packed)
    if isinstance(header, Recording) and form.extra == "wav":
        return lambda stream: write_wav(stream, array, header)
    if form.name == "raw":
        return lambda stream: write_raw(stream, array, header if isinstance(header, RawLayout) else RawLayout())
    if form.name == "npz":
        return lambda stream: write_npz(stream, {"array": array})
    return lambda stream: write_npy(stream, array)


def _archive_encoder(form: Format, arrays: Mapping[str, NDArray[Any]]) -> Callable[[BinaryIO], None]:
    if form.name != "npz":
        raise ShapeError(f"{form.name} cannot hold {len(arrays)} arrays", "it holds one", "write .npz")
    for array in arrays.values():
        check_fit(form.name, array.dtype, array.shape)
    return lambda stream: write_npz(stream, arrays)


def _squeezed(array: NDArray[Any]) -> NDArray[Any]:
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _deliver(name: str, overwrite: bool, encode: Callable[[BinaryIO], object]) -> int:
    """Put what `encode` writes where it belongs; returns its bytes."""
    if name == "-":
        return _to_stdout(encode)
    try:
        with _stream(Path(os.path.realpath(name)), name, overwrite) as stream:
            encode(stream)
            return stream.seek(0, os.SEEK_END)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(name, error) from error


def _to_stdout(encode: Callable[[BinaryIO], object]) -> int:
    """Encode in memory first: a pipe cannot seek, and a failing encoder must not leave half a file in it."""
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
    """A stream whose bytes become the target when the block succeeds, and vanish when it raises anything at all."""
    if _is_special(path):
        content = io.BytesIO()  # as for standard output
        yield content
        with path.open("wb") as stream:
            stream.write(content.getbuffer())
        return
    with _beside(path) as temporary:
        with temporary.open("x+b") as stream:  # an encoder of several frames reads what it wrote
            yield stream
        _publish(temporary, path, name, overwrite)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """The name of a hidden file in the same folder; gone after the block, unless it was published."""
    temporary = path.with_name(f".convcli-{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove what a `save` into this folder left behind when its process was killed; none may be under way."""
    try:
        leftovers = [path for path in Path(folder).iterdir() if _TEMPORARY.fullmatch(path.name)]
    except OSError:  # no folder, no leftovers
        return
    for path in leftovers:
        path.unlink(missing_ok=True)


def _publish(temporary: Path, path: Path, name: str, overwrite: bool) -> None:
    """Give the file its name; without overwrite through a hard link, which cannot replace a file made meanwhile."""
    if not overwrite:
        try:
            return path.hardlink_to(temporary)
        except FileExistsError:
            raise _exists(name) from None
        except (OSError, NotImplementedError):  # a file system without hard links: the check is all there is
            if path.exists():
                raise _exists(name) from None
    temporary.replace(path)
    return None
