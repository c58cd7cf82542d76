"""The same convolution by other installed packages, called as their own users would.

Every peer computes exactly the engine's result: the same border, the same outputs, the same number
type. A peer that cannot do so is skipped and its reason reported; no code of ours completes its
work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convcli.engine.layer_form import to_layer
from convcli.kernels.factorize import factorize
from convcli.shapes.axis import Axis
from convcli.shapes.layout import ConvLayout
from convcli.shapes.spec import ConvSpec

Array = NDArray[Any]
Call = Callable[[], Array]

RANK_ONE = 1e-6
"""Error, as a share of the taps' norm, up to which a float32 kernel is a product of 1-D factors."""

NDIMAGE_TAP = 0.8e-9
"""Measured seconds of scipy.ndimage per tap and output: its calls cannot be stopped, so their time
has to be predicted."""


class UnableError(Exception):
    """A peer or a method cannot do a task; the message is the reason."""


@dataclass(frozen=True, eq=False)
class Task:
    """A convolution for a peer: x and w in the shapes of `conv_layout`, both of one dtype.

    dtype: the result's. The result has the axes of the engine's result: those of x if channels are
    filtered independently, otherwise (N, *P, O).
    """

    x: Array
    w: Array
    conv_layout: ConvLayout
    spec: ConvSpec
    dtype: np.dtype[Any]

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        return self.spec.axes(self.conv_layout.spatial, self.conv_layout.window)

    @property
    def padded(self) -> bool:
        return any(axis.lo or axis.hi for axis in self.axes)

    @property
    def border(self) -> str:
        """The boundary if there is padding, otherwise constant."""
        return self.spec.boundary if self.padded else "constant"

    @property
    def cval(self) -> float:
        return self.spec.cval if self.padded else 0.0

    @property
    def spread_window(self) -> Array:
        """The kernel with an axis of length 1 for each axis of x that it does not slide along."""
        shape = [1] * self.x.ndim
        for axis, size in zip(self.conv_layout.spatial_axes, self.w.shape, strict=True):
            shape[axis] = size
        return self.w.reshape(shape)

    @cached_property
    def factors(self) -> tuple[Array, ...] | None:
        """The 1-D factors of the kernel, or None if it is not a product of such factors."""
        terms = factorize(self.w, tolerance=RANK_ONE)
        return None if len(terms) > 1 else tuple(factor.astype(self.w.dtype) for factor in terms[0])

    def crop(self, y: Array, starts: list[int]) -> Array:
        """Return the part of a larger result that begins at `starts` along the spatial axes."""
        cut = [slice(None)] * y.ndim
        for at, start, axis in zip(self.conv_layout.spatial_axes, starts, self.axes, strict=True):
            cut[at] = slice(start, start + axis.out)
        return y[tuple(cut)]


@dataclass(frozen=True, eq=False)
class Peer:
    """One peer's call for a task; seconds: the predicted time, for calls that may take minutes."""

    name: str
    call: Call
    seconds: float | None = None


def available_peers(task: Task) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers that can do a task, and the reasons why others cannot, by name."""
    able: list[Peer] = []
    left_out = {}
    for name, offer in OFFERS.items():
        try:
            able += offer(task)
        except ImportError:
            left_out[name] = "is not installed"
        except UnableError as reason:
            left_out[name] = str(reason)
    return able, left_out


def versions() -> dict[str, str]:
    """Return the installed packages with their versions."""
    return {
        name: str(module.__version__)
        for name, module in _installed("numpy", "scipy", "cv2", "torch")
    }


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Set the number of threads of every peer, and restore it afterwards."""
    with ExitStack() as settings:
        for name, module in _installed("cv2", "torch", "scipy.fft"):
            if name == "scipy.fft":
                settings.enter_context(module.set_workers(count))
                continue
            get, put = (
                (module.getNumThreads, module.setNumThreads)
                if name == "cv2"
                else (module.get_num_threads, module.set_num_threads)
            )
            settings.callback(put, get())
            put(count)
        yield


def _installed(*names: str) -> Iterator[tuple[str, Any]]:
    for name in names:
        try:
            yield name, import_module(name)
        except ImportError:
            continue


# Conditions that several peers share.


def _check_plain(task: Task) -> None:
    if task.conv_layout.channel_mode != "each":
        raise UnableError("has no kernels that sum over channels")
    if any(axis.stride > 1 for axis in task.axes):
        raise UnableError("has no stride")
    if any(axis.dilation > 1 for axis in task.axes):
        raise UnableError("has no dilation")


def _check_floats(task: Task) -> None:
    if task.dtype.kind != "f":
        raise UnableError("does not round and saturate results that are whole numbers")


def _centres(task: Task) -> list[int]:
    """Return, per axis, the tap over the sample at an output's own index.

    It is for peers that compute one output per sample and pad the input themselves.
    """
    for axis in task.axes:
        if axis.lo + axis.hi >= axis.k:
            raise UnableError("computes no more outputs than samples")
    return [min(max(axis.k // 2, axis.lo), axis.k - 1 - axis.hi) for axis in task.axes]


def _before(task: Task, centres: list[int]) -> list[int]:
    """Return, per axis, the number of a peer's outputs before the first of the task."""
    return [centre - axis.lo for centre, axis in zip(centres, task.axes, strict=True)]


def _check_zeros(task: Task) -> Literal["full", "valid"]:
    """Return the mode of a peer that pads only with zeros: full or valid."""
    if task.border != "constant" or task.cval:
        raise UnableError("has no border but zeros")
    if any(max(axis.lo, axis.hi) >= axis.k for axis in task.axes):
        raise UnableError("pads no further than the kernel reaches")
    return "full" if task.padded else "valid"


def _after_zeros(task: Task) -> list[int]:
    return [axis.k - 1 - axis.lo if task.padded else 0 for axis in task.axes]


# The peers, one by one.


def _numpy(task: Task) -> Iterator[Peer]:
    if task.conv_layout.dims > 1:
        return
    _check_plain(task)
    _check_floats(task)
    if task.x.ndim > 1:
        raise UnableError("takes one signal")
    mode = _check_zeros(task)
    starts = _after_zeros(task)
    yield Peer("numpy.correlate", lambda: task.crop(np.correlate(task.x, task.w, mode), starts))


def _ndimage(task: Task) -> Iterator[Peer]:
    ndimage = import_module("scipy.ndimage")
    _check_plain(task)
    _check_floats(task)
    centres = _centres(task)
    starts = _before(task, centres)
    names = {"edge": "nearest", "reflect": "mirror", "symmetric": "reflect", "wrap": "grid-wrap"}
    border = {"mode": names.get(task.border, "constant"), "cval": task.cval}
    origins = [centre - axis.k // 2 for centre, axis in zip(centres, task.axes, strict=True)]
    along = task.conv_layout.spatial_axes
    window = task.spread_window
    everywhere = [0] * task.x.ndim
    for axis, origin in zip(along, origins, strict=True):
        everywhere[axis] = origin

    def taps() -> Array:
        return task.crop(ndimage.correlate(task.x, window, origin=everywhere, **border), starts)

    def passes(factors: Sequence[Array]) -> Array:
        y = task.x
        for axis, factor, origin in zip(along, factors, origins, strict=True):
            y = ndimage.correlate1d(y, factor, axis, origin=origin, **border)
        return task.crop(y, starts)

    each = task.x.size * NDIMAGE_TAP
    if task.factors is None or task.cval:
        yield Peer("scipy.ndimage.correlate", taps, each * task.w.size)
    else:
        yield Peer(
            "scipy.ndimage.correlate1d", partial(passes, task.factors), each * sum(task.w.shape)
        )


def _oaconvolve(task: Task) -> Iterator[Peer]:
    signal = import_module("scipy.signal")
    _check_plain(task)
    _check_floats(task)
    mode = _check_zeros(task)
    starts = _after_zeros(task)
    window = np.flip(task.spread_window)
    along = task.conv_layout.spatial_axes
    yield Peer(
        "scipy.signal.oaconvolve",
        lambda: task.crop(signal.oaconvolve(task.x, window, mode, along), starts),
    )


def _opencv(task: Task) -> Iterator[Peer]:
    cv2 = import_module("cv2")
    _check_plain(task)
    if task.conv_layout.dims != 2 or task.conv_layout.spatial_axes != (0, 1):
        raise UnableError("takes two axes, with channels last and no batch")
    borders = {
        "constant": "CONSTANT",
        "edge": "REPLICATE",
        "reflect": "REFLECT_101",
        "symmetric": "REFLECT",
    }
    if task.border not in borders:
        raise UnableError(f"has no border {task.border}")
    if task.cval:
        raise UnableError("has no constant border but zeros")
    centres = _centres(task)
    starts = _before(task, centres)
    options = {
        "anchor": tuple(centres[::-1]),
        "borderType": getattr(cv2, f"BORDER_{borders[task.border]}"),
    }

    def outputs(y: Array) -> Array:
        """Restore the single channel that OpenCV drops, and crop the result."""
        return task.crop(y if y.ndim == task.x.ndim else y[..., None], starts)

    if task.factors is None:
        yield Peer("cv2.filter2D", lambda: outputs(cv2.filter2D(task.x, -1, task.w, **options)))
    else:
        column, row = task.factors
        yield Peer(
            "cv2.sepFilter2D", lambda: outputs(cv2.sepFilter2D(task.x, -1, row, column, **options))
        )


def _torch(task: Task) -> Iterator[Peer]:
    """Yield torch's layer in its own axis order, and with channels last if there are several."""
    torch = import_module("torch")
    _check_floats(task)
    dims = task.conv_layout.dims
    if dims > 3:
        raise UnableError("takes at most three axes")
    pads = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    if task.border not in pads:
        raise UnableError(f"has no border {task.border}")
    form = to_layer(task.x, task.w, task.conv_layout)
    functional = torch.nn.functional
    convolve = getattr(functional, f"conv{dims}d")
    options: dict[str, Any] = {
        "stride": task.spec.stride,
        "dilation": task.spec.dilation,
        "groups": form.groups,
    }
    pad = None
    if (
        task.border == "constant"
        and not task.cval
        and all(axis.lo == axis.hi for axis in task.axes)
    ):
        options["padding"] = tuple(axis.lo for axis in task.axes)
    else:
        widths = [width for axis in reversed(task.axes) for width in (axis.lo, axis.hi)]
        pad = partial(functional.pad, pad=widths, mode=pads[task.border], value=task.cval or None)

    def peer(name: str, memory: Any) -> Peer:
        x, w = (
            torch.from_numpy(np.array(values)).movedim(-1, 1).contiguous(memory_format=memory)
            for values in (form.x, form.w)
        )
        return Peer(name, lambda: _from_layer(task, convolve(pad(x) if pad else x, w, **options)))

    yield peer(f"torch.conv{dims}d", torch.contiguous_format)
    if dims > 1 and form.x.shape[-1] > 1:
        last = torch.channels_last if dims == 2 else torch.channels_last_3d
        yield peer(f"torch.conv{dims}d, channels last", last)


def _from_layer(task: Task, result: Any) -> Array:
    """Return a tensor (N, O, *P) with the axes of the engine's result, as in `Task`."""
    a = task.conv_layout
    y: Array = result.movedim(1, -1).numpy()
    if a.channel_mode != "each":
        return y
    lead = (*a.shape[: a.batch_axes], *([] if a.channel_axis is None else [a.channels]))
    y = y.reshape(*lead, *(axis.out for axis in task.axes))
    return y if a.channel_axis is None else np.moveaxis(y, a.batch_axes, a.channel_axis)


OFFERS: dict[str, Callable[[Task], Iterator[Peer]]] = {
    "numpy.correlate": _numpy,
    "scipy.ndimage": _ndimage,
    "scipy.signal": _oaconvolve,
    "cv2": _opencv,
    "torch": _torch,
}
