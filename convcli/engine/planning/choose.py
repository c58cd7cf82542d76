"""Choose the method: the fastest by estimated cost of those that can run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from convcli.engine.methods import methods, names
from convcli.engine.methods.base import CostEstimate, Method
from convcli.engine.planning.facts import Facts, Work, result_dtype
from convcli.engine.planning.plan import Plan
from convcli.errors import InputError, did_you_mean
from convcli.limits import threads
from convcli.shapes.parse import check_countable
from convcli.shapes.spec import ConvSpec

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


def make_plan(
    facts: Facts, spec: ConvSpec, *, dtype: str | None = None, method: str = "auto"
) -> Plan:
    """Choose how to run one convolution.

    Raises ShapeError if the kernel exceeds the padded input, LimitError if the output exceeds the
    address space, InputError if the method is unknown or cannot run.
    """
    known = ("auto", *names())
    if method not in known:
        raise InputError(
            f"method {method!r}",
            f"expected one of {', '.join(known)}",
            did_you_mean(str(method), known),
        )
    return cached_plan(facts, spec, dtype, method, threads(), methods())


@lru_cache(maxsize=256)
def cached_plan(
    facts: Facts,
    spec: ConvSpec,
    dtype: str | None,
    asked: str,
    available: int,
    candidates: tuple[Method, ...],
) -> Plan:
    """Make a plan, or return a cached one: planning takes 0.2 ms, as long as a small layer."""
    work = Work(
        facts,
        spec,
        spec.axes(facts.spatial, facts.window),
        dtype or result_dtype(facts.input_dtype),
    )
    check_countable(work.outputs)
    needed = (asked, "direct") if facts.exact else (asked,)
    asked_for = [each for each in candidates if asked == "auto" or each.name in needed]
    named = _by_name([_ask(method, work) for method in asked_for])
    if asked == "auto":
        chosen, reason, rejected = _fastest(named)
    else:
        chosen = _asked(next(each for each in named if each.method.name == asked))
        reason = "as asked"
        rejected = ()
    seconds = chosen.seconds
    if facts.exact:  # `direct` adds the integers, whichever method is chosen
        reason = f"{reason}; their last 64 bits are added as integers"
        seconds += next(each.seconds for each in named if each.method.name == "direct")
    return Plan(
        facts=facts,
        spec=spec,
        axes=work.axes,
        dtype=work.dtype,
        method=chosen.method.name,
        implementation=chosen.method,
        reason=reason,
        accumulator=chosen.method.accumulator(work),
        tile=chosen.method.tile(work),
        rejected=rejected,
        seconds=seconds,
        threads_available=available,
    )


def _ask(method: Method, work: Work) -> _Candidate:
    if refusal := method.refusal(work):
        return _Candidate(method, None, float("inf"), refusal)
    cost = method.cost(work)
    width = 2 if method.accumulator(work) == "float64" else 1
    return _Candidate(method, cost, width * cost.nanoseconds * 1e-9, cost.drawback)


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
    """Return the fastest usable candidate, its reason, and why each other one was rejected."""
    best = min((each for each in candidates if not each.refusal), key=lambda each: each.seconds)
    assert best.cost is not None
    rejected = tuple(
        (each.method.name, _why_not(each, best)) for each in candidates if each is not best
    )
    return best, best.cost.account, rejected


def _why_not(candidate: _Candidate, best: _Candidate) -> str:
    if candidate.cost is None or candidate.refusal:
        return candidate.refusal
    return f"{candidate.cost.account}: {candidate.seconds / best.seconds:.1f} times the work"
