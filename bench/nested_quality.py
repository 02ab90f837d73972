"""What codes of a quarter to four bits per dimension keep: nestbit beside faiss and turbovec.

    python bench/nested_quality.py DATA_DIR [--only minilm/scifact] [--out bench/results]

DATA_DIR is that of quality.py; collections without queries are asked 500 of their own rows, held
out. Everything is by cosine: unit rows, inner products. Writes nested_quality.json and .md after
each dataset; asserts nothing. ``--cache DIR`` keeps what the peers found for later runs.
Set OMP_NUM_THREADS and RAYON_NUM_THREADS to limit the peers' threads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import faiss
import numpy as np
from rich.console import Console

import nestbit as nb
from _datasets import TREC_DEPTH, Dataset, datasets
from _peers import ALL_BITS, LIMITS, PEERS, VERSIONS, Found, Peer, Task
from _report import environment, markdown, show, write
from nestbit._atomic import atomic_file
from nestbit.evaluate import recall_per_query

K = 10
OURS = "nested"
TOLERANCE = 0.002
GOAL = 0.995  # nDCG@10 kept at half a bit after int8 rescoring
MEASURES = {"recall_10": "recall@10", "recall_100": "recall@100", "kept": "nDCG@10 kept"}


@dataclass(frozen=True)
class Variant:
    """One of nestbit's own searches; ``spec`` may name {bits}, {m} (cells of the same bytes)."""

    name: str
    bits: tuple[float, ...]
    spec: str
    plan: Callable[[nb.Codec], nb.Plan]
    k: int = TREC_DEPTH
    beside: bool = False  # not of the same bytes: shown, not compared


def default(codec: nb.Codec) -> nb.Plan:
    return nb.Plan.default(codec)


def hamming(codec: nb.Codec) -> nb.Plan:
    return nb.Plan.hamming(codec, oversample=1)


def rescore_100(codec: nb.Codec) -> nb.Plan:
    return nb.Plan.default(codec, oversample=TREC_DEPTH / K)


VARIANTS = (
    Variant(OURS, ALL_BITS, "nested({bits:g})", default),
    Variant("rabitq", (1, 2, 4), "rabitq({bits:g})", default),
    Variant("pq", ALL_BITS, "pq({m})", default),
    Variant("sign, Hamming", (1,), "binary", hamming),
    Variant("sign, float query", (1,), "binary", default),
    Variant("nested + int8 of 100", (0.5,), "nested({bits:g}) + int8", rescore_100, K, True),
)


@dataclass(frozen=True)
class Row:
    """One search of one dataset; recalls are of the float top 10."""

    dataset: str
    bits: float
    search: str
    peer: bool
    beside: bool
    n_bytes: float
    recall_10: float
    recall_100: float | None
    measure: str
    quality: float | None
    kept: float | None
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """nested beside the best other search of the same bits.

    ``error`` is the standard error of the difference, paired by query.
    """

    dataset: str
    bits: float
    measure: str
    ours: float
    best: float
    by: str
    error: float

    @property
    def outcome(self) -> str:
        if abs(self.ours - self.best) <= TOLERANCE:
            return "equal"
        return "won" if self.ours > self.best else "lost"

    @property
    def clear(self) -> bool:
        """Whether the difference exceeds two standard errors."""
        return abs(self.ours - self.best) > 2 * self.error


Values = dict[tuple[float, str], dict[str, np.ndarray]]


class Bench:
    """The searches of one dataset, what each query got, and the verdicts."""

    def __init__(self, data: Dataset, threads: int, cache: Path | None, console: Console) -> None:
        self.data, self.threads, self.cache, self.console = data, threads, cache, console
        self.rows: list[Row] = []
        self.values: Values = {}
        self.float_quality = data.per_query(data.truth)

    def run(self, variants: tuple[Variant, ...], peers: tuple[Peer, ...]) -> None:
        for bits in ALL_BITS:
            n_bytes = 0
            for variant in (v for v in variants if bits in v.bits):
                spec = variant.spec.format(bits=bits, m=min(2 * n_bytes, self.dim))
                began = time.perf_counter()
                found = self._ours(variant, spec)
                self._add(bits, variant.name, found, began, beside=variant.beside)
                n_bytes = n_bytes or int(found.n_bytes)
            for peer in (p for p in peers if bits in p.bits):
                task = Task(self._unit_rows, self._unit_queries, bits, n_bytes, TREC_DEPTH)
                began = time.perf_counter()
                self._add(bits, peer.name, self._theirs(peer, task), began, peer=True)

    @property
    def dim(self) -> int:
        return int(self.data.corpus.shape[1])

    @property
    def _unit_rows(self) -> np.ndarray:
        return unit(self.data.corpus)

    @property
    def _unit_queries(self) -> np.ndarray:
        return unit(self.data.queries)

    def _ours(self, variant: Variant, spec: str) -> Found:
        codec = nb.fit(self.data.corpus, spec, seed=0)
        codes = codec.encode(self.data.corpus)
        hits = nb.search(
            codec, codes, self.data.queries, variant.k, variant.plan(codec), threads=self.threads
        )
        return Found(hits.ids, hits.scores, codec.n_bytes)

    def _theirs(self, peer: Peer, task: Task) -> Found:
        if self.cache is None:
            return peer.search(task)
        key = f"{self.data.name} {task.bits} {task.n_bytes} {peer.name} {LIMITS} {VERSIONS}"
        path = self.cache / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
        if path.exists():
            with np.load(path) as kept:
                return Found(kept["ids"], kept["scores"], float(kept["n_bytes"]))
        found = peer.search(task)
        with atomic_file(path) as file:
            np.savez_compressed(file, ids=found.ids, scores=found.scores, n_bytes=found.n_bytes)
        return found

    def _add(
        self, bits: float, name: str, found: Found, began: float, *,
        peer: bool = False, beside: bool = False,
    ) -> None:  # fmt: skip
        truth = self.data.truth.ids[:, :K]
        got = {"recall_10": recall_per_query(found.ids[:, :K], truth)}
        if found.ids.shape[1] >= TREC_DEPTH:
            got["recall_100"] = recall_per_query(found.ids, truth)
        quality = self.data.per_query(nb.Hits(found.ids.astype(np.int64), found.scores))
        if quality is not None and self.float_quality is not None:
            got["kept"] = quality / self.float_quality.mean()
        self.values[bits, name] = got
        means = {measure: float(values.mean()) for measure, values in got.items()}
        self.rows.append(
            Row(
                self.data.name, bits, name, peer, beside, found.n_bytes,
                means["recall_10"], means.get("recall_100"), self.data.measure,
                None if quality is None else float(quality.mean()), means.get("kept"),
                time.perf_counter() - began,
            )
        )  # fmt: skip
        figures = "  ".join(f"{figure:.3f}" for figure in means.values())
        seconds = self.rows[-1].seconds
        self.console.print(f"{self.data.name} {bits:g} {name}: {figures}  {seconds:.1f} s")

    def verdicts(self) -> Iterator[Verdict]:
        """nested beside the best of the others, by bits and measure."""
        beside = {(row.bits, row.search) for row in self.rows if row.beside}
        compared = {key: got for key, got in self.values.items() if key not in beside}
        for bits, name in compared:
            if name != OURS:
                continue
            ours = compared[bits, name]
            others = {n: got for (b, n), got in compared.items() if b == bits and n != OURS}
            for measure in MEASURES:
                if measure not in ours or not others:
                    continue
                by = max(others, key=lambda other: others[other][measure].mean())
                best = others[by][measure]
                error = (ours[measure] - best).std(ddof=1) / np.sqrt(len(best))
                yield Verdict(
                    self.data.name, bits, measure,
                    float(ours[measure].mean()), float(best.mean()), by, float(error),
                )  # fmt: skip


def unit(x: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return np.ascontiguousarray(x / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def detail_table(rows: list[Row]) -> list[list[str]]:
    """Searches of one dataset down; the best of each measure and bits in bold."""
    table = [["bits", "search", "bytes a row", *MEASURES.values()]]
    for row in rows:
        line = [f"{row.bits:g}", row.search, f"{row.n_bytes:.0f}"]
        for measure in MEASURES:
            value = getattr(row, measure)
            same = [r for r in rows if r.bits == row.bits and not r.beside]
            best = max((getattr(r, measure) or 0.0) for r in same)
            bold = value is not None and not row.beside and value >= best - TOLERANCE
            line.append(f"**{percent(value)}**" if bold else percent(value))
        table.append(line)
    return table


def verdict_table(verdicts: list[Verdict]) -> list[list[str]]:
    """nested and the best other search, a line for each dataset and bits."""
    table = [["data", "bits", *MEASURES.values()]]
    found = {(v.dataset, v.bits, v.measure): v for v in verdicts}
    for dataset, bits in dict.fromkeys((v.dataset, v.bits) for v in verdicts):
        line = [dataset, f"{bits:g}"]
        for measure in MEASURES:
            v = found.get((dataset, bits, measure))
            if v is None:
                line.append("")
                continue
            mark = {"won": "", "equal": " =", "lost": " **LOST**" if v.clear else " lost~"}
            line.append(f"{percent(v.ours)} : {percent(v.best)} {v.by}{mark[v.outcome]}")
        table.append(line)
    return table


def summary_table(verdicts: list[Verdict]) -> list[list[str]]:
    """Cells won, equal and lost by measure."""
    table = [["measure", "cells", "won", "equal", "lost", "of these beyond 2 standard errors"]]
    for measure, title in (*MEASURES.items(), (None, "all")):
        of = [v for v in verdicts if measure in (None, v.measure)]
        lost = [v for v in of if v.outcome == "lost"]
        counts = [sum(v.outcome == outcome for v in of) for outcome in ("won", "equal")]
        clear = sum(v.clear for v in lost)
        table.append([title, *map(str, (len(of), *counts, len(lost), clear))])
    return table


def goal_table(rows: list[Row]) -> list[list[str]]:
    """What half a bit keeps after rescoring."""
    table = [["data", "bytes scanned", "recall@10", "nDCG@10 kept", f"at least {GOAL:.1%}"]]
    ours = {(row.dataset, row.bits): row.n_bytes for row in rows if row.search == OURS}
    for row in rows:
        if row.beside:
            scanned = ours[row.dataset, row.bits]
            enough = "" if row.kept is None else "yes" if row.kept >= GOAL else "NO"
            kept = percent(row.kept)
            table.append([row.dataset, f"{scanned:.0f}", percent(row.recall_10), kept, enough])
    return table


def report(rows: list[Row], verdicts: list[Verdict], out: Path) -> dict[str, list[list[str]]]:
    tables = {
        "Cells where nested is best, equal or behind": summary_table(verdicts),
        "nested : the best other search of the same bits": verdict_table(verdicts),
        "Half a bit, 100 candidates rescored by int8": goal_table(rows),
    }
    notes = (
        f"Percent. Equal is within {100 * TOLERANCE:g} points; lost~ is within two standard "
        "errors, paired by query. Emoji: R@1 instead of nDCG@10. Bold: the best or equal to it. "
        f"{LIMITS}\n"
    )
    sections = [notes] + [f"## {title}\n\n{markdown(table)}" for title, table in tables.items()]
    for dataset in dict.fromkeys(row.dataset for row in rows):
        found = [row for row in rows if row.dataset == dataset]
        sections.append(f"## {dataset}\n\n{markdown(detail_table(found))}")
    out.mkdir(parents=True, exist_ok=True)
    full = {
        "environment": environment() | VERSIONS,
        "limits": LIMITS,
        "rows": [asdict(row) for row in rows],
        "verdicts": [asdict(v) | {"outcome": v.outcome, "clear": v.clear} for v in verdicts],
    }
    write(out / "nested_quality.json", json.dumps(full, indent=1) + "\n")
    write(out / "nested_quality.md", "\n".join(sections))
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--only", action="append", default=[], metavar="MODEL/COLLECTION")
    parser.add_argument("--without", action="append", default=[], metavar="SEARCH")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="keep the peers' hits here and read them again")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    names = {search.name for search in (*VARIANTS, *PEERS)} - {OURS}
    if unknown := set(arguments.without) - names:
        parser.error(f"no such search: {', '.join(unknown)}; there are {', '.join(sorted(names))}")
    faiss.omp_set_num_threads(arguments.threads)
    if arguments.cache:
        arguments.cache.mkdir(parents=True, exist_ok=True)

    console = Console(highlight=False)
    rows: list[Row] = []
    verdicts: list[Verdict] = []
    variants = tuple(v for v in VARIANTS if v.name not in arguments.without)
    peers = tuple(p for p in PEERS if p.name not in arguments.without)
    for data in datasets(arguments.data, arguments.only, unjudged=True):
        bench = Bench(data, arguments.threads, arguments.cache, console)
        bench.run(variants, peers)
        rows += bench.rows
        verdicts += bench.verdicts()
        tables = report(rows, verdicts, arguments.out)
    for title, table in tables.items():
        show(console, title, table)
    console.print(f"wrote {arguments.out}/nested_quality.json and nested_quality.md")


if __name__ == "__main__":
    main()
