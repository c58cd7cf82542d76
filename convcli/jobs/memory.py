"""Estimate the peak memory of a run of `apply` from shapes and dtypes, before it is allocated.

::

    decode:   the input and the decoder's buffers
    compute:  input + floats of a chunk and their copies + the larger of
                  engine buffers + output without its last chunk
                  output
    encode:   input + output + the encoder's buffers

Each phase ends before the next begins. The engine's buffers are released before the last chunk is
written to the output, whose pages are allocated as it is filled. Of an array that is mapped from a
file, or written to one chunk by chunk, only a chunk counts: its pages are released after each. The
program itself, some tens of MiB with its libraries, is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from convcli import io
from convcli.engine.tiling import Chunk
from convcli.jobs import colour
from convcli.jobs.apply_plan import ApplyPlan
from convcli.jobs.chunks import chunk_of_plan, chunks, last_chunk
from convcli.jobs.verify import checking_bytes
from convcli.limits import SLACK
from convcli.options import Combine


@dataclass(frozen=True)
class Footprint:
    """Upper bounds in bytes.

    reading: decoding the input. input: the input itself, and its colour planes. results: the floats
    of a chunk and their copies. working: the engine's buffers. filled: the output without its last
    chunk. output: the whole output. encoding: the encoder.
    """

    reading: int
    input: int
    results: int
    working: int
    filled: int
    output: int
    encoding: int

    @property
    def peak(self) -> int:
        """The largest number of bytes that are allocated at once."""
        computing = self.results + max(self.working + self.filled, self.output)
        saving = self.output + self.encoding
        return SLACK + max(self.reading, self.input + max(computing, saving))


def apply_footprint(plan: ApplyPlan) -> Footprint:
    """Return the memory that a plan of `apply` needs."""
    data = plan.data
    lead = plan.passes[0]

    # the first and the last chunk, and their shares of the output
    first = next(chunks(lead.conv_layout, lead.plan))
    last = last_chunk(lead.conv_layout, lead.plan)
    total = math.prod(lead.plan.output)
    first_share = Fraction(lead.chunk_size(first), total)
    last_share = Fraction(lead.chunk_size(last), total)

    # the output; only a chunk of it is in memory if it is mapped from its file
    output = math.prod(plan.output_shape) * plan.dtype.itemsize
    grows = plan.target is not None and plan.target.grows(
        plan.dtype, plan.output_shape, plan.writing
    )
    share = first_share if grows else Fraction(1)
    encoding = 0
    if plan.target is not None and not grows:
        encoding = plan.target.encoding_bytes(plan.dtype, plan.output_shape, plan.writing)

    planes = planes_bytes(data, linear=plan.request.linear)
    return Footprint(
        reading=data.decoding,
        input=io.held(data.array, first_share) + planes,
        results=_chunk_bytes(plan, first),
        working=max(each.plan.memory for each in plan.passes),
        filled=int(output * min(share, 1 - last_share)),
        output=int(output * share),
        encoding=encoding,
    )


def _chunk_bytes(plan: ApplyPlan, chunk: Chunk) -> int:
    """Return the bytes of a chunk's floats, and of the outputs that are verified."""
    request = plan.request
    postprocess = request.postprocess
    sizes = [
        each.chunk_size(chunk_of_plan(chunk, each.conv_layout, each.plan)) for each in plan.passes
    ]
    colours = plan.data.array.shape[-1] - 1
    needed = results_bytes(
        sizes,
        sizes[0] // colours if plan.data.alpha else 0,
        np.dtype(plan.compute_dtype).itemsize,
        combine=postprocess.combine,
        scales=(postprocess.scale != 1) + (postprocess.bias != 0),
        encodes=request.linear,
    )
    if request.verify:
        lead = plan.passes[0].plan
        needed += checking_bytes(lead.output, len(lead.axes), len(plan.passes))
    return needed


def planes_bytes(data: io.Data, *, linear: bool = False) -> int:
    """Return the bytes that `colour_planes` allocates besides the input's own array."""
    if data.alpha:
        return colour.premultiplied_bytes(data.array)
    return 4 * data.array.size if linear else 0


def results_bytes(
    sizes: Sequence[int],
    covered: int,
    floats: int,
    *,
    combine: Combine,
    scales: int,
    encodes: bool,
) -> int:
    """Return the bytes of a chunk's floats while they are combined and scaled.

    Conversion to the output's dtype needs no more: it works piece by piece in the cache. sizes:
    values of the chunk, for each kernel. covered: values of its coverage, 0 without alpha. floats:
    bytes of one value. scales: how many of scale and bias are applied. encodes: whether light is
    encoded.
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
