"""Translate what a store's packages raise into one error that says what to do.

The packages are recognised by the names of their exceptions, so that none has to be imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from convcli.errors import ConvError, FileError, OutputError, brief
from convcli.stores.protocols import Protocol

SECONDS = 8
"""Time to connect to a store, in all attempts together; measured from outside it is below 10 s."""

_ANONYMOUS = "or FSSPEC_S3_ANON=true for a public bucket"
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "RefreshError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
}
_UNREACHABLE = {
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ConnectionClosedError",
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "ConnectionTimeoutError",
    "SocketTimeoutError",
    "ServerTimeoutError",
    "ServerDisconnectedError",
    "FSTimeoutError",
    "TimeoutError",
    "gaierror",
    "ConnectionRefusedError",
    "ConnectionResetError",
}
_DENIED = {401, 403}
_GONE = {404, 410}


@contextmanager
def translated_errors(
    row: Protocol, shown: str, *, secrets: tuple[str, ...] = (), writing: bool = False
) -> Iterator[None]:
    """Translate a store's errors in the block; shown: the object's name in messages.

    Raises FileError, or OutputError when writing; FileExistsError, FileNotFoundError for a new
    object and errors of convcli's own pass unchanged. secrets: texts that no message repeats.
    """
    try:
        yield
    except (ConvError, FileExistsError, MemoryError):
        raise
    except Exception as error:  # each store raises its own
        if writing and _is_taken(error):
            raise FileExistsError(shown) from None
        kind = OutputError if writing else FileError
        verb = "written" if writing else "read"
        # Without the cause: its message may repeat a URL with credentials.
        raise kind(*_explained(error, row, shown, secrets, verb)) from None


def _explained(
    error: Exception, row: Protocol, shown: str, secrets: tuple[str, ...], verb: str
) -> tuple[str, str, str]:
    """Return the three parts of the message."""
    chain = list(_causes(error))
    names = {cause.__name__ for each in chain for cause in type(each).__mro__}
    given = f"{shown} cannot be {verb}"
    if names & _NO_CREDENTIALS:
        public = _ANONYMOUS if row.name == "s3" else ""
        return (
            given,
            "no credentials were found",
            ", ".join(filter(None, (row.credentials, public))),
        )
    if names & _UNREACHABLE:
        set_by = f", and {row.endpoint}" if row.endpoint else ""
        server = f"the server of {row.name}://" if row.listable else _host(shown)
        return given, f"{server} does not answer", f"check the network{set_by}"
    statuses = {status for each in chain if (status := _status(each))}
    if statuses & _DENIED or "PermissionError" in names:
        return given, f"access was denied ({_words(error, secrets)})", row.credentials
    if "ParamValidationError" in names:
        return given, f"{_host(shown)!r} is not the name of a bucket", "check its name"
    if is_no_bucket(error):
        return f"{shown} does not exist", f"there is no bucket {_host(shown)}", "check its name"
    if statuses & _GONE or ("FileNotFoundError" in names and not statuses):
        return f"{shown} does not exist", "expected an existing object", "check its name"
    if "IsADirectoryError" in names:
        return f"{shown} is a folder", "expected an object", "name an object in it"
    return given, _words(error, secrets), ""


def is_no_bucket(error: BaseException) -> bool:
    """Return whether a store reports that there is no such bucket."""
    text = " ".join(map(str, _causes(error)))
    return "NoSuchBucket" in text or "bucket does not exist" in text


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _status(error: BaseException) -> int:
    """Return the HTTP status of an error; 0 if it has none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    else:
        found = getattr(error, "status", 0) or getattr(error, "code", 0)
    return found if isinstance(found, int) else 0


def _is_taken(error: Exception) -> bool:
    """Return whether an object was not written because there is one, or one is being written."""
    return any(
        _status(each) in (409, 412) or "pre-condition" in str(each).lower()
        for each in _causes(error)
    )


def _host(shown: str) -> str:
    return shown.split("://", 1)[-1].split("/", 1)[0] or shown


def _words(error: BaseException, secrets: tuple[str, ...]) -> str:
    """Return an error's words without the secrets, and without the queries of URLs."""
    parts = re.split(r"([\s'\"])", brief(error))
    words = "".join(part.partition("?")[0] if "://" in part else part for part in parts)
    for secret in filter(None, secrets):
        words = words.replace(secret, "…")
    return words
