"""Collect the metadata in a file's own blocks, and report what is left out."""

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
"""The most bytes of metadata that are read from a file, far above what programs write."""


@dataclass
class Found:
    """The metadata in the blocks of a file, as stored, and warnings of what is left out.

    If a file has several blocks of a kind that it may have once, the first counts. edits: ranges of
    bytes to replace before Pillow reads the file, as it refuses the original ones.
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
    """The offset of the picture's end, None if unknown; no more is read from a pipe."""

    copied: int = 0
    """The bytes of memory that a copy of the file takes."""

    left: int = LONGEST
    """The bytes of metadata that may still be read."""

    def fits(self, size: int, place: range | None = None) -> bool:
        """Count the bytes of a block; leave it out, and return False, beyond LONGEST in all."""
        self.left -= size
        if self.left < 0:
            self.leave_out("metadata", f"beyond {LONGEST:,} bytes", place)
        return self.left >= 0

    def keep(self, name: str, content: bytes) -> None:
        """Set the field `name`; raise ValueError if it has another content already."""
        if getattr(self, name) not in (b"", content):
            raise ValueError("as the file has one before it")
        setattr(self, name, content)

    def add_part(self, kind: bytes, name: str, content: bytes, describes: str = "") -> None:
        """Add a part of this format; see `Part`."""
        self.parts.append(Part(self.form, kind, name, content, describes))  # type: ignore[arg-type]

    def add_stale(self, name: str) -> None:
        """Add the name of a block that is valid only for the input's samples, to report it."""
        self.add_part(b"", name, b"", "samples")

    def add_exif(self, block: bytes) -> None:
        """Add an EXIF block; raise ValueError for an invalid or a second one."""
        block = block.removeprefix(b"Exif\0\0")
        if not block:
            return
        if not is_exif(block):
            raise ValueError(UNREADABLE)
        self.keep("exif", block)

    def add_resources(self, content: bytes) -> None:
        """Add Photoshop's image resources, including IPTC; raise ValueError for invalid ones."""
        iptc, others = split_resources(content)
        self.iptc = self.iptc or iptc
        self.photoshop = self.photoshop or others
        if has_old_thumbnail(content):
            self.add_stale("thumbnail")

    def add_resolution(self, x: float, y: float, to_inch: float | None) -> None:
        """Add a resolution in dots per unit.

        to_inch: the factor to dots per inch, None for a unit of unknown length. Raises ValueError
        for an invalid resolution.
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
        """Read a block, or leave it out at its ranges in the file; return whether it was read."""
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
        """Warn that a block is left out, and replace its range in the file, if given."""
        warning = f"{name} left out, {why}"
        if warning not in self.warnings:
            self.warnings.append(warning)
        if place is not None:
            self.edits[place] = instead

    @property
    def orientation(self) -> int:
        """The orientation in EXIF, or else in XMP."""
        given = exif_orientation(self.exif) if self.exif else 1
        return given if given > 1 else xmp_orientation(self.xmp)

    def note_rest(self, stream: BinaryIO, end: int) -> None:
        """Set the end of the picture, and warn of bytes after it that are not zero."""
        self.end = end
        if trailing := describe_trailing(stream, end):
            self.warnings.append(trailing)

    def view(self, stream: BinaryIO, name: str, limits: Limits) -> BinaryIO:
        """Return the stream at its start, or a copy in memory with the edits.

        Raises LimitError if the copy takes too much memory.
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
        """Return the metadata for the upright picture.

        orientation: the one that was applied. width, height: of the picture as stored.
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
