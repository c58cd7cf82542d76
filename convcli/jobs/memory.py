"""What a job holds in memory at once, told from shapes and types before any of it is allocated.

::

    the input as its decoder holds it
    then: input + the floats of a part, and their copies + the larger of | working memory, output but for the last part
                                                                         | output
    then: input + output + what the encoder holds

Each is over before the next begins, and working memory is given back before the last part goes into the output, whose
pages are taken as it is filled. Of what is mapped from a file, or grows in one, a part counts: its pages are given back
after each. The program itself, some tens of MiB with its libraries, is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convcli.jobs import colour
from convcli.options import Combine

SLACK = 2**23
"""Bytes for what is small: the threads' stacks, the pieces that they fit and deflate, pages that a map touches around
its own."""


@dataclass(frozen=True)
class Footprint:
    """Bytes, each at most: what reading takes, the input itself, the floats of a part, and so on."""

    reading: int
    input: int
    results: int
    working: int
    filled: int
    """What there is of the output before its last part."""
    output: int
    encoding: int

    @property
    def peak(self) -> int:
        """The most that is held at once."""
        making = self.results + max(self.working + self.filled, self.output)
        return SLACK + max(self.reading, self.input + max(making, self.output + self.encoding))


def results_bytes(
    sizes: Sequence[int],
    covered: int,
    floats: int,
    *,
    combine: Combine,
    scales: int,
    encodes: bool,
) -> int:
    """Bytes of a part's floats while they are combined and scaled; they are fitted into the written type in the cache.

    sizes: values of the part, for each kernel; covered: values of its coverage, 0 without alpha; floats: bytes of one;
    scales: how many of scale and bias there are to apply; encodes: whether light becomes codes.
    """
    each, several = max(sizes), len(sizes) > 1
    stacked = sum(sizes) if combine == "stack" else each
    made = (sum(sizes) + len(sizes) * covered) * floats
    copies = {
        "stack": stacked,
        "magnitude": 3 * each,
        "max": (len(sizes) + 1) * each,
        "sum": 2 * each,
        "mean": 2 * each,
    }
    combining = copies[combine] * floats if several or combine == "magnitude" else 0
    dividing = each * (floats + 1) if covered else 0
    scaling = min(scales, 2) * stacked * floats
    encoding = colour.encoding_bytes(stacked, floats) if encodes else 0
    return made + max(combining, dividing) + max(scaling, encoding)
