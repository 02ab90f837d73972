"""The demo's measurements: embed, compress, search, judge, time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit._extras import require
from nestbit.codecs import Codec, Codes, fit
from nestbit.demo.contenders import Contender, contenders, describe
from nestbit.demo.corpus import Corpus, Entry
from nestbit.errors import InputError
from nestbit.evaluate import exact_search, known_item_ndcg, recall_at_k
from nestbit.kernels import isa
from nestbit.models import EmbeddingModel, embed
from nestbit.search import Plan, search

K = 10
FLOAT = "float32"
ANSWERS_FROM = "binary + int8"

_ROUNDS = 7
_QUERIES_PER_ROUND = 30
# Two-sided 95% of the normal distribution, for the mean of paired differences; with fewer
# queries than this the mean is not normal, and no interval is given.
_Z95 = 1.96
ENOUGH_QUERIES = 30


@dataclass(frozen=True)
class Measured:
    """One line of the table; ``margin`` is half the 95% interval of ``retention``.

    ``recall`` is the share of the float top k found; ``retention`` this nDCG over float's, None
    where float finds no known item. ``milliseconds`` is the median of one query alone.
    """

    name: str
    plan: str
    n_bytes: int
    times_smaller: float
    recall: float
    ndcg: float
    retention: float | None
    margin: float | None
    milliseconds: float
    speed: float

    @property
    def verdict(self) -> str:
        """``ahead`` of float or ``behind`` it beyond the 95% interval, else ``level``.

        ``unknown`` without an interval: too few queries, or float finds no known item.
        """
        if self.retention is None or self.margin is None:
            return "unknown"
        if abs(self.retention - 1) <= self.margin:
            return "level"
        return "ahead" if self.retention > 1 else "behind"


@dataclass(frozen=True)
class Answer:
    """A typed query and the entries found for it from the compressed rows, with their scores."""

    query: str
    found: tuple[tuple[Entry, float], ...]


@dataclass(frozen=True)
class DemoResult:
    """Everything the table and the report show."""

    corpus: Corpus
    model: str
    n: int
    dim: int
    k: int
    n_queries: int
    seed: int
    baseline: Measured
    rows: tuple[Measured, ...]
    answers_from: str
    answers: tuple[Answer, ...]
    isa: str
    seconds: dict[str, float]

    @property
    def headline(self) -> Measured:
        """The smallest contender that keeps 99% of float's nDCG, else the one that keeps most."""
        kept = [row for row in self.rows if row.retention is not None]
        good = [row for row in kept if row.retention is not None and row.retention >= 0.99]
        if good:
            return min(good, key=lambda row: (row.n_bytes, row.milliseconds))
        return max(self.rows, key=lambda row: row.ndcg)


@dataclass(frozen=True)
class _Searcher:
    """A fitted contender; ``run`` searches queries (m, dim) and returns ids (m, k)."""

    contender: Contender
    codec: Codec
    codes: Codes
    plan: Plan
    k: int

    def run(self, queries: Floats, threads: int | None = None) -> NDArray[np.int64]:
        found = search(self.codec, self.codes, queries, k=self.k, plan=self.plan, threads=threads)
        return found.ids

    def run_alone(self, query: Floats) -> NDArray[np.int64]:
        return self.run(query, threads=1)


def run_demo(
    corpus: Corpus,
    model: EmbeddingModel,
    *,
    n_queries: int,
    seed: int,
    typed: tuple[str, ...] = (),
    progress: bool | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> DemoResult:
    """Embed ``corpus`` and measure every contender against float32 on held-out known items.

    ``typed`` queries are answered from the compressed rows; without any, the corpus's own
    examples, or three of the known-item queries. ``say`` is told what is being done. Raises
    `InputError` for a corpus without a known item and for ``n_queries`` below 1.
    """
    if n_queries < 1:
        raise InputError(f"at least 1 query is needed, got {n_queries}")
    known = corpus.known_items
    if not known:
        raise InputError(
            f"none of the texts ({len(corpus.entries)}) has a title, or a first sentence and a "
            "rest, to make a query of; give longer texts, or a table with a title column"
        )
    rng = np.random.default_rng(seed)
    items = np.sort(rng.choice(known, min(n_queries, len(known)), replace=False))
    seconds: dict[str, float] = {}

    with _timed(seconds, "embed"):
        say(f"embedding {len(corpus.entries):,} texts with {model.name}")
        rows = embed(model, [entry.document for entry in corpus.entries], progress=progress)
        sought = [corpus.entries[i].query for i in items]
        queries = embed(model, sought, kind="queries", progress=False)
    k = min(K, len(rows))
    with _timed(seconds, "compress"):
        searchers = []
        compared = contenders(model.dim, len(rows))
        say(f"compressing in {len(compared)} ways")
        for contender in compared:
            codec = fit(rows, contender.spec, model=model.name, seed=seed)
            plan = contender.plan(codec)
            searchers.append(_Searcher(contender, codec, codec.encode(rows), plan, k))
    with _timed(seconds, "search"):
        say(f"searching {len(items):,} queries with each")
        truth = exact_search(rows, queries, k).ids
        found = [searcher.run(queries) for searcher in searchers]
        say("timing single queries")
        timings = _latencies(rows, queries, searchers, k, rng)

    float_gains = _gains(truth, items, k)
    baseline = Measured(
        name=FLOAT,
        plan="every row, by NumPy's BLAS",
        n_bytes=4 * model.dim,
        times_smaller=1.0,
        recall=1.0,
        ndcg=float(float_gains.mean()),
        retention=1.0 if float_gains.any() else None,
        margin=0.0 if float_gains.any() else None,
        milliseconds=timings[0],
        speed=1.0,
    )
    measured = [
        _measure(searcher, ids, truth, items, float_gains, baseline, milliseconds)
        for searcher, ids, milliseconds in zip(searchers, found, timings[1:], strict=True)
    ]
    answering = next(s for s in searchers if s.contender.name == ANSWERS_FROM)
    asked = typed or corpus.examples or tuple(sought[:3])
    return DemoResult(
        corpus=corpus,
        model=model.name,
        n=len(rows),
        dim=model.dim,
        k=k,
        n_queries=len(items),
        seed=seed,
        baseline=baseline,
        rows=tuple(measured),
        answers_from=ANSWERS_FROM,
        answers=_answers(answering, corpus, model, asked),
        isa=isa(),
        seconds=seconds,
    )


def _measure(
    searcher: _Searcher,
    ids: NDArray[np.int64],
    truth: NDArray[np.int64],
    items: NDArray[np.int64],
    float_gains: NDArray[np.float64],
    baseline: Measured,
    milliseconds: float,
) -> Measured:
    gains = _gains(ids, items, searcher.k)
    base = float(float_gains.mean())
    margin = None
    if base > 0 and len(gains) >= ENOUGH_QUERIES:
        spread = float(np.std(gains - float_gains, ddof=1))
        margin = _Z95 * spread / float(np.sqrt(len(gains))) / base
    n_bytes = searcher.codec.n_bytes
    return Measured(
        name=searcher.contender.name,
        plan=describe(searcher.plan, searcher.codec, searcher.k, len(searcher.codes)),
        n_bytes=n_bytes,
        times_smaller=baseline.n_bytes / n_bytes,
        recall=recall_at_k(ids, truth),
        ndcg=float(gains.mean()),
        retention=float(gains.mean()) / base if base > 0 else None,
        margin=margin,
        milliseconds=milliseconds,
        speed=baseline.milliseconds / milliseconds,
    )


def _gains(ids: NDArray[np.int64], items: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Return nDCG@k of each query alone, for paired intervals."""
    pairs = zip(ids, items, strict=True)
    return np.array([known_item_ndcg(i[None], item[None], k) for i, item in pairs])


def _latencies(
    rows: Floats,
    queries: Floats,
    searchers: list[_Searcher],
    k: int,
    rng: np.random.Generator,
) -> list[float]:
    """Median milliseconds of one query on one thread: float32 by BLAS first, then each searcher.

    The methods take turns, round by round, so that a slow moment of the machine hits them all.
    One thread, because BLAS waits for its second one by spinning: on a busy machine that made
    the product ten times slower, and every codec look ten times better.
    """
    threads = require("threadpoolctl", extra="demo", purpose="timing BLAS on one thread")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths == 0, 1, lengths)

    def exhaustive(query: Floats) -> NDArray[np.int64]:
        scores = unit @ query[0]
        best = np.argpartition(scores, len(scores) - k)[-k:]
        return best[np.argsort(-scores[best])]

    methods: list[Callable[[Floats], NDArray[np.int64]]] = [exhaustive]
    methods += [searcher.run_alone for searcher in searchers]
    spans: list[list[float]] = [[] for _ in methods]
    with threads.threadpool_limits(1, user_api="blas"):
        for _ in range(_ROUNDS):
            chosen = rng.integers(len(queries), size=_QUERIES_PER_ROUND)
            for method, span in zip(methods, spans, strict=True):
                method(queries[chosen[:1]])  # the first call after another method finds cold caches
                for i in chosen:
                    query = queries[i : i + 1]
                    began = time.perf_counter()
                    method(query)
                    span.append(time.perf_counter() - began)
    return [1e3 * float(np.median(span)) for span in spans]


def _answers(
    searcher: _Searcher, corpus: Corpus, model: EmbeddingModel, asked: tuple[str, ...]
) -> tuple[Answer, ...]:
    queries = embed(model, asked, kind="queries", progress=False)
    hits = search(searcher.codec, searcher.codes, queries, k=min(3, searcher.k), plan=searcher.plan)
    return tuple(
        Answer(
            query=query,
            found=tuple(
                (corpus.entries[i], float(score)) for i, score in zip(ids, scores, strict=True)
            ),
        )
        for query, ids, scores in zip(asked, hits.ids, hits.scores, strict=True)
    )


class _timed:  # noqa: N801 - reads as a statement
    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *rest: object) -> None:
        self._seconds[self._name] = time.perf_counter() - self._began
