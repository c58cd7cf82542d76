"""Hypothesis strategies for convolutions: shapes that fit, options, and arrays of every kind.

Values are small whole numbers unless a test asks otherwise, so that every sum is exact and results
compare with ==.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import reference
from hypothesis import settings
from hypothesis import strategies as st

BOUNDARIES = ("constant", "edge", "reflect", "symmetric", "wrap")
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", ">i2", ">f4", ">f8"),
)
MOST = {1: (12, 6), 2: (6, 4), 3: (4, 3), 4: (3, 2)}
"""The largest input and kernel along an axis, by the number of axes: what plain loops get through
in milliseconds.
"""


def examples(most: int) -> settings:
    """Use the same examples on every run, without a deadline."""
    return settings(max_examples=most, deadline=None, derandomize=True, database=None)


@dataclass(frozen=True)
class Geometry:
    """Spatial sizes and the options that go with them."""

    spatial: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Any
    boundary: str = "constant"
    cval: float = 0.0

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        names = (
            [self.padding] * len(self.spatial) if isinstance(self.padding, str) else self.padding
        )
        return tuple(
            reference.pads(*axis)
            for axis in zip(
                self.spatial, self.window, self.stride, self.dilation, names, strict=True
            )
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        return reference.sizes(self.spatial, self.window, self.stride, self.dilation, self.pads)

    @property
    def unused(self) -> tuple[int, ...]:
        """Unused samples at each padded axis's end, which are the transpose's output_padding."""
        return tuple(
            (n + lo + hi - d * (k - 1) - 1) % s
            for n, k, s, d, (lo, hi) in zip(
                self.spatial, self.window, self.stride, self.dilation, self.pads, strict=True
            )
        )

    @property
    def given(self) -> dict[str, Any]:
        """The options for convcli."""
        shared = {"stride": self.stride, "dilation": self.dilation, "padding": self.padding}
        return {**shared, "boundary": self.boundary, "cval": self.cval}

    @property
    def literal(self) -> dict[str, Any]:
        """The options for the reference, with the padding as numbers."""
        shared = {"stride": self.stride, "dilation": self.dilation, "pads": self.pads}
        return {**shared, "boundary": self.boundary, "cval": self.cval}


@st.composite
def geometries(
    draw: st.DrawFn, dims: st.SearchStrategy[int] | None = None, boundaries: Any = BOUNDARIES
) -> Geometry:
    """Draw 1 to 4 axes, with odd and even kernels up to the padded input, and large padding."""
    count = draw(st.integers(1, 4) if dims is None else dims)
    most, widest = MOST[count]
    spatial = tuple(draw(st.integers(1, most)) for _ in range(count))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(count))
    dilation = tuple(draw(st.integers(1, 3)) for _ in range(count))
    amount = st.integers(0, most + 1 if count < 3 else 2)
    padding = draw(
        st.sampled_from(("valid", "same", "same-lower", "full"))
        | st.tuples(*[st.tuples(amount, amount)] * count)
    )
    window = tuple(
        min(
            draw(st.integers(1, widest)),
            _room(n, d, padding if isinstance(padding, str) else padding[axis]),
        )
        for axis, (n, d) in enumerate(zip(spatial, dilation, strict=True))
    )
    cval = float(draw(st.integers(-3, 3)))
    return Geometry(
        spatial, window, stride, dilation, padding, draw(st.sampled_from(boundaries)), cval
    )


def _room(n: int, dilation: int, padding: Any) -> int:
    """Return the most taps that fit an axis."""
    if isinstance(padding, str) and padding != "valid":
        return 99
    padded = n if padding == "valid" else n + sum(padding)
    return (padded - 1) // dilation + 1


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...], dtypes: tuple[str, ...] = DTYPES) -> Any:
    """Draw small whole numbers of some dtype, in some memory order, sometimes read-only."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))
    values = rng.integers(
        0 if dtype.kind in "bu" else -8, 2 if dtype.kind == "b" else 9, shape
    ).astype(dtype)
    array = draw(st.sampled_from(VIEWS))(values)
    if draw(st.booleans()):
        array.flags.writeable = False
    return array


def fortran(values: Any) -> Any:
    return np.asfortranarray(values)


def backwards(values: Any) -> Any:
    """Return the same values in an array with negative strides."""
    return np.flip(np.flip(values).copy())


def every_other(values: Any) -> Any:
    """Return the same values in an array with gaps in memory."""
    wide = np.full(tuple(2 * n for n in values.shape), 77).astype(values.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in values.shape)]
    view[...] = values
    return view


def unaligned(values: Any) -> Any:
    """Return the same values in an array that is one byte off its alignment."""
    raw = np.zeros(values.nbytes + 1, np.uint8)
    view = raw[1:].view(values.dtype).reshape(values.shape)
    view[...] = values
    return view


VIEWS = (np.array, fortran, backwards, every_other, unaligned)


@dataclass(frozen=True)
class LayerCase:
    """A layer's arrays, channels last, and its options."""

    x: Any
    w: Any
    bias: Any
    geometry: Geometry
    groups: int


@st.composite
def layers(
    draw: st.DrawFn, dtypes: tuple[str, ...] = DTYPES, boundaries: Any = BOUNDARIES
) -> LayerCase:
    """Draw one to three spatial axes, one to three groups (or depthwise), a bias or none."""
    geometry = draw(geometries(st.integers(1, 3), boundaries))
    groups, depth, share = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    x = draw(arrays((draw(st.integers(1, 2)), *geometry.spatial, groups * depth), dtypes))
    w = draw(arrays((groups * share, *geometry.window, depth), dtypes))
    bias = draw(st.none() | arrays((groups * share,), dtypes))
    return LayerCase(x, w, bias, geometry, groups)


def first(array: Any) -> Any:
    """Return the same array with its channels, or its kernels', before the spatial axes."""
    return np.moveaxis(array, -1, 1)
