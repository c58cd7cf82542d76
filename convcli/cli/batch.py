"""`convcli batch`: many inputs, the same kernels, one folder of outputs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.cli.types import FOLDER, SECONDS, Count
from convcli.errors import BatchError
from convcli.system import STOP_SIGNALS, exit_code

if TYPE_CHECKING:
    from convcli.stores import StorePath

EXAMPLES = """\b
Examples:
  convcli batch photos -k sharpen --padding same --out sharp
  convcli batch photos -r -k blur --padding same --format png --out soft
  convcli batch "scans/*.tif" -k box --padding same --out scans2 --resume
  find . -name "*.jpg" | convcli batch --files-from - -k blur --out small
"""


@click.command("batch", cls=Command, epilog=EXAMPLES)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...", shell_complete=complete.files)
@options.kernels
@click.option(
    "-o",
    "--out",
    "--output",
    "out",
    type=FOLDER,
    metavar="DIR",
    help="Write the outputs into this folder.",
)
@click.option("--in-place", is_flag=True, help="Replace each input by its result, in its format.")
@click.option(
    "--name",
    metavar="TEMPLATE",
    help="Name outputs by a template of {stem}, {ext}, {name}, {parent} and {index}. "
    "[default: {stem}{ext}]",
)
@click.option("-r", "--recursive", is_flag=True, help="Include the files in sub-folders.")
@click.option("--follow-links", is_flag=True, help="Follow symbolic links.")
@click.option(
    "--files-from",
    metavar="FILE",
    help="Read the names of inputs from FILE, one per line; - is stdin.",
)
@click.option(
    "-0", "--null", is_flag=True, help="Split the names in --files-from at NUL characters."
)
@click.option(
    "--resume",
    is_flag=True,
    help="Skip inputs that an earlier run finished and that have not changed.",
)
@options.overwrite
@click.option(
    "-j",
    "--jobs",
    type=Count(1),
    metavar="N",
    help="Use this many worker processes. [default: one per thread]",
)
@options.scheduler
@click.option(
    "--timeout", type=SECONDS, metavar="S", help="Stop processing a file after this many seconds."
)
@options.dry_run
@click.option("-q", "--quiet", is_flag=True, help="Hide the progress.")
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each input when it is done.")
@click.option(
    "--format",
    metavar="F",
    shell_complete=complete.formats,
    help="Write this format; {ext} becomes its suffix.",
)
@options.stacked(
    *options.FILTERING,
    options.threads,
    prints="one line of JSON per input and one for the batch",
)
def command(
    inputs: tuple[str, ...],
    out: Path | StorePath | None,
    in_place: bool,
    name: str | None,
    resume: bool,
    jobs: int | None,
    scheduler: str | None,
    timeout: float | None,
    dry_run: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    recursive: bool,
    follow_links: bool,
    files_from: str | None,
    null: bool,
    **settings: Any,
) -> None:
    """Filter many files in parallel.

    INPUT is a file, a folder or a quoted pattern. The options of apply work here too. If a file
    fails, it is reported, the others are processed, and the exit code is 3. After an interruption,
    --resume continues. --in-place replaces each input by its result, in one step.
    """
    from convcli.cli.report.batch import Progress, Summary, record_json, record_line
    from convcli.cli.report.terminal import echo
    from convcli.cli.report.text import print_hint, print_json
    from convcli.jobs.apply_plan import ApplyRequest
    from convcli.jobs.batch import Batch, Search, listed, plan_in_place
    from convcli.jobs.executors import Workers, open_executor
    from convcli.jobs.requests import from_options
    from convcli.stores import absolute

    if null and files_from is None:
        raise click.UsageError("--null applies to a list of names; add --files-from FILE")
    if not inputs and files_from is None:
        raise click.UsageError(
            "no input; expected files, folders or quoted patterns, or --files-from FILE"
        )
    _check_destination(
        out, in_place, {"--name": name, "--format": settings["format"]}, settings["frames"]
    )
    search = Search(
        recursive,
        follow_links,
        every=settings["input_format"] is not None,
        exclude="" if out is None else str(absolute(out)),
        bare=settings["raw_shape"] is not None,
    )
    named = () if files_from is None else listed(files_from, null=null)
    sources = chain(search.find(inputs), named)
    request = from_options(ApplyRequest, input="", **settings)
    if out is None:
        batch = plan_in_place(sources, request, resume=resume)
    else:
        batch = Batch.plan(sources, out, request, name=name or "{stem}{ext}", resume=resume)
    summary = Summary(out, search.passed_over, dry_run=dry_run)
    shown = not (
        quiet or verbose or dry_run or (as_json and sys.stdout is not None and sys.stdout.isatty())
    )
    total = len(batch.rows) + len(batch.failed)
    progress = Progress(total, shown=shown)

    def open_workers(**needs: Any) -> Workers:
        workers = open_executor(scheduler, jobs, timeout=timeout, **needs)
        progress.workers = summary.workers = workers
        return workers

    records = (batch.preview if dry_run else batch.run)(open_workers)
    try:
        with _first_signal(), closing(records), progress:
            for record in records:
                summary.add(record)
                progress.advance(record)
                if as_json:
                    print_json("batch", record_json(record), record.warnings)
                elif verbose or record.status == "planned":
                    click.echo(record_line(record))
    except (KeyboardInterrupt, SystemExit) as stopped:
        if dry_run:
            raise
        click.echo(summary.stopped(total), err=True)
        code = stopped.code if isinstance(stopped, SystemExit) else exit_code(signal.SIGINT)
        raise SystemExit(code) from None
    if as_json:
        print_json("batch summary", summary.json())
    else:
        echo(summary.lines())
        print_hint("" if quiet else summary.hint)
    if failed := summary.counts["failed"]:
        raise BatchError(
            f"{failed:,} of {summary.total:,} inputs failed", "", "correct them, and add --resume"
        )


def _check_destination(
    out: Path | StorePath | None, in_place: bool, names: dict[str, str | None], frames: str | int
) -> None:
    """Raise UsageError unless there is exactly one of --out and --in-place.

    With --in-place, options that change an input's name, format or frames are refused too.
    """
    if out is None and not in_place:
        raise click.UsageError(
            "no folder for the outputs; add --out DIR, or --in-place to replace the inputs"
        )
    if not in_place:
        return
    if out is not None:
        raise click.UsageError(
            "--out writes to a folder and --in-place replaces the inputs; leave one of them out"
        )
    for option, value in names.items():
        if value is not None:
            raise click.UsageError(
                f"--in-place keeps an input's name and format; leave {option} out, or use --out DIR"
            )
    if frames not in ("first", "all"):
        raise click.UsageError(
            "--in-place keeps all frames of an input; leave --frames out, or use --out DIR"
        )


@contextmanager
def _first_signal() -> Iterator[None]:
    """Let the first signal stop the batch, and ignore later ones while it cleans up."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *STOP_SIGNALS)}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}

    def stop(number: int, frame: FrameType | None) -> None:
        for each in handlers:
            signal.signal(each, signal.SIG_IGN)
        handlers[signal.Signals(number)](number, frame)

    try:
        for number in handlers:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
