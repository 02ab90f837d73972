"""Recall at a larger size is foretold from nested parts."""

from statistics import NormalDist

import numpy as np
import pytest

import nestbit as nb
from nestbit.advise import extrapolate
from nestbit.advise.truth import part_sizes, truth_of_parts
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


def test_a_line_of_probits_is_continued():
    sizes = np.array([1000, 2000, 4000, 8000])
    share = np.vectorize(lambda n: NormalDist().cdf(5 - 1.5 * np.sqrt(np.log(n / 10))))
    rng = np.random.default_rng(0)
    recalls = rng.binomial(10, share(sizes)[:, None], (4, 20_000)) / 10
    found = extrapolate(sizes, recalls, 64_000)
    assert found.recall.value == pytest.approx(float(share(64_000)), abs=0.01)
    assert abs(found.error) < 0.005
    assert found.held_back.low <= found.recalls[-1] <= found.held_back.high


def test_recall_of_normal_scores_with_errors_follows_the_line():
    """Scores like a normal's and errors of one size: what the line is derived from."""
    rng = np.random.default_rng(0)
    sizes, m = (2000, 4000, 8000, 64_000), 150
    scores = rng.standard_normal((m, sizes[-1])).astype(np.float32)
    noisy = scores + 0.1 * rng.standard_normal(scores.shape).astype(np.float32)
    recalls = [
        [
            np.isin(np.argpartition(-a[:n], 10)[:10], np.argpartition(-b[:n], 10)[:10]).mean()
            for a, b in zip(scores, noisy, strict=True)
        ]
        for n in sizes
    ]
    found = extrapolate(sizes[:-1], recalls[:-1], sizes[-1])
    assert np.mean(recalls[-1]) in found.recall
    assert abs(found.recall.value - np.mean(recalls[-1])) < 0.02


def test_a_curve_that_bends_widens_the_interval():
    sizes = (1000, 2000, 4000, 8000)
    rng = np.random.default_rng(0)
    straight, bent = (
        rng.binomial(10, np.array(shares)[:, None], (4, 500)) / 10
        for shares in ((0.9, 0.88, 0.856, 0.83), (0.9, 0.9, 0.89, 0.75))
    )
    narrow, wide = (extrapolate(sizes, r, 64_000).recall for r in (straight, bent))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_higher_confidence_against_chance_widens_only_its_part():
    rng = np.random.default_rng(0)
    recalls = rng.binomial(10, np.array([0.95, 0.94, 0.93, 0.92])[:, None], (4, 100)) / 10
    sizes = (1000, 2000, 4000, 8000)
    narrow = extrapolate(sizes, recalls, 64_000).recall
    wide = extrapolate(sizes, recalls, 64_000, by_chance=0.999).recall
    widest = extrapolate(sizes, recalls, 64_000, confidence=0.999).recall
    assert widest.low < wide.low < narrow.low
    assert widest.high > wide.high > narrow.high


def test_perfect_recall_stays_near_one_without_certainty():
    found = extrapolate((100, 200, 400), np.ones((3, 100)), 10_000).recall
    assert 0.99 < found.low <= found.value < 1


@pytest.mark.parametrize(
    ("sizes", "recalls", "rows"),
    [
        ((100, 200), np.ones((2, 5)), 1000),
        ((100, 200, 200), np.ones((3, 5)), 1000),
        ((100, 200, 400), np.ones((2, 5)), 1000),
        ((100, 200, 400), np.ones((3, 5)), 10),
        ((10, 20, 40), np.ones((3, 5)), 100),
    ],
)
def test_what_cannot_be_extrapolated_is_refused(sizes, recalls, rows):
    with pytest.raises(InputError):
        extrapolate(sizes, recalls, rows)


@pytest.mark.parametrize("n", [2000, 1999, 401])
def test_the_truth_of_a_block_is_that_of_its_rows_alone(rows, queries, n):
    sizes = part_sizes(n, 10)
    assert sizes[-1] == n
    parts = truth_of_parts(rows[:n], queries, 10, "cosine", sizes)
    assert tuple(part.rows for part in parts) == sizes
    for part in parts:
        for place, block in enumerate(part.blocks):
            assert (block.start, block.stop) == (place * part.rows, (place + 1) * part.rows)
            alone = exact_search(rows[block.start : block.stop], queries, 10)
            np.testing.assert_array_equal(block.ids, alone.ids + block.start)
            np.testing.assert_array_equal(block.scores, alone.scores)
