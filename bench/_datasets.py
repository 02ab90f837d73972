"""The embeddings of real collections that the quality benchmarks measure on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

import nestbit as nb
from nestbit.evaluate import evaluate_run, exact_search, known_item_ndcg, make_run, read_beir

TREC_DEPTH = 100  # the reference figures are of runs this deep


@dataclass(frozen=True)
class Dataset:
    """A model's embeddings of one collection."""

    root: Path
    model: str
    collection: str

    @property
    def name(self) -> str:
        return f"{self.model}/{self.collection}"

    @property
    def measure(self) -> str:
        return "nDCG@10" if self._judged else "R@1"

    @cached_property
    def corpus(self) -> np.ndarray:
        return self._load("corpus")

    @cached_property
    def queries(self) -> np.ndarray:
        return self._load("queries")

    @cached_property
    def truth(self) -> nb.Hits:
        """The float top 100."""
        return exact_search(self.corpus, self.queries, TREC_DEPTH)

    def quality(self, hits: nb.Hits) -> float:
        """The dataset's measure."""
        doc_ids, query_ids = self._ids("corpus"), self._ids("queries")
        if self._judged:
            run = make_run(query_ids, doc_ids, hits.ids, hits.scores)
            return evaluate_run(self._qrels, run, [self.measure]).means[self.measure]
        # Without judgements, a query's one relevant row is the row of the same id.
        place = {doc_id: row for row, doc_id in enumerate(doc_ids)}
        return known_item_ndcg(hits.ids, [place[query_id] for query_id in query_ids], k=1)

    def per_query(self, hits: nb.Hits) -> np.ndarray | None:
        """The dataset's measure of each query; None where nothing but the float top is known."""
        doc_ids, query_ids = self._ids("corpus"), self._ids("queries")
        if self._judged:
            run = make_run(query_ids, doc_ids, hits.ids, hits.scores)
            by_query = evaluate_run(self._qrels, run, [self.measure]).per_query[self.measure]
            return np.array([by_query.get(query, 0.0) for query in self._qrels])
        place = {doc_id: row for row, doc_id in enumerate(doc_ids)}
        return (hits.ids[:, 0] == [place[query_id] for query_id in query_ids]).astype(np.float64)

    def ndcg(self, hits: nb.Hits) -> np.ndarray | None:
        """nDCG@10 of each query, in their order; None where nothing but the float top is known."""
        doc_ids, query_ids = self._ids("corpus"), self._ids("queries")
        run = make_run(query_ids, doc_ids, hits.ids[:, :10], hits.scores[:, :10])
        qrels = self._qrels if self._judged else {query: {query: 1} for query in query_ids}
        by_query = evaluate_run(qrels, run, ["nDCG@10"]).per_query["nDCG@10"]
        return np.array([by_query.get(query, 0.0) for query in query_ids])

    @property
    def _judged(self) -> bool:
        return (self.root / "collections" / self.collection).is_dir()

    @cached_property
    def _qrels(self) -> dict[str, dict[str, int]]:
        return read_beir(self.root / "collections" / self.collection).qrels

    def _load(self, part: str) -> np.ndarray:
        path = self.root / "embeddings" / self.model / f"{self.collection}_{part}.npy"
        return np.load(path).astype(np.float32)

    def _ids(self, part: str) -> list[str]:
        path = self.root / "embeddings" / self.model / f"{self.collection}_{part}.ids.txt"
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


@dataclass(frozen=True)
class HeldOut(Dataset):
    """A model's embeddings without queries: ``held`` random rows are asked of the others."""

    held: int = 500
    seed: int = 0

    @property
    def measure(self) -> str:
        return "recall alone"

    @cached_property
    def corpus(self) -> np.ndarray:
        return np.delete(self._rows, self._asked, axis=0)

    @cached_property
    def queries(self) -> np.ndarray:
        return self._rows[self._asked]

    def per_query(self, hits: nb.Hits) -> None:
        """Nothing is judged."""
        return None

    def ndcg(self, hits: nb.Hits) -> None:
        """Nothing is judged."""
        return None

    @property
    def _rows(self) -> np.ndarray:
        path = self.root / "embeddings" / self.model / f"{self.collection}.npy"
        return np.load(path).astype(np.float32)

    @cached_property
    def _asked(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(len(self._rows), self.held, replace=False))


def held_out(root: Path) -> list[Dataset]:
    """Every model and collection that has no queries."""
    paths = sorted((root / "embeddings").glob("*/*.npy"))
    return [
        HeldOut(root, path.parent.name, path.stem)
        for path in paths
        if not path.stem.endswith(("_corpus", "_queries"))
    ]


def datasets(root: Path, only: list[str], *, unjudged: bool = False) -> list[Dataset]:
    """Every model and collection with queries, or those that ``only`` names.

    ``unjudged`` adds those without.
    """
    found: list[Dataset] = [
        Dataset(root, path.parent.name, path.name.removesuffix("_queries.npy"))
        for path in sorted((root / "embeddings").glob("*/*_queries.npy"))
    ]
    if unjudged:
        found += held_out(root)
    chosen = [d for d in found if not only or d.name in only]
    unknown = set(only) - {d.name for d in found}
    if unknown or not chosen:
        raise SystemExit(
            f"no such data: {', '.join(sorted(unknown)) or root}; "
            f"there is: {', '.join(d.name for d in found) or 'nothing'}"
        )
    return chosen
