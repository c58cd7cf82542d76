"""What every method of computing a convolution answers: whether it can, at what cost, in what tiles
and memory.

The planner asks these questions of each method in `convcli.engine.methods` and compares the
answers; the engine then calls `prepare`. A method knows of no other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeAlias

from numpy.typing import NDArray

from convcli.engine.planning.facts import (
    PrecisionName,
    TiledWork,
    Work,
    precision_of,
    result_dtype,
    wide_integer,
)
from convcli.options import itemsize

TileFunction: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], None]
"""Fills outputs (*items, *P, channels or O) from a padded block (*items, *rows, channels)."""


class CostEstimate(NamedTuple):
    """What a method would take on one core, in float32."""

    nanoseconds: float
    account: str
    """What the work is, in words."""
    drawback: str = ""
    """Why `auto` never chooses it here, although it can run."""


class Needs(NamedTuple):
    """Bytes that a method allocates besides a tile's padded block and sums."""

    shared: int
    """By all threads together, such as the kernel in the form that it takes."""
    per_thread: int


class Method(ABC):
    """One way to compute a convolution. The kernel is (*window), or a bank (O, *window, C/groups)."""

    name: ClassVar[str]
    """What --method and reports call it by; methods that share a name answer for different kernels.
    """
    worth_sharing: ClassVar[float] = 0.7e-3
    """Predicted seconds from which its tiles are shared out over threads."""
    pads_rows: ClassVar[bool] = False
    """Whether its sums are rows that should begin with a line of the cache."""
    stores_down_rows: ClassVar[bool] = False
    """Whether it writes a vector's values of many rows at a time, and so takes twice as long if
    lines are crossed.
    """

    @abstractmethod
    def refusal(self, work: Work) -> str:
        """Return why it cannot run, or nothing if it can."""

    @abstractmethod
    def cost(self, work: Work) -> CostEstimate:
        """Estimate the time of the whole convolution."""

    @abstractmethod
    def tile(self, work: Work) -> tuple[int, ...]:
        """Return how many items of the first batch axis, and outputs along each spatial axis, one
        tile covers.
        """

    @abstractmethod
    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        """Return an upper bound of what `prepare` and the tile function allocate."""

    @abstractmethod
    def prepare(self, w: NDArray[Any], plan: TiledWork) -> TileFunction:
        """Bring a kernel of any type into the form that tiles are computed from."""

    def accumulator(self, work: Work) -> str:
        """Return the type of the sums: wide enough for the result, for exact integers, and for the
        contract's error.
        """
        facts, dtype = work.facts, work.dtype
        wide = (
            "float64" in (dtype, result_dtype(facts.input_dtype))
            or wide_integer(dtype)
            or facts.extreme
        )
        inexact = facts.integral is not None and (
            facts.integral >= 1 << 24 or self.rounds_sums(work)
        )
        return "float64" if wide or inexact else "float32"

    def precision(self, work: Work) -> PrecisionName | None:
        """Return the type whose rounding bounds the error; None where sums are wider than the
        result.
        """
        return precision_of(self.accumulator(work), work.dtype)

    def itemsize(self, work: Work) -> int:
        """Return the bytes of a sum."""
        return itemsize(self.accumulator(work))

    def rounds_sums(self, work: Work) -> bool:
        """Return whether its sums of whole numbers have a fraction, to be rounded away."""
        return False

    def spreads_nan(self, work: Work) -> bool:
        """Return whether it multiplies samples that no window covers by zero, which leaves a NaN a
        NaN.
        """
        return False

    def keeps_dtype(self, work: Work) -> bool:
        """Return whether it takes blocks in the input's type, and converts while it copies."""
        return False

    def columns_are_rows(self, work: Work) -> bool:
        """Return whether rows are computed column by column, so that their sides may be tiles of
        their own.
        """
        return False

    def rows_per_band(self, work: Work) -> int:
        """Return how many rows are not finite together: if one is not, neither is the first."""
        return 1
