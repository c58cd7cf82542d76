"""The protocols of URLs that convcli reads and writes, and the package of each."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import NamedTuple

from convcli.errors import FileError, did_you_mean, printable

_SCHEME = re.compile(r"([A-Za-z][\w.+-]+)(::|://)")
"""The beginning of a URL; one letter before `://` would be a drive of Windows."""
LONGEST = 4096
"""Characters of a URL at most: S3 takes keys of 1,024 bytes, each of which may be three digits."""


class Protocol(NamedTuple):
    """One protocol. packages: those that it needs, fsspec first.

    writable: whether objects are written. listable: whether folders and patterns can be listed.
    conditional: whether a new object can be written on the condition that there is none.
    shared: whether other processes see the same objects. credentials: how they are given.
    endpoint: how the address of a server is given.
    """

    name: str
    packages: tuple[str, ...]
    writable: bool = True
    listable: bool = True
    conditional: bool = True
    shared: bool = True
    credentials: str = ""
    endpoint: str = ""


_S3 = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_GS = "run 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS"
_AZ = "set AZURE_STORAGE_CONNECTION_STRING"
_WEB = "check the address, and that it may be read"

PROTOCOLS = {
    row.name: row
    for row in (
        Protocol("s3", ("fsspec", "s3fs"), credentials=_S3, endpoint="AWS_ENDPOINT_URL"),
        Protocol("gs", ("fsspec", "gcsfs"), credentials=_GS, endpoint="STORAGE_EMULATOR_HOST"),
        Protocol("az", ("fsspec", "adlfs"), conditional=False, credentials=_AZ),
        Protocol("https", ("fsspec", "aiohttp"), writable=False, listable=False, credentials=_WEB),
        Protocol("http", ("fsspec", "aiohttp"), writable=False, listable=False, credentials=_WEB),
        Protocol("memory", ("fsspec",), shared=False),
    )
}
LOCAL = "file"
"""The protocol of local files, which are opened by their paths."""
_KNOWN = (*(row.name for row in PROTOCOLS.values() if row.shared), LOCAL)


def scheme_of(name: str) -> str:
    """Return the protocol that a name begins with, as it is written; "" for a path.

    >>> scheme_of("s3://bucket/x.png"), scheme_of("./s3://x"), scheme_of("C://x"), scheme_of("a:b")
    ('s3', '', '', '')
    """
    found = _SCHEME.match(name)
    return found[1] if found and (found[2] == "://" or "://" in name) else ""


def check_protocol(name: str) -> Protocol:
    """Return the protocol of a URL. Raises FileError for one that is not supported.

    fsspec knows others, some of which read further URLs from files, or run programs.
    """
    scheme = scheme_of(name)
    known = ", ".join(f"{each}://" for each in _KNOWN)
    if name[len(scheme) : len(scheme) + 2] == "::":
        raise FileError(
            f"{scheme}:: chains URLs", "expected one URL", "name the object or the file itself"
        )
    row = PROTOCOLS.get(scheme.lower())
    if row is None:
        hint = did_you_mean(scheme.lower(), _KNOWN)
        here = printable(name if len(name) <= 100 else f"{name[:99]}…").rpartition("@")[2]
        way = f"write ./{here} for a file of that name" if here == name else ""
        raise FileError(
            f"{scheme}:// is no protocol that is known", f"expected {known}", hint or way
        )
    return row


def check_packages(row: Protocol, shown: str) -> None:
    """Raise FileError if a package that the protocol needs is not installed."""
    if missing := [name for name in row.packages if find_spec(name) is None]:
        raise FileError(
            f"{shown} is on {row.name}://",
            f"the {missing[-1]} package, which reads it, is not installed",
            f"pip install {' '.join(row.packages)}",
        )
