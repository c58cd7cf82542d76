"""Measured costs that several methods share; each method's own costs are in its file.

Nanoseconds on one core in float32, measured by tests/benchmarks/fit_costs.py; float64 takes twice
as long.
"""

from __future__ import annotations

MAC = 0.02
"""One multiply-add of a matrix product: 50 billion per second."""

TOUCH = 0.44
"""Writing one output, and reading it again in the next step."""

GATHER = 0.15
"""Copying one sample of a row, for one tap along it."""

CONVERT = 0.12
"""Converting one sample to float32, the type of the sums; half for 16 bits, and twice for 64."""

STORE = 0.25
"""Rounding and converting one sum of float32 to the result's type; half and twice likewise."""

CALL = 20_000.0
"""Preparing a kernel, and the fixed cost of a tile."""
