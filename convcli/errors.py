"""The exceptions that convcli raises, and helpers for their messages.

::

    ConvError                     exit 1   the work failed
    ├── CheckError                exit 1   a check found a mismatch
    ├── OutputError               exit 1   a result could not be written
    ├── WorkerError               exit 1   a worker process died during its work
    ├── BatchError                exit 3   a batch finished, with some inputs failed
    ├── LimitError                exit 4   refused by a limit: memory, pixels
    └── InputError (ValueError)   exit 2   what was given cannot be used
        ├── ShapeError                     sizes that do not fit each other
        │   └── ChannelError               channel counts that differ
        ├── DtypeError                     a number type that is not supported here
        │   └── FormatError                an array that a format cannot hold, a ShapeError too
        ├── KernelError                    a kernel reference that is not valid
        └── FileError                      a file that is missing, unreadable or in the way

A message is one line in up to three parts: what was given; what was expected; what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathlib import Path


class ConvError(Exception):
    """The root of the tree; `exit_code` is what the command line ends with.

    >>> str(ShapeError("kernel 7x7 exceeds the padded input 5x5", remedy="use padding same"))
    'kernel 7x7 exceeds the padded input 5x5; use padding same'
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, given: str, expected: str = "", remedy: str = "") -> None:
        self.given, self.expected, self.remedy = given, expected, remedy
        super().__init__(one_line(given, expected, remedy))


class CheckError(ConvError):
    """A check (`--verify`, `gradcheck`) found a mismatch."""


class OutputError(ConvError):
    """A result could not be written."""


class WorkerError(ConvError):
    """A worker process died during its work."""


class BatchError(ConvError):
    """A batch finished, with some inputs failed."""

    exit_code = 3


class LimitError(ConvError):
    """Work refused before it starts, because it would exceed a limit."""

    exit_code = 4


class InputError(ConvError, ValueError):
    """What was given cannot be used as it is."""

    exit_code = 2


class ShapeError(InputError):
    """Sizes that do not fit each other."""


class ChannelError(ShapeError):
    """Channel counts that differ; the message names both."""


class DtypeError(InputError):
    """A number type that is not supported, or that cannot hold the result."""


class FormatError(ShapeError, DtypeError):
    """An array whose shape and number type a file format cannot hold together."""


class KernelError(InputError):
    """A kernel reference that is not valid, or taps that are not numbers."""


class FileError(InputError):
    """A file that is missing, unreadable, damaged, or in the way of the output."""


def one_line(*parts: str) -> str:
    """Join the parts of a message that are not empty.

    >>> one_line("kernel 7x7", "", "use padding same")
    'kernel 7x7; use padding same'
    """
    return "; ".join(part for part in parts if part)


def brief(error: BaseException) -> str:
    """Return the first line of another library's message, cut to 100 characters.

    >>> long = brief(ValueError("no magic: " + 999 * "x"))
    >>> long[:13], len(long), brief(KeyError())
    ('no magic: xxx', 100, 'KeyError')
    """
    words = " ".join((str(error).splitlines() or [""])[0].split())
    if words[:1] in ("'", '"') and words[:1] == words[-1:]:  # as KeyError quotes its key
        words = words[1:-1]
    words = words or type(error).__name__
    return words if len(words) <= 100 else f"{words[:99]}…"


def shortened(text: str) -> str:
    """Return a message without its middle if it has more than 4,000 characters.

    >>> long = shortened(f"{'x' * 9999} is no shape; write it as 28x28")
    >>> len(long), long[-31:]
    (4001, ' is no shape; write it as 28x28')
    """
    return text if len(text) <= 4000 else f"{text[:3000]}…{text[-1000:]}"


def reason(error: OSError | ValueError) -> str:
    """Return the system's reason why a path cannot be read or written.

    >>> missing = FileNotFoundError(2, "No such file or directory")
    >>> reason(missing), reason(ValueError("embedded null byte"))
    ('No such file or directory', 'embedded null byte')
    """
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def nearest(given: str, known: Iterable[str]) -> str:
    """Return the known name that the given one is probably a typing error of, or "".

    One error is allowed for every four letters: a letter that is missing, added, replaced, or
    swapped with the next one.

    >>> nearest(".pgn", [".npy", ".png"]), nearest("gausian", ["box", "gaussian"])
    ('.png', 'gaussian')
    >>> nearest(".jxl", [".jpx"])
    ''
    """
    import difflib

    for name in difflib.get_close_matches(given, list(known), n=3):
        if _slips(given, name) <= max(len(given.lstrip(".-")) // 4, 1):
            return name
    return ""


def _slips(one: str, other: str) -> int:
    """Return the optimal string alignment distance of two words."""
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != wanted)))
            if i > 1 and j > 1 and (letter, one[i - 2]) == (other[j - 2], wanted):
                row[-1] = min(row[-1], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return a suggestion of the nearest known name, or "" if none is near.

    >>> did_you_mean("sobl-x", ["sobel-x", "sobel-y", "box"])
    "did you mean 'sobel-x'?"
    >>> did_you_mean("qqq", ["sobel-x"]), did_you_mean(".avif", [".wav"])
    ('', '')
    """
    near = nearest(given, known)
    return f"did you mean '{near}'?" if near else ""


def is_there(path: Path, check: Callable[[Path], bool] | None = None) -> bool:
    """Return whether a path exists, or passes a check.

    False for a name that the file system does not allow.

    >>> from pathlib import Path
    >>> is_there(Path("x" * 999)), is_there(Path("."), Path.is_dir)
    (False, True)
    """
    try:
        return check(path) if check else path.exists()
    except (OSError, ValueError):  # too long, or with a zero byte in it
        return False


def nearest_file(path: Path) -> str:
    """Return a suggestion of the file in the same folder with the nearest name, or ""."""
    try:
        near = nearest(path.name, sorted(entry.name for entry in path.parent.iterdir()))
    except (OSError, ValueError):
        return ""
    return f"did you mean '{path.with_name(near)}'?" if near else ""


def printable(text: str) -> str:
    r"""Return text with its control characters escaped.

    Text from a file is not trusted: an escape sequence could move the cursor, or hide other text.

    >>> printable("größer than \x1b[2J")
    'größer than \\x1b[2J'
    """

    def shown(letter: str) -> str:
        return letter if letter.isprintable() else letter.encode("unicode_escape").decode()

    return "".join(map(shown, text))
