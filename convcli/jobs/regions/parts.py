"""The part of a run of `apply` that computes one region, from the samples under its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from convcli.engine.layer_form import to_problem
from convcli.jobs.apply_plan import ApplyPlan, KernelPass
from convcli.jobs.regions.geometry import Samples, Span, Window, samples_under, touching


def input_axes(plan: ApplyPlan) -> tuple[int | None, ...]:
    """Return, for each axis of the output, the input's axis that regions cut; None for no cut.

    Channels are cut if every kernel filters each of them by itself.
    """
    layouts = [each.conv_layout for each in plan.passes]
    lead, stacks = layouts[0], len(layouts) > 1 and plan.request.postprocess.combine == "stack"
    channels = lead.output_channel_axis
    inner = range(lead.batch_axes, lead.batch_axes + lead.dims + (channels is not None))
    found: list[int | None] = [None] * len(plan.output_shape)
    found[: lead.batch_axes] = range(lead.batch_axes)
    spatial = (axis for axis in inner if axis != channels)
    for axis, source in zip(spatial, lead.spatial_axes, strict=True):
        found[axis] = source
    if channels is not None and not stacks and all(each.channel_mode == "each" for each in layouts):
        found[channels] = lead.channel_axis
    return tuple(found)


def covering(plan: ApplyPlan, outputs: Sequence[Span]) -> tuple[Span, ...]:
    """Extend a region of the output until the windows of each kernel cover samples."""
    if plan.passes[0].plan.spec.boundary != "constant":
        return tuple(outputs)
    spatial = plan.passes[0].conv_layout.spatial_axes
    extended = []
    for span, source in zip(outputs, input_axes(plan), strict=True):
        axes = [each.plan.axes[spatial.index(source)] for each in plan.passes if source in spatial]
        extended.append(touching(axes, span))
    return tuple(extended)


def region_samples(plan: ApplyPlan, outputs: Sequence[Span]) -> tuple[Samples, ...]:
    """Return the samples along each axis of the input that a region of the output reads."""
    lead = plan.passes[0]
    spatial, count = lead.conv_layout.spatial_axes, len(plan.passes)
    cut = dict(zip(input_axes(plan), outputs, strict=True))
    found = []
    for axis, n in enumerate(lead.conv_layout.shape):
        span = cut.get(axis, (0, n))
        if axis in spatial:
            axes = [each.plan.axes[spatial.index(axis)] for each in plan.passes]
            found.append(samples_under(axes, span, lead.plan.spec.boundary))
        else:
            window = Window((0, span[1] - span[0]))
            found.append(Samples((span,), None, (window,) * count))
    return tuple(found)


def part_of(
    plan: ApplyPlan, slab: NDArray[Any], samples: Sequence[Samples], outputs: Sequence[Span]
) -> ApplyPlan:
    """Return the plan that computes a region of the output from its samples.

    slab: the samples, in the positions that `samples` defines. Methods, dtypes and what was found
    about the kernels are those of the whole, so that the values are too.
    """
    passes = tuple(
        _part_of_pass(each, slab, [along.windows[number] for along in samples])
        for number, each in enumerate(plan.passes)
    )
    shape = tuple(stop - start for start, stop in outputs)
    request = replace(plan.request, output=None)
    data = replace(plan.data, array=slab)
    return replace(plan, request=request, data=data, passes=passes, target=None, output_shape=shape)


def _part_of_pass(whole: KernelPass, slab: NDArray[Any], windows: Sequence[Window]) -> KernelPass:
    layout = whole.conv_layout
    x = slab[tuple(slice(*window.span) for window in windows)]
    each = layout.channel_mode == "each" and layout.channel_axis is not None
    channels = layout.channels if layout.channel_axis is None else x.shape[layout.channel_axis]
    layout = replace(
        layout,
        shape=x.shape,
        channels=channels,
        filters=channels if each else layout.filters,
    )
    padding = tuple(windows[axis].padding for axis in layout.spatial_axes)
    spec = replace(whole.plan.spec, padding=padding, boundary="constant")
    problem = to_problem(x, whole.taps, layout, spec)
    plan = whole.plan.resized(problem.x.shape, problem.spec)
    return replace(whole, conv_layout=layout, problem=problem, plan=plan)
