"""Formats, kernels and executors of other packages, by the entry points of Python's packaging.

A package names them in its pyproject.toml::

    [project.entry-points."convcli.formats"]
    toy = "their_package:TOY"        # a convcli.io.Format

    [project.entry-points."convcli.kernels"]
    cross = "their_package:CROSS"    # a convcli.kernels.KernelFamily

    [project.entry-points."convcli.executors"]
    farm = "their_package:FARM"      # a convcli.jobs.executors.Scheduler

They are looked up once per process: when a name is not one of convcli's own, or all are listed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from convcli.errors import brief, printable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Plugin = TypeVar("Plugin")

# Without a handler, Python writes a warning to stderr as one line.
_logger = logging.getLogger("convcli")


def load_plugins(
    group: str,
    wanted: type[Plugin],
    names_of: Callable[[Plugin], Iterable[str]],
    reserved: Iterable[str],
) -> list[tuple[str, Plugin]]:
    """Load the objects that installed packages register in a group of entry points.

    Returns pairs of a package's name and an object of type `wanted`. An object that cannot be
    loaded, is of another type, or has a name in use, is left out, with one warning that names its
    package.

    names_of: returns the names of an object, which must be unique. reserved: convcli's own names.
    """
    from importlib.metadata import entry_points  # here, as it takes 20 ms to import

    found: list[tuple[str, Plugin]] = []
    owners = dict.fromkeys(reserved, "convcli")
    points = set(entry_points(group=group))
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        package = point.dist.name if point.dist else point.value
        try:
            plugin = _load(point, wanted)
            names = tuple(names_of(plugin))
            if taken := [name for name in names if name in owners]:
                raise ValueError(f"{taken[0]} is taken by {owners[taken[0]]}")
        except Exception as error:  # a package may raise anything while it is imported
            left_out = f"entry point '{point.name}' of {group} is left out"
            message = f"package {package}: {left_out}; {brief(error)}"
            _logger.warning("warning: %s", printable(message))
            continue
        owners |= dict.fromkeys(names, package)
        found.append((package, plugin))
    return found


def _load(point: EntryPoint, wanted: type[Plugin]) -> Plugin:
    plugin = point.load()
    if not isinstance(plugin, wanted):
        raise TypeError(f"{point.value} is a {type(plugin).__name__}, expected a {wanted.__name__}")
    return plugin
