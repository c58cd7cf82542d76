"""Output names: from a template, in the input's sub-folder, and never outside the output folder."""

from __future__ import annotations

import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from string import Formatter

from convcli.errors import FileError, InputError, OutputError, did_you_mean, reason
from convcli.io import check_name
from convcli.io.formats import split_suffix
from convcli.jobs.batch.sources import RESERVED, Source
from convcli.system import reserved_part

FIELDS = ("stem", "ext", "name", "parent", "index")
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
        parent = _folder_name(PurePath(path).parent)
        return self.text.format(
            stem=stem, ext=suffix, name=stem + suffix, parent=parent, index=index
        )


@cache
def _folder_name(folder: PurePath) -> str:
    return Path(folder).resolve().name


def name_all(sources: Sequence[Source], template: Template, ext: str | None = None) -> list[str]:
    """Return the output of each source as a path relative to the output folder.

    It is in the source's own sub-folder. Raises InputError for a name outside the output folder,
    FileError, which lists them, for outputs that collide.
    """
    targets = [_target(source, template, index, ext) for index, source in enumerate(sources, 1)]
    _refuse_collisions(sources, targets)
    return targets


def _target(source: Source, template: Template, index: int, ext: str | None) -> str:
    name = template.fill(source.path, index, ext)
    target = PurePath(source.relative).parent / name
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
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", target).casefold())


def _refuse_collisions(sources: Sequence[Source], targets: Sequence[str]) -> None:
    """Raise FileError for targets that are one file, and for one that is another's folder."""
    owners: Mapping[str, list[int]] = defaultdict(list)
    for index, target in enumerate(targets):
        owners[folded(target)].append(index)
    collisions = [indices for indices in owners.values() if len(indices) > 1]
    for index, target in enumerate(targets):
        for folder in PurePath(folded(target)).parents:
            collisions += [[other, index] for other in owners.get(str(folder), ())]
    if collisions:
        listing = ", ".join(
            " and ".join(f"{sources[index].path} -> {targets[index]}" for index in indices)
            for indices in collisions
        )
        raise FileError(
            f"inputs would write the same file: {listing}",
            "expected one output for each",
            "choose another --name, such as '{parent}-{name}' or '{index:04}{ext}'",
        )


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


def check_suffixes(
    folder: Path, sources: Sequence[Source], targets: Sequence[str], format: str | None
) -> None:
    """Raise FileError for a suffix that is not written, unless it is the input's own.

    An input whose own suffix is not written fails later, by itself.
    """
    given: dict[str, str] = {}
    for source, target in zip(sources, targets, strict=True):
        suffix = split_suffix(target)[1]
        if format is not None or suffix != split_suffix(source.path)[1]:
            given.setdefault(suffix.lower(), target)
    for target in given.values():
        check_name(str(folder / target), format)


def check_targets(folder: Path, sources: Sequence[Source], targets: Iterable[str]) -> list[str]:
    """Return the targets that exist.

    Raises FileError for one that is an input, or that is reached through a symbolic link.
    """
    root = folder.resolve()
    existing = []
    safe = set()
    inputs: set[tuple[int, int]] | None = None
    for target in targets:
        path = root / target
        if path.parent not in safe and path.parent.resolve() != path.parent:
            raise FileError(
                f"{path.parent} is a symbolic link or reached through one",
                "expected a folder",
                "remove it",
            )
        safe.add(path.parent)
        try:
            status = path.lstat()
        except OSError:  # it does not exist, or cannot, and then its task fails
            continue
        if not stat.S_ISREG(status.st_mode):
            raise FileError(
                f"{path} is in the way", "expected no file, or a plain one", "remove it"
            )
        inputs = _identities(sources) if inputs is None else inputs
        if (status.st_dev, status.st_ino) in inputs:
            raise FileError(
                f"{path} is an input",
                "expected an output of its own",
                "choose --out or --name otherwise",
            )
        existing.append(target)
    return existing


def _identities(sources: Iterable[Source]) -> set[tuple[int, int]]:
    """Return the device and inode of each file that exists: they do not depend on its name."""
    found = set()
    for source in sources:
        with suppress(OSError, ValueError):
            status = Path(source.path).stat()
            found.add((status.st_dev, status.st_ino))
    return found
