"""The `convcli` command, and `python -m convcli`: start the command line, and answer an interrupt
at any moment.

What is imported here is little, so that an interrupt while the rest is imported ends as one later
does.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 130


def run() -> None:
    """Run the command line and exit with its code."""
    handler = signal.getsignal(signal.SIGINT)
    interruptible = (
        handler is signal.default_int_handler
    )  # a background job of a shell ignores interrupts
    if interruptible:
        signal.signal(signal.SIGINT, _stop)
    from convcli.cli import main

    try:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main(prog_name="convcli")
    except KeyboardInterrupt:
        _stop(signal.SIGINT, None)
    finally:
        if interruptible:
            signal.signal(
                signal.SIGINT, signal.SIG_DFL
            )  # nothing is left to be stopped but Python itself


def _stop(_: int, __: FrameType | None) -> NoReturn:
    """Exit at once: nothing has been begun, or everything is over."""
    with suppress(OSError):  # stderr may be closed
        os.write(2, b"Error: interrupted\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    run()
