"""The values of options: as types for the code, and as tuples for the command line."""

from __future__ import annotations

from functools import cache
from typing import Literal, get_args

Op = Literal["correlate", "convolve"]
PaddingName = Literal["valid", "same", "same-lower", "full"]
Boundary = Literal["constant", "edge", "reflect", "symmetric", "wrap"]
Layout = Literal["channels_last", "channels_first"]
Channels = Literal["each", "sum"]
Combine = Literal["stack", "magnitude", "sum", "max", "mean"]
Order = Literal["C", "F"]
Policy = Literal["clip", "rescale", "offset", "abs", "error"]
Gradient = Literal["dx", "dw"]
Unit = Literal["macs", "flops"]
Versus = Literal["dense", "separable"]

Language = Literal["en", "ko"]
ThemeName = Literal["light", "dark"]
Activation = Literal["relu", "leaky-relu", "sigmoid", "tanh"]
LawName = Literal[
    "linear",
    "affine",
    "flip",
    "commutative",
    "associative",
    "derivative",
    "gaussian",
    "equivariant",
    "local",
    "backward",
]

Frames = Literal["first", "all"] | int
"""Which frames of a picture that has several: the first, all, or one by its number from 0."""

OPS: tuple[str, ...] = get_args(Op)
PADDINGS: tuple[str, ...] = get_args(PaddingName)
BOUNDARIES: tuple[str, ...] = get_args(Boundary)
LAYOUTS: tuple[str, ...] = get_args(Layout)
CHANNELS: tuple[str, ...] = get_args(Channels)
COMBINES: tuple[str, ...] = get_args(Combine)
ORDERS: tuple[str, ...] = get_args(Order)
POLICIES: tuple[str, ...] = get_args(Policy)
GRADIENTS: tuple[str, ...] = get_args(Gradient)
COUNT_UNITS: tuple[str, ...] = get_args(Unit)
VERSUS: tuple[str, ...] = get_args(Versus)
LANGUAGES: tuple[str, ...] = get_args(Language)
THEMES: tuple[str, ...] = get_args(ThemeName)
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
LAWS: tuple[str, ...] = get_args(LawName)
DTYPES = (
    *("uint8", "uint16", "uint32", "uint64"),
    *("int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)
MEASURED = ("float32", "float64", "uint8", "uint16", "int16")
"""Number types that `bench` can measure."""

PRODUCT_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""Environment variables that set the threads of numpy's matrix products; read when numpy loads."""


@cache
def itemsize(dtype: str) -> int:
    """Return the bytes of one value of a number type.

    >>> itemsize("uint8"), itemsize("float64"), itemsize("bfloat16"), itemsize("bool")
    (1, 8, 2, 1)
    """
    digits = "".join(filter(str.isdigit, dtype))
    return int(digits) // 8 if digits else 1


CODECS = ("zstd", "gzip", "blosc", "lz4", "none")
"""The compressions of a zarr output's chunks."""
