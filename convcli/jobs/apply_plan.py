"""The request of `apply`, and its plan: everything decided except the values themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.engine.layer_form import from_layer
from convcli.engine.planning.plan import Plan
from convcli.engine.problem import Problem
from convcli.engine.tiling import Chunk
from convcli.errors import InputError
from convcli.io import Data, Metadata, OutputTarget, WriteRequest
from convcli.jobs.chunks import chunk_of_plan
from convcli.jobs.operands import VOLUME
from convcli.jobs.requests import Postprocess, ReadOptions, WriteOptions
from convcli.jobs.transfer import Curve
from convcli.jobs.verify import Check
from convcli.kernels import Kernel
from convcli.kernels.bank import EDGES, edge_kernels
from convcli.kernels.ranges import expand_ranges
from convcli.limits import Limits
from convcli.progress import Progress, silent
from convcli.shapes.geometry import Border, Geometry
from convcli.shapes.layout import ConvLayout


@dataclass(frozen=True)
class ApplyRequest:
    """A run of `apply` on one input; values are checked by `plan_apply`.

    input, output: paths, or - for a pipe; without output nothing is written. kernels: references,
    or kernels. normalize: divide each kernel by its sum. linear: filter a picture in linear light.
    """

    input: str
    kernels: tuple[str | Kernel, ...]
    output: str | None = None
    geometry: Geometry = field(default_factory=Geometry)
    reading: ReadOptions = field(default_factory=ReadOptions)
    normalize: bool = False
    method: str = "auto"
    linear: bool = False
    verify: bool = False
    postprocess: Postprocess = field(default_factory=Postprocess)
    writing: WriteOptions = field(default_factory=WriteOptions)
    limits: Limits = field(default_factory=Limits.of)


def expand(request: ApplyRequest) -> ApplyRequest:
    """Replace ranges by their kernels, and `edges` by Sobel kernels, combined by magnitude.

    Raises InputError if `edges` is one of several kernels, KernelError for an invalid range.

    >>> request = expand(ApplyRequest("x.png", ("edges",)))
    >>> request.kernels, request.postprocess.combine
    (('sobel-x', 'sobel-y'), 'magnitude')
    """
    kernels = tuple(
        one
        for each in request.kernels
        for one in (expand_ranges(each) if isinstance(each, str) else (each,))
    )
    named = [isinstance(each, str) and each.strip().lower() == EDGES for each in kernels]
    if not any(named):
        return replace(request, kernels=kernels)
    if len(named) > 1:
        raise InputError(
            "edges with other kernels", "expected it alone", "name sobel-x and sobel-y instead"
        )
    postprocess = request.postprocess
    if postprocess.combine == "stack":
        postprocess = replace(postprocess, combine="magnitude")
    return replace(request, kernels=edge_kernels(request.geometry.dims), postprocess=postprocess)


@dataclass(frozen=True)
class KernelPass:
    """One kernel applied to the input: the engine's problem and its plan.

    taps: of the kernel, flipped to convolve and normalized, in its own axes. coverage: the problem
    that filters alpha, if the picture has it.
    """

    kernel: Kernel
    taps: NDArray[Any]
    conv_layout: ConvLayout
    problem: Problem
    plan: Plan
    coverage: Problem | None

    @property
    def volume(self) -> bool:
        """True if the first axis is that of pages, for a format that has them."""
        return self.conv_layout.dims == VOLUME

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        return self.conv_layout.with_spatial(self.plan.sizes)

    @property
    def channel_axis(self) -> int:
        """The output's channel axis; if it has none, the axis that would follow the last."""
        axis = self.conv_layout.output_channel_axis
        return len(self.output_shape) if axis is None else axis

    def planned(self, dtype: str, method: str) -> KernelPass:
        """Return the pass planned for results of another dtype."""
        return replace(self, plan=self.problem.plan(dtype, method))

    def chunk_size(self, chunk: Chunk) -> int:
        """Return the number of values in a chunk of the output."""
        return math.prod(self.problem.part_shape(self.plan, chunk))

    def run(
        self, chunk: Chunk, check: Check | None = None, progress: Progress = silent
    ) -> NDArray[Any]:
        """Compute a chunk of the output, in the output's axes.

        check: compares some of its values with the definition.
        """
        part = chunk_of_plan(chunk, self.conv_layout, self.plan)
        y = self.problem.run_part(self.plan, part, progress)
        if check is not None:
            check.look(y[..., None] if self.problem.added_channel else y, part)
        return from_layer(y, self.conv_layout)

    def run_coverage(self, chunk: Chunk, method: str) -> NDArray[Any] | None:
        """Compute the filtered alpha (rows, W) of a chunk; None if the input has no alpha."""
        if self.coverage is None:
            return None
        return self.coverage.run_part(self.coverage.plan(None, method), chunk)[..., 0]


@dataclass(frozen=True)
class ApplyPlan:
    """A request with its input loaded and everything decided except the values themselves.

    compute_dtype: of the results before postprocessing. dtype, output_shape: of the output. target:
    where the output is written; None if it is not saved. writing: how it is written, with its
    header and metadata. curve: the transfer curve that decodes linear light; None if samples are
    filtered as they are. dropped: metadata of the input that the output's format cannot hold, and
    why. peak: bytes of memory that a run takes at most.
    """

    request: ApplyRequest
    data: Data
    passes: tuple[KernelPass, ...]
    compute_dtype: str
    dtype: np.dtype[Any]
    target: OutputTarget | None
    output_shape: tuple[int, ...]
    writing: WriteRequest
    curve: Curve | None = None
    dropped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    peak: int = 0

    @property
    def format(self) -> str | None:
        """The output's format; None if it is not saved."""
        return None if self.target is None else self.target.form.name

    @cached_property
    def border(self) -> Border:
        """The padding and what it is filled with."""
        return self.request.geometry.border(picture=self.data.kind == "image")

    @property
    def shrinks(self) -> bool:
        """True for a picture that becomes smaller without --stride or --padding."""
        given = self.request.geometry
        axes = self.passes[0].plan.axes
        chosen = given.padding is not None or any(axis.stride > 1 for axis in axes)
        return self.data.kind == "image" and not chosen and any(axis.out < axis.n for axis in axes)

    @property
    def encoding(self) -> str:
        """A description of the input's encoding that the output keeps; "" if it keeps none."""
        return "" if self.writing.encoding is None else self.writing.encoding.words

    @property
    def metadata(self) -> Metadata:
        """The metadata of the output's file."""
        return self.writing.metadata
