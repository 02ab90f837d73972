"""Filtered scans against the same scans of all rows, and what a call costs at least.

    python bench/filters.py [--rows 1000000] [--threads 1 2] [--repeats 7] [--out bench/results]

Random codes of 128 bytes. Each case times in turns a scan of the rows that a mask allows, a share
of them at random or in one run, or that lie in ranges, as the partitions of an index do, and the
scan of all rows; the ratio of the medians is filtered time over unfiltered. A call on few rows, one
query and one thread shows what every call pays; it is told in microseconds. Prints a table and
writes filters.json; asserts nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from _common import Case, Result, measure, write_report
from nestbit import kernels
from nestbit.kernels.allowed import bitmap

K = 10
WIDTH = 128
QUERIES = (1, 64)
SHARES = (0.5, 0.1, 0.01, 0.001)
PARTITION = 500  # rows

Scan = Callable[..., object]


def scans(n: int) -> dict[str, Callable[[int], Scan]]:
    """Make each kind of scan: of a number of queries, then to be called with options."""
    rng = np.random.default_rng(0)
    rows = np.frombuffer(rng.bytes(n * WIDTH), np.uint8).reshape(n, WIDTH)
    most = max(QUERIES)
    bits = rng.integers(0, 256, (most, WIDTH), dtype=np.uint8)
    weights = rng.integers(-127, 128, (most, 8 * WIDTH), dtype=np.int8)
    tables = rng.integers(0, 256, (most, 2 * WIDTH, 16), dtype=np.uint8)
    factors = rng.uniform(0.5, 2, n).astype(np.float16)

    def cells(m: int) -> Scan:
        return lambda **options: kernels.cells_scan(
            rows, tables[:m], K, row_scale=factors, **options
        )

    return {
        "hamming": lambda m: lambda **options: kernels.hamming_scan(rows, bits[:m], K, **options),
        "bits": lambda m: lambda **options: kernels.bits_scan(rows, weights[:m], K, **options),
        "bytes": lambda m: (
            lambda **options: kernels.bytes_scan(rows, weights[:m, :WIDTH], K, **options)
        ),
        "cells": cells,
    }


def filters(n: int) -> Iterator[tuple[str, dict[str, NDArray[np.generic]]]]:
    """Name the options that let a scan find some of n rows."""
    rng = np.random.default_rng(1)
    for share in SHARES:
        yield f"{share:.1%} at random", {"mask": bitmap(rng.random(n) < share)}
    run = np.zeros(n, np.bool_)
    run[n // 3 : n // 3 + n // 100] = True
    yield "1% in one run", {"mask": bitmap(run)}
    starts = np.sort(rng.choice(n // PARTITION, max(1, n // PARTITION // 100), replace=False))
    ranges = PARTITION * starts[:, None] + np.array([0, PARTITION])
    yield f"1% in ranges of {PARTITION}", {"ranges": ranges}
    yield "all rows in a mask", {"mask": bitmap(np.ones(n, np.bool_))}


def least_call(scan: Scan) -> float:
    """Return the median microseconds of a scan of 64 rows."""
    ranges = np.array([[128, 192]])
    times = []
    for _ in range(2000):
        start = time.perf_counter()
        scan(ranges=ranges, threads=1)
        times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--only", default="", help="cases whose scan or filter has this in its name"
    )
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    args = parser.parse_args()

    console = Console()
    table = Table(title=f"{args.rows:,} rows of {WIDTH} bytes")
    for heading in ("scan", "rows allowed", "queries", "threads", "of the time of all rows"):
        table.add_column(
            heading, justify="left" if heading in ("scan", "rows allowed") else "right"
        )
    results: list[Result] = []
    for name, scan_of in scans(args.rows).items():
        console.print(f"{name}: a call on 64 rows takes {least_call(scan_of(1)):.1f} µs")
        for label, options in filters(args.rows):
            if args.only not in f"{name} {label}":
                continue
            for threads in args.threads:
                for m in QUERIES:
                    scan = scan_of(m)
                    some = lambda: scan(**options, threads=threads)  # noqa: B023, E731
                    every = lambda: scan(threads=threads)  # noqa: B023, E731
                    case = Case(f"{name}, {label}", "all rows", args.rows, m, some, every, True)
                    result = measure(case, args.repeats, threads)
                    results.append(result)
                    table.add_row(name, label, str(m), str(threads), f"{result.ratio:.1%}")
    console.print(table)
    write_report(args.out / "filters.json", ("nestbit", "numpy"), results)


if __name__ == "__main__":
    main()
