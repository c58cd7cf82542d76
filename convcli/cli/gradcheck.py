"""`convcli gradcheck`: analytic gradients beside numeric ones, and beside themselves."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.cli.types import Choice, Count
from convcli.errors import CheckError

EXAMPLES = """\b
Examples:
  convcli gradcheck 8x8x3 -k random:4x3x3x3
  convcli gradcheck 16x16 -k sobel-x --padding same --boundary reflect
  convcli gradcheck 6x6x2 -k random:3x3x3x2 --eps-sweep
  convcli gradcheck photo.png -k random:2x3x3x3 --samples 200 --dump proof.npz
  convcli gradcheck 6x6 -k box --break dw
"""


@click.command("gradcheck", cls=Command, epilog=EXAMPLES)
@click.argument("input", metavar="INPUT-OR-SHAPE", shell_complete=complete.files)
@options.kernel
@options.op
@click.option(
    "--eps",
    type=float,
    help="Set the step of the central difference. [default: 1, or what large values need]",
)
@click.option(
    "--eps-sweep",
    "sweep",
    is_flag=True,
    help="Try many steps, and show how the error depends on them.",
)
@click.option(
    "--samples",
    type=Count(1),
    metavar="N",
    help="Check this many entries of each tensor. [default: 2,000]",
)
@click.option(
    "--seed",
    type=Count(0),
    metavar="N",
    default=0,
    help="Seed the random input, the upstream gradient and the choice of entries.",
)
@click.option(
    "--break",
    "broken",
    type=Choice(("dx", "dw", "db")),
    help="Corrupt one entry of a gradient on purpose, to see it detected.",
)
@click.option(
    "--dump", metavar="FILE", help="Write the report and all arrays to a .npz or .json file."
)
@options.overwrite
@options.quiet
@options.verbose
@options.stacked(*options.GEOMETRY, *options.BORDER, *options.READING, *options.RUNNING)
def command(
    as_json: bool, dump: str | None, overwrite: bool, quiet: bool, verbose: bool, **settings: Any
) -> None:
    """Check a convolution's gradients by central differences.

    INPUT-OR-SHAPE is a file, or a shape such as 8x8x3 that is filled with random numbers. dx, dw
    and db are compared with central differences, with their adjoints and with explicit matrices.
    The loss is the sum of dy * y with a random dy, in float64. Convolution is linear, so central
    differences have no truncation error and agree up to rounding. The first line is the verdict.
    The exit code is 1 if a test fails.
    """
    from convcli.cli.report.gradcheck import gradcheck_json, gradcheck_lines
    from convcli.cli.report.progress import ProgressBar
    from convcli.cli.report.terminal import echo
    from convcli.cli.report.text import json_head, print_json
    from convcli.jobs import gradcheck
    from convcli.jobs.requests import from_options
    from convcli.stores import shown

    options.check_overwrite(overwrite, dump, "belongs to a dump; add --dump FILE")
    if dump is not None:
        gradcheck.check_dump(dump, overwrite=overwrite)
    request = from_options(gradcheck.GradcheckRequest, **settings)
    with ProgressBar("gradcheck", shown=not quiet) as progress:
        report = gradcheck.run_gradcheck(request, progress)
    settings_used = gradcheck.settings(report, request)
    if dump is not None:
        record = json_head("gradcheck") | gradcheck_json(report, settings_used, arrays=True)
        gradcheck.dump(report, dump, record, overwrite=overwrite)
    if as_json:
        print_json("gradcheck", gradcheck_json(report, settings_used))
    elif not quiet:
        operands = f"{shown(request.input)} with {shown(request.reference)}"
        echo(gradcheck_lines(report, operands, progress.seconds, verbose=verbose))
    if not report.passed:
        raise CheckError(
            ", and ".join(report.failures),
            remedy="see the entries named above, or --dump FILE for all of them"
            if report.mismatches
            else "use a larger --eps, or leave it out for the best one",
        )
