"""First stages at equal recall after rescoring: nestbit's cells, turbovec and faiss.

    python bench/rescored.py ROWS.npy [--repeat 4] [--threads 1] [--out bench/results]

500 random rows are the queries, the others the collection, ``--repeat`` times over with a little
noise so that a scan is long enough to be timed. Every first stage hands its best c rows to the
same float16 rescoring, with the smallest c that reaches a recall of the float top 10; then the
times of both stages together are compared, in turns. Prints a table and writes rescored.json.
Threads of the peers: OMP_NUM_THREADS, RAYON_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import faiss
import numpy as np
import turbovec
from rich.console import Console

import nestbit as nb
from _report import environment, markdown, show, write
from nestbit import kernels
from nestbit.evaluate import exact_search, recall_at_k
from nestbit.kernels.floats import top_k

K = 10
QUERIES = 500
BATCHES = (1, 64)
TARGETS = (0.95, 0.99)
CANDIDATES = (10, 12, 15, 20, 25, 30, 40, 50, 70, 100, 140, 200, 300, 500, 1000)
NOISE = 0.05
REPEATS = 7

Stage = Callable[[np.ndarray, int], np.ndarray]  # (queries, c) -> ids (m, c)


@dataclass(frozen=True)
class Row:
    """A first stage with the fewest candidates that reach a recall."""

    stage: str
    n_bytes: float
    target: float
    candidates: int
    recall: float
    queries: int
    ms: float


def nested(rows: np.ndarray, spec: str, threads: int) -> tuple[Stage, float]:
    codec = nb.fit(rows, spec)
    codes = codec.encode(rows)
    plan = nb.Plan((nb.Stage(0),))

    def search(queries: np.ndarray, c: int) -> np.ndarray:
        return nb.search(codec, codes, queries, k=c, plan=plan, threads=threads).ids

    return search, codec.n_bytes


def turbo(rows: np.ndarray, bits: int) -> tuple[Stage, float]:
    index = turbovec.TurboQuantIndex(dim=rows.shape[1], bit_width=bits)
    index.add(rows)

    def search(queries: np.ndarray, c: int) -> np.ndarray:
        return np.asarray(index.search(queries, c)[1], dtype=np.int64)

    return search, len(index.to_bytes()) / len(rows)


def rabitq_fast_scan(rows: np.ndarray) -> tuple[Stage, float]:
    index = faiss.index_factory(rows.shape[1], "RR,RaBitQfs", faiss.METRIC_INNER_PRODUCT)
    index.train(rows[:50_000])
    index.add(rows)

    def search(queries: np.ndarray, c: int) -> np.ndarray:
        return index.search(queries, c)[1]

    return search, rows.shape[1] / 8 + 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", type=Path, metavar="ROWS.npy")
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(arguments.threads)
    rng = np.random.default_rng(0)
    x = np.load(arguments.rows).astype(np.float32)
    asked = np.sort(rng.choice(len(x), QUERIES, replace=False))
    queries, base = unit(x[asked]), unit(np.delete(x, asked, axis=0))
    noise = NOISE / np.sqrt(x.shape[1])
    copies = [base] + [
        unit(base + np.float32(noise) * rng.standard_normal(base.shape, dtype=np.float32))
        for _ in range(arguments.repeat - 1)
    ]
    rows = np.concatenate(copies)
    truth = exact_search(rows, queries, K).ids
    half = rows.astype(np.float16)
    stages = {
        "nested(0.5)": nested(rows, "nested(0.5)", arguments.threads),
        "nested(0.5, cell=4)": nested(rows, "nested(0.5, cell=4)", arguments.threads),
        "nested(1)": nested(rows, "nested(1)", arguments.threads),
        "nested(1, cell=4)": nested(rows, "nested(1, cell=4)", arguments.threads),
        "turbovec 2 bits": turbo(rows, 2),
        "turbovec 4 bits": turbo(rows, 4),
        "faiss RR,RaBitQfs": rabitq_fast_scan(rows),
    }

    def both(stage: Stage, q: np.ndarray, c: int) -> np.ndarray:
        ids = np.sort(stage(q, c), axis=1)
        scores = kernels.floats_rescore(half, ids, q, threads=arguments.threads)
        return top_k(ids, scores, K)[0]

    console, found = Console(highlight=False), []
    for target in TARGETS:
        runs = {}
        for name, (stage, n_bytes) in stages.items():
            for c in CANDIDATES:
                recall = recall_at_k(both(stage, queries, c), truth)
                if recall >= target:
                    break
            runs[name] = (stage, n_bytes, c, recall)
        for m in BATCHES:
            times: dict[str, list[float]] = {name: [] for name in runs}
            for repeat in range(REPEATS + 1):
                for name, (stage, _, c, _) in runs.items():
                    q = queries[repeat * m : (repeat + 1) * m]
                    began = time.perf_counter()
                    both(stage, q, c)
                    times[name].append(time.perf_counter() - began)
            for name, (_, n_bytes, c, recall) in runs.items():
                ms = 1e3 * statistics.median(times[name][1:])
                found.append(Row(name, n_bytes, target, c, recall, m, ms))
    table = [["recall", "queries", "first stage", "bytes a row", "candidates", "time"]]
    for row in found:
        (ours,) = (
            r.ms for r in found
            if (r.stage, r.target, r.queries) == ("nested(0.5)", row.target, row.queries)
        )  # fmt: skip
        table.append(
            [
                f"{row.recall:.3f}", f"{row.queries}", row.stage, f"{row.n_bytes:.0f}",
                f"{row.candidates}", f"{row.ms / ours:.2f}",
            ]
        )  # fmt: skip
    title = (
        f"{len(rows):,} × {rows.shape[1]}, {arguments.threads} thread(s), float16 rescoring; "
        f"recall at least {TARGETS[0]:g} and {TARGETS[1]:g} where {CANDIDATES[-1]} rows suffice"
    )
    show(console, title, table)
    arguments.out.mkdir(parents=True, exist_ok=True)
    full = {"environment": environment(), "title": title, "rows": [asdict(row) for row in found]}
    write(arguments.out / "rescored.json", json.dumps(full, indent=1) + "\n")
    write(arguments.out / "rescored.md", f"{title}\n\n{markdown(table)}")


def unit(x: np.ndarray) -> np.ndarray:
    return np.divide(x, np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


if __name__ == "__main__":
    main()
