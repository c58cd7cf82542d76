"""Limits of one run: bytes of memory, pixels of a picture, and threads.

Whatever exceeds a limit is refused before any memory is allocated. Standard library only.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from convcli.errors import InputError, LimitError
from convcli.system import core_count, physical_memory

PIXELS = 2**28
"""Default limit of a picture's pixels: 16384 x 16384."""

SHARE = 2
"""The default memory limit is the machine's memory divided by this."""

UNKNOWN = 4 * 2**30
"""Assumed bytes of memory if the system does not report them: 4 GiB."""

SMALLER = "use a smaller input, or raise --max-memory"
MOST_EXPANDED = 4000
"""By default, the most bytes that decoding takes for each byte of a file, above UNSUSPECTED.

A picture of one colour as PNG takes a thousand; 34 bytes of WebP may be 16383 x 16383 pixels.
"""

UNSUSPECTED = 2 * 2**30
"""Bytes that decoding may take whatever the size of the file: 2 GiB."""

LESS_WORK = "use a smaller input, less padding or a larger --stride, or raise --max-memory"

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Limits:
    """The limits of one run.

    memory: bytes of everything that is in memory at once. pixels: width times height of a picture.
    is_default: whether nobody chose the limit of memory, so that small files must not fill it.
    """

    memory: int
    pixels: int = PIXELS
    is_default: bool = False

    @classmethod
    def of(cls, memory: int | None = None, pixels: int | None = None) -> Limits:
        """Return the given limits.

        By default, half of the machine's memory and 16384 x 16384 pixels.
        """
        most = machine_memory() // SHARE if memory is None else memory
        return cls(most, PIXELS if pixels is None else pixels, is_default=memory is None)

    def check_memory(self, what: str, needed: int, remedy: str = SMALLER) -> None:
        """Raise LimitError if `what` needs more bytes than the limit.

        >>> Limits(memory=2**30).check_memory("photo.png", 3 * 2**30)
        Traceback (most recent call last):
        convcli.errors.LimitError: photo.png takes 3.00 GiB of memory; the limit is 1.00 GiB; \
use a smaller input, or raise --max-memory
        """
        if needed > self.memory:
            raise LimitError(
                f"{what} takes {show_bytes(needed)} of memory",
                f"the limit is {show_bytes(self.memory)}",
                remedy,
            )

    def check_decoding(self, what: str, needed: int, size: Callable[[int], int]) -> None:
        """Raise LimitError if decoding a file needs more bytes than the limit, or than expected.

        size: returns the bytes of the file, up to a number.

        >>> Limits(2**34, is_default=True).check_decoding("a.webp", 2**32, lambda most: 34)
        Traceback (most recent call last):
        convcli.errors.LimitError: a.webp of 34 bytes takes 4.00 GiB of memory; expected at most \
4,000 times its size above 2.00 GiB; set --max-memory to read it
        """
        self.check_memory(what, needed)
        if self.is_default and needed > UNSUSPECTED:
            least = (needed - UNSUSPECTED) // MOST_EXPANDED
            if (held := size(least)) < least:
                raise LimitError(
                    f"{what} of {show_bytes(held)} takes {show_bytes(needed)} of memory",
                    f"expected at most {MOST_EXPANDED:,} times its size above "
                    f"{show_bytes(UNSUSPECTED)}",
                    "set --max-memory to read it",
                )

    def check_pixels(self, what: str, width: int, height: int) -> None:
        """Raise LimitError if a picture has more pixels than the limit."""
        if width * height > self.pixels:
            raise LimitError(
                f"{what} has {width * height:,} pixels ({height}x{width})",
                f"the limit is {self.pixels:,} pixels",
                "crop it or scale it down first, or raise --max-pixels",
            )


def parse_size(text: str) -> int:
    """Read a number of bytes with an optional unit, a power of 1024.

    >>> parse_size("500M"), parse_size("2G"), parse_size("1.5GiB"), parse_size("4096")
    (524288000, 2147483648, 1610612736, 4096)
    """
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if size < 1:
        expected = "expected a number of bytes above 0"
        raise InputError(f"size {text[:40]!r}", expected, "write it as 500M or 2G")
    return size


def show_bytes(count: int, *, short: bool = False) -> str:
    """Format a number of bytes: with two decimals, or three digits if `short`.

    >>> show_bytes(900), show_bytes(3 * 2**29), show_bytes(10**15)
    ('900 bytes', '1.50 GiB', '909.49 TiB')
    >>> show_bytes(900, short=True), show_bytes(802816, short=True), show_bytes(2**34, short=True)
    ('900 B', '784 KiB', '16.0 GiB')
    """
    units = [unit for unit, size in _UNITS.items() if unit and count >= size]
    if not units:
        return f"{count} B" if short else f"{count} bytes"
    value = count / _UNITS[units[-1]]
    decimals = max(3 - len(str(int(value))), 0) if short else 2
    return f"{value:,.{decimals}f} {units[-1]}iB"


@cache
def machine_memory() -> int:
    """Return the bytes of memory of the machine, or of the control group if that is less."""
    return min((physical_memory() or UNKNOWN, *group_limits(Path("/"))))


def group_limits(root: Path) -> Iterator[int]:
    """Yield the memory limits of this process's control group and of its parents.

    root: the folder where `proc` and `sys` are mounted.

    Source: the Linux kernel's admin-guide, "Control Group v2" (memory.max) and "Memory Resource
    Controller" (version 1).
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    groups = (line.split(":", 2) for line in lines)
    for _, controllers, group in (parts for parts in groups if len(parts) == 3):
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        own = top / group.lstrip("/")
        yield from (limit for folder in (own, *own.parents) if (limit := _number_in(folder / name)))


def _number_in(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isascii() and text.isdigit() else None


_count: int | None = None


def threads() -> int:
    """Return the number of threads that share the work.

    The count from `set_threads`, else from CONVCLI_THREADS, else one per core of this process.
    """
    return _share.count or chosen_threads() or core_count()


class _Share(threading.local):
    """The share of the threads of a thread that is in `shared_threads`."""

    count: int | None = None


_share = _Share()
_sharing = 0
_lock = threading.Lock()


@contextmanager
def shared_threads() -> Iterator[None]:
    """Divide the threads among the threads of this process that are in such a context.

    The share is set at the start: the first one may get all, and the following ones less.

    >>> with shared_threads():
    ...     own = threads()
    >>> own == threads()
    True
    """
    global _sharing
    with _lock:
        _sharing += 1
        count = max((chosen_threads() or core_count()) // _sharing, 1)
    before, _share.count = _share.count, count
    try:
        yield
    finally:
        _share.count = before
        with _lock:
            _sharing -= 1


def chosen_threads() -> int | None:
    """Return the count from `set_threads`, else from CONVCLI_THREADS, else None."""
    if _count is not None:
        return _count
    given = os.environ.get("CONVCLI_THREADS", "")
    return max(int(given), 1) if given.isascii() and given.isdigit() else None


def startable_threads(count: int) -> int:
    """Return how many of `count` threads the system can start now, at least 1.

    With 1, the caller does the work itself.

    >>> startable_threads(1)
    1
    """
    if count == 1:
        return 1
    over = threading.Event()
    started: list[threading.Thread] = []
    with suppress(RuntimeError):
        for _ in range(count):
            probe = threading.Thread(target=over.wait, daemon=True)
            probe.start()
            started.append(probe)
    over.set()
    for probe in started:
        probe.join()
    return max(len(started), 1)


def set_threads(count: int | None) -> None:
    """Set the number of threads; None restores the environment's."""
    global _count
    _count = None if count is None else max(count, 1)


SLACK = 2**23
"""Bytes (8 MiB) added to every estimate for small allocations: the threads' stacks, the blocks that
they convert and compress, and partly used pages of mapped files."""
