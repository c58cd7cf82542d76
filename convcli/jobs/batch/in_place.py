"""A batch in place: each input is replaced by its result.

The manifest is in the folder that contains all inputs. It gets the digest of each result before the
result replaces its input: if a process is killed, the same command with `resume` filters no file
twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from convcli.errors import FileError, InputError
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch.manifest import Entry, Manifest
from convcli.jobs.batch.run import Batch
from convcli.jobs.batch.sources import Source
from convcli.jobs.batch.task import Recipe, Record, Task


def plan_in_place(
    sources: Iterable[Source], request: ApplyRequest, *, resume: bool = False
) -> Batch:
    """Decide which files are replaced, and write nothing.

    request: without input and output; its `overwrite` allows to filter again files that this recipe
    made. resume: skip these files. Raises FileError for them unless one of the two is set;
    InputError or a subclass for an invalid kernel, and for inputs without a common folder.
    """
    sources = list(sources)
    if not sources:
        raise InputError("nothing to do", "expected at least one input")
    failed = tuple(
        Record("failed", source.path, "", source.trouble) for source in sources if source.trouble
    )
    paths: dict[Path, Source] = {}
    for source in sources:
        if not source.trouble:
            paths.setdefault(Path(os.path.realpath(source.path)), source)
    folder = _common_folder(paths)
    recorded = Manifest.of(folder)
    recipe = Recipe.of(request)
    targets = {real: os.path.relpath(real, folder) for real in paths}
    if not (resume or request.writing.overwrite):
        _refuse_repeated(
            recipe, recorded, [(paths[real].path, target) for real, target in targets.items()]
        )
    tasks = tuple(
        Task(
            source.path,
            targets[real],
            source.path,
            real,
            replace=True,
            before=recorded.get(targets[real]) if resume else None,
            in_place=True,
        )
        for real, source in paths.items()
    )
    return Batch(folder, folder, recipe, tasks, failed)


def _common_folder(paths: Iterable[Path]) -> Path:
    folders = [str(path.parent) for path in paths]
    try:
        return Path(os.path.commonpath(folders)) if folders else Path.cwd()
    except ValueError as error:  # on Windows, of several drives
        raise InputError(
            "the inputs are on several drives", "expected one", "run a batch for each"
        ) from error


def _refuse_repeated(
    recipe: Recipe, recorded: dict[str, Entry], named: list[tuple[str, str]]
) -> None:
    """Raise FileError if the recipe was applied to some of the inputs before."""
    repeated = [
        path
        for path, target in named
        if (entry := recorded.get(target)) is not None
        and entry.output
        and entry.recipe == recipe.digest
    ]
    if repeated:
        count = len(repeated)
        first = repeated[0]
        raise FileError(
            f"{count:,} inputs were filtered in place by the same command before, such as {first}",
            "expected new ones",
            "pass --resume to skip them, or --overwrite to filter them again",
        )
