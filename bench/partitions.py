"""What partitions save: recall of the float top 10 against rows read and time per query.

Rows are those of a .npy file, of which 500 are held out as queries, or are drawn from the
covariance of them (--rows). Opening more and more partitions stands beside the scan of all rows,
with the same candidates rescored, and target recalls beside the same targets without partitions.
One thread, one query at a time, the ways interleaved.

    python bench/partitions.py FILE.npy --out bench/results/partitions.json
    python bench/partitions.py FILE.npy --rows 1e6
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nestbit as nb
from _report import environment, write
from index import blocks, draw, spectrum
from nestbit.kernels.floats import top_k

QUERIES = 500
TIMED = 100
K = 10
OVERSAMPLE = 30
PROBES = (1, 4, 16, 64, 256, 1024)
TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99)
Floats = NDArray[np.float32]


def real(path: Path) -> tuple[Floats, Iterator[tuple[int, Floats]]]:
    """Held-out rows as queries, and the others in blocks."""
    x = np.load(path).astype(np.float32)
    x = x[np.random.default_rng(0).permutation(len(x))]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x[:QUERIES], ((start, x[QUERIES:][start : start + 50_000])
                         for start in range(0, len(x) - QUERIES, 50_000))  # fmt: skip


def build(path: Path, codec: str, partitions: int | None, q: Floats,
          sample: Floats, rows: Iterator[tuple[int, Floats]]) -> tuple[dict, NDArray]:  # fmt: skip
    """Build a partitioned index; returns times, and the true best 10 of each query."""
    ids, scores = np.empty((len(q), 0), np.int64), np.empty((len(q), 0), np.float32)
    with nb.create(path, nb.fit(sample, codec), partition_rows=None) as index:
        for start, x in rows:
            index.add(range(start, start + len(x)), x)
            numbers = np.broadcast_to(np.arange(start, start + len(x)), (len(q), len(x)))
            ids, scores = top_k(
                np.concatenate([ids, numbers], 1), np.concatenate([scores, q @ x.T], 1), K
            )
        index.compact()
        began = time.perf_counter()
        index.compact(partitions=partitions or round(4 * len(index) ** 0.5))
        seconds = time.perf_counter() - began
        made = {
            "rows": len(index),
            "partitions": index.stats().partitions,
            "partition_seconds": round(seconds, 1),
        }
    return made, ids


def measure(index: nb.Index, q: Floats, truth: NDArray) -> list[dict[str, Any]]:
    """Recall, rows read and times of every way to search."""
    plan = nb.Plan.default(index.codec, oversample=OVERSAMPLE)
    exact = index.search(q, k=K, plan=nb.Plan((nb.Stage(len(index.codec.levels) - 1),))).ids
    ways: dict[str, dict[str, Any]] = {"all rows": {"plan": plan}}
    ways |= {f"n_probe {n}": {"plan": plan, "n_probe": n} for n in PROBES}
    for target in TARGETS:
        without = nb.Plan.default(index.codec, target_recall=target)
        ways[f"target {target}, all rows"] = {"plan": without}
        ways[f"target {target}"] = {"target_recall": target}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for i in range(TIMED):
        for way, options in ways.items():
            began = time.perf_counter()
            index.search(q[i : i + 1], k=K, threads=1, **options)
            times[way].append(1e3 * (time.perf_counter() - began))
    told = []
    for way, options in ways.items():
        hits = index.search(q, k=K, explain=True, **options)
        scan, *rest = hits.stages
        told.append(
            {
                "search": way,
                "recall_of_float": recall(hits.ids, truth),
                "recall_of_finest": recall(hits.ids, exact),
                "rows_read": round(scan.rows_read / len(q)),
                "share_read": round(scan.rows_read / len(q) / len(index), 4),
                "partitions": None if scan.partitions is None else scan.partitions.mean,
                "candidates": round(rest[0].rows_read / len(q), 1),
                "p50_ms": round(float(np.median(times[way])), 3),
                "scan_ms": round(1e3 * scan.seconds / len(q), 3),
            }
        )
    return told


def recall(found: NDArray, truth: NDArray) -> float:
    pairs = zip(found, truth, strict=True)
    return round(float(np.mean([np.isin(a, b).mean() for a, b in pairs])), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=float, help="draw so many rows instead")
    parser.add_argument("--codec", default="nested(0.5) + int8")
    parser.add_argument("--partitions", type=int)
    parser.add_argument("--dir", type=Path, help="where the index is made")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.rows is None:
        q, rows = real(options.file)
        first = next(rows)
        sample, rows = first[1], iter([first, *rows])
    else:
        shape = spectrum(options.file, 0)
        q, rows = draw(QUERIES, 2 * 10**9, shape), blocks(int(options.rows), shape)
        sample = draw(50_000, 10**9, shape)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        path = Path(folder, "bench.nest")
        made, truth = build(path, options.codec, options.partitions, q, sample, rows)
        print(json.dumps(made), flush=True)
        with nb.open(path, pin="coarse") as index:
            searches = measure(index, q, truth)
    kind = "real" if options.rows is None else "drawn from their covariance"
    report = {**environment(), "codec": options.codec, "kind": kind, **made, "searches": searches}
    text = json.dumps(report, indent=2) + "\n"
    print(text)
    if options.out is not None:
        write(options.out, text)


if __name__ == "__main__":
    main()
