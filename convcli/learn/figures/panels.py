"""The input and the output of a run of `apply`, prepared for drawing: as pictures or as signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convcli.drawing.sampling import Pixels, enlarged, reduced
from convcli.errors import printable
from convcli.io import Data
from convcli.jobs import colour
from convcli.jobs.apply import ApplyResult, run_apply
from convcli.jobs.apply_plan import ApplyPlan
from convcli.jobs.memory import apply_footprint
from convcli.jobs.postprocess import finite_range
from convcli.jobs.warnings import lost_signs
from convcli.limits import LESS_WORK
from convcli.shapes.parse import show

NOT_FINITE = (255, 0, 255)
"""The colour of samples that are NaN or infinite: magenta."""

CHECKS = (190, 225)
"""The two grays behind a picture with alpha, in squares of four samples."""

CURVES = 4
"""Maximum number of channels of a signal that are drawn."""

Values: TypeAlias = NDArray[Any]


class Caption(NamedTuple):
    """Two lines: what a panel shows, and the range of its values and the part that is drawn."""

    title: str
    note: str


@dataclass(frozen=True, eq=False)
class PicturePanel:
    """A picture. values: (H, W) or (H, W, 3). alpha: (H, W) from 0 to 1, or None.

    ends: the values that are black and white; None if 0 is gray, and the drawn value of the largest
    magnitude is black or white.
    """

    caption: Caption
    values: Values
    alpha: Values | None
    ends: tuple[float, float] | None

    def pixels(self, scale: float) -> Pixels:
        """Draw the values -> (H * scale, W * scale, 3); a scale above 1 is rounded down.

        A sample that is not finite is magenta, as is a mean of some such.
        """
        values, alpha = self.values, self.alpha
        if scale < 1:
            height, width = (max(round(size * scale), 1) for size in values.shape[:2])
            with np.errstate(invalid="ignore", over="ignore"):
                values = reduced(values, height, width)
                alpha = None if alpha is None else reduced(alpha, height, width)
        return enlarged(self._drawn(values, alpha), max(int(scale), 1))

    def _drawn(self, values: Values, alpha: Values | None) -> Pixels:
        low, high = self.ends or _around_zero(values)
        with np.errstate(invalid="ignore", over="ignore"):
            shares = (values.astype(np.float64) - low) / ((high - low) or 1.0)
        bright = 255 * np.clip(np.nan_to_num(shares), 0, 1)
        if bright.ndim == 2:
            bright = bright[..., None].repeat(3, axis=2)
        if alpha is not None:
            rows, columns = np.indices(alpha.shape) // 4
            checks = np.where((rows + columns) % 2, *CHECKS)[..., None]
            bright = alpha[..., None] * bright + (1 - alpha[..., None]) * checks
        lost = ~np.isfinite(values)
        bright[lost.any(axis=2) if lost.ndim == 3 else lost] = NOT_FINITE
        return np.rint(bright).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class SignalPanel:
    """One-dimensional values. lines: (C, N); those that are not finite are gaps.

    places: the positions of the first and the last, in samples of the input.
    """

    caption: Caption
    lines: Values
    places: tuple[float, float]

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value; 0 and 0 if none is finite."""
        low, high = np.nan_to_num(finite_range(self.lines)).tolist()
        return low, high


Panel: TypeAlias = PicturePanel | SignalPanel


def panels(result: ApplyResult) -> tuple[Panel, Panel]:
    """Return the input and the output of a run, each as a picture or both as signals.

    Of a volume the middle plane is drawn, of several frames or items the first, of channels that
    are no colours the first; the notes say so. If the result is not saved, and clipping removed the
    negative values of a kernel such as sobel-x, they are drawn as they were before.
    """
    clipped = result.plan.target is None and bool(lost_signs(result.plan, result.ledger))
    if clipped:
        result = _unclipped(result.plan)
    plan = result.plan
    lead = plan.passes[0]
    layout, axes, data = lead.conv_layout, lead.plan.axes, plan.data
    picture = data.kind == "image"
    channels = lead.channel_axis if lead.channel_axis < result.values.ndim else None
    alpha = colour.opaque(data.array.dtype) if data.alpha else None
    before = _Source("before", data.called, data.array, layout.channel_axis, picture, alpha)
    kernels = " and ".join(each.kernel.name for each in plan.passes)
    colours = not plan.writing.maps
    if alpha and plan.dtype.kind in "iu":  # alpha of floats has the input's range
        alpha = colour.opaque(plan.dtype)
    name = f"{kernels} before clipping" if clipped else kernels
    after = _Source("after", name, result.values, channels, picture, alpha, colours)
    axis = axes[0]
    last = axis.start + axis.stride * (axis.out - 1)
    return (
        _panel(before, layout.batch_axes, (0.0, axis.n - 1.0)),
        _panel(after, layout.batch_axes, (axis.start, last)),
    )


def _unclipped(plan: ApplyPlan) -> ApplyResult:
    """Compute a result in float32 or wider. Raises LimitError if that needs too much memory."""
    floats = np.result_type(plan.compute_dtype, np.float32)
    wide = replace(plan, dtype=floats, request=replace(plan.request, verify=False))
    limits = plan.request.limits
    limits.check_memory(f"drawing {plan.data.name}", apply_footprint(wide).peak, LESS_WORK)
    return run_apply(wide)


def picture_panel(data: Data) -> PicturePanel:
    """Return the first frame of a picture."""
    channels = data.array.ndim - 1 if data.array.ndim > 2 else None
    alpha = colour.opaque(data.array.dtype) if data.alpha else None
    source = _Source("picture", data.called, data.array, channels, picture=True, alpha=alpha)
    panel = _panel(source, int(data.frames > 1), (0.0, 0.0))
    assert isinstance(panel, PicturePanel)
    return panel


class _Source(NamedTuple):
    """An array to draw.

    picture: whether its integers have the range of their type. alpha: that of an opaque sample
    if the last channel is alpha, else None. colours: whether three channels are RGB.
    """

    word: str
    name: str
    values: Values
    channel_axis: int | None
    picture: bool
    alpha: int | None
    colours: bool = True


def _panel(source: _Source, batch_axes: int, places: tuple[float, float]) -> Panel:
    values, notes = _plane(source, batch_axes)
    alpha = None
    if source.alpha is not None:
        alpha = values[..., -1] / source.alpha
        values = values[..., :-1]
    if values.ndim == 2:
        lines = values[:, :CURVES].T
        if values.shape[1] > CURVES:
            notes.append(f"channels 0 to {CURVES - 1} of {values.shape[1]}")
        return SignalPanel(_caption(source, lines, notes, "a gap"), lines, places)
    if values.shape[-1] == 1:
        values = values[..., 0]
    elif values.shape[-1] != 3 or not source.colours:
        notes.append(f"channel 0 of {values.shape[-1]}")
        values = values[..., 0]
    ends, zero = _ends(values, picture=source.picture)
    return PicturePanel(_caption(source, values, [*zero, *notes], "magenta"), values, alpha, ends)


def _plane(source: _Source, batch_axes: int) -> tuple[Values, list[str]]:
    """Return the part of an array to draw, (H, W, C) or (N, C), and words for what is left out."""
    values, notes = source.values, []
    if source.channel_axis is not None:
        values = np.moveaxis(values, source.channel_axis, -1)
    elif source.alpha is None:
        values = values[..., None]
    if batch_axes:
        if len(values) > 1:
            notes.append(f"item 0 of {len(values)}")
        values = values[0]
    while values.ndim > 3:
        middle = len(values) // 2
        notes.append(f"plane {middle} of {len(values)}")
        values = values[middle]
    return values, notes


def _around_zero(values: Values) -> tuple[float, float]:
    """Return the largest finite magnitude below and above 0."""
    largest = max(map(abs, np.nan_to_num(finite_range(values)).tolist()))
    return -largest, largest


def _ends(values: Values, *, picture: bool) -> tuple[tuple[float, float] | None, list[str]]:
    """Return the values of black and white, and words for it if zero is gray."""
    if picture and values.dtype in (np.uint8, np.uint16):
        return (0.0, float(np.iinfo(values.dtype).max)), []
    low, high = np.nan_to_num(finite_range(values)).tolist()
    if low < 0:
        return None, ["0 is gray"]
    return (low, high) if low < high else (min(low, 0.0), max(high, 1.0)), []


def _caption(source: _Source, values: Values, notes: Sequence[str], lost: str) -> Caption:
    """Describe a panel. lost: how values that are not finite are drawn."""
    low, high = finite_range(values)
    shown = f"{low:.4g} to {high:.4g}" if low <= high else "no finite value"
    gaps = [] if np.isfinite(values).all() else [f"not finite: {lost}"]
    shape = f"{show(source.values.shape)} {source.values.dtype}"
    return Caption(
        f"{source.word}: {printable(source.name)}, {shape}", ", ".join([shown, *notes, *gaps])
    )
