"""The interface of a method: whether it can run, at what cost, and with what tiles and memory.

The planner compares the estimates of the methods in `convcli.engine.methods`; the engine then
calls `prepare` of the chosen one. Methods do not depend on each other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeAlias

from numpy.typing import NDArray

from convcli.engine.methods.summation import pending_sums
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
"""Computes outputs (*items, *P, channels or O) from a padded block (*items, *rows, channels)."""


class CostEstimate(NamedTuple):
    """The estimated time of a method on one core, in float32."""

    nanoseconds: float
    account: str
    """The work in words, for reports."""
    drawback: str = ""
    """The reason why `auto` never chooses the method here, although it can run."""


class Needs(NamedTuple):
    """Bytes that a method allocates besides a tile's padded block and sums."""

    shared: int
    """Bytes that all threads share, such as the prepared kernel."""
    per_thread: int


REDONE = 1 << 14
"""Outputs of a tile with a NaN that are recomputed at a time: few, because pairwise summation of
a large kernel holds a dozen arrays of that size."""


def recomputed_outputs(work: Work, tile: tuple[int, ...]) -> int:
    """Return the most outputs of a tile that are recomputed at a time: whole rows."""
    outputs = work.tile_outputs(tile)
    return min(max(REDONE, outputs // tile[1]), outputs)


class Method(ABC):
    """One way to compute a convolution with a kernel (*window) or a bank (O, *window, C/groups)."""

    name: ClassVar[str]
    """The name in --method and reports; methods of the same name are for different kernels."""
    worth_sharing: ClassVar[float] = 0.7e-3
    """Predicted seconds from which several threads share its tiles."""

    @abstractmethod
    def refusal(self, work: Work) -> str:
        """Return the reason why it cannot run, or an empty string if it can."""

    @abstractmethod
    def cost(self, work: Work) -> CostEstimate:
        """Estimate the time of the whole convolution."""

    @abstractmethod
    def tile(self, work: Work) -> tuple[int, ...]:
        """Return a tile: items of the first batch axis, and outputs along each spatial axis."""

    @abstractmethod
    def memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        """Return an upper bound of the bytes that `prepare` and the tile function allocate."""

    @abstractmethod
    def prepare(self, w: NDArray[Any], plan: TiledWork) -> TileFunction:
        """Return the function that computes tiles with a kernel of any type."""

    def accumulator(self, work: Work) -> str:
        """Return the type of the sums, which depends on the result and on exact integers."""
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
        """Return the type whose rounding bounds the error; None if sums are wider."""
        return precision_of(self.accumulator(work), work.dtype)

    def itemsize(self, work: Work) -> int:
        """Return the bytes of a sum."""
        return itemsize(self.accumulator(work))

    def rounds_sums(self, work: Work) -> bool:
        """Return whether its sums of whole numbers have a fraction and must be rounded."""
        return False

    def spreads_nan(self, work: Work) -> bool:
        """Return whether it multiplies samples outside of a window by zero, which spreads NaN."""
        return False

    def pads_inner(self, work: Work) -> bool:
        """Return whether its blocks are padded along the first axis only, and whole along others.

        It pads what it computes along one axis before it continues along the next.
        """
        return False

    def definition(self, w: NDArray[Any], plan: TiledWork) -> TileFunction | None:
        """Return a function that recomputes outputs in float64 where some are not finite.

        It multiplies no sample outside of a window. None if the sum over taps is to be used.
        """
        return None

    def definition_memory(self, work: Work, tile: tuple[int, ...]) -> Needs:
        """Return an upper bound of the bytes of such a recomputation."""
        return Needs(
            2 * work.taps * 8,
            (1 + pending_sums(work.terms)) * recomputed_outputs(work, tile) * 8,
        )

    def skips_taps(self, work: Work) -> bool:
        """Return whether it reads no samples under taps of zero, so that they must be checked."""
        return False

    def planar(self, work: Work) -> bool:
        """Return whether its sums have the channels before the last axis in memory."""
        return False

    def keeps_dtype(self, work: Work) -> bool:
        """Return whether it accepts blocks in the input's type, and converts while it copies."""
        return False

    def pads_rows(self, work: Work) -> bool:
        """Return whether the rows of its sums should be aligned to cache lines."""
        return False

    def columns_are_rows(self, work: Work) -> bool:
        """Return whether it treats the columns of a picture independently, so rows may be cut."""
        return False
