"""The functions that a neuron applies to its sum, and their slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convcli.options import Activation

Floats = NDArray[np.float64]

LEAK = 0.01
"""The slope of leaky-relu below 0, as in PyTorch."""


class Function(NamedTuple):
    """A function and its slope, both of the sum."""

    value: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]


def _sigmoid(z: Floats) -> Floats:
    with np.errstate(over="ignore"):  # exp is infinite, and the result 0
        return np.asarray(1 / (1 + np.exp(-z)))


FUNCTIONS: dict[Activation, Function] = {
    "relu": Function(lambda z: np.where(z < 0, 0, z), lambda z: np.where(z > 0, 1.0, 0.0)),
    "leaky-relu": Function(
        lambda z: np.where(z < 0, LEAK * z, z), lambda z: np.where(z > 0, 1.0, LEAK)
    ),
    "sigmoid": Function(_sigmoid, lambda z: _sigmoid(z) * (1 - _sigmoid(z))),
    "tanh": Function(np.tanh, lambda z: np.asarray(1 - np.tanh(z) ** 2)),
}


def activate(z: Floats, name: Activation | None) -> Floats:
    """Return the values of an activation; without one, the sums.

    >>> activate(np.array([-2.0, 3.0]), "leaky-relu").tolist()
    [-0.02, 3.0]
    """
    return FUNCTIONS[name].value(z) if name else z


def slope(z: Floats, name: Activation | None) -> Floats:
    """Return the slopes of an activation; that of relu at 0 is 0.

    >>> slope(np.array([-2.0, 0.0, 3.0]), "relu").tolist()
    [0.0, 0.0, 1.0]
    """
    return FUNCTIONS[name].slope(z) if name else np.ones_like(z)
