"""Recall at a larger size is foretold from nested parts."""

import numpy as np
import pytest

import nestbit as nb
from nestbit.advise import extrapolate
from nestbit.advise.truth import nested_truth, part_sizes
from nestbit.errors import InputError
from nestbit.evaluate import exact_search, recall_per_query
from synthetic import text_like


def recalls_of(spec, rows, queries, sizes, k=10):
    codec = nb.fit(rows[: sizes[0]], spec)
    codes = codec.encode(rows)
    found = []
    for size in sizes:
        ids = nb.search(codec, codes[:size], queries, k, threads=1).ids
        found.append(recall_per_query(ids, exact_search(rows[:size], queries, k).ids))
    return np.stack(found)


def test_recall_at_eight_times_the_rows_lies_in_the_interval():
    rows, queries = text_like(16_000, 48), text_like(200, 48, seed=1)
    sizes = (500, 1000, 2000, 16_000)
    for spec in ("binary", "int8", "pca(16) | int8"):
        recalls = recalls_of(spec, rows, queries, sizes)
        found = extrapolate(sizes[:-1], recalls[:-1], 16_000)
        assert recalls[-1].mean() in found.recall, spec
        assert abs(found.recall.value - recalls[-1].mean()) < 0.05, spec


def test_a_power_law_of_loss_is_continued():
    sizes = np.array([1000, 2000, 4000, 8000])
    rng = np.random.default_rng(0)
    shares = 1 / (1 + np.exp(-(3 - 0.3 * np.log2(sizes / 1000))))
    recalls = rng.binomial(10, shares[:, None], (4, 20_000)) / 10
    found = extrapolate(sizes, recalls, 64_000)
    assert found.recall.value == pytest.approx(1 / (1 + np.exp(-1.2)), abs=0.01)
    assert abs(found.error) < 0.005
    assert found.held_back.low <= found.recalls[-1] <= found.held_back.high


def test_a_curve_that_bends_widens_the_interval():
    sizes = (1000, 2000, 4000, 8000)
    rng = np.random.default_rng(0)
    straight, bent = (
        rng.binomial(10, np.array(shares)[:, None], (4, 500)) / 10
        for shares in ((0.9, 0.88, 0.856, 0.83), (0.9, 0.9, 0.89, 0.75))
    )
    narrow, wide = (extrapolate(sizes, r, 64_000).recall for r in (straight, bent))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_perfect_recall_stays_near_one_without_certainty():
    found = extrapolate((100, 200, 400), np.ones((3, 100)), 10_000).recall
    assert 0.99 < found.low <= found.value < 1


@pytest.mark.parametrize(
    ("sizes", "recalls", "rows"),
    [
        ((100, 200), np.ones((2, 5)), 1000),
        ((100, 200, 200), np.ones((3, 5)), 1000),
        ((100, 200, 400), np.ones((2, 5)), 1000),
        ((100, 200, 400), np.ones((3, 5)), 0),
    ],
)
def test_what_cannot_be_extrapolated_is_refused(sizes, recalls, rows):
    with pytest.raises(InputError):
        extrapolate(sizes, recalls, rows)


def test_the_truth_of_nested_parts_is_that_of_each_part_alone(rows, queries):
    sizes = part_sizes(len(rows), 10)
    assert sizes == (250, 500, 1000, 2000)
    for part in nested_truth(rows, queries, 10, "cosine", sizes):
        alone = exact_search(rows[: part.rows], queries, 10)
        np.testing.assert_array_equal(part.ids, alone.ids)
        np.testing.assert_array_equal(part.scores, alone.scores)
