"""`convcli shape SHAPE -k KERNEL`: one kernel on one input, or its transpose."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli.report.shape import layer_json, layer_lines
from convcli.cli.report.terminal import echo
from convcli.cli.report.text import print_json, print_warnings
from convcli.cli.shape_questions.words import input_shape
from convcli.shapes.geometry import Geometry
from convcli.shapes.hints import channels_first_warning, signal_warning
from convcli.shapes.layer import Layer
from convcli.shapes.layout import ConvLayout
from convcli.shapes.parse import show

GEOMETRY = ("stride", "dilation", "padding", "dims", "channels", "groups", "layout")


def answer(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Show the output shape, the weights and the work of one kernel."""
    if len(words) != 1:
        what = f"{words[1]!r} together with -k" if words else "no SHAPE"
        raise click.UsageError(f"{what}; expected one shape, or else layers without -k")
    shape = input_shape(words[0])
    transposed = given["transposed"]
    if given["output_padding"] and not transposed:
        raise click.UsageError(
            "--output-padding belongs to the transposed convolution; add --transposed"
        )
    geometry = Geometry(**{name: given[name] for name in GEOMETRY})
    kernel = given["kernel"]
    if isinstance(kernel, str):
        kernel = _named_kernel_shape(kernel, shape, geometry)
    conv_layout = geometry.conv_layout(shape, kernel, transposed=transposed)
    spec = geometry.conv_spec(conv_layout.dims, output_padding=given["output_padding"])
    layer = Layer.of(conv_layout, spec, transposed=transposed, bias=given["bias"])
    warnings = _warnings(conv_layout, geometry)
    print_warnings(warnings)
    if given["as_json"]:
        print_json("shape", layer_json(layer), warnings)
    elif given["quiet"]:
        click.echo(show(layer.output))
    else:
        echo(layer_lines(layer, verbose=given["verbose"]))


def _warnings(conv_layout: ConvLayout, geometry: Geometry) -> list[str]:
    """Return warnings about how the shape is read, if --dims is not given."""
    shape = conv_layout.shape
    if geometry.dims is not None:
        return []
    texts = [signal_warning(shape, conv_layout.kernel)]
    if conv_layout.channel_axis == len(shape) - 1:
        texts.append(channels_first_warning(shape, geometry.layout))
    return [text for text in texts if text]


def _named_kernel_shape(name: str, shape: tuple[int, ...], geometry: Geometry) -> tuple[int, ...]:
    from convcli.jobs.operands import resolve_kernel

    return resolve_kernel(name, shape, geometry.dims, "the input", geometry.layout).shape
