"""Choose the method: the fastest by estimated cost of those that can run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from convcli.engine.methods import methods, methods_for_small_work, names
from convcli.engine.methods.base import CostEstimate, Method
from convcli.engine.planning.costs import CONVERT, STORE
from convcli.engine.planning.facts import Work
from convcli.engine.planning.plan import Plan
from convcli.errors import InputError, did_you_mean
from convcli.limits import threads
from convcli.options import itemsize

SMALL = 40_000
"""Multiply-adds up to which a plan takes longer than the work: some methods are not asked."""

WORTH_FACTORING = 1e-3
"""Seconds of `direct` from which a kernel is factored, which takes some tenths of that time."""

WORTH_COUNTING = 1e-4
"""Seconds of `direct` from which the operations of a kernel of few taps are counted."""


class _Candidate(NamedTuple):
    """A method with its cost, or with the reason why it cannot run."""

    method: Method
    cost: CostEstimate | None
    seconds: float
    refusal: str


def make_plan(work: Work, method: str = "auto") -> Plan:
    """Choose how to run one convolution.

    Raises InputError if the method is unknown or cannot run.
    """
    known = ("auto", *names())
    if method not in known:
        raise InputError(
            f"method {method!r}",
            f"expected one of {', '.join(known)}",
            did_you_mean(str(method), known),
        )
    named = _by_name([_ask(each, work) for each in _candidates(work, method)])
    if method == "auto":
        chosen, reason, rejected = _fastest(named)
    else:
        chosen, reason, rejected = _asked(named[0]), "as asked", ()
    seconds = chosen.seconds
    if work.facts.exact:  # `direct` adds the integers, whichever method is chosen
        reason = f"{reason}; their last 64 bits are added as integers"
        seconds += direct_seconds(work)
    return Plan(
        facts=work.facts,
        spec=work.spec,
        axes=work.axes,
        dtype=work.dtype,
        method=chosen.method.name,
        implementation=chosen.method,
        reason=reason,
        accumulator=chosen.method.accumulator(work),
        tile=chosen.method.tile(work),
        rejected=rejected,
        seconds=seconds,
        threads_available=threads(),
    )


def direct_seconds(work: Work) -> float:
    """Return the estimated time of the sum over taps."""
    return _ask(methods()[0], work).seconds


def is_small(work: Work) -> bool:
    """Return whether the work takes less time than asking every method what it would cost."""
    return work.macs <= SMALL and not work.facts.exact


def _candidates(work: Work, method: str) -> Sequence[Method]:
    """Return the methods of a name; for `auto` all that may be the fastest."""
    if method != "auto":
        return [each for each in methods() if each.name == method]
    return methods_for_small_work() if is_small(work) else methods()


def _ask(method: Method, work: Work) -> _Candidate:
    if refusal := method.refusal(work):
        return _Candidate(method, None, float("inf"), refusal)
    cost, kind = method.cost(work), method.accumulator(work)
    time = (2 if kind == "float64" else 1) * cost.nanoseconds
    time += itemsize(kind) / 4 * _conversions(method, work, kind)
    return _Candidate(method, cost, time * 1e-9, cost.drawback)


def _conversions(method: Method, work: Work, kind: str) -> float:
    """Return the nanoseconds of converting samples to float32, and sums of it to the result."""
    facts, time = work.facts, 0.0
    if facts.input_dtype != kind and not method.keeps_dtype(work):
        time += math.prod((*facts.batch, *facts.spatial)) * facts.channels * CONVERT
    if work.dtype != kind or method.planar(work):
        time += work.outputs * STORE
    return time


def _by_name(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Return the fastest method of each name."""
    best: dict[str, _Candidate] = {}
    for each in candidates:
        rival = best.get(each.method.name)
        if rival is None or each.seconds < rival.seconds:
            best[each.method.name] = each
    return list(best.values())


def _asked(candidate: _Candidate) -> _Candidate:
    if candidate.cost is None:
        raise InputError(
            f"method {candidate.method.name}", candidate.refusal, "use auto, direct or gemm"
        )
    return candidate


def _fastest(
    candidates: Sequence[_Candidate],
) -> tuple[_Candidate, str, tuple[tuple[str, str], ...]]:
    """Return the fastest usable candidate, its reason, and why each other method was rejected."""
    best = min((each for each in candidates if not each.refusal), key=lambda each: each.seconds)
    assert best.cost is not None
    reasons = dict.fromkeys(names(), "the work is too small for it to be faster")
    reasons |= {each.method.name: _why_not(each, best) for each in candidates}
    del reasons[best.method.name]
    return best, best.cost.account, tuple(reasons.items())


def _why_not(candidate: _Candidate, best: _Candidate) -> str:
    if candidate.cost is None or candidate.refusal:
        return candidate.refusal
    return f"{candidate.cost.account}: {candidate.seconds / best.seconds:.1f} times the work"
