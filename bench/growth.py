"""Cost of a query against the number of rows: all rows read, partitions, a graph; in one chart.

The rows are the first n of those that bench/index_peers.py --work DIR made there. Indexes are
built and compacted into each layout; a process of its own, on one core, opens and searches them at
target recalls, one query at a time and 64 together. What was measured is kept in DIR.

    python bench/growth.py DIR --rows 1e5 3e5 1e6 --out bench/results/growth.json
    python bench/growth.py DIR --rows 1e5 3e5 1e6 --peers bench/results/index_peers_10m.json \
        --graph INDEX.nest
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nestbit as nb
from _report import environment, write
from nestbit.evaluate import exact_search, recall_at_k

SPEC = "nested(0.5) + int8"
GRAPH_SPEC = "nested(2, cell=4) + int8"
FIT_ROWS = 50_000
BLOCK = 100_000
K = 10
BATCH = 64
TARGETS = (0.95, 0.99)
LAYOUTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "all rows": lambda _: {"partitions": 0},
    "partitions": lambda n: {"partitions": round(4 * n**0.5)},
    "graph": lambda _: {"partitions": 0, "profile": "balanced"},
}


def grow(work: Path, n: int) -> list[dict[str, Any]]:
    """Build an index of the first n rows and measure it in every layout."""
    kept = work / f"growth-{n}.json"
    if kept.exists():
        told: list[dict[str, Any]] = json.loads(kept.read_text())
        return told
    rows = np.load(work / "rows.npy", mmap_mode="r")[:n]
    truth, path = work / f"truth-{n}.npy", work / f"growth-{n}.nest"
    if not truth.exists():
        np.save(truth, exact_search(rows, np.load(work / "queries.npy"), K).ids)
    told = []
    for spec, layouts in ((SPEC, ("all rows", "partitions")), (GRAPH_SPEC, ("graph",))):
        shutil.rmtree(path, ignore_errors=True)
        with nb.create(path, nb.fit(rows[:FIT_ROWS], spec), partition_rows=None) as index:
            began = time.process_time()
            for start in range(0, n, BLOCK):
                block = rows[start : start + BLOCK]
                index.add(range(start, start + len(block)), block)
            adding = time.process_time() - began
            for layout in layouts:
                began = time.process_time()
                index.compact(**LAYOUTS[layout](n))
                took = {"add_s": adding, "compact_s": time.process_time() - began}
                told += [took | case for case in measured(path, n, layout, truth, work)]
    shutil.rmtree(path)
    write(kept, json.dumps(told))
    return told


def measured(path: Path, n: int, layout: str, truth: Path, work: Path) -> list[dict[str, Any]]:
    """What a process of its own tells of the searches of an index."""
    command = [sys.executable, __file__, "--search", str(path), str(truth), str(work)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    cases = [{"rows": n, "layout": layout, **case} for case in json.loads(done.stdout)]
    for case in cases:
        print(case, file=sys.stderr)
    return cases


def of_peers(path: Path) -> list[dict[str, Any]]:
    """The searches for the same targets that bench/index_peers.py measured of its indexes."""
    report = json.loads(path.read_text())
    n = int(report["title"].split(" ")[0].replace(",", ""))
    return [
        {
            "rows": n,
            "layout": engine["engine"].removeprefix("nestbit, "),
            "target_recall": found["setting"]["target_recall"],
            "recall": found["recall"],
            "p50_ms": found["p50_ms"],
            "p99_ms": found["p99_ms"],
            "batch_ms": 1e3 / found["queries_per_second"],
        }
        for engine in report["engines"]
        if engine["engine"].startswith("nestbit, ")
        for found in engine["settings"]
        if found["setting"].get("target_recall") in TARGETS
    ]


def search(path: Path, truth: Path, work: Path) -> list[dict[str, Any]]:
    """Search an index at each target, on one core."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    q, best = np.load(work / "queries.npy"), np.load(truth)
    index, told = nb.open(path), []
    for target in TARGETS:
        index.search(q[:BATCH], K, target_recall=target, threads=1)
        times, found = [], []
        for i in range(len(q)):
            began = time.perf_counter()
            found.append(index.search(q[i : i + 1], K, target_recall=target, threads=1).ids)
            times.append(1e3 * (time.perf_counter() - began))
        began = time.perf_counter()
        index.search(q[:BATCH], K, target_recall=target, threads=1)
        together = 1e3 * (time.perf_counter() - began) / BATCH
        reports = index.search(q[:BATCH], K, target_recall=target, threads=1, explain=True).stages
        told.append(
            {
                "target_recall": target,
                "recall": float(recall_at_k(np.concatenate(found), best)),
                "p50_ms": float(np.percentile(times, 50)),
                "p99_ms": float(np.percentile(times, 99)),
                "batch_ms": together,
                "rows_read": reports[0].rows_read / BATCH if reports else None,
            }
        )
    return told


def draw(cases: list[dict[str, Any]], path: Path) -> None:
    """The chart: milliseconds of one query, and of one of a batch, against rows."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharex=True, sharey=True)
    kinds = {"p50_ms": "one query at a time, p50", "batch_ms": f"one of {BATCH} together"}
    for axis, (kind, title) in zip(axes, kinds.items(), strict=True):
        for target, line in zip(TARGETS, ("-", "--"), strict=True):
            for colour, layout in enumerate(dict.fromkeys(c["layout"] for c in cases)):
                some = [c for c in cases if c["layout"] == layout and c["target_recall"] == target]
                axis.loglog(
                    [c["rows"] for c in some], [c[kind] for c in some], f"{line}o",
                    color=f"C{colour}", markersize=4, label=f"{layout}, target {target:g}",
                )  # fmt: skip
        axis.set_title(title)
        axis.set_xlabel("rows")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("milliseconds, one core")
    axes[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path, nargs="?")
    parser.add_argument("--rows", type=float, nargs="+", default=[1e5, 3e5, 1e6])
    parser.add_argument("--peers", type=Path, metavar="index_peers.json", help="larger indexes")
    parser.add_argument("--graph", type=Path, metavar="INDEX", help="of all rows, with a graph")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--search", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        print(json.dumps(search(*options.search)))
        return
    if options.work is None:
        parser.error("DIR is missing")
    cases = [case for n in options.rows for case in grow(options.work, int(n))]
    if options.peers is not None:
        cases += of_peers(options.peers)
    if options.graph is not None:
        with nb.open(options.graph) as index:
            n = len(index)
        truth = options.work / "truth.npy"
        cases += measured(options.graph, n, "graph", truth, options.work)
    if options.out is not None:
        write(options.out, json.dumps({**environment(), "cases": cases}, indent=1) + "\n")
    if options.figure is not None:
        draw(cases, options.figure)


if __name__ == "__main__":
    main()
