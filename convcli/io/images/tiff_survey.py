"""Check which parts of a TIFF are not in its file: damage, and tags that can be left out.

If all samples are there, a tag whose values are outside the file is left out. A file that is cut is
damaged; it is recognised by a part across the end of the file, after which there is no other.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from struct import pack
from typing import BinaryIO, NamedTuple, cast

from convcli.io.images.directory import (
    BYTE,
    HIDDEN,
    IFD,
    INNER,
    LONG,
    LONG8,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directory,
    Entry,
    is_in_file,
    read_directory,
    read_head,
    read_tag,
    tag_name,
    value_size,
    values_of,
)
from convcli.io.images.integrity import CUT
from convcli.io.images.pillow import DIRECTORY_ERRORS
from convcli.io.images.tiff_directories import (
    SAMPLE_TAGS,
    Page,
    SharedError,
    read_pages,
    strips_and_tiles,
)
from convcli.io.streams import count_bytes

_OFFSETS = (LONG, IFD, LONG8, 18)
_EXPECTED = {
    **dict.fromkeys((254, 274, 296, 297), (SHORT, LONG)),
    **dict.fromkeys((282, 283, 286, 287), (RATIONAL,)),
    **dict.fromkeys((700, 34675), (BYTE, UNDEFINED)),
    **dict.fromkeys((330, 0x8769, 0x8825), _OFFSETS),
}
"""The valid types of tags that decoders read. Source: TIFF 6.0, section 8, and EXIF 2.3, 4.6.3."""


class LeftOut(NamedTuple):
    """A part that cannot be read: its name, its page, its range in the file, and its entry.

    entry: the directory entry to hide from decoders, None for no entry.
    """

    name: str
    page: int
    start: int
    stop: int
    entry: Entry | None


@dataclass
class Survey:
    """The pages of a TIFF, and the parts of it that are not in the file.

    damage: a description, "" if there is none. left_out: the parts, except samples, that cannot be
    read. link: the offset of the last page's link if that points outside the file, else 0.
    """

    pages: list[Page] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    link: int = 0
    damage: str = ""

    def warnings(self, first: int, last: int) -> tuple[str, ...]:
        """Describe what is left out of the pages from `first` to `last`."""
        names = dict.fromkeys(part.name for part in self.left_out if first <= part.page <= last)
        if not names:
            return ()
        held = "the file does not hold it" if len(names) == 1 else "the file does not hold them"
        return (f"{', '.join(names)} left out, as {held}",)


def survey(stream: BinaryIO) -> Survey:
    """Check every page, its directories and the offsets of its samples.

    Leaves the stream at its start.
    """
    return _Surveyor(stream).run()


class _Surveyor:
    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size = stream.seek(0, os.SEEK_END)
        self.found = Survey()
        self.parts: list[tuple[int, int]] = []
        """The range of each part that is in the file."""

    def run(self) -> Survey:
        try:
            self.head = read_head(self.stream)
            for number, page in enumerate(self._pages()):
                self.found.pages.append(page)
                self._look_at(page.directory, number)
                for start, count in strips_and_tiles(page.tags):
                    self.parts.append((start, start + count))
                    if start + count > self.size:
                        self.found.damage = CUT
            if any(map(self._is_cut, self.found.left_out)):
                self.found.damage = CUT
        except DIRECTORY_ERRORS as error:
            shared = isinstance(error, SharedError)
            found = CUT if isinstance(error, ValueError) else "its directories cannot be read"
            self.found.damage = str(error) if shared else found
        self.stream.seek(0)
        return self.found

    def _pages(self) -> Iterator[Page]:
        """Yield the pages; leave out a link that points outside the file after a whole page."""
        try:
            yield from read_pages(self.stream)
        except ValueError:
            if not self.found.pages:
                raise
            last = self.found.pages[-1].directory
            if last.next <= 2 * self.size:
                raise
            self.found.link = last.link
            self._leave_out("the link to a further page", last.next, last.next + 2, None)

    def _look_at(self, directory: Directory, page: int, group: int | None = None) -> None:
        """Collect the parts of a directory that are in the file, and those that are not."""
        self.parts.append((directory.start, directory.link + 4))
        for entry in directory.entries.values():
            if group is None and entry.number in SAMPLE_TAGS:
                self.parts.append((entry.start, entry.start + entry.size))
            elif not is_in_file(entry, self.size) or not _is_expected(entry, group):
                name, stop = tag_name(entry.number, group), entry.start + entry.size
                self._leave_out(name, entry.start, stop, entry if group is None else None)
            else:
                self.parts.append((entry.start, entry.start + entry.size))
                if entry.number in INNER.get(group, ()):
                    self._follow(entry, tag_name(entry.number, group), page)

    def _follow(self, entry: Entry, name: str, page: int) -> None:
        """Check the directory that an entry points to; leave it out if it is not a directory."""
        start = 0
        with suppress(*DIRECTORY_ERRORS):
            (start,) = values_of(read_tag(self.stream, self.head, entry))
            inner = read_directory(self.stream, self.head, start)
            unknown = sum(not value_size(each.kind) for each in inner.entries.values())
            if 2 * unknown <= len(inner.entries):
                self._look_at(inner, page, entry.number)
                return
        self._leave_out(name, start, self._end_of_directory(start), None)

    def _end_of_directory(self, start: int) -> int:
        """Return the end of the directory at an offset, by the count in it."""
        count_size, entry_size = (8, 20) if self.head.big else (2, 12)
        self.stream.seek(min(start, self.size))
        count = self.head.number(self.stream.read(count_size))
        return start + count_size + entry_size * count + 4

    def _leave_out(self, name: str, start: int, stop: int, entry: Entry | None) -> None:
        self.found.left_out.append(LeftOut(name, len(self.found.pages) - 1, start, stop, entry))

    def _is_cut(self, part: LeftOut) -> bool:
        """Return whether the end of the file cuts a part that no other part contains or follows."""
        if not self.size < part.stop <= 2 * self.size or part.start > self.size + 1:
            return False
        return not any(
            start <= part.start < stop or part.start < start < self.size
            for start, stop in self.parts
        )


def _is_expected(entry: Entry, group: int | None) -> bool:
    return group is not None or entry.kind in _EXPECTED.get(entry.number, (entry.kind,))


def hide(stream: BinaryIO, found: Survey) -> BinaryIO:
    """Return a stream without the parts that are left out, which decoders would refuse.

    The same stream if there are none or the file is damaged.
    """
    if found.damage or not found.left_out:
        return stream
    head = read_head(stream)
    stream.seek(0)
    entry = pack(f"{head.order}HH{'QQ' if head.big else 'II'}", HIDDEN, BYTE, 1, 0)
    patches = {part.entry.place: entry for part in found.left_out if part.entry is not None}
    if found.link:
        patches[found.link] = head.offset_bytes(0)
    return cast("BinaryIO", io.BufferedReader(_Patched(stream, patches))) if patches else stream


def copied_bytes(stream: BinaryIO) -> int:
    """Return the bytes that decoders need to copy a stream made by `hide`.

    They copy it because it has no file descriptor.
    """
    if not isinstance(getattr(stream, "raw", None), _Patched):
        return 0
    return count_bytes(stream)


class _Patched(io.RawIOBase):
    """A stream with some of its bytes replaced."""

    def __init__(self, stream: BinaryIO, patches: Mapping[int, bytes]) -> None:
        self._stream, self._patches = stream, patches

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        start = self._stream.tell()
        content = bytearray(self._stream.read(len(buffer)))
        for place, patch in self._patches.items():
            first, last = max(place, start), min(place + len(patch), start + len(content))
            if first < last:
                content[first - start : last - start] = patch[first - place : last - place]
        buffer[: len(content)] = content
        return len(content)
