"""Create hidden temporary files in their targets' folders, and rename one to its target."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from convcli.errors import FileError, OutputError
from convcli.system import keep_owner


def create_temporary(path: Path, owner: str = "") -> Path:
    """Create an empty hidden file in the folder of `path`, and return its path.

    owner: letters in its name by which `remove_temporaries` finds it. The file has the mode of the
    umask; if it will replace a file, only its owner may read it. Raises OSError.
    """
    name = f"{owner}-{os.urandom(4).hex()}" if owner else os.urandom(8).hex()
    temporary = path.with_name(f".convcli-{name}.tmp")
    mode = stat.S_IRUSR | stat.S_IWUSR if path.exists() else 0o666
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    return temporary


def remove_temporaries(folder: Path, owner: str) -> None:
    """Remove the temporary files of this owner from a folder, except those in use."""
    pattern = re.compile(rf"\.convcli-{re.escape(owner)}-[0-9a-f]{{8}}\.tmp")
    try:
        found = [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    except OSError:  # there is no such folder
        return
    for path in found:
        with suppress(OSError):  # a folder of that name, or a file of another user
            path.unlink()


def publish(temporary: Path, path: Path, name: str, *, overwrite: bool) -> tuple[str, ...]:
    """Rename a temporary file to `path`; it keeps owner and mode of a file that it replaces.

    name: of the target in messages. Returns warnings. Raises FileError for a file that exists
    unless it may be overwritten, OSError if a system call fails.
    """
    if not overwrite:
        # Unlike a rename, a hard link cannot replace a file that was created meanwhile.
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise exists_error(name) from None
        except (OSError, NotImplementedError):  # no hard links here: only check
            if path.exists():
                raise exists_error(name) from None
        else:
            temporary.unlink()
            return ()
    warnings: tuple[str, ...] = ()
    with suppress(FileNotFoundError):
        replaced = path.stat()
        _keep_access(temporary, replaced)
        if replaced.st_nlink > 1:
            others = "name keeps" if replaced.st_nlink == 2 else "names keep"
            count = replaced.st_nlink - 1
            warnings = (f"{name} was a hard link; its {count} other {others} the old content",)
    temporary.replace(path)
    return warnings


def _keep_access(temporary: Path, replaced: os.stat_result) -> None:
    """Copy owner, group and mode of a replaced file, as far as this user is allowed to.

    If the group cannot be kept, the new group gets no more permissions than others have.
    """
    mode = stat.S_IMODE(replaced.st_mode) & 0o777
    if not keep_owner(temporary, replaced):
        mode = mode & ~0o070 | (mode & 0o007) << 3
    temporary.chmod(mode)


def exists_error(name: str) -> FileError:
    return FileError(f"{name} exists", "expected a new file", "pass --overwrite")


def check_replaceable(path: Path, name: str) -> None:
    """Raise OutputError for a file that this user may not write to."""
    if not os.access(path, os.W_OK):
        given = f"{name} cannot be replaced"
        raise OutputError(
            given, "it is read-only", f"make it writable (chmod u+w {name}), or name another file"
        )
