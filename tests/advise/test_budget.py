"""What recipes cost, and what a budget allows."""

import pytest

from nestbit.advise import Budget, Footprint, Prices
from nestbit.errors import InputError


def test_250_million_float_vectors_cost_what_the_literature_reckons():
    whole = Footprint(4 * 1024, 0)
    assert whole.gigabytes(250_000_000) == pytest.approx(953.67, abs=0.01)
    assert whole.dollars(250_000_000, Prices()) == pytest.approx(3623.96, abs=0.02)


def test_disk_is_priced_apart_from_memory():
    assert Footprint(0, 2**30).dollars(10, Prices(ram=5, disk=0.1)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("budget", "allowed", "refused"),
    [
        (Budget(bytes_per_vector=100), Footprint(100, 999), Footprint(101, 0)),
        (Budget(gb=1, rows=2**20), Footprint(1024, 999), Footprint(1025, 0)),
        (Budget(dollars_per_month=3.8, rows=2**20), Footprint(1024, 0), Footprint(1024, 10)),
        (Budget(rows=5), Footprint(10**9, 0), None),
    ],
)
def test_a_budget_allows_up_to_its_limit(budget, allowed, refused):
    assert budget.allows(allowed, Prices())
    assert refused is None or not budget.allows(refused, Prices())


@pytest.mark.parametrize(
    "limits", [{}, {"gb": 1}, {"dollars_per_month": 5}, {"bytes_per_vector": 0}, {"rows": -1}]
)
def test_budgets_that_mean_nothing_are_refused(limits):
    with pytest.raises(InputError):
        Budget(**limits)


def test_prices_must_be_above_zero():
    with pytest.raises(InputError):
        Prices(ram=0)
