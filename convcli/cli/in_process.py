"""Run another command of convcli in this process: on the screen, or into a string."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any


def run_command(line: str) -> None:
    """Run a command, given without the word `convcli`; its errors are raised, not printed."""
    from convcli.cli import main

    with main.make_context("convcli", shlex.split(line)) as context:
        main.invoke(context)


def output_of(line: str) -> str:
    """Return what a command prints on stdout, as it does into a pipe."""
    return captured(lambda: run_command(line))


def record_of(line: str) -> dict[str, Any]:
    """Return the object that a command prints with `--json`."""
    record: dict[str, Any] = json.loads(output_of(f"{line} --json"))
    return record


def captured(call: Callable[[], object]) -> str:
    """Return what a call prints on stdout; what it prints on stderr is discarded."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        call()
    out.flush()
    content = out.buffer
    assert isinstance(content, io.BytesIO)
    return content.getvalue().decode()
