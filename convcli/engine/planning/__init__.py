"""What would run, at what cost, and why: from shapes and types alone, standard library only.

::

    facts      what is known of the arrays, and what follows for the sums: their type, their rounding
    products   a layer cut into matrix products
    tiles      an output cut into tiles that a core's cache holds
    bids       what each method would take
    working    the memory that a plan works in
    plan       all of it settled: the method, its cost, its memory, the reason
"""

from __future__ import annotations

from convcli.engine.planning.plan import WORTH_FACTORING, Plan, make_plan

__all__ = ["WORTH_FACTORING", "Plan", "make_plan"]
