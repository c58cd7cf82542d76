"""Open fsspec's file system for a protocol, with time limits."""

from __future__ import annotations

from typing import Any

from convcli.stores.failures import SECONDS
from convcli.stores.protocols import Protocol, check_packages

_ATTEMPTS = 2


def connect(row: Protocol, shown: str) -> Any:
    """Return fsspec's file system of a protocol: one per process, which keeps its connections.

    What the user has configured for fsspec (FSSPEC_S3_..., ~/.config/fsspec) goes before what is
    set here. Raises FileError if a package is not installed. shown: the name in that message.
    """
    options = options_of(row, shown)
    import fsspec

    return fsspec.filesystem(row.name, **options)


def options_of(row: Protocol, shown: str) -> dict[str, Any]:
    """Return the options of fsspec's file system of a protocol. Raises like `connect`."""
    check_packages(row, shown)
    import fsspec

    given = fsspec.config.conf.get(row.name, {})
    limits = {name: value | given.get(name, {}) for name, value in _limits(row).items()}
    return {"use_listings_cache": False, **limits}


def _limits(row: Protocol) -> dict[str, dict[str, Any]]:
    """Return the time limits as the options of a protocol's file system."""
    if row.name == "s3":
        retries = {"total_max_attempts": _ATTEMPTS, "mode": "standard"}
        return {"config_kwargs": {"connect_timeout": SECONDS / _ATTEMPTS, "retries": retries}}
    if "aiohttp" in row.packages:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=SECONDS / _ATTEMPTS, sock_read=60)
        return {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    return {}
