"""Read and write kernels in files, by suffix. Nothing is unpickled."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

from numpy.lib import format as npy
from numpy.typing import NDArray

from convcli import io
from convcli.errors import (
    FileError,
    InputError,
    KernelError,
    LimitError,
    brief,
    did_you_mean,
    is_there,
    nearest_file,
)
from convcli.io import Written
from convcli.io.arrays.npy import open_member, read_header, zip_damage
from convcli.kernels.model import Kernel, check_tap_type, checked_taps, limit_taps
from convcli.kernels.parse import parse_json, parse_rows, parse_text, parse_vips
from convcli.limits import show_bytes
from convcli.stores import location

if TYPE_CHECKING:
    import zipfile

    from convcli.stores import StorePath

MAX_TEXT = 2**24
"""The most bytes of text: 16 MiB, so that no more taps fit than a kernel may have."""

_TEXT: dict[str, Callable[[str], NDArray[Any]]] = {
    ".csv": parse_rows,
    ".txt": parse_text,
    ".json": parse_json,
    ".mat": parse_vips,
    "": parse_text,
}
SUFFIXES = (".npy", ".npz", *filter(None, _TEXT))


def locate(reference: str) -> tuple[Path | StorePath, str] | None:
    """Return the path that a reference names, and the key in `file.npz:key`.

    None if there is no such file; whether a URL's object exists is found out when it is read.
    Raises FileError for a URL that is not supported.
    """
    name, key = io.split_key(reference)
    path = location(name)
    return (path, key or "") if not isinstance(path, Path) or _exists(path) else None


def looks_like_file(reference: str) -> bool:
    """Return whether an unknown reference was probably meant as a path.

    >>> [looks_like_file(r) for r in ("blur.csv", "masks/blur", "w.npz:conv1", "blurr")]
    [True, True, True, False]
    """
    return "/" in reference or bool(
        re.fullmatch(r"\.[A-Za-z]\w*", Path(io.split_key(reference)[0]).suffix)
    )


def missing(reference: str) -> FileError:
    """Return the error for a path that does not exist, with the nearest existing name."""
    path = Path(io.split_key(reference)[0])
    remedy = (
        nearest_file(path)
        if is_there(path.parent, Path.is_dir)
        else f"its folder '{path.parent}' cannot be read either"
    )
    return FileError(f"kernel file '{path}' does not exist", remedy=remedy)


def load(path: Path | StorePath, key: str = "") -> NDArray[Any]:
    """Read taps from a file.

    key: the name of an array in an .npz; not needed if there is only one.
    Returns real, finite taps, in the file's type.
    Raises FileError for a file that is missing, empty or damaged, KernelError for contents that are
    not a kernel, LimitError above ten million taps, or 16 MiB of text.
    """
    if isinstance(path, Path):
        _require_file(path)
    suffix = path.suffix.lower()
    if suffix not in ("", *SUFFIXES):
        raise FileError(
            f"kernel file '{path}' of an unknown kind", f"expected {', '.join(SUFFIXES)}"
        )
    try:
        return checked_taps(_read(path, suffix, key))
    except (KernelError, LimitError) as error:
        raise type(error)(f"file '{path}': {error.given}", error.expected, error.remedy) from None
    except OSError as error:
        raise FileError(
            f"kernel file '{path}' cannot be read ({error.strerror or error})"
        ) from None


def _read(path: Path | StorePath, suffix: str, key: str) -> NDArray[Any]:
    if suffix == ".npy":
        return _read_npy(path)
    return _read_npz(path, key) if suffix == ".npz" else _TEXT[suffix](_read_text(path))


def _read_text(path: Path | StorePath) -> str:
    with path.open("rb") as stream:
        content = stream.read(MAX_TEXT + 1)
    if len(content) > MAX_TEXT:
        raise LimitError(
            "its text is too long",
            f"expected at most {show_bytes(MAX_TEXT)} of text",
            "save so large a kernel as .npy",
        )
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise KernelError("not text", f"expected text in a {path.suffix or 'plain'} file") from None
    if not text.strip():
        raise FileError(f"kernel file '{path}' is empty", "expected taps")
    return text


def _read_npy(path: Path | StorePath) -> NDArray[Any]:
    with path.open("rb") as stream:
        return _read_array(stream)


def _read_npz(path: Path | StorePath, key: str) -> NDArray[Any]:
    import zipfile

    try:
        with (
            path.open("rb") as file,
            zipfile.ZipFile(file) as archive,
            open_member(archive, archive.getinfo(_member(archive, key))) as stream,
        ):
            return _read_array(stream)
    except zip_damage() as error:
        if isinstance(error, (InputError, OSError)):
            raise
        raise OSError(f"damaged: {brief(error)}") from None


def _member(archive: zipfile.ZipFile, key: str) -> str:
    keys = [name.removesuffix(".npy") for name in archive.namelist()]
    if not key and len(keys) == 1:
        return archive.namelist()[0]
    if key in keys:
        return archive.namelist()[keys.index(key)]
    given = f"no array '{key}'" if key else f"an archive of {len(keys)} arrays"
    remedy = did_you_mean(key, keys) or "write FILE.npz:KEY"
    raise KernelError(given, f"expected one of {', '.join(keys) or 'none: it is empty'}", remedy)


def _read_array(stream: IO[bytes]) -> NDArray[Any]:
    """Read a .npy array, checking the size and the type of its header before the data."""
    try:
        shape, dtype = read_header(stream)
        limit_taps(shape)
        if dtype.hasobject:
            raise KernelError("an array of Python objects", "expected real numbers")
        check_tap_type(dtype)
        stream.seek(0)
        return npy.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, zlib.error) as error:
        if isinstance(error, KernelError):
            raise
        raise OSError(f"damaged: {brief(error)}") from None


def _require_file(path: Path) -> None:
    if not _exists(path):
        raise missing(str(path))
    if path.is_dir():
        raise FileError(
            f"kernel file '{path}' is a directory",
            "expected a file",
            f"one of {', '.join(SUFFIXES)}",
        )
    if path.is_file() and not path.stat().st_size:
        raise FileError(f"kernel file '{path}' is empty", "expected taps")


def _exists(path: Path) -> bool:
    return bool(path.name) and is_there(path)


TextForm = Literal["csv", "txt", "json", "imagemagick", "vips"]

TEXT_FORMS: tuple[TextForm, ...] = get_args(TextForm)
SUFFIX_FORMS: Mapping[str, TextForm] = {
    ".csv": "csv",
    ".txt": "txt",
    ".json": "json",
    ".mat": "vips",
}


def render(kernel: Kernel, form: TextForm) -> str:
    """Return a kernel as text, with a trailing newline.

    Every tap is the shortest decimal that reads back exactly.

    form: csv and txt hold one axis or two, imagemagick and vips two, json any number.
    Raises KernelError if the form cannot hold the kernel's axes.

    >>> k = Kernel.of_taps("k", [[0, 1, 0], [1, -4.5, 1], [0, 1, 0]])
    >>> print(render(k, "imagemagick"), end="")
    3x3: 0,1,0 1,-4.5,1 0,1,0
    """
    return f"{_FORMS[form](kernel)}\n"


def _csv(kernel: Kernel) -> str:
    return _table(kernel, "csv", ",")


def _txt(kernel: Kernel) -> str:
    return _table(kernel, "txt", " ")


def _table(kernel: Kernel, form: str, between: str) -> str:
    if kernel.taps.ndim > 2:
        raise _cannot(kernel, form, "one or two axes")
    if kernel.taps.ndim == 2 and len(kernel.taps) == 1:
        raise _cannot(
            kernel, form, "more than one row, because a single one is read back as one axis"
        )
    return "\n".join(_rows(kernel, between))


def _json(kernel: Kernel) -> str:
    import json

    return json.dumps(_plain(kernel.taps.tolist()))


def _plain(nested: Any) -> Any:
    """Return nested lists, with whole numbers as integers."""
    import json

    if isinstance(nested, list):
        return [_plain(part) for part in nested]
    return json.loads(_decimal(nested))


def _imagemagick(kernel: Kernel) -> str:
    height, width = _plane(kernel, "imagemagick")
    return f"{width}x{height}: {' '.join(_rows(kernel, ','))}"


def _vips(kernel: Kernel) -> str:
    height, width = _plane(kernel, "vips")
    return "\n".join([f"{width} {height} 1 0", *_rows(kernel, " ")])


def _plane(kernel: Kernel, form: str) -> tuple[int, int]:
    if kernel.taps.ndim != 2:
        raise _cannot(kernel, form, "two axes")
    height, width = kernel.shape
    return height, width


def _rows(kernel: Kernel, between: str) -> list[str]:
    rows = kernel.taps.reshape(-1, kernel.shape[-1]).tolist()
    return [between.join(map(_decimal, row)) for row in rows]


def _decimal(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e16 else repr(value)


def _cannot(kernel: Kernel, form: str, expected: str) -> KernelError:
    size = "x".join(map(str, kernel.shape))
    return KernelError(
        f"a {size} kernel as {form}", f"expected {expected}", "write .json or .npy instead"
    )


_FORMS: Mapping[TextForm, Callable[[Kernel], str]] = {
    "csv": _csv,
    "txt": _txt,
    "json": _json,
    "imagemagick": _imagemagick,
    "vips": _vips,
}


ARRAY_FORMS = ("npy", "npz")


def export_kernel(resolved: Kernel, output: str, form: str | None, *, overwrite: bool) -> Written:
    """Write a kernel as text or as an array, by `form` or else by the output's suffix.

    Raises KernelError if the form cannot hold the kernel's axes, FileError if the output exists and
    `overwrite` is false, LimitError for more text than `-k` reads.
    """
    suffix = Path(output).suffix.lower()
    chosen = form or str(SUFFIX_FORMS.get(suffix, suffix[1:]))
    if chosen in ARRAY_FORMS:
        return io.save(output, resolved.taps, format=chosen, overwrite=overwrite)
    if chosen not in TEXT_FORMS:
        known = (*TEXT_FORMS, *ARRAY_FORMS)
        if form is None and Path(output).is_dir():
            raise InputError(f"{output} is a folder", "expected a file name", "name a file in it")
        nameless = f"{'standard output' if output == '-' else output} has no suffix"
        raise InputError(
            f"a kernel as {chosen!r}" if chosen else nameless,
            f"expected one of {', '.join(known)}",
            did_you_mean(chosen, known) or "choose with --format",
        )
    text = render(resolved, chosen)
    if len(text) > MAX_TEXT:
        raise LimitError(
            f"{len(text):,} characters of {chosen}",
            f"expected at most {MAX_TEXT:,}, for -k to read back",
            "write .npy",
        )
    return io.save_text(output, text, chosen, overwrite=overwrite)
