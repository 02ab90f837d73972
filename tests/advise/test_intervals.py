"""Bootstrap intervals cover what they should, and tell how many queries are needed."""

import numpy as np
import pytest

from nestbit.advise.intervals import FEWEST_QUERIES, Bootstrap, needed_queries


def paired(rng, m):
    """nDCG-like values, and the same with a tenth of the queries losing a third."""
    floats = rng.choice([0, 0.4, 0.6, 1], m)
    return floats, floats * np.where(rng.random(m) < 0.1, 2 / 3, 1)


def test_the_interval_covers_the_true_ratio_in_about_95_of_100_collections():
    inside = 0
    for seed in range(200):
        floats, kept = paired(np.random.default_rng(seed), 300)
        true = 1 - 0.1 / 3
        inside += true in Bootstrap(300, draws=400, seed=seed).ratio(kept, floats, 0.1)
    assert 0.90 <= inside / 200 <= 1


def test_more_queries_give_a_narrower_interval():
    few, many = (paired(np.random.default_rng(0), m) for m in (100, 3000))
    wide, narrow = (Bootstrap(len(f)).ratio(k, f, 0.1) for f, k in (few, many))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_no_loss_among_few_queries_is_no_certainty():
    ones = np.ones(60)
    found = Bootstrap(60).mean(ones, 0.1)
    assert found.value == found.high == 1
    assert 0.99 < found.low < 1


def test_needed_queries_narrow_the_interval_to_the_floor():
    floats, kept = paired(np.random.default_rng(1), 400)
    ratio = kept.mean() / floats.mean()
    floor = ratio - 0.004
    needed = needed_queries(kept, floats, floor, 0.95)
    assert needed > 400
    many = np.arange(needed // 400 * 400) % 400
    low = Bootstrap(len(many)).ratio(kept[many], floats[many], 0).low
    assert low == pytest.approx(floor, abs=0.0015)


def test_a_floor_above_the_measured_ratio_needs_no_number_of_queries():
    floats, kept = paired(np.random.default_rng(1), 400)
    assert needed_queries(kept, floats, 0.999, 0.95) is None
    assert needed_queries(floats, floats, 0.9, 0.95) == FEWEST_QUERIES
