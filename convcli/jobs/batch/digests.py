"""The digests of files and objects, by which a batch finds what has changed."""

from __future__ import annotations

import hashlib
import stat
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from convcli.errors import InputError, reason
from convcli.stores import is_url, location

_BLOCK = 2**20
_AT_ONCE = 2**16
"""Bytes up to which a file is read at once: `hashlib.file_digest` clears a larger buffer first."""


def file_digest(path: str) -> str:
    """Return the SHA-256 of the content of a file or an object.

    Raises InputError for one that cannot be read, or not twice, such as a pipe.
    """
    if is_url(path):
        with location(path).open("rb") as stream:
            found = hashlib.sha256()
            while block := stream.read(_BLOCK):
                found.update(block)
            return found.hexdigest()
    try:
        if stat.S_IFMT(Path(path).stat().st_mode) in (stat.S_IFREG, stat.S_IFDIR):
            with Path(path).open("rb", buffering=0) as stream:
                head = stream.read(_AT_ONCE)
                if len(head) < _AT_ONCE:
                    return hashlib.sha256(head + stream.read()).hexdigest()
                stream.seek(0)
                return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read", reason(error)) from error
    raise InputError(
        f"{path} is a pipe or a device", "expected a file", "use convcli apply for what comes once"
    )


def read_once(source: str) -> AbstractContextManager[object]:
    """Let an object be read once in the block, for its digest and for its values."""
    path = location(source)
    return path.kept() if not isinstance(path, Path) else nullcontext()
