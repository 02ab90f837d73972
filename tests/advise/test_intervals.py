"""Bootstrap intervals cover what they should, whichever recipe is picked."""

import numpy as np
import pytest

from nestbit.advise.intervals import FEWEST_QUERIES, Bootstrap, Interval, needed_queries

HITS = 10


def paired(rng, m):
    """nDCG-like values, and the same with a tenth of the queries losing a third."""
    floats = rng.choice([0, 0.4, 0.6, 1], m)
    return floats, floats * np.where(rng.random(m) < 0.1, 2 / 3, 1)


class Recipes:
    """Recalls of recipes near one another; a query is as hard for all of them."""

    def __init__(self, around, count=30, hardness=0.7):
        self.shares = np.linspace(around - (1 - around), around + 0.3 * (1 - around), count)
        self.hardness = hardness
        hard = np.random.default_rng(12).standard_normal(100_000)
        self.true = np.array([self._chances(share, hard).mean() for share in self.shares])

    def _chances(self, share, hard):
        return 1 / (1 + np.exp(self.hardness * hard - np.log(share / (1 - share))))

    def ask(self, m, seed):
        rng = np.random.default_rng(seed)
        hard = rng.standard_normal(m)
        return [rng.binomial(HITS, self._chances(share, hard)) / HITS for share in self.shares]


def first_that_passes(lows, floor):
    """The cheapest that passes: every worse one before it had a chance to pass by luck."""
    return next((i for i, low in enumerate(lows) if low >= floor), None)


def test_one_interval_covers_the_true_ratio_in_95_of_100_collections():
    inside = 0
    for seed in range(200):
        floats, kept = paired(np.random.default_rng(seed), 300)
        true = 1 - 0.1 / 3
        (found,) = Bootstrap(300, draws=400, seed=seed).ratios([kept], floats, 0.1).intervals
        inside += true in found
    assert inside / 200 >= 0.94


@pytest.mark.parametrize(("m", "around"), [(100, 0.9), (250, 0.97), (250, 0.995)])
def test_all_intervals_hold_at_once_whichever_recipe_is_picked(m, around):
    recipes, trials = Recipes(around), 60
    floor = np.quantile(recipes.true, 0.7)
    at_once = false = false_alone = 0
    for seed in range(trials):
        asked = recipes.ask(m, seed)
        found = Bootstrap(m, draws=1000, seed=seed).means(asked, 1 / HITS).intervals
        at_once += all(t in one for t, one in zip(recipes.true, found, strict=True))
        picked = first_that_passes([one.low for one in found], floor)
        false += picked is not None and recipes.true[picked] < floor
        # The bound that a recipe would have by itself: mean less 1.96 deviations.
        alone = [np.mean(one) - 1.96 * np.std(one) / np.sqrt(m) for one in asked]
        picked = first_that_passes(alone, floor)
        false_alone += picked is not None and recipes.true[picked] < floor
    assert at_once / trials >= 0.9
    assert false / trials <= 0.05
    assert false_alone > false  # the trap is real


def test_an_interval_for_other_queries_covers_their_mean():
    recipes, inside = Recipes(0.95, count=1), 0
    for seed in range(200):
        asked, others = recipes.ask(200, seed), recipes.ask(200, 10_000 + seed)
        (found,) = Bootstrap(200, draws=500, seed=seed).means(asked, 1 / HITS).intervals
        inside += others[0].mean() in found.of_others(200, 200)
    assert inside / 200 >= 0.93


def test_other_queries_add_their_own_variance():
    found = Interval(0.9, 0.88, 0.91).of_others(100, 100)
    assert found.value == 0.9
    assert found.low == pytest.approx(0.9 - 0.02 * 2**0.5)
    assert found.high == pytest.approx(0.9 + 0.01 * 2**0.5)


def test_recipes_that_move_together_cost_nothing():
    one = Recipes(0.95, count=1).ask(200, 0)[0]
    alone = Bootstrap(200).means([one], 0.1)
    many = Bootstrap(200).means([one] * 30, 0.1)
    assert set(many.intervals) == set(alone.intervals)
    assert many.confidence == pytest.approx(0.95, abs=0.01)


def test_more_queries_give_a_narrower_interval():
    few, many = (paired(np.random.default_rng(0), m) for m in (100, 3000))
    wide, narrow = (
        Bootstrap(len(f)).ratios([kept], f, 0.1).intervals[0] for f, kept in (few, many)
    )
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_no_loss_among_few_queries_is_no_certainty():
    (found,) = Bootstrap(60).means([np.ones(60)], 0.1).intervals
    assert found.value == found.high == 1
    # The exact bound for no loss among 60 queries is 3.7 losses of a tenth.
    assert 1 - 0.6 / 60 < found.low < 1 - 0.37 / 60


def test_no_gain_among_few_queries_is_no_bound_on_gains():
    """Half a query in a hundred gains: most samples of 100 show none or one."""
    floats = np.tile([0.0, 0.5, 1.0], 40)[:100]
    (found,) = Bootstrap(100).ratios([floats.copy()], floats, 0.2).intervals
    assert found.low < found.value == 1 < found.high
    assert found.high - 1 == pytest.approx(1 - found.low, rel=0.5)


def test_needed_queries_narrow_the_interval_to_the_floor():
    floats, kept = paired(np.random.default_rng(1), 400)
    ratio = kept.mean() / floats.mean()
    floor = ratio - 0.004
    needed = needed_queries(kept, floats, floor, 0.95)
    assert needed > 400
    many = np.arange(needed // 400 * 400) % 400
    (found,) = Bootstrap(len(many)).ratios([kept[many]], floats[many], 0).intervals
    assert found.low == pytest.approx(floor, abs=0.0015)


def test_a_floor_above_the_measured_ratio_needs_no_number_of_queries():
    floats, kept = paired(np.random.default_rng(1), 400)
    assert needed_queries(kept, floats, 0.999, 0.95) is None
    assert needed_queries(floats, floats, 0.9, 0.95) == FEWEST_QUERIES
