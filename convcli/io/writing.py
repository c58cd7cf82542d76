"""save: encode into a hidden file, then rename it; a target is complete or unchanged."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.errors import FileError, OutputError, did_you_mean
from convcli.io.arrays.npy import MAP_ABOVE
from convcli.io.capabilities import check_holds, check_settings
from convcli.io.codec import PLAIN, Codec, WriteRequest, codec_of, plugin_errors
from convcli.io.data import Written
from convcli.io.destinations import Destination, destination, folder_error, unwritable
from convcli.io.foreign import foreign_suffix
from convcli.io.formats import SEE_FORMATS, Format, by_suffix, check_extra, lookup, suffixes
from convcli.system import renames_open_files

Arrays = NDArray[Any] | Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class OutputTarget:
    """Where a result is written and in which format: a checked path, or "-", standard output.

    temporary: an empty file to write instead of the target, for the caller to publish.
    """

    path: str
    form: Format
    overwrite: bool = False
    temporary: Path | None = None

    @property
    def codec(self) -> Codec:
        return codec_of(self.form)

    @property
    def destination(self) -> Destination:
        return destination(self.path, self.overwrite, self.temporary)

    def check(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> None:
        """Raise FormatError for an unsupported array, InputError for unsupported settings."""
        check_holds(self.form, dtype, shape, request)
        check_settings(self.form, request.settings)

    def write(self, array: Arrays, request: WriteRequest = PLAIN) -> Written:
        """Write an array, or several by their names. Raises like `save`."""
        codec = self.codec
        if isinstance(array, Mapping):
            for each in array.values():
                self.check(each.dtype, each.shape, request)
            size, warnings = self.destination.deliver(
                lambda stream: codec.write_arrays(stream, array)
            )
            return Written(self.path, self.form.name, size, warnings=warnings)
        values = np.asanyarray(array)
        self.check(values.dtype, values.shape, request)
        with plugin_errors(self.form, f"{self.path} cannot be written"):
            size, warnings = self.destination.deliver(
                lambda stream: codec.write(stream, values, request)
            )
        return Written(self.path, self.form.name, size, codec.reductions(values, request), warnings)

    def grows(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> bool:
        """Return whether a result is written chunk by chunk to a mapped file.

        The disk must be large enough for it.
        """
        size = math.prod(shape) * dtype.itemsize
        is_mapped = renames_open_files() and self.codec.maps_output(dtype, request)
        if self.path == "-" or size <= MAP_ABOVE or not is_mapped:
            return False
        return size <= _disk_bytes(self.destination.working_folder)

    def encoding_bytes(
        self, dtype: np.dtype[Any], shape: tuple[int, ...], request: WriteRequest = PLAIN
    ) -> int:
        """Return the bytes that `write` allocates at most; for "-" the whole file is included."""
        whole = self.codec.file_bytes(dtype, shape) if self.path == "-" else 0
        return self.codec.encoding_bytes(dtype, shape, request) + whole


def _disk_bytes(folder: Path | None) -> int:
    """Return the total size of a folder's disk in bytes; 0 if there is no such folder."""
    import shutil

    if folder is None:
        return 0
    try:
        return shutil.disk_usage(folder).total
    except OSError:
        return 0


def save(
    target: str | os.PathLike[str],
    array: Arrays,
    *,
    format: str | None = None,
    overwrite: bool = False,
    **request: Any,
) -> Written:
    """Write an array to a path, or to standard output for "-".

    format: by default that of the suffix. array: (H, W) or (H, W, C) for an image format, or frames
    (F, H, W, C); .npz stores several arrays by name. request: the fields of WriteRequest. The
    target of a symbolic link is replaced, not the link. Raises FormatError for an array that the
    format cannot hold, InputError for an unsupported setting, FileError for a target that exists,
    OutputError if writing fails; the target is then unchanged.
    """
    name = os.fspath(target)
    return _resolve(name, overwrite, format).write(array, WriteRequest(**request))


@dataclass(frozen=True)
class OutputBuffer:
    """An array to write a result into; `publish` writes it to its target."""

    array: NDArray[Any]
    publish: Callable[[WriteRequest], Written]


@contextmanager
def output_buffer(
    target: OutputTarget | None,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    planned: WriteRequest = PLAIN,
) -> Iterator[OutputBuffer]:
    """Provide a buffer for a result: in memory, or mapped from the target's file.

    planned: how it will be written. A large .npy or .raw is mapped from a hidden file in the
    target's folder, which is renamed to the target when it is published, and removed after the
    block otherwise. Raises OutputError if the disk has no space for it.
    """
    if target is None or not target.grows(dtype, shape, planned):
        array = np.empty(shape, dtype)

        def write(request: WriteRequest) -> Written:
            if target is None:
                raise OutputError("a result without a target", "expected one to publish it to")
            return target.write(array, request)

        yield OutputBuffer(array, write)
        return
    place = target.destination
    with place.temporary() as temporary:
        try:
            array = target.codec.create(temporary, shape, dtype, planned)
        except OSError as error:
            raise place.failure(error) from error

        def publish_file(_: WriteRequest) -> Written:
            size = temporary.stat().st_size
            warnings = place.publish(temporary)
            return Written(place.name, target.form.name, size, warnings=warnings)

        yield OutputBuffer(array, publish_file)


def save_text(
    target: str | os.PathLike[str], text: str, form: str, *, overwrite: bool = False
) -> Written:
    """Write text as UTF-8, by a temporary file as `save` does; `form` is only returned."""
    return save_bytes(target, text.encode(), form, overwrite=overwrite, binary=False)


def save_bytes(
    target: str | os.PathLike[str],
    content: bytes,
    form: str,
    *,
    overwrite: bool = False,
    binary: bool = True,
) -> Written:
    """Write bytes, by a temporary file as `save` does; raise FileError for binary on a terminal."""
    name = os.fspath(target)
    place = destination(name, overwrite)
    if name != "-":
        place.check()
    elif binary:
        refuse_terminal(form)
    size, warnings = place.deliver(lambda stream: stream.write(content))
    return Written(name, form, size, warnings=warnings)


def refuse_terminal(form: str) -> None:
    """Raise FileError if standard output is a terminal, which cannot show a binary format."""
    if sys.stdout is not None and sys.stdout.isatty():
        raise FileError(
            f"{form} is binary, and standard output is a terminal",
            "expected a file or a pipe",
            "name a file with -o, or add > FILE",
        )


def check_target(
    target: str | os.PathLike[str],
    overwrite: bool = False,
    format: str | None = None,
    *,
    stores: bool = False,
) -> OutputTarget | None:
    """Resolve a target, and raise what `save` would raise for it; write nothing.

    Returns None for "-" without a format: the caller may use its input's. stores: whether the
    caller writes a store, whose place it checks itself. Raises FileError for a
    target that exists, a folder that does not, and a suffix that is not written; OutputError for a
    folder without write permission.

    >>> check_target("edges.jpeg").form.name, check_target("-", format="npy").form.name
    ('jpg', 'npy')
    """
    name = os.fspath(target)
    if name == "-" and format is None:
        return None
    form = check_name(name, format)
    if stores and form.store:
        return OutputTarget(name, form, overwrite)
    return _resolve(name, overwrite, format)


def _resolve(name: str, overwrite: bool, format: str | None) -> OutputTarget:
    form = check_name(name, format)
    if form.store:
        given = f"{name} would be a folder of chunks"
        raise FileError(given, "only convcli apply writes one", "write .npy")
    if name == "-" and not form.separator:
        refuse_terminal(form.name)
    if name != "-":
        try:
            destination(name, overwrite).check()
        except OSError as error:
            raise unwritable(name, error) from error
    return OutputTarget(name, form, overwrite)


def check_name(name: str, format: str | None = None) -> Format:
    """Return the format that a name is written in; no file is accessed.

    Raises FileError for a suffix that is not written, or that is of another format than `format`.

    >>> check_name("out/edges.jpeg").name
    'jpg'
    """
    named = by_suffix(name)
    form = lookup(format) if format else named
    if form is None:
        raise _unknown_suffix(name)
    if named not in (None, form):
        raise FileError(
            f"{name} is named as {named.name}",
            f"the format given is {form.name}",
            "leave --format out",
        )
    if not form.writable:
        raise FileError(f"{form.name} is read but not written", "", "write .png, .tiff or .npy")
    check_extra(form, "standard output" if name == "-" else name)
    return form


def _unknown_suffix(name: str) -> FileError:
    if name == "-":
        return FileError(
            "standard output has no suffix", "expected a format", "name it with --format"
        )
    if Path(name).is_dir():
        return folder_error(name)
    suffix = Path(name).suffix.lower()
    if not suffix:
        return FileError(
            f"{name} has no suffix", "expected one of a format, such as .png or .npy", SEE_FORMATS
        )
    given = f"{name} ends in '{suffix}'"
    known = "expected the suffix of a format, such as .png or .npy"
    if row := foreign_suffix(name):
        refused = f"the suffix of {row.words}, which convcli does not write"
        return FileError(given, refused, "write .png, .tiff or .npy, and convert that")
    return FileError(given, known, did_you_mean(suffix, suffixes(writable=True)) or SEE_FORMATS)
