"""`convcli shape --solve FROM TO`: layers that lead from one size to another."""

from __future__ import annotations

from typing import Any

import click

from convcli.cli.report.shape import chains_json, chains_lines
from convcli.cli.report.terminal import echo
from convcli.cli.report.text import print_json
from convcli.network.inverse import solve


def answer(words: tuple[str, ...], given: dict[str, Any]) -> None:
    """Show chains of layers, the cheapest first."""
    if words:
        raise click.UsageError(
            f"{words[0]!r} together with --solve; expected --solve FROM TO and nothing else"
        )
    chains = solve(*given["solve"], rf=given["rf"], max_layers=given["max_layers"])
    if given["as_json"]:
        print_json("shape solve", chains_json(chains))
    elif given["quiet"]:
        echo([" ".join(link.token for link in chains[0].links)])
    else:
        echo(chains_lines(chains))
