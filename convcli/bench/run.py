"""Measure one convolution by each method and by other packages, in interleaved runs.

Every result is compared with the reference method's before it is timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.bench.peers import Task, UnableError, available_peers, on_threads, versions
from convcli.bench.timing import Clock, Timing, copying, multiplying, take_turns, timed
from convcli.engine.calls import run_problem
from convcli.engine.layer_form import to_problem
from convcli.engine.methods import names
from convcli.engine.planning.facts import tolerance
from convcli.engine.planning.plan import Plan
from convcli.engine.problem import Problem
from convcli.errors import InputError, brief
from convcli.io import Data
from convcli.jobs.operands import input_generator, resolve_operands
from convcli.kernels import Kernel
from convcli.limits import LESS_WORK, Limits, threads
from convcli.progress import Progress, silent
from convcli.shapes.geometry import Geometry
from convcli.shapes.layout import ConvLayout
from convcli.shapes.parse import show

Array = NDArray[Any]

PEER_TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
"""Allowed error of a peer, as a share of sum|w| * max|x|: larger than the contract's bound."""

PEER_STEPS = 2
"""Allowed error of a peer's integers: some peers sum in fixed point."""

INPUTS_HELD = 3
"""Copies of the input in memory at once: ours, and torch's two in its own layouts."""

RESULTS_HELD = 4
"""Results of 8 bytes per value in memory at once: two, a peer's uncropped one, and the difference.
"""


@dataclass(frozen=True)
class BenchRequest:
    """The convolution to measure. dtype: the type of the input and of the result.

    limit: seconds that a single call may take; slower methods and peers are skipped, except the
    method that the planner chooses.
    """

    shape: tuple[int, ...]
    reference: str
    geometry: Geometry = field(default_factory=Geometry)
    dtype: str = "float32"
    seed: int = 0
    runs: int = 5
    limit: float = 2.0
    limits: Limits = field(default_factory=Limits.of)


@dataclass(frozen=True)
class Row:
    """One timed method or peer.

    difference: the largest from the reference's result; bound: the allowed difference.
    """

    name: str
    is_peer: bool
    timing: Timing
    difference: float
    bound: float
    predicted: float | None
    """The planner's estimate for a method of ours, in seconds on one core."""

    @property
    def seconds(self) -> float:
        return self.timing.median

    @property
    def passed(self) -> bool:
        return self.difference <= self.bound


@dataclass(frozen=True)
class Pace:
    """A yardstick's timing and rate: bytes or operations per second."""

    timing: Timing
    rate: float


@dataclass(frozen=True)
class BenchResult:
    """The result of one case.

    rows: the fastest first; left_out: by name, why a method or a peer was not timed.
    """

    case: BenchRequest
    kernel: Kernel
    conv_layout: ConvLayout
    plan: Plan
    threads: int
    versions: dict[str, str]
    reference: str
    rows: tuple[Row, ...]
    left_out: dict[str, str]
    copy: Pace
    matmul: Pace
    input_bytes: int

    @property
    def pick(self) -> Row:
        """The row of the method that the planner chooses."""
        return next(row for row in self.rows if row.name == self.plan.method)

    @property
    def slowest(self) -> float:
        """The seconds of the slowest row."""
        return max(row.seconds for row in self.rows)

    @property
    def wrong(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.rows if not row.passed)

    def operations(self, row: Row) -> float:
        """Return operations per second: two per multiply-add of the definition, for any method."""
        return 2 * self.plan.macs / row.seconds

    def traffic(self, row: Row) -> float:
        """Return bytes per second, if the input is read once and the output written once."""
        return (self.input_bytes + self.plan.output_bytes) / row.seconds


SAME = Geometry(padding="same")

STANDARD = (
    BenchRequest((2048, 2048), "random:3x3"),
    BenchRequest((2048, 2048), "random:7x7"),
    BenchRequest((2048, 2048), "random:31x31"),
    BenchRequest((2048, 2048), "gaussian:sigma=2", Geometry(padding="same", boundary="symmetric")),
    BenchRequest(
        (1024, 1024, 3), "random:5x5", Geometry(padding="same", boundary="reflect"), dtype="uint8"
    ),
    BenchRequest((4_000_000,), "random:65"),
    BenchRequest((128, 128, 128), "random:3x3x3"),
    BenchRequest((56, 56, 64), "random:64x3x3x64", SAME),
    BenchRequest((112, 112, 64), "random:64x3x3x64", Geometry(padding="same", stride=2)),
    BenchRequest((112, 112, 64), "random:3x3x64", Geometry(padding="same", channels="each")),
)
"""The cases that are measured by default: pictures, a signal, a volume, and plain, strided and
depthwise layers."""


def run_bench(
    case: BenchRequest, clock: Clock = time.perf_counter, progress: Progress = silent
) -> BenchResult:
    """Measure a case on random numbers: all methods, the peers, and the machine's limits.

    Raises a ConvError if the case is not valid, LimitError if it exceeds the memory limit.

    >>> report = run_bench(BenchRequest((40, 40), "sobel-x", runs=1))
    >>> report.pick.name in ("direct", "gemm", "separable"), report.wrong
    (True, ())
    """
    if not case.limit > 0:
        raise InputError(
            f"limit {case.limit}", "expected a positive number of seconds", "omit --limit for 2"
        )
    task, kernel = _task(case)
    problem = to_problem(task.x, task.w, task.conv_layout, task.spec)
    plan = problem.plan(case.dtype, "auto")
    held = INPUTS_HELD * task.x.nbytes + plan.memory + RESULTS_HELD * 8 * math.prod(plan.output)
    case.limits.check_memory(f"comparing results of {show(plan.output)}", held, LESS_WORK)
    with on_threads(threads()):
        entries, left_out = _entries(case, problem, plan, task)
        admitted, too_slow = _first_runs(
            entries, clock, lambda share: progress(share / (case.runs + 1))
        )
        copy, matmul = copying(), multiplying()
        calls = {
            "copy": copy.call,
            "matmul": matmul.call,
            **{entry.name: entry.call for entry, _ in admitted},
        }
        first = 1 / (case.runs + 1)
        timings = take_turns(
            calls, case.runs, clock, lambda share: progress(first + (1 - first) * share)
        )
    bounds = {False: _method_bound(problem, plan), True: _peer_bound(problem, plan)}
    rows = [
        Row(
            entry.name,
            entry.is_peer,
            timings[entry.name],
            apart,
            bounds[entry.is_peer],
            entry.predicted,
        )
        for entry, apart in admitted
    ]
    return BenchResult(
        case=case,
        kernel=kernel,
        conv_layout=task.conv_layout,
        plan=plan,
        threads=threads(),
        versions=versions(),
        reference=admitted[0][0].name,
        rows=tuple(sorted(rows, key=lambda row: row.seconds)),
        left_out=left_out | too_slow,
        copy=Pace(timings["copy"], copy.amount / timings["copy"].median),
        matmul=Pace(timings["matmul"], matmul.amount / timings["matmul"].median),
        input_bytes=task.x.nbytes,
    )


def _task(case: BenchRequest) -> tuple[Task, Kernel]:
    """Return the requested convolution on random numbers, and its kernel."""
    x = _random(case)
    data = Data(x, "array", "random", "random numbers")
    kernel, conv_layout, spec = resolve_operands(
        data, x, case.reference, case.geometry, "the input"
    )
    taps = kernel.taps.astype(np.float64 if case.dtype == "float64" else np.float32)
    return Task(x, taps, conv_layout, spec, np.dtype(case.dtype)), kernel


def _random(case: BenchRequest) -> Array:
    """Return standard normal numbers, or uniform integers over the whole range of the dtype."""
    rng = input_generator(case.seed)
    kind = np.dtype(case.dtype)
    case.limits.check_memory(
        f"an input of {show(case.shape)}", kind.itemsize * math.prod(case.shape)
    )
    if kind.kind == "f":
        return rng.standard_normal(case.shape, kind)
    info = np.iinfo(kind)
    return rng.integers(info.min, info.max, case.shape, kind, endpoint=True)


@dataclass(frozen=True, eq=False)
class _Entry:
    """A method or peer to time. predicted: seconds, if known; limit: allowed seconds of a call."""

    name: str
    call: Callable[[], Array]
    is_peer: bool
    predicted: float | None
    limit: float


def _entries(
    case: BenchRequest, problem: Problem, plan: Plan, task: Task
) -> tuple[list[_Entry], dict[str, str]]:
    """Return the methods and peers to time, and the reasons why others cannot be.

    `direct` comes first, then the planner's choice, because the first result is the reference.
    """
    entries = []
    left_out = {}
    for method in sorted(names(), key=lambda name: (name != "direct", name != plan.method)):
        try:
            seconds = problem.plan(case.dtype, method).seconds
        except InputError as refusal:
            left_out[method] = refusal.expected
            continue
        limit = math.inf if method == plan.method else case.limit
        entries.append(
            _Entry(method, partial(run_problem, problem, case.dtype, method), False, seconds, limit)
        )
    peers, unable = available_peers(task)
    entries += [_Entry(peer.name, peer.call, True, peer.seconds, case.limit) for peer in peers]
    return entries, left_out | unable


def _first_runs(
    entries: Sequence[_Entry], clock: Clock, progress: Progress
) -> tuple[list[tuple[_Entry, float]], dict[str, str]]:
    """Run each entry once; return the fast enough ones with their differences from the first.

    The second result says why each other entry was skipped.
    """
    admitted: list[tuple[_Entry, float]] = []
    left_out: dict[str, str] = {}
    reference: Array | None = None
    for number, entry in enumerate(entries):
        progress(number / len(entries))
        try:
            answer = _first_answer(entry, clock)
        except UnableError as reason:
            left_out[entry.name] = str(reason)
            continue
        reference = answer if reference is None else reference
        admitted.append((entry, largest_difference(answer, reference)))
    return admitted, left_out


def _first_answer(entry: _Entry, clock: Clock) -> Array:
    """Run an entry once and return its result.

    Raises UnableError if it takes too long, or if a peer fails.
    """
    allowed = f"the limit is {entry.limit:g} s a run"
    if entry.predicted is not None and entry.predicted > entry.limit:
        raise UnableError(f"would take about {entry.predicted:.3g} s; {allowed}")
    try:
        answer, taken = timed(entry.call, clock)
    except Exception as error:
        if not entry.is_peer:
            raise
        raise UnableError(f"fails: {brief(error)}") from error
    if taken > entry.limit:
        raise UnableError(f"took {taken:.3g} s at first; {allowed}")
    return answer


def largest_difference(a: Array, b: Array) -> float:
    """Return the largest difference of two results; infinity if their shapes differ.

    >>> same = largest_difference(np.uint8([1, 9]), np.uint8([2, 5]))
    >>> same, largest_difference(np.ones(2), np.ones(3))
    (4.0, inf)
    """
    if a.shape != b.shape:
        return math.inf
    apart = np.subtract(a, b, dtype=np.float64)
    return float(np.abs(apart, out=apart).max())


def _method_bound(problem: Problem, plan: Plan) -> float:
    """Return the largest difference between two results that both keep to the contract."""
    if np.dtype(plan.dtype).kind in "iu":
        return 0.0 if plan.facts.integral is not None else 1.0
    terms = problem.w.size // (problem.filters or 1)
    return 2 * tolerance(plan.dtype, terms) * _scale(problem)


def _peer_bound(problem: Problem, plan: Plan) -> float:
    """Return the allowed difference of a peer's result from ours."""
    if np.dtype(plan.dtype).kind in "iu":
        return float(PEER_STEPS)
    return PEER_TOLERANCE[plan.dtype] * _scale(problem)


def _scale(problem: Problem) -> float:
    """Return the largest sum|w| of a kernel, times max|x|."""
    bank = problem.w.reshape(problem.filters or 1, -1)
    low, high = float(problem.x.min()), float(problem.x.max())
    return float(np.abs(bank).sum(axis=1).max()) * max(-low, high, abs(problem.spec.cval))
