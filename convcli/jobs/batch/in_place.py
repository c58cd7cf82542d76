"""A batch in place: each input is replaced by its result.

The manifest is in the folder that contains all inputs. It gets the digest of each result before the
result replaces its input: if a process is killed, the same command with `resume` filters no file
twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path

from convcli.errors import FileError, InputError
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch.manifest import Manifest
from convcli.jobs.batch.planning import RealPaths, collect, once
from convcli.jobs.batch.rows import Rows
from convcli.jobs.batch.run import Batch
from convcli.jobs.batch.sources import Source
from convcli.jobs.batch.task import Recipe
from convcli.stores import is_url, shown


def plan_in_place(
    sources: Iterable[Source], request: ApplyRequest, *, resume: bool = False
) -> Batch:
    """Decide which files are replaced, and write nothing.

    request: without input and output; its `overwrite` allows to filter again files that this recipe
    made. resume: skip these files. Raises FileError for them unless one of the two is set;
    InputError or a subclass for an invalid kernel, and for inputs without a common folder.
    """
    found, failed = collect(sources)
    if not (found or failed):
        raise InputError("nothing to do", "expected at least one input")
    for path, _ in found:
        if is_url(path):
            raise InputError(
                f"{shown(path)} is an object in a store",
                "--in-place replaces files",
                "write to another folder of the store with --out",
            )
    resolve = RealPaths().of
    files = once(((path, resolve(path)) for path, _ in found), itemgetter(1))
    folder = _common_folder(files)
    recipe = Recipe.of(request)
    start = len(os.path.join(folder, ""))  # noqa: PTH118
    rows = Rows((path, real[start:]) for path, real in files)
    replace = request.writing.overwrite
    if not (resume or replace):
        _refuse_repeated(recipe, folder, rows)
    folders = frozenset(target.rpartition(os.sep)[0] for _, target in rows)
    return Batch(folder, folder, recipe, rows, failed, folders, True, resume, in_place=True)


def _common_folder(files: Rows) -> Path:
    folders = {real.rpartition(os.sep)[0] or os.sep for _, real in files}
    try:
        return Path(os.path.commonpath(folders)) if folders else Path.cwd()
    except ValueError as error:  # on Windows, of several drives
        raise InputError(
            "the inputs are on several drives", "expected one", "run a batch for each"
        ) from error


def _refuse_repeated(recipe: Recipe, folder: Path, rows: Rows) -> None:
    """Raise FileError if the recipe was applied to some of the inputs before."""
    count, first = 0, ""
    with Manifest.existing(folder) as recorded:
        if recorded is None:
            return
        for block in rows.blocks():
            entries = recorded.find(target for _, target in block)
            for path, target in block:
                entry = entries.get(target)
                if entry is not None and entry.output and entry.recipe == recipe.digest:
                    count, first = count + 1, first or path
    if count:
        raise FileError(
            f"{count:,} inputs were filtered in place by the same command before, such as {first}",
            "expected new ones",
            "pass --resume to skip them, or --overwrite to filter them again",
        )
