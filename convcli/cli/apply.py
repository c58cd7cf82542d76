"""`convcli apply`: one input, one or more kernels, one output."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli import options
from convcli.cli.types import Choice
from convcli.errors import CheckError
from convcli.words import COMBINES, DTYPES, METHODS, OPS, POLICIES

EXAMPLES = """\b
Examples:
  convcli apply photo.jpg -k gaussian:sigma=5 --padding same --boundary reflect -o soft.jpg
  convcli apply photo.png -k sobel-x -k sobel-y --combine magnitude --range rescale -o edges.png
  convcli apply signal.csv -k "1,0,-1" --op convolve -o - --format csv
  convcli apply photo.png -k sharpen --dry-run
"""


@click.command("apply", epilog=EXAMPLES)
@click.argument("input")
@click.option(
    "-k",
    "--kernel",
    "kernels",
    multiple=True,
    required=True,
    help="A name (gaussian:sigma=2), a literal ('0,-1,0; -1,5,-1; 0,-1,0'), a file, or random:3x3; may be repeated.",
)
@click.option("-o", "--output", metavar="FILE", help="Where the result goes, its format by suffix; - is stdout.")
@click.option("--op", type=Choice(OPS), default="correlate", help="correlate never flips the kernel; convolve does.")
@click.option("--combine", type=Choice(COMBINES), default="stack", help="What several kernels' results become.")
@click.option("--normalize", is_flag=True, help="Divide each kernel by its sum (zero-sum: by its positive sum).")
@click.option("--scale", type=float, default=1.0, metavar="F", help="Multiply the result.")
@click.option("--bias", type=float, default=0.0, metavar="F", help="Add to the result, after --scale.")
@click.option(
    "--range",
    "range_",
    type=Choice(POLICIES),
    default="clip",
    help="What happens to values that the written type cannot hold.",
)
@click.option("--dtype", type=Choice(DTYPES), help="The type to write; by default the input's, or float for arrays.")
@click.option("--method", type=Choice(METHODS), default="auto", help="How to compute; auto chooses and says why.")
@click.option(
    "--verify", is_flag=True, help="Recompute 1,000 outputs and all edges from the definition; exit 1 if wrong."
)
@click.option("--dry-run", is_flag=True, help="Show the plan and write nothing.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
@click.option("--format", metavar="F", help="The format of -o -, where no suffix tells it.")
@click.option("--input-format", metavar="F", help="The format of INPUT, where no suffix tells it.")
@click.option("--allow-truncated", is_flag=True, help="Read a damaged picture as far as it goes, and say so.")
@options.stacked(*options.GEOMETRY, *options.BORDER, *options.READING, *options.LIMITS)
def command(as_json: bool, dry_run: bool, range_: Any, **settings: Any) -> None:
    """Filter INPUT, an image, an array or a volume (- is stdin), with one or more kernels.

    On an image, a KHxKW kernel filters each channel, KHxKWxC sums over the channels into one, and OxKHxKWxC gives
    O channels. The report tells the sizes, the method and what was clipped; without -o it is all that is made.
    """
    from convcli.job import Job, perform, prepare
    from convcli.report import runs
    from convcli.report.text import print_json

    if as_json and settings["output"] == "-":
        raise click.UsageError("--json and -o - both want stdout; write the result to a file, or leave --json out")
    for option in ("format", "overwrite"):
        if settings[option] and settings["output"] is None:
            raise click.UsageError(f"--{option} belongs to an output; add -o FILE")
    prepared = prepare(Job(range=range_, **settings))
    if prepared.data.damage:
        click.echo(f"Warning: {runs.damage_line(prepared.data)}", err=True)
    if dry_run:
        lines, record, ok = runs.plan_lines(prepared), runs.plan_json(prepared), True
    else:
        outcome = perform(prepared)
        lines, record, ok = runs.outcome_lines(outcome), runs.outcome_json(outcome), outcome.verified
    if as_json:
        print_json("apply", record)
    else:
        click.echo("\n".join(lines), err=settings["output"] is not None and not dry_run)
    if not ok:
        raise CheckError(
            "outputs differ from the definition by more than their bound",
            "nothing was written",
            "use --method direct, and please report this input",
        )
