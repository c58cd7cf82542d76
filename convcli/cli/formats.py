"""`convcli formats`: what this installation reads and writes."""

from __future__ import annotations

import click

from convcli.cli import options
from convcli.cli.help import Command

EXAMPLES = """\b
Examples:
  convcli formats
  convcli formats --json
"""


@click.command("formats", cls=Command, epilog=EXAMPLES)
@click.option(
    "--markdown", is_flag=True, help="Print the table as Markdown, identical on every installation."
)
@click.option("-q", "--quiet", is_flag=True, help="Print the names only, one per line.")
@click.option("-v", "--verbose", is_flag=True, help="Show how each format is recognised too.")
@options.columns
@options.stacked()
def command(
    markdown: bool, as_json: bool, quiet: bool, verbose: bool, columns: tuple[str, ...] | None
) -> None:
    """List the file formats that convcli reads and writes.

    For each: its suffixes, the number types that it reads and writes, and the package it needs. A
    file's format is that of its suffix, and a picture's is recognised by its first bytes; for a
    pipe, give --input-format or --format.
    """
    from convcli.cli.report import formats as report
    from convcli.cli.report.terminal import echo
    from convcli.cli.report.text import print_json

    if markdown and as_json:
        raise click.UsageError("--markdown and --json cannot be combined; choose one")
    if as_json:
        print_json("formats", report.formats_json())
    elif markdown:
        click.echo(report.markdown())
    elif quiet:
        echo(report.format_names())
    else:
        echo(report.formats_lines(columns, verbose=verbose))
