"""What each output sees of the input: receptive field, jump (effective stride), effective padding, centre.

Along one axis, a layer whose window reaches over `r` samples from `lo` before the first adds `(r-1)*jump` to the
field of view, moves its centre by `((r-1)/2 - lo)*jump`, and multiplies the jump by its stride; a transposed layer
does the same with a step of `jump/stride`. Output number i is then centred on `centre + i*jump`, and the effective
padding is what the first window reaches beyond the input, `(size-1)/2 - centre`.

Source: Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019. As
there, where paths meet the widest one counts, and paths whose jumps or centres differ are misaligned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from convcli.network.graph import INPUT, Network
from convcli.shapes.spec import Axis

if TYPE_CHECKING:
    from fractions import Fraction

Number: TypeAlias = "int | Fraction"


class Field(NamedTuple):
    """The view along one axis, in samples of the input.

    >>> Field().through(Axis(224, 7, 2, lo=3, hi=3)).through(Axis(112, 3, 2, lo=1, hi=1))
    Field(extent=10, jump=4, middle=0)
    """

    extent: Number = 0  # from the first sample to the last; one less than the size
    jump: Number = 1
    middle: Number = 0  # twice the centre of the first output, which keeps it whole without upsampling

    def through(self, axis: Axis) -> Field:
        """Look through one more layer."""
        span = axis.reach - 1
        if axis.transposed:
            step = _divide(self.jump, axis.stride)
            return Field(self.extent + span * step, step, self.middle + (2 * axis.lo - span) * step)
        jump = self.jump
        return Field(self.extent + span * jump, jump * axis.stride, self.middle + (span - 2 * axis.lo) * jump)

    @property
    def size(self) -> int:
        """Samples seen; behind upsampling, where outputs differ, the most that one sees."""
        return int(self.extent) + 1

    @property
    def padding(self) -> float:
        return float(self.extent - self.middle) / 2

    @property
    def centre(self) -> float:
        return float(self.middle) / 2


class View(NamedTuple):
    """The fields of one layer, one for each axis of the input, and whether the paths to it are aligned."""

    fields: tuple[Field, ...]
    aligned: bool = True


def views(network: Network) -> list[View]:
    """What every layer sees, in the order of the nodes."""
    found: list[View] = []
    start = View((Field(),) * len(network.x.spatial))
    for node in network.nodes:
        given = [start if at == INPUT else found[at] for at in node.inputs]
        if node.merges:
            found.append(_meet(given))
        elif node.axes:
            found.append(View(_through(given[0].fields, node.axes), given[0].aligned))
        else:
            found.append(given[0])
    return found


def _through(fields: tuple[Field, ...], axes: tuple[Axis, ...]) -> tuple[Field, ...]:
    """One step along every axis; axes that are alike are stepped once."""
    if len(set(fields)) == 1 and len(set(axes)) == 1:
        return (fields[0].through(axes[0]),) * len(fields)
    return tuple(field.through(axis) for field, axis in zip(fields, axes, strict=True))


def _meet(given: list[View]) -> View:
    aligned = all(view.aligned for view in given) and all(
        len({(field.jump, field.middle) for field in fields}) == 1
        for fields in zip(*(view.fields for view in given), strict=True)
    )
    widest = tuple(
        max(fields, key=lambda field: field.extent) for fields in zip(*(view.fields for view in given), strict=True)
    )
    return View(widest, aligned)


def _divide(jump: Number, stride: int) -> Number:
    if isinstance(jump, int) and jump % stride == 0:
        return jump // stride
    from fractions import Fraction

    step = Fraction(jump) / stride
    return step.numerator if step.denominator == 1 else step
