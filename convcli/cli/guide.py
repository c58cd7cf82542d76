"""`convcli guide`: the manual, one page per topic."""

from __future__ import annotations

import sys

import click

from convcli.cli import complete, options
from convcli.cli.help import Command

EXAMPLES = """\b
Examples:
  convcli guide
  convcli guide gradients
  convcli guide networks > networks.md
"""


@click.command("guide", cls=Command, epilog=EXAMPLES)
@click.argument("topic", required=False, shell_complete=complete.topics)
@click.option("--list", "listed", is_flag=True, help="List the topics, one per line.")
@options.stacked()
def command(topic: str | None, listed: bool, as_json: bool) -> None:
    """Read the manual, one page per topic.

    Without TOPIC, list the topics. On a terminal, a page is formatted and shown in a pager; in a
    pipe it is Markdown.
    """
    from convcli.cli.report import guide as report
    from convcli.cli.report.text import print_json
    from convcli.learn.guide import read_page, topics

    if topic is None or listed:
        if as_json:
            print_json("guide list", {"topics": topics()})
        else:
            click.echo("\n".join(report.topic_lines(topics(), names_only=listed)))
        return
    page = read_page(topic)
    if as_json:
        print_json("guide", page._asdict())
    elif sys.stdout is not None and sys.stdout.isatty():
        click.echo_via_pager(report.formatted(page))
    else:
        click.echo(page.text, nl=False)
