"""The pages of the guide: Markdown files in the package."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

from convcli.errors import InputError, did_you_mean

ORDER = (
    *("lesson", "apply", "borders", "batch", "scale", "kernels", "networks", "gradients"),
    *("laws", "explain", "animate", "bench"),
    *("python", "formats", "plugins", "json", "promises", "architecture", "changes"),
)
"""The topics in reading order."""


class Page(NamedTuple):
    """One page: its topic, its title, and its text in Markdown."""

    topic: str
    title: str
    text: str


def topics() -> dict[str, str]:
    """Return every topic with its title, in reading order.

    >>> topics()["kernels"]
    'Kernels'
    """
    return {topic: read_page(topic).title for topic in ORDER}


def read_page(topic: str) -> Page:
    """Read the page of a topic. Raises InputError, with the nearest name, for an unknown one.

    >>> read_page("gradient")
    Traceback (most recent call last):
    convcli.errors.InputError: no topic 'gradient'; expected one of lesson, apply, borders, \
batch, scale, kernels, networks, gradients, laws, explain, animate, bench, python, formats, \
plugins, json, promises, architecture, changes; did you mean 'gradients'?
    """
    if topic not in ORDER:
        raise InputError(
            f"no topic {topic!r}", f"expected one of {', '.join(ORDER)}", did_you_mean(topic, ORDER)
        )
    text = files("convcli").joinpath("guide", f"{topic}.md").read_text(encoding="utf-8")
    return Page(topic, text.partition("\n")[0].removeprefix("# "), text)
