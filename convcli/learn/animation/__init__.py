"""An animation of one convolution: the kernel slides, and the output fills up value by value.

Each frame computes one value: an output, or one value of a gradient.

slide.py   how a window slides along an axis, forward and backward
scene.py   what each frame shows: window, products, sum
text.py    the words: title, names and sums
layout.py  where a frame shows what
paint.py   a frame as a picture
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.drawing.palette import THEMES
from convcli.errors import FileError, InputError, LimitError, ShapeError
from convcli.io import Metadata, OutputTarget, WriteRequest, Written
from convcli.io.data import Timing
from convcli.jobs.operands import Operands
from convcli.learn.animation.layout import Layout, arrange
from convcli.learn.animation.paint import Painter, Words
from convcli.learn.animation.scene import Frame, Scene, View, make_scene
from convcli.learn.animation.text import caption, names, title
from convcli.learn.indices import in_input, in_kernel, in_output
from convcli.learn.page.layer import PageLayer, make_layer
from convcli.learn.page.operands import load_shown, load_shown_upstream
from convcli.limits import Limits
from convcli.options import Gradient, ThemeName
from convcli.progress import Progress, silent
from convcli.shapes.geometry import Geometry
from convcli.shapes.parse import Crop, PerAxis, show

FORMATS = ("gif", "webp", "png")
"""The formats that hold an animation."""

MOST_FRAMES = 600
"""The most frames of an animation."""

MOST_VALUES = 10_000
"""The most values of the result of a single frame."""

MOST_BYTES = 8_000_000
"""The largest file."""

SUGGESTED_FRAMES = 150
"""The most frames of the part of an input that a message suggests."""

SLOWEST, LONGEST = 2.0, 30.0
"""The default: two frames per second, or more so that all take at most this many seconds."""

FASTEST = 50.0
"""The most frames per second: a GIF's frames last at least two hundredths of a second."""

HOLD = 1500.0
"""Milliseconds that the last frame is shown at least."""


@dataclass(frozen=True)
class AnimationRequest:
    """The convolution to show, and the file to write.

    input, seed, upstream: as in ExplainRequest. backward: the gradient to show instead of the
    output. transposed: the kernel maps O channels to C. crop: the part of the input. channel: of
    the result, by default all. frame: write only this one. fps: frames per second. width: of the
    picture in pixels. numbers: write them into the cells, and the sum below.
    """

    input: str
    reference: str
    output: str
    geometry: Geometry = field(default_factory=Geometry)
    seed: int | None = None
    backward: Gradient | None = None
    upstream: str | None = None
    transposed: bool = False
    output_padding: PerAxis = 0
    crop: Crop | None = None
    channel: int | None = None
    frame: int | None = None
    fps: float | None = None
    width: int = 640
    theme: ThemeName = "light"
    numbers: bool = True
    format: str | None = None
    overwrite: bool = False
    limits: Limits = field(default_factory=Limits.of)


@dataclass(frozen=True, eq=False)
class AnimationResult:
    """The file, and what it shows.

    part: the spatial part of the input. layout: where a picture shows what, and its size. frames:
    how many there are. fps: None for a single frame.
    """

    operands: Operands
    written: Written
    scene: Scene
    layer: PageLayer
    part: tuple[range, ...]
    layout: Layout
    frames: int
    fps: float | None


def run_animation(request: AnimationRequest, progress: Progress = silent) -> AnimationResult:
    """Write the animation of a convolution, or one of its frames.

    Raises FileError for an output that exists, or whose format holds no animation; LimitError for
    too many frames or bytes; InputError or a subclass for operands or options that do not fit.
    """
    target = _target(request)
    operands = _operands(request)
    whole = make_layer(
        operands.x,
        operands.kernel.taps,
        operands.conv_layout,
        operands.spec,
        request.geometry.op,
        transposed=request.transposed,
    )
    part = _part(request.crop, whole.x.shape[1:])
    layer = replace(whole, x=whole.x[(slice(None), *(slice(r.start, r.stop) for r in part))])
    painter = _painter(request, operands, layer, part)
    shown = painter.scene.frame_count
    if request.frame is not None:
        shown = 1
        array = painter.paint(_frame_number(request.frame, painter.scene.frame_count)).array()
        fps, how = None, WriteRequest(compact=True)
    else:
        array = _paint_all(painter, target, request.limits, progress)
        fps = request.fps or min(max(SLOWEST, shown / LONGEST), FASTEST)
        how = WriteRequest(frames=True, metadata=Metadata(timing=_timing(shown, fps)), compact=True)
    written = _write(request, target, array, how)
    progress(1.0)
    return AnimationResult(
        operands, written, painter.scene, layer, part, painter.layout, shown, fps
    )


# What is shown.


def _operands(request: AnimationRequest) -> Operands:
    operands = load_shown(request, "an animation")
    if operands.conv_layout.dims > 2:
        raise InputError(
            f"an input with {operands.conv_layout.dims} spatial axes",
            "an animation shows 1 or 2",
            "set --dims, or show a volume's planes with: convcli explain --html",
        )
    return operands


def _part(crop: Crop | None, shape: tuple[int, ...]) -> tuple[range, ...]:
    """Return the part of the input's axes that is shown. Raises InputError if it is not inside.

    >>> _part((4,), (9, 9)), _part(((2, 6), 3), (9, 9))
    ((range(2, 6), range(2, 6)), (range(2, 6), range(3, 6)))
    """
    if crop is None:
        return tuple(map(range, shape))
    if len(crop) not in (1, len(shape)):
        raise InputError(
            f"crop with {len(crop)} parts",
            f"the input has {len(shape)} spatial {'axis' if len(shape) == 1 else 'axes'}",
            "give one part for all axes, or one per axis",
        )
    parts = []
    for n, given in zip(shape, crop if len(crop) > 1 else [crop[0]] * len(shape), strict=True):
        start, stop = given if isinstance(given, tuple) else ((n - given) // 2, (n + given) // 2)
        if not 0 <= start < stop <= n:
            text = f"{start}:{stop}" if isinstance(given, tuple) else str(given)
            raise InputError(
                f"crop {text}", f"the input has {show(shape)} samples", "use a part inside it"
            )
        parts.append(range(start, stop))
    return tuple(parts)


def _painter(
    request: AnimationRequest, operands: Operands, layer: PageLayer, part: tuple[range, ...]
) -> Painter:
    view: View = request.backward or "forward"
    _check_count(request, layer, view)
    a = operands.conv_layout
    dy = load_shown_upstream(request, a, a.with_spatial(layer.output[1:]))
    dy = np.ones(layer.output) if dy is None else dy
    scene = make_scene(layer, view, dy, request.channel)
    source, reference = Path(operands.data.name).name, operands.kernel.name
    if request.crop is not None:
        source += f"[{','.join(f'{run.start}:{run.stop}' for run in part)}]"
    words = Words(
        title(layer, scene, f"{source} with {reference}"),
        names(layer, scene),
        _value_name(operands, layer, view),
    )
    lines = 0
    if request.numbers:
        lines = max(
            len(caption(words.value(frame), frame, request.width)) for frame in scene.frames
        )
    layout = arrange(scene, words.names, request.width, lines)
    return Painter(scene, layout, THEMES[request.theme], words, numbers=request.numbers)


def _check_count(request: AnimationRequest, layer: PageLayer, view: View) -> None:
    """Raise LimitError for too many values, InputError for a channel that does not exist."""
    channels, sizes = _result_shape(layer, view)
    if request.channel is not None and request.channel >= channels:
        raise InputError(
            f"channel {request.channel}",
            f"the result has {channels}, counted from 0",
            f"use 0 to {channels - 1}" if channels > 1 else "leave --channel out",
        )
    most = MOST_FRAMES if request.frame is None else MOST_VALUES
    shown = channels if request.channel is None else 1
    if shown * math.prod(sizes) <= most:
        return
    found = f"{shown * math.prod(sizes):,} values, one frame for each"
    if request.frame is not None:
        found = f"{shown * math.prod(sizes):,} values"
    raise LimitError(found, f"expected at most {most:,}", _smaller(layer, view, shown))


def _result_shape(layer: PageLayer, view: View) -> tuple[int, tuple[int, ...]]:
    """Return the channels and the spatial shape of a view's result."""
    if view == "dw":
        return len(layer.w) * layer.w.shape[-1], layer.w.shape[1:-1]
    if view == "dx":
        return len(layer.x), layer.x.shape[1:]
    return layer.output[0], layer.output[1:]


def _smaller(layer: PageLayer, view: View, channels: int) -> str:
    """Return how to show fewer values: a part of the input, one channel, or both."""
    options = []
    if channels > 1 and channels > SUGGESTED_FRAMES // 16:
        options, channels = ["--channel 0"], 1
    for side in range(max(layer.x.shape[1:]) - 1, 0, -1):
        where = (slice(None), *(slice(0, side) for _ in layer.x.shape[1:]))
        smaller = replace(layer, x=layer.x[where])
        try:
            sizes = _result_shape(smaller, view)[1]
        except ShapeError:  # the kernel is larger than such a part
            break
        if view != "dw" and channels * math.prod(sizes) <= SUGGESTED_FRAMES:
            options.append(f"--crop {side}")
            break
    return f"use {' '.join(options)}" if options else "use a smaller kernel"


def _value_name(operands: Operands, layer: PageLayer, view: View) -> Callable[[Frame], str]:
    """Return what names the value of a frame, with its index in the user's array."""
    a = operands.conv_layout
    batch = (0,) * a.batch_axes

    def index(frame: Frame) -> tuple[int, ...]:
        if view == "dw":
            o, c = divmod(frame.channel, layer.w.shape[-1])
            return in_kernel(frame.target, a, o, c)
        named = in_input if view == "dx" else in_output
        return named(frame.target, a, batch, frame.channel)

    symbol = "y" if view == "forward" else view
    return lambda frame: f"{symbol}[{','.join(map(str, index(frame)))}]"


# The file.


def _target(request: AnimationRequest) -> OutputTarget:
    form = request.format or ("gif" if request.output == "-" else None)
    target = io.check_target(request.output, request.overwrite, form)
    assert target is not None, "a format is known, also for standard output"
    if target.form.name not in FORMATS:
        raise FileError(
            f"{request.output} is {target.form.name}",
            "an animation is written as .gif, .webp or .png",
            "change the suffix",
        )
    return target


def _frame_number(given: int, count: int) -> int:
    if given < count:
        return given
    raise InputError(
        f"frame {given}", f"there are {count}, counted from 0", f"use 0 to {count - 1}"
    )


def _paint_all(
    painter: Painter, target: OutputTarget, limits: Limits, progress: Progress
) -> NDArray[np.uint8]:
    """Return all frames (F, H, W, 3). Raises LimitError if they do not fit the memory."""
    count = painter.scene.frame_count
    shape = count, painter.layout.height, painter.layout.width, 3
    request = WriteRequest(frames=True)
    needed = math.prod(shape) + target.encoding_bytes(np.dtype(np.uint8), shape, request)
    limits.check_memory(
        f"an animation of {count} frames", needed, "use a smaller --size, or raise --max-memory"
    )
    frames = np.empty(shape, np.uint8)
    for number in range(count):
        frames[number] = painter.paint(number).array()
        progress(0.6 * (number + 1) / count)
    return frames


def _timing(count: int, fps: float) -> Timing:
    duration = 1000 / fps
    return Timing((*[duration] * (count - 1), max(duration, HOLD)), plays=0)


def _write(
    request: AnimationRequest, target: OutputTarget, array: NDArray[Any], how: WriteRequest
) -> Written:
    """Encode in memory, and write the file if it is not too large."""
    content = BytesIO()
    target.codec.write(content, array, how)
    size = content.tell()
    if size > MOST_BYTES:
        raise LimitError(
            f"the animation has {size / 1e6:.1f} MB",
            f"expected at most {MOST_BYTES / 1e6:.0f} MB",
            f"use --size {request.width // 2}, or show a part with --crop",
        )
    return io.save_bytes(
        request.output, content.getvalue(), target.form.name, overwrite=request.overwrite
    )


__all__ = ["AnimationRequest", "AnimationResult", "run_animation"]
