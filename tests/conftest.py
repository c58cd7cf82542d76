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
from convcli.engine import threads
from convcli.engine.methods import windows
from convcli.engine.methods.windows import view_of

VIEWING = (
    "engine.methods.bands",
    "engine.methods.products",
    "engine.methods.taps",
    "engine.methods.windows",
    "grad.kernel_gradient",
)
"""Modules that make views by strides."""


@pytest.fixture(scope="session", autouse=True)
def _no_view_leaves_its_memory() -> Iterator[None]:
    """Check every view by strides: it must not reach memory that is not its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in VIEWING:
            patch.setattr(import_module(f"convcli.{name}"), "as_strided", _within)
        patch.setattr(windows, "view_of", _checked_view)
        yield


@pytest.fixture(scope="session", autouse=True)
def _as_many_threads_as_asked() -> Iterator[None]:
    """Let tests run more threads than the machine has cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "core_count", lambda: 64)
        yield


def _within(
    array: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...], **options: Any
) -> np.ndarray:
    view = as_strided(array, shape, strides, **options)
    _check_memory(view, array)
    return view


def _checked_view(
    array: np.ndarray, start: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> np.ndarray:
    view = view_of(array, start, shape, strides)
    _check_memory(view, array)
    return view


def _check_memory(view: np.ndarray, memory: np.ndarray) -> None:
    while isinstance(memory.base, np.ndarray):
        memory = memory.base
    (first, end), (least, most) = byte_bounds(view), byte_bounds(memory)
    assert not view.size or least <= first <= end <= most, (
        f"{memory.shape} {memory.strides} as {view.shape} {view.strides}"
    )


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
