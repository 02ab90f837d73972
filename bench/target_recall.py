"""Candidates that a target recall reads, beside the smallest fixed factor of equal recall.

    python bench/target_recall.py DATA_DIR [--only minilm/scifact] [--spec SPEC] [--out DIR]

DATA_DIR is laid out as bench/quality.py tells. Recall is the share of the finest level's own
exhaustive top k that is found; recall of the float top k stands beside it. The fixed number is
chosen afterwards, with the answers at hand. Prints a table and writes target_recall.json and
target_recall.md; asserts nothing.
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
from nestbit.evaluate import exact_search, recall_at_k

SPECS = (
    "nested(0.25) + int8",
    "nested(0.5) + int8",
    "nested(1) + int8",
    "nested(0.5) + float16",
    "binary + int8",
)
TARGETS = (0.9, 0.95, 0.99)
KS = (1, 10, 100)
QUERIES = 200
ROWS_AT_ONCE = 25
SLACK = 0.01


@dataclass(frozen=True)
class Row:
    """One target on one dataset; candidates are per query."""

    dataset: str
    spec: str
    k: int
    target: float
    recall: float
    float_recall: float
    mean: float
    median: float
    most: int
    fixed: int


def ranks(codec: nb.Codec, codes: nb.Codes, queries: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How many rows the coarse level places before each row of ``truth`` (m, k), sorted."""
    found = []
    q = codec.prepare(queries)
    for start in range(0, len(q), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        scorer = codec.scorer(q[part], level=0)
        ids = np.broadcast_to(np.arange(len(codes)), (len(q[part]), len(codes)))
        scores = np.sort(scorer.rescore(codes, ids), axis=1)
        own = scorer.rescore(codes, truth[part])
        after = [np.searchsorted(s, o, side="right") for s, o in zip(scores, own, strict=True)]
        found.append(len(codes) - np.stack(after))
    return np.sort(np.concatenate(found), axis=None)


def measure(dataset: Dataset, spec: str) -> list[Row]:
    queries = dataset.queries[:QUERIES]
    codec = nb.fit(dataset.corpus, spec)
    codes = codec.encode(dataset.corpus)
    finest = codec.decode(codes)
    rows = []
    for k in KS:
        truth = exact_search(finest, codec.prepare(queries), k, metric="dot")
        in_float = exact_search(dataset.corpus, queries, k)
        places = ranks(codec, codes, queries, truth.ids)
        for target in TARGETS:
            plan = nb.Plan.default(codec, target_recall=target)
            hits = nb.search(codec, codes, queries, k, plan, explain=True)
            recall = recall_at_k(hits.ids, truth.ids)
            reads = hits.stages[1].reads
            assert reads is not None
            last = max(0, int(np.ceil(recall * len(places) - 1e-6)) - 1)
            rows.append(
                Row(
                    dataset.name, spec, k, target, recall, recall_at_k(hits.ids, in_float.ids),
                    reads.mean, reads.median, reads.most, max(k, int(places[last]) + 1),
                )
            )  # fmt: skip
    return rows


def table(rows: list[Row]) -> list[list[str]]:
    lines = [
        ["dataset", "spec", "k", "target", "recall", "of float", "read (p50, max)", "fixed, equal"]
    ]
    for row in rows:
        missed = " **missed**" if row.recall < row.target - SLACK else ""
        more = " more" if row.mean > row.fixed else ""
        lines.append(
            [
                row.dataset, row.spec, f"{row.k}", f"{row.target:g}",
                f"{row.recall:.3f}{missed}", f"{row.float_recall:.3f}",
                f"{row.mean:.0f}{more} ({row.median:.0f}, {row.most})", f"{row.fixed}",
            ]
        )  # fmt: skip
    return lines


def summary(rows: list[Row]) -> str:
    lines = []
    for k in KS:
        part = [row for row in rows if row.k == k]
        met = sum(row.recall >= row.target - SLACK for row in part)
        fewer = sum(row.mean <= row.fixed for row in part)
        ratio = float(np.exp(np.mean([np.log(row.mean / row.fixed) for row in part])))
        lines.append(
            f"k = {k}: {met} of {len(part)} targets met within a point; {fewer} read no more than "
            f"the equal fixed number; geometric mean of read over fixed {ratio:.2f}."
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", default=[], metavar="MODEL/COLLECTION")
    parser.add_argument("--spec", action="append", default=[], help="instead of the usual ones")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    console = Console()
    rows: list[Row] = []
    for dataset in datasets(args.data, args.only, unjudged=True):
        for spec in args.spec or SPECS:
            found = measure(dataset, spec)
            show(console, f"{dataset.name}, {spec}", [line[2:] for line in table(found)])
            rows += found
    console.print(summary(rows))
    args.out.mkdir(parents=True, exist_ok=True)
    report = {**environment(), "results": [asdict(row) for row in rows]}
    write(args.out / "target_recall.json", json.dumps(report, indent=1) + "\n")
    note = (
        "# Target recall\n\nGenerated by `bench/target_recall.py`. *recall* is the share of the "
        "finest level's own top k, *of float* that of the float top k; *fixed, equal* the "
        "smallest number of candidates for all queries that reaches the same recall, chosen "
        "afterwards.\n\n"
    )
    write(args.out / "target_recall.md", note + summary(rows) + "\n\n" + markdown(table(rows)))


if __name__ == "__main__":
    main()
