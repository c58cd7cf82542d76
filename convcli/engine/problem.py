"""One convolution in the engine's form: its checked arrays, its plan and its run."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from convcli.engine.analysis import (
    divisor,
    factors,
    flat_axes,
    has_heavy_taps,
    integral_bound,
    largest_sum,
    needs_float64,
    separable_terms,
    small_taps,
    sum_range,
    whole_taps,
)
from convcli.engine.exact import needs_integers
from convcli.engine.execute import Prepared
from convcli.engine.planning.choose import (
    WORTH_COUNTING,
    WORTH_FACTORING,
    direct_seconds,
    is_small,
    make_plan,
)
from convcli.engine.planning.facts import EXACT, Facts, TapCounts, Work, result_dtype
from convcli.engine.planning.plan import Plan
from convcli.engine.tap_sums import tap_sum
from convcli.engine.tiling import Chunk
from convcli.errors import ChannelError, DtypeError, InputError, ShapeError
from convcli.kernels.model import check_unmasked
from convcli.progress import Progress, silent
from convcli.shapes.layout import check_layout, infer_layout
from convcli.shapes.parse import show
from convcli.shapes.spec import ConvSpec


class Problem(NamedTuple):
    """One convolution in the engine's form: x (*batch, *S, channels), as views of the arrays."""

    x: NDArray[Any]
    w: NDArray[Any]
    bias: NDArray[Any] | None
    spec: ConvSpec
    filters: int | None
    order: tuple[int, ...]
    """For each axis of the caller's output, the engine's axis."""
    added_channel: bool

    @property
    def samples(self) -> NDArray[Any]:
        """The input without the channel axis that was added to it."""
        return self.x[..., 0] if self.added_channel else self.x

    @property
    def window(self) -> tuple[int, ...]:
        """Spatial shape of the kernel."""
        return self.w.shape if self.filters is None else self.w.shape[1:-1]

    def plan(self, dtype: DTypeLike | None, method: str) -> Plan:
        """Plan the convolution.

        The kernel is factored only if that was asked for, or if factors may save time.
        """
        kind = None if dtype is None else _result(dtype)
        number = 1
        if self.filters is None and self.bias is None:
            result = np.dtype(result_dtype(self.x.dtype.name)) if kind is None else kind
            number = divisor(self.x, self.w, self.spec.cval, result)
        return self._replace(w=whole_taps(self.w, number))._plan(kind, method, number)

    def _plan(self, kind: np.dtype[Any] | None, method: str, number: int) -> Plan:
        """Plan the convolution, whose sums are divided by a number."""
        work = self._work(kind, number)
        if method != "direct" and not (method == "auto" and is_small(work)):
            seconds = direct_seconds(work)
            terms, flat = self._terms(work, method, seconds)
            taps = self._taps(method, seconds)
            work = replace(work, facts=replace(work.facts, terms=terms, flat=flat, taps=taps))
        return make_plan(work, method)

    def _work(self, kind: np.dtype[Any] | None, number: int) -> Work:
        """Return the work for a result of a type, without facts about the kernel's taps."""
        first = self.x.ndim - 1 - len(self.spec.stride)
        bound = integral_bound(self.x, self.w, self.spec.cval)
        integral, exact = (None, False) if bound is None else self._whole_sums(bound, kind)
        if integral is not None:
            integral += number // 2  # which is added before the division, to round
        weight = largest_sum(self.w)
        facts = Facts(
            batch=self.x.shape[:first],
            spatial=self.x.shape[first:-1],
            channels=self.x.shape[-1],
            window=self.window,
            filters=self.filters,
            input_dtype=self.x.dtype.name,
            integral=integral,
            exact=exact,
            weight=weight,
            reads_samples=has_heavy_taps(self.x.dtype, weight) or (bound or 0) > EXACT,
            extreme=needs_float64(self.x, self.w, self.bias, self.spec.cval, weight),
            ones=bool((self.w == 1).all()),
            divisor=number,
        )
        return Work.of(facts, self.spec, None if kind is None else kind.name)

    def whole_range(self) -> tuple[int, int] | None:
        """Return bounds of the sums of whole numbers, without the bias; None for other numbers.

        The bounds are computed from the values if those from the types exceed float64's precision.
        """
        bound = integral_bound(self.x, self.w, self.spec.cval)
        if bound is None or bound <= EXACT:
            return None if bound is None else (-bound, bound)
        return sum_range(self.x, self.w, self.spec.cval, self.filters is None)

    def _whole_sums(self, bound: int, kind: np.dtype[Any] | None) -> tuple[int, bool]:
        """Return a bound of the |sums| of whole numbers, and whether integers must keep them exact.

        bound: without the bias, from the samples' type. kind: the result's type.
        Raises DtypeError for sums that must be exact and cannot be.
        """
        shift = 0
        if self.bias is not None and np.isfinite(self.bias).all():
            shift = int(np.abs(self.bias, dtype=np.float64).max())
        bound += shift
        if kind is None or kind.kind == "f" or bound <= EXACT:
            return bound, False

        # The bound from the types is too large: compute one from the values.
        ends = sum_range(self.x, self.w, self.spec.cval, self.filters is None)
        bound = max(map(abs, ends)) + shift
        return bound, needs_integers(bound, self.w, self.bias)

    def _terms(
        self, work: Work, method: str, seconds: float
    ) -> tuple[int | None, tuple[bool, ...]]:
        """Return how many products of 1-D factors add up to the kernel, and `Facts.flat`.

        0 if there is no such short sum, None if factoring would take longer than it saves.
        seconds: of the sum over taps.
        """
        if self.filters is not None:
            return None, ()
        w = small_taps(self.w)[0] if work.facts.extreme else self.w
        finite = np.isfinite(w).all()
        if finite and w.min() == w.max():
            return 1, (True,) * w.ndim
        if finite and w.ndim == 1:
            return 1, (False,)
        if method == "separable":
            terms = len(factors(w, work.target_precision))
        elif not finite:
            return 0, ()
        elif seconds <= WORTH_FACTORING:
            return None, ()
        else:
            terms = separable_terms(w, work.target_precision)
        return terms, flat_axes(w, work.target_precision) if terms == 1 else ()

    def _taps(self, method: str, seconds: float) -> TapCounts | None:
        """Return facts about a kernel of few taps, unless counting would take longer than it saves.

        seconds: of the sum over taps.
        """
        if self.filters is not None or (method == "auto" and seconds < WORTH_COUNTING):
            return None
        found = tap_sum(self.w)
        return None if found is None else found.counts

    def run_part(self, plan: Plan, part: Chunk, progress: Progress = silent) -> NDArray[Any]:
        """Return one part of the result of `run` with this plan."""
        result = np.empty(self.part_shape(plan, part), plan.dtype)
        self.fill(plan, result, part, progress)
        return result

    def part_shape(self, plan: Plan, part: Chunk) -> tuple[int, ...]:
        """Return the shape of a part of the result, in the caller's axes."""
        batch, (items, rows) = plan.facts.batch, (stop - start for start, stop in part)
        shape = (*((items, *batch[1:]) if batch else ()), rows, *plan.output[len(batch) + 1 :])
        return tuple(shape[axis] for axis in self.order)

    def fill(
        self, plan: Plan, result: NDArray[Any], part: Chunk, progress: Progress = silent
    ) -> None:
        run = Prepared(plan, self.w, self.bias, self.x)
        run(self.x, self.engine_view(result), part, progress)

    def engine_view(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the caller's input or output in the engine's axes."""
        view = array.transpose(inverse(self.order))
        return view[..., None] if self.added_channel else view


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """Return the permutation that undoes another.

    >>> inverse((2, 0, 1))
    (1, 2, 0)
    """
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def spatial_problem(
    x: ArrayLike, w: ArrayLike, *, axes: Sequence[int] | None, **options: Any
) -> Problem:
    """Return a correlation along `axes`.

    The other axes of x become batch axes, except a last one, which becomes the channels.
    """
    x, w = real_array(x, "input"), real_array(w, "kernel")
    along = _axes(x, w, axes)
    spec = ConvSpec.of(len(along), **options)
    rest = [axis for axis in range(x.ndim) if axis not in along]
    channel = rest.pop() if rest and rest[-1] == x.ndim - 1 else None
    moved = [*rest, *along] if channel is None else [*rest, *along, channel]
    view = x.transpose(moved)
    return Problem(
        x=view[..., None] if channel is None else view,
        w=w,
        bias=None,
        spec=spec,
        filters=None,
        order=inverse(moved),
        added_channel=channel is None,
    )


def layer_problem(
    x: ArrayLike, w: ArrayLike, bias: ArrayLike | None, *, groups: int, layout: str, **options: Any
) -> Problem:
    x, w = real_array(x, "input"), real_array(w, "kernel")
    check_layer(x, w)
    spec = ConvSpec.of(x.ndim - 2, groups=groups, **options)
    conv_layout = infer_layout(
        x.shape, w.shape, dims=x.ndim - 2, groups=spec.groups, layout=check_layout(layout)
    )
    first = layout == "channels_first"
    order = tuple(range(x.ndim)) if not first else (0, x.ndim - 1, *range(1, x.ndim - 1))
    return Problem(
        x=np.moveaxis(x, 1, -1) if first else x,
        w=np.moveaxis(w, 1, -1) if first else w,
        bias=None if bias is None else check_bias(bias, conv_layout.filters),
        spec=spec,
        filters=conv_layout.filters,
        order=order,
        added_channel=False,
    )


def check_layer(x: NDArray[Any], w: NDArray[Any]) -> None:
    """Raise ShapeError unless x and w have a layer's axes."""
    if x.ndim < 3 or w.ndim != x.ndim:
        raise ShapeError(
            f"input {show(x.shape)} with kernel {show(w.shape)}",
            "expected x (N, *S, C) and w (O, *K, C/groups), with the same number of axes",
            "add the missing axes, such as x[None]",
        )


def is_dask_array(values: object) -> bool:
    """Return whether an object is a dask array, without importing dask."""
    kind = type(values)
    return kind.__name__ == "Array" and kind.__module__.startswith("dask.array.")


def real_array(values: ArrayLike, what: str) -> NDArray[Any]:
    if is_dask_array(values):
        raise InputError(
            f"the {what} is a dask array",
            "expected an array in memory; only correlate, convolve and conv_layer take a dask "
            "array, and only as their input",
            f"pass the {what}'s .compute()",
        )
    check_unmasked(values, what)
    try:
        array = np.asarray(values)
    except ValueError:
        raise ShapeError(f"the {what} has rows of different lengths", "expected an array") from None
    if array.dtype.kind not in "biuf":
        raise DtypeError(
            f"the {what} holds {array.dtype} values",
            "expected real numbers",
            "filter the real and imaginary parts one by one" if array.dtype.kind == "c" else "",
        )
    if array.size == 0:
        raise ShapeError(f"the {what} {show(array.shape)} is empty", "expected at least one value")
    return array


def named_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        return np.dtype(dtype)
    except TypeError:
        raise DtypeError(
            f"dtype {dtype!r}", "expected a number type, such as float32 or uint8"
        ) from None


def _result(dtype: DTypeLike) -> np.dtype[Any]:
    chosen = named_dtype(dtype)
    if chosen.kind not in "iuf" or chosen.itemsize > 8:
        raise DtypeError(
            f"dtype {chosen}", "expected an integer or a float type of at most 64 bits"
        )
    return chosen


def _axes(x: NDArray[Any], w: NDArray[Any], axes: Sequence[int] | None) -> list[int]:
    """Return the axes of x that the kernel slides along, as indices from 0."""
    if w.ndim == 0:
        raise ShapeError(
            "a kernel without axes", "expected at least one", "multiply by the number instead"
        )
    if axes is None:
        if w.ndim != x.ndim:
            raise ShapeError(
                f"kernel {show(w.shape)} has {w.ndim} axes, the input {show(x.shape)} has {x.ndim}",
                "expected the same number",
                "name the axes that it slides along with axes=, or use conv_layer for channels",
            )
        return list(range(x.ndim))
    try:
        along = [axis + x.ndim if axis < 0 else axis for axis in map(operator.index, axes)]
    except TypeError:
        raise InputError(
            f"axes {axes!r}", "expected whole numbers", "write one axis as (0,)"
        ) from None
    if (
        len(along) != w.ndim
        or len(set(along)) != len(along)
        or not all(0 <= axis < x.ndim for axis in along)
    ):
        raise ShapeError(
            f"axes {tuple(axes)} for kernel {show(w.shape)} on input {show(x.shape)}",
            f"expected {w.ndim} different axes between {-x.ndim} and {x.ndim - 1}",
        )
    return along


def check_bias(bias: ArrayLike, filters: int) -> NDArray[Any]:
    array = real_array(bias, "bias")
    if array.shape != (filters,):
        raise ChannelError(
            f"bias {show(array.shape)}", f"expected ({filters},), one for each kernel"
        )
    return array


def check_out(out: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `out` if the result can be written to it."""
    if out.shape != shape or out.dtype != dtype:
        raise ShapeError(f"out is {show(out.shape)} {out.dtype}", f"expected {show(shape)} {dtype}")
    if not out.flags.writeable:
        raise InputError("out is read-only", "expected an array that can be written")
    return out
