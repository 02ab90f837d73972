"""Runs and their measures follow trec_eval: checked against formulas written out here."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestbit.errors import InputError, MissingExtraError
from nestbit.evaluate import evaluate_run, make_run

QRELS = {"a": {"d1": 2, "d2": 1, "d3": 0}, "b": {"d9": 1}}


@pytest.fixture(autouse=True)
def _needs_ir_measures():
    pytest.importorskip("ir_measures")


def ndcg(ranking, grades, k):
    """Järvelin and Kekäläinen with the grade as gain and log2(rank + 1) as discount."""
    gains = [max(0, grades.get(doc, 0)) for doc in ranking[:k]]
    ideal = sorted((g for g in grades.values() if g > 0), reverse=True)[:k]
    dcg, best = (sum(g / math.log2(i + 2) for i, g in enumerate(x)) for x in (gains, ideal))
    return dcg / best if best else 0.0


def test_ndcg_takes_the_grade_as_gain():
    run = {"a": {"d2": 3.0, "d1": 2.0}, "b": {"d1": 1.0}}
    evaluation = evaluate_run(QRELS, run, ["nDCG@10"])
    expected = (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))
    assert evaluation.per_query["nDCG@10"] == {"a": pytest.approx(expected), "b": 0}
    assert evaluation.means["nDCG@10"] == pytest.approx(expected / 2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_ndcg_equals_the_formula_on_any_ranking(seed, k):
    rng = np.random.default_rng(seed)
    docs, queries = [f"d{i}" for i in range(15)], ["a", "b", "c"]
    ids = np.array([rng.permutation(15)[:10] for _ in queries])
    qrels = {query: {doc: int(rng.integers(0, 4)) for doc in docs[::2]} for query in queries}
    per_query = evaluate_run(qrels, make_run(queries, docs, ids), [f"nDCG@{k}"]).per_query
    for query, row in zip(queries, ids, strict=True):
        expected = ndcg([docs[i] for i in row], qrels[query], k)
        assert per_query[f"nDCG@{k}"][query] == pytest.approx(expected)


def test_several_measures_come_back_under_the_names_asked_for():
    run = {"a": {"d3": 9.0, "d1": 8.0}, "b": {"d9": 1.0}}
    means = evaluate_run(QRELS, run, ["R@1", "R@100", "RR", "P@1"]).means
    assert means == {"R@1": 0.5, "R@100": 0.75, "RR": 0.75, "P@1": 0.5}


def test_a_judged_query_missing_from_the_run_counts_zero():
    evaluation = evaluate_run(QRELS, {"b": {"d9": 1.0}}, ["nDCG@10"])
    assert evaluation.means == {"nDCG@10": 0.5}
    assert evaluation.per_query["nDCG@10"]["a"] == 0


def test_a_run_keeps_the_order_of_the_hits_past_every_tie_rule():
    # trec_eval alone would break ties by descending document id, against this order.
    docs = [f"d{i}" for i in range(100)]
    run = make_run(["q"], docs, np.arange(100)[None, :])
    assert sorted(run["q"], key=run["q"].__getitem__, reverse=True) == docs
    assert evaluate_run({"q": {"d0": 1}}, run, ["RR"]).means["RR"] == 1


def test_with_scores_equal_ones_go_by_descending_document_id_as_in_trec_eval():
    run = make_run(["q"], ["d1", "d2", "d3"], [[0, 1, 2]], [[0.5, 0.5, 0.1]])
    assert run == {"q": {"d1": 0.5, "d2": 0.5, "d3": 0.1}}
    assert evaluate_run({"q": {"d1": 1}}, run, ["RR"]).means["RR"] == 0.5


@pytest.mark.parametrize(
    ("scores", "message"),
    [([[1.0]], "scores have shape"), ([[1.0, np.nan]], "NaN or infinity")],
)
def test_a_run_refuses_scores_that_do_not_match(scores, message):
    with pytest.raises(InputError, match=message):
        make_run(["q"], ["x", "y"], [[0, 1]], scores)


def test_a_run_leaves_out_places_where_nothing_was_found():
    assert make_run(["q"], ["x", "y"], [[1, -1, -1]]) == {"q": {"y": 3.0}}


@pytest.mark.parametrize(
    ("query_ids", "doc_ids", "ids", "message"),
    [
        (["q"], ["x"], [[0], [0]], r"shape \(1, k\)"),
        (["q"], ["x"], [[1]], "ids hold row 1, doc_ids only 1"),
        (["q"], ["x", "y"], [[1, 1]], "query 'q' are not distinct"),
        (["q", "q"], ["x"], [[0], [0]], "same id twice"),
        (["q"], ["x"], [[0.0]], "float64"),
    ],
)
def test_a_run_refuses_ids_that_do_not_match(query_ids, doc_ids, ids, message):
    with pytest.raises(InputError, match=message):
        make_run(query_ids, doc_ids, ids)


@pytest.mark.parametrize(
    ("qrels", "run", "measures", "message"),
    [
        ({}, {}, ["RR"], "qrels are empty"),
        (QRELS, {"z": {"d1": 1.0}}, ["RR"], "1 of 1 queries in the run are not judged"),
        (QRELS, {}, ["nDCG@@"], "unknown measure 'nDCG@@'"),
        (QRELS, {}, ["R"], "unknown measure 'R'"),
        (QRELS, {}, ["Best@3"], "unknown measure 'Best@3'"),
        (QRELS, {}, [], "no measures"),
    ],
)
def test_evaluation_refuses_what_it_cannot_measure(qrels, run, measures, message):
    with pytest.raises(InputError, match=message):
        evaluate_run(qrels, run, measures)


def test_without_ir_measures_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtraError, match=r"nestbit\[eval\]"):
        evaluate_run(QRELS, {}, ["RR"])
