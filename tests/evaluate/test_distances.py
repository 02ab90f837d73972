"""The measures over full distance matrices, and what is wrong with them as published."""

import numpy as np
import pytest

from nestbit.errors import InputError
from nestbit.evaluate import kendall_tau_score, normalized_difference_score, reorder_score
from synthetic import text_like


@pytest.fixture(autouse=True)
def _needs_scipy():
    pytest.importorskip("scipy")


def cosine_distances(x):
    return 1 - x @ x.T.astype(np.float64)


@pytest.fixture(scope="module")
def matrices():
    x = text_like(150, 64)
    signs = np.where(x > 0, 1.0, -1.0) / 8
    return cosine_distances(x), cosine_distances(signs)


@pytest.mark.parametrize("form", ["published", "corrected"])
def test_equal_distances_score_perfectly(matrices, form):
    d, _ = matrices
    assert reorder_score(d, d, form=form) == 1
    assert kendall_tau_score(d, d, form=form) == pytest.approx(1)
    assert normalized_difference_score(d, d, form=form) == 0


def test_correlated_argsorts_see_nothing_where_ranks_see_agreement(matrices):
    assert abs(kendall_tau_score(*matrices, form="published")) < 0.1
    assert kendall_tau_score(*matrices, form="corrected") > 0.4
    assert reorder_score(*matrices, form="published") < 0.45
    assert reorder_score(*matrices, form="corrected") > 0.6


def test_reversed_ranks_give_zero_and_minus_one():
    points = np.arange(8.0)
    d = np.abs(points[:, None] - points)
    assert reorder_score(d, -d) == pytest.approx(0, abs=0.2)  # ties at equal distances
    assert kendall_tau_score(d, -d) == pytest.approx(-1)


def test_a_constant_offset_of_all_distances_is_a_difference_only_as_published(matrices):
    d, _ = matrices
    shifted = d + 0.5 * (1 - np.eye(len(d)))
    assert normalized_difference_score(d, shifted, form="published") > 0.01
    assert normalized_difference_score(d, shifted, form="corrected") == pytest.approx(0, abs=1e-12)


def test_rows_without_an_order_are_left_out():
    flat = 1 - np.eye(4)
    assert np.isnan(kendall_tau_score(flat, flat))


@pytest.mark.parametrize(
    "bad", [np.zeros((3, 4)), np.zeros((2, 2)), np.full((3, 3), np.nan), np.zeros(3)]
)
def test_matrices_that_are_none_are_refused(bad):
    with pytest.raises(InputError):
        reorder_score(bad, bad)


def test_an_unknown_form_is_refused(matrices):
    with pytest.raises(InputError, match="published, corrected"):
        kendall_tau_score(*matrices, form="mended")
