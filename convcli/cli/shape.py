"""`convcli shape`: sizes, weights and multiply-adds, from shapes alone, of one kernel or of a whole network."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from convcli.cli import options
from convcli.cli.types import PER_AXIS, SHAPE, Choice, Count, Parsed
from convcli.errors import InputError
from convcli.options import DTYPES, Channels, Layout
from convcli.shapes.parse import Padding, PerAxis, parse_shape, show
from convcli.shapes.spec import ConvSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from convcli.network.graph import Network
    from convcli.network.layers import Tensor

EXAMPLES = """\b
Examples:
  convcli shape 28x28 -k 3x3
  convcli shape 224x224x3 -k 64x7x7x3 --stride 2 --padding 3
  convcli shape 14x14x256 -k 256x4x4x128 --transposed --stride 2 --padding 1
  convcli shape 224x224x3 conv:64,k=7,s=2,p=3 relu maxpool:3,s=2,p=1 gap linear:1000
  convcli shape samples/networks/resnet18.toml --count flops
  convcli shape 224x224x3 conv:64,k=7,s=2,p=3 maxpool:3,s=2,p=1 --at 0,0
  convcli shape --input-for 27x27 conv:64,k=11,s=4 maxpool:3,s=2
  convcli shape --solve 224x224 56x56 --rf 31 --max-layers 3
"""
UNITS = ("macs", "flops")
VERSUS = ("dense", "separable")
EMITS = ("torch", "keras", "onnx", "toml")

ONE_KERNEL = {"stride", "dilation", "padding", "transposed", "output_padding", "bias", "channels", "groups"}
READING = {"dims", "layout"}
TABLE = {"formula", "count", "with_bias", "batch", "dtype", "versus"}
QUESTIONS: dict[str, set[str]] = {
    "kernel": ONE_KERNEL | READING | {"kernel", "quiet", "as_json"},
    "solve": {"solve", "rf", "max_layers", "as_json"},
    "at": READING | {"at", "as_json"},
    "emit": READING | {"emit"},
    "input_for": READING | {"input_for", "as_json", "quiet"},
    "report": READING | TABLE | {"quiet", "as_json", "as_csv", "markdown"},
}
"""What can be asked, and the options that have a part in it; any other is refused, so that none is ignored."""


def _kernel_shape(text: str) -> tuple[int, ...] | str:
    """A shape as it is written; other text is taken for a kernel's name, whose axes follow the input's."""
    try:
        return parse_shape(text)
    except InputError:
        if text[:1].isdigit() and ":" not in text:
            raise
    return text


def _indices(text: str) -> tuple[int, ...]:
    value = PER_AXIS.parse(text)
    return (value,) if isinstance(value, int) else tuple(value)


@click.command("shape", epilog=EXAMPLES)
@click.argument("words", nargs=-1, metavar="SHAPE [LAYER]... | FILE")
@click.option(
    "-k",
    "--kernel",
    type=Parsed("kernel-shape", _kernel_shape),
    help="The kernel's shape: 3x3, 7x7x3 (with channels), 64x7x7x3 (64 kernels); or a kernel's name.",
)
@click.option("--transposed", is_flag=True, help="The transposed convolution: its kernel maps O channels back to C.")
@click.option("--output-padding", type=PER_AXIS, default="0", help="Extra outputs at the end, transposed only.")
@click.option("--bias/--no-bias", default=False, help="Count a bias for each output channel.")
@click.option("-q", "--quiet", is_flag=True, help="Print the output shape only.")
@click.option("--formula", is_flag=True, help="Networks: show the arithmetic of every size.")
@click.option("--count", type=Choice(UNITS), default="macs", help="Networks: count multiply-adds, or both apart.")
@click.option("--with-bias", is_flag=True, help="Networks: count the additions of biases as work.")
@click.option("--batch", type=Count(1), default=1, metavar="N", help="Networks: items at once.")
@click.option(
    "--dtype", type=Choice((*DTYPES, "bfloat16")), default="float32", help="Networks: the type that memory is told for."
)
@click.option("--versus", type=Choice(VERSUS), help="Networks: compare with dense, or depthwise-separable, layers.")
@click.option("--csv", "as_csv", is_flag=True, help="Networks: print comma-separated values.")
@click.option("--markdown", is_flag=True, help="Networks: print a Markdown table.")
@click.option(
    "--at", type=Parsed("i[,j...]", _indices), help="Networks: what this output sees, and what this input reaches."
)
@click.option("--input-for", type=SHAPE, help="Networks: the input size that this output size needs.")
@click.option(
    "--emit", type=Choice(EMITS), help="Networks: write PyTorch or Keras code, an ONNX model or TOML to stdout."
)
@click.option("--solve", type=(SHAPE, SHAPE), metavar="FROM TO", help="Find layers that lead from one size to another.")
@click.option("--rf", type=Count(1), metavar="N", help="With --solve: the receptive field to have.")
@click.option("--max-layers", type=Count(1, 4), default=2, metavar="N", help="With --solve: at most so many.")
@options.stacked(*options.GEOMETRY, *options.READING)
@click.pass_context
def command(ctx: click.Context, /, words: tuple[str, ...], **given: Any) -> None:
    """Tell what comes out of a convolution of SHAPE, or of a whole network, and how.

    SHAPE is the input's: 28x28, 224x224x3 (channels last), 8x224x224x3 (a batch, with -k), 100 (a signal). LAYERs
    are conv:FILTERS,k=K deconv depthwise maxpool avgpool gap relu batchnorm layernorm pad upsample flatten linear
    dropout unfold, with k= s= p= d= g= bias=no ceil=yes; [...]x3 repeats, 'residual[a | b]' and 'concat[a | b]'
    branch. FILE is a network in TOML, or an ONNX model.
    """
    question = _question(ctx, words, given)
    if question == "kernel":
        _tell_kernel(ctx, words, **{key: given[key] for key in QUESTIONS["kernel"]})
    elif question == "solve":
        _tell_chains(words, given)
    elif question == "input_for":
        _tell_needs(ctx, words, given)
    else:
        network = _network(ctx, words, given["dims"], given["layout"])
        if question == "emit":
            _emit(network, words, given["emit"])
        else:
            (_tell_box if question == "at" else _tell_network)(network, given)


def _question(ctx: click.Context, words: tuple[str, ...], given: dict[str, Any]) -> str:
    """What is asked. Raises UsageError for options that have no part in it."""
    asked = {key for key in given if ctx.get_parameter_source(key) == click.core.ParameterSource.COMMANDLINE}
    question = next((key for key in ("kernel", "solve", "at", "input_for", "emit") if key in asked), "report")
    if question == "report" and len(words) == 1 and not _is_file(words[0]):
        _shape(ctx, words[0])
        raise click.UsageError(
            f"{words[0]} alone; expected a kernel or layers; give -k 3x3, or conv:64,k=3,p=1 after the shape"
        )
    if question in ("at", "input_for", "emit") and any(word.endswith(".onnx") for word in words):
        raise click.UsageError(f"{_ASKED[question]} needs layers that it knows; give them as words or as TOML")
    names = {param.name: max(param.opts, key=len) for param in ctx.command.params if param.name}
    if stray := sorted(names[key] for key in asked - QUESTIONS[question]):
        raise click.UsageError(f"{stray[0]} has no part in {_ASKED[question]}; {_way_out(stray[0], question)}")
    if (
        question != "kernel"
        and len(prints := sorted(names[key] for key in asked & {"as_json", "as_csv", "markdown", "quiet"})) > 1
    ):
        raise click.UsageError(f"{' and '.join(prints)} cannot be had at once; choose one")
    return question


_ASKED = {
    "kernel": "a single kernel (-k)",
    "solve": "--solve",
    "at": "--at",
    "input_for": "--input-for",
    "emit": "--emit",
    "report": "a network's report",
}


def _way_out(option: str, question: str) -> str:
    if question == "report" and option.removeprefix("--").replace("-", "_") in ONE_KERNEL:
        return "write it in the layer, as conv:64,k=3,s=2,p=1"
    return "leave it out"


# ChannelMode.


def _is_file(word: str) -> bool:
    return word.endswith((".toml", ".onnx"))


def _shape(ctx: click.Context, word: str) -> tuple[int, ...]:
    argument = next(param for param in ctx.command.params if param.name == "words")
    try:
        return parse_shape(word)
    except InputError as error:
        raise click.BadParameter(str(error), ctx, argument, "'SHAPE'") from None


def _lay(layers: tuple[str, ...], layout: Layout) -> Callable[[Tensor | None], Network]:
    """What lays the layers, or the file among them, on an input."""
    from convcli.network.graph import Network
    from convcli.network.parser import parse

    if len(layers) == 1 and layers[0].endswith(".onnx"):
        from convcli.network import read_onnx

        return lambda x: read_onnx.load(layers[0])
    if len(layers) == 1 and _is_file(layers[0]):
        from convcli.network import load

        return lambda x: load.load(layers[0], x)
    items = parse(" ".join(layers))

    def lay(x: Tensor | None) -> Network:
        assert x is not None
        return Network.of(x, items, layout=layout)

    return lay


def _network(ctx: click.Context, words: tuple[str, ...], dims: int | None, layout: Layout) -> Network:
    """A file alone, or a shape and then layers, or a file, to lay on it."""
    from convcli.network.graph import read_input

    if not words:
        raise click.UsageError("nothing to tell the shape of; expected SHAPE and layers, or FILE; see the examples")
    if words[-1].endswith(".onnx") and (len(words) > 1 or dims is not None or layout != "channels_last"):
        raise click.UsageError(f"{words[-1]} brings its own input; expected the file alone; leave the rest out")
    if _is_file(words[0]):
        if len(words) > 1:
            raise click.UsageError(f"{words[1]!r} after {words[0]}; expected the file alone, or a shape before it")
        if dims is not None or layout != "channels_last":
            raise click.UsageError("--dims and --layout stand in the file; or give a shape before it")
        return _lay(words, layout)(None)
    return _lay(words[1:], layout)(read_input(_shape(ctx, words[0]), dims, layout))


# Telling.


def _tell_kernel(
    ctx: click.Context,
    words: tuple[str, ...],
    *,
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
    from convcli.cli.report.shape import layer_json, layer_lines
    from convcli.cli.report.text import print_json
    from convcli.shapes.layer import Layer
    from convcli.shapes.layout import infer_layout

    if len(words) != 1:
        told = f"{words[1]!r} beside -k" if words else "no SHAPE"
        raise click.UsageError(f"{told}; expected one shape, or else layers without -k")
    shape = _shape(ctx, words[0])
    if output_padding and not transposed:
        raise click.UsageError("--output-padding belongs to the transposed convolution; add --transposed")
    if isinstance(kernel, str):
        from convcli.jobs.operands import resolve_kernel

        kernel = resolve_kernel(kernel, shape, dims, "the input", layout).shape
    settled = infer_layout(
        shape, kernel, dims=dims, channels=channels, groups=groups, layout=layout, transposed=transposed
    )
    spec = ConvSpec.of(
        settled.dims, stride=stride, dilation=dilation, padding=padding, output_padding=output_padding, groups=groups
    )
    layer = Layer.of(settled, spec, transposed=transposed, bias=bias)
    if as_json:
        print_json("shape", layer_json(layer))
    else:
        click.echo(show(layer.output) if quiet else "\n".join(layer_lines(layer)))


def _tell_network(network: Network, given: dict[str, Any]) -> None:
    from convcli.cli.report import shape
    from convcli.cli.report.text import print_json
    from convcli.network.summary import Count, summarise

    if given["quiet"]:
        click.echo(network.show(network.output))
        return
    count = Count(given["count"], given["with_bias"], given["batch"])
    summary = summarise(network, count, dtype=given["dtype"], versus=given["versus"])
    if given["as_json"]:
        print_json("shape network", shape.summary_json(summary, formula=given["formula"]))
        return
    show_as = shape.summary_csv if given["as_csv"] else shape.summary_markdown
    lines = (show_as if given["as_csv"] or given["markdown"] else shape.summary_lines)(
        summary, formula=given["formula"]
    )
    click.echo("\n".join(lines))


def _tell_box(network: Network, given: dict[str, Any]) -> None:
    from convcli.cli.report.shape import at_json, at_lines
    from convcli.cli.report.text import print_json
    from convcli.network import receptive_field

    at = given["at"]
    sees = receptive_field.sees(network, at)
    within = all(index < n for index, n in zip(at, network.x.spatial, strict=True))
    reaches = receptive_field.reaches(network, at) if within else None
    if given["as_json"]:
        print_json("shape at", at_json(network, at, sees, reaches))
    else:
        click.echo("\n".join(at_lines(network, at, sees, reaches)))


def _emit(network: Network, words: tuple[str, ...], target: str) -> None:
    from convcli.network import emit_torch

    if target == "torch":
        click.echo(emit_torch.torch(network))
    elif target == "keras":
        from convcli.network.emit_keras import keras

        click.echo(keras(network))
    elif target == "onnx":
        from convcli.network import emit_onnx

        if sys.stdout.isatty():
            raise click.UsageError("--emit onnx on a terminal; expected a file or a pipe; add > net.onnx")
        sys.stdout.buffer.write(emit_onnx.serialise(network))
    elif _is_file(words[-1]):
        raise click.UsageError(f"{words[-1]} is such a file already; expected layers to write into one")
    else:
        click.echo(emit_torch.toml(network, " ".join(words[1:])))


def _tell_needs(ctx: click.Context, words: tuple[str, ...], given: dict[str, Any]) -> None:
    from convcli.cli.report.shape import needs_json, needs_lines
    from convcli.cli.report.text import print_json
    from convcli.network.graph import read_input
    from convcli.network.inverse import input_for

    wanted, layout = given["input_for"], given["layout"]
    if not words:
        raise click.UsageError("--input-for alone; expected layers, or a file, that give this output")
    x = read_input(_shape(ctx, words[0]), given["dims"], layout) if words[0][:1].isdigit() else None
    layers = words if x is None else words[1:]
    lay = _lay(layers, layout)
    if x is None and _is_file(layers[0]):
        x = lay(None).x
    needs = input_for(lay, x, wanted)
    if given["as_json"]:
        print_json("shape input-for", needs_json(wanted, needs))
    else:
        lines = needs_lines(wanted, needs)
        click.echo(lines[0] if given["quiet"] else "\n".join(lines))


def _tell_chains(words: tuple[str, ...], given: dict[str, Any]) -> None:
    from convcli.cli.report.shape import chains_json, chains_lines
    from convcli.cli.report.text import print_json
    from convcli.network.inverse import solve

    if words:
        raise click.UsageError(f"{words[0]!r} beside --solve; expected two sizes after it and nothing else")
    chains = solve(*given["solve"], rf=given["rf"], max_layers=given["max_layers"])
    if given["as_json"]:
        print_json("shape solve", chains_json(chains))
    else:
        click.echo("\n".join(chains_lines(chains)))
