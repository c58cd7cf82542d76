"""The options that several commands share; commands apply them with `stacked`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from convcli.cli import complete
from convcli.cli.types import (
    COLOUR,
    COLUMNS,
    FRAMES,
    NUMBER,
    PADDING,
    PER_AXIS,
    SHAPE,
    SIZE,
    SPACING,
    Choice,
    Count,
    MethodChoice,
)
from convcli.options import (
    BOUNDARIES,
    CHANNELS,
    CODECS,
    COMBINES,
    DTYPES,
    LAYOUTS,
    OPS,
    ORDERS,
    POLICIES,
)

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]

stride = click.option(
    "--stride",
    type=PER_AXIS,
    default="1",
    help="Set the step between outputs, one for all axes or one per axis.",
)
dilation = click.option(
    "--dilation",
    type=PER_AXIS,
    default="1",
    help="Set the step between taps, one for all axes or one per axis.",
)
padding = click.option(
    "--padding",
    type=PADDING,
    shell_complete=complete.paddings,
    help="Set the amount of padding: valid, same, same-lower, full, a number, "
    "one per axis (1x2), or lo:hi. [default: valid]",
)
boundary = click.option(
    "--boundary",
    type=Choice(BOUNDARIES),
    metavar="B",
    help=f"Set how padding is filled: {', '.join(BOUNDARIES)}; implies --padding same by default. "
    "[default: reflect for a picture, constant for other input]",
)
cval = click.option(
    "--cval",
    type=NUMBER,
    metavar="V",
    help="Set the value outside the input, for --boundary constant. [default: 0]",
)
groups = click.option(
    "--groups", type=int, default=1, metavar="G", help="Split the channels into this many groups."
)
layout = click.option(
    "--layout",
    type=Choice(LAYOUTS),
    metavar="L",
    default="channels_last",
    help=f"Set the position of the channel axis: {' or '.join(LAYOUTS)}.",
)
dims = click.option(
    "--dims",
    type=Count(1),
    metavar="N",
    help="Set the number of spatial axes of the input. [default: from the shapes]",
)
channels = click.option(
    "--channels",
    type=Choice(CHANNELS),
    help="Filter each channel independently, or sum over them. [default: from the kernel's shape]",
)
max_memory = click.option(
    "--max-memory",
    type=SIZE,
    envvar="CONVCLI_MAX_MEMORY",
    show_envvar=True,
    help="Refuse a run that needs more memory, such as 2G. [default: half of the machine's memory]",
)
max_pixels = click.option(
    "--max-pixels",
    type=Count(1),
    metavar="N",
    help="Refuse pictures with more pixels than this. [default: 16384x16384]",
)
kernels = click.option(
    "-k",
    "--kernel",
    "kernels",
    shell_complete=complete.kernels,
    multiple=True,
    required=True,
    metavar="K",
    help="Use this kernel: a name (gaussian:sigma=2), a literal ('0,-1,0; -1,5,-1; 0,-1,0'), "
    "a file, or random:3x3. Repeatable.",
)
kernel = click.option(
    "-k",
    "--kernel",
    "reference",
    shell_complete=complete.kernels,
    required=True,
    metavar="K",
    help="Use this kernel, such as sobel-x, gaussian:sigma=2 or random:4x3x3x3.",
)
op = click.option(
    "--op",
    type=Choice(OPS),
    default="correlate",
    help="Correlate, or convolve (flip the kernel first).",
)
combine = click.option(
    "--combine",
    type=Choice(COMBINES),
    metavar="C",
    default="stack",
    help=f"Combine the results of several kernels: {', '.join(COMBINES)}.",
)
normalize = click.option(
    "--normalize",
    is_flag=True,
    help="Divide each kernel by its sum, or by the sum of its positive taps if that is 0.",
)
scale = click.option(
    "--scale", type=NUMBER, default=1.0, metavar="F", help="Multiply the result by F."
)
bias = click.option(
    "--bias", type=NUMBER, default=0.0, metavar="F", help="Add F to the result, after --scale."
)
policy = click.option(
    "--range",
    type=Choice(POLICIES),
    metavar="R",
    default="clip",
    help=f"Handle values outside the output type's range: {', '.join(POLICIES)}.",
)
dtype = click.option(
    "--dtype",
    type=Choice(DTYPES),
    metavar="T",
    help="Write this number type, such as uint8 or float32. "
    "[default: a picture's own type, float for arrays]",
)
method = click.option(
    "--method",
    type=MethodChoice(),
    default="auto",
    help="Set the method of computation; auto chooses the fastest.",
)
linear = click.option(
    "--linear",
    is_flag=True,
    help="Filter in linear light: decode the picture's curve (default: sRGB), filter, encode.",
)
verify = click.option(
    "--verify",
    is_flag=True,
    help="Recompute 1,000 outputs and all edges by the definition; exit with 1 if one is wrong.",
)
input_format = click.option(
    "--input-format",
    metavar="F",
    shell_complete=complete.formats,
    help="Set the format of an input without a suffix, such as a pipe.",
)
frames = click.option(
    "--frames",
    type=FRAMES,
    default="first",
    help="Read these frames of an animation, or pages of a TIFF: first, all, or a number from 0.",
)
gray = click.option(
    "--gray", is_flag=True, help="Filter the luma of a picture (ITU-R BT.709), and write gray."
)
background = click.option(
    "--background",
    type=COLOUR,
    metavar="C",
    help="Blend a picture with alpha onto this colour, such as white or #ff8800.",
)
allow_truncated = click.option(
    "--allow-truncated", is_flag=True, help="Read a truncated picture as far as it goes."
)
strip = click.option(
    "--strip", is_flag=True, help="Do not copy metadata (ICC profile, density, EXIF, XMP, text)."
)
spacing = click.option(
    "--spacing",
    "--rate",
    "spacing",
    type=SPACING,
    help="Set the distance of samples, such as 0.5mm, 2mm,1mm,1mm or 48kHz, for kernels with units "
    "such as gaussian:fwhm=6mm. [default: that in the file]",
)
compress_level = click.option(
    "--compress-level",
    type=Count(0, 9),
    metavar="N",
    help="Set the compression of PNG and TIFF, from 0 to 9. [default: 1 for PNG, 0 for TIFF]",
)
quality = click.option(
    "--quality",
    type=Count(1, 100),
    metavar="N",
    help="Set the quality of JPEG or lossy WebP. [default: a JPEG input's, else 95; lossless WebP]",
)
raw_shape = click.option(
    "--raw-shape",
    type=SHAPE,
    help="Set the shape of a .raw, .bin or .dat input, such as 512x512x3.",
)
raw_dtype = click.option(
    "--raw-dtype",
    metavar="T",
    help="Set the number type of raw input and output, such as u2, float32 or '>i2' (big-endian).",
)
raw_order = click.option(
    "--raw-order",
    type=Choice(ORDERS),
    default="C",
    help="Set the memory order of raw files: C (last axis fastest) or F (first axis fastest).",
)
raw_offset = click.option(
    "--raw-offset",
    type=Count(0),
    default=0,
    metavar="N",
    help="Skip this many bytes at the beginning of a raw input.",
)


def _set_threads(context: click.Context, _: click.Parameter, count: int | None) -> None:
    if count is not None:
        from convcli.limits import set_threads

        set_threads(count)
        context.call_on_close(lambda: set_threads(None))


seed = click.option(
    "--seed", type=Count(0), metavar="N", help="Seed the random numbers of a shape. [default: 0]"
)
output_padding = click.option(
    "--output-padding",
    type=PER_AXIS,
    help="Add outputs at the end, with --transposed. [default: 0]",
)
threads = click.option(
    "--threads",
    type=Count(1),
    metavar="N",
    envvar="CONVCLI_THREADS",
    show_envvar=True,
    expose_value=False,
    callback=_set_threads,
    help="Use this many threads; the result does not depend on it. [default: one per core]",
)
scheduler = click.option(
    "--scheduler",
    metavar="S",
    shell_complete=complete.schedulers,
    envvar="CONVCLI_SCHEDULER",
    show_envvar=True,
    help="Run on the workers of a scheduler: dask (a Dask cluster on this machine), an address "
    "such as tcp://host:8786, a scheduler file, or a plugin. [default: processes of this machine]",
)
chunks = click.option(
    "--chunks",
    type=SHAPE,
    help="Set the chunks of a zarr output, such as 256x256x256. [default: the input's]",
)
codec = click.option(
    "--codec",
    type=Choice(CODECS),
    metavar="C",
    help=f"Compress the chunks of a zarr output: {', '.join(CODECS)}. [default: the input's]",
)
block = click.option(
    "--block",
    type=SHAPE,
    help="Set the part of a zarr output that one task computes, a multiple of its chunks, such as "
    "512 or 512x512x256. [default: what fits the memory]",
)
resume_regions = click.option(
    "--resume", is_flag=True, help="Continue a zarr output that is not finished."
)
jobs_for_regions = click.option(
    "-j",
    "--jobs",
    type=Count(1),
    metavar="N",
    help="Compute this many blocks of a zarr output at once. [default: one per core]",
)
overwrite = click.option(
    "-f", "--overwrite", "--force", is_flag=True, help="Replace the output if it exists."
)
dry_run = click.option("-n", "--dry-run", is_flag=True, help="Show the plan and write nothing.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Print every detail.")
columns = click.option(
    "--columns",
    type=COLUMNS,
    help="Show these columns of the table, or all. [default: those that fit the terminal]",
)
debug = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)

GEOMETRY = (stride, dilation, padding)
BORDER = (boundary, cval)
READING = (dims, spacing, channels, groups, layout)
LIMITS = (max_memory, max_pixels)
REGIONS = (chunks, codec, block, resume_regions, jobs_for_regions, scheduler)
"""The options of an output that is written region by region."""
RUNNING = (*LIMITS, threads)
ENCODING = (compress_level, quality, strip)
RESULT = (
    op,
    combine,
    normalize,
    scale,
    bias,
    policy,
    dtype,
    gray,
    background,
    linear,
    method,
    verify,
)
RAW = (raw_shape, raw_dtype, raw_order, raw_offset)
FILTERING = (
    *RESULT,
    input_format,
    frames,
    allow_truncated,
    *RAW,
    *GEOMETRY,
    *BORDER,
    *READING,
    *LIMITS,
    *ENCODING,
)
"""The options of an ApplyRequest besides its kernels and files."""


def check_stdout(as_json: bool, output: str | None, remedy: str) -> None:
    """Raise UsageError if --json and -o - both write to stdout."""
    if as_json and output == "-":
        raise click.UsageError(
            f"--json and -o - both write to stdout; {remedy}, or leave --json out"
        )


def check_overwrite(overwrite: bool, target: str | None, message: str) -> None:
    """Raise UsageError for --overwrite without a target.

    message: which option writes the target, and what to do.
    """
    if overwrite and target is None:
        raise click.UsageError(f"--overwrite {message}")


def stacked(*options: Decorator[Any], prints: str = "one JSON object") -> Decorator[Any]:
    """Apply options in the order of --help, with --json and --debug last.

    prints: what --json prints, for its help text.
    """
    as_json = click.option(
        "--json", "as_json", is_flag=True, help=f"Print {prints} on stdout instead of text."
    )

    def decorate(command: Any) -> Any:
        for option in reversed((*options, as_json, debug)):
            command = option(command)
        return command

    return decorate
