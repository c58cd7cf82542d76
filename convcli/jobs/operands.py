"""The operands of a convolution: input and kernel, loaded, with their axes matched."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.errors import InputError, ShapeError, is_there
from convcli.io import Data
from convcli.jobs import colour
from convcli.jobs.transfer import Curve
from convcli.kernels import Kernel, fewest_axes, kernel
from convcli.kernels.measures import in_samples
from convcli.limits import LESS_WORK, SLACK, Limits
from convcli.options import Layout
from convcli.shapes.geometry import Geometry
from convcli.shapes.layout import PICTURE_CHANNELS, ConvLayout
from convcli.shapes.parse import PerAxis, parse_shape, show
from convcli.shapes.spec import ConvSpec
from convcli.stores import shown

VOLUME = 3
"""Number of spatial axes (--dims) for which all pages of a TIFF are read as one array."""

RANDOM = "random"
"""The format of an input that was generated, not read."""


class Planes(NamedTuple):
    """The arrays to convolve; with alpha (H, W), from 0 to 1, x is premultiplied."""

    x: NDArray[Any]
    alpha: NDArray[Any] | None


class Resolved(NamedTuple):
    """A kernel, how its axes match the input's, and the stride, dilation and padding."""

    kernel: Kernel
    conv_layout: ConvLayout
    spec: ConvSpec


@dataclass(frozen=True, eq=False)
class Operands:
    """An input with its kernel. x, alpha: as in `Planes`."""

    data: Data
    x: NDArray[Any]
    alpha: NDArray[Any] | None
    kernel: Kernel
    conv_layout: ConvLayout
    spec: ConvSpec

    def check_memory(self, limits: Limits, copies: int, floats: str = "float64") -> None:
        """Raise LimitError if the input and `copies` of input and output are too large."""
        spatial, window = self.conv_layout.spatial, self.conv_layout.window
        output = self.conv_layout.with_spatial(self.spec.sizes(spatial, window))
        values = copies * (self.x.size + math.prod(output))
        needed = SLACK + self.x.nbytes + np.dtype(floats).itemsize * values
        limits.check_memory(f"work on {self.data.name}", needed, LESS_WORK)


def load_operands(
    source: str,
    reference: str,
    geometry: Geometry,
    limits: Limits,
    *,
    seed: int = 0,
    transposed: bool = False,
    output_padding: PerAxis = 0,
) -> Operands:
    """Load or generate an input, resolve the kernel, and match their axes, as `apply` does.

    source: a file, or a shape. transposed, output_padding: of a transposed convolution. Raises
    InputError or a subclass for an invalid operand.

    >>> operands = load_operands("6x5x3", "random:3x3x3", Geometry(), Limits.of())
    >>> operands.conv_layout.channel_mode, operands.x.shape
    ('sum', (6, 5, 3))
    """
    data = load_or_generate(source, seed, limits, volume=geometry.dims == VOLUME)
    x, alpha = colour_planes(data, geometry.layout)
    resolved = resolve_operands(
        data,
        x,
        reference,
        geometry,
        source,
        transposed=transposed,
        output_padding=output_padding,
    )
    return Operands(data, x, alpha, *resolved)


def load_or_generate(source: str, seed: int, limits: Limits, *, volume: bool = False) -> Data:
    """Load a file, or generate standard normal numbers of the shape that `source` names.

    volume: read all pages of a TIFF.

    >>> load_or_generate("2x3", seed=0, limits=Limits.of()).array.shape
    (2, 3)
    """
    try:
        shape = parse_shape(source)
    except ShapeError:
        raise
    except InputError:
        if re.fullmatch(r"[\dxX]+", source) and not is_there(Path(source)):
            raise
        return io.load(source, limits=limits, volume=volume)
    limits.check_memory(f"an input of {show(shape)}", 8 * math.prod(shape))
    values = input_generator(seed).standard_normal(shape)
    notes = (f"standard normal, seed {seed}",)
    return Data(values, "array", RANDOM, "random numbers", notes=notes)


def input_generator(seed: int) -> np.random.Generator:
    """Return the generator of a random input.

    Its stream differs from that of a kernel `random:` of the same seed.
    """
    return np.random.default_rng((seed, 1))


def check_seed(seed: int | None, source: str, data: Data) -> None:
    """Raise InputError for a seed with an input that was read from a file."""
    if seed is not None and data.format != RANDOM:
        raise InputError(
            f"seed {seed}", f"{shown(source)} is a file, with nothing random in it", "leave it out"
        )


def colour_planes(data: Data, layout: Layout, *, curve: Curve | None = None) -> Planes:
    """Return the planes to convolve: an array unchanged, a picture's colours times its alpha.

    curve: decodes a picture's colours to linear light first. Raises InputError for a curve with an
    array, and for `channels_first` with a format whose channels are last.
    """
    if curve and data.kind != "image":
        raise InputError(
            "linear light",
            f"{data.name} is an array, and only a picture has it",
            "leave --linear out",
        )
    if _format_dims(data) is not None and layout == "channels_first":
        what = "an image" if data.kind == "image" else f"a {data.format} file"
        raise InputError(
            "layout channels_first",
            f"{data.name} is {what}, with its channels last",
            "leave it out",
        )
    decode = partial(colour.decode, curve=curve) if curve else None
    if data.alpha:
        return Planes(*colour.premultiply(data.array, decode))
    return Planes(decode(data.array) if decode else data.array, None)


def resolve_operands(
    data: Data,
    x: NDArray[Any],
    reference: str | Kernel,
    geometry: Geometry,
    name: str,
    *,
    transposed: bool = False,
    output_padding: PerAxis = 0,
) -> Resolved:
    """Resolve the kernel for x, the planes of `data`, and match its axes to x's.

    name: of the input, in messages. transposed, output_padding: as for `load_operands`. Raises
    InputError or a subclass for operands that do not match.
    """
    dims = _format_dims(data) if geometry.dims is None else geometry.dims
    converted = reference
    if isinstance(reference, str):
        converted = in_samples(reference, geometry.spacing or data.distances, name)
    resolved = resolve_kernel(converted, x.shape, dims, name, geometry.layout)
    if converted is not reference:
        resolved = replace(resolved, name=f"{reference} = {resolved.name}")
    conv_layout = geometry.conv_layout(x.shape, resolved.shape, dims=dims, transposed=transposed)
    spec = geometry.conv_spec(
        conv_layout.dims, output_padding=output_padding, picture=data.kind == "image"
    )
    return Resolved(resolved, conv_layout, spec)


def _format_dims(data: Data) -> int | None:
    """Return the number of spatial axes that the input's format implies, or None."""
    return 2 if data.kind == "image" else data.dims


def resolve_kernel(
    reference: str | Kernel,
    shape: tuple[int, ...],
    dims: int | None,
    name: str,
    layout: Layout = "channels_last",
) -> Kernel:
    """Return the kernel of a reference, in as many dimensions as the input has spatial axes.

    Raises InputError if the kernel exists for any number of dimensions and the input's last axis
    may be spatial or of channels.
    """
    fewest = None if isinstance(reference, Kernel) else fewest_axes(reference)
    if dims is not None or fewest is None:
        return kernel(reference, dims=dims)
    axes = len(shape)
    end = "first" if layout == "channels_first" else "last"
    last = shape[0] if layout == "channels_first" else shape[-1]
    if axes == 3 and last <= PICTURE_CHANNELS and fewest < axes:
        return kernel(reference, dims=2)
    if axes > max(2, fewest):
        given = name if name == show(shape) else f"{name} {show(shape)}"
        raise InputError(
            f"{given} has {axes} axes, and {reference} fits any number of them",
            "expected the number of spatial axes",
            f"use --dims {axes} for a volume, or --dims {axes - 1} if the {end} axis is channels",
        )
    return kernel(reference, dims=axes)


def load_upstream(upstream: str, output: tuple[int, ...], limits: Limits) -> NDArray[np.float64]:
    """Load a file's upstream gradient as float64. Raises ShapeError unless it has this shape."""
    dy = io.load(upstream, limits=limits).array
    if dy.shape != output:
        raise ShapeError(
            f"the upstream gradient {upstream} is {show(dy.shape)}",
            f"the output is {show(output)}",
        )
    return dy.astype(np.float64)
