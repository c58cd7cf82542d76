"""`convcli shape SHAPE LAYER...`: every layer of a network, and the totals."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli.report import shape
from convcli.cli.report.text import print_json
from convcli.cli.shape_questions.words import read_network
from convcli.network.summary import Count, summarise


def answer(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Show a network's layers as a table, JSON, CSV or Markdown, or its output shape alone."""
    network = read_network(words, given["dims"], given["layout"])
    if given["quiet"]:
        click.echo(network.show(network.output))
        return
    count = Count(given["count"], given["with_bias"], given["batch"])
    summary = summarise(network, count, dtype=given["dtype"], versus=given["versus"])
    formula = given["formula"]
    if given["as_json"]:
        print_json("shape network", shape.summary_json(summary, formula=formula))
    elif given["as_csv"]:
        click.echo("\n".join(shape.summary_csv(summary, formula=formula)))
    elif given["markdown"]:
        click.echo("\n".join(shape.summary_markdown(summary, formula=formula)))
    else:
        click.echo("\n".join(shape.summary_lines(summary, formula=formula)))
