"""Output names: from a template, in the input's sub-folder, and never outside the output folder."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from string import Formatter

from convcli.errors import InputError, did_you_mean
from convcli.io.formats import split_suffix
from convcli.jobs.batch.sources import RESERVED, Source
from convcli.system import reserved_part

FIELDS = ("stem", "ext", "name", "parent", "index")
_PLAIN = re.compile(
    r"(?!\.)[^\0/]*[^\0/.]" if os.name == "posix" else r"(?!)"
)  # names that are safe
_WIDTH = re.compile(r"0?\d{0,2}")


@dataclass(frozen=True)
class Template:
    """A name with fields in braces, such as `{stem}-edges{ext}`.

    stem, ext: the input's name without its suffix, and the suffix with its dot; name: both; parent:
    the name of the folder that contains the input; index: its number, counted from 1, which
    `{index:04}` pads.

    >>> Template("{stem}-edges{ext}").fill("in/photo.tar.png", 7)
    'photo.tar-edges.png'
    >>> Template("{parent}/{index:03}.npy").fill("in/photo.png", 7)
    'in/007.npy'
    >>> Template("{stem}-soft{ext}").fill("brain.nii.gz", 1)
    'brain-soft.nii.gz'
    """

    text: str

    def __post_init__(self) -> None:
        try:
            parts = list(Formatter().parse(self.text))
        except ValueError as error:
            raise InputError(
                f"name {self.text!r}", str(error), "double a brace that is to stay: {{"
            ) from error
        for _, name, width, conversion in parts:
            if name is None:
                continue
            if name not in FIELDS:
                listed = ", ".join(f"{{{field}}}" for field in FIELDS)
                hint = did_you_mean(name, FIELDS)
                raise InputError(
                    f"name {self.text!r} has the field {{{name}}}",
                    f"expected one of {listed}",
                    hint,
                )
            if conversion or (width and (name != "index" or not _WIDTH.fullmatch(width))):
                raise InputError(
                    f"name {self.text!r} formats {{{name}}}",
                    "expected a width of {index} at most, as in {index:04}",
                )

    def fill(self, path: str, index: int, ext: str | None = None) -> str:
        """Return the name for one input; `ext` replaces the input's own suffix."""
        stem, own = split_suffix(path)
        suffix = own if ext is None else ext
        parent = _folder_name(os.path.dirname(path)) if "{parent}" in self.text else ""  # noqa: PTH120
        return self.text.format(
            stem=stem, ext=suffix, name=stem + suffix, parent=parent, index=index
        )


@cache
def _folder_name(folder: str) -> str:
    return Path(folder).resolve().name


def output_name(source: Source, template: Template, index: int, ext: str | None = None) -> str:
    """Return the output of a source as a path relative to the output folder.

    It is in the source's own sub-folder. index: its number. ext: replaces its suffix. Raises
    InputError for a name outside the output folder.
    """
    name = template.fill(source.path, index, ext)
    folder = source.relative.rpartition(os.sep)[0]
    if _PLAIN.fullmatch(name):
        return f"{folder}{os.sep}{name}" if folder else name
    target = PurePath(folder) / name
    if not name or "\0" in name or target.anchor or ".." in target.parts:
        raise InputError(
            f"{source.path} would go to {name!r}", "expected a name within the output folder"
        )
    if part := reserved_part(target):
        raise InputError(
            f"{source.path} would go to {name!r}", f"this system takes no file named {part!r}"
        )
    if target.name.startswith(RESERVED) or name.endswith(("/", "/.")) or name == ".":
        raise InputError(
            f"{source.path} would go to {name!r}", f"expected a file name that is no {RESERVED}..."
        )
    return str(target)


def folded(target: str) -> str:
    """Return a path with case and Unicode forms folded: paths that become equal may be one file.

    >>> decomposed = "E\N{COMBINING ACUTE ACCENT}.png"
    >>> folded(decomposed) == folded("\N{LATIN SMALL LETTER E WITH ACUTE}.PNG")
    True
    """
    if target.isascii():
        return target.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", target).casefold())
