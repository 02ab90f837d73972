"""`advise`: measure many recipes on a user's own embeddings and recommend one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import Floats, as_embeddings, check_k
from nestbit.advise.advice import Advice, Loser
from nestbit.advise.budget import Budget, Prices
from nestbit.advise.choice import Floor, choose
from nestbit.advise.diagnosis import diagnose
from nestbit.advise.intervals import Bootstrap
from nestbit.advise.options import Option, Scale, options_of
from nestbit.advise.recipes import Resident, default_grid, footprint_of
from nestbit.advise.sweep import Progress, Setting, Sweep, sweep
from nestbit.errors import InputError
from nestbit.evaluate import evaluate_run, hold_out, make_run
from nestbit.evaluate.runs import Qrels
from nestbit.kernels import default_threads

_LOSERS = 20
_MISSED = 3
_HELD_OUT = 500


def advise(
    embeddings: ArrayLike,
    queries: ArrayLike | None = None,
    qrels: Qrels | None = None,
    *,
    keep: float | None = None,
    recall: float | None = None,
    budget: Budget | None = None,
    rows: int | None = None,
    k: int = 10,
    metric: str = "cosine",
    specs: Sequence[str] | None = None,
    resident: Resident = "coarse",
    prices: Prices | None = None,
    confidence: float = 0.95,
    query_ids: Sequence[str] | None = None,
    doc_ids: Sequence[str] | None = None,
    query_texts: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    held_out: int = _HELD_OUT,
    sample: int = 20_000,
    threads: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> Advice:
    """Recommend the cheapest recipe that keeps enough on these ``embeddings`` (n, dim).

    ``queries`` (m, dim) are real queries; without them ``held_out`` rows are taken out of the
    corpus and asked. ``qrels`` {query id: {document id: grade}} judge them: ids are
    ``query_ids`` and ``doc_ids``, or else the row numbers as strings. The floor is ``keep``, a
    share of float's nDCG@k, or ``recall`` of the float top k; 0.99 or 0.95 if neither it nor a
    budget is given. The lower bound of a paired bootstrap interval must meet it. With ``rows``
    (or the budget's) recall is extrapolated to that size: a floor of recall must hold there, and
    for a floor of nDCG the recall that is enough for it now.

    ``specs`` replace the default grid. ``resident="coarse"`` keeps the first level in memory and
    the finer ones on disk. Codecs are fitted on ``sample`` rows. ``cache`` is a folder: a run that
    was interrupted, or has more specs, goes on from there. ``progress(done, total, what)`` is
    called after each step. All-zero rows are left out. The intervals hold for all recipes at
    once, so that the one recommended, or any other that is picked by its figures, keeps its
    promise with the given ``confidence``; they are for the mean over all queries like those
    asked, and `Advice.expect` has those for so many others. Specs beyond the budget are not
    fitted. Raises `InputError` for input that does not fit together, `SpecError` for a spec that
    does not parse.
    """
    x, given = as_embeddings(embeddings), None
    if queries is not None:
        given = as_embeddings(queries, name="queries", dim=None)
        if given.shape[1] != x.shape[1]:
            raise InputError(f"queries have {given.shape[1]} dimensions, the rows {x.shape[1]}")
    floor = _floor(keep, recall, budget, judged=qrels is not None)
    if qrels is not None and given is None:
        raise InputError("qrels judge queries: give the queries as well")
    rows = budget.rows if rows is None and budget is not None else rows
    if rows is not None and rows < 1:
        raise InputError(f"rows must be at least 1, got {rows}")
    if resident not in ("coarse", "all"):
        raise InputError(f"unknown resident {resident!r}; known: coarse, all")
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1, got {confidence}")
    prices = Prices() if prices is None else prices
    numbers = np.flatnonzero(x.any(axis=1))
    asked_numbers = None
    if given is None:
        held = hold_out(x, held_out, seed=seed)
        asked, asked_numbers = held.queries, held.query_numbers
        numbers = np.intersect1d(numbers, held.row_numbers, assume_unique=True)
    else:
        asked = given
    if len(asked) < 2:
        raise InputError(f"advice needs two queries or more, got {len(asked)}")
    corpus = x if len(numbers) == len(x) else x[numbers]
    check_k(k, len(corpus))
    diagnosis = diagnose(corpus, seed=seed)
    grid = default_grid(x.shape[1], matryoshka=diagnosis.matryoshka) if specs is None else specs
    if not grid:
        raise InputError("specs are empty: there is nothing to measure")
    measured = sweep(
        corpus,
        asked,
        tuple(dict.fromkeys(grid)),
        Setting(k, metric, sample, seed, growth=rows is not None and rows != len(corpus)),
        allows=None
        if budget is None
        else lambda sizes: budget.allows(footprint_of(sizes, resident), prices),
        threads=default_threads() if threads is None else threads,
        cache=None if cache is None else Path(cache),
        progress=progress,
    )
    order = numbers[measured.order]
    names = _Names(len(x), len(asked), query_ids, doc_ids, query_texts, texts, asked_numbers)
    truth = measured.parts[-1]
    judge = None if qrels is None else names.judge(qrels, k)
    (whole,) = truth.blocks
    true_ids = order[whole.ids]
    floats = np.ones(len(asked)) if judge is None else judge(true_ids, whole.scores)
    if qrels is not None and floats.mean() == 0:
        raise InputError("float search finds no relevant document: retention is undefined")
    scale = Scale(
        k=k,
        resident=resident,
        prices=prices,
        bootstrap=Bootstrap(len(asked), confidence=confidence, seed=seed),
        sizes=tuple(part.rows for part in measured.parts),
        rows=rows,
        judged=judge is not None,
        floats=floats,
    )
    if rows is not None and rows != len(corpus) and len(measured.parts) < 3:
        raise InputError(
            f"recall at {rows:,} rows cannot be told from {len(corpus):,}; leave rows out"
        )
    options = options_of(measured.results, order, scale, judge)
    choice = choose(options, floor, budget, prices, floats, confidence)
    shown = choice.option or max(options, key=lambda o: o.quality.value)
    return Advice(
        n=len(corpus),
        dim=x.shape[1],
        n_queries=len(asked),
        metric=metric,
        k=k,
        queries_from=_queries_from(len(asked), given is None, qrels is not None),
        float_ndcg=None if qrels is None else float(floats.mean()),
        float_milliseconds=measured.float_milliseconds,
        options=options,
        dropped=_dropped(measured),
        choice=choice,
        floor=floor,
        budget=budget,
        prices=prices,
        resident=resident,
        rows=rows,
        confidence=confidence,
        diagnosis=diagnosis,
        losers=names.losers(shown, floats, true_ids),
    )


def _floor(
    keep: float | None, recall: float | None, budget: Budget | None, *, judged: bool
) -> Floor | None:
    if keep is not None and recall is not None:
        raise InputError("give keep or recall as the floor, not both")
    if keep is not None:
        if not judged:
            raise InputError("keep is a share of float's nDCG, which needs qrels; or give recall")
        return Floor("keep", keep)
    if recall is not None:
        return Floor("recall", recall)
    limits = budget is not None and any(
        limit is not None
        for limit in (budget.bytes_per_vector, budget.gb, budget.dollars_per_month)
    )
    if limits:
        return None
    return Floor("keep", 0.99) if judged else Floor("recall", 0.95)


def _queries_from(m: int, held: bool, judged: bool) -> str:
    if held:
        return f"{m:,} rows held out of the corpus"
    return f"{m:,} queries with judgements" if judged else f"{m:,} queries without judgements"


def _dropped(measured: Sweep) -> tuple[tuple[str, str], ...]:
    return tuple((r.spec, r.dropped) for r in measured.results if r.dropped is not None)


class _Names:
    """Ids and texts of rows and queries, where the user gave any."""

    def __init__(
        self,
        n: int,
        m: int,
        query_ids: Sequence[str] | None,
        doc_ids: Sequence[str] | None,
        query_texts: Sequence[str] | None,
        texts: Sequence[str] | None,
        asked_numbers: NDArray[np.int64] | None,
    ) -> None:
        for name, given, count in (
            ("query_ids", query_ids, m),
            ("doc_ids", doc_ids, n),
            ("query_texts", query_texts, m),
            ("texts", texts, n),
        ):
            if given is not None and len(given) != count:
                raise InputError(f"{name} must be {count} strings, got {len(given)}")
        self.texts = texts
        self.docs = [str(i) for i in range(n)] if doc_ids is None else list(doc_ids)
        if asked_numbers is None:
            self.queries = [str(i) for i in range(m)] if query_ids is None else list(query_ids)
            self.query_texts = query_texts
        else:
            self.queries = [self.docs[i] for i in asked_numbers]
            self.query_texts = None if texts is None else [texts[i] for i in asked_numbers]

    def judge(
        self, qrels: Qrels, k: int
    ) -> Callable[[NDArray[np.int64], Floats], NDArray[np.float64]]:
        """A function from hits to nDCG@k of each query."""
        missing = [query for query in self.queries if query not in qrels]
        if missing:
            raise InputError(
                f"{len(missing)} of {len(self.queries)} queries are not judged (the first: "
                f"{missing[0]!r}); leave them out, or give query_ids that the qrels know"
            )
        wanted: Mapping[str, Mapping[str, int]] = {query: qrels[query] for query in self.queries}
        known = set(self.docs)
        if not any(doc in known for judged in wanted.values() for doc in judged):
            raise InputError("no judged document is among the rows: give the doc_ids of the qrels")
        measure = f"nDCG@{k}"

        def per_query(ids: NDArray[np.int64], scores: Floats) -> NDArray[np.float64]:
            run = make_run(self.queries, self.docs, ids, scores)
            found = evaluate_run(wanted, run, [measure]).per_query[measure]
            return np.array([found.get(query, 0.0) for query in self.queries])

        return per_query

    def losers(
        self, option: Option, floats: NDArray[np.float64], true_ids: NDArray[np.int64]
    ) -> tuple[Loser, ...]:
        """The queries that lose most by ``option``, worst first, where two digits show it."""
        worst = np.argsort(option.per_query - floats, kind="stable")[:_LOSERS]
        shows = np.round(floats, 2) > np.round(option.per_query, 2)
        return tuple(self._loser(int(i), floats[i], option, true_ids[i]) for i in worst if shows[i])

    def _loser(self, i: int, floats: float, option: Option, true: NDArray[np.int64]) -> Loser:
        missed = [int(row) for row in true if row not in option.ids[i]][:_MISSED]
        return Loser(
            query=self.queries[i],
            text=None if self.query_texts is None else self.query_texts[i],
            floats=float(floats),
            compressed=float(option.per_query[i]),
            missed=tuple(self.docs[row] for row in missed),
            missed_texts=() if self.texts is None else tuple(self.texts[row] for row in missed),
        )
