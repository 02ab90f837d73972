"""The native scans of cells against a plain read and faiss' scans.

    python bench/cells.py [--rows 1000000] [--threads 1 2] [--repeats 7] [--out bench/results]

Random codes, and random float rows for faiss to encode to as many bytes. Each case times nestbit
and the peer in turns on as many rows, queries and threads, and reports the ratio of the medians:
above 1, nestbit is faster. Against a plain read by as many threads the ratio is scan time over read
time. "With factors": scales and bases of the queries and a float16 factor per row, as RaBitQ needs.
"Wide" cells have eight bits, the others four; the two are compared at as many bytes a row.
Prints a table and writes cells.json; asserts nothing.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import faiss
import numpy as np
from rich.console import Console
from rich.table import Table

from _common import Call, Case, Result, measure, write_report
from nestbit import _native, kernels

K = 10
QUERIES = (1, 64)
WIDTHS = (24, 48, 64, 128, 256)  # of rows compared with a plain read
DIMS = (1024, 384)  # of rows compared with faiss, at one bit per dimension
WIDE_WIDTHS = (32, 64, 128)  # of rows of wide cells


class Codes:
    """Random rows of cells with tables and factors to scan them with."""

    def __init__(self, n: int, width: int) -> None:
        rng = np.random.default_rng(width)
        self.rows = np.frombuffer(rng.bytes(n * width), np.uint8).reshape(n, width).copy()
        self.tables = rng.integers(0, 256, (max(QUERIES), 2 * width, 16), dtype=np.uint8)
        self.wide_tables = rng.integers(0, 256, (max(QUERIES), width, 256), dtype=np.uint8)
        self.factors = rng.uniform(0.5, 2, n).astype(np.float16)
        self.scales = rng.uniform(0.5, 2, max(QUERIES)).astype(np.float32)

    def scan(self, m: int, threads: int, *, factors: bool = False, k: int = K) -> Call:
        return self._scan(self.tables[:m], threads, factors, k)

    def wide_scan(self, m: int, threads: int, *, factors: bool = False) -> Call:
        return self._scan(self.wide_tables[:m], threads, factors, K)

    def _scan(self, tables: np.ndarray, threads: int, factors: bool, k: int) -> Call:
        scales = self.scales[: len(tables)]
        terms = {"scales": scales, "bases": scales, "row_scale": self.factors} if factors else {}
        return lambda: kernels.cells_scan(self.rows, tables, k, threads=threads, **terms)

    def read(self, threads: int) -> Call:
        parts = np.array_split(self.rows.reshape(-1), threads)
        if threads == 1:
            return lambda: _native.read_bytes(parts[0])
        pool = ThreadPoolExecutor(threads)
        return lambda: list(pool.map(_native.read_bytes, parts))


def read_cases(n: int, thread_counts: list[int]) -> Iterator[tuple[int, Case]]:
    for width in WIDTHS:
        codes = Codes(n, width)
        name = f"cells of {width} bytes"
        for threads in thread_counts:
            read = codes.read(threads)
            for factors, label in ((False, name), (True, f"{name}, with factors")):
                scan = codes.scan(1, threads, factors=factors)
                yield threads, Case(label, "plain read", n, 1, scan, read, reads=True)
        if width == 128:
            for m in QUERIES:
                deep, shallow = codes.scan(m, 1, k=1000), codes.scan(m, 1)
                yield 1, Case(f"{name}, k 1000", "itself with k 10", n, m, deep, shallow, True)


def faiss_cases(n: int, thread_counts: list[int]) -> Iterator[tuple[int, Case]]:
    for dim in DIMS:
        codes = Codes(n, dim // 8)
        name = f"cells of {dim // 8} bytes"
        queries = np.random.default_rng(2).normal(size=(max(QUERIES), dim)).astype(np.float32)
        for kind in ("RaBitQFastScan", "PQFastScan"):
            index = filled_index(kind, n, dim)
            factors = kind == "RaBitQFastScan"
            for threads in thread_counts:
                for m in QUERIES:
                    ours = codes.scan(m, threads, factors=factors)
                    peer = partial(index.search, queries[:m], K)
                    scan = f"{name}, with factors" if factors else name
                    yield threads, Case(scan, f"faiss Index{kind} of {dim}-d", n, m, ours, peer)
                    if factors:
                        wide = codes.wide_scan(m, threads, factors=True)
                        scan = f"wide {scan}"
                        yield threads, Case(scan, f"faiss Index{kind} of {dim}-d", n, m, wide, peer)
            del index, peer
            gc.collect()


def wide_cases(n: int, thread_counts: list[int]) -> Iterator[tuple[int, Case]]:
    for width in WIDE_WIDTHS:
        codes = Codes(n, width)
        name, dim = f"wide cells of {width} bytes", 4 * width
        index = product_index(codes.rows, dim)
        queries = np.random.default_rng(2).normal(size=(max(QUERIES), dim)).astype(np.float32)
        for threads in thread_counts:
            for m in QUERIES:
                ours, narrow = codes.wide_scan(m, threads), codes.scan(m, threads)
                yield threads, Case(name, f"cells of {width} bytes", n, m, ours, narrow)
                peer = partial(index.search, queries[:m], K)
                yield threads, Case(name, f"faiss IndexPQ x8 of {dim}-d", n, m, ours, peer)
        del index, peer
        gc.collect()


def product_index(rows: np.ndarray, dim: int) -> faiss.IndexPQ:
    """Return a faiss index of one byte per four dimensions that holds the rows as its codes."""
    index = faiss.IndexPQ(dim, rows.shape[1], 8, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.niter = 2  # a scan's speed does not depend on the centroids
    index.train(np.random.default_rng(3).standard_normal((10_000, dim), dtype=np.float32))
    index.add_sa_codes(rows)
    return index


def filled_index(kind: str, n: int, dim: int) -> faiss.Index:
    """Return a faiss index of one bit per dimension over n random rows."""
    if kind == "PQFastScan":
        index = faiss.IndexPQFastScan(dim, dim // 4, 4, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexRaBitQFastScan(dim, faiss.METRIC_INNER_PRODUCT)
    rng = np.random.default_rng(3)
    block = rng.standard_normal((20_000, dim), dtype=np.float32)
    index.train(block[:5000])
    for start in range(0, n, len(block)):
        # The same rows over and over: a scan's speed does not depend on them.
        index.add(block[: min(len(block), n - start)])
    return index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", help="cases whose scan or peer has this in its name")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args()

    console = Console()
    table = Table(title=f"{args.rows:,} rows")
    for heading in ("scan", "peer", "queries", "threads", "ratio"):
        table.add_column(heading, justify="left" if heading in ("scan", "peer") else "right")
    results: list[Result] = []
    for cases in (read_cases, faiss_cases, wide_cases):
        for threads, case in cases(args.rows, args.threads):
            if args.only not in f"{case.scan} {case.peer_name}":
                continue
            faiss.omp_set_num_threads(threads)
            result = measure(case, args.repeats, threads)
            results.append(result)
            ratio = f"{result.ratio:.2f} of it" if result.reads else f"{result.ratio:.1f}×"
            table.add_row(result.scan, result.peer, str(result.queries), str(threads), ratio)
            console.print(f"{result.scan} | {result.peer} | {result.queries} | {threads}: {ratio}")
    console.print(table)
    write_report(args.out / "cells.json", ("nestbit", "faiss-cpu", "numpy"), results)


if __name__ == "__main__":
    main()
