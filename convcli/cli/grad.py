"""`convcli grad`: a loss's gradients in the input, the kernel and the bias."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.cli.types import Choice, Count

EXAMPLES = """\b
Examples:
  convcli grad photo.png -k sobel-x -o grads.npz
  convcli grad x.npy -k bank.npy --stride 2 --upstream dy.npy -o grads.npz
  convcli grad x.npy -k w.npy --loss mse:target.npy --json
  convcli grad x.npy -k w.npy --gradient dw --show -o dw.npy
"""

GRADIENTS = ("dx", "dw", "db")


@click.command("grad", cls=Command, epilog=EXAMPLES)
@click.argument("input", metavar="INPUT-OR-SHAPE", shell_complete=complete.files)
@options.kernel
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write dx, dw and db to a .npz, or one --gradient to a .npy; - is stdout.",
)
@click.option(
    "--gradient",
    "chosen",
    type=Choice(GRADIENTS),
    help="Write and show this gradient only: dx, dw or db.",
)
@click.option(
    "--show",
    is_flag=True,
    help="Print the values of the gradients: small ones whole, large ones summarised.",
)
@options.op
@click.option(
    "--upstream",
    metavar="FILE",
    help="Read dy, the gradient of the loss with respect to the output, from FILE.",
)
@click.option(
    "--loss",
    metavar="sum|mean|mse:FILE",
    help="Differentiate this loss, if dy is not given. [default: sum]",
)
@click.option(
    "--seed", type=Count(0), metavar="N", default=0, help="Seed the random numbers of a shape."
)
@options.overwrite
@options.quiet
@options.verbose
@options.stacked(*options.GEOMETRY, *options.BORDER, *options.READING, *options.RUNNING)
def command(as_json: bool, quiet: bool, verbose: bool, show: bool, **settings: Any) -> None:
    """Compute the gradients of a loss through a convolution.

    INPUT-OR-SHAPE is a file (- is stdin), or a shape such as 8x8x3 that is filled with random
    numbers. The gradients dx, dw and db have the shapes of the input, the kernel and the bias. The
    loss is sum(y) unless --loss or --upstream is given. -q --show prints the values alone.
    """
    from convcli.cli.report.grad import grad_json, grad_lines, value_lines
    from convcli.cli.report.progress import ProgressBar
    from convcli.cli.report.terminal import echo
    from convcli.cli.report.text import print_json, print_warnings
    from convcli.jobs.grad import GradRequest, run_grad
    from convcli.jobs.requests import from_options

    output = settings["output"]
    options.check_stdout(as_json, output, "write to a file")
    options.check_overwrite(settings["overwrite"], output, "belongs to an output; add -o FILE")
    with ProgressBar("grad", shown=not quiet) as progress:
        result = run_grad(from_options(GradRequest, **settings), progress)
    warnings = result.operands.data.all_warnings
    print_warnings(warnings)
    if as_json:
        print_json("grad", grad_json(result, values=show), warnings)
        return
    lines = [] if quiet else grad_lines(result, progress.seconds)
    if show or not quiet:
        lines += value_lines(result, every=show or verbose, titles=not quiet)
    if lines:
        echo(lines, err=output == "-" or (output is not None and not show))
