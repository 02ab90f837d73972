"""The native scans against faiss, usearch, sentence-transformers' search and a plain read.

    python bench/kernels.py [--rows 1000000] [--threads 1] [--repeats 5] [--out bench/results]

Random rows of 1,024 dimensions, as packed bits and as int8. Each case times nestbit and the peer
in turns on the same rows, queries and threads, and reports the ratio of the medians: above 1,
nestbit is faster. Against a plain read the ratio is scan time over read time. Prints a table and
writes kernels-THREADS.json; asserts nothing.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import usearch.index
from rich.console import Console
from rich.table import Table
from sentence_transformers.util.quantization import (
    semantic_search_faiss,
    semantic_search_usearch,
)

from _common import Call, Case, Result, measure, write_report
from nestbit import _native, kernels

DIM = 1024
K = 10
PACKAGES = ("nestbit", "faiss-cpu", "usearch", "sentence-transformers", "numpy")


def bit_cases(n: int, threads: int) -> Iterator[Case]:
    rng = np.random.default_rng(0)
    rows = np.frombuffer(rng.bytes(n * DIM // 8), np.uint8).reshape(n, -1).copy()
    queries = rng.integers(0, 256, (64, DIM // 8), dtype=np.uint8)
    weights = rng.integers(-127, 128, (64, DIM), dtype=np.int8)

    def hamming(m: int, rows: np.ndarray = rows, k: int = K) -> Call:
        return lambda: kernels.hamming_scan(rows, queries[:m], k, threads=threads)

    def bits(m: int, k: int = K) -> Call:
        return lambda: kernels.bits_scan(rows, weights[:m], k, threads=threads)

    def read() -> int:
        return _native.read_bytes(rows.reshape(-1))

    if threads == 1:
        yield Case("hamming", "plain read", n, 1, hamming(1), read, reads=True)
        yield Case("bits", "plain read", n, 1, bits(1), read, reads=True)
    for m in (1, 64):
        yield Case(
            "hamming, k 1000", "itself with k 10", n, m, hamming(m, k=1000), hamming(m), True
        )
        yield Case("bits, k 1000", "itself with k 10", n, m, bits(m, k=1000), bits(m), True)

    for use_heap in (True, False):
        index = faiss.IndexBinaryFlat(DIM)
        index.use_heap = use_heap
        index.add(rows)
        name = f"faiss IndexBinaryFlat, {'heap' if use_heap else 'counting'}"
        for m in (1, 64):
            peer = partial(index.search, queries[:m], K)
            yield Case("hamming", name, n, m, hamming(m), peer)
    by_faiss = partial(semantic_search_faiss, top_k=K, rescore=False)
    peer = partial(by_faiss, queries, corpus_index=index, corpus_precision="ubinary")
    yield Case("hamming", "sentence-transformers, faiss", n, 64, hamming(64), peer)
    del index, peer
    gc.collect()

    by_usearch = partial(usearch.index.search, exact=True, threads=threads)
    for m in (1, 64):
        peer = partial(by_usearch, rows, queries[:m], K, "hamming", dtype="b1")
        yield Case("hamming", "usearch exact b1", n, m, hamming(m), peer)
    few = rows[: min(n, 20_000)]
    graph = usearch_index(few, "hamming", "b1", DIM)
    by_graph = partial(semantic_search_usearch, top_k=K, rescore=False)
    peer = partial(by_graph, queries, corpus_index=graph, corpus_precision="ubinary")
    name = "sentence-transformers, usearch exact"
    yield Case("hamming", name, len(few), 64, hamming(64, few), peer)


def byte_cases(n: int, threads: int) -> Iterator[Case]:
    rng = np.random.default_rng(1)
    rows = np.frombuffer(rng.bytes(n * DIM), np.int8).reshape(n, -1).copy()
    weights = rng.integers(-127, 128, (64, DIM), dtype=np.int8)
    floats = weights.astype(np.float32)

    def scan(m: int, rows: np.ndarray = rows, k: int = K) -> Call:
        return lambda: kernels.bytes_scan(rows, weights[:m], k, threads=threads)

    def read() -> int:
        return _native.read_bytes(rows.reshape(-1).view(np.uint8))

    if threads == 1:
        yield Case("int8", "plain read", n, 1, scan(1), read, reads=True)
    for m in (1, 64):
        yield Case("int8, k 1000", "itself with k 10", n, m, scan(m, k=1000), scan(m), True)

    kinds = faiss.ScalarQuantizer
    for name, kind in (
        ("QT_8bit", kinds.QT_8bit),
        ("QT_8bit_direct_signed", kinds.QT_8bit_direct_signed),
    ):
        index = faiss.IndexScalarQuantizer(DIM, kind, faiss.METRIC_INNER_PRODUCT)
        index.train(rows[:5000].astype(np.float32))
        for start in range(0, n, 50_000):
            index.add(rows[start : start + 50_000].astype(np.float32))
        for m in (1, 64):
            peer = partial(index.search, floats[:m], K)
            yield Case("int8", f"faiss ScalarQuantizer {name}", n, m, scan(m), peer)
        del index, peer
        gc.collect()

    for m in (1, 64):
        peer = partial(
            usearch.index.search, rows, weights[:m], K, "ip",
            exact=True, threads=threads, dtype="i8",
        )  # fmt: skip
        yield Case("int8", "usearch exact i8", n, m, scan(m), peer)

    some = rows[: min(n, 100_000)].view(np.uint8)
    flat = faiss.IndexFlatIP(DIM)
    flat.add(some.astype(np.float32))
    codes = (weights.astype(np.int16) + 128).astype(np.uint8)
    by_faiss = partial(semantic_search_faiss, top_k=K, rescore=False)
    peer = partial(by_faiss, codes, corpus_index=flat, corpus_precision="uint8")
    ours = scan(64, some)
    yield Case("uint8", "sentence-transformers, faiss", len(some), 64, ours, peer)
    few = rows[: min(n, 20_000)]
    graph = usearch_index(few, "ip", "i8", DIM)
    by_graph = partial(semantic_search_usearch, top_k=K, rescore=False)
    peer = partial(by_graph, weights, corpus_index=graph, corpus_precision="int8")
    name = "sentence-transformers, usearch exact"
    yield Case("int8", name, len(few), 64, scan(64, few), peer)


def usearch_index(rows: np.ndarray, metric: str, dtype: str, dim: int) -> usearch.index.Index:
    """Return the index that semantic_search_usearch would build; its graph is not used."""
    index = usearch.index.Index(
        ndim=dim, metric=metric, dtype=dtype, connectivity=2, expansion_add=1
    )
    index.add(np.arange(len(rows)), rows)
    return index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose scan or peer has this in its name")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args()
    faiss.omp_set_num_threads(args.threads)

    console = Console()
    table = Table(title=f"{args.rows:,} rows of {DIM} dimensions, {args.threads} thread(s)")
    for heading in ("scan", "peer", "rows", "queries", "nestbit ms", "peer ms", "ratio"):
        table.add_column(heading, justify="left" if heading in ("scan", "peer") else "right")
    results: list[Result] = []
    for cases in (bit_cases, byte_cases):
        for case in cases(args.rows, args.threads):
            if args.only not in f"{case.scan} {case.peer_name}":
                continue
            result = measure(case, args.repeats, args.threads)
            results.append(result)
            console.print(f"{result.scan} | {result.peer} | m {result.queries}: {result.ratio:.2f}")
            table.add_row(
                result.scan,
                result.peer,
                f"{result.rows:,}",
                str(result.queries),
                f"{result.ours_ms:.2f}",
                f"{result.peer_ms:.2f}",
                f"{result.ratio:.2f} of it" if result.reads else f"{result.ratio:.1f}×",
            )
    console.print(table)
    write_report(args.out / f"kernels-{args.threads}.json", PACKAGES, results)


if __name__ == "__main__":
    main()
