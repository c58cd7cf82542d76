"""Formats and kernels that other packages register, through the entry points of Python's packaging.

A package names them in its pyproject.toml::

    [project.entry-points."convcli.formats"]
    toy = "their_package:TOY"        # a convcli.io.Format

    [project.entry-points."convcli.kernels"]
    cross = "their_package:CROSS"    # a convcli.kernels.KernelFamily

They are looked for once per process, the first time that a name is none of convcli's own, or that
all are listed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from convcli.errors import brief, printable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Plugin = TypeVar("Plugin")

_logger = logging.getLogger(
    "convcli"
)  # without a handler, Python writes a warning to stderr as one line


def load_plugins(
    group: str,
    wanted: type[Plugin],
    names_of: Callable[[Plugin], Iterable[str]],
    reserved: Iterable[str],
) -> list[tuple[str, Plugin]]:
    """Load the objects that installed packages register in a group of entry points.

    Returns those of type `wanted`, with the names of their packages. names_of: the names of an
    object, each of which is given once; `reserved` ones are convcli's own. An object that cannot be
    loaded, is of another type, or has a name that is taken, is left out, with one warning that
    names its package.
    """
    from importlib.metadata import entry_points  # here, as it takes 20 ms to import

    found: list[tuple[str, Plugin]] = []
    owners = dict.fromkeys(reserved, "convcli")
    for point in sorted(
        set(entry_points(group=group)), key=lambda point: (point.name, point.value)
    ):
        package = point.dist.name if point.dist else point.value
        try:
            plugin = _load(point, wanted)
            names = tuple(names_of(plugin))
            if taken := [name for name in names if name in owners]:
                raise ValueError(f"{taken[0]} is taken by {owners[taken[0]]}")
        except Exception as error:  # a package may raise anything while it is imported
            told = f"package {package}: entry point '{point.name}' of {group} is left out; {brief(error)}"
            _logger.warning("warning: %s", printable(told))
            continue
        owners |= dict.fromkeys(names, package)
        found.append((package, plugin))
    return found


def _load(point: EntryPoint, wanted: type[Plugin]) -> Plugin:
    plugin = point.load()
    if not isinstance(plugin, wanted):
        raise TypeError(f"{point.value} is a {type(plugin).__name__}, expected a {wanted.__name__}")
    return plugin
