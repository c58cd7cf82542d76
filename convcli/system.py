"""Calls that only some operating systems have, each with a substitute for the others.

Standard library only. A call is looked up each time that it is made, so that a test can remove it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePath
from typing import Any, BinaryIO

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""Signals that request a program's exit: `kill`, a closed terminal, Windows' Ctrl-Break."""

_SIGNALLED = 128
"""Added to a signal's number, the exit code of a program that the signal ended (as in bash)."""

_PR_SET_PDEATHSIG = 1

_RESERVED = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{device}{number}" for device in ("COM", "LPT") for number in "123456789¹²³"}
)
"""Names of Windows' devices, with any suffix.

Source: Microsoft, "Naming Files, Paths, and Namespaces".
"""

_FORBIDDEN = frozenset('<>:"|?*\\/')
"""Characters that Windows does not allow in a name. Same source."""


def exit_code(number: int) -> int:
    """Return the exit code of a program that ends because of a signal.

    >>> exit_code(signal.SIGTERM)
    143
    """
    return _SIGNALLED + number


def signal_name(number: int) -> str:
    """Return the name of a signal, or its number if Python has no name for it.

    >>> signal_name(9), signal_name(99)
    ('SIGKILL', 'signal 99')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def core_count() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_kept = threading.Lock()
"""Held while a thread is kept on its core: only one is, because two could be on the same core."""


@contextmanager
def on_own_core(others: Iterable[int]) -> Iterator[None]:
    """Keep the calling thread on its core, and other threads off it, if the system allows it.

    Linux often wakes a thread on the core of the thread that wakes it, and leaves both there for
    10 ms and more while another core is idle. others: their native ids; they stay off afterwards.
    """
    if not _kept.acquire(blocking=False):
        yield
        return
    cores: set[int] = set()
    try:
        with suppress(AttributeError, OSError, ValueError):
            cores, own = os.sched_getaffinity(0), {_libc().sched_getcpu()}
            for thread in others if cores > own else ():
                os.sched_setaffinity(thread, cores - own)
            os.sched_setaffinity(0, own)
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        _kept.release()


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def return_freed_memory() -> None:
    """Return memory that was freed to the system, if its C library offers that."""
    with suppress(AttributeError, OSError, TypeError):
        _libc().malloc_trim(0)


def physical_memory() -> int | None:
    """Return the machine's bytes of memory, or None if the system does not report them."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # no sysconf, or none of these names
        return None


def own_session() -> dict[str, Any]:
    """Return options of `subprocess.Popen` for a process that Ctrl-C does not interrupt."""
    import subprocess

    if hasattr(subprocess, "CREATE_NEW_PROCESS_GROUP"):
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def current_umask() -> int:
    """Return the umask of this process: there is no call that only reads it.

    >>> current_umask() == current_umask()
    True
    """
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def end_with_parent(parent: int) -> None:
    """Request that Linux kills this process when its parent exits.

    On other systems the only sign is the closed pipe to the parent, which a call that holds the
    interpreter's lock does not notice.

    Source: Linux man-pages, PR_SET_PDEATHSIG(2const). Linux sends the signal when the thread that
    started the process ends.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it exited before the request
            os._exit(0)


def anonymous_memory(size: int) -> mmap.mmap:
    """Return fresh pages of memory, large ones if the system has them.

    Raises OSError if the system has no memory left.
    """
    if hasattr(mmap, "MAP_ANONYMOUS"):
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        memory = mmap.mmap(-1, size)
    _advise(memory, "MADV_HUGEPAGE")
    return memory


def drop_pages(memory: mmap.mmap) -> None:
    """Release the memory under a mapped file; its content stays in the file."""
    _advise(memory, "MADV_DONTNEED")


def _advise(memory: mmap.mmap, advice: str) -> None:
    """Advise the system on the use of pages, if it supports this advice."""
    number = getattr(mmap, advice, None)
    if number is not None and hasattr(memory, "madvise"):
        try:
            memory.madvise(number)
        except OSError:  # a kernel that is built without it
            return


def allocate(stream: BinaryIO, start: int, size: int) -> None:
    """Reserve disk space for `size` bytes of a file from `start` on.

    Without posix_fallocate, only extend the file. Raises OSError if the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), start, size)
    else:
        stream.truncate(start + size)


def renames_open_files() -> bool:
    """Return whether an open or mapped file can be renamed, replaced and removed.

    On Windows it cannot.
    """
    return os.name == "posix"


def keep_owner(path: Path, status: os.stat_result) -> bool:
    """Set a file's owner and group to those in `status`, as far as this user may.

    Returns whether the file now has the group.
    """
    own = path.stat()
    if (own.st_uid, own.st_gid) == (status.st_uid, status.st_gid) or not hasattr(os, "chown"):
        return True
    for owner in (status.st_uid, -1):
        try:
            os.chown(path, owner, status.st_gid)
        except OSError:
            continue
        return True
    return own.st_gid == status.st_gid


_FLOCK = {"linux": ("hhqqi4x", (0, 4)), "darwin": ("qqihh", (3, 2))}
"""Per system, the fields of `struct flock`, and which of them are the type and the process.

Source: fcntl(2) of Linux on 64 bits, and of macOS.
"""


def lock_holder(path: Path) -> int | None:
    """Return the id of another process that has a lock on a file, None if the system has no answer.

    Do not call it for a file that this process has locked: closing it would release the lock.
    """
    import struct

    try:
        import fcntl

        layout, (kind, process) = _FLOCK[sys.platform]
    except (ImportError, KeyError):
        return None
    fields = [0] * 5
    fields[kind] = fcntl.F_WRLCK
    try:
        with path.open("rb") as stream:
            asked = struct.pack(layout, *fields)
            found = struct.unpack(layout, fcntl.fcntl(stream, fcntl.F_GETLK, asked))
    except OSError:
        return None
    return found[process] if found[kind] != fcntl.F_UNLCK and found[process] > 0 else None


_MARKS_HIDDEN = sys.platform in ("win32", "darwin")
"""Whether a file's attributes may hide it."""


def is_hidden(entry: os.DirEntry[str]) -> bool:
    """Return whether file managers hide an entry.

    By its name, or by its attributes on Windows and macOS.
    """
    if entry.name.startswith("."):
        return True
    if not _MARKS_HIDDEN:
        return False
    try:
        status: Any = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    attributes = getattr(status, "st_file_attributes", 0)
    flags = getattr(status, "st_flags", 0)
    return bool(attributes & stat.FILE_ATTRIBUTE_HIDDEN or flags & stat.UF_HIDDEN)


def reserved_part(path: PurePath) -> str:
    """Return the first part of a relative path that this system does not allow as a name, or "".

    Windows opens the device for a device's name, and removes dots and blanks at the end.
    """
    if os.name != "nt":
        return ""
    return next((part for part in path.parts if _is_reserved(part)), "")


def _is_reserved(name: str) -> bool:
    """Return whether Windows does not allow a name.

    >>> [_is_reserved(name) for name in ("nul.tar.gz", "Com1", "a:b.png", "end.")]
    [True, True, True, True]
    >>> [_is_reserved(name) for name in ("console.png", "a b.png")]
    [False, False]
    """
    stem = name.split(".")[0].rstrip(" ").upper()
    return (
        stem in _RESERVED
        or name[-1:] in (".", " ")
        or bool(_FORBIDDEN & set(name))
        or min(name, default=" ") < " "
    )
