"""An interactive page of one convolution: a self-contained HTML file.

The page computes every state that its controls choose. The engine's values of the first state are
written into it, and the page compares its own with them.

operands.py     input, kernel and upstream gradient
layer.py        the convolution as one layer, cropped to what a page shows, and its values
document.py     the HTML file
page.js, page.css, en.json, ko.json   what runs in the browser
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convcli import __version__, io
from convcli.errors import FileError, ShapeError
from convcli.io import Written
from convcli.jobs.operands import Operands
from convcli.jobs.requests import check_suffix
from convcli.learn.indices import MIDDLE, Index, chosen_output, split_index
from convcli.learn.page.document import document, packed
from convcli.learn.page.layer import (
    CHANNELS,
    SIDES,
    Cropped,
    Floats,
    PageLayer,
    Values,
    check_fits,
    crop_channels,
    crop_spatial,
    make_layer,
    nearest_output,
    window_centre,
)
from convcli.learn.page.operands import load_shown, load_shown_upstream
from convcli.limits import Limits
from convcli.options import Activation, Language
from convcli.shapes.geometry import Geometry
from convcli.shapes.parse import PerAxis, show

SCHEMA = 1
"""The version of the page's data."""

MOST_BYTES = 1_000_000
"""The largest page."""

INPUT_BYTES = 400_000
"""The bytes of the input, before base64, that a page stores to choose another part of it."""

THUMBNAIL = 160
"""The longest side of the picture of the input from which its part is chosen."""


@dataclass(frozen=True)
class PageRequest:
    """The convolution to show, and the file to write.

    input, at, seed, upstream: as in ExplainRequest; `at` is the output that the page starts with.
    backward: start with the gradient of the input. bias, activation: of the neuron. transposed:
    the kernel maps O channels to C.
    """

    input: str
    reference: str
    page: str
    at: Index | Literal["middle"] = MIDDLE
    geometry: Geometry = field(default_factory=Geometry)
    seed: int | None = None
    backward: bool = False
    upstream: str | None = None
    bias: float = 0.0
    activation: Activation | None = None
    transposed: bool = False
    output_padding: PerAxis = 0
    language: Language = "en"
    overwrite: bool = False
    limits: Limits = field(default_factory=Limits.of)


@dataclass(frozen=True, eq=False)
class PageResult:
    """The file, and the part of the convolution that it shows.

    shown: the spatial shape of the part of the input. channels, filters: the channels of the input
    and of the output.
    """

    operands: Operands
    written: Written
    shown: tuple[int, ...]
    channels: range
    filters: range
    whole: PageLayer


@dataclass(frozen=True, eq=False)
class _Shown:
    """What a page shows of a layer: its channels, the part of the input, and the first output."""

    cropped: Cropped
    part: tuple[range, ...]
    output: tuple[int, ...]
    filter: int

    @property
    def layer(self) -> PageLayer:
        """The layer of the part alone."""
        where = (slice(None), *(slice(run.start, run.stop) for run in self.part))
        return replace(self.cropped.layer, x=self.cropped.layer.x[where])


def run_page(request: PageRequest) -> PageResult:
    """Write the page of a convolution.

    Raises FileError for a page that exists, is not named .html, or would go to a terminal;
    InputError or a subclass for operands or options that do not fit, or that a page cannot show.
    """
    _check_name(request.page)
    operands = load_shown(request, "a page")
    a = operands.conv_layout
    spatial, window = a.spatial, a.window
    find = operands.spec.transposed_axes if request.transposed else operands.spec.axes
    output = a.with_spatial([axis.out for axis in find(spatial, window)])
    at = split_index(chosen_output(request.at, a, output), a)
    item = at.batch[0] if at.batch else 0
    check_fits(a)
    whole = make_layer(
        operands.x,
        operands.kernel.taps,
        a,
        operands.spec,
        request.geometry.op,
        item=item,
        transposed=request.transposed,
    )
    dy = load_shown_upstream(request, a, output, item)
    text, shown = _fitting(request, operands, whole, at.spatial, at.channel, dy)
    written = io.save_text(request.page, text, "html", overwrite=request.overwrite)
    part = shown.cropped
    return PageResult(
        operands, written, shown.layer.x.shape[1:], part.channels, part.filters, whole
    )


def _check_name(page: str) -> None:
    if page != "-":
        check_suffix(page, ".html or .htm", f"page {page}")
    elif sys.stdout is not None and sys.stdout.isatty():
        raise FileError(
            "--html - writes a page, and standard output is a terminal",
            "expected a file or a pipe",
            "name a file, such as page.html",
        )


def _fitting(
    request: PageRequest,
    operands: Operands,
    whole: PageLayer,
    spatial: tuple[int, ...],
    filter: int,
    dy: Floats | None,
) -> tuple[str, _Shown]:
    """Return the largest page that is not too large, and what it shows.

    A page that stores less around the part that it shows is tried first, then fewer channels.
    """
    trials = [(CHANNELS, INPUT_BYTES), (CHANNELS, INPUT_BYTES // 4), (CHANNELS, 0), (4, 0), (1, 0)]
    for most, stored in trials:
        cropped = crop_channels(whole, filter, most)
        part = crop_spatial(whole, spatial)
        shown = _Shown(cropped, part, spatial, cropped.filters.index(filter))
        is_part = shown.layer.x.shape != whole.x.shape or len(cropped.filters) < whole.filters
        if is_part:
            centre = _local(window_centre(whole, spatial), part)
            shown = replace(shown, output=nearest_output(shown.layer, centre))
        if is_part and dy is not None:
            raise ShapeError(
                f"an input {show(operands.conv_layout.shape)} with --upstream",
                f"the page shows {show(shown.layer.x.shape[1:])} of it, whose output is another",
                f"give at most {show(SIDES[whole.dims])} samples and {CHANNELS} channels",
            )
        text = _page(request, operands, whole, shown, dy, stored)
        if len(text.encode()) <= MOST_BYTES:
            break
    return text, shown


def _local(sample: Sequence[int], part: Sequence[range]) -> list[int]:
    return [position - run.start for position, run in zip(sample, part, strict=True)]


def _page(
    request: PageRequest,
    operands: Operands,
    whole: PageLayer,
    shown: _Shown,
    dy: Floats | None,
    stored: int,
) -> str:
    layer, a = shown.layer, operands.conv_layout
    ones = np.ones(layer.output) if dy is None else dy
    values = layer.values(ones, request.bias, request.activation)
    area = _area(shown, stored)
    where = (slice(None), *(slice(run.start, run.stop) for run in area))
    payload = {
        "schema": SCHEMA,
        "version": __version__,
        "input": _named(Path(operands.data.name).name, a.shape, operands.data.array.dtype.name),
        "kernel": _named(operands.kernel.name, a.kernel, ""),
        "whole": {
            "shape": list(whole.x.shape[1:]),
            "channels": len(whole.x),
            "filters": whole.filters,
        },
        "area": [run.start for run in area],
        "sides": [len(run) for run in shown.part],
        "channels": list(shown.cropped.channels),
        "filters": list(shown.cropped.filters),
        "axis": _channel_axis(operands, whole),
        "batch": a.shape[0] if a.batch_axes else 0,
        "x": packed(shown.cropped.layer.x[where]),
        "w": packed(layer.w),
        "shared": layer.shared,
        "groups": layer.spec.groups,
        "dy": None if dy is None else packed(dy),
        "thumbnail": _thumbnail(whole, shown),
        "state": _state(request, layer, shown, area),
        "engine": {name: packed(array) for name, array in values._asdict().items()},
    }
    title = f"{Path(operands.data.name).name} * {operands.kernel.name}: convcli explain"
    generator = f"convcli {__version__}"
    return document(payload, title=title, language=request.language, generator=generator)


def _named(name: str, shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "dtype": dtype}


def _channel_axis(operands: Operands, whole: PageLayer) -> dict[str, str]:
    """Return where indices of x, w and y have their channel: first, last, or nowhere."""
    a = operands.conv_layout
    end = "first" if a.layout == "channels_first" else "last"
    return {
        "x": "" if a.channel_axis is None else end,
        "y": "" if a.output_channel_axis is None else end,
        "w": "" if whole.shared else end,
        "bank": "first" if a.channel_mode == "bank" else "",
    }


def _area(shown: _Shown, stored: int) -> tuple[range, ...]:
    """Return the part of the input that the page stores, with what it shows first inside."""
    x = shown.cropped.layer.x
    each = packed(x[(slice(None), *(slice(run.start, run.stop) for run in shown.part))])
    size = x.size * np.dtype(each["type"]).itemsize
    share = min(1.0, stored / size) ** (1 / shown.layer.dims)
    area = []
    for n, run in zip(x.shape[1:], shown.part, strict=True):
        length = max(len(run), min(n, int(n * share)))
        start = min(max(run.start + len(run) // 2 - length // 2, 0), n - length)
        area.append(range(start, start + length))
    return tuple(area)


def _thumbnail(whole: PageLayer, shown: _Shown) -> dict[str, Any] | None:
    """Return a small picture of the whole input, as gray levels, if the page shows a part of it.

    The mean of the shown channels; of a volume, its middle plane.
    """
    if shown.layer.x.shape[1:] == whole.x.shape[1:]:
        return None
    x = whole.x[shown.cropped.channels.start : shown.cropped.channels.stop]
    plane: NDArray[Any] = x.mean(axis=0)
    if plane.ndim == 3:
        plane = plane[len(plane) // 2]
    steps = [max(1, -(-n // THUMBNAIL)) for n in plane.shape]
    plane = plane[tuple(slice(None, None, max(steps)) for _ in steps)]
    inside = np.nan_to_num(plane, nan=0.0, posinf=0.0, neginf=0.0)
    least, most = float(inside.min()), float(inside.max())
    levels = np.rint((inside - least) * (255 / (most - least or 1.0)))
    return packed(levels)


def _state(
    request: PageRequest, layer: PageLayer, shown: _Shown, area: tuple[range, ...]
) -> dict[str, Any]:
    """Return the first state of the page's controls."""
    spec = layer.spec
    sizes = [axis.out for axis in layer.axes]
    return {
        "view": "dx" if request.backward else "forward",
        "op": layer.op,
        "transposed": layer.transposed,
        "stride": list(spec.stride),
        "dilation": list(spec.dilation),
        "padding": spec.padding if isinstance(spec.padding, str) else [*map(list, spec.padding)],
        "extra": list(spec.output_padding),
        "boundary": spec.boundary,
        "cval": spec.cval,
        "bias": request.bias,
        "activation": request.activation or "",
        "filter": shown.filter,
        "output": int(np.ravel_multi_index(shown.output, sizes)),
        "part": [run.start - begin.start for run, begin in zip(shown.part, area, strict=True)],
    }


__all__ = ["PageRequest", "PageResult", "Values", "run_page"]
