"""Run the command line in this process."""

from __future__ import annotations

import json
import os
import re
import shlex
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from convcli.cli import main

ROOT = Path(__file__).parent.parent
STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run(*words: str, code: int | None = 0, stdin: bytes | None = None) -> Result:
    """Return the output of ``convcli WORDS``; fail if its exit code is not the expected one.

    code: None for any.
    """
    result = CliRunner().invoke(main, list(words), input=stdin)
    assert code in (None, result.exit_code), result.stderr
    return result


def record(line: str) -> dict[str, Any]:
    """Return the object that a command prints with `--json`."""
    found: dict[str, Any] = json.loads(run(*shlex.split(line), "--json").stdout)
    return found


def on_terminal(
    *words: str,
    columns: int = 80,
    code: int | None = 0,
    typed: str = "",
    command: list[str] | None = None,
    **environment: str,
) -> list[str]:
    """Return the lines and styles that ``convcli WORDS`` writes to a terminal of this width.

    typed: what is typed there, which the terminal echoes. command: run this instead.
    """
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "COLUMNS", "LINES")
    }
    given = {**kept, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **environment}
    command = command or [sys.executable, "-m", "convcli", *words]
    read = b""
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=given
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        while part := _read(ours):
            read += part
    os.close(ours)
    assert code in (None, process.returncode), read.decode()
    return read.decode().replace("\r\n", "\n").splitlines()


def plain(lines: list[str]) -> list[str]:
    """Return the lines without their styles."""
    return [STYLES.sub("", line) for line in lines]


def _read(terminal: int) -> bytes:
    """Read from a pseudo-terminal; Linux raises OSError at its end."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
