"""Overlap and rank correlations of candidates equal their definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestbit.errors import InputError
from nestbit.evaluate import kendall_tau, overlap_per_query, spearman_rho


def tau_b(x, y):
    """Kendall's tau-b, pair by pair."""
    both = [(a - b, c - d) for (a, c), (b, d) in itertools.combinations(zip(x, y, strict=True), 2)]
    agree = sum(np.sign(a) * np.sign(b) for a, b in both)
    sides = [sum(pair[side] != 0 for pair in both) for side in (0, 1)]
    return agree / np.sqrt(sides[0] * sides[1])


@given(st.integers(0, 2**32 - 1))
def test_kendall_tau_equals_the_count_of_pairs_also_with_ties(seed):
    pytest.importorskip("scipy")
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 5, (2, 3, 8))
    x[:, :2], y[:, :2] = (0, 1), (3, 4)
    expected = [tau_b(a, b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(kendall_tau(x, y), expected)


def test_spearman_of_tied_scores_shares_their_mean_rank():
    pytest.importorskip("scipy")
    ranks = np.array([1, 2.5, 2.5, 4]), np.array([4.0, 2, 1, 3])
    expected = np.corrcoef(*ranks)[0, 1]
    assert spearman_rho([[0.1, 0.5, 0.5, 0.9]], [[9, 2, 1, 3]])[0] == pytest.approx(expected)


def test_candidates_that_all_tie_have_no_order():
    pytest.importorskip("scipy")
    assert np.isnan(kendall_tau([[1, 1, 1]], [[1, 2, 3]])[0])
    assert np.isnan(spearman_rho([[1, 2, 3]], [[1, 1, 1]])[0])


def test_overlap_is_the_mean_over_depths():
    assert overlap_per_query([[1, 2, 3]], [[1, 3, 2]])[0] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert overlap_per_query([[1, 2], [5, 6]], [[1, 2], [7, 8]]).tolist() == [1, 0]


def test_a_change_at_the_top_costs_more_overlap_than_one_at_the_end():
    top, end = overlap_per_query([[9, 2, 3], [1, 2, 9]], [[1, 2, 3], [1, 2, 3]])
    assert top < end < 1


def test_nothing_found_matches_nothing():
    assert overlap_per_query([[1, -1, -1]], [[1, -1, -1]])[0] == pytest.approx(
        (1 + 1 / 2 + 1 / 3) / 3
    )


@pytest.mark.parametrize(
    ("found", "true", "words"),
    [
        ([[1, 2]], [[1, 2, 3]], "equal length"),
        ([[1, 1]], [[1, 2]], "found_ids of query 0 are repeated"),
        ([[1, 2], [1, 2]], [[1, 2], [4, 4]], "true_ids of query 1 are repeated"),
    ],
)
def test_rankings_that_cannot_be_compared_are_refused(found, true, words):
    with pytest.raises(InputError, match=words):
        overlap_per_query(found, true)


@pytest.mark.parametrize("bad", [[[1.0, np.nan]], [[1.0]], [[1.0, 2.0, 3.0]]])
def test_scores_that_cannot_be_ranked_are_refused(bad):
    pytest.importorskip("scipy")
    with pytest.raises(InputError):
        kendall_tau(bad, [[1.0, 2.0]])
