"""`convcli laws`: the laws of convolution, checked on given data."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.cli.types import Choice, Count
from convcli.errors import CheckError
from convcli.options import LAWS, OPS

EXAMPLES = """\b
Examples:
  convcli laws 32x32 -k sobel-x
  convcli laws photo.png -k gaussian:sigma=1 --padding same
  convcli laws 16x16x3 -k random:4x3x3x3 --stride 2
  convcli laws 8x8 -k laplacian --matrix toeplitz.csv
  convcli laws 8x8 -k sobel-x --break flip
"""


@click.command("laws", cls=Command, epilog=EXAMPLES)
@click.argument("input", metavar="INPUT-OR-SHAPE", shell_complete=complete.files)
@options.kernel
@click.option(
    "--size",
    type=Count(1),
    metavar="N",
    help="Crop the input to N samples per side. "
    "[default: 32, 12 for a volume, more for a large kernel]",
)
@click.option("--seed", type=Count(0), metavar="N", default=0, help="Seed the random numbers.")
@click.option(
    "--op",
    type=Choice(OPS),
    default="convolve",
    help="Set the operation of conv, the layer; the product * always convolves.",
)
@click.option(
    "--break",
    "broken",
    type=Choice(LAWS),
    metavar="LAW",
    help=f"Break this law on purpose, to see it fail: {', '.join(LAWS)}.",
)
@click.option(
    "--matrix",
    metavar="FILE",
    help="Write the matrix M of conv(x) = M vec(x) to a .npy or .csv file.",
)
@options.overwrite
@options.quiet
@options.verbose
@options.columns
@options.stacked(*options.GEOMETRY, *options.BORDER, options.dims, options.groups, *options.RUNNING)
def command(
    as_json: bool,
    matrix: str | None,
    overwrite: bool,
    quiet: bool,
    verbose: bool,
    columns: tuple[str, ...] | None,
    **settings: Any,
) -> None:
    """Check the laws of convolution on your own data.

    The laws: linearity and the matrix, bias and relu, the flip, commutativity, associativity, the
    derivative, Gaussians, shift equivariance and where it ends, locality, and the backward pass.
    For each, compare both sides with a bound for rounding. INPUT-OR-SHAPE is a file, whose middle
    is used, or a shape such as 32x32 that is filled with random numbers. The exit code is 1 if a
    law fails.
    """
    from convcli.cli.report.laws import Style, laws_json, laws_lines
    from convcli.cli.report.progress import ProgressBar
    from convcli.cli.report.terminal import echo
    from convcli.cli.report.text import print_json, print_warnings
    from convcli.jobs.requests import from_options
    from convcli.learn.laws import LawsRequest, check_matrix, run_laws, save_matrix

    options.check_overwrite(
        overwrite, matrix, "applies to --matrix FILE; add one, or leave --overwrite out"
    )
    if matrix is not None:
        check_matrix(matrix, overwrite=overwrite)
    with ProgressBar("laws", shown=not quiet) as progress:
        result = run_laws(from_options(LawsRequest, **settings), progress)
    written = None if matrix is None else save_matrix(result, matrix, overwrite=overwrite)
    warnings = result.operands.data.all_warnings
    print_warnings(warnings)
    if as_json:
        print_json("laws", laws_json(result, written), warnings)
    elif not quiet:
        echo(laws_lines(result, written, progress.seconds, Style(verbose, columns)))
    if result.failed:
        raise CheckError(
            f"{' and '.join(result.failed)}: both sides differ by more than rounding explains",
            remedy="see the rows marked FAILED, and please report this input"
            if result.broken is None
            else f"{result.broken} was broken on purpose by --break; leave it out",
        )
