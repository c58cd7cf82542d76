"""Costs that several methods have in common, as they were measured; each method's own are in its
file.

Nanoseconds on one core, in float32, as tests/benchmarks/fit_costs.py measures them; float64 takes
twice as long.
"""

from __future__ import annotations

MAC = 0.02
"""One multiply-add of a matrix product: 50 thousand million a second."""

TOUCH = 0.44
"""One output written, and read again by the next step."""

GATHER = 0.12
"""One copy of one sample of a row, for one tap along it."""

CALL = 20_000.0
"""Preparing a kernel, and what a tile costs besides its arithmetic."""
