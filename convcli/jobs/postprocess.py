"""Convert the engine's float results to the values that are written, and count what was clipped.

Results are combined, scaled and shifted; then a policy maps them into the range of the output's
type; then they are rounded half to even and saturated. The ledger has the range before the policy,
the range before rounding, and how many values were clipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.exact import TURN
from convcli.engine.rounding import round_into
from convcli.engine.threads import share_out
from convcli.errors import ConvError, ShapeError
from convcli.limits import threads
from convcli.options import Combine, Policy
from convcli.shapes.parse import show


@dataclass(frozen=True)
class Ledger:
    """The range of the values before they were rounded, and how many did not fit.

    low, high: of the finite values, after the policy; NaN if there are none. below, above: how many
    were clipped to the type's ends. not_finite: how many are NaN or infinite. nan: how many are
    NaN, which an integer type stores as 0. low_before, high_before: low and high before the policy.
    """

    policy: Policy
    dtype: str
    low: float
    high: float
    below: int
    above: int
    not_finite: int
    nan: int
    total: int
    low_before: float
    high_before: float

    def __add__(self, other: Ledger) -> Ledger:
        """Return the ledger of two chunks of a result together."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        lows = {name: _least(getattr(self, name), getattr(other, name)) for name in LOWS}
        highs = {name: _most(getattr(self, name), getattr(other, name)) for name in HIGHS}
        return replace(self, **counts, **lows, **highs)

    def check(self) -> None:
        """Raise ConvError if the policy is `error` and a value did not fit."""
        unfit = self.below + self.above + (self.nan if np.dtype(self.dtype).kind in "iu" else 0)
        if self.policy == "error" and unfit:
            infinite = f", {self.not_finite:,} of them not finite," * bool(self.not_finite)
            raise ConvError(
                f"values from {self.low:.6g} to {self.high:.6g}{infinite} do not fit {self.dtype}",
                f"{unfit:,} of {self.total:,} would be clipped",
                "use --range clip, rescale, offset or abs, or a wider --dtype",
            )


def share(part: int, whole: int) -> str:
    """Format a share in percent; one above zero is never formatted as zero.

    >>> share(7931, 294912), share(1, 10**6), share(3, 3)
    ('2.7 %', 'less than 0.1 %', '100 %')
    """
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "less than 0.1 %"
    return f"{percent:.0f} %" if part == whole else f"{min(percent, 99.9):.1f} %"


FIT_VALUES = 1 << 18
"""Values that are counted and rounded at a time: 1 MiB of float32, which fits into the cache."""

WORTH_SHARING = 1 << 20
"""Values above which the conversion uses several threads."""

LOWS = ("low_before", "low")
HIGHS = ("high_before", "high")
COUNTS = ("below", "above", "not_finite", "nan", "total")


def combined_shape(shapes: Sequence[tuple[int, ...]], how: Combine, axis: int) -> tuple[int, ...]:
    """Return the shape of combined results; stacked ones may differ in their channel counts.

    Raises ShapeError if the shapes cannot be combined.

    >>> combined_shape([(9, 9, 2), (9, 9, 4)], "stack", 2)
    (9, 9, 6)
    >>> combined_shape([(9, 9), (9, 9)], "stack", 2)
    (9, 9, 2)
    """
    first = shapes[0]
    has_channels = axis < len(first)
    sizes = {(len(shape), shape[:axis], shape[axis + 1 :]) for shape in shapes}
    if len(sizes) > 1 or (len(set(shapes)) > 1 and not (how == "stack" and has_channels)):
        raise ShapeError(
            f"the kernels give outputs of {' and '.join(sorted(set(map(show, shapes))))}",
            "expected one shape to combine",
            "use --padding same, or kernels of one size"
            if len(sizes) > 1
            else "use --combine stack, or kernels with the same number of channels",
        )
    if how != "stack" or len(shapes) == 1:
        return first
    if not has_channels:
        return (*first, len(shapes))
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def combine(results: Sequence[NDArray[Any]], how: Combine, axis: int) -> NDArray[Any]:
    """Combine several results; `stack` concatenates them along the channel `axis`.

    Without a channel axis it makes a new last one.

    >>> combine([np.array([3.0]), np.array([4.0])], "magnitude", 0)
    array([5.])
    """
    if len(results) == 1 and how in ("stack", "sum", "max", "mean"):
        return results[0]
    combined_shape([result.shape for result in results], how, axis)
    if how == "stack":
        return np.concatenate(results, axis) if axis < results[0].ndim else np.stack(results, axis)
    if how == "magnitude":
        return _magnitude(results)
    if how == "max":
        return np.asarray(np.maximum.reduce(list(results)))
    with np.errstate(over="ignore", invalid="ignore"):
        total: NDArray[Any] = sum(results[1:], start=results[0])
    if how == "sum":
        return total
    return _whole_mean(total, len(results)) if total.dtype.kind in "iu" else _mean(results, total)


def _magnitude(results: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the root of the sum of squares.

    Elements whose squares over- or underflow are computed by np.hypot, which is slower.
    """
    if len(results) == 1:
        return np.asarray(np.abs(results[0]))
    limits = np.finfo(results[0].dtype)
    with np.errstate(over="ignore", under="ignore"):
        total: NDArray[Any] = sum(np.square(result) for result in results)
    lost = (total < limits.tiny / limits.eps) | np.isinf(total)
    np.sqrt(total, out=total)
    if lost.any():
        exact = np.abs(results[0])
        for result in results[1:]:
            np.hypot(exact, result, out=exact, where=lost)
        np.copyto(total, exact, where=lost)
    return total


def _whole_mean(total: NDArray[Any], count: int) -> NDArray[Any]:
    """Return total / count of whole numbers, rounded half to even."""
    mean, rest = np.divmod(total, count)
    doubled = 2 * rest
    return np.asarray(mean + ((doubled > count) | ((doubled == count) & (mean % 2 == 1))))


def _mean(results: Sequence[NDArray[Any]], total: NDArray[Any]) -> NDArray[Any]:
    """Return total / n; elements whose total overflows are summed after the division."""
    count = len(results)
    mean = total / count
    lost = np.isinf(total)
    if lost.any():
        parts = results[0] / count
        for result in results[1:]:
            np.add(parts, result / count, out=parts, where=lost)
        np.copyto(mean, parts, where=lost)
    return mean


def scale_and_shift(values: NDArray[Any], scale: float, bias: float) -> NDArray[Any]:
    """Return values * scale + bias in the values' own dtype; floats that overflow become infinite.

    For integer values, scale and bias must be whole and the results must fit the type.
    """
    kind = values.dtype
    if kind.kind in "iu":
        residues = values.view(np.uint64)
        return (residues * np.uint64(int(scale) % TURN) + np.uint64(int(bias) % TURN)).view(kind)
    least = float(np.finfo(kind).tiny)
    most = float(np.finfo(kind).max)
    normal = all(least <= abs(factor) <= most for factor in (scale, bias) if factor)
    wide = kind if normal else np.dtype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        values = values if scale == 1 else values * wide.type(scale)
        values = values if bias == 0 else values + wide.type(bias)
        return values.astype(kind, copy=False)


def to_dtype(
    values: NDArray[Any],
    dtype: np.dtype[Any],
    policy: Policy,
    extent: tuple[float, float] | None = None,
    out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], Ledger]:
    """Convert values to `dtype` by a range policy, and return them with their ledger.

    clip and error saturate, in a float type at its largest finite values; rescale maps the values'
    range, or the `extent` of which they are a part, onto the type's (0 to 1 for a float type);
    offset adds the middle of the type's range, so that zero shows as gray; abs takes magnitudes.
    The result is written to `out` if that is given; otherwise it may be `values` itself.

    >>> to_dtype(np.array([-2.0, 0.0, 2.0]), np.dtype(np.uint8), "rescale")[0]
    array([  0, 128, 255], dtype=uint8)
    """
    ends = extent or (finite_range(values) if policy == "rescale" else _range(dtype))
    made = policy not in ("clip", "error")
    if out is None:
        out = np.empty(values.shape, dtype) if made or values.dtype != dtype else values
    axis = next((axis for axis, size in enumerate(values.shape) if size >= 16), 0)
    each = max(FIT_VALUES * values.shape[axis] // values.size, 1)
    ledgers: dict[int, Ledger] = {}

    def convert(start: int) -> None:
        run = (slice(None),) * axis + (slice(start, start + each),)
        part = values[run]
        piece = _by_policy(part, dtype, policy, ends)
        ledger = _account(piece, dtype, policy)
        if piece is not part:
            low, high = finite_range(part)
            ledger = replace(ledger, low_before=low, high_before=high)
        ledgers[start] = ledger
        if dtype.kind == "f" and ledger.below + ledger.above:
            most = float(np.finfo(dtype).max)
            piece = np.where(np.isfinite(piece), np.clip(piece, -most, most), piece)
        if out is not values:
            with np.errstate(invalid="ignore"):
                round_into(piece, out[run], spent=piece is not part)

    starts = range(0, values.shape[axis], each)
    share_out(convert, starts, workers=threads() if values.size > WORTH_SHARING else 1)
    return out, reduce(add, (ledgers[start] for start in starts))


def _by_policy(
    values: NDArray[Any], dtype: np.dtype[Any], policy: Policy, ends: tuple[float, float]
) -> NDArray[Any]:
    """Map values into the range of `dtype` by a policy; `rescale` maps `ends` onto it."""
    bottom, top = _range(dtype)
    if policy == "abs":
        return np.asarray(np.abs(values))
    if policy == "offset":
        return scale_and_shift(values, 1.0, _middle(dtype))
    if policy == "rescale":
        with np.errstate(over="ignore", invalid="ignore"):
            return _rescaled(values, ends, bottom, top)
    return values


def _middle(dtype: np.dtype[Any]) -> float:
    """Return the middle of a type's range, rounded up: 128 for uint8, 0.5 for floats."""
    if dtype.kind not in "iu":
        return 0.5
    info = np.iinfo(dtype)
    return float((int(info.min) + int(info.max) + 1) // 2)


def _rescaled(
    values: NDArray[Any], ends: tuple[float, float], bottom: float, top: float
) -> NDArray[Any]:
    """Map the range `ends` onto that from bottom to top.

    If a step would overflow, the values are scaled by a power of two first.
    """
    low, high = ends
    kind = values.dtype.type
    limits = np.finfo(values.dtype)
    most = float(limits.max)
    span = high - low
    gain = (top - bottom) / span if span > 0 else 0.0
    if span > most or (gain and not limits.tiny <= gain <= most):
        exponent = -math.frexp(max(abs(low), abs(high)))[1]
        values = np.ldexp(values, exponent)
        low = math.ldexp(low, exponent)
        gain = (top - bottom) / (math.ldexp(high, exponent) - low)
    return np.asarray((values - kind(low)) * kind(gain) + kind(bottom))


def _range(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind not in "iu":
        return 0.0, 1.0
    return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)


def _overflow(dtype: np.dtype[Any]) -> float:
    """Return the least value that a float type rounds to infinity.

    It is half a step beyond the largest finite one.
    """
    info = np.finfo(dtype)
    return float(info.max) + math.ldexp(1, int(info.maxexp) - int(info.nmant) - 2)


def _account(values: NDArray[Any], dtype: np.dtype[Any], policy: Policy) -> Ledger:
    """Count the values that do not fit `dtype`, and return them as a ledger."""
    if values.dtype.kind in "iu":
        info = np.iinfo(dtype)
        below = int(np.count_nonzero(values < int(info.min)))
        above = int(np.count_nonzero(values > int(info.max)))
        ends: tuple[float, float] = (int(values.min()), int(values.max()))
        return Ledger(policy, dtype.name, *ends, below, above, 0, 0, values.size, *ends)

    # A NaN or an infinity among the values is always one of these two.
    lowest, highest = float(values.min()), float(values.max())
    finite = np.isfinite(lowest) and np.isfinite(highest)
    below = above = not_finite = nan = 0
    if dtype.kind in "iu":
        # bottom is even, top odd: bottom - 0.5 is rounded to it, top + 0.5 away from it
        bottom, top = _range(dtype)
        below = int(np.count_nonzero(values < bottom - 0.5)) if not lowest >= bottom else 0
        above = int(np.count_nonzero(values >= top + 0.5)) if not highest <= top else 0
    elif dtype.itemsize < values.dtype.itemsize:
        most = _overflow(dtype)
        if not lowest > -most:
            below = int(np.count_nonzero((values <= -most) & np.isfinite(values)))
        if not highest < most:
            above = int(np.count_nonzero((values >= most) & np.isfinite(values)))
    if not finite:
        not_finite = int(np.count_nonzero(~np.isfinite(values)))
        nan = int(np.count_nonzero(np.isnan(values)))
    ends = (lowest, highest) if finite else finite_range(values)
    return Ledger(policy, dtype.name, *ends, below, above, not_finite, nan, values.size, *ends)


def _least(one: float, other: float) -> Any:
    """Return the smaller number, whole if it is; NaN if both are."""
    return min(one, other, key=lambda value: (value != value, value))


def _most(one: float, other: float) -> Any:
    """Return the larger number, whole if it is; NaN if both are."""
    return max(one, other, key=lambda value: (value == value, value))


def finite_range(values: NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest finite value; NaN if there is none."""
    low, high = float(values.min()), float(values.max())
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    finite = values[np.isfinite(values)]
    if not finite.size:
        return math.nan, math.nan
    return float(finite.min()), float(finite.max())
