"""`convcli explain`: one output, product by product."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.cli.types import INDEX, Count

EXAMPLES = """\b
Examples:
  convcli explain photo.png -k sobel-x --at 100,200
  convcli explain 5x5 -k "1,2;3,4" --op convolve --padding same --at 4,4
  convcli explain 8x8x3 -k random:4x3x3x3 --at 2,2,1 --backward
  convcli explain 4x4 -k box:size=3 --all
"""


@click.command("explain", cls=Command, epilog=EXAMPLES)
@click.argument("input", metavar="INPUT-OR-SHAPE", shell_complete=complete.files)
@options.kernel
@click.option(
    "--at",
    type=INDEX,
    help="Explain this output: an index, and a channel if there are any. [default: the middle]",
)
@click.option("--all", "every", is_flag=True, help="Explain every output of a small input.")
@options.op
@click.option(
    "--backward", is_flag=True, help="Show the contributions of dy at this output to dx and dw."
)
@click.option(
    "--upstream",
    metavar="FILE",
    help="Read dy for --backward, in the output's shape. [default: ones]",
)
@click.option(
    "--seed", type=Count(0), metavar="N", help="Seed the random numbers of a shape. [default: 0]"
)
@click.option("-q", "--quiet", is_flag=True, help="Print the value only.")
@options.verbose
@options.stacked(*options.GEOMETRY, *options.BORDER, *options.READING, *options.RUNNING)
def command(as_json: bool, every: bool, quiet: bool, verbose: bool, **settings: Any) -> None:
    """Show how one output is computed, product by product.

    INPUT-OR-SHAPE is a file, or a shape such as 8x8x3 that is filled with random numbers. The
    report shows the patch, the kernel, their product and the sum, one block per channel. Padded
    samples are in brackets. In --at, -1 is the last index. The sum is the value that apply
    computes; -q prints it alone.
    """
    from convcli.cli.report.explain import explanation_json, print_explanation, print_values
    from convcli.cli.report.text import print_json, print_warnings
    from convcli.jobs.requests import from_options
    from convcli.learn.explain import MIDDLE, ExplainRequest, run_explain

    if every and settings["at"] is not None:
        raise click.UsageError("--at and --all; expected exactly one of them")
    if not every and settings["at"] is None:
        settings["at"] = MIDDLE
    if settings["upstream"] is not None and not settings["backward"]:
        raise click.UsageError("--upstream is the start of --backward; add --backward")
    result = run_explain(from_options(ExplainRequest, **settings))
    warnings = result.operands.data.all_warnings
    print_warnings(warnings)
    if as_json:
        print_json("explain", explanation_json(result), warnings)
    elif quiet:
        print_values(result)
    else:
        print_explanation(result, verbose=verbose)
