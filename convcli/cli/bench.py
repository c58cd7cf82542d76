"""`convcli bench`: the methods against each other, and against peers that are installed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.cli.types import SECONDS, SHAPE, Choice, Count
from convcli.errors import CheckError
from convcli.options import MEASURED

if TYPE_CHECKING:
    from convcli.cli.report.bench import Style

EXAMPLES = """\b
Examples:
  convcli bench 4096x4096 -k random:7x7
  convcli bench 2048x2048x3 -k gaussian:sigma=2 --dtype uint8 --padding same
  convcli bench 8x56x56x64 -k random:64x3x3x64 --stride 2 -o bars.png
  convcli bench --overhead
  convcli bench --json
"""
ANY_CASE = ("seed", "runs", "limit")
"""Settings that apply to the standard set too."""


@click.command("bench", cls=Command, epilog=EXAMPLES)
@click.argument("shape", type=SHAPE, required=False)
@click.option(
    "-k",
    "--kernel",
    "reference",
    metavar="K",
    shell_complete=complete.kernels,
    help="Use this kernel, such as random:7x7 or gaussian:sigma=2.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Draw the times as bars into a picture, such as bars.png.",
)
@options.overwrite
@click.option(
    "--dtype",
    type=Choice(MEASURED),
    default="float32",
    help="Set the number type of input and result.",
)
@click.option(
    "--runs", type=Count(1), metavar="N", default=5, help="Time each method this many times."
)
@click.option(
    "--limit",
    type=SECONDS,
    metavar="S",
    default=2.0,
    help="Skip a method or peer that takes longer than this many seconds per run.",
)
@click.option("--seed", type=Count(0), metavar="N", default=0, help="Seed the random numbers.")
@click.option("--overhead", is_flag=True, help="Time small calls: a first one, and a repeated one.")
@click.option(
    "-q", "--quiet", is_flag=True, help="Print the tables only, without settings and legend."
)
@click.option("-v", "--verbose", is_flag=True, help="Show the planner's predictions too.")
@options.columns
@options.stacked(
    *options.GEOMETRY, *options.BORDER, *options.READING, options.max_memory, options.threads
)
@click.pass_context
def command(
    context: click.Context,
    /,
    as_json: bool,
    shape: tuple[int, ...] | None,
    reference: str | None,
    output: str | None,
    overwrite: bool,
    overhead: bool,
    quiet: bool,
    verbose: bool,
    columns: tuple[str, ...] | None,
    **settings: Any,
) -> None:
    """Time the methods against each other and against other libraries.

    SHAPE is filled with random numbers. Without SHAPE and -k, a standard set is measured, or with
    --overhead what a call costs before it computes. scipy,
    OpenCV and torch are timed too if they are installed. For each time, the table shows the rates
    of arithmetic and of memory traffic, and their shares of this machine's rates for a matrix
    product and for a copy. The exit code is 1 if a result is wrong.
    """
    from convcli.bench.run import STANDARD, BenchRequest, run_bench
    from convcli.cli.report.bench import (
        Style,
        bench_json,
        bench_lines,
        check_picture,
        legend_lines,
        save_bars,
    )
    from convcli.cli.report.progress import ProgressBar
    from convcli.cli.report.terminal import echo
    from convcli.cli.report.text import print_json
    from convcli.jobs.requests import from_options
    from convcli.limits import Limits

    if overhead:
        _refuse_what_sets_a_case(context, ("shape", "reference", "output", *settings))
        _measure_overhead(settings, Style(verbose, quiet, columns), as_json)
        return
    options.check_overwrite(
        overwrite, output, "applies to -o FILE; add one, or leave --overwrite out"
    )
    if (shape is None) != (reference is None):
        raise click.UsageError(
            "a bench needs SHAPE and -k KERNEL; give both, or neither for the standard set"
        )
    if output is not None:
        check_picture(output, overwrite=overwrite)
    if shape is None or reference is None:
        _refuse_what_sets_a_case(context, settings)
        own = {name: settings[name] for name in ANY_CASE}
        cases = [
            replace(case, limits=Limits.of(settings["max_memory"]), **own) for case in STANDARD
        ]
    else:
        cases = [from_options(BenchRequest, shape=shape, reference=reference, **settings)]
    results = []
    style = Style(verbose, quiet, columns)
    for case in cases:
        with ProgressBar("bench", shown=not quiet, steady=True) as progress:
            results.append(run_bench(case, progress=progress))
        if not as_json:
            echo(bench_lines(results[-1], progress.seconds, style))
    if not (as_json or quiet):
        echo(legend_lines())
    written = None if output is None else save_bars(results, output, overwrite=overwrite)
    if as_json:
        print_json("bench", bench_json(results, written))
    elif written is not None and not quiet:
        click.echo(f"wrote {written.path} ({written.format}, {written.bytes:,} bytes)", err=True)
    wrong = [name for result in results for name in result.wrong]
    if wrong:
        raise CheckError(
            f"the answer of {', '.join(wrong)} is wrong",
            "it differs from the reference by more than its bound",
            "see the rows marked WRONG",
        )


def _measure_overhead(settings: dict[str, Any], style: Style, as_json: bool) -> None:
    """Print what a first and a repeated call cost."""
    from convcli.bench.overhead import measure_overhead
    from convcli.cli.report.bench import bench_json, overhead_lines
    from convcli.cli.report.progress import ProgressBar
    from convcli.cli.report.terminal import echo
    from convcli.cli.report.text import print_json

    with ProgressBar("bench", shown=not style.quiet, steady=True) as progress:
        measured = measure_overhead(settings["runs"], settings["seed"], progress=progress)
    if as_json:
        print_json("bench", bench_json((), None, measured))
    else:
        echo(overhead_lines(measured, style))


def _refuse_what_sets_a_case(context: click.Context, settings: Iterable[str]) -> None:
    """Refuse options of a single case: the standard set and --overhead have their own."""
    own = "the standard set; give SHAPE and -k"
    if context.params["overhead"]:
        own = "--overhead; leave one out"
    for option in context.command.params:
        given = context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
        if given and option.name in settings and option.name not in (*ANY_CASE, "max_memory"):
            name = "SHAPE" if isinstance(option, click.Argument) else max(option.opts, key=len)
            raise click.UsageError(f"{name} does not apply to {own}")
