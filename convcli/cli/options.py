"""Every option that more than one command takes, once, in DESIGN's words; commands stack them by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from convcli.cli.types import PADDING, PER_AXIS, SIZE, Choice
from convcli.words import BOUNDARIES, CHANNELS, LAYOUTS

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
dims = click.option("--dims", type=click.IntRange(1), metavar="N", help="How many axes of the input are spatial.")
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
    "--max-pixels", type=click.IntRange(1), metavar="N", help="Refuse pictures of more pixels; by default 16384x16384."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout instead.")
debug = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")

GEOMETRY = (stride, dilation, padding)
BORDER = (boundary, cval)
READING = (dims, channels, groups, layout)
LIMITS = (max_memory, max_pixels)


def stacked(*options: Decorator[Any]) -> Decorator[Any]:
    """Apply options so that --help lists them in this order, with --json and --debug last."""

    def decorate(command: Any) -> Any:
        for option in reversed((*options, as_json, debug)):
            command = option(command)
        return command

    return decorate
