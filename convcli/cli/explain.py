"""`convcli explain`: one output, product by product."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.cli.types import FINITE, GRADIENT, INDEX, Choice
from convcli.options import ACTIVATIONS, LANGUAGES

EXAMPLES = """\b
Examples:
  convcli explain photo.png -k sobel-x --at 100,200
  convcli explain 5x5 -k "1,2;3,4" --op convolve --padding same --at 4,4
  convcli explain 8x8x3 -k random:4x3x3x3 --at 2,2,1 --backward
  convcli explain 4x4 -k box:size=3 --all
  convcli explain 5x5 -k "1,2;3,4" --bias 0.5 --activation relu --backward
  convcli explain 5 -k 1,2,3 --gradient "dw[0]"
  convcli explain digit.png -k sobel-x --html page.html
"""

PAGE_ONLY = {
    "language": "--lang",
    "transposed": "--transposed",
    "output_padding": "--output-padding",
    "overwrite": "--overwrite",
}
"""Options of the interactive page, which need --html; None or False if they are not given."""


@click.command("explain", cls=Command, epilog=EXAMPLES)
@click.argument("input", metavar="INPUT-OR-SHAPE", shell_complete=complete.files)
@options.kernel
@click.option(
    "--at",
    type=INDEX,
    help="Explain this output: an index, and a channel if there are any. [default: the middle]",
)
@click.option("--all", "every", is_flag=True, help="Explain every output of a small input.")
@click.option(
    "--gradient",
    "entry",
    type=GRADIENT,
    help="Explain this entry of a gradient, such as 'dw[0]' or 'dx[3,1]': the sum, term by term.",
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    help="Write an interactive page that shows the whole convolution in a browser, offline.",
)
@click.option(
    "--lang",
    "language",
    type=Choice(LANGUAGES),
    help="Set the language of the page. [default: en]",
)
@click.option(
    "--activation",
    type=Choice(ACTIVATIONS),
    metavar="A",
    help=f"Apply this function to every sum: {', '.join(ACTIVATIONS)}.",
)
@options.op
@click.option(
    "--backward",
    is_flag=True,
    help="Show the contributions of dy at this output to dx and dw; start the page with them.",
)
@click.option(
    "--upstream",
    metavar="FILE",
    help="Read dy for --backward or --gradient, in the output's shape. [default: ones]",
)
@options.seed
@click.option("-q", "--quiet", is_flag=True, help="Print the value only.")
@options.verbose
@click.option(
    "--transposed",
    is_flag=True,
    help="Transpose the convolution in the page: its kernel maps O channels back to C.",
)
@options.output_padding
@click.option(
    "--bias",
    type=FINITE,
    metavar="B",
    help="Add B to every sum, before the activation. [default: 0]",
)
@options.overwrite
@options.stacked(*options.GEOMETRY, *options.BORDER, *options.READING, *options.RUNNING)
def command(
    as_json: bool,
    every: bool,
    quiet: bool,
    verbose: bool,
    page: str | None,
    entry: tuple[str, tuple[int, ...] | None] | None,
    **settings: Any,
) -> None:
    """Show how one output is computed, product by product.

    INPUT-OR-SHAPE is a file, or a shape such as 8x8x3 that is filled with random numbers. The
    report shows the patch, the kernel, their product and the sum, one block per channel. Padded
    samples are in brackets. In --at, -1 is the last index. The sum is the value that apply
    computes; -q prints it alone. An entry of a gradient is explained instead by --gradient: quote
    it, as brackets mean something to a shell, or write dw:0. --html writes a page, in which every
    value can be chosen and every option changed.
    """
    from convcli.cli.report.explain import explanation_json, print_explanation, print_values
    from convcli.cli.report.text import print_json, print_warnings
    from convcli.jobs.requests import from_options
    from convcli.learn.explain import ExplainRequest, run_explain
    from convcli.learn.indices import MIDDLE

    if entry is not None:
        _check_alone(every, page, settings)
        _explain_gradient(entry, as_json, quiet, verbose, settings)
        return
    if every and settings["at"] is not None:
        raise click.UsageError("--at and --all; expected exactly one of them")
    if not every and settings["at"] is None:
        settings["at"] = MIDDLE
    if page is not None:
        _write_page(page, every, as_json, quiet, settings)
        return
    _drop_page_options(settings)
    if settings["upstream"] is not None and not settings["backward"]:
        raise click.UsageError("--upstream is the start of --backward; add --backward")
    settings["bias"] = settings["bias"] or 0.0
    result = run_explain(from_options(ExplainRequest, **settings))
    warnings = result.operands.data.all_warnings
    print_warnings(warnings)
    if as_json:
        print_json("explain", explanation_json(result), warnings)
    elif quiet:
        print_values(result)
    else:
        print_explanation(result, verbose=verbose)


def _drop_page_options(settings: dict[str, Any]) -> None:
    """Remove the options of the interactive page. Raises UsageError if one is given."""
    for name, option in PAGE_ONLY.items():
        if settings.pop(name) not in (None, False):
            raise click.UsageError(f"{option} belongs to the interactive page; add --html FILE")


def _check_alone(every: bool, page: str | None, settings: dict[str, Any]) -> None:
    """Raise UsageError if --gradient is given with an option that explains outputs."""
    others = {
        "--at": settings["at"] is not None,
        "--all": every,
        "--html": page is not None,
        "--backward": settings["backward"],
    }
    for option, given in others.items():
        if given:
            raise click.UsageError(
                f"{option} and --gradient; one explains outputs, the other an entry of a gradient; "
                f"leave {option} out"
            )


def _explain_gradient(
    entry: tuple[str, tuple[int, ...] | None],
    as_json: bool,
    quiet: bool,
    verbose: bool,
    settings: dict[str, Any],
) -> None:
    """Report the sum that an entry of a gradient is."""
    from convcli.cli.report.explain_tables import number
    from convcli.cli.report.gathered import gathered_json, gathered_lines
    from convcli.cli.report.terminal import echo
    from convcli.cli.report.text import print_json, print_warnings
    from convcli.jobs.requests import from_options
    from convcli.learn.gathered import GatheredRequest, run_gathered

    _drop_page_options(settings)
    del settings["at"], settings["backward"]
    settings["bias"] = settings["bias"] or 0.0
    request = from_options(GatheredRequest, entry=entry, **settings)
    result = run_gathered(request, every=verbose)
    warnings = result.operands.data.all_warnings
    print_warnings(warnings)
    if as_json:
        print_json("explain gradient", gathered_json(result), warnings)
    else:
        echo([number(result.value)] if quiet else gathered_lines(result))


def _write_page(
    page: str, every: bool, as_json: bool, quiet: bool, settings: dict[str, Any]
) -> None:
    """Write the interactive page, and report what it shows."""
    from convcli.cli.report.page import page_json, page_lines
    from convcli.cli.report.terminal import echo
    from convcli.cli.report.text import print_json, print_warnings
    from convcli.jobs.requests import from_options
    from convcli.learn.page import PageRequest, run_page

    if every:
        raise click.UsageError("--all and --html; the page shows every output, leave --all out")
    if settings["output_padding"] is not None and not settings["transposed"]:
        raise click.UsageError(
            "--output-padding belongs to the transposed convolution; add --transposed"
        )
    options.check_stdout(as_json, page, "write to a file")
    given = {name: value for name, value in settings.items() if value is not None}
    result = run_page(from_options(PageRequest, page=page, **given))
    warnings = (*result.operands.data.all_warnings, *result.written.warnings)
    print_warnings(warnings)
    if as_json:
        print_json("explain page", page_json(result), warnings)
    elif not quiet:
        echo(page_lines(result), err=page == "-")
