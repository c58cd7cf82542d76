"""A batch: planned before anything is written, then run; its records come as they finish."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from convcli.errors import InputError, OutputError, WorkerError, reason
from convcli.io import create_temporary
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch.manifest import Entry, Manifest
from convcli.jobs.batch.naming import Template
from convcli.jobs.batch.outputs import Outputs, outputs_of
from convcli.jobs.batch.planning import collect, name_outputs
from convcli.jobs.batch.rows import Rows
from convcli.jobs.batch.sources import Source
from convcli.jobs.batch.task import (
    UNCHANGED,
    Recipe,
    Record,
    Task,
    done_before,
    process,
    process_stored,
    publish_output,
    stored,
)
from convcli.jobs.executors import Opener, Probe, Workers, as_finished, in_thread
from convcli.stores import absolute

if TYPE_CHECKING:
    from convcli.stores import StorePath

Item = TypeVar("Item")

_TASK = "convcli.jobs.batch.task"


@dataclass(frozen=True)
class Batch:
    """A planned batch: its inputs and outputs, their recipe, and the records of untried inputs.

    folder: contains the manifest and the outputs. real: the same path without symbolic links. rows:
    each input, and its output relative to the folder. folders: those of the outputs, relative too.
    replace: whether outputs that no batch made may be replaced.
    """

    folder: Path | StorePath
    real: Path | StorePath
    recipe: Recipe
    rows: Rows
    failed: tuple[Record, ...]
    folders: frozenset[str]
    replace: bool
    resume: bool
    in_place: bool = False

    @classmethod
    def plan(
        cls,
        sources: Iterable[Source],
        folder: Path | StorePath,
        request: ApplyRequest,
        *,
        name: str,
        resume: bool = False,
    ) -> Batch:
        """Decide which files will be written, and write nothing.

        It takes some 10 microseconds and 50 bytes per file. request: without input and output; its
        `format` determines every output's suffix, its `overwrite` allows to replace files that no
        batch made. resume: skip outputs that are done, and replace those that a batch made by
        another recipe. Raises FileError for outputs that collide, exist, are inputs or have a
        suffix that is not written; InputError or a subclass for an invalid kernel or name.
        """
        real = absolute(folder)
        outputs = outputs_of(folder, real)
        outputs.check()
        replace, form = request.writing.overwrite, request.writing.format
        with outputs.existing() as recorded:
            rows, failed = collect(sources)
            some = bool(rows)
            if recorded is not None:
                rows = Rows(outputs.without(rows, recorded))
            if some and not (rows or failed):
                raise InputError(
                    f"all inputs are outputs of an earlier batch in {folder}",
                    "expected others",
                    "write to another folder, or use --in-place to replace the inputs",
                )
            if not (rows or failed):
                raise InputError("nothing to do", "expected at least one input")
            rows = name_outputs(rows, folder, Template(name), form)
            folders = outputs.check_existing(rows, recorded, resume=resume, replace=replace)
        return cls(folder, real, Recipe.of(request), rows, failed, folders, replace, resume)

    @property
    def outputs(self) -> Outputs:
        return outputs_of(self.folder, self.real)

    def tasks(self, manifest: Manifest | None = None) -> Iterator[Task]:
        """Yield the tasks; those of a batch that is resumed have their entries in the manifest."""
        shown = str(self.folder / "x")[:-1]
        for block in self.rows.blocks():
            entries: dict[str, Entry] = {}
            if self.resume and manifest is not None:
                entries = manifest.find(target for _, target in block)
            for path, target in block:
                before = entries.get(target)
                yield Task(
                    path,
                    target,
                    path if self.in_place else shown + target,
                    self.real / target,
                    replace=self.replace or before is not None,
                    before=before,
                    in_place=self.in_place,
                )

    def preview(self, open_workers: Opener) -> Generator[Record, None, None]:
        """Yield a record of what a run would do for each input, in order, without doing it.

        A file that cannot be read is planned like any other. Workers check which tasks are done
        already.
        """
        yield from self.failed
        with (
            self.outputs.existing() as manifest,
            open_workers(preload=_TASK, most=len(self.rows)) as workers,
        ):
            workers.check_files(self._probes())
            for task, done in in_thread(self._check_done(self.tasks(manifest), workers)):
                if done:
                    yield Record("skipped", task.name, task.target, UNCHANGED)
                else:
                    yield Record("planned", task.name, task.target)

    def _check_done(self, tasks: Iterator[Task], workers: Workers) -> Iterator[tuple[Task, bool]]:
        """Yield each task and whether it is done; those of a window are checked ahead."""
        call = partial(done_before, self.recipe.digest, workers.folder)
        size = workers.group(len(self.rows))

        def asked() -> Iterator[list[tuple[Task, Future[bool] | None]]]:
            while group := list(islice(tasks, size)):
                known = [task for task in group if task.before is not None]
                looks = iter(workers.submit_each(call, known) if known else ())
                yield [(task, None if task.before is None else next(looks)) for task in group]

        for group in _ahead(asked(), workers.window):
            for task, look in group:
                yield task, look is not None and _is_done(look)

    def run(self, open_workers: Opener) -> Generator[Record, None, None]:
        """Run the tasks in workers, and yield each record as its task finishes.

        To stop at once, close the iterator. A task whose worker dies is retried once, alone. When
        the iterator is closed, by itself or by an exception, no worker and no temporary file is
        left, and the manifest has what was yielded. Raises OutputError if the folder cannot be
        written to, FileError if another batch uses it.
        """
        yield from self.failed
        if self.rows:
            with open_workers(preload=_TASK, most=len(self.rows)) as workers:
                yield from self._run(workers)

    def _run(self, workers: Workers) -> Iterator[Record]:
        with self.outputs.open(self.folders) as manifest:
            try:
                yield from self._records(manifest, manifest.owner(), workers)
            except BaseException:
                workers.kill()  # before its temporary files are removed
                raise

    def _records(self, manifest: Manifest, owner: str, workers: Workers) -> Iterator[Record]:
        recipe = self.recipe.within(workers.limits(self.recipe.request.limits))
        call = partial(process, recipe, owner, "")
        if workers.elsewhere:
            path = _store(recipe, self.real, owner)
            seen = (Probe.of(path),) if isinstance(path, Path) else ()
            workers.check_files((*seen, *self._probes()))
            call = partial(process_stored, str(path), owner, workers.folder)
        try:
            for finished in as_finished(workers, call, self.tasks(manifest), len(self.rows)):
                yield from _settle(
                    manifest, [(task, _record_of(task, future)) for task, future in finished]
                )
        finally:
            if workers.elsewhere and not isinstance(path, Path):
                path.delete()

    def _probes(self) -> tuple[Probe, ...]:
        """Return the beginning of the first input, which all workers must see."""
        for path, _ in islice(self.rows, 1):
            with suppress(OSError, ValueError):
                if Path(path).is_file():
                    return (Probe.of(Path(path).absolute()),)
        return ()


def _store(recipe: Recipe, folder: Path | StorePath, owner: str) -> Path | StorePath:
    """Write the recipe beside the outputs, where all workers must see it; return its path.

    In a folder it is a temporary file of this owner.

    Sent with each group, a kernel of megabytes would fill a scheduler's memory.
    """
    if not isinstance(folder, Path):
        there = folder / f".convcli-{owner}-{recipe.digest[:8]}.recipe"
        there.put(stored(recipe), overwrite=True)
        return there
    try:
        path = create_temporary(folder / "recipe", owner)
        path.write_bytes(stored(recipe))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to", reason(error)) from error
    return path


def _settle(manifest: Manifest, finished: list[tuple[Task, Record]]) -> list[Record]:
    """Record the outputs in one transaction, then publish each; return the final records.

    Those in a store are published already.

    The digest in an output's entry shows later whether it was published. The entry of one that
    cannot be published becomes what it was before.
    """
    made = {task.target: task.name for task, record in finished if record.entry is not None}
    before = manifest.find(task.target for task, _ in finished if task.replace)
    entries = {task.target: record.entry for task, record in finished}
    manifest.record((target, made[target], entries[target]) for target in made)
    records = []
    failed = []
    safe: set[Path] = set()
    for task, record in finished:
        if record.temporary is not None:
            record = publish_output(task, record, safe)
            if record.status == "failed":
                failed.append((task.target, task.name, before.get(task.target)))
        records.append(record)
    manifest.record(failed)
    return records


def _ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """Yield the items in order, and read `count` of them from their iterator ahead."""
    held = deque(islice(items, count))
    while held:
        yield held.popleft()
        held.extend(islice(items, 1))


def _is_done(look: Future[bool]) -> bool:
    try:
        return look.result()
    except (WorkerError, TimeoutError):
        return False


def _record_of(task: Task, future: Future[Record]) -> Record:
    try:
        return future.result()
    except (WorkerError, TimeoutError) as error:
        return Record("failed", task.name, task.target, str(error))
