"""Run a command in a fresh process, and measure the growth of its resident memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HANG = 60
"""Seconds after which a command hangs; what is measured here takes less than one."""

WARMED = """
import contextlib, io, json, sys
from convcli.cli import main

def run(words):
    try:
        main(words)
    except SystemExit as ended:
        return ended.code

def resident(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))

warm, words = json.loads(sys.argv[1])
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    for call in warm:
        assert run(call) == 0, call
with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")  # else the peak of the warming counts too
before = resident("VmRSS")
code = run(words)
print(json.dumps([code, resident("VmHWM") - before]), file=sys.stderr)
"""


class Measured(NamedTuple):
    """The result of a command: exit code, streams, and the peak growth of its resident memory."""

    code: int
    stdout: str
    stderr: str
    growth: int


def measured(
    words: Sequence[object],
    folder: Path,
    *,
    warm: Sequence[Sequence[object]] = (),
    feed: str = "",
    threads: int = 1,
    memory: str = "",
) -> Measured:
    """Run `convcli WORDS` in a folder, after the calls of `warm`, which load what it needs anyway.

    feed: a command of the shell whose output is its standard input. Linux only.
    """
    calls = json.dumps([[list(map(str, call)) for call in warm], list(map(str, words))])
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": ":".join(sys.path),
        "CONVCLI_THREADS": str(threads),
    }
    environment |= {"CONVCLI_MAX_MEMORY": memory} if memory else {}
    feeder = (
        subprocess.Popen(["sh", "-c", feed], stdout=subprocess.PIPE, cwd=folder) if feed else None
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", WARMED, calls],
            cwd=folder,
            env=environment,
            stdin=feeder.stdout if feeder else subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=HANG,
        )
    finally:
        if feeder:
            feeder.stdout.close()
            feeder.kill()
            feeder.wait()
    *told, last = done.stderr.splitlines(keepends=True)
    code, growth = json.loads(last)
    return Measured(code, done.stdout, "".join(told), growth)
