"""Where a batch writes: a folder, or a folder of objects in a store.

`outputs_of` chooses. Both have the same methods: `check` what is there before anything is written,
and `open` the manifest for the run.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convcli.errors import FileError, OutputError, reason
from convcli.io import remove_temporaries
from convcli.jobs.batch.manifest import Manifest
from convcli.jobs.batch.planning import (
    check_existing,
    check_folder,
    common,
    refuse_existing,
    without_outputs,
)
from convcli.jobs.batch.rows import Rows

if TYPE_CHECKING:
    from convcli.stores import StorePath


class Outputs(ABC):
    """The outputs of a batch, wherever they are."""

    @abstractmethod
    def check(self) -> None:
        """Raise FileError or OutputError if nothing can be written there."""

    @abstractmethod
    def existing(self) -> AbstractContextManager[Manifest | None]:
        """Provide the manifest, None if there is none."""

    @abstractmethod
    def without(self, rows: Rows, recorded: Manifest) -> Iterator[tuple[str, ...]]:
        """Yield the sources that are no outputs of earlier batches there."""

    @abstractmethod
    def check_existing(
        self, rows: Rows, recorded: Manifest | None, *, resume: bool, replace: bool
    ) -> frozenset[str]:
        """Return the folders of the outputs, relative; see `planning.check_existing`."""

    @abstractmethod
    def open(self, folders: Iterable[str]) -> AbstractContextManager[Manifest]:
        """Provide the manifest for a run, and leave no temporary files behind."""


def outputs_of(folder: Path | StorePath, real: Path | StorePath) -> Outputs:
    """Return the outputs in a folder or a store; real: the folder without symbolic links."""
    if not isinstance(folder, Path):
        return StoreOutputs(folder)
    assert isinstance(real, Path)
    return FolderOutputs(folder, real)


@dataclass(frozen=True)
class FolderOutputs(Outputs):
    """Outputs in a folder of this machine, or of one that machines share."""

    folder: Path
    real: Path

    def check(self) -> None:
        check_folder(self.folder)

    def existing(self) -> AbstractContextManager[Manifest | None]:
        return Manifest.existing(self.folder)

    def without(self, rows: Rows, recorded: Manifest) -> Iterator[tuple[str, ...]]:
        return without_outputs(rows, self.folder, recorded)

    def check_existing(
        self, rows: Rows, recorded: Manifest | None, *, resume: bool, replace: bool
    ) -> frozenset[str]:
        return check_existing(rows, self.folder, recorded, resume=resume, replace=replace)

    @contextmanager
    def open(self, folders: Iterable[str]) -> Iterator[Manifest]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be created", reason(error)) from error
        if self.folder.resolve() != self.real:
            raise FileError(
                f"{self.folder} has become a symbolic link", "expected a folder", "run again"
            )
        manifest = Manifest(self.folder)
        try:
            owner = manifest.owner()
            self._remove_temporaries(owner, folders)
            try:
                yield manifest
            finally:
                self._remove_temporaries(owner, folders)
        finally:
            manifest.close()

    def _remove_temporaries(self, owner: str, folders: Iterable[str]) -> None:
        for folder in {"", *folders}:
            remove_temporaries(self.real / folder, owner)


@dataclass(frozen=True)
class StoreOutputs(Outputs):
    """Objects in a store; each appears whole, so that there are no temporary ones.

    Workers write them, and the manifest records them afterwards. An output that exists without a
    record, because the process was killed in between, is made again and compared: equal bytes are
    an output that is done, and others are never replaced.
    """

    folder: StorePath

    def check(self) -> None:
        self.folder.check_writable()
        self.folder.check_shared()
        self.folder.kind()

    def existing(self) -> AbstractContextManager[Manifest | None]:
        from convcli.jobs.batch.store_manifest import existing_manifest

        return existing_manifest(self.folder)

    def without(self, rows: Rows, recorded: Manifest) -> Iterator[tuple[str, ...]]:
        start = f"{self.folder}".rstrip("/") + "/"
        for block in rows.blocks():
            inside = {row: row[0][len(start) :] for row in block if row[0].startswith(start)}
            outputs = recorded.find(inside.values())
            yield from (row for row in block if inside.get(row) not in outputs)

    def check_existing(
        self, rows: Rows, recorded: Manifest | None, *, resume: bool, replace: bool
    ) -> frozenset[str]:
        """Raise FileError for an output that is an input, or that exists and is not replaced."""
        start = f"{self.folder / 'x'}"[:-1]
        written = array("q", (hash(start + target) for _, target in rows))
        both = common(array("q", (hash(path) for path, _ in rows)), written)
        if both:
            inputs = {path for path, _ in rows if hash(path) in both}
            for _, target in rows:
                if start + target in inputs:
                    raise FileError(
                        f"{start + target} is an input",
                        "expected an output of its own",
                        "choose --out or --name otherwise",
                    )
        if not (replace or resume):
            self._refuse_existing(rows)
        return frozenset()

    def _refuse_existing(self, rows: Rows) -> None:
        names: dict[str, set[str]] = {}
        count, first = 0, ""
        for _, target in rows:
            folder, _, name = target.rpartition(os.sep)
            if folder not in names:
                listed = (self.folder / folder).entries()
                names[folder] = {entry.name for entry in listed if not entry.is_folder}
            if name in names[folder]:
                count, first = count + 1, first or target
        if count:
            raise refuse_existing(f"{self.folder / first}", count, resume=False)

    def open(self, folders: Iterable[str]) -> AbstractContextManager[Manifest]:
        from convcli.jobs.batch.store_manifest import open_manifest

        return open_manifest(self.folder)
