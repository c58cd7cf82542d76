"""Plan a convolution once, and run it again for every input of the same kind.

A call is remembered by everything that its plan and its prepared kernel depend on: shapes, strides
and types, the options as they were given, and the taps themselves, because a caller may change a
kernel in place. A repeated call needs some microseconds before it computes, instead of a
quarter of a millisecond.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from convcli.engine.buffers import result_buffer
from convcli.engine.execute import Prepared
from convcli.engine.memory_order import by_stride, in_memory_order
from convcli.engine.methods import methods
from convcli.engine.problem import Problem, check_out, inverse, real_array
from convcli.errors import InputError
from convcli.limits import threads
from convcli.progress import Progress, silent

MOST_CALLS = 256
"""Calls that are remembered."""

MOST_BYTES = 1 << 25
"""Bytes of all remembered calls: 32 MiB of taps and of prepared kernels."""

MOST_TAPS = 1 << 20
"""Bytes of the taps of one call: comparing 1 MiB takes a tenth of a millisecond."""

HEAD = 1 << 10
"""Bytes of the taps in the key of a call; others are compared after it is found."""

Build: TypeAlias = Callable[..., Problem]
"""Returns the problem of x, w, bias and the options."""


class PlannedCall:
    """A planned and prepared convolution, for inputs of the same shape, strides and type."""

    def __init__(self, problem: Problem, dtype: DTypeLike | None, method: str) -> None:
        """Plan the problem with its axes in the order of memory."""
        problem = in_memory_order(problem)
        self.plan = plan = problem.plan(dtype, method)
        self.dtype = np.dtype(plan.dtype)
        self.prepared = Prepared(plan, problem.w, problem.bias, problem.x)

        # The caller's axes in the engine's order, and the result's in the order of memory.
        axes = inverse(problem.order)
        self.axes = None if axes == problem.order == tuple(sorted(axes)) else axes
        self.added_channel = problem.added_channel
        output = plan.output[:-1] if problem.added_channel else plan.output
        self.shape = tuple(output[axis] for axis in problem.order)
        given = problem.samples.transpose(problem.order)
        memory = by_stride(given, range(given.ndim))
        self.allocated = tuple(self.shape[axis] for axis in memory)
        self.order = inverse(memory)

    def __call__(
        self, x: NDArray[Any], out: NDArray[Any] | None, progress: Progress = silent
    ) -> NDArray[Any]:
        """Return the convolution of x in the caller's axes, or fill `out` with it."""
        if out is None:
            result = result_buffer(self.allocated, self.dtype).transpose(self.order)
        else:
            result = check_out(out, self.shape, self.dtype)
            x = x.copy() if np.shares_memory(x, out) else x
        self.prepared(self._engine_view(x), self._engine_view(result), None, progress)
        return result

    @property
    def is_current(self) -> bool:
        """Whether the number of threads is the one that was planned for."""
        return not self.plan.is_parallel or self.plan.threads_available == threads()

    def _engine_view(self, array: NDArray[Any]) -> NDArray[Any]:
        view = array if self.axes is None else array.transpose(self.axes)
        return view[..., None] if self.added_channel else view


class RememberedCalls:
    """The last calls, by their key; several threads may use it."""

    def __init__(self) -> None:
        self.held: OrderedDict[Hashable, tuple[bytes, PlannedCall, int]] = OrderedDict()
        self.size = 0
        self.lock = threading.Lock()

    def find(self, key: Hashable, taps: bytes) -> PlannedCall | None:
        """Return the call with this key and these taps; raise TypeError for a key without hash."""
        found = self.held.get(key)
        if found is None or found[0] != taps or not found[1].is_current:
            return None
        with suppress(KeyError):  # another thread removed it
            self.held.move_to_end(key)
        return found[1]

    def add(self, key: Hashable, taps: bytes, call: PlannedCall) -> None:
        """Remember a call, and forget the ones that were not used for longest."""
        size = len(taps) + call.plan.implementation.memory(call.plan, call.plan.tile).shared
        if size > MOST_BYTES // 4:
            return
        with self.lock:
            before = self.held.pop(key, None)
            self.size += size - (before[2] if before else 0)
            self.held[key] = taps, call, size
            while self.size > MOST_BYTES or len(self.held) > MOST_CALLS:
                self.size -= self.held.popitem(last=False)[1][2]


calls = RememberedCalls()


def forget_calls() -> None:
    """Forget all calls: the next one of each kind is planned again."""
    global calls
    calls = RememberedCalls()


def run_call(
    build: Build,
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None,
    options: tuple[Any, ...],
    dtype: DTypeLike | None,
    method: str,
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    """Compute the convolution that `build` describes, by a remembered call if there is one."""
    x, w = _array(x, "input"), _array(w, "kernel")
    bias = None if bias is None else _array(bias, "bias")
    if out is not None:
        if not isinstance(out, np.ndarray):
            raise InputError(f"out is a {type(out).__name__}", "expected an array to fill")
        dtype = out.dtype if dtype is None else dtype
    if w.nbytes > MOST_TAPS:
        return PlannedCall(build(x, w, bias, *options), dtype, method)(x, out)
    taps = w.tobytes()
    key = (
        build,
        x.shape,
        x.strides,
        x.dtype,
        w.shape,
        w.dtype,
        taps[:HEAD],
        None if bias is None else (bias.shape, bias.dtype, bias.tobytes()),
        options,
        _types(options),
        dtype,
        method,
        None if out is None else out.strides,
        methods(),
    )
    try:
        call = calls.find(key, taps)
    except TypeError:  # an option that has no hash, such as a list
        return PlannedCall(build(x, w, bias, *options), dtype, method)(x, out)
    if call is None:
        # The kernel is a copy: the caller may change its own.
        copied = np.frombuffer(taps, w.dtype).reshape(w.shape)
        call = PlannedCall(build(x, copied, bias, *options), dtype, method)
        if not call.plan.facts.reads_samples:
            calls.add(key, taps, call)
    return call(x, out)


def run_problem(
    problem: Problem,
    dtype: DTypeLike | None,
    method: str,
    out: NDArray[Any] | None = None,
    progress: Progress = silent,
) -> NDArray[Any]:
    """Plan and compute a problem that is not repeated."""
    dtype = out.dtype if dtype is None and out is not None else dtype
    return PlannedCall(problem, dtype, method)(
        problem.samples.transpose(problem.order), out, progress
    )


def _array(values: ArrayLike, what: str) -> NDArray[Any]:
    """Return an array, which is checked before its call is remembered."""
    return values if type(values) is np.ndarray else real_array(values, what)


def _types(options: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the types of options and of their entries: 1.0 is no stride, although it equals 1."""
    types = tuple(map(type, options))
    if tuple in types:
        return types, *(_types(option) for option in options if type(option) is tuple)
    return types
