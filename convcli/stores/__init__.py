"""Objects in stores such as S3 and on web servers, named by URLs and read and written like files.

::

    protocols.py   the table of protocols: s3://, gs://, https://, ...; with the package of each
    location.py    location: a Path for a file, a StorePath for a URL
    paths.py       StorePath: open, write, list; the counterpart of pathlib.Path
    connect.py     fsspec's file system for a protocol, with time limits
    failures.py    what a store raises, as one error of convcli's

fsspec is imported when a URL is opened, never before. Credentials are found by the store's own
conventions. A URL may hold some itself: `StorePath` shows it without them, everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convcli.stores.location import absolute, is_url, location, shown

if TYPE_CHECKING:
    from convcli.stores.paths import Entry, StorePath

__all__ = [
    "Entry",
    "StorePath",
    "absolute",
    "is_url",
    "location",
    "shown",
]


def __getattr__(name: str) -> Any:
    """Import the classes on their first use: a command that is given files does without them."""
    if name not in ("Entry", "StorePath"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from convcli.stores import paths

    return getattr(paths, name)
