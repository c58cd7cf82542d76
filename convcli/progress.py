"""How far a long computation has come, as it reports it to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[float], None]
"""Called with the share of the work that is done, from 0 to 1."""


def silent(share: float) -> None:
    """Show nothing."""
