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
@click.option("--markdown", is_flag=True, help="Print the table as Markdown, identical on every installation.")
@options.stacked()
def command(markdown: bool, as_json: bool) -> None:
    """List the formats that are read and written.

    For each: its suffixes, the number types that it gives and holds, and what it needs. The format of a file is that
    of its suffix, and of a picture what its first bytes say; on a pipe, --input-format and --format name it.
    """
    from convcli.cli.report import formats as report
    from convcli.cli.report.text import print_json

    if markdown and as_json:
        raise click.UsageError("--markdown and --json are two shapes of one table; choose one")
    if as_json:
        print_json("formats", report.formats_json())
    elif markdown:
        click.echo(report.markdown())
    else:
        report.print_formats()
