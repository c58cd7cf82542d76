"""Kernels as text that `kernel` reads back, tap for tap."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from convcli.errors import KernelError
from convcli.kernels.model import Kernel

TextForm = Literal["csv", "txt", "json", "imagemagick", "vips"]

TEXT_FORMS: tuple[TextForm, ...] = get_args(TextForm)
SUFFIX_FORMS: Mapping[str, TextForm] = {".csv": "csv", ".txt": "txt", ".json": "json", ".mat": "vips"}


def render(kernel: Kernel, form: TextForm) -> str:
    """Write a kernel as text, ending in a new line; every tap is the shortest decimal that reads back the same.

    form: csv and txt hold one axis or two, imagemagick and vips two, json any number.
    Raises KernelError where the form cannot hold the kernel's axes.

    >>> print(render(Kernel.of_taps("k", [[0, 1, 0], [1, -4.5, 1], [0, 1, 0]]), "imagemagick"), end="")
    3x3: 0,1,0 1,-4.5,1 0,1,0
    """
    return f"{_FORMS[form](kernel)}\n"


def _csv(kernel: Kernel) -> str:
    return _table(kernel, "csv", ",")


def _txt(kernel: Kernel) -> str:
    return _table(kernel, "txt", " ")


def _table(kernel: Kernel, form: str, between: str) -> str:
    if kernel.taps.ndim > 2:
        raise _cannot(kernel, form, "one or two axes")
    if kernel.taps.ndim == 2 and len(kernel.taps) == 1:
        raise _cannot(kernel, form, "more than one row, for a single one is read back as one axis")
    return "\n".join(_rows(kernel, between))


def _json(kernel: Kernel) -> str:
    return json.dumps(_plain(kernel.taps.tolist()))


def _plain(nested: Any) -> Any:
    """Nested lists with integers written without a point."""
    if isinstance(nested, list):
        return [_plain(part) for part in nested]
    return json.loads(_decimal(nested))


def _imagemagick(kernel: Kernel) -> str:
    height, width = _plane(kernel, "imagemagick")
    return f"{width}x{height}: {' '.join(_rows(kernel, ','))}"


def _vips(kernel: Kernel) -> str:
    height, width = _plane(kernel, "vips")
    return "\n".join([f"{width} {height} 1 0", *_rows(kernel, " ")])


def _plane(kernel: Kernel, form: str) -> tuple[int, int]:
    if kernel.taps.ndim != 2:
        raise _cannot(kernel, form, "two axes")
    height, width = kernel.shape
    return height, width


def _rows(kernel: Kernel, between: str) -> list[str]:
    rows = kernel.taps.reshape(-1, kernel.shape[-1]).tolist()
    return [between.join(map(_decimal, row)) for row in rows]


def _decimal(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e16 else repr(value)


def _cannot(kernel: Kernel, form: str, expected: str) -> KernelError:
    size = "x".join(map(str, kernel.shape))
    return KernelError(f"a {size} kernel as {form}", f"expected {expected}", "write .json or .npy instead")


_FORMS: Mapping[TextForm, Callable[[Kernel], str]] = {
    "csv": _csv,
    "txt": _txt,
    "json": _json,
    "imagemagick": _imagemagick,
    "vips": _vips,
}
