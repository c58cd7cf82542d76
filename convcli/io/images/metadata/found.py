"""Gather what a file says besides its samples, as the file's own blocks tell it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from convcli.io.data import Metadata, Part, Text
from convcli.io.images.metadata.exif import exif_orientation, has_thumbnail, is_exif, upright_exif
from convcli.io.images.metadata.photoshop import has_old_thumbnail, split_resources
from convcli.io.images.metadata.upright import swaps_axes, valid_density
from convcli.io.images.metadata.xmp import has_thumbnails, upright_xmp, xmp_orientation
from convcli.io.images.pillow import DIRECTORY_ERRORS
from convcli.io.trailing import describe_trailing
from convcli.limits import Limits

UNREADABLE = "as it cannot be read"
LONGEST = 2**26
"""Bytes that are read of all blocks that describe a picture: nobody writes more."""


@dataclass
class Found:
    """What the blocks of a file say, as it stands there, and what of them is passed over.

    Of kinds that a file holds once, the first counts. edits: where the file is to be read as if
    other bytes stood there, as Pillow refuses what does; in the order of the file.
    """

    form: str
    icc: bytes = b""
    density: tuple[float, float] | None = None
    aspect: tuple[float, float] | None = None
    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    photoshop: bytes = b""
    comments: list[bytes] = field(default_factory=list)
    text: list[Text] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    edits: dict[range, bytes] = field(default_factory=dict)
    end: int | None = None
    """Bytes up to the end of the picture, where the file says it: of a pipe no more is read."""

    copied: int = 0
    """Bytes of memory that a copy of the file takes."""

    def keep(self, name: str, content: bytes) -> None:
        """Take the field `name` from the file; raise ValueError for one that it has already."""
        if getattr(self, name) not in (b"", content):
            raise ValueError("as the file has one before it")
        setattr(self, name, content)

    def add_part(self, kind: bytes, name: str, content: bytes, describes: str = "") -> None:
        """Add a part of this format; see `Part`."""
        self.parts.append(Part(self.form, kind, name, content, describes))  # type: ignore[arg-type]

    def add_stale(self, name: str) -> None:
        """Add what goes with the input's samples alone, without its content."""
        self.add_part(b"", name, b"", "samples")

    def add_exif(self, block: bytes) -> None:
        """Add an EXIF block; raise ValueError for what is none, or a second one."""
        block = block.removeprefix(b"Exif\0\0")
        if not block:
            return
        if not is_exif(block):
            raise ValueError(UNREADABLE)
        self.keep("exif", block)

    def add_resources(self, content: bytes) -> None:
        """Add Photoshop's image resources, IPTC among them; raise ValueError for what is none."""
        iptc, others = split_resources(content)
        self.iptc = self.iptc or iptc
        self.photoshop = self.photoshop or others
        if has_old_thumbnail(content):
            self.add_stale("thumbnail")

    def add_resolution(self, x: float, y: float, to_inch: float | None) -> None:
        """Add dots per unit, of which so many make a dot per inch; None: of an unknown length.

        Raises ValueError for what is no resolution.
        """
        if to_inch is None:
            if min(x, y) < 1:
                raise ValueError(UNREADABLE)
            self.aspect = None if x == y else (x, y)
            return
        self.density = valid_density((x, y), to_inch, turned=False)
        if self.density is None:
            raise ValueError(UNREADABLE)

    def attempt(self, name: str, read: Callable[[], None], *places: range) -> bool:
        """Read a block at its places, or leave it out; return whether it could be read."""
        try:
            read()
        except (ValueError, *DIRECTORY_ERRORS) as error:
            why = str(error) if str(error).startswith("as ") else UNREADABLE
            for place in places or (None,):
                self.leave_out(name, why, place)
            return False
        return True

    def leave_out(
        self, name: str, why: str, place: range | None = None, instead: bytes = b""
    ) -> None:
        """Say that a block is left out, and hide it at its place."""
        warning = f"{name} left out, {why}"
        if warning not in self.warnings:
            self.warnings.append(warning)
        if place is not None:
            self.edits[place] = instead

    @property
    def orientation(self) -> int:
        """The orientation that EXIF tells, or else XMP."""
        told = exif_orientation(self.exif) if self.exif else 1
        return told if told > 1 else xmp_orientation(self.xmp)

    def note_rest(self, stream: BinaryIO, end: int) -> None:
        """Say that there is more behind the end of a picture, but for zeros."""
        self.end = end
        if trailing := describe_trailing(stream, end):
            self.warnings.append(trailing)

    def view(self, stream: BinaryIO, name: str, limits: Limits) -> BinaryIO:
        """Return the stream, at its start, or a copy in memory with the edits, which LimitError may
        refuse.
        """
        stream.seek(0)
        if not self.edits:
            return stream
        size = stream.seek(0, os.SEEK_END) if self.end is None else self.end
        limits.check_memory(name, 2 * size)
        self.copied = 2 * size
        stream.seek(0)
        content = stream.read(size)
        pieces = []
        start = 0
        for place in sorted(self.edits, key=lambda place: place.start):
            pieces += [content[start : place.start], self.edits[place]]
            start = place.stop
        return io.BytesIO(b"".join([*pieces, content[start:]]))

    def upright(self, orientation: int, width: int, height: int) -> Metadata:
        """Return the metadata of the picture with that orientation applied; width, height: as it is
        stored.
        """
        turned = swaps_axes(orientation)
        density, aspect = (
            (pair[1], pair[0]) if pair and turned else pair for pair in (self.density, self.aspect)
        )
        parts = list(self.parts)
        if orientation > 1:
            parts = [
                part._replace(describes="samples") if part.describes == "size" else part
                for part in parts
            ]
        if has_thumbnail(self.exif) or has_thumbnails(self.xmp):
            parts.append(Part(self.form, b"", "thumbnail", describes="samples"))
        return Metadata(
            icc=self.icc,
            density=density,
            aspect=aspect,
            exif=upright_exif(self.exif, orientation, width, height) if self.exif else b"",
            xmp=upright_xmp(self.xmp),
            iptc=self.iptc,
            photoshop=self.photoshop,
            comments=tuple(filter(None, self.comments)),
            text=tuple(self.text),
            parts=tuple(parts),
        )
