"""The inputs and outputs of a batch, planned file by file: little is held per file.

Each step is a pass over compressed rows::

    collect          (input, its path below the named folder), each once
    without_outputs  the same, without outputs of earlier batches
    name_outputs     (input, output), if no outputs collide
    check_existing   if no output is an input, or in the way
"""

from __future__ import annotations

import os
import stat
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from convcli.errors import FileError, OutputError, reason
from convcli.io import check_name, lookup
from convcli.io.formats import split_suffix
from convcli.jobs.batch.manifest import Manifest
from convcli.jobs.batch.naming import Template, folded, output_name
from convcli.jobs.batch.rows import Rows
from convcli.jobs.batch.sources import Source
from convcli.jobs.batch.task import Record
from convcli.stores import shown

if TYPE_CHECKING:
    from convcli.stores import StorePath

LISTED = 50
"""Colliding outputs that an error lists."""


def collect(sources: Iterable[Source]) -> tuple[Rows, tuple[Record, ...]]:
    """Return each source once, (path, relative path), and records of those with trouble.

    A path is the same with and without `./`.
    """
    failed: dict[str, Record] = {}

    def rows() -> Iterator[tuple[str, str]]:
        for path, relative, trouble in sources:
            if trouble:
                failed[path] = Record("failed", shown(path), "", trouble)
            else:
                yield path, relative

    return once(rows(), _key), tuple(failed.values())


def _key(row: tuple[str, str]) -> tuple[str, str]:
    path, relative = row
    same = path == relative or ".." in path
    return path if same else os.path.normpath(path), relative


def once(rows: Iterable[tuple[str, str]], key: Callable[[tuple[str, str]], object]) -> Rows:
    """Return the rows, and of those with equal keys the first only.

    It holds 8 bytes per row, the hash of its key; only keys whose hashes collide are compared.

    >>> list(once([("a", "1"), ("b", "2"), ("./a", "1")], lambda row: row[1]))
    [('a', '1'), ('b', '2')]
    """
    hashes = array("q")

    def hashed() -> Iterator[tuple[str, str]]:
        for row in rows:
            hashes.append(hash(key(row)))
            yield row

    found = Rows(hashed())
    suspects = repeated(hashes)
    seen: set[object] = set()

    def is_first(row: tuple[str, ...]) -> bool:
        each = key((row[0], row[1]))
        if hash(each) not in suspects:
            return True
        new = each not in seen
        seen.add(each)
        return new

    return Rows(filter(is_first, found)) if suspects else found


def without_outputs(rows: Rows, folder: Path, recorded: Manifest) -> Iterator[tuple[str, ...]]:
    """Yield the sources that are no outputs of earlier batches in a folder."""
    root = f"{folder.resolve()}{os.sep}"
    resolve = RealPaths().of
    for block in rows.blocks():
        inside = {}
        for row in block:
            real = resolve(row[0])
            if real.startswith(root):
                inside[row] = real[len(root) :]
        outputs = recorded.known(inside.values())
        yield from (row for row in block if inside.get(row) not in outputs)


class RealPaths:
    """Finds paths without symbolic links, and looks at each folder once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: str) -> str:
        """Return what `os.path.realpath` returns, in a quarter of its time.

        >>> RealPaths().of("a/b.png") == os.path.realpath("a/b.png")
        True
        """
        folder, name = os.path.split(path)
        if name in ("", ".", ".."):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.join(os.path.realpath(folder), "")  # noqa: PTH118
        real = self._folders[folder] + name
        return os.path.realpath(real) if os.path.islink(real) else real  # noqa: PTH114


def name_outputs(
    rows: Rows, folder: Path | StorePath, template: Template, format: str | None
) -> Rows:
    """Return (input, output relative to the folder) of each source.

    format: of all outputs, if it is given. Raises InputError for a name outside the folder,
    FileError, which lists them, for outputs that collide, and for a suffix that is not written.
    """
    ext = None if format is None else lookup(format).suffixes[0]
    collisions = _Collisions()
    suffixes: dict[str, tuple[str, str]] = {}

    def named() -> Iterator[tuple[str, str]]:
        for index, (path, relative) in enumerate(rows, 1):
            name = shown(path)
            target = output_name(Source(name, relative), template, index, ext)
            collisions.add(target)
            suffix = split_suffix(target)[1]
            # An input whose own suffix is not written fails later, by itself.
            if suffix not in suffixes and (ext is not None or suffix != split_suffix(name)[1]):
                suffixes[suffix] = name, target
            yield path, target

    outputs = Rows(named())
    collisions.refuse(outputs)
    for _, target in suffixes.values():
        check_name(str(folder / target), format)
    return outputs


class _Collisions:
    """Finds outputs that are one file, and outputs that are another's folder.

    It holds 8 bytes per output, the hash of its folded path; only outputs whose hashes collide are
    compared.
    """

    def __init__(self) -> None:
        self._outputs = array("q")
        self._folders: set[str] = set()
        self._last = ""

    def add(self, target: str) -> None:
        same = folded(target)
        self._outputs.append(hash(same))
        folder = same.rpartition(os.sep)[0]
        if folder != self._last:
            self._last = folder
            while folder and folder not in self._folders:
                self._folders.add(folder)
                folder = folder.rpartition(os.sep)[0]

    def refuse(self, rows: Iterable[tuple[str, ...]]) -> None:
        """Raise FileError, which lists them, for outputs that collide; rows: (input, output)."""
        suspects = repeated(self._outputs)
        suspects |= common(array("q", map(hash, self._folders)), self._outputs)
        if not suspects:
            return
        owners: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for path, target in rows:
            if hash(folded(target)) in suspects:
                owners[folded(target)].append((path, target))
        collisions = [pairs for pairs in owners.values() if len(pairs) > 1]
        if not owners.keys().isdisjoint(self._folders):
            for row in rows:
                for folder in PurePath(folded(row[1])).parents:
                    collisions += [[other, row] for other in owners.get(str(folder), ())]
        if collisions:
            more = len(collisions) - LISTED
            listing = ", ".join(
                " and ".join(f"{shown(path)} -> {target}" for path, target in pairs[:LISTED])
                for pairs in collisions[:LISTED]
            ) + (f", and {more:,} more" if more > 0 else "")
            raise FileError(
                f"inputs would write the same file: {listing}",
                "expected one output for each",
                "choose another --name, such as '{parent}-{name}' or '{index:04}{ext}'",
            )


def repeated(hashes: array[int]) -> set[int]:
    """Return the numbers that occur more than once.

    >>> repeated(array("q", [3, 1, 3, 2, 3]))
    {3}
    """
    ordered = np.sort(np.asarray(hashes, np.int64))
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def common(first: array[int], second: array[int]) -> set[int]:
    """Return the numbers of the first that are in the second, which is not empty.

    >>> common(array("q", [9, 2, 5]), array("q", [5, 3, 9, 5]))
    {9, 5}
    """
    wanted = np.asarray(first, np.int64)
    ordered = np.sort(np.asarray(second, np.int64))
    places = np.searchsorted(ordered[:-1], wanted)
    return set(wanted[ordered[places] == wanted].tolist())


def check_folder(folder: Path) -> None:
    """Raise FileError if the output folder, or one that contains it, is no folder.

    Raises OutputError for a name that the system rejects.
    """
    for path in (folder, *folder.parents):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise OutputError(f"{folder} cannot be created", reason(error)) from error
        if not path.is_dir():
            raise FileError(
                f"{path} is no folder",
                "expected one, or a name that is free",
                "choose --out otherwise",
            )
        return


def check_existing(
    rows: Rows, folder: Path, recorded: Manifest | None, *, resume: bool, replace: bool
) -> frozenset[str]:
    """Return the folders of the outputs, relative to the batch's folder.

    resume: whether outputs that are recorded may exist. replace: whether all others may exist too.
    Raises FileError for an output that exists or is an input, or is
    reached through a symbolic link.
    """
    existing = _Existing(folder)
    foreign, first = 0, ""
    for block in rows.blocks():
        there = [target for _, target in block if existing.has(target)]
        known = recorded.known(there) if resume and recorded is not None else ()
        others = [] if replace else [target for target in there if target not in known]
        foreign += len(others)
        first = first or next(iter(others), "")
    existing.refuse_inputs(rows)
    if foreign:
        raise refuse_existing(str(folder / first), foreign, resume=resume)
    return frozenset(existing.folders)


def refuse_existing(first: str, count: int, *, resume: bool) -> FileError:
    """Return the error for outputs that exist; first: the name of one."""
    found = f"{first} exists" if count == 1 else f"{count:,} outputs exist, such as {first}"
    remedy = (
        "pass --overwrite to replace it"
        if resume
        else "pass --resume to skip what is done, or --overwrite"
    )
    return FileError(found, "no batch made it" if resume else "expected new files", remedy)


class _Existing:
    """Finds the outputs that exist. folder: of the outputs.

    It holds 8 bytes per output that exists.
    """

    def __init__(self, folder: Path) -> None:
        self._root = str(folder.resolve())
        self._folders: dict[str, bool] = {}
        self._files = array("q")

    @property
    def folders(self) -> Iterator[str]:
        """The folders of all outputs, relative to the folder of the batch."""
        return iter(self._folders)

    def has(self, target: str) -> bool:
        """Return whether an output exists.

        Raises FileError for one that is no plain file, or is reached through a symbolic link.
        """
        folder = target.rpartition(os.sep)[0]
        if folder not in self._folders:
            self._folders[folder] = self._look_up(folder)
        if not self._folders[folder]:
            return False
        path = f"{self._root}{os.sep}{target}"
        try:
            status = os.lstat(path)
        except OSError:  # it does not exist, or cannot, and then its task fails
            return False
        if not stat.S_ISREG(status.st_mode):
            raise FileError(
                f"{path} is in the way", "expected no file, or a plain one", "remove it"
            )
        self._files.append(hash((status.st_dev, status.st_ino)))
        return True

    def _look_up(self, folder: str) -> bool:
        """Return whether a folder exists. Raises FileError for one behind a symbolic link."""
        path = Path(self._root, folder)
        if path.resolve() != path:
            raise FileError(
                f"{path} is a symbolic link or reached through one",
                "expected a folder",
                "remove it",
            )
        return os.path.lexists(path)

    def refuse_inputs(self, rows: Rows) -> None:
        """Raise FileError if an output that exists is also an input; rows: (input, output)."""
        if not self._files:
            return
        inputs = array("q")
        for path, _ in rows:
            inputs.append(hash(_identity(path)))
        both = common(inputs, self._files)
        if not both:
            return
        same = {_identity(path) for path, _ in rows if hash(_identity(path)) in both}
        for _, target in rows:
            path = f"{self._root}{os.sep}{target}"
            if (identity := _identity(path)) and identity in same:
                raise FileError(
                    f"{path} is an input",
                    "expected an output of its own",
                    "choose --out or --name otherwise",
                )


def _identity(path: str) -> tuple[int, int] | None:
    """Return the device and inode of a file that exists: they do not depend on its name."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
