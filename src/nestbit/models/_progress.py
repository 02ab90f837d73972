"""Progress of a long embedding run: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_SECONDS_BETWEEN_LINES = 30.0


class Report(Protocol):
    """Called with the number of texts done so far."""

    def __call__(self, done: int) -> None:
        """Show ``done`` texts."""


@contextmanager
def progress_report(
    shown: bool | None, *, total: int | None, label: str, started_at: int = 0
) -> Iterator[Report]:
    """Yield a `Report` on standard error; ``shown`` False is silent.

    ``shown`` None draws a bar if standard error is a terminal and Rich is installed, and writes a
    line every 30 seconds otherwise; True writes a line per report where no bar can be drawn.
    """
    if shown is False:
        yield lambda done: None
        return
    if sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        with _bar(total, label, started_at) as report:
            yield report
        return
    yield _Lines(total, label, started_at, every=0.0 if shown else _SECONDS_BETWEEN_LINES)


@contextmanager
def _bar(total: int | None, label: str, started_at: int) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total, completed=started_at)
        yield lambda done: progress.update(task, completed=done)


class _Lines:
    def __init__(self, total: int | None, label: str, started_at: int, every: float) -> None:
        self._total, self._label, self._every = total, label, every
        self._first = started_at
        self._start = self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        rate = (done - self._first) / max(now - self._start, 1e-9)
        of = "" if self._total is None else f" of {self._total:,}"
        print(f"{self._label}: {done:,}{of} texts, {rate:,.0f} a second", file=sys.stderr)
