"""Judged queries: runs, and their measures by trec_eval's conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nestbit._extras import require
from nestbit.errors import InputError

Qrels = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Evaluation:
    """The mean of each measure over the judged queries, and its value for each of them.

    ``means[measure]`` and ``per_query[measure][query_id]``; the measures are spelled as asked.
    """

    means: dict[str, float]
    per_query: dict[str, dict[str, float]]


def make_run(
    query_ids: Sequence[str],
    doc_ids: Sequence[str],
    ids: ArrayLike,
    scores: ArrayLike | None = None,
) -> dict[str, dict[str, float]]:
    """A run from the row numbers ``ids`` (m, k) that a search returned, best first.

    Row i of ``ids`` belongs to ``query_ids[i]``, and its numbers index ``doc_ids``; negative
    numbers mean "nothing found". trec_eval sorts a run again: by score, and equal scores by
    descending document id. With the ``scores`` (m, k) of the search that is the order
    evaluated, as in published figures; without, a document's score is k minus its place, which
    keeps the order of the search. Raises `InputError` for ids or scores that do not match, for
    scores that are not finite, for documents repeated within a query, and for repeated query
    ids.
    """
    rows = np.asarray(ids)
    if rows.ndim != 2 or rows.dtype.kind not in "iu" or len(rows) != len(query_ids):
        raise InputError(
            f"ids must be row numbers of shape ({len(query_ids)}, k), one row per query, "
            f"got {rows.dtype} of shape {rows.shape}"
        )
    if len(set(query_ids)) != len(query_ids):
        raise InputError("query_ids hold the same id twice")
    if rows.size and int(rows.max()) >= len(doc_ids):
        raise InputError(f"ids hold row {int(rows.max())}, doc_ids only {len(doc_ids)} documents")
    if scores is None:
        values = np.broadcast_to(np.arange(rows.shape[1], 0, -1, dtype=np.float64), rows.shape)
    else:
        values = np.asarray(scores, dtype=np.float64)
        if values.shape != rows.shape:
            raise InputError(f"scores have shape {values.shape}, ids {rows.shape}")
        if not np.isfinite(values[rows >= 0]).all():
            raise InputError("scores hold NaN or infinity, which a run cannot be sorted by")
    run: dict[str, dict[str, float]] = {}
    for query_id, found, worth in zip(query_ids, rows.tolist(), values.tolist(), strict=True):
        kept = {doc_ids[r]: score for r, score in zip(found, worth, strict=True) if r >= 0}
        if len(kept) != sum(row >= 0 for row in found):
            raise InputError(f"the documents found for query {query_id!r} are not distinct")
        run[query_id] = kept
    return run


def evaluate_run(qrels: Qrels, run: Run, measures: Sequence[str] = ("nDCG@10",)) -> Evaluation:
    """Measure a ``run`` {query: {document: score}} against ``qrels`` {query: {document: grade}}.

    ``measures`` are ir_measures names such as "nDCG@10", "R@100", "RR", "AP"; trec_eval
    computes them, so that nDCG takes the grade itself as the gain and log2(rank + 1) as the
    discount. Means are over all queries of ``qrels``: a query missing from the run counts 0
    (trec_eval -c), one that is not judged is an `InputError`, as are empty qrels and unknown
    measures. Needs the extra ``eval``.
    """
    library = require("ir_measures", extra="eval", purpose="evaluating a run")
    if not qrels:
        raise InputError("the qrels are empty: there is no judged query to evaluate")
    unjudged = [query for query in run if query not in qrels]
    if unjudged:
        raise InputError(
            f"{len(unjudged)} of {len(run)} queries in the run are not judged "
            f"(the first: {unjudged[0]!r}); drop them or use the qrels of their split"
        )
    if not measures:
        raise InputError("no measures were asked for")
    names = {_parse_measure(library, name): name for name in measures}
    # trec_eval's binding takes plain dicts, ints and floats only.
    grades = {query: {doc: int(grade) for doc, grade in of.items()} for query, of in qrels.items()}
    scores = {query: {doc: float(score) for doc, score in of.items()} for query, of in run.items()}
    per_query: dict[str, dict[str, float]] = {name: {} for name in names.values()}
    for value in library.iter_calc(list(names), grades, scores):
        per_query[names[value.measure]][value.query_id] = float(value.value)
    means = {name: sum(by_query.values()) / len(qrels) for name, by_query in per_query.items()}
    return Evaluation(means, per_query)


def _parse_measure(library: ModuleType, name: str) -> Any:
    try:
        measure = library.parse_measure(name)
        measure.validate_params()
        supported = library.DefaultPipeline.supports(measure)
    except (NameError, ValueError, SyntaxError, AssertionError) as error:
        raise InputError(
            f"unknown measure {name!r} ({error}); measures are spelled like nDCG@10, R@100, RR, AP"
        ) from error
    if not supported:
        raise InputError(f"no installed package computes the measure {name!r}")
    return measure
