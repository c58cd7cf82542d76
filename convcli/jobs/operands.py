"""How a kernel is laid on an input, for every command alike: the options that say so, and what they settle."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.errors import InputError, ShapeError
from convcli.io import Data
from convcli.jobs import colour
from convcli.jobs.memory import SLACK
from convcli.kernels import Kernel, fewest_axes, kernel
from convcli.limits import LESS_WORK, Limits
from convcli.options import Layout
from convcli.shapes.geometry import Geometry
from convcli.shapes.layout import PICTURE_CHANNELS, ConvLayout
from convcli.shapes.parse import parse_shape, show
from convcli.shapes.spec import ConvSpec

VOLUME = 3
"""Spatial axes with which all pages of a TIFF are one array."""


class Resolved(NamedTuple):
    """A kernel, how it lies on the input, and how it moves."""

    kernel: Kernel
    conv_layout: ConvLayout
    spec: ConvSpec


def colour_planes(data: Data, layout: Layout, *, linear: bool = False) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """What is convolved of an input, a picture's colours times its alpha; and that alpha (H, W), from 0 to 1.

    linear: decode a picture's colours to their light first.
    Raises InputError for what has its channels last by its format, and is said to have them first, and for an array
    that is said to hold light.
    """
    if linear and data.kind != "image":
        raise InputError("linear light", f"{data.name} is an array, and only a picture has it", "leave --linear out")
    if _dims(data) is not None and layout == "channels_first":
        what = "an image" if data.kind == "image" else f"a {data.format} file"
        raise InputError("layout channels_first", f"{data.name} is {what}, with its channels last", "leave it out")
    if data.alpha:
        return colour.premultiply(data.array, colour.decode if linear else None)
    return (colour.decode(data.array) if linear else data.array), None


def colour_planes_bytes(data: Data, *, linear: bool = False) -> int:
    """Bytes that `colour_planes` takes besides the input's own array."""
    if data.alpha:
        return colour.premultiplied_bytes(data.array)
    return 4 * data.array.size if linear else 0


def _dims(data: Data) -> int | None:
    """How many of its first axes are spatial, where its format says so."""
    return 2 if data.kind == "image" else data.dims


def resolve_operands(data: Data, x: NDArray[Any], reference: str | Kernel, geometry: Geometry, name: str) -> Resolved:
    """Resolve the kernel for x, the planes of `data`, which messages call `name`, and settle how the two meet.

    Raises InputError and its kin for whatever does not fit.
    """
    dims = _dims(data) if geometry.dims is None else geometry.dims
    resolved = resolve_kernel(reference, x.shape, dims, name, geometry.layout)
    conv_layout = geometry.conv_layout(x.shape, resolved.shape, dims=dims)
    return Resolved(resolved, conv_layout, geometry.conv_spec(conv_layout.dims))


def resolve_kernel(
    reference: str | Kernel, shape: tuple[int, ...], dims: int | None, name: str, layout: Layout = "channels_last"
) -> Kernel:
    """The kernel that a reference means for an input, with as many axes as the input has spatial ones.

    Raises InputError where a kernel that takes any number of axes meets an input that may be read in two ways.
    """
    fewest = None if isinstance(reference, Kernel) else fewest_axes(reference)
    if dims is not None or fewest is None:
        return kernel(reference, dims=dims)
    axes, place = len(shape), "first" if layout == "channels_first" else "last"
    if axes == 3 and shape[0 if place == "first" else -1] <= PICTURE_CHANNELS and fewest < axes:
        return kernel(reference, dims=2)
    if axes > max(2, fewest):
        raise InputError(
            f"{name} has {axes} axes, {show(shape)}, and {reference} takes any number",
            "expected to know how many are spatial",
            f"use --dims {axes} for a volume, or --dims {axes - 1} where the {place} axis is channels",
        )
    return kernel(reference, dims=axes)


RANDOM = "random"
"""The format of an input that was made, not read."""


@dataclass(frozen=True, eq=False)
class Operands:
    """x is the input's array, a picture's colours times its alpha; cover is that alpha (H, W), from 0 to 1."""

    data: Data
    x: NDArray[Any]
    cover: NDArray[Any] | None
    kernel: Kernel
    conv_layout: ConvLayout
    spec: ConvSpec

    def check_memory(self, limits: Limits, copies: int, floats: str = "float64") -> None:
        """Raise LimitError where the input, so many of it in that type, and as many outputs are too much."""
        output = self.conv_layout.with_spatial(self.spec.sizes(self.conv_layout.spatial, self.conv_layout.window))
        values = copies * (self.x.size + math.prod(output))
        needed = SLACK + self.x.nbytes + np.dtype(floats).itemsize * values
        limits.check_memory(f"work on {self.data.name}", needed, LESS_WORK)


def load_operands(given: str, reference: str, geometry: Geometry, limits: Limits, *, seed: int = 0) -> Operands:
    """Read an input, or make one of a shape, resolve the kernel and settle how they meet, as `apply` does.

    Raises InputError and its kin for whatever does not fit, as `apply` does.

    >>> operands = load_operands("6x5x3", "random:3x3x3", Geometry(), Limits.of())
    >>> operands.conv_layout.channel_mode, operands.x.shape
    ('sum', (6, 5, 3))
    """
    data = read_or_make(given, seed, limits, volume=geometry.dims == VOLUME)
    x, cover = colour_planes(data, geometry.layout)
    return Operands(data, x, cover, *resolve_operands(data, x, reference, geometry, given))


def read_or_make(given: str, seed: int, limits: Limits, *, volume: bool = False) -> Data:
    """A file's data, or standard normal numbers in the shape that the text names; volume: all pages of a TIFF.

    >>> read_or_make("2x3", seed=0, limits=Limits.of()).array.shape
    (2, 3)
    """
    try:
        shape = parse_shape(given)
    except ShapeError:
        raise
    except InputError:
        if re.fullmatch(r"[\dxX]+", given) and not Path(given).exists():
            raise
        return io.load(given, limits=limits, volume=volume)
    limits.check_memory(f"an input of {show(shape)}", 8 * math.prod(shape))
    values = input_generator(seed).standard_normal(shape)
    return Data(values, "array", RANDOM, "random numbers", notes=(f"standard normal, seed {seed}",))


def input_generator(seed: int) -> np.random.Generator:
    """Return the generator of a random input; a kernel `random:` of the same seed has another stream."""
    return np.random.default_rng((seed, 1))
