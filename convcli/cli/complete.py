"""Shell completion of parameters: kernels, formats, paddings, topics, commands and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from convcli.options import PADDINGS

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _words(words: Callable[[], Iterable[str]], *, files: bool = False) -> Completer:
    """Complete with the words that begin as typed, or with files if allowed and none does."""

    def complete(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
        found = [CompletionItem(word) for word in words() if word.startswith(typed)]
        return found or ([CompletionItem(typed, type="file")] if files else [])

    return complete


def _kernel_names() -> tuple[str, ...]:
    from convcli.kernels import references

    return references()


def _format_names() -> list[str]:
    from convcli.io import all_formats

    return [form.name for form in all_formats()]


def _topics() -> tuple[str, ...]:
    from convcli.learn.guide import ORDER

    return ORDER


def _schedulers() -> tuple[str, ...]:
    from convcli.jobs.executors import schedulers

    return schedulers()


def lesson_steps(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Complete with the numbers of the lesson's steps, and show their titles."""
    from convcli.learn.lesson import read_lesson

    return [
        CompletionItem(str(step.number), help=step.title)
        for step in read_lesson()
        if str(step.number).startswith(typed)
    ]


kernels = _words(_kernel_names, files=True)
formats = _words(_format_names)
schedulers = _words(_schedulers, files=True)
topics = _words(_topics)
paddings = _words(lambda: PADDINGS)
files = _words(tuple, files=True)


def commands(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Complete with the commands of convcli."""
    root = context.find_root()
    names = root.command.list_commands(root) if isinstance(root.command, click.Group) else []
    return [CompletionItem(name) for name in names if name.startswith(typed)]
