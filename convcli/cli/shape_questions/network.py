"""`convcli shape SHAPE LAYER...`: every layer of a network, and the totals."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli.report import network as report
from convcli.cli.report.terminal import echo
from convcli.cli.report.text import print_json, print_warnings
from convcli.cli.shape_questions.words import input_warnings, read_network
from convcli.network.summary import Count, summarise


def answer(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Show a network's layers as a table, JSON, CSV or Markdown, or its output shape alone."""
    network = read_network(words, given["dims"], given["layout"])
    warnings = input_warnings(words, given["dims"], given["layout"])
    print_warnings(warnings)
    if given["quiet"]:
        click.echo(network.show(network.output))
        return
    count = Count(given["count"], given["with_bias"], given["batch"])
    summary = summarise(network, count, dtype=given["dtype"], versus=given["versus"])
    style = report.Style(given["formula"], given["columns"], given["verbose"])
    if given["as_json"]:
        print_json("shape network", report.summary_json(summary, formula=style.formula), warnings)
    elif given["as_csv"]:
        click.echo("\n".join(report.summary_csv(summary, style)))
    elif given["markdown"]:
        click.echo("\n".join(report.summary_markdown(summary, style)))
    else:
        echo(report.summary_lines(summary, style))
