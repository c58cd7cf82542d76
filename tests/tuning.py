"""Set the engine's tuning constants for a test, or register a method under another name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from convcli.engine import calls as remembered
from convcli.engine.methods import methods, register, unregister
from convcli.engine.methods.base import Method
from convcli.engine.methods.im2col import Im2col


def tune(patch: pytest.MonkeyPatch, **constants: Any) -> None:
    """Set constants of the planner and of the methods, by name, in every module that has them."""
    methods()
    patch.setattr(remembered, "calls", remembered.RememberedCalls())
    rooms = ("convcli.engine.methods", "convcli.engine.planning", "convcli.grad")
    modules = [module for name, module in sys.modules.items() if name.startswith(rooms)]
    for name, value in constants.items():
        owners = [module for module in modules if hasattr(module, name)]
        assert owners, f"no module of the engine has {name}"
        for module in owners:
            patch.setattr(module, name, value)


@contextmanager
def registered_products() -> Iterator[None]:
    """Register the methods named gemm, except the one for small work, under the name `products`."""
    with ExitStack() as stack:
        for each in methods():
            if each.name == "gemm" and not isinstance(each, Im2col):
                stack.enter_context(registered(type(each), "products"))
        yield


@contextmanager
def registered(method: type[Method], name: str) -> Iterator[None]:
    """Register a method under a name of its own, where several share one."""
    added = type(method.__name__, (method,), {"name": name})()
    register(added)
    try:
        yield
    finally:
        unregister(added)
