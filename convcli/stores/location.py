"""Tell names of files from URLs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from convcli.errors import FileError

if TYPE_CHECKING:
    from convcli.stores.paths import StorePath


def is_url(name: str) -> bool:
    """Return whether a name is a URL of a store; a file:// URL names a local file.

    >>> is_url("s3://bucket/x.png"), is_url("x.png"), is_url("file:///tmp/x.png")
    (True, False, False)
    """
    if "://" not in name:
        return False
    from convcli.stores.protocols import LOCAL, scheme_of

    return scheme_of(name).lower() not in ("", LOCAL)


def location(name: str | os.PathLike[str]) -> Path | StorePath:
    """Return the path of a file, or that of an object in a store, by a name or a URL.

    A name with `://` that is meant as a file begins with `./`. Raises FileError for a URL of a
    protocol that is not supported, with credentials for a store, or without a bucket.

    >>> location("a/x.png").name, location("file:///tmp/x%20y.png").name
    ('x.png', 'x y.png')
    >>> location("s3://bucket/a/x.png").name
    'x.png'
    """
    text = os.fspath(name)
    if "://" not in text:
        return Path(text)
    from convcli.stores.protocols import LOCAL, scheme_of

    scheme = scheme_of(text)
    if not scheme:
        return Path(text)
    if scheme.lower() == LOCAL and text[len(scheme) :].startswith("://"):
        return _local(text)
    from convcli.stores.paths import StorePath

    return StorePath.of(text)


def absolute(path: Path | StorePath) -> Path | StorePath:
    """Return a path without symbolic links and relative parts; that of an object has none."""
    return path.resolve() if isinstance(path, Path) else path


def _local(url: str) -> Path:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    parts = urlsplit(url, allow_fragments=False)
    if parts.netloc not in ("", "localhost"):
        raise FileError(
            f"file://{parts.netloc.rpartition('@')[2]}/... names another machine",
            "expected file:///... with three slashes",
            "write the path itself",
        )
    return Path(url2pathname(parts.path))


def shown(name: str) -> str:
    """Return a name for messages: that of a URL, also of an unknown one, without credentials.

    >>> shown("https://user:secret@host/x.png?signature=1"), shown("a:b@c?d")
    ('https://host/x.png', 'a:b@c?d')
    >>> shown("other://user:secret@host/x")
    'other://host/x'
    """
    if not is_url(name):
        return name
    try:
        return str(location(name))
    except FileError:
        scheme, _, rest = name.partition("://")
        return f"{scheme}://{rest.split('?', 1)[0].rpartition('@')[2]}"
