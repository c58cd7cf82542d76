"""The report of a batch: progress on stderr, records or a table on stdout."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convcli.cli.report.terminal import coloured
from convcli.cli.report.text import columns
from convcli.errors import printable
from convcli.jobs.batch import Record
from convcli.jobs.executors import Workers
from convcli.jobs.warnings import remedy
from convcli.limits import show_bytes, startable_threads
from convcli.shapes.parse import counted

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from convcli.stores import StorePath

LISTED = 50
"""Maximum number of files that the summary lists."""

LINE_EVERY = 5.0
"""Seconds between lines of progress if stderr is no terminal."""


def record_line(record: Record) -> str:
    """Return where an input goes; one that is not written has its status and the reason instead."""
    if record.status in ("planned", "done"):
        return f"{printable(record.source)} -> {printable(record.target)}"
    reason = record.reason.removeprefix(f"{record.source} ")
    return f"{printable(record.source)} {record.status}: {reason}"


def record_json(record: Record) -> dict[str, Any]:
    return {
        "input": record.source,
        "output": record.target or None,
        "status": record.status,
        "reason": record.reason or None,
        "shape": list(record.shape) or None,
        "dtype": record.dtype or None,
        "bytes": record.bytes or None,
        "values": record.values or None,
        "clipped": record.clipped if record.status == "done" else None,
        "lost": list(record.dropped),
        "sha256": record.entry and record.entry.output,
    }


class Summary:
    """The counts of a batch or of its dry run, and the reason of each failure.

    folder: the folder of the outputs; None for --in-place.
    """

    def __init__(
        self, folder: Path | StorePath | None, passed_over: Counter[str], *, dry_run: bool
    ) -> None:
        self.folder = folder
        self.passed_over = passed_over
        self.dry_run = dry_run
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []
        self.warnings: dict[str, tuple[str, str]] = {}
        self._warned: Counter[str] = Counter()
        self.smaller = 0
        self.bytes = self.values = self.clipped = 0
        self.workers: Workers | None = None
        self._began = time.monotonic()

    def add(self, record: Record) -> None:
        self.counts[record.status] += 1
        self.dropped.update(record.dropped)
        self.smaller += record.smaller
        self.bytes += record.bytes
        self.values += record.values
        self.clipped += record.clipped
        if record.status == "failed":
            reason = record.reason.removeprefix(f"{record.source} ")  # the row begins with the name
            if len(self.failures) < LISTED:
                self.failures.append((printable(record.source), reason))
        for warning in record.warnings:
            self.warnings.setdefault(remedy(warning), (printable(record.source), warning))
            self._warned[remedy(warning)] += 1

    @property
    def total(self) -> int:
        return self.counts.total()

    def lines(self) -> list[str]:
        """Return the table of counts, with reasons, time, bytes and clipping."""
        made = "planned" if self.dry_run else "done"
        unchanged = ", done before and unchanged" if self.counts["skipped"] else ""
        place = "place" if self.folder is None else printable(str(self.folder))
        rows = [
            (made, f"{self.counts[made]:,}, in {place}"),
            ("skipped", f"{self.counts['skipped']:,}{unchanged}"),
            ("failed", f"{self.counts['failed']:,}"),
        ]
        rows += [] if self.dry_run else self._measures()
        rows += [
            ("not kept", f"{what}, in {counted(count, 'file')}")
            for what, count in sorted(self.dropped.items())
        ]
        rows += [
            ("passed over", f"{count:,} {reason}")
            for reason, count in sorted(self.passed_over.items())
        ]
        first = [("workers", self._workers)] if self._workers else []
        table = columns([*first, *rows], indent="")
        head, (done, skipped, failed, *others) = table[: len(first)], table[len(first) :]
        grouped = self._grouped()
        failures = _listed(self.failures, self.counts["failed"])
        failed = coloured(failed, good=False) if self.failures else failed
        counts = [done, *_listed(grouped, len(grouped)), skipped, failed, *failures]
        return [*head, *counts, *others]

    @property
    def _workers(self) -> str:
        return "" if self.workers is None else self.workers.words

    def _grouped(self) -> list[tuple[str, str]]:
        """Return one file with its warning per remedy, and the number of others."""
        rows = []
        for kind, (source, warning) in self.warnings.items():
            others = self._warned[kind] - 1
            more = f" (and {others:,} more like it)" if others else ""
            rows.append((source, warning + more))
        return rows

    def _measures(self) -> list[tuple[str, str]]:
        """Describe the time, the rate, the written bytes, and the share of clipped values."""
        done = self.counts["done"]
        rows = [
            (
                "time",
                f"{self.seconds:.3g} s" + f", {done / self.seconds:.3g} per second" * bool(done),
            )
        ]
        if done:
            rows.append(("wrote", show_bytes(self.bytes)))
        if self.clipped:
            rows.append(("clipped", f"{self.clipped / self.values:.2%} of {self.values:,} values"))
        return rows

    @property
    def seconds(self) -> float:
        """Seconds since the batch began."""
        return max(time.monotonic() - self._began, 1e-9)

    def stopped(self, total: int) -> str:
        """Describe how far a stopped batch came, and how to continue it; total: of its inputs."""
        done = self.counts["done"] + self.counts["skipped"]
        return (
            f"stopped: {done:,} of {total:,} done; to continue, run the same command with --resume"
        )

    @property
    def hint(self) -> str:
        """A hint if pictures became smaller, else ""."""
        if not self.smaller:
            return ""
        became = "1 picture became" if self.smaller == 1 else f"{self.smaller:,} pictures became"
        return f"{became} smaller; --padding same keeps the size"

    def json(self) -> dict[str, Any]:
        counts = {
            status: self.counts[status] for status in ("planned", "done", "skipped", "failed")
        }
        return {
            "folder": None if self.folder is None else str(self.folder),
            "workers": self._workers or None,
            "inputs": self.total,
            **counts,
            "seconds": self.seconds,
            "bytes": self.bytes,
            "values": self.values,
            "clipped": self.clipped,
            "passed_over": dict(self.passed_over),
        }


def _listed(rows: list[tuple[str, str]], count: int) -> list[str]:
    """List files with their texts: at most LISTED, then the number of others of `count`."""
    if not rows:
        return []
    more = [f"  and {count - LISTED:,} more; --json lists all"] if count > LISTED else []
    return columns(rows[:LISTED]) + more


class Progress:
    """Progress on stderr: a bar on a terminal, else a line every few seconds.

    If no thread can be started, no progress is shown.
    """

    def __init__(self, total: int, *, shown: bool) -> None:
        self._total = total
        self._shown = shown and sys.stderr is not None and startable_threads(2) == 2
        self._finished = self._failed = 0
        self._began = time.monotonic()
        self._stack = ExitStack()
        self.workers: Workers | None = None
        self._bar: Bar | None = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self._shown and sys.stderr.isatty():
            self._bar = self._stack.enter_context(_bar())
            self._task = self._bar.add_task("", total=self._total, status="")
        elif self._shown:
            over = threading.Event()
            ticker = threading.Thread(target=self._tick, args=(over,), daemon=True)
            ticker.start()
            self._stack.callback(ticker.join)
            self._stack.callback(over.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def advance(self, record: Record) -> None:
        self._finished += 1
        self._failed += record.status == "failed"
        if self._bar is not None:
            self._bar.update(self._task, completed=self._finished, status=self._status())

    def _status(self) -> str:
        """Describe the rate, the failures and the time left."""
        rate = self._finished / max(time.monotonic() - self._began, 1e-9)
        status = f"{rate:.3g} per second" + f", {self._failed:,} failed" * bool(self._failed)
        if self.workers is not None and self.workers.words:
            status += f", {counted(self.workers.count, 'worker')}"
        left = (self._total - self._finished) / rate if rate else 0
        return f"{status}, {_span(left)} left"

    def _tick(self, over: threading.Event) -> None:
        while not over.wait(LINE_EVERY):
            print(
                f"{self._finished:,} of {self._total:,}, {self._status()}",
                file=sys.stderr,
                flush=True,
            )


def _span(seconds: float) -> str:
    """Format seconds as a clock shows them.

    >>> _span(7.2), _span(3700)
    ('0:07', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    return Bar(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
