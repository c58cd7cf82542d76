"""The kinds of nodes in ONNX models, and what a node's kind and declared shapes imply.

What they do not imply is listed in the step's `unknown`: the field, if the windows of the outputs
are not evenly spaced; the work of a kind whose sums are not known; the parameters of a kind that
has graphs of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convcli.errors import InputError
from convcli.network.layers import FIELD, PARAMETERS, WORK, Kind, Op, Step, Tensor
from convcli.shapes.axis import Axis

Shape = tuple[int, ...]
_ELEMENTWISE = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BiasAdd BiasGelu BitShift BitwiseAnd BitwiseNot
BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Cos Cosh DequantizeLinear Div Dropout
DynamicQuantizeLinear Elu Equal Erf Exp FastGelu Floor Gelu Greater GreaterOrEqual HardSigmoid
HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or
PRelu Pow QLinearAdd QLinearLeakyRelu QLinearMul QLinearSigmoid QuantizeLinear QuickGelu Reciprocal
Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh
ThresholdedRelu Where Xor LRN
"""
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
"""Kinds whose outputs depend only on their own position."""
_NORMALISING = """
Hardmax LayerNormalization LogSoftmax LpNormalization RMSNormalization SimplifiedLayerNormalization
SkipLayerNormalization SkipSimplifiedLayerNormalization Softmax
"""
NORMALISING = frozenset(_NORMALISING.split())
"""Kinds whose outputs depend on all of some axes; without work by convention."""
RESHAPING = frozenset(["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"])
_WORKLESS = """
ArgMax ArgMin Compress CumSum DepthToSpace Expand Gather GatherElements GatherND GlobalLpPool
GridSample GroupNormalization InstanceNormalization MaxRoiPool MaxUnpool MeanVarianceNormalization
NonMaxSuppression NonZero OneHot Pad ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Resize ReverseSequence RoiAlign Scatter
ScatterElements ScatterND Slice SpaceToDepth Split Tile TopK Trilu Unique Upsample
"""
WORKLESS = frozenset(_WORKLESS.split())
"""Kinds that move, select, compare, average or normalise values; without work by convention."""
_SHAPE_KEEPING = """
BiasAdd BiasGelu FastGelu GroupNorm GroupNormalization InstanceNormalization LRN LpNormalization
MeanVarianceNormalization QLinearLeakyRelu QLinearSigmoid QLinearSoftmax QuickGelu RMSNormalization
SimplifiedLayerNormalization SkipGroupNorm SkipLayerNormalization SkipSimplifiedLayerNormalization
Swish
"""
SHAPE_KEEPING = frozenset(_SHAPE_KEEPING.split())
"""Kinds whose output has the shape of their first input, even if onnx does not infer it."""
WEIGHTLESS = frozenset(["Clip", "Dropout", "DynamicQuantizeLinear", "Pad", "Resize", "Upsample"])
"""Kinds whose constants are settings, not weights; so are those of all kinds that quantise."""
SILENT = frozenset(["Constant", "ConstantOfShape", "Shape", "Size"])
"""Kinds that are no layers: their outputs do not depend on an activation's values."""
FAMILIAR = frozenset(["Conv", "Concat", "Pad", "Resize", "Upsample", "Softmax", "LogSoftmax"])
"""Kinds that are not reported as unknown, though not all of their options are supported."""


@dataclass(frozen=True)
class Call:
    """One node of the file: its attributes, the shapes of its inputs, and its declared output."""

    kind: str
    attributes: Mapping[str, Any]
    x: Tensor
    names: tuple[str, ...]  # of every input, empty for one that is left out
    shapes: tuple[Shape | None, ...]  # of every input
    fixed: tuple[bool, ...]  # for every input, whether it is computed from constants only
    declared: Shape | None  # of the first output
    values: tuple[Any, ...] = ()  # of every small initialiser, as a list; None for other inputs
    opset: int = 13

    def get(self, key: str, default: Any) -> Any:
        return self.attributes.get(key, default)

    def weights(self, number: int) -> Shape:
        shape = self.shapes[number] if number < len(self.shapes) else None
        if shape is None:
            raise InputError(f"the weights of {self.kind} have no declared shape")
        return shape

    def value(self, number: int) -> list[Any] | None:
        """Return the values of an input that is a small initialiser."""
        return self.values[number] if number < len(self.values) else None

    @property
    def biased(self) -> bool:
        number = BIAS_INPUT.get(self.kind, 2)
        return number is not None and self.has(number)

    def has(self, number: int) -> bool:
        """Return whether an input is given."""
        return number < len(self.names) and bool(self.names[number])

    @property
    def weights_input(self) -> int:
        """The number of the input that is the weights; either operand of a product may be."""
        if self.kind in ("Gemm", "MatMul", "MatMulInteger") and self.fixed[0]:
            return 0
        return 3 if self.kind in ("QLinearConv", "QLinearMatMul") else 1


BIAS_INPUT = {
    "QLinearConv": 8,
    "QLinearMatMul": None,
    "ConvInteger": None,
    "MatMulInteger": None,
    "MatMul": None,
}
"""The number of the input that is the biases, if it is not 2; None if there are none."""


def declared_step(call: Call, output: Tensor, spatial: list[Shape], nested: bool) -> Step:
    """Return the step that a node's declared output implies, and what it does not imply.

    spatial: the spatial sizes of every activation that it reads. nested: whether it has graphs of
    its own.
    """
    unknown = set()
    axes: tuple[Axis, ...] = ()
    if call.kind in RESHAPING and call.x.spatial and not output.spatial:
        axes = tuple(Axis(n, n) for n in call.x.spatial)
    elif call.x.spatial and not _keeps_positions(call, output, spatial):
        unknown.add(FIELD)
    if call.kind not in ELEMENTWISE | NORMALISING | RESHAPING | WORKLESS | {"Concat"}:
        unknown.add(WORK)
    if nested:
        unknown.add(PARAMETERS)
    return Step(output, axes, unknown=frozenset(unknown))


def _keeps_positions(call: Call, output: Tensor, spatial: list[Shape]) -> bool:
    """Return whether every output depends only on the inputs at its own position."""
    if any(size != output.spatial for size in spatial):
        return False
    rank = len(output.spatial) + 2
    if call.kind in ELEMENTWISE:
        return True
    if call.kind == "Concat":
        return bool(call.get("axis", 1) % rank == 1)
    if call.kind in ("Softmax", "LogSoftmax", "Hardmax"):
        return bool(call.opset >= 13 and call.get("axis", -1) % rank == 1)
    if call.kind == "LpNormalization":
        return bool(call.get("axis", -1) % rank == 1)
    if call.kind == "Transpose":
        return list(call.get("perm", range(rank)[::-1])) == list(range(rank))
    return call.kind in RESHAPING and call.shapes[0] == call.declared


def opaque(name: str, step: Step, *, view: bool = False) -> Op:
    """Return a layer that has this step for any input."""
    return Op(Kind(name, {}, lambda op, x: step, "as declared", view=view), {}, name)


def tensor(shape: Shape) -> Tensor:
    """Return a shape without its batch: (N, C, *S) has spatial axes, (N, F) is flat."""
    inner = shape[1:]
    return Tensor(inner[1:], inner[0]) if inner else Tensor((), 1)
