"""The guide on a terminal: the list of topics, and a page formatted by Rich."""

from __future__ import annotations

from convcli.cli.report.text import columns
from convcli.learn.guide import Page


def topic_lines(topics: dict[str, str], *, names_only: bool) -> list[str]:
    """Return one line per topic: its name alone, or aligned with its title."""
    if names_only:
        return list(topics)
    return ["Read a page with 'convcli guide TOPIC':", *columns(list(topics.items()))]


def formatted(page: Page) -> str:
    """Render a page's Markdown for the terminal, with escape codes for styles."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    with console.capture() as captured:
        console.print(Markdown(page.text))
    return captured.get()
