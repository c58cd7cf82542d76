"""Groups of options that commands share, and how a command's options fill them.

A request holds each group as one field (`geometry`, `reading`, `postprocess`, `writing`, `limits`);
the fields of a group have the names of the command line's options.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from convcli.errors import FileError
from convcli.io import RawLayout
from convcli.limits import Limits
from convcli.options import Combine, Frames, Order, Policy
from convcli.shapes.geometry import Geometry

Request = TypeVar("Request")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Options for reading an input.

    raw_order: for a raw output too. background: a colour of 8 bits per channel.
    """

    input_format: str | None = None
    frames: Frames = "first"
    allow_truncated: bool = False
    raw_shape: tuple[int, ...] | None = None
    raw_dtype: str | None = None
    raw_order: Order = "C"
    raw_offset: int = 0
    gray: bool = False
    background: tuple[int, int, int] | None = None

    @property
    def raw(self) -> RawLayout:
        """The layout of raw numbers; raise InputError if `raw_dtype` is no number type."""
        return RawLayout.of(self.raw_shape, self.raw_dtype, self.raw_order, self.raw_offset)


@dataclass(frozen=True, kw_only=True)
class Postprocess:
    """Options for converting results to the output's values."""

    combine: Combine = "stack"
    scale: float = 1.0
    bias: float = 0.0
    range: Policy = "clip"
    dtype: str | None = None


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """Options for writing an output."""

    format: str | None = None
    overwrite: bool = False
    strip: bool = False
    compress_level: int | None = None
    quality: int | None = None

    @property
    def settings(self) -> dict[str, int]:
        """The settings of the output's encoder that were given."""
        given = {"compress_level": self.compress_level, "quality": self.quality}
        return {name: value for name, value in given.items() if value is not None}


GROUPS: dict[str, Callable[..., Any]] = {
    "geometry": Geometry,
    "reading": ReadOptions,
    "postprocess": Postprocess,
    "writing": WriteOptions,
}


def from_options(kind: Callable[..., Request], *arguments: Any, **options: Any) -> Request:
    """Build a request from a command's arguments and options.

    Each option is stored in the group that has a field of its name; max_memory and max_pixels
    become the request's `limits`.

    >>> from convcli.jobs.grad import GradRequest
    >>> request = from_options(GradRequest, "8x8", "box", stride=2, seed=1)
    >>> request.geometry.stride, request.seed
    (2, 1)
    """
    own = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    for name, group in GROUPS.items():
        if name in own:
            known = {field.name for field in fields(group)}  # type: ignore[arg-type]
            names = known & options.keys()
            options[name] = group(**{name: options.pop(name) for name in names})
    limits = {name: options.pop(f"max_{name}", None) for name in ("memory", "pixels")}
    return kind(*arguments, **options, limits=Limits.of(**limits))


def flat_options(request: Any) -> dict[str, Any]:
    """Return all options of a request by name, the inverse of `from_options`."""
    own = dict(vars(request))
    for name in GROUPS.keys() & own.keys():
        own |= vars(own.pop(name))
    return own


def check_suffix(target: str, suffixes: str, given: str) -> None:
    """Raise FileError unless a file's name ends in one of these suffixes.

    given: how the message names the target.

    >>> check_suffix("proof.txt", ".json or .npz", "dump proof.txt")
    Traceback (most recent call last):
    convcli.errors.FileError: dump proof.txt; expected a name that ends in .json or .npz; rename it
    """
    if Path(target).suffix.lower() not in suffixes.split(" or "):
        raise FileError(given, f"expected a name that ends in {suffixes}", "rename it")
