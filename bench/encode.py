"""Encoding against the matrix product that its change of basis needs.

    python bench/encode.py [--rows 32768] [--threads 2] [--repeats 7] [--out bench/results]

Rows of a falling spectrum. Each case times `Codec.encode` and NumPy's product of as many rows with
a square matrix in turns, on as many threads, and reports the ratio of the medians: 1.5 means that
encoding takes half as long again as that product alone. Prints a table and writes encode.json;
asserts nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

DIMS = (1024, 384)
SPECS = ("nested(0.25)", "nested(1)", "nested(4)", "nested(0.5) + int8", "int8")
FIT_ROWS = 4096


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=32_768)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    return parser.parse_args()


def main() -> None:
    args = arguments()
    # A BLAS reads these when NumPy is imported.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NESTBIT_THREADS"):
        os.environ[name] = str(args.threads)

    import numpy as np
    from rich.console import Console

    import nestbit as nb
    from _common import Case, measure, write_report
    from _report import show

    def cases(dim: int) -> Iterator[Case]:
        rng = np.random.default_rng(dim)
        basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
        rows = rng.standard_normal((args.rows, dim), dtype=np.float32)
        rows = (rows * np.arange(1, dim + 1, dtype=np.float32) ** -0.4) @ basis
        out = np.empty_like(rows)
        product = partial(np.matmul, rows, basis, out=out)
        for spec in SPECS:
            codec = nb.fit(rows[:FIT_ROWS], spec)
            name = f"{spec} of {dim}-d"
            yield Case(name, "product", args.rows, 0, partial(codec.encode, rows), product, True)

    console = Console()
    results = [measure(case, args.repeats, args.threads) for dim in DIMS for case in cases(dim)]
    table = [["codec", "rows/s", "rows/s of the product", "times the product"]]
    for r in results:
        speeds = (f"{1e3 * r.rows / ms:,.0f}" for ms in (r.ours_ms, r.peer_ms))
        table.append([r.scan, *speeds, f"{r.ratio:.2f}"])
    show(console, f"{args.rows:,} rows, {args.threads} threads", table)
    write_report(args.out / "encode.json", ("nestbit", "numpy"), results)


if __name__ == "__main__":
    main()
