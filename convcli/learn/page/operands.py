"""The operands of a convolution that is shown: of the interactive page, and of an animation."""

from __future__ import annotations

from typing import Protocol

from convcli.errors import InputError
from convcli.jobs.operands import Operands, check_seed, load_operands, load_upstream
from convcli.learn.page.layer import Floats, channels_first
from convcli.limits import Limits
from convcli.shapes.geometry import Geometry
from convcli.shapes.layout import ConvLayout
from convcli.shapes.parse import PerAxis


class ShownRequest(Protocol):
    """What the requests have in common."""

    @property
    def input(self) -> str: ...
    @property
    def reference(self) -> str: ...
    @property
    def geometry(self) -> Geometry: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def upstream(self) -> str | None: ...
    @property
    def transposed(self) -> bool: ...
    @property
    def output_padding(self) -> PerAxis: ...
    @property
    def limits(self) -> Limits: ...


def load_shown(request: ShownRequest, what: str) -> Operands:
    """Load input and kernel. what: what will show them.

    Raises InputError or a subclass for operands that do not fit, and for a picture with alpha.
    """
    operands = load_operands(
        request.input,
        request.reference,
        request.geometry,
        request.limits,
        seed=request.seed or 0,
        transposed=request.transposed,
        output_padding=request.output_padding,
    )
    check_seed(request.seed, request.input, operands.data)
    if operands.alpha is not None:
        raise InputError(
            f"{operands.data.name} has alpha",
            f"expected a picture without: {what} cannot show the division by alpha",
            "remove it first: convcli apply -k identity --background white -o FILE.png",
        )
    return operands


def load_shown_upstream(
    request: ShownRequest, a: ConvLayout, output: tuple[int, ...], item: int = 0
) -> Floats | None:
    """Return the upstream gradient of a file as (O, *P); None without a file.

    output: its shape in the user's axes. Raises ShapeError if it has another.
    """
    if request.upstream is None:
        return None
    dy = load_upstream(request.upstream, output, request.limits)
    return channels_first(dy, a, a.output_channel_axis, item)
