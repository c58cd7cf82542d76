"""`convcli animate`: the sliding kernel as an animation."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.cli.types import CROP, FPS, Choice, Count
from convcli.options import GRADIENTS, THEMES

EXAMPLES = """\b
Examples:
  convcli animate 5x5 -k sobel-x -o conv.gif
  convcli animate digit.png -k sobel-x --crop 12 --padding same -o edges.webp
  convcli animate signal.csv -k 1,-2,1 --backward dx -o dx.png --theme dark
  convcli animate 3x3 -k box:size=3 --transposed --stride 2 -o up.gif
  convcli animate 6x6 -k laplacian --frame 4 -o still.png
"""


@click.command("animate", cls=Command, epilog=EXAMPLES)
@click.argument("input", metavar="INPUT-OR-SHAPE", shell_complete=complete.files)
@options.kernel
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    help="Write the animation to a .gif, .webp or .png (APNG); - is stdout.",
)
@click.option(
    "--format",
    type=Choice(("gif", "webp", "png")),
    help="Set the output's format, for -o -. [default: gif]",
)
@options.op
@click.option(
    "--backward",
    type=Choice(GRADIENTS),
    help="Show how the gradient of the input (dx) or of the kernel (dw) is computed.",
)
@click.option(
    "--upstream",
    metavar="FILE",
    help="Read dy for --backward, in the output's shape. [default: ones]",
)
@options.seed
@click.option("--transposed", is_flag=True, help="Transpose the convolution.")
@options.output_padding
@click.option(
    "--crop",
    type=CROP,
    help="Show this part of the input as if it were the whole: N samples per side in its middle, "
    "or a range for each axis, such as 4:16,8:20.",
)
@click.option(
    "--channel",
    type=Count(0),
    metavar="N",
    help="Show one channel of the result, counted from 0. [default: all]",
)
@click.option(
    "--frame", type=Count(0), metavar="N", help="Write one frame as a still, counted from 0."
)
@click.option(
    "--fps",
    type=FPS,
    help="Set the frames per second, up to 50. [default: 2, more if that takes over 30 seconds]",
)
@click.option(
    "--size",
    "width",
    type=Count(160, 2000),
    metavar="N",
    default=640,
    help="Set the width of the picture in pixels, from 160 to 2000.",
)
@click.option("--theme", type=Choice(THEMES), default="light", help="Set the colours.")
@click.option(
    "--numbers/--no-numbers",
    default=True,
    help="Write numbers into the cells where they fit, and the sum below; or show colours only.",
)
@options.overwrite
@options.quiet
@options.stacked(*options.GEOMETRY, *options.BORDER, *options.READING, *options.RUNNING)
def command(as_json: bool, quiet: bool, **settings: Any) -> None:
    """Animate a sliding kernel on your own data.

    INPUT-OR-SHAPE is a file, or a shape such as 5x5 that is filled with random numbers. Each frame
    computes one output: it shows the input with its padding, the window, the kernel, their
    products, the sum, and the output so far. Values above 0 are orange, below 0 blue; padding is
    hatched. An animation has at most 600 frames and 8 MB.
    """
    from convcli.cli.report.animate import animation_json, animation_lines
    from convcli.cli.report.progress import ProgressBar
    from convcli.cli.report.terminal import echo
    from convcli.cli.report.text import print_json, print_warnings
    from convcli.jobs.requests import from_options
    from convcli.learn.animation import AnimationRequest, run_animation

    output = settings["output"]
    _check_options(settings)
    options.check_stdout(as_json, output, "write to a file")
    given = {name: value for name, value in settings.items() if value is not None}
    with ProgressBar("animate", shown=not quiet) as progress:
        result = run_animation(from_options(AnimationRequest, **given), progress)
    warnings = (*result.operands.data.all_warnings, *result.written.warnings)
    print_warnings(warnings)
    if as_json:
        print_json("animate", animation_json(result), warnings)
    elif not quiet:
        echo(animation_lines(result), err=output == "-")


def _check_options(settings: dict[str, Any]) -> None:
    """Raise UsageError for options that need, or exclude, others."""
    if settings["upstream"] is not None and settings["backward"] is None:
        raise click.UsageError("--upstream is the start of --backward; add --backward dx or dw")
    if settings["output_padding"] is not None and not settings["transposed"]:
        raise click.UsageError(
            "--output-padding belongs to the transposed convolution; add --transposed"
        )
    if settings["frame"] is not None and settings["fps"] is not None:
        raise click.UsageError("--frame writes a single frame, which has no --fps; leave one out")
    if settings["format"] is not None and settings["output"] != "-":
        raise click.UsageError("--format is for -o -; leave it out, the suffix says it")
