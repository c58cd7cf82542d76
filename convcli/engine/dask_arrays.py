"""Convolve a dask array lazily, block by block.

An output block belongs to the outputs whose windows are centred in a chunk of the input. It is one
task, which depends on the chunks under its windows, cut to the samples that they share::

    chunks of x    ... 0 1 2 3 | 4 5 6 7 | 8 9 ...       kernel of 3 taps, padding same
    a block of y             3 | 4 5 6 7 | 8             4 outputs from 6 samples

Chunks that are shorter than the windows' overlap share a block. dask is imported only for arrays
that are dask's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise, product
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from convcli.engine.calls import run_problem
from convcli.engine.padding import boundary_index
from convcli.engine.problem import Problem, real_array
from convcli.errors import InputError
from convcli.limits import shared_threads
from convcli.options import Boundary
from convcli.shapes.axis import Axis

Index: TypeAlias = "slice | NDArray[np.intp]"
WHOLE = slice(None)


class Piece(NamedTuple):
    """Samples of one chunk of the input along one axis."""

    chunk: int
    samples: Index


class Cut(NamedTuple):
    """A block of the output along one axis: its size, its samples in order, and its padding."""

    size: int
    pieces: tuple[Piece, ...]
    pads: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Part:
    """Takes the samples of a block of the output from one chunk of the input."""

    indices: tuple[Index, ...]

    def __call__(self, chunk: NDArray[Any]) -> NDArray[Any]:
        for axis, index in enumerate(self.indices):
            chunk = chunk[(*(WHOLE,) * axis, index)]
        return chunk


@dataclass(frozen=True)
class Call:
    """What all blocks share: the kernel, the options, the result's type and the method."""

    build: Callable[..., Problem]
    w: NDArray[Any]
    bias: NDArray[Any] | None
    options: tuple[Any, ...]
    dtype: str
    method: str


@dataclass(frozen=True)
class Block:
    """Computes a block of the output. counts: pieces along each axis; pads: of spatial axes."""

    counts: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    def __call__(self, call: Call, pieces: list[NDArray[Any]]) -> NDArray[Any]:
        problem = call.build(_join(pieces, self.counts), call.w, call.bias, *call.options)
        problem = problem._replace(spec=replace(problem.spec, padding=self.pads))
        with shared_threads():
            return run_problem(problem, call.dtype, call.method)


def stand_in(x: Any) -> NDArray[Any]:
    """Return an array of zeros of the shape and the type of a dask array, in memory for one.

    Raises InputError if a size is unknown.
    """
    if any(size != size for size in x.shape):
        raise InputError(
            "a dask array whose chunk sizes are unknown",
            "expected known sizes, which the size of the result depends on",
            "call x.compute_chunk_sizes() first",
        )
    return np.broadcast_to(np.zeros((), x.dtype), x.shape)


def lazy_call(
    build: Callable[..., Problem],
    x: Any,
    w: ArrayLike,
    bias: ArrayLike | None,
    options: tuple[Any, ...],
    dtype: DTypeLike | None,
    method: str,
    out: object,
) -> Any:
    """Return the convolution of a dask array as a dask array, without computing anything.

    It is planned once, and all blocks are computed by the method of that plan. Raises InputError
    for `out` and for unknown chunk sizes.
    """
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    if out is not None:
        raise InputError(
            "out= with a dask array",
            "expected none: the result is computed later",
            "leave it out, and use y.store(target) or y.to_zarr(...)",
        )
    w = real_array(w, "kernel").copy()
    bias = None if bias is None else real_array(bias, "bias").copy()
    problem = build(stand_in(x), w, bias, *options)
    plan = problem.plan(dtype, method)
    call = Call(build, w, bias, options, plan.dtype, plan.method)

    cuts = [_cuts(problem, plan.axes, axis, chunks) for axis, chunks in enumerate(x.chunks)]
    spatial = sorted(range(x.ndim), key=problem.order.__getitem__)
    first = len(plan.facts.batch)
    token = tokenize(x.name, build.__name__, w, bias, options, plan.dtype, plan.method)
    name = f"convcli{build.__name__}-{token}"
    tasks = dict(_tasks(x.name, name, cuts, spatial[first : first + len(plan.axes)]))
    graph = HighLevelGraph.from_collections(name, {_shared(name): call, **tasks}, dependencies=[x])
    sizes = tuple(tuple(cut.size for cut in along) for along in cuts)
    make: Callable[..., Any] = da.Array
    return make(graph, name, sizes, dtype=np.dtype(plan.dtype))


def _shared(name: str) -> str:
    """Return the key of what all blocks share."""
    return f"{name}-kernel"


def _tasks(
    source: str, name: str, cuts: list[list[Cut]], spatial: Sequence[int]
) -> Iterator[tuple[Any, Any]]:
    """Yield every task with its key: one for each block, and one for each chunk that it cuts."""
    for place, block in zip(
        product(*(range(len(along)) for along in cuts)), product(*cuts), strict=True
    ):
        keys: list[Any] = []
        for number, pieces in enumerate(product(*(cut.pieces for cut in block))):
            key: tuple[Any, ...] = (source, *(piece.chunk for piece in pieces))
            if not all(isinstance(p.samples, slice) and p.samples == WHOLE for p in pieces):
                part = Part(tuple(piece.samples for piece in pieces))
                cut_key = (f"{name}-halo", *place, number)
                yield cut_key, (part, key)
                key = cut_key
            keys.append(key)
        counts = tuple(len(cut.pieces) for cut in block)
        task = Block(counts, tuple(block[axis].pads for axis in spatial))
        yield (name, *place), (task, _shared(name), keys)


def _cuts(problem: Problem, axes: Sequence[Axis], axis: int, chunks: tuple[int, ...]) -> list[Cut]:
    """Return the blocks of the output along one axis of the caller's arrays."""
    at = problem.order[axis]
    channel, first = problem.x.ndim - 1, problem.x.ndim - 1 - len(axes)
    if at == channel and problem.filters is not None:
        return [Cut(problem.filters, tuple(_pieces(0, sum(chunks), chunks)))]
    if not first <= at < channel:
        return [Cut(size, (Piece(n, WHOLE),)) for n, size in enumerate(chunks) if size]
    return spatial_cuts(axes[at - first], chunks, problem.spec.boundary)


def spatial_cuts(axis: Axis, chunks: Sequence[int], boundary: Boundary) -> list[Cut]:
    """Return the blocks of the output along a spatial axis.

    chunks: the sizes of the input's chunks, which add up to the axis.

    >>> for cut in spatial_cuts(Axis(n=8, k=3, lo=1, hi=1), (4, 4), "constant"):
    ...     print(cut)
    Cut(size=4, pieces=(Piece(chunk=0, samples=slice(None, None, None)), \
Piece(chunk=1, samples=slice(0, 1, None))), pads=(1, 0))
    Cut(size=4, pieces=(Piece(chunk=0, samples=slice(3, 4, None)), \
Piece(chunk=1, samples=slice(None, None, None))), pads=(0, 1))
    """
    stops = [0, *_stops(axis, chunks), axis.out]
    return [_cut(axis, span, chunks, boundary) for span in pairwise(stops)]


def _stops(axis: Axis, chunks: Sequence[int]) -> Iterator[int]:
    """Yield the outputs at which a block ends, without the last.

    A block is at least as long as the windows' overlap, and its windows cover a sample.
    """
    reach, start = axis.reach, 0
    centre = min(max(axis.lo, (reach - 1) // 2), reach // 2)
    for end in accumulate(chunks):
        stop = min(-(-(end + axis.lo - centre) // axis.stride), axis.out)
        covers = axis.under(start, stop)[1] > 0 and axis.sample(stop, 0) < axis.n
        if covers and start < stop < axis.out and (stop - start) * axis.stride >= reach - 1:
            yield stop
            start = stop


def _cut(axis: Axis, span: tuple[int, int], chunks: Sequence[int], boundary: Boundary) -> Cut:
    """Return a block of outputs [start, stop) of an axis."""
    first, end = axis.under(*span)
    size = span[1] - span[0]
    begin, stop = max(first, 0), min(end, axis.n)
    if boundary == "constant":
        if begin >= stop:  # all windows are in the padding
            begin, stop = 0, axis.n
        pads = max(-first, 0), max(end - axis.n, 0)
        return Cut(size, tuple(_pieces(begin, stop, chunks)), pads)
    before = _runs(np.arange(first, min(end, 0)), chunks, boundary)
    after = _runs(np.arange(max(first, axis.n), end), chunks, boundary)
    return Cut(size, (*before, *_pieces(begin, stop, chunks), *after))


def _pieces(begin: int, stop: int, chunks: Sequence[int]) -> Iterator[Piece]:
    """Yield the samples [begin, stop), chunk by chunk."""
    ends = np.cumsum(chunks)
    first_chunk, last_chunk = np.searchsorted(ends, (begin, stop - 1), side="right").tolist()
    for number in range(first_chunk, last_chunk + 1):
        size, start = chunks[number], int(ends[number]) - chunks[number]
        first, last = max(begin - start, 0), min(stop - start, size)
        if first < last:  # an empty chunk has no samples
            yield Piece(number, WHOLE if last - first == size else slice(first, last))


def _runs(
    positions: NDArray[np.intp], chunks: Sequence[int], boundary: Boundary
) -> Iterator[Piece]:
    """Yield the samples that positions in the padding repeat, by runs in the same chunk."""
    ends = np.cumsum(chunks)
    samples = boundary_index(positions, int(ends[-1]), boundary)
    numbers = np.searchsorted(ends, samples, side="right")
    for number, run in groupby(range(len(samples)), key=numbers.__getitem__):
        taken = samples[list(run)] - (ends[number] - chunks[number])
        yield Piece(int(number), taken)


def _join(pieces: list[NDArray[Any]], counts: tuple[int, ...]) -> NDArray[Any]:
    """Join the pieces of a block, whose last axis varies fastest."""
    if len(pieces) == 1:
        return pieces[0]
    grid = np.empty(counts, object)
    for place, piece in zip(np.ndindex(counts), pieces, strict=True):
        grid[place] = piece
    offsets = []
    for axis, count in enumerate(counts):
        line = [grid[(*(0,) * axis, at, *(0,) * (len(counts) - axis - 1))] for at in range(count)]
        offsets.append([0, *accumulate(piece.shape[axis] for piece in line)])
    joined = np.empty([ends[-1] for ends in offsets], pieces[0].dtype)
    for place in np.ndindex(counts):
        spans = zip(offsets, place, strict=True)
        joined[tuple(slice(ends[at], ends[at + 1]) for ends, at in spans)] = grid[place]
    return joined
