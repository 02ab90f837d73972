"""What the benchmarks of kernels share: a comparison in turns, and where it was made."""

from __future__ import annotations

import importlib.metadata
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from _report import environment, write
from nestbit import kernels

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One comparison; ``ours`` and ``peer`` answer the same queries over the same rows."""

    scan: str
    peer_name: str
    rows: int
    queries: int
    ours: Call
    peer: Call
    reads: bool = False  # the peer is a plain read: the ratio is ours / peer


@dataclass(frozen=True)
class Result:
    scan: str
    peer: str
    rows: int
    queries: int
    threads: int
    ours_ms: float
    peer_ms: float
    ratio: float
    reads: bool


def measure(case: Case, repeats: int, threads: int) -> Result:
    """Time both in turns and compare the medians; above 1 nestbit is faster, but for reads."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for call, into in zip((case.ours, case.peer), times, strict=True):
            start = time.perf_counter()
            call()
            if repeat:  # the first round warms up
                into.append(time.perf_counter() - start)
    ours, peer = (1e3 * statistics.median(part) for part in times)
    ratio = ours / peer if case.reads else peer / ours
    return Result(
        case.scan,
        case.peer_name,
        case.rows,
        case.queries,
        threads,
        ours,
        peer,
        ratio,
        case.reads,
    )


def write_report(path: Path, packages: Sequence[str], results: Sequence[Result]) -> None:
    report = {
        **environment(),
        "isa": kernels.isa(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "results": [asdict(result) for result in results],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(report, indent=2) + "\n")
