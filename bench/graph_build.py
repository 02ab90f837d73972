"""Time and memory that building a graph takes, step by step, for a growing number of rows.

The rows are the first n of a float32 .npy file, read as they are needed. Each graph is built in a
process of its own; its peak resident memory is given less what the process held before.

    python bench/graph_build.py ROWS.npy --rows 1e5 3e5 1e6 --out bench/results/graph_build.json
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from _report import environment, show, write
from nestbit._arrays import Floats
from nestbit.index.graph_build import GraphOptions, build_graph
from nestbit.kernels import default_threads


def build(path: Path, n: int, threads: int) -> dict[str, Any]:
    """Build the graph of the first n rows and tell what it took."""
    mapped = np.load(path, mmap_mode="r")
    dim, offset = mapped.shape[1], mapped.offset
    if mapped.dtype != np.float32 or not mapped.flags.c_contiguous:
        sys.exit(f"{path} holds {mapped.dtype}; float32 rows are wanted, one after the other")
    if n > len(mapped):
        sys.exit(f"{path} has {len(mapped)} rows, not {n}")
    del mapped  # its pages would count as resident
    steps: defaultdict[str, float] = defaultdict(float)
    before, began, worked = peak(), time.perf_counter(), time.process_time()
    last = worked

    def tell(step: str, _done: int, _total: int) -> None:
        nonlocal last
        now = time.process_time()
        steps[step] += now - last
        last = now

    with path.open("rb") as file:

        def rows(start: int, stop: int) -> Floats:
            file.seek(offset + 4 * dim * start)
            return np.fromfile(file, np.float32, (stop - start) * dim).reshape(-1, dim)

        build_graph(rows, n, dim, threads=threads, progress=tell)
    return {
        "rows": n,
        "dim": dim,
        "threads": threads,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "peak_mb": round(peak() - before),
        "bytes_a_row": round((peak() - before) * 1e6 / n),
        "cpu_seconds_by_step": {step: round(taken, 1) for step, taken in steps.items()},
    }


def peak() -> float:
    """Peak resident MB of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=float, nargs="+", required=True)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(build(options.path, int(options.rows[0]), options.threads)))
        return
    told = []
    for n in options.rows:
        command = [sys.executable, __file__, str(options.path), "--child", "--rows", str(n)]
        command += ["--threads", str(options.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        told.append(json.loads(done.stdout))
    table = [["rows", "seconds", "of a core", "peak MB", "bytes a row", "of a core, by step"]]
    for one in told:
        steps = ", ".join(f"{k} {v:g}" for k, v in one["cpu_seconds_by_step"].items())
        keys = ("rows", "seconds", "cpu_seconds", "peak_mb", "bytes_a_row")
        table.append([*(f"{one[key]:,}" for key in keys), steps])
    console = Console(width=160)
    show(console, f"Graphs of degree {GraphOptions().degree}, dim {told[0]['dim']}", table)
    if options.out:
        report = {"environment": environment(), "file": options.path.name, "builds": told}
        write(options.out, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
