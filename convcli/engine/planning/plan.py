"""The plan of one convolution: its method, the reason for it, its cost, tiles and memory.

The output is cut into tiles that fit a core's cache. They depend only on the shapes and types, so
the same input has the same result with any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from convcli.engine.methods.base import Method
from convcli.engine.planning.facts import TiledWork, Work
from convcli.engine.planning.memory import Memory, plan_memory
from convcli.limits import threads
from convcli.options import itemsize
from convcli.shapes.parse import counted
from convcli.shapes.spec import ConvSpec


@dataclass(frozen=True)
class Plan(TiledWork):
    """One convolution as it will run: the method, its cost and working memory, and the reason."""

    method: str
    """The name that options and reports use."""
    implementation: Method
    reason: str
    rejected: tuple[tuple[str, str], ...]
    """The methods that were not chosen, each with the reason."""
    seconds: float
    """Predicted time on one core like that of the measured costs; meant for comparing methods."""
    threads_available: int

    @cached_property
    def working(self) -> Memory:
        """Memory that the threads share, and memory of each."""
        return plan_memory(self, self.tile, self.implementation)

    @cached_property
    def threads(self) -> int:
        """Number of threads: fewer than available if there are few tiles, or to save memory."""
        if not self.is_parallel:
            return 1
        tile = self.tile if self.facts.batch else self.tile[1:]
        cuts = [
            -(-n // most)
            for n, most in zip((*self.facts.batch[:1], *self.sizes), tile, strict=True)
        ]
        padded = (self.axes[-1].lo > 0) + (self.axes[-1].hi > 0)
        sides = padded * math.prod(cuts[:-1]) if len(self.axes) == 2 else 0
        return self.working.threads(min(self.threads_available, math.prod(cuts) + sides))

    @property
    def memory(self) -> int:
        """Working bytes of all threads beyond the input and the output: an upper bound."""
        return self.working.total(self.threads)

    @property
    def output_bytes(self) -> int:
        return self.outputs * itemsize(self.dtype)

    @property
    def is_parallel(self) -> bool:
        """Whether the work is long enough for several threads."""
        return self.seconds > self.implementation.worth_sharing

    @property
    def formula(self) -> tuple[str, ...]:
        """The arithmetic of every spatial axis, such as `28 - 3 + 1 = 26`."""
        return tuple(axis.formula for axis in self.axes)

    def resized(self, shape: Sequence[int], spec: ConvSpec) -> Plan:
        """Return the plan of the same method for another input (*batch, *S, channels) and padding.

        What the plan knows of the kernel and of the samples stays.
        """
        *outer, channels = shape
        first = len(outer) - len(self.axes)
        batch, spatial = tuple(outer[:first]), tuple(outer[first:])
        facts = replace(self.facts, batch=batch, spatial=spatial, channels=channels)
        work = Work.of(facts, spec, self.dtype)
        return replace(
            self,
            facts=facts,
            spec=spec,
            axes=work.axes,
            tile=self.implementation.tile(work),
            seconds=self.seconds * work.outputs / self.outputs,
            threads_available=threads(),
        )

    def __str__(self) -> str:
        window, out = "x".join(map(str, self.facts.window)), "x".join(map(str, self.output))
        return (
            f"{self.method}: window {window} -> {out} {self.dtype} ({'; '.join(self.formula)}), "
            f"{self.macs:,} multiply-adds, "
            f"{self.memory:,} bytes of working memory on "
            f"{counted(self.threads, 'thread')}; {self.reason}"
        )
