"""Recall and known-item nDCG: worked cases, and agreement with trec_eval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestbit.errors import InputError
from nestbit.evaluate import (
    evaluate_run,
    known_item_ndcg,
    make_run,
    recall_at_k,
    recall_per_query,
)


def test_recall_is_the_share_of_true_ids_found():
    found = [[3, 1, 2], [7, 8, 9]]
    true = [[1, 2, 5], [9, 8, 7]]
    assert recall_per_query(found, true).tolist() == [2 / 3, 1]
    assert recall_at_k(found, true) == pytest.approx(5 / 6)


def test_recall_counts_a_repeated_found_id_once_and_a_negative_one_never():
    assert recall_at_k([[1, 1, 1, -1]], [[1, 2]]) == 0.5


def test_recall_of_the_top_2_in_a_wider_result():
    assert recall_at_k([[9, 8, 2, 1]], [[1, 2]]) == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_recall_equals_the_set_definition(seed, w, k):
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 15, (5, w))
    true = np.array([rng.permutation(15)[:k] for _ in range(5)])
    expected = [
        len(set(f) & set(t)) / k for f, t in zip(found.tolist(), true.tolist(), strict=True)
    ]
    np.testing.assert_allclose(recall_per_query(found, true), expected)


@pytest.mark.parametrize(
    ("found", "true", "message"),
    [
        ([[1]], [[1], [2]], "found_ids are for 1 queries, true_ids for 2"),
        ([[1]], [[1, 1]], "query 0 are negative or repeated"),
        ([[1], [1]], [[1], [-1]], "query 1 are negative"),
        ([[1.0]], [[1]], "found_ids must be whole numbers"),
        ([1], [[1]], "found_ids must be"),
        (np.empty((1, 0), int), np.empty((1, 0), int), "true_ids hold no ids"),
        (np.empty((0, 2), int), np.empty((0, 2), int), "no queries to average"),
    ],
)
def test_recall_refuses_ids_that_do_not_match(found, true, message):
    with pytest.raises(InputError, match=message):
        recall_at_k(found, true)


def test_a_known_item_scores_1_over_log2_of_its_rank_plus_1():
    ids = np.array([[5, 6, 7, 8]] * 5)
    for item, expected in [(5, 1), (6, 1 / np.log2(3)), (7, 0.5), (8, 0), (99, 0)]:
        assert known_item_ndcg(ids[:1], [item], k=3) == pytest.approx(expected)
    mean = (1 + 1 / np.log2(3) + 0.5) / 5
    assert known_item_ndcg(ids, [5, 6, 7, 8, 99], k=3) == pytest.approx(mean)


@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_known_item_ndcg_equals_trec_eval(seed, k):
    pytest.importorskip("ir_measures")
    rng = np.random.default_rng(seed)
    ids = np.array([rng.permutation(12)[:10] for _ in range(6)])
    items = rng.integers(0, 12, 6)
    queries, docs = [f"q{i}" for i in range(6)], [f"d{i}" for i in range(12)]
    qrels = {query: {docs[item]: 1} for query, item in zip(queries, items, strict=True)}
    evaluation = evaluate_run(qrels, make_run(queries, docs, ids), [f"nDCG@{k}"])
    assert known_item_ndcg(ids, items, k) == pytest.approx(evaluation.means[f"nDCG@{k}"])


@pytest.mark.parametrize(
    ("ids", "item", "k", "message"),
    [
        ([[1, 2]], [1, 2], 1, "one row number for each of the 1 queries"),
        ([[1, 2]], [1.0], 1, "got float64"),
        ([[1, 2]], [1], 3, "k must be between 1 and the 2 ids"),
        ([[1, 2]], [1], 0, "k must be between"),
        (np.empty((0, 2), int), np.empty(0, int), 1, "no queries"),
    ],
)
def test_known_item_ndcg_refuses_ids_that_do_not_match(ids, item, k, message):
    with pytest.raises(InputError, match=message):
        known_item_ndcg(ids, item, k)
