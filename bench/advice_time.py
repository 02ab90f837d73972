"""What advice costs: processor time and wall time on so many rows, 500 of them held out as queries.

    python bench/advice_time.py EMBEDDINGS.npy [--rows 100000] [--grow 10000000] [--threads 2]

Rows beyond those of the file are copies of them with noise of 0.03 in every dimension. Processor
time is that of all threads: it stays nearly the same on a busy machine, where wall time does not.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import nestbit as nb

NOISE = 0.03


def rows_of(path: Path, count: int) -> np.ndarray:
    """The first ``count`` rows of a file, noisy copies of random ones added where it has fewer."""
    x = np.load(path).astype(np.float32)[:count]
    rng = np.random.default_rng(9)
    more = x[rng.choice(len(x), count - len(x))]
    return np.concatenate([x, more + NOISE * rng.standard_normal(more.shape, dtype=np.float32)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--grow", type=int, help="foretell recall at so many rows")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    x = rows_of(options.embeddings, options.rows)
    began, used = time.perf_counter(), time.process_time()
    advice = nb.advise(x, recall=0.95, rows=options.grow, threads=options.threads)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    print(
        f"{advice.n:,} rows of {advice.dim}, {advice.n_queries} queries, {len(advice.options)} "
        f"recipes: {cpu:.0f} s of processor time, {wall:.0f} s by the clock"
    )
    print(advice.sentence)


if __name__ == "__main__":
    main()
