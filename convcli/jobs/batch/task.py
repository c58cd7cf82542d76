"""One file of a batch in a worker: skip it if it is done, else process it; return a record."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from convcli import __version__, io
from convcli.errors import CheckError, ConvError, FileError, InputError, OutputError, reason
from convcli.io.formats import by_suffix, lookup
from convcli.jobs.apply import plan_apply, run_apply
from convcli.jobs.apply_plan import ApplyPlan, ApplyRequest, expand
from convcli.jobs.batch.digests import file_digest, read_once
from convcli.jobs.batch.manifest import Entry
from convcli.jobs.executors.workers import PROBE_BYTES
from convcli.jobs.operands import VOLUME
from convcli.jobs.requests import flat_options
from convcli.kernels import Kernel, fewest_axes, kernel
from convcli.kernels.measures import has_units
from convcli.limits import Limits
from convcli.shapes.geometry import Geometry
from convcli.stores import is_url, location, shown

if TYPE_CHECKING:
    from convcli.stores import StorePath

NEUTRAL = frozenset({"input", "output", "kernels", "overwrite", "verify", "limits"})
"""Fields left out of the digest: options that do not affect an output's values, and `kernels`,
whose taps are added to it instead."""


ADDED: dict[str, object] = {"gray": False, "background": None, "spacing": None}
"""Options that are newer than the digest, which they do not change at these values."""


@dataclass(frozen=True)
class Recipe:
    """A request for many inputs, and the SHA-256 of all else that its results depend on."""

    request: ApplyRequest
    digest: str

    @classmethod
    def of(cls, request: ApplyRequest) -> Recipe:
        """Resolve the request's kernels, once for all inputs if they do not depend on the input.

        A kernel from a file is read now, and later changes of the file do not matter; a named
        kernel that exists in any number of dimensions stays a name. Raises KernelError or another
        InputError for an invalid kernel.

        >>> request = ApplyRequest(input="", kernels=("1,0,-1", "gaussian:sigma=2"))
        >>> Recipe.of(request).request.kernels
        (Kernel('1,0,-1', shape=(3,), rank=1), 'gaussian:sigma=2')
        >>> Recipe.of(request).digest == Recipe.of(replace(request, linear=True)).digest
        False
        """
        request = expand(request)
        resolved = [_resolve(given, request.geometry.dims) for given in request.kernels]
        options = flat_options(request).items()
        settings = {
            name: value
            for name, value in options
            if name not in NEUTRAL and (name, value) not in ADDED.items()
        }
        content = {
            "version": __version__,
            "kernels": [each.content for each in resolved],
            **settings,
            **_border_settings(request.geometry),
        }
        text = json.dumps(content, sort_keys=True, default=repr)
        kernels = tuple(each.kernel for each in resolved)
        return cls(replace(request, kernels=kernels), hashlib.sha256(text.encode()).hexdigest())

    def within(self, limits: Limits) -> Recipe:
        """Return the same recipe with other limits, which do not affect its results."""
        return replace(self, request=replace(self.request, limits=limits))


def _border_settings(geometry: Geometry) -> dict[str, object]:
    """Return the settings that identify the border of arrays, and of pictures if they differ."""
    chosen = geometry.border(picture=False)
    settings: dict[str, object] = chosen._asdict()
    if chosen.padding != "valid" and chosen.boundary == "constant" and geometry.cval is None:
        settings["picture"] = geometry.border(picture=True)
    return settings


class _Resolved(NamedTuple):
    """A kernel of a recipe, or its name if it depends on the input, and what identifies it."""

    kernel: str | Kernel
    content: Sequence[object]


def _resolve(given: str | Kernel, dims: int | None) -> _Resolved:
    if isinstance(given, str) and has_units(given):
        return _Resolved(given, [given])
    whole = kernel(given, dims=dims)
    by_name = isinstance(given, str) and fewest_axes(given) is not None
    taps = hashlib.sha256(whole.taps.tobytes()).hexdigest()
    content = [whole.shape, taps, whole.name if by_name else ""]
    return _Resolved(given if by_name else whole, content)


Status = Literal["done", "skipped", "failed", "planned"]

UNCHANGED = "done before, and unchanged"


@dataclass(frozen=True)
class Task:
    """One input and its output.

    target: the output's path relative to the batch's folder. path: the same in messages. real: the
    path that is opened, without symbolic links, or that of an object. before: its entry in the
    manifest of a batch that is resumed. in_place: whether the output replaces the input.
    """

    source: str
    target: str
    path: str
    real: Path | StorePath
    replace: bool = False
    before: Entry | None = None
    in_place: bool = False

    @property
    def name(self) -> str:
        """The source in messages: a URL without credentials."""
        return shown(self.source)

    def within(self, folder: str) -> Task:
        """Return the task with its relative paths joined to a folder; "" leaves them."""
        source, path = (
            name if is_url(name) else os.path.join(folder, name)  # noqa: PTH118
            for name in (self.source, self.path)
        )
        return replace(self, source=source, path=path)

    def shown(self, text: str, folder: str) -> str:
        """Return a message about a task within a folder, with the paths as this task has them."""
        for name in (self.source, self.path, os.path.dirname(self.path)):  # noqa: PTH120
            text = text.replace(os.path.join(folder, name), name) if folder and name else text  # noqa: PTH118
        return text


@dataclass(frozen=True)
class Record:
    """The result for one input, with the reason of a failure, and warnings.

    For an output that was written it has the shape, type, bytes, clipped values and the metadata
    that was dropped. temporary: the file with the output's bytes, for `publish_output`. smaller:
    whether a picture became smaller without --stride or --padding.
    """

    status: Status
    source: str
    target: str
    reason: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    bytes: int = 0
    values: int = 0
    clipped: int = 0
    dropped: tuple[str, ...] = ()
    smaller: bool = False
    warnings: tuple[str, ...] = ()
    entry: Entry | None = None
    temporary: Path | None = None


def process(recipe: Recipe, owner: str, folder: str, task: Task) -> Record:
    """Process one task into a temporary file of this owner; a failed one has a reason.

    folder: the one that relative paths begin in, "" for the working folder. The record has the
    paths as the task has them.
    """
    there = task.within(folder)
    try:
        with read_once(there.source):
            digest = file_digest(there.source)
            if unchanged(there, recipe.digest, digest):
                return Record("skipped", task.name, task.target, UNCHANGED)
            record = _process(recipe, owner, there, digest)
    except ConvError as error:
        reason = str(error)
    except MemoryError:
        reason = "not enough memory for this input; use fewer --jobs"
    except Exception as error:
        reason = f"{type(error).__name__}: {error}; this is a fault of convcli's own; report it"
    else:
        warnings = tuple(task.shown(warning, folder) for warning in record.warnings)
        return replace(record, source=task.name, warnings=warnings)
    return Record("failed", task.name, task.target, task.shown(reason, folder))


def process_stored(path: str, owner: str, folder: str, task: Task) -> Record:
    """Process one task by the recipe that a file has; see `process`."""
    return process(_load(path), owner, folder, task)


def stored(recipe: Recipe) -> bytes:
    """Return the content of a recipe's file, after bytes that no other file begins with."""
    return secrets.token_bytes(PROBE_BYTES) + pickle.dumps(recipe)


@lru_cache(1)
def _load(path: str) -> Recipe:
    with location(path).open("rb") as stream:
        recipe: Recipe = pickle.loads(stream.read()[PROBE_BYTES:])
    return recipe


def unchanged(task: Task, recipe: str, digest: str) -> bool:
    """Return whether the output is unchanged and was made from this input by this recipe.

    recipe, digest: the digests of the recipe and of the input.
    """
    before = task.before
    if before is None or before.recipe != recipe:
        return False
    if task.in_place:
        return digest == before.output
    if before.input != digest:
        return False
    try:
        return file_digest(task.path) == before.output
    except InputError:
        return False


def done_before(recipe: str, folder: str, task: Task) -> bool:
    """Return whether a task is done; an input that cannot be read is not.

    recipe: its digest. folder: see `process`.
    """
    there = task.within(folder)
    try:
        return unchanged(there, recipe, file_digest(there.source))
    except InputError:
        return False


def publish_output(task: Task, record: Record, safe: set[Path]) -> Record:
    """Rename the temporary file of a record to its task's output, and return the final record.

    safe: folders that were checked a moment ago.
    """
    temporary = record.temporary
    assert temporary is not None
    assert isinstance(task.real, Path)
    try:
        check_folder_of(task, safe)
        warnings = io.publish(temporary, task.real, task.path, overwrite=task.replace)
    except OSError as error:
        return Record(
            "failed", task.name, task.target, f"{task.path} cannot be written; {reason(error)}"
        )
    except ConvError as error:
        return Record("failed", task.name, task.target, str(error))
    return replace(record, warnings=record.warnings + warnings, temporary=None)


def check_folder_of(task: Task, safe: set[Path]) -> None:
    """Raise FileError if a symbolic link has since been put on the path to an output.

    The folder is added to `safe`, and not checked if it is there.
    """
    assert isinstance(task.real, Path)
    folder = task.real.parent
    if folder not in safe and os.path.realpath(folder) == str(folder):
        safe.add(folder)
    if folder not in safe or task.real.is_symlink():
        raise FileError(
            f"{task.path} is a symbolic link or reached through one",
            "expected a folder",
            "remove it",
        )


def _process(recipe: Recipe, owner: str, task: Task, digest: str) -> Record:
    in_store = not isinstance(task.real, Path)
    if not in_store:
        _make_folder(task)
    # What exists in a store is compared with the result.
    writing = replace(recipe.request.writing, overwrite=task.replace or in_store)
    request = replace(recipe.request, input=task.source, output=task.path, writing=writing)
    plan = plan_apply(_keep_frames(request) if task.in_place else request)
    if task.in_place:
        _check_kept(plan)
    if file_digest(task.source) != digest:
        raise InputError(f"{task.name} changed while it was read", "", "run again with --resume")
    if not isinstance(task.real, Path):
        return _run_into_store(task.real, plan, recipe, task, digest)
    try:
        temporary = io.create_temporary(task.real, owner)
    except OSError as error:
        raise OutputError(f"{task.path} cannot be written", reason(error)) from error
    try:
        return _run_into(temporary, plan, recipe, task, digest)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _make_folder(task: Task) -> None:
    assert isinstance(task.real, Path)
    try:
        task.real.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{Path(task.path).parent} cannot be created", reason(error)) from error
    check_folder_of(task, set())


def _run_into_store(
    target: StorePath, plan: ApplyPlan, recipe: Recipe, task: Task, digest: str
) -> Record:
    """Run a plan, upload the output, and return its record.

    Raises FileError if there is an object of that name with other bytes, which stays. One with the
    same bytes was written by a try before, whose record was lost with its process.
    """
    with tempfile.TemporaryDirectory(prefix="convcli-") as folder:
        temporary = Path(folder, "output").with_suffix(target.suffix)
        temporary.touch()
        record = _run_into(temporary, plan, recipe, task, digest)
        try:
            target.put(temporary, overwrite=task.replace)
        except FileExistsError:
            if record.entry is None or file_digest(task.path) != record.entry.output:
                raise FileError(
                    f"{task.path} exists", "no batch made it", "pass --overwrite to replace it"
                ) from None
    return replace(record, temporary=None)


def _keep_frames(request: ApplyRequest) -> ApplyRequest:
    """Return a request that reads all frames of a picture, unless its pages are a volume."""
    form = by_suffix(request.input)
    if form is None or form.kind != "image" or request.geometry.dims == VOLUME:
        return request
    return replace(request, reading=replace(request.reading, frames="all"))


def _check_kept(plan: ApplyPlan) -> None:
    """Raise InputError if replacing the input would change its format or lose a part of it."""
    data, target = plan.data, plan.target
    assert target is not None
    found = lookup(data.format)
    if data.kind == "image" and found.pillow != target.form.pillow:
        given = f"{data.name} is named as {target.form.name} and holds {data.format}"
        raise InputError(
            given,
            "in place keeps the format of the name",
            "rename it, or write to a folder with --out",
        )
    if data.format == "npz":
        remedy = "write to a folder with --out"
        raise InputError(
            f"{data.name} is an archive", "in place its array would lose its name", remedy
        )


def _run_into(temporary: Path, plan: ApplyPlan, recipe: Recipe, task: Task, digest: str) -> Record:
    """Run a plan into a temporary file, and return the record of the unpublished output."""
    assert plan.target is not None
    result = run_apply(replace(plan, target=replace(plan.target, temporary=temporary)))
    if result.written is None:
        raise CheckError(
            "outputs differ from the definition by more than their bound", "nothing was written"
        )
    return Record(
        "done",
        task.name,
        task.target,
        shape=plan.output_shape,
        dtype=plan.dtype.name,
        bytes=result.written.bytes,
        values=result.ledger.total,
        clipped=result.ledger.below + result.ledger.above,
        dropped=(*plan.dropped, *result.written.dropped),
        smaller=plan.shrinks,
        warnings=result.warnings,
        entry=Entry(digest, recipe.digest, file_digest(str(temporary))),
        temporary=temporary,
    )
