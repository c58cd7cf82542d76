"""Discrete convolution: one numpy engine behind a command line and this interface.

Importing the package loads no numpy; each public name loads what it needs on first use.

>>> import convcli
>>> convcli.output_shape((28, 28), (3, 3))
(26, 26)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convcli.engine.operations import conv_layer, convolve, correlate, plan
    from convcli.engine.planning.plan import Plan
    from convcli.errors import ChannelError, ConvError, ShapeError
    from convcli.grad import GradcheckReport, gradcheck
    from convcli.grad.backward import (
        Gradients,
        KernelGradients,
        conv_transpose,
        conv_transpose_gradients,
        convolve_gradients,
        correlate_gradients,
        gradients,
    )
    from convcli.kernels import Kernel, kernel
    from convcli.shapes.spec import output_shape

__version__ = "0.1.0"

_HOME = {
    "ChannelError": "errors",
    "ConvError": "errors",
    "GradcheckReport": "grad",
    "Gradients": "grad.backward",
    "Kernel": "kernels",
    "KernelGradients": "grad.backward",
    "Plan": "engine.planning.plan",
    "ShapeError": "errors",
    "conv_layer": "engine.operations",
    "conv_transpose": "grad.backward",
    "conv_transpose_gradients": "grad.backward",
    "convolve": "engine.operations",
    "convolve_gradients": "grad.backward",
    "correlate": "engine.operations",
    "correlate_gradients": "grad.backward",
    "gradcheck": "grad",
    "gradients": "grad.backward",
    "kernel": "kernels",
    "output_shape": "shapes.spec",
    "plan": "engine.operations",
}

__all__ = [  # noqa: RUF022 - the order of the interface
    "correlate",
    "convolve",
    "conv_layer",
    "conv_transpose",
    "gradients",
    "correlate_gradients",
    "convolve_gradients",
    "conv_transpose_gradients",
    "gradcheck",
    "output_shape",
    "plan",
    "kernel",
    "Gradients",
    "KernelGradients",
    "GradcheckReport",
    "Kernel",
    "Plan",
    "ConvError",
    "ShapeError",
    "ChannelError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
