"""`convcli apply`: one input, one or more kernels, one output."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.errors import CheckError

if TYPE_CHECKING:
    from convcli.io import OutputTarget, Written
    from convcli.jobs.apply import ApplyResult
    from convcli.jobs.apply_plan import ApplyPlan

EXAMPLES = """\b
Examples:
  convcli apply photo.jpg -k gaussian:sigma=5 --padding same -o soft.jpg
  convcli apply photo.png -k edges --gray --padding same -o edges.png
  convcli apply signal.csv -k "1,0,-1" --op convolve -o - --format csv
  convcli apply photo.png -k sharpen --padding same --dry-run
  convcli apply photo.png -k sobel-x --dtype float32 --show
  convcli apply brain.zarr -k gaussian:sigma=2 --dims 3 -o soft.zarr
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
@click.option(
    "--show", is_flag=True, help="Draw input and output in the terminal, as pictures or as lines."
)
@click.option(
    "--plot",
    metavar="FILE",
    shell_complete=complete.files,
    help="Draw input and output to a picture file, such as compare.png.",
)
@options.stacked(*options.FILTERING, *options.REGIONS, options.threads)
def command(
    as_json: bool,
    dry_run: bool,
    quiet: bool,
    verbose: bool,
    show: bool,
    plot: str | None,
    **settings: Any,
) -> None:
    """Filter an image, an array or a volume with one or more kernels.

    INPUT is a file; - is stdin. On an image, a KHxKW kernel filters each channel independently,
    KHxKWxC sums over the channels, and OxKHxKWxC computes O channels. A short report shows sizes,
    time and clipping; -v adds the arithmetic, the method and the reason for it. An output named
    .zarr is computed block by block, so that arrays may be larger than the memory.
    """
    from convcli.cli.apply_regions import REGIONS, run, writes_store
    from convcli.cli.report.progress import ProgressBar
    from convcli.jobs.apply import plan_apply, run_apply
    from convcli.jobs.apply_plan import ApplyRequest
    from convcli.jobs.requests import from_options

    began = time.perf_counter()
    output = settings["output"]
    options.check_stdout(as_json, output, "write the result to a file")
    _check_output_options(settings, plot)
    chosen = {name: settings.pop(name) for name in REGIONS}
    scheduler = settings.pop("scheduler")
    if writes_store(output, settings["format"]):
        _check_drawn(show, plot)
        run(settings, chosen, scheduler, dry_run=dry_run, quiet=quiet, as_json=as_json)
        return
    _check_regions({**chosen, "scheduler": scheduler})
    # Pictures go where the report goes: to stderr if stdout has the result or the object.
    err = as_json or output is not None
    figure = _check_drawing(show, plot, dry_run, err, settings)
    plan = plan_apply(from_options(ApplyRequest, **settings))
    _check_raw_options(plan, settings)
    if dry_run:
        _print_plan(plan, as_json, quiet)
        return
    with ProgressBar("apply", shown=not quiet) as progress:
        result = run_apply(plan, progress)
    seconds = time.perf_counter() - began
    plotted = _plot(result, figure) if figure and result.verified else None
    _print_result(result, plotted, seconds, as_json, quiet, verbose)
    if not result.verified:
        raise CheckError(
            "outputs differ from the definition by more than their bound",
            "nothing was written",
            "use --method direct, and please report this input",
        )
    if show:
        from convcli.cli.report.comparison import print_comparison

        print_comparison(result, err=err)


def _print_plan(plan: ApplyPlan, as_json: bool, quiet: bool) -> None:
    from convcli.cli.report import apply
    from convcli.cli.report.text import print_hint, print_json, print_warnings
    from convcli.jobs.warnings import dropped_warnings

    warnings = (*plan.warnings, *dropped_warnings(plan.dropped))
    print_warnings(warnings)
    if as_json:
        print_json("apply", apply.plan_json(plan), warnings)
    elif not quiet:
        click.echo("\n".join(apply.plan_lines(plan)))
        print_hint(apply.hint(plan))


def _print_result(
    result: ApplyResult,
    plotted: Written | None,
    seconds: float,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    from convcli.cli.report import apply
    from convcli.cli.report.text import print_hint, print_json, print_warnings, print_written
    from convcli.jobs.warnings import dropped_warnings

    warnings = (*result.warnings, *(plotted.warnings if plotted else ()))
    warnings = (*warnings, *dropped_warnings(result.plan.dropped))
    print_warnings(warnings)
    if as_json:
        print_json("apply", apply.result_json(result, seconds, plotted), warnings)
    elif not quiet:
        lines = (apply.result_lines if verbose else apply.short_lines)(result, seconds)
        click.echo("\n".join(lines), err=result.plan.request.output is not None)
        print_written(plotted)
        print_hint(apply.hint(result.plan))


def _check_output_options(settings: dict[str, Any], plot: str | None) -> None:
    """Raise UsageError for options of an output that is not written."""
    for option in ("format", "overwrite", "compress_level", "quality", "strip"):
        used = settings["output"] is not None or (option == "overwrite" and plot is not None)
        if not used and settings[option] is not None and settings[option] is not False:
            name = f"--{option.replace('_', '-')}"
            raise click.UsageError(f"{name} belongs to an output; add -o FILE")


def _check_regions(given: dict[str, Any]) -> None:
    """Raise UsageError for options of a zarr output if there is none."""
    for option, value in given.items():
        if value and not (option == "scheduler" and _from_environment(option)):
            raise click.UsageError(f"--{option} belongs to a zarr output; use -o FILE.zarr")


def _from_environment(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source == click.core.ParameterSource.ENVIRONMENT


def _check_drawn(show: bool, plot: str | None) -> None:
    """Raise UsageError for drawings of a zarr output, which is never in memory as a whole."""
    if show or plot is not None:
        name = "--show" if show else "--plot"
        raise click.UsageError(
            f"{name} draws a result in memory, and a zarr output is written in parts; leave it out"
        )


def _check_raw_options(plan: ApplyPlan, settings: dict[str, Any]) -> None:
    """Raise UsageError for options of raw files if neither input nor output is one."""
    from convcli.jobs.requests import ReadOptions

    if "raw" in (plan.data.format, plan.format):
        return
    for option in ("raw_shape", "raw_dtype", "raw_order", "raw_offset"):
        if settings[option] != getattr(ReadOptions, option):
            name = f"--{option.replace('_', '-')}"
            raise click.UsageError(f"{name} is for raw files; name a .raw, or leave it out")


def _check_drawing(
    show: bool, plot: str | None, dry_run: bool, err: bool, settings: dict[str, Any]
) -> OutputTarget | None:
    """Return the file of --plot; raise an error if --show has no terminal."""
    from convcli.cli.report.terminal import is_terminal

    if dry_run and (show or plot is not None):
        name = "--show" if show else "--plot"
        raise click.UsageError(f"{name} draws a result, and --dry-run has none; leave one out")
    if show and not is_terminal(sys.stderr if err else sys.stdout):
        stream = "standard error" if err else "standard output"
        raise click.UsageError(
            f"--show draws in a terminal, and {stream} is none; use --plot FILE for a picture file"
        )
    if plot is None:
        return None
    from convcli.learn.figures import check_figure

    others = (settings["input"], settings["output"])
    return check_figure(plot, overwrite=settings["overwrite"], others=others)


def _plot(result: ApplyResult, target: OutputTarget) -> Written:
    from convcli.learn.figures.comparison import comparison_figure
    from convcli.learn.figures.panels import panels

    return target.write(comparison_figure(*panels(result)))
