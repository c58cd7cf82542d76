"""`convcli shape`: sizes, weights and multiply-adds, from shapes alone, of one kernel or of a whole
network.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import click

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.cli.types import PER_AXIS, SHAPE, Choice, Count, Parsed
from convcli.errors import InputError
from convcli.options import COUNT_UNITS, DTYPES, VERSUS
from convcli.shapes.parse import parse_shape

EXAMPLES = """\b
Examples:
  convcli shape 28x28 -k 3x3
  convcli shape 224x224x3 -k 64x7x7x3 --stride 2 --padding 3
  convcli shape 14x14x256 -k 256x4x4x128 --transposed --stride 2 --padding 1
  convcli shape 224x224x3 conv:64,k=7,s=2,p=3 relu maxpool:3,s=2 gap linear:10
  convcli shape samples/networks/resnet18.toml --count flops
  convcli shape 224x224x3 conv:64,k=7,s=2,p=3 maxpool:3,s=2,p=1 --at 0,0
  convcli shape net.toml --at 6,6 --plot photo.png -o field.png
  convcli shape --input-for 27x27 conv:64,k=11,s=4 maxpool:3,s=2
  convcli shape --solve 224x224 56x56 --rf 31 --max-layers 3
  convcli shape 28x28x1 conv:8,k=3 relu gap --emit onnx -o net.onnx
  convcli shape samples/networks/unet.toml --diagram unet.svg
"""
EMITS = ("torch", "keras", "onnx", "toml")


class Question(NamedTuple):
    """One question: its name in messages, and the options that have a part in it.

    module: of `shape_questions`, whose `answer` answers it.
    """

    module: str
    title: str
    options: set[str]


ONE_KERNEL = {"stride", "dilation", "padding", "transposed", "output_padding", "bias"}
ONE_KERNEL |= {"channels", "groups"}
READING = {"dims", "layout"}
TABLE = {"formula", "count", "with_bias", "batch", "dtype", "versus", "columns"}
PRINTING = {"as_json", "as_csv", "markdown", "quiet"}

REPORT = Question("network", "the report of a network", READING | TABLE | PRINTING | {"verbose"})
FIELD = Question(
    "pixel", "--at", READING | {"at", "plot", "output", "overwrite", "as_json", "quiet"}
)
QUESTIONS = {
    "kernel": Question(
        "layer",
        "a single kernel (-k)",
        ONE_KERNEL | READING | {"kernel", "quiet", "verbose", "as_json"},
    ),
    "solve": Question("solve", "--solve", {"solve", "rf", "max_layers", "as_json", "quiet"}),
    "at": FIELD,
    "plot": FIELD,
    "input_for": Question("input_for", "--input-for", READING | {"input_for", "as_json", "quiet"}),
    "emit": Question("emit", "--emit", READING | {"emit", "output", "overwrite", "quiet"}),
    "diagram": Question(
        "diagram", "--diagram", READING | {"diagram", "overwrite", "as_json", "quiet"}
    ),
}
"""The questions by the option that asks them, REPORT if there is none.

Options that do not belong to a question are refused.
"""


def _kernel_shape(text: str) -> tuple[int, ...] | str:
    """Parse a shape; other text is a kernel's name, whose axes follow the input's."""
    try:
        return parse_shape(text)
    except InputError:
        if text[:1].isdigit() and ":" not in text:
            raise
    return text


def _indices(text: str) -> tuple[int, ...]:
    value = PER_AXIS.parse(text)
    return (value,) if isinstance(value, int) else tuple(value)


class _Shape(Command):
    """A command that says what --solve expects if one size is missing."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.BadOptionUsage as error:
            if error.option_name != "--solve":
                raise
            example = "write --solve 224x224 56x56"
            raise click.UsageError(
                f"--solve with less than two sizes; expected FROM and TO; {example}", ctx
            ) from None


@click.command("shape", cls=_Shape, epilog=EXAMPLES)
@click.argument(
    "words", nargs=-1, metavar="SHAPE [LAYER]... | [SHAPE] FILE", shell_complete=complete.files
)
@click.option(
    "-k",
    "--kernel",
    type=Parsed("kernel-shape", _kernel_shape),
    help="Use a kernel of this shape: 3x3, 7x7x3 (with channels), 64x7x7x3 (64 kernels); "
    "or a kernel by name.",
)
@click.option(
    "--transposed",
    is_flag=True,
    help="Transpose the convolution: its kernel maps O channels back to C.",
)
@click.option(
    "--output-padding",
    type=PER_AXIS,
    default="0",
    help="Add outputs at the end, with --transposed.",
)
@click.option("--bias/--no-bias", default=False, help="Count a bias for each output channel.")
@click.option(
    "-q",
    "--quiet",
    is_flag=True,
    help="Print the answer only: the output shape, or a chain of layers.",
)
@click.option("--formula", is_flag=True, help="Show the arithmetic of every size.")
@click.option(
    "--count",
    type=Choice(COUNT_UNITS),
    default="macs",
    help="Count multiply-adds (macs), or multiplications and additions (flops).",
)
@click.option("--with-bias", is_flag=True, help="Count the additions of biases as work.")
@click.option(
    "--batch", type=Count(1), default=1, metavar="N", help="Set the number of items in a batch."
)
@click.option(
    "--dtype",
    type=Choice((*DTYPES, "bfloat16")),
    default="float32",
    metavar="T",
    help="Compute the memory of a network for this number type.",
)
@click.option(
    "--versus",
    type=Choice(VERSUS),
    help="Compare with dense, or depthwise-separable, layers.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@click.option(
    "--at",
    type=Parsed("i[,j...]", _indices),
    help="Show what this output sees, and what this input reaches.",
)
@click.option(
    "--plot",
    metavar="PICTURE",
    shell_complete=complete.files,
    help="Draw the receptive field of --at over this picture, to the file of -o.",
)
@click.option("--input-for", type=SHAPE, help="Find the input size that this output size needs.")
@click.option(
    "--emit",
    type=Choice(EMITS),
    help="Write PyTorch or Keras code, an ONNX model or TOML.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write the network of --emit to FILE, or the picture of --plot. [default: stdout]",
)
@click.option(
    "--diagram",
    metavar="FILE",
    shell_complete=complete.files,
    help="Write an SVG picture: a box per layer with its output shape, branches side by side.",
)
@options.overwrite
@options.verbose
@options.columns
@click.option(
    "--solve",
    type=(SHAPE, SHAPE),
    metavar="FROM TO",
    help="Find layers that lead from one size to another.",
)
@click.option(
    "--rf", type=Count(1), metavar="N", help="Find layers with this receptive field, with --solve."
)
@click.option(
    "--max-layers",
    type=Count(1, 4),
    default=2,
    metavar="N",
    help="Find at most this many layers, with --solve.",
)
@options.stacked(*options.GEOMETRY, *options.READING)
@click.pass_context
def command(ctx: click.Context, /, words: tuple[str, ...], **given: Any) -> None:
    """Compute the output shape of a convolution or a whole network.

    SHAPE is the input's shape: 28x28, 224x224x3 (channels last), 8x224x224x3 (a batch, with -k) or
    100 (a signal). LAYERs are conv:FILTERS,k=K deconv depthwise maxpool avgpool gap relu batchnorm
    layernorm pad upsample flatten linear dropout unfold, with k= s= p= d= g= bias=no ceil=yes;
    [...]x3 repeats, 'residual[a | b]' and 'concat[a | b]' branch. FILE is a network in TOML, or an
    ONNX model.
    """
    question = _question(ctx, words, given)
    import_module(f"convcli.cli.shape_questions.{question.module}").answer(words, given)


def _question(ctx: click.Context, words: tuple[str, ...], given: dict[str, Any]) -> Question:
    """Find out what is asked. Raises UsageError for options that have no part in it."""
    typed = click.core.ParameterSource.COMMANDLINE
    asked = {key for key in given if ctx.get_parameter_source(key) == typed}
    question = next((QUESTIONS[key] for key in QUESTIONS if key in asked), REPORT)
    if question is REPORT and len(words) == 1:
        _refuse_shape_alone(words[0])
    needs_layers = question in (QUESTIONS["at"], QUESTIONS["input_for"], QUESTIONS["emit"])
    if needs_layers and any(word.endswith(".onnx") for word in words):
        raise click.UsageError(
            f"{question.title} does not read ONNX models; give the layers as words or as TOML"
        )
    names = {param.name: max(param.opts, key=len) for param in ctx.command.params if param.name}
    if stray := sorted(names[key] for key in asked - question.options):
        raise click.UsageError(
            f"{stray[0]} does not apply to {question.title}; {_remedy(stray[0], question)}"
        )
    prints = sorted(names[key] for key in asked & PRINTING)
    if question is not QUESTIONS["kernel"] and len(prints) > 1:
        raise click.UsageError(f"{' and '.join(prints)} cannot be combined; choose one")
    return question


def _refuse_shape_alone(word: str) -> None:
    from convcli.cli.shape_questions.words import input_shape
    from convcli.network.load import check_network_suffix, is_network_file

    check_network_suffix(word)
    if not is_network_file(word):
        input_shape(word)
        raise click.UsageError(
            f"{word} alone; expected a kernel or layers; add -k 3x3, or layers as conv:64,k=3,p=1"
        )


def _remedy(option: str, question: Question) -> str:
    if question is REPORT and option.removeprefix("--").replace("-", "_") in ONE_KERNEL:
        return "write it in the layer, as conv:64,k=3,s=2,p=1"
    return "leave it out"
