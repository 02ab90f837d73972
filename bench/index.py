"""An index at its full size: time to build and to open it, bytes, resident memory, search.

Rows are drawn from a falling spectrum, or from the covariance of the rows of a real collection
(--like FILE.npy). The truth for recall is the float top 10, found while the rows are made.
Opening and searching is measured in a process of its own, cold files first.

    python bench/index.py --rows 1e7 --dir /tmp --out bench/results/index.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import nestbit as nb
from _report import environment, write
from nestbit.kernels.floats import top_k

BLOCK = 100_000
QUERIES = 200
Floats = NDArray[np.float32]


def spectrum(like: Path | None, dim: int) -> Floats:
    """A matrix (dim, dim) that gives white noise the covariance of the rows to be."""
    if like is None:
        basis = np.linalg.qr(np.random.default_rng(dim).standard_normal((dim, dim)))[0]
        return (np.arange(1, dim + 1)[:, None] ** -0.4 * basis).astype(np.float32)
    x = np.load(like, mmap_mode="r")[:50_000].astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    return (np.sqrt(np.maximum(values, 0))[:, None] * vectors.T).astype(np.float32)


def blocks(n: int, shape: Floats) -> Iterator[tuple[int, Floats]]:
    for start in range(0, n, BLOCK):
        yield start, draw(min(BLOCK, n - start), start + 1, shape)


def draw(n: int, seed: int, shape: Floats) -> Floats:
    noise = np.random.default_rng(seed).standard_normal((n, len(shape)), dtype=np.float32)
    x = noise @ shape
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def build(path: Path, n: int, codec: str, shape: Floats, q: Floats) -> tuple[dict, NDArray]:
    """Build the index; returns its times, and the true best 10 of each query."""
    fitted = nb.fit(draw(50_000, 10**9, shape), codec)
    seconds = 0.0
    ids, scores = np.empty((len(q), 0), np.int64), np.empty((len(q), 0), np.float32)
    with nb.create(path, fitted) as index:
        for start, x in blocks(n, shape):
            began = time.perf_counter()
            index.add(range(start, start + len(x)), x)
            seconds += time.perf_counter() - began
            numbers = np.broadcast_to(np.arange(start, start + len(x)), (len(q), len(x)))
            ids, scores = top_k(
                np.concatenate([ids, numbers], 1), np.concatenate([scores, q @ x.T], 1), 10
            )
        began = time.perf_counter()
        index.compact()
        compact = time.perf_counter() - began
        stats = index.stats()
    made = {
        "add_seconds": round(seconds, 1),
        "compact_seconds": round(compact, 1),
        "level_bytes": stats.level_bytes,
        "catalog_bytes": stats.catalog_bytes,
    }
    return made, ids


def resident() -> int:
    """Megabytes of this process that are in memory."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(ln for ln in status.splitlines() if ln.startswith("VmRSS")).split()[1]) // 1024


def drop_caches(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def search(path: Path, pin: str, q: Floats, truth: NDArray) -> dict[str, object]:
    """Open and search, one query at a time and 64 together, at two sizes of candidates."""
    drop_caches(path)
    before = resident()
    began = time.perf_counter()
    index = nb.open(path, pin=pin)
    told: dict[str, object] = {"pin": pin, "open_ms": since(began), "resident_mb_before": before}
    began = time.perf_counter()
    index.search(q[:1])
    told["first_search_ms"] = since(began)
    plans = []
    for oversample in (5, 10, 30, 100):
        plan = nb.Plan.default(index.codec, oversample=oversample)
        times, found = [], []
        for i in range(len(q)):
            began = time.perf_counter()
            found.append(index.search(q[i : i + 1], plan=plan).ids[0])
            times.append(since(began))
        began = time.perf_counter()
        index.search(q[:64], plan=plan)
        together = since(began)
        pairs = zip(found, truth, strict=True)
        plans.append(
            {
                "oversample": oversample,
                "recall_at_10": round(float(np.mean([np.isin(a, b).mean() for a, b in pairs])), 4),
                "p50_ms": round(float(np.percentile(times, 50)), 2),
                "p99_ms": round(float(np.percentile(times, 99)), 2),
                "batch_64_ms_per_query": round(together / 64, 2),
            }
        )
    return told | {"plans": plans, "resident_mb": resident()}


def since(began: float) -> float:
    return round(1e3 * (time.perf_counter() - began), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--codec", default="nested(0.5) + int8")
    parser.add_argument("--like", type=Path, help="a .npy of real rows, for their covariance")
    parser.add_argument("--dir", type=Path, help="where the index is made")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--search", nargs=2, metavar=("INDEX", "PIN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        path = Path(options.search[0])
        with np.load(path.with_name("queries.npz")) as saved:
            told = search(path, options.search[1], saved["q"], saved["truth"])
        print(json.dumps(told))
        return
    n, shape = int(options.rows), spectrum(options.like, options.dim)
    q = draw(QUERIES, 2 * 10**9, shape)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        path = Path(folder, "bench.nest")
        made, truth = build(path, n, options.codec, shape, q)
        np.savez(Path(folder, "queries.npz"), q=q, truth=truth)
        searches = []
        for pin in ("none", "coarse"):
            command = [sys.executable, __file__, "--search", str(path), pin]
            searches.append(
                json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            )
    rows = {"rows": n, "dim": len(shape), "codec": options.codec}
    report = {**environment(), **rows, "build": made, "searches": searches}
    text = json.dumps(report, indent=2) + "\n"
    print(text)
    if options.out is not None:
        write(options.out, text)


if __name__ == "__main__":
    main()
