"""Every option that more than one command takes, once, in DESIGN's words; commands stack them by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from convcli.cli.types import FRAMES, PADDING, PER_AXIS, SHAPE, SIZE, Choice, Count
from convcli.options import BOUNDARIES, CHANNELS, COMBINES, DTYPES, LAYOUTS, METHODS, OPS, ORDERS, POLICIES

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]

stride = click.option("--stride", type=PER_AXIS, default="1", help="Step between outputs: one, or one per axis.")
dilation = click.option("--dilation", type=PER_AXIS, default="1", help="Step between taps: one, or one per axis.")
padding = click.option(
    "--padding",
    type=PADDING,
    default="valid",
    help="How much: valid, same, same-lower, full, a number, one per axis (1x2), or lo:hi.",
)
boundary = click.option(
    "--boundary", type=Choice(BOUNDARIES), default="constant", help="With what: " + ", ".join(BOUNDARIES) + "."
)
cval = click.option("--cval", type=float, default=0.0, metavar="V", help="The value outside for --boundary constant.")
groups = click.option("--groups", type=int, default=1, metavar="G", help="Divide the channels into groups.")
layout = click.option(
    "--layout", type=Choice(LAYOUTS), default="channels_last", help="Where the channels stand: last (ours) or first."
)
dims = click.option("--dims", type=Count(1), metavar="N", help="How many axes of the input are spatial.")
channels = click.option(
    "--channels",
    type=Choice(CHANNELS),
    help="Filter each channel alike, or sum over them; by default the kernel's shape decides.",
)
max_memory = click.option(
    "--max-memory",
    type=SIZE,
    envvar="CONVCLI_MAX_MEMORY",
    show_envvar=True,
    help="Refuse what would take more, such as 2G; by default half of the machine's.",
)
max_pixels = click.option(
    "--max-pixels", type=Count(1), metavar="N", help="Refuse pictures of more pixels; by default 16384x16384."
)
kernels = click.option(
    "-k",
    "--kernel",
    "kernels",
    multiple=True,
    required=True,
    help="A name (gaussian:sigma=2), a literal ('0,-1,0; -1,5,-1; 0,-1,0'), a file, or random:3x3; may be repeated.",
)
op = click.option(
    "--op", type=Choice(OPS), default="correlate", help="correlate never flips the kernel; convolve does."
)
combine = click.option(
    "--combine", type=Choice(COMBINES), default="stack", help="What several kernels' results become."
)
normalize = click.option(
    "--normalize", is_flag=True, help="Divide each kernel by its sum (zero-sum: by its positive sum)."
)
scale = click.option("--scale", type=float, default=1.0, metavar="F", help="Multiply the result.")
bias = click.option("--bias", type=float, default=0.0, metavar="F", help="Add to the result, after --scale.")
policy = click.option(
    "--range", type=Choice(POLICIES), default="clip", help="What happens to values that the written type cannot hold."
)
dtype = click.option(
    "--dtype", type=Choice(DTYPES), help="The type to write; by default the input's, or float for arrays."
)
method = click.option(
    "--method", type=Choice(METHODS), default="auto", help="How to compute; auto chooses and says why."
)
linear = click.option(
    "--linear",
    is_flag=True,
    help="Filter a picture in linear light: decode the sRGB curve first, encode it at the end.",
)
verify = click.option(
    "--verify", is_flag=True, help="Recompute 1,000 outputs and all edges from the definition; exit 1 if wrong."
)
input_format = click.option("--input-format", metavar="F", help="The format of the input, where no suffix tells it.")
frames = click.option(
    "--frames",
    type=FRAMES,
    default="first",
    help="Which frames of an animation or pages of a TIFF: first, all, or the one of a number from 0.",
)
allow_truncated = click.option(
    "--allow-truncated", is_flag=True, help="Read a damaged picture as far as it goes, and say so."
)
strip = click.option(
    "--strip", is_flag=True, help="Write a picture's samples alone: no ICC profile, density, EXIF, XMP or text."
)
compress_level = click.option(
    "--compress-level",
    type=Count(0, 9),
    metavar="N",
    help="PNG and TIFF: 0 to 9, larger is smaller; 1 for PNG and 0 for TIFF if left out.",
)
quality = click.option(
    "--quality",
    type=Count(1, 100),
    metavar="N",
    help="JPEG: 1 to 100; 95 if left out. WebP: makes it lossy; lossless if left out.",
)


raw_shape = click.option(
    "--raw-shape", type=SHAPE, help="The shape of the numbers in a .raw, .bin or .dat, such as 512x512x3."
)
raw_dtype = click.option(
    "--raw-dtype", metavar="T", help="Their type, such as u2, float32 or '>i2' (big-endian); also that of a raw output."
)
raw_order = click.option(
    "--raw-order", type=Choice(ORDERS), default="C", help="C: the last axis runs fastest, F: the first; C. Outputs too."
)
raw_offset = click.option(
    "--raw-offset", type=Count(0), default=0, metavar="N", help="Bytes before the first number of an input."
)


def _set_threads(context: click.Context, _: click.Parameter, count: int | None) -> None:
    if count is not None:
        from convcli.limits import set_threads

        set_threads(count)
        context.call_on_close(lambda: set_threads(None))


threads = click.option(
    "--threads",
    type=Count(1),
    metavar="N",
    envvar="CONVCLI_THREADS",
    show_envvar=True,
    expose_value=False,
    callback=_set_threads,
    help="Threads that share the work; by default one a core. The result is the same for any N.",
)
debug = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")

GEOMETRY = (stride, dilation, padding)
BORDER = (boundary, cval)
READING = (dims, channels, groups, layout)
LIMITS = (max_memory, max_pixels)
RUNNING = (*LIMITS, threads)
ENCODING = (compress_level, quality, strip)
RESULT = (op, combine, normalize, scale, bias, policy, dtype, linear, method, verify)
RAW = (raw_shape, raw_dtype, raw_order, raw_offset)
FILTERING = (*RESULT, input_format, frames, allow_truncated, *RAW, *GEOMETRY, *BORDER, *READING, *LIMITS, *ENCODING)
"""What an ApplyRequest takes besides its kernels and files, whichever command runs it."""


def stacked(*options: Decorator[Any], prints: str = "one JSON object") -> Decorator[Any]:
    """Apply options so that --help lists them in this order, with --json, which prints that, and --debug last."""
    as_json = click.option("--json", "as_json", is_flag=True, help=f"Print {prints} on stdout instead.")

    def decorate(command: Any) -> Any:
        for option in reversed((*options, as_json, debug)):
            command = option(command)
        return command

    return decorate
