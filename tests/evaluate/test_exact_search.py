"""`exact_search` is the ground truth: checked against a plain float64 computation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestbit.errors import InputError
from nestbit.evaluate import exact_search, recall_at_k

METRICS = ["cosine", "dot", "l2"]


def plain_scores(x, q, metric):
    x, q = x.astype(np.float64), q.astype(np.float64)
    if metric == "l2":
        return -((q[:, None, :] - x[None, :, :]) ** 2).sum(axis=2)
    if metric == "cosine":
        x, q = (a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-300) for a in (x, q))
    return q @ x.T


def plain_search(x, q, k, metric):
    scores = plain_scores(x, q, metric).astype(np.float32)
    ids = np.array([sorted(range(len(x)), key=lambda i, s=s: (-s[i], i))[:k] for s in scores])
    return ids, np.take_along_axis(scores, ids, axis=1)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "m", "dim", "k"), [(1, 1, 1, 1), (50, 3, 7, 50), (300, 9, 40, 10)])
def test_it_finds_what_sorting_all_scores_finds(metric, n, m, dim, k):
    rng = np.random.default_rng(n)
    x, q = rng.standard_normal((n, dim)), rng.standard_normal((m, dim))
    hits = exact_search(x, q, k, metric=metric)
    ids, scores = plain_search(x.astype(np.float32), q.astype(np.float32), k, metric)
    assert np.array_equal(hits.ids, ids)
    np.testing.assert_allclose(hits.scores, scores, rtol=1e-6, atol=1e-6)
    assert hits.ids.dtype == np.int64
    assert hits.scores.dtype == np.float32


@given(st.integers(0, 2**32 - 1), st.sampled_from(METRICS), st.integers(1, 90), st.integers(1, 9))
@settings(max_examples=300)
def test_blocks_of_any_size_give_the_same_hits(seed, metric, block_values, dim):
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (40, dim)).astype(np.float32)  # few values: many exact ties
    q = rng.integers(-2, 3, (7, dim)).astype(np.float32)
    whole = exact_search(x, q, 9, metric=metric)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nestbit.evaluate.exact._BLOCK_VALUES", block_values)
        patch.setattr("nestbit.evaluate.exact._QUERIES_AT_ONCE", 3)
        blocked = exact_search(x, q, 9, metric=metric)
    assert np.array_equal(whole.ids, blocked.ids)
    assert np.array_equal(whole.scores, blocked.scores)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_rows_tie_and_come_by_row_number(metric):
    rng = np.random.default_rng(0)
    x = np.repeat(rng.standard_normal((4, 33), dtype=np.float32), 25, axis=0)
    order = rng.permutation(len(x))
    hits = exact_search(x[order], x[:1], 25, metric=metric)
    assert np.array_equal(hits.ids[0], np.sort(np.flatnonzero(order < 25)))
    assert len(np.unique(hits.scores)) == 1


def test_a_zero_row_scores_zero_by_cosine_and_dot():
    x = np.array([[0.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])
    for metric in ("cosine", "dot"):
        hits = exact_search(x, [[1.0, 0.0]], 3, metric=metric)
        assert hits.ids.tolist() == [[2, 0, 1]]
        assert hits.scores[0, 1] == 0


def test_cosine_does_not_depend_on_lengths():
    rng = np.random.default_rng(1)
    x, q = rng.standard_normal((60, 8)), rng.standard_normal((5, 8))
    scaled = x * rng.uniform(0.1, 10, (60, 1))
    assert np.array_equal(exact_search(x, q).ids, exact_search(scaled, q).ids)
    assert not np.array_equal(exact_search(scaled, q, metric="dot").ids, exact_search(x, q).ids)


def test_l2_scores_are_never_positive_even_far_from_the_origin():
    x = np.full((5, 3), 1e4) + np.arange(5)[:, None]
    hits = exact_search(x, x, 5, metric="l2")
    assert (hits.scores <= 0).all()
    assert hits.ids[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_orthogonal_rows_score_zero_and_tie():
    x = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2], [-3, 3, 0]], np.float32)
    hits = exact_search(x, [[1, 1, 1]], 4)
    assert hits.ids.tolist() == [[0, 1, 2, 3]]
    assert hits.scores[0, 1:].tolist() == [0, 0, 0]


def test_no_queries_give_no_hits_of_the_right_shape():
    hits = exact_search(np.eye(4), np.empty((0, 4)), 2)
    assert hits.ids.shape == hits.scores.shape == (0, 2)


def test_it_agrees_with_itself_as_ground_truth():
    x = np.random.default_rng(2).standard_normal((100, 16))
    truth = exact_search(x, x[:20], 10)
    assert recall_at_k(truth.ids, truth.ids) == 1


@pytest.mark.parametrize(
    ("x", "q", "k", "metric", "message"),
    [
        (np.eye(4), np.eye(3), 1, "dot", "queries have 3 dimensions, the embeddings 4"),
        (np.eye(4), np.eye(4), 5, "dot", "k must be between 1 and the number of rows"),
        (np.eye(4), np.eye(4), 0, "dot", "k must be between"),
        (np.eye(4), np.eye(4), 1, "ip", "known: cosine, dot, l2"),
        (np.eye(4), np.eye(4) * np.nan, 1, "dot", "queries hold nan at row 0"),
        (np.eye(4)[0], np.eye(4), 1, "dot", "shape"),
        (np.empty((0, 4)), np.eye(4), 1, "dot", "no rows to search"),
    ],
)
def test_bad_input_is_refused_with_what_was_found(x, q, k, metric, message):
    with pytest.raises(InputError, match=message):
        exact_search(x, q, k, metric=metric)
