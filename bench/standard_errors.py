"""How often 1.96 standard errors cover the true score, on rows that no fit has seen.

    python bench/standard_errors.py DATA_DIR [--only minilm/scifact] [--spec SPEC] [--out DIR]

DATA_DIR is that of quality.py. A codec is fitted on four fifths of the rows and asked real
queries about the rest: about each query's best tenth by estimate (its candidates), and about all
pairs. Calibrated is 93 to 97% of the candidates. Writes standard_errors.json and .md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

import nestbit as nb
from _datasets import Dataset, datasets
from _report import environment, markdown, show, write

SPECS = ("int8", "nested(2)", "nested(1)", "nested(0.5)", "nested(0.25)", "rabitq", "binary")
SHARE = 10  # a query's candidates are one in so many rows
BOUND = 1.96
LOW, HIGH = 0.93, 0.97


@dataclass(frozen=True)
class Row:
    """Shares of the pairs that the bound covers, and the usual error over the usual bound."""

    dataset: str
    spec: str
    candidates: float
    random: float

    @property
    def calibrated(self) -> bool:
        return LOW <= self.candidates <= HIGH


def coverage(data: Dataset, spec: str) -> Row:
    """One spec on one dataset."""
    rows, queries = data.corpus, data.queries[:400]
    order = np.random.default_rng(0).permutation(len(rows))
    held, rest = rows[order[: len(rows) // 5][:5000]], rows[order[len(rows) // 5 :]]
    codec = nb.fit(rest, spec)
    codes = codec.encode(held)
    hits = nb.search(codec, codes, queries, k=len(held), errors=True)
    assert hits.errors is not None
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, held)]
    exact = np.take_along_axis(unit[0] @ unit[1].T, hits.ids, 1)
    covered = np.abs(hits.scores - exact) <= BOUND * hits.errors
    best = max(10, len(held) // SHARE)
    return Row(data.name, spec, float(covered[:, :best].mean()), float(covered.mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--only", action="append", default=[], metavar="MODEL/COLLECTION")
    parser.add_argument("--spec", action="append", default=[], help="instead of the usual ones")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    specs = arguments.spec or SPECS
    console = Console(highlight=False)
    rows = []
    table = [["data", *(f"{spec}" for spec in specs)]]
    for data in datasets(arguments.data, arguments.only, unjudged=True):
        found = [coverage(data, spec) for spec in specs]
        rows += found
        table.append([data.name, *(f"{r.candidates:.1%} ({r.random:.1%})" for r in found)])
        console.print(*table[-1], sep="  ")
    inside = sum(row.calibrated for row in rows)
    notes = (
        f"Share of the candidates (of all pairs) within {BOUND} standard errors, real queries "
        f"against held-out rows. {inside} of {len(rows)} between {LOW:.0%} and {HIGH:.0%}.\n"
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    full = {"environment": environment(), "rows": [asdict(row) for row in rows]}
    write(arguments.out / "standard_errors.json", json.dumps(full, indent=1) + "\n")
    write(arguments.out / "standard_errors.md", f"{notes}\n{markdown(table)}")
    show(console, notes, table)


if __name__ == "__main__":
    main()
