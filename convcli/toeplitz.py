"""A layer as the matrix that it is: one row for each output, one column for each sample of the input.

The same few weights stand along the diagonals (a block-Toeplitz matrix), and nearly all else is zero. It is built
from the definition's indices alone, so that it can stand against the engine as a path of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convcli.engine.pad import fold
from convcli.shapes import ConvSpec


def toeplitz(w: NDArray[np.float64], spatial: tuple[int, ...], spec: ConvSpec) -> NDArray[np.float64]:
    """The matrix of a correlation: `y.ravel() = M @ x.ravel()` for one item, channels last, with 0 for a constant.

    w: (O, *K, C/groups)   spatial: the sizes of the input's axes   returns (prod(P) * O, prod(S) * C) float64.
    Raises ShapeError if the kernel exceeds the padded input.

    >>> toeplitz(np.array([1.0, 2.0]).reshape(1, 2, 1), (3,), ConvSpec.of(1))
    array([[1., 2., 0.],
           [0., 1., 2.]])
    """
    axes = spec.axes(spatial, w.shape[1:-1])
    outs = tuple(axis.out for axis in axes)
    filters, depth = w.shape[0], w.shape[-1]
    matrix = np.zeros((int(np.prod(outs)), filters, int(np.prod(spatial)), depth * spec.groups))
    share = filters // spec.groups
    for tap in np.ndindex(*w.shape[1:-1]):
        places = [
            np.arange(axis.out) * axis.stride + t * axis.dilation - axis.lo for axis, t in zip(axes, tap, strict=True)
        ]
        folded = np.meshgrid(
            *(fold(p, axis.n, spec.boundary) for p, axis in zip(places, axes, strict=True)), indexing="ij"
        )
        inside = np.all([part >= 0 for part in folded], axis=0)
        rows = np.flatnonzero(inside)
        columns = np.ravel_multi_index(tuple(part[inside] for part in folded), spatial)
        for group in range(spec.groups):
            own, lanes = slice(group * share, (group + 1) * share), slice(group * depth, (group + 1) * depth)
            matrix[rows, own, columns, lanes] += w[(own, *tap)]
    return matrix.reshape(matrix.shape[0] * filters, -1)
