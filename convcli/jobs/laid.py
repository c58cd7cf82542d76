"""An input and a kernel, read and laid on each other: where `laws` and `explain` begin."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli import io
from convcli.errors import InputError, ShapeError
from convcli.io import Data
from convcli.jobs.memory import SLACK
from convcli.jobs.operands import VOLUME, Laying, planes, settle
from convcli.kernels import Kernel
from convcli.limits import LESS_WORK, Limits
from convcli.shapes.layout import Arrangement
from convcli.shapes.spec import ConvSpec, parse_shape, show

PLAIN = Laying()
RANDOM = "random"
"""The format of an input that was made, not read."""


@dataclass(frozen=True, eq=False)
class Laid:
    """x is the input's array, a picture's colours times its alpha; cover is that alpha (H, W), from 0 to 1."""

    data: Data
    x: NDArray[Any]
    cover: NDArray[Any] | None
    kernel: Kernel
    arrangement: Arrangement
    spec: ConvSpec

    def check_memory(self, limits: Limits, copies: int, floats: str = "float64") -> None:
        """Raise LimitError where the input, so many of it in that type, and as many outputs are too much."""
        output = self.arrangement.with_spatial(self.spec.sizes(self.arrangement.spatial, self.arrangement.window))
        values = copies * (self.x.size + math.prod(output))
        needed = SLACK + self.x.nbytes + np.dtype(floats).itemsize * values
        limits.check_memory(f"work on {self.data.name}", needed, LESS_WORK)


def lay(given: str, reference: str, laying: Laying = PLAIN, *, seed: int = 0) -> Laid:
    """Read an input, or make one of a shape, resolve the kernel and settle how they meet, as `apply` does.

    Raises InputError and its kin for whatever does not fit, as `apply` does.

    >>> laid = lay("6x5x3", "random:3x3x3")
    >>> laid.arrangement.reading, laid.x.shape
    ('sum', (6, 5, 3))
    """
    data = read_or_make(given, seed, laying.limits, volume=laying.dims == VOLUME)
    x, cover = planes(data, laying.layout)
    return Laid(data, x, cover, *settle(data, x, reference, laying, given))


def read_or_make(given: str, seed: int, limits: Limits, *, volume: bool = False) -> Data:
    """A file's data, or standard normal numbers in the shape that the text names; volume: all pages of a TIFF.

    >>> read_or_make("2x3", seed=0, limits=Limits.of()).array.shape
    (2, 3)
    """
    try:
        shape = parse_shape(given)
    except ShapeError:
        raise
    except InputError:
        if re.fullmatch(r"[\dxX]+", given) and not Path(given).exists():
            raise
        return io.load(given, limits=limits, volume=volume)
    limits.check_memory(f"an input of {show(shape)}", 8 * math.prod(shape))
    generator = np.random.default_rng((seed, 1))  # not the stream of a kernel `random:` of that seed
    values = generator.standard_normal(shape)
    return Data(values, "array", RANDOM, "random numbers", notes=(f"standard normal, seed {seed}",))
