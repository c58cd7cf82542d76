"""The terminal of stdout or stderr: its width, and its styles."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

import click

from convcli.errors import printable

NARROWEST = 20
"""Columns of a text beside its label at least."""


def width(*, indent: int = 0, stream: Any = None) -> int | None:
    """Return the columns of the terminal after an indent.

    Returns None for a file or a pipe, whose lines are not wrapped. stream: stdout by default.
    """
    if not is_terminal(sys.stdout if stream is None else stream):
        return None
    import shutil

    return shutil.get_terminal_size().columns - indent


def is_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal; it is None if the shell closed it."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def echo(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines on stdout or stderr.

    Styles are kept on a terminal; NO_COLOR and FORCE_COLOR override that.
    """
    click.echo("\n".join(lines), err=err, color=_forced())


def print_message(word: str, colour: str, text: str) -> None:
    """Print a line on stderr that begins with a coloured word.

    On a terminal it is wrapped at words; long names are not broken, so that they can be copied.
    """
    lines = wrapped(f"{word} {printable(text)}", width(stream=sys.stderr), "  ", breaks_words=False)
    lines[0] = click.style(word, fg=colour) + lines[0].removeprefix(word)
    echo(lines, err=True)


def _forced() -> bool | None:
    """Return whether the environment forces styles on or off; None if neither."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def bold(text: str) -> str:
    return click.style(text, bold=True)


def dim(text: str) -> str:
    return click.style(text, dim=True)


def coloured(word: str, good: bool) -> str:
    """Return a verdict in green, or in bold red."""
    return click.style(word, fg="green") if good else click.style(word, fg="red", bold=True)


def verdict_lines(word: str, text: str) -> list[str]:
    """Return the first lines of a report: a coloured `passed` or `FAILED`, and the reason."""
    first, *rest = wrapped(f"{word}: {text}", width())
    return [f"{coloured(word, word == 'passed')}{first.removeprefix(word)}", *rest]


def plain_length(text: str) -> int:
    """Return the width of a styled text in columns."""
    return len(click.unstyle(text))


def wrapped(
    text: str, columns: int | None, indent: str = "", *, breaks_words: bool = True
) -> list[str]:
    """Wrap a text at words into lines of at most this many columns; later lines are indented.

    breaks_words: whether a word that is longer than a line is broken too.

    >>> wrapped("one two three", 9, "  ")
    ['one two', '  three']
    """
    if columns is None or len(text) <= columns:
        return [text]
    room = max(columns, len(indent) + 1)
    return textwrap.wrap(
        text, room, subsequent_indent=indent, break_on_hyphens=False, break_long_words=breaks_words
    ) or [""]


def labelled(rows: Iterable[tuple[str, str]], indent: str = "  ") -> list[str]:
    """Align labels and their texts; on a terminal, long texts are wrapped in their column.

    On a narrow terminal, a text follows its label without a column.
    """
    pairs = [(label, printable(text)) for label, text in rows]
    gap = len(indent) + max(len(label) for label, _ in pairs) + 2
    room = width()
    narrow = room is not None and room - gap < NARROWEST
    lines = []
    for label, text in pairs:
        first = f"{indent}{label}  " if narrow else f"{indent}{label}".ljust(gap)
        lines += wrapped((first + text).rstrip(), room, 2 * indent if narrow else " " * gap)
    return lines
