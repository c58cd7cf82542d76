"""`convcli gradcheck`: analytic gradients beside numeric ones."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli import options
from convcli.errors import CheckError

EXAMPLES = """\b
Examples:
  convcli gradcheck 8x8x3 -k random:4x3x3x3
  convcli gradcheck 16x16 -k sobel-x --padding same --boundary reflect
  convcli gradcheck photo.png -k random:2x3x3x3 --samples 200 --dump proof.npz
"""


@click.command("gradcheck", epilog=EXAMPLES)
@click.argument("input", metavar="INPUT-OR-SHAPE")
@click.option("-k", "--kernel", "reference", required=True, help="A kernel, such as random:4x3x3x3 or sobel-x.")
@click.option("--eps", type=float, help="The step of the central difference; by default 1, for the map is linear.")
@click.option("--samples", type=click.IntRange(1), metavar="N", help="Entries to check in each tensor; default 2,000.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    help="For random inputs, the upstream gradient and the samples.",
)
@click.option("--dump", metavar="FILE", help="Write everything, the arrays included, to a .npz or .json file.")
@click.option("--overwrite", is_flag=True, help="Replace the dump if it exists.")
@options.stacked(*options.GEOMETRY, *options.BORDER, *options.READING)
def command(as_json: bool, **settings: Any) -> None:
    """Check dx, dw and db of a convolution against central differences, in float64.

    INPUT-OR-SHAPE is a file, or a shape such as 8x8x3 that is filled with random numbers. The loss is the sum of
    dy * y with a random dy. Convolution is linear, so the difference has no truncation error, and the two columns
    agree to round-off. Exit code 1 where one does not.
    """
    from convcli.proof import Trial, check_dump, dump, prove
    from convcli.report.gradients import gradcheck_json, print_gradcheck
    from convcli.report.text import print_json

    if settings["dump"] is not None:
        check_dump(settings["dump"], overwrite=settings["overwrite"])
    result = prove(Trial(**{name: value for name, value in settings.items() if name not in ("dump", "overwrite")}))
    if settings["dump"] is not None:
        dump(result, settings["dump"], gradcheck_json(result, arrays=True), overwrite=settings["overwrite"])
    if as_json:
        print_json("gradcheck", gradcheck_json(result))
    else:
        print_gradcheck(result)
    if not result.passed:
        failed = [check.name for check in result.checks if not check.passed]
        raise CheckError(
            f"{' and '.join(failed)} differ from the central differences by more than 1e-4",
            remedy="see the entries named above, or --dump FILE for all of them",
        )
