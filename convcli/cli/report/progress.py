"""A progress bar on stderr for computations of more than two seconds, and times as text."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from convcli.cli.report.terminal import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

DELAY = 2.0
"""Seconds after which a bar appears: shorter computations need none."""


class ProgressBar:
    """The progress of one computation: a context manager that is called with the finished share.

    The bar appears on a terminal only, after DELAY seconds, and disappears when the context ends.
    Its clock continues between reports, unless `steady`: then it is drawn only on a report and
    without its own thread, so that it does not disturb a measurement.
    """

    def __init__(self, what: str, *, shown: bool = True, steady: bool = False) -> None:
        self._what = what
        self._shown = shown and is_terminal(sys.stderr)
        self._steady = steady
        self._share = 0.0
        self._began = time.perf_counter()
        self._lock = threading.Lock()
        self._over = False
        self._bar: Bar | None = None
        self._task: Any = None
        self._timer: threading.Timer | None = None

    @property
    def seconds(self) -> float:
        """The time since the computation began."""
        return time.perf_counter() - self._began

    def __enter__(self) -> ProgressBar:
        if self._shown and not self._steady:
            self._timer = threading.Timer(DELAY, self._open)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._over = True
            if self._bar is not None:
                self._bar.stop()

    def __call__(self, share: float) -> None:
        self._share = share
        if self._shown and self._steady and self._bar is None and self.seconds > DELAY:
            self._open()
        if self._bar is not None:
            self._bar.update(self._task, completed=share, refresh=self._steady)

    def _open(self) -> None:
        """Show the bar, unless the computation is over."""
        bar = _make_bar(auto_refresh=not self._steady)
        with self._lock:
            if self._over:
                return
            self._task = bar.add_task(self._what, total=1.0)
            bar.update(self._task, completed=self._share)
            bar.tasks[0].start_time = bar.get_time() - self.seconds
            bar.start()
            self._bar = bar


def _make_bar(*, auto_refresh: bool) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=auto_refresh,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def elapsed(seconds: float) -> str:
    """Format a time for a report.

    >>> elapsed(0.0123), elapsed(7.25), elapsed(312.4)
    ('0.01 s', '7.25 s', '5 min 12 s')
    """
    if seconds < 99.5:
        return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
