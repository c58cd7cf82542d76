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
from typing import TypeVar

from convcli.errors import FileError, InputError, OutputError, WorkerError, reason
from convcli.io import create_temporary, remove_temporaries
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch.manifest import Entry, Manifest
from convcli.jobs.batch.naming import Template
from convcli.jobs.batch.planning import (
    check_existing,
    check_folder,
    collect,
    name_outputs,
    without_outputs,
)
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
    store,
)
from convcli.jobs.executors import Opener, Probe, Workers, as_finished, in_thread

Item = TypeVar("Item")

_TASK = "convcli.jobs.batch.task"


@dataclass(frozen=True)
class Batch:
    """A planned batch: its inputs and outputs, their recipe, and the records of untried inputs.

    folder: contains the manifest and the outputs. real: the same path without symbolic links. rows:
    each input, and its output relative to the folder. folders: those of the outputs, relative too.
    replace: whether outputs that no batch made may be replaced.
    """

    folder: Path
    real: Path
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
        folder: Path,
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
        check_folder(folder)
        replace, form = request.writing.overwrite, request.writing.format
        with Manifest.existing(folder) as recorded:
            rows, failed = collect(sources)
            some = bool(rows)
            if recorded is not None:
                rows = Rows(without_outputs(rows, folder, recorded))
            if some and not (rows or failed):
                raise InputError(
                    f"all inputs are outputs of an earlier batch in {folder}",
                    "expected others",
                    "write to another folder, or use --in-place to replace the inputs",
                )
            if not (rows or failed):
                raise InputError("nothing to do", "expected at least one input")
            rows = name_outputs(rows, folder, Template(name), form)
            folders = check_existing(rows, folder, recorded, resume=resume, replace=replace)
        real = folder.resolve()
        return cls(folder, real, Recipe.of(request), rows, failed, folders, replace, resume)

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
            Manifest.existing(self.folder) as manifest,
            open_workers(preload=_TASK, most=len(self.rows)) as workers,
        ):
            workers.check_files(self._probes())
            for task, done in in_thread(self._check_done(self.tasks(manifest), workers)):
                if done:
                    yield Record("skipped", task.source, task.target, UNCHANGED)
                else:
                    yield Record("planned", task.source, task.target)

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
            self._remove_temporaries(owner)
            try:
                yield from self._records(manifest, owner, workers)
            except BaseException:
                workers.kill()  # before its temporary files are removed
                raise
            finally:
                self._remove_temporaries(owner)
        finally:
            manifest.close()

    def _records(self, manifest: Manifest, owner: str, workers: Workers) -> Iterator[Record]:
        recipe = self.recipe.within(workers.limits(self.recipe.request.limits))
        call = partial(process, recipe, owner, "")
        if workers.elsewhere:
            path = _store(recipe, self.real, owner)
            workers.check_files((Probe.of(path), *self._probes()))
            call = partial(process_stored, str(path), owner, workers.folder)
        for finished in as_finished(workers, call, self.tasks(manifest), len(self.rows)):
            yield from _settle(
                manifest, [(task, _record_of(task, future)) for task, future in finished]
            )

    def _probes(self) -> tuple[Probe, ...]:
        """Return the beginning of the first input, which all workers must see."""
        for path, _ in islice(self.rows, 1):
            with suppress(OSError, ValueError):
                if Path(path).is_file():
                    return (Probe.of(Path(path).absolute()),)
        return ()

    def _remove_temporaries(self, owner: str) -> None:
        for folder in {"", *self.folders}:
            remove_temporaries(self.real / folder, owner)


def _store(recipe: Recipe, folder: Path, owner: str) -> Path:
    """Write the recipe to a temporary file in the outputs' folder, which all workers must see.

    Sent with each group, a kernel of megabytes would fill a scheduler's memory.
    """
    try:
        path = create_temporary(folder / "recipe", owner)
        store(recipe, path)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to", reason(error)) from error
    return path


def _settle(manifest: Manifest, finished: list[tuple[Task, Record]]) -> list[Record]:
    """Record the outputs in one transaction, then publish each; return the final records.

    The digest in an output's entry shows later whether it was published. The entry of one that
    cannot be published becomes what it was before.
    """
    made = {task.target: task.source for task, record in finished if record.temporary is not None}
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
                failed.append((task.target, task.source, before.get(task.target)))
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
        return Record("failed", task.source, task.target, str(error))
