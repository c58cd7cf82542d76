"""The input files of a batch: named, in folders, matched by patterns, or in a list.

A named file is always included. A search, in a folder or by a pattern, leaves out hidden files,
symbolic links unless they are followed, and the output folder; from a folder only files with a
suffix that is read are included. The order is that of the arguments, and by name within a folder.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import NamedTuple

from convcli.errors import FileError, InputError, LimitError, nearest_file, reason
from convcli.io.foreign import foreign_suffix
from convcli.io.formats import by_suffix
from convcli.limits import show_bytes
from convcli.stores import StorePath, is_url, location, shown
from convcli.system import is_hidden

LIST_BYTES = 2**30
"""Bytes of a list of inputs at most, some ten million names: an endless one is refused."""
_READ_BYTES = 2**20  # bytes of a list that are read at once
NAME_BYTES = 2**15
"""Bytes of a name at most; no operating system accepts longer ones."""

RESERVED = ".convcli-"
"""Prefix of the names of a batch's own files."""

_MAGIC = re.compile(r"[*?[]")
_UNREAD = "without a suffix that is read"
_LINK = "behind a symbolic link"
_HIDDEN = "hidden"


class Source(NamedTuple):
    """One input: its path, as named and relative to the folder that was named.

    trouble: why it cannot be read, "" if it can.
    """

    path: str
    relative: str
    trouble: str = ""


class _Wanted(NamedTuple):
    """Tests for files to include and folders to enter, by their paths relative to the start."""

    file: Callable[[str], bool]
    folder: Callable[[str], bool]


@dataclass(frozen=True)
class Search:
    """A search of folders and patterns; `passed_over` counts the files left out, by reason.

    recursive: enter sub-folders. follow_links: follow symbolic links. every: include files of any
    suffix. bare: include those without a header, such as .raw. exclude: a folder that is never
    entered, unless the search begins there.
    """

    recursive: bool = False
    follow_links: bool = False
    every: bool = False
    exclude: str = ""
    bare: bool = False
    passed_over: Counter[str] = field(default_factory=Counter)

    def find(self, inputs: Iterable[str]) -> Iterator[Source]:
        """Yield the files of each input; raise FileError if one does not exist or has none."""
        for given in inputs:
            if is_url(given):
                found = self._in_store(given)
            elif _is_folder(given):
                found = self._in_folder(given)
            elif _MAGIC.search(given) and not os.path.lexists(given):
                found = self._matching(given)
            else:
                yield _named(given)
                continue
            before, any_found = self.passed_over.copy(), False
            for source in found:
                any_found = True
                yield source
            if not any_found:
                raise _nothing(given, self.passed_over - before, self.recursive)

    def _in_store(self, given: str) -> Iterator[Source]:
        """Yield the object of a URL, those in its folder, or those that match its pattern."""
        path = location(given)
        assert isinstance(path, StorePath)
        path.check_shared()
        if not path.protocol.listable:
            if str(path).endswith("/") or "*" in path.name:
                raise FileError(
                    f"{path} names no object",
                    "a web server has no folders and patterns to list",
                    "name each object, or list them with --files-from",
                )
            yield Source(given, path.name)
            return
        kind = path.kind()
        if kind == "file":
            yield Source(given, path.name)
        elif kind == "directory":
            wanted = _Wanted(self._reads, lambda _: self.recursive)
            yield from self._walk_store(path, "", wanted)
        elif _MAGIC.search(given):
            scheme, rest = given.split("://", 1)
            parts = tuple(rest.split("/"))
            first = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
            base = f"{scheme}://{'/'.join(parts[:first])}"
            yield from self._walk_store(StorePath.of(base), "", _pattern(parts[first:]))
        else:
            raise FileError(
                f"{path} does not exist", "expected an object, a folder or a quoted pattern"
            )

    def _walk_store(self, folder: StorePath, below: str, wanted: _Wanted) -> Iterator[Source]:
        """Yield the wanted objects of a folder and its sub-folders, as `_walk` does."""
        start = f"{below}/" if below else ""
        for name, is_folder in folder.entries():
            inside, relative = folder / name, start + name
            takes = wanted.folder if is_folder else wanted.file
            if name.startswith(RESERVED) or not takes(relative) or str(inside) == self.exclude:
                continue
            if name.startswith("."):
                self.passed_over[_HIDDEN] += 1
            elif is_folder:
                yield from self._walk_store(inside, relative, wanted)
            else:
                yield Source(inside.url, relative)

    def _in_folder(self, folder: str) -> Iterator[Source]:
        return self._walk(folder, "", _Wanted(self._reads, lambda _: self.recursive), ())

    def _reads(self, relative: str) -> bool:
        """Return whether a file is included by its suffix; count it as passed over if not."""
        form = by_suffix(relative)
        if (
            self.every
            or (form is not None and (self.bare or not form.headerless))
            or relative.rpartition(os.sep)[2].startswith(".")
        ):
            return True
        row = foreign_suffix(relative)
        self.passed_over[f"named as {row.words}, which is not read" if row else _UNREAD] += 1
        return False

    def _matching(self, given: str) -> Iterator[Source]:
        parts = PurePath(given).parts
        first = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
        base = str(PurePath(*parts[:first]))
        pattern = parts[first:]
        return self._walk(base, "", _pattern(pattern), ())

    def _walk(
        self, folder: str, below: str, wanted: _Wanted, above: tuple[tuple[int, int], ...]
    ) -> Iterator[Source]:
        """Yield the wanted files of a folder and its sub-folders.

        below: its relative path. above: its parents.
        """
        start = f"{below}{os.sep}" if below else ""
        names: list[str] = []  # not the entries, which take four times the memory
        folders: set[str] = set()
        try:
            status = Path(folder).stat()
            with os.scandir(folder) as listing:
                for entry in listing:
                    is_folder, is_file = _kind(entry)
                    if self._takes(entry, is_folder, is_file, start + entry.name, wanted):
                        names.append(entry.name)
                        folders.update([entry.name] * is_folder)
        except OSError as error:
            yield Source(folder, below, f"{folder} cannot be read; {error.strerror}")
            return
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        parent = str(PurePath(folder, "x"))[:-1]  # "" for the working directory
        names.sort()
        for name in names:
            if name in folders:
                inside = os.path.join(folder, name)  # noqa: PTH118 - it keeps a leading ./
                yield from self._walk(inside, start + name, wanted, (*above, here))
            else:
                yield Source(parent + name, start + name)

    def _takes(
        self,
        entry: os.DirEntry[str],
        is_folder: bool,
        is_file: bool,
        relative: str,
        wanted: _Wanted,
    ) -> bool:
        """Return whether a search takes an entry; count it if it does not for a reason."""
        if entry.name.startswith(RESERVED):
            return False
        if is_folder:
            taken = wanted.folder(relative) and not self._excluded(entry.path)
        else:
            taken = is_file and wanted.file(relative)
        if taken and is_hidden(entry):
            self.passed_over[_HIDDEN] += 1
        elif taken and entry.is_symlink() and not self.follow_links:
            self.passed_over[_LINK] += 1
        else:
            return taken
        return False

    def _excluded(self, folder: str) -> bool:
        return bool(self.exclude) and os.path.realpath(folder) == self.exclude


def _pattern(parts: tuple[str, ...]) -> _Wanted:
    """Return the tests for the matches of a pattern, and for folders that may contain some."""
    return _Wanted(
        lambda relative: matches(PurePath(relative).parts, parts),
        lambda relative: leads_to(PurePath(relative).parts, parts),
    )


def _is_folder(given: str) -> bool:
    """Return whether a path is a folder; False if that cannot be found out."""
    try:
        return Path(given).is_dir()
    except OSError:
        return False


def _kind(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Return whether an entry is, or links to, a folder, and the same for a file.

    A broken link is neither.
    """
    try:
        return entry.is_dir(), entry.is_file()
    except OSError:
        return False, False


def leads_to(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether a folder of these parts may contain a match of a pattern.

    >>> leads_to(("a",), ("a", "*.png")), leads_to(("a",), ("[ab]*",))
    (True, False)
    >>> leads_to(("a", "b"), ("**",))
    True
    """
    begun = range(len(pattern) + (pattern[-1] == "**"))
    return any(matches(parts, pattern[:count]) for count in begun)


def matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether the parts of a path match those of a pattern.

    `**` matches any number of folders.

    >>> matches(("a", "b", "c.png"), ("**", "*.png")), matches(("c.png",), ("**", "*.png"))
    (True, True)
    >>> matches(("a", "c.png"), ("*.png",)), matches(("a", "c.png"), ("[ab]", "?.png"))
    (False, True)
    """
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return (
            any(matches(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
            or len(pattern) == 1
        )
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])


def listed(path: str, *, null: bool = False) -> Iterator[Source]:
    """Yield the files in a list, one per line, or each ended by a NUL; `-` is standard input.

    A relative name keeps its folders; whether the file exists is checked when it is read.
    Raises FileError for a list that cannot be read or is none, LimitError for one that is too long.
    """
    for name in filter(None, _read_names(path, b"\0" if null else b"\n")):
        if b"\0" in name:
            raise FileError(f"the list {path} holds a NUL", "expected one input a line", "add -0")
        given = os.fsdecode(name if null else name.removesuffix(b"\r"))
        if is_url(given):
            yield _listed_url(given)
            continue
        relative = os.path.normpath(given)
        is_above = relative.startswith("..") and relative.split(os.sep, 1)[0] == ".."
        if is_above or os.path.isabs(relative):  # noqa: PTH117
            relative = PurePath(relative).name
        yield Source(given, relative)


def _listed_url(given: str) -> Source:
    try:
        return Source(given, location(given).name)
    except FileError as error:
        return Source(given, "", str(error))


def _read_names(given: str, end: bytes) -> Iterator[bytes]:
    """Yield the names in a list, each with NAME_BYTES at most; `end` separates them."""
    path = shown(given)
    size, rest = 0, b""
    for content in _read_list(given):
        size += len(content)
        if size > LIST_BYTES:
            held = f"the list {path} is longer than {show_bytes(LIST_BYTES)}"
            raise LimitError(
                held, "expected one that ends", "split it, or name the folders instead"
            )
        if content.count(end) == len(content) == _READ_BYTES:
            held = f"the list {path} holds no name in {show_bytes(_READ_BYTES)}"
            raise FileError(held, "expected one input a line", "check what writes the list")
        *names, rest = (rest + content).split(end)
        if max(map(len, (*names, rest))) > NAME_BYTES:
            raise FileError(
                f"the list {path} holds a name of more than {NAME_BYTES:,} bytes",
                "expected shorter ones",
                "list one input a line, or with -0 each followed by a NUL",
            )
        yield from names
    yield rest


def _read_list(path: str) -> Iterator[bytes]:
    """Yield the bytes of a list in pieces."""
    if path == "-" and sys.stdin is None:
        raise FileError(
            "standard input is closed", "expected a list of files", "pipe one in, or name a file"
        )
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else location(path).open("rb") as stream:
            while content := stream.read(_READ_BYTES):
                yield content
    except FileError:
        raise
    except (OSError, ValueError) as error:
        raise FileError(f"the list {path} cannot be read", reason(error)) from error


def _named(given: str) -> Source:
    if given == "-":
        raise InputError(
            "standard input is one input",
            "expected files, folders or patterns",
            "use convcli apply -",
        )
    try:
        os.lstat(given)
    except (FileNotFoundError, NotADirectoryError):
        expected = "expected a file, a folder or a quoted pattern"
        raise FileError(f"{given} does not exist", expected, nearest_file(Path(given))) from None
    except OSError as error:
        raise FileError(f"{given} cannot be read", reason(error)) from error
    return Source(given, PurePath(given).name)


def _nothing(given: str, passed_over: Counter[str], recursive: bool) -> FileError:
    given = shown(given)
    if _MAGIC.search(given) if is_url(given) else not _is_folder(given):
        return FileError(
            f"nothing matches {given}", "expected at least one file", _listing(passed_over)
        )
    remedy = "" if recursive or passed_over else "use --recursive for the folders in it"
    return FileError(
        f"{given} has no file to take", "expected at least one", _listing(passed_over) or remedy
    )


def _listing(passed_over: Counter[str]) -> str:
    listing = ", ".join(f"{count:,} {reason}" for reason, count in sorted(passed_over.items()))
    return (
        f"passed over: {listing}; see --follow-links"
        if passed_over[_LINK]
        else listing and f"passed over: {listing}"
    )
