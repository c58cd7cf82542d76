"""A batch: planned before anything is written, then run; its records come as they finish."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from convcli.errors import FileError, InputError, OutputError, WorkerError, reason
from convcli.io import lookup, remove_temporaries
from convcli.jobs.apply_plan import ApplyRequest
from convcli.jobs.batch.finished import as_finished, in_thread
from convcli.jobs.batch.manifest import Entry, Manifest
from convcli.jobs.batch.naming import (
    Template,
    check_folder,
    check_suffixes,
    check_targets,
    name_all,
)
from convcli.jobs.batch.pool import MAX_AHEAD, Pool
from convcli.jobs.batch.sources import Source
from convcli.jobs.batch.task import (
    UNCHANGED,
    Recipe,
    Record,
    Task,
    done_before,
    process,
    publish_output,
    share_memory,
)
from convcli.limits import threads
from convcli.options import PRODUCT_THREADS

Item = TypeVar("Item")

CALLS_PER_WORKER = 2 * MAX_AHEAD  # calls submitted per worker, so that none waits for its next one


@dataclass(frozen=True)
class Batch:
    """A planned batch: its tasks, their recipe, and the records of inputs that cannot be tried.

    folder: contains the manifest and the outputs. real: the same path without symbolic links.
    """

    folder: Path
    real: Path
    recipe: Recipe
    tasks: tuple[Task, ...]
    failed: tuple[Record, ...]

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

        request: without input and output; its `format` determines every output's suffix, its
        `overwrite` allows to replace files that no batch made. resume: skip outputs that are done,
        and replace those that a batch made by another recipe. Raises FileError for outputs that
        collide, exist, are inputs or have a suffix that is not written; InputError or a subclass
        for an invalid kernel or name.
        """
        check_folder(folder)
        real = folder.resolve()
        recorded = Manifest.of(folder)
        given = list(sources)
        sources = list(_new_sources(given, folder, recorded))
        if given and not sources:
            raise InputError(
                f"all inputs are outputs of an earlier batch in {folder}",
                "expected others",
                "write to another folder, or use --in-place to replace the inputs",
            )
        if not sources:
            raise InputError("nothing to do", "expected at least one input")
        failed = tuple(
            Record("failed", source.path, "", source.trouble)
            for source in sources
            if source.trouble
        )
        sources = [source for source in sources if not source.trouble]
        ext = None if request.writing.format is None else lookup(request.writing.format).suffixes[0]
        targets = name_all(sources, Template(name), ext)
        check_suffixes(folder, sources, targets, request.writing.format)
        existing = check_targets(folder, sources, targets)
        foreign = [target for target in existing if not (resume and target in recorded)]
        if foreign and not request.writing.overwrite:
            raise _exists_error(folder, foreign, resume)
        tasks = tuple(
            Task(
                source.path,
                target,
                str(folder / target),
                real / target,
                replace=request.writing.overwrite or (resume and target in recorded),
                before=recorded.get(target) if resume else None,
            )
            for source, target in zip(sources, targets, strict=True)
        )
        return cls(folder, real, Recipe.of(request), tasks, failed)

    def preview(self, jobs: int, timeout: float | None = None) -> Generator[Record, None, None]:
        """Yield a record of what a run would do for each input, in order, without doing it.

        A file that cannot be read is planned like any other. `jobs` processes check which tasks are
        done already; timeout: seconds for each.
        """
        yield from self.failed
        with self._pool(min(jobs, len(self.tasks)), timeout) as pool:
            for task, done in in_thread(self._check_done(pool, CALLS_PER_WORKER * jobs)):
                if done:
                    yield Record("skipped", task.source, task.target, UNCHANGED)
                else:
                    yield Record("planned", task.source, task.target)

    def _check_done(self, pool: Pool, count: int) -> Iterator[tuple[Task, bool]]:
        """Yield each task and whether it is done; `count` of them are checked ahead."""
        asked = (
            (task, None if task.before is None else pool.submit(done_before, self.recipe, task))
            for task in self.tasks
        )
        for task, look in _ahead(asked, count):
            yield task, look is not None and look.exception() is None and bool(look.result())

    def run(self, jobs: int, timeout: float | None = None) -> Generator[Record, None, None]:
        """Run the tasks in `jobs` processes, and yield each record as its task finishes.

        To stop at once, close the iterator. A task whose worker dies is retried once, alone.
        timeout: seconds for each. When the iterator is closed, by itself or by an exception, no
        worker and no temporary file is left, and the manifest has what was yielded. Raises
        OutputError if the folder cannot be written to, FileError if another batch uses it.
        """
        yield from self.failed
        if not self.tasks:
            return
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
                yield from self._records(manifest, owner, min(jobs, len(self.tasks)), timeout)
            finally:
                self._remove_temporaries(owner)
        finally:
            manifest.close()

    def _records(
        self, manifest: Manifest, owner: str, jobs: int, timeout: float | None
    ) -> Iterator[Record]:
        call = partial(process, share_memory(self.recipe, jobs), owner)
        with self._pool(jobs, timeout) as pool:
            for finished in as_finished(pool, call, self.tasks, CALLS_PER_WORKER * jobs):
                yield from _settle(
                    manifest, [(task, _record_of(task, future)) for task, future in finished]
                )

    def _pool(self, jobs: int, timeout: float | None) -> Pool:
        each = max(1, threads() // max(jobs, 1))
        environment = {
            **os.environ,
            **dict.fromkeys(PRODUCT_THREADS, "1"),
            "CONVCLI_THREADS": str(each),
        }
        return Pool(
            jobs, timeout=timeout, environment=environment, preload="convcli.jobs.batch.task"
        )

    def _remove_temporaries(self, owner: str) -> None:
        for folder in {task.real.parent for task in self.tasks}:
            remove_temporaries(folder, owner)


def _settle(manifest: Manifest, finished: list[tuple[Task, Record]]) -> list[Record]:
    """Record the outputs in one transaction, then publish each; return the final records.

    The digest in an output's entry shows later whether it was published. The entry of one that
    cannot be published becomes what it was before.
    """
    made = {task.target: task.source for task, record in finished if record.temporary is not None}
    before = manifest.find(made)
    entries = {task.target: record.entry for task, record in finished}
    manifest.record((target, made[target], entries[target]) for target in made)
    records = []
    failed = []
    for task, record in finished:
        if record.temporary is not None:
            record = publish_output(task, record)
            if record.status == "failed":
                failed.append((task.target, task.source, before.get(task.target)))
        records.append(record)
    manifest.record(failed)
    return records


def _new_sources(
    sources: Iterable[Source], folder: Path, recorded: dict[str, Entry]
) -> Iterator[Source]:
    """Yield each source once, without the outputs of earlier batches in the folder."""
    root = folder.resolve()
    outputs = {root / target for target in recorded}
    seen = set()
    for source in sources:
        key = (Path(source.path).absolute(), source.relative)
        if key not in seen and (not outputs or Path(source.path).resolve() not in outputs):
            seen.add(key)
            yield source


def _ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """Yield the items in order, and read `count` of them from their iterator ahead."""
    held = deque(islice(items, count))
    while held:
        yield held.popleft()
        held.extend(islice(items, 1))


def _exists_error(folder: Path, targets: list[str], resume: bool) -> FileError:
    if len(targets) == 1:
        found = f"{folder / targets[0]} exists"
    else:
        found = f"{len(targets):,} outputs exist, such as {folder / targets[0]}"
    remedy = (
        "pass --overwrite to replace it"
        if resume
        else "pass --resume to skip what is done, or --overwrite"
    )
    return FileError(found, "no batch made it" if resume else "expected new files", remedy)


def _record_of(task: Task, future: Future[Record]) -> Record:
    try:
        return future.result()
    except (WorkerError, TimeoutError) as error:
        return Record("failed", task.source, task.target, str(error))
