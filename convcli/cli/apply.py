"""`convcli apply`: one input, one or more kernels, one output."""

from __future__ import annotations

import time
from typing import Any

import click

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.errors import CheckError

EXAMPLES = """\b
Examples:
  convcli apply photo.jpg -k gaussian:sigma=5 --padding same -o soft.jpg
  convcli apply photo.png -k edges --gray --padding same -o edges.png
  convcli apply signal.csv -k "1,0,-1" --op convolve -o - --format csv
  convcli apply photo.png -k sharpen --padding same --dry-run
"""


@click.command("apply", cls=Command, epilog=EXAMPLES)
@click.argument("input", shell_complete=complete.files)
@options.kernels
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=complete.files,
    help="Write the result to FILE, in the format of its suffix; - is stdout.",
)
@options.dry_run
@options.quiet
@options.verbose
@options.overwrite
@click.option(
    "--format",
    metavar="F",
    shell_complete=complete.formats,
    help="Set the format of an output without a suffix, such as -o -.",
)
@options.stacked(*options.FILTERING, options.threads)
def command(as_json: bool, dry_run: bool, quiet: bool, verbose: bool, **settings: Any) -> None:
    """Filter an image, an array or a volume with one or more kernels.

    INPUT is a file; - is stdin. On an image, a KHxKW kernel filters each channel independently,
    KHxKWxC sums over the channels, and OxKHxKWxC computes O channels. A short report shows sizes,
    time and clipping; -v adds the arithmetic, the method and the reason for it.
    """
    from convcli.cli.report import apply
    from convcli.cli.report.progress import ProgressBar
    from convcli.cli.report.text import print_hint, print_json, print_warnings
    from convcli.jobs.apply import plan_apply, run_apply
    from convcli.jobs.apply_plan import ApplyRequest
    from convcli.jobs.requests import ReadOptions, from_options
    from convcli.jobs.warnings import dropped_warnings

    began = time.perf_counter()
    options.check_stdout(as_json, settings["output"], "write the result to a file")
    for option in ("format", "overwrite", "compress_level", "quality", "strip"):
        if (
            settings["output"] is None
            and settings[option] is not None
            and settings[option] is not False
        ):
            raise click.UsageError(
                f"--{option.replace('_', '-')} belongs to an output; add -o FILE"
            )
    plan = plan_apply(from_options(ApplyRequest, **settings))
    if "raw" not in (plan.data.format, plan.format):
        for option in ("raw_shape", "raw_dtype", "raw_order", "raw_offset"):
            if settings[option] != getattr(ReadOptions, option):
                raise click.UsageError(
                    f"--{option.replace('_', '-')} is for raw files; name a .raw, or leave it out"
                )
    if dry_run:
        lines = apply.plan_lines(plan)
        record = apply.plan_json(plan)
        warnings = plan.warnings
        verified = True
    else:
        with ProgressBar("apply", shown=not quiet) as progress:
            result = run_apply(plan, progress)
        seconds = time.perf_counter() - began
        lines = (apply.result_lines if verbose else apply.short_lines)(result, seconds)
        record = apply.result_json(result, seconds)
        warnings = result.warnings
        verified = result.verified
    warnings = (*warnings, *dropped_warnings(plan.dropped))
    print_warnings(warnings)
    if as_json:
        print_json("apply", record, warnings)
    elif not quiet:
        click.echo("\n".join(lines), err=settings["output"] is not None and not dry_run)
        print_hint(apply.hint(plan))
    if not verified:
        raise CheckError(
            "outputs differ from the definition by more than their bound",
            "nothing was written",
            "use --method direct, and please report this input",
        )
