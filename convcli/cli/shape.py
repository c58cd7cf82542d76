"""`convcli shape`: sizes, weights and multiply-adds, from shapes alone."""

from __future__ import annotations

import click

from convcli.arrange import arrange
from convcli.cli import options
from convcli.cli.types import PER_AXIS, SHAPE, Parsed
from convcli.errors import InputError
from convcli.network.single import Layer
from convcli.report.layers import layer_json, layer_lines
from convcli.report.text import print_json
from convcli.shapes import ConvSpec, Padding, PerAxis, parse_shape, show
from convcli.words import Channels, Layout

EXAMPLES = """\b
Examples:
  convcli shape 28x28 -k 3x3
  convcli shape 224x224x3 -k 64x7x7x3 --stride 2 --padding 3
  convcli shape 14x14x256 -k 256x4x4x128 --transposed --stride 2 --padding 1
"""


def _kernel_shape(text: str) -> tuple[int, ...] | str:
    """A shape as it is written; other text is taken for a kernel's name, whose axes follow the input's."""
    try:
        return parse_shape(text)
    except InputError:
        if text[:1].isdigit() and ":" not in text:
            raise
    return text


@click.command("shape", epilog=EXAMPLES)
@click.argument("shape", type=SHAPE)
@click.option(
    "-k",
    "--kernel",
    type=Parsed("kernel-shape", _kernel_shape),
    required=True,
    help="The kernel's shape: 3x3, 7x7x3 (with channels), 64x7x7x3 (64 kernels); or a kernel's name.",
)
@click.option("--transposed", is_flag=True, help="The transposed convolution: its kernel maps O channels back to C.")
@click.option("--output-padding", type=PER_AXIS, default="0", help="Extra outputs at the end, transposed only.")
@click.option("--bias/--no-bias", default=False, help="Count a bias for each output channel.")
@click.option("-q", "--quiet", is_flag=True, help="Print the output shape only.")
@options.stacked(*options.GEOMETRY, *options.READING)
def command(
    shape: tuple[int, ...],
    kernel: tuple[int, ...] | str,
    transposed: bool,
    output_padding: PerAxis,
    bias: bool,
    quiet: bool,
    stride: PerAxis,
    dilation: PerAxis,
    padding: Padding,
    dims: int | None,
    channels: Channels | None,
    groups: int,
    layout: Layout,
    as_json: bool,
) -> None:
    """Tell what comes out of a convolution of SHAPE, and how.

    SHAPE is the input's: 28x28, 224x224x3 (channels last), 8x224x224x3 (a batch), 100 (a signal).
    """
    if output_padding and not transposed:
        raise click.UsageError("--output-padding belongs to the transposed convolution; add --transposed")
    if isinstance(kernel, str):
        from convcli.job import resolve_kernel

        kernel = resolve_kernel(kernel, shape, dims, "the input", layout).shape
    settled = arrange(shape, kernel, dims=dims, channels=channels, groups=groups, layout=layout, transposed=transposed)
    spec = ConvSpec.of(
        settled.dims, stride=stride, dilation=dilation, padding=padding, output_padding=output_padding, groups=groups
    )
    layer = Layer.of(settled, spec, transposed=transposed, bias=bias)
    if as_json:
        print_json("shape", layer_json(layer))
    else:
        click.echo(show(layer.output) if quiet else "\n".join(layer_lines(layer)))
