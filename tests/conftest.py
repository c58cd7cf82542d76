"""Fixtures and settings that several tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.array_utils import byte_bounds
from numpy.lib.stride_tricks import as_strided

from convcli import limits

VIEWING = (
    "engine.methods.bands",
    "engine.methods.depthwise",
    "engine.methods.full_rank",
    "engine.methods.gemm",
    "engine.methods.windows",
    "grad.kernel_gradient",
)
"""Modules that make views by strides."""


@pytest.fixture(scope="session", autouse=True)
def _no_view_leaves_its_memory() -> Iterator[None]:
    """Check every view that as_strided creates: it must not reach memory that is not its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in VIEWING:
            patch.setattr(import_module(f"convcli.{name}"), "as_strided", _within)
        yield


def _within(
    array: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...], **options: Any
) -> np.ndarray:
    view, memory = as_strided(array, shape, strides, **options), array
    while isinstance(memory.base, np.ndarray):
        memory = memory.base
    (first, end), (least, most) = byte_bounds(view), byte_bounds(memory)
    assert not view.size or least <= first <= end <= most, (
        f"{array.shape} {array.strides} as {shape} {strides}"
    )
    return view


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Set the number of threads for the rest of a test."""
    yield limits.set_threads
    limits.set_threads(None)


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the test's own empty folder, as the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
