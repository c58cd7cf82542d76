"""`convcli kernels`: list and draw the bank, show one kernel, and write one to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from convcli.cli import complete, options
from convcli.cli.help import Command
from convcli.cli.types import Count

if TYPE_CHECKING:
    from convcli.io import Written
    from convcli.kernels import Kernel

FORMATS = ("csv", "txt", "json", "imagemagick", "vips", "npy", "npz")

HEAD = "\b\nExamples:\n"
LIST_EXAMPLES = """\
  convcli kernels list
  convcli kernels list edge
  convcli kernels list "gauss*"
"""
SHOW_EXAMPLES = """\
  convcli kernels show sobel-x
  convcli kernels show "gabor:theta=45,wavelength=8"
  convcli kernels show "0,-1,0; -1,5,-1; 0,-1,0"
  convcli kernels show gaussian:sigma=2 --plot gaussian.png
"""
EXPORT_EXAMPLES = """\
  convcli kernels export gaussian:sigma=2 -o gaussian.csv
  convcli kernels export sobel-x -o - --format json
"""
GALLERY_EXAMPLES = """\
  convcli kernels gallery -o gallery.png
  convcli kernels gallery photo.jpg -k sobel-x -k gaussian:sigma=3 -o some.png
"""
EXAMPLES = HEAD + LIST_EXAMPLES + SHOW_EXAMPLES + GALLERY_EXAMPLES + EXPORT_EXAMPLES

name_argument = click.argument("name", shell_complete=complete.kernels)
dims = click.option("--dims", type=Count(1), metavar="N", help="Make a kernel of this many axes.")


class _Kernels(click.Group):
    """A group that reads an unknown command as the name of a kernel to show."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        shown = args and args[0] not in self.commands and not args[0].startswith("-")
        return super().resolve_command(ctx, ["show", *args] if shown else args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        items = super().shell_complete(ctx, incomplete)
        references = complete.kernels(ctx, self.params[0], incomplete)
        return items + [item for item in references if item.type == "plain" or not items]


@click.group("kernels", cls=_Kernels, invoke_without_command=True, epilog=EXAMPLES)
@options.debug
@click.pass_context
def command(context: click.Context) -> None:
    """List, show, draw and export the named kernels.

    Without a command, list them; `convcli kernels NAME` means `convcli kernels show NAME`.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_)


@command.command("list", cls=Command, epilog=HEAD + LIST_EXAMPLES)
@click.argument("pattern", required=False)
@click.option("-q", "--quiet", is_flag=True, help="Print the names only, one per line.")
@click.option("-v", "--verbose", is_flag=True, help="Show the source of each kernel too.")
@options.columns
@options.stacked()
def list_(
    pattern: str | None, as_json: bool, quiet: bool, verbose: bool, columns: tuple[str, ...] | None
) -> None:
    """List the named kernels with their parameters and meaning.

    With PATTERN, list those whose name matches it ("gauss*"), or whose line contains it (edge).
    """
    from convcli.cli.report import kernels as report
    from convcli.cli.report.terminal import echo
    from convcli.cli.report.text import print_json

    if as_json:
        print_json("kernels list", report.kernels_json(pattern))
    elif quiet:
        echo(report.kernel_names(pattern))
    else:
        echo(report.kernels_lines(pattern, columns, verbose=verbose))


@command.command(
    "show",
    cls=Command,
    short_help="Show one kernel: taps, sum, rank, response.",
    epilog=HEAD + SHOW_EXAMPLES,
)
@name_argument
@click.option("-q", "--quiet", is_flag=True, help="Print the taps only.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Print every tap and every slice of a large kernel."
)
@click.option(
    "--plot",
    metavar="FILE",
    shell_complete=complete.files,
    help="Draw taps, sections and the response in dB to a picture file, such as sobel.png.",
)
@options.overwrite
@options.stacked(dims)
def show(
    name: str,
    dims: int | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    plot: str | None,
    overwrite: bool,
) -> None:
    """Show one kernel: taps, sum, rank, frequency response, picture.

    NAME is any kernel reference: a name with parameters, a literal, or a file.
    """
    from convcli.cli.report import kernels as report
    from convcli.cli.report.text import print_json, print_warnings, print_written, written_json
    from convcli.kernels import kernel

    options.check_overwrite(overwrite, plot, "belongs to a picture; add --plot FILE")
    resolved = kernel(name, dims=dims)
    written = _write_plot(resolved, plot, overwrite) if plot is not None else None
    warnings = written.warnings if written else ()
    if as_json:
        record = {**report.kernel_json(resolved), "plot": written_json(written)}
        print_json("kernels show", record, warnings)
    elif quiet:
        click.echo("\n".join(report.taps_lines(resolved, verbose=verbose)))
    else:
        report.print_kernel(resolved, verbose=verbose)
        print_written(written)
    print_warnings(warnings)


def _write_plot(kernel: Kernel, plot: str, overwrite: bool) -> Written:
    from convcli.learn.figures import check_figure
    from convcli.learn.figures.kernel import kernel_figure

    target = check_figure(plot, overwrite=overwrite)
    return target.write(kernel_figure(kernel))


@command.command(
    "gallery",
    cls=Command,
    short_help="Draw what every kernel does to a picture.",
    epilog=HEAD + GALLERY_EXAMPLES,
)
@click.argument("picture", metavar="[PICTURE]", required=False, shell_complete=complete.files)
@click.option(
    "-k",
    "--kernel",
    "references",
    shell_complete=complete.kernels,
    multiple=True,
    metavar="K",
    help="Draw this kernel only. Repeatable. [default: every kernel of two axes]",
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    shell_complete=complete.files,
    help="Write to this picture file, such as gallery.png.",
)
@options.overwrite
@options.quiet
@options.stacked(*options.LIMITS)
def gallery(as_json: bool, quiet: bool, picture: str | None, **settings: Any) -> None:
    """Draw what every kernel does to a picture, with its taps and its name.

    Without PICTURE, a small drawing with edges, stripes and points is filtered. A larger picture is
    reduced first. In results of kernels that do not keep flat areas, 0 is gray.
    """
    from convcli.cli.report import kernels as report
    from convcli.cli.report.text import print_json, print_warnings
    from convcli.jobs.requests import from_options
    from convcli.learn.figures.gallery import GalleryRequest, run_gallery

    result = run_gallery(from_options(GalleryRequest, input=picture, **settings))
    print_warnings(result.written.warnings)
    if as_json:
        record = report.gallery_json(result, picture)
        print_json("kernels gallery", record, result.written.warnings)
    elif not quiet:
        click.echo(report.gallery_line(result, picture), err=True)


@command.command("export", cls=Command, epilog=HEAD + EXPORT_EXAMPLES)
@name_argument
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="Write to a .csv, .txt, .json, .mat, .npy or .npz; - is stdout.",
)
@click.option(
    "--format",
    "form",
    metavar="F",
    help=f"Write one of {', '.join(FORMATS)}. [default: from the suffix]",
)
@options.overwrite
@options.quiet
@options.stacked(dims)
def export(
    name: str,
    output: str,
    form: str | None,
    overwrite: bool,
    quiet: bool,
    dims: int | None,
    as_json: bool,
) -> None:
    """Write one kernel to a file that `-k` reads back, tap for tap."""
    from convcli.cli.report import kernels as report
    from convcli.cli.report.text import print_json
    from convcli.kernels import kernel
    from convcli.kernels.files import export_kernel

    options.check_stdout(as_json, output, "write the kernel to a file")
    resolved = kernel(name, dims=dims)
    written = export_kernel(resolved, output, form, overwrite=overwrite)
    if as_json:
        print_json("kernels export", report.export_json(resolved, written))
    elif not quiet:
        click.echo(report.export_line(resolved, written), err=True)
