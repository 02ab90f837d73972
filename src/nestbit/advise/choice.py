"""Choosing among measured options, or refusing to, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nestbit.advise.budget import Budget, Prices
from nestbit.advise.intervals import FEWEST_QUERIES, Interval, needed_queries
from nestbit.advise.options import Option, cost_order
from nestbit.errors import InputError


@dataclass(frozen=True)
class Floor:
    """The least that must be kept: a share of float's nDCG@k, or recall of the float top k."""

    kind: Literal["keep", "recall"]
    value: float

    def __post_init__(self) -> None:
        if not 0 < self.value < 1:
            raise InputError(f"{self.kind} must lie between 0 and 1, got {self.value}")

    def of(self, option: Option) -> Interval:
        """The interval whose lower bound must meet the floor."""
        if self.kind == "keep":
            assert option.keep is not None
            return option.keep
        return option.recall if option.grown is None else option.grown.recall


@dataclass(frozen=True)
class Choice:
    """The option chosen, or why there is none, and the queries that a promise would need."""

    option: Option | None
    refusal: str | None = None
    needed: int | None = None


def choose(
    options: Sequence[Option],
    floor: Floor | None,
    budget: Budget | None,
    prices: Prices,
    floats: NDArray[np.float64],
    confidence: float,
) -> Choice:
    """The cheapest option within the budget whose lower bound meets the floor, now and later.

    Without a floor, the option within the budget that keeps most. ``floats`` (m,) are the float
    values of the queries. Too few queries lead to a refusal that says how many are needed.
    """
    within = [o for o in options if budget is None or budget.allows(o.footprint, prices)]
    if not within:
        smallest = min(options, key=lambda o: o.footprint.ram)
        return Choice(
            None,
            f"no recipe of the grid stays within {budget}; the smallest, {smallest.recipe}, takes "
            f"{smallest.footprint.ram} bytes of memory per vector",
        )
    m = len(floats)
    if m < FEWEST_QUERIES:
        needed = FEWEST_QUERIES
        if floor is not None:
            found = _needed(within, floor, floats, confidence)
            needed = needed if found is None else found[0]
        return Choice(
            None,
            f"{m} queries are too few to promise anything; give about {needed:,}",
            needed,
        )
    if floor is None:
        return Choice(max(within, key=lambda o: (o.quality.low, *(-c for c in cost_order(o)))))
    enough_later = _recall_that_suffices(options, floor)
    for option in sorted(within, key=cost_order):
        later = 1.0 if option.grown is None else option.grown.recall.low
        if floor.of(option).low >= floor.value and later >= enough_later:
            return Choice(option)
    if any(floor.of(option).low >= floor.value for option in within):
        rows = next(o.grown.rows for o in within if o.grown is not None)
        return Choice(
            None,
            f"recipes keep {floor.value:.1%} of float's nDCG now, but at {rows:,} rows none is "
            f"certain of the recall of {enough_later:.1%} that this takes; measure on more rows",
        )
    return _refuse(within, floor, budget, floats, confidence)


def _recall_that_suffices(options: Sequence[Option], floor: Floor) -> float:
    """The least recall with which an option met a floor of nDCG.

    nDCG cannot be measured for rows that are not there, recall can be foretold. A recipe that
    will still have the recall which is enough now is taken to keep enough then.
    """
    if floor.kind == "recall":
        return 0.0
    return min((o.recall.value for o in options if floor.of(o).low >= floor.value), default=0.0)


def _refuse(
    within: Sequence[Option],
    floor: Floor,
    budget: Budget | None,
    floats: NDArray[np.float64],
    confidence: float,
) -> Choice:
    what = "of float's nDCG" if floor.kind == "keep" else "recall"
    best = max(within, key=lambda o: (floor.of(o).value, floor.of(o).low))
    reached = floor.of(best)
    if floor.kind == "recall" and best.grown is not None and best.recall.low >= floor.value:
        return Choice(
            None,
            f"recipes reach {floor.value:.1%} recall now, but at {best.grown.rows:,} rows none is "
            f"certain to; the best, {best.recipe}, is expected at {reached.value:.1%} "
            f"({reached.low:.1%} to {reached.high:.1%}); measure on more rows",
        )
    found = _needed(within, floor, floats, confidence)
    if found is not None and reached.value > floor.value:
        needed, option = found
        return Choice(
            None,
            f"{len(floats)} queries are too few to promise {floor.value:.1%} {what}: "
            f"{option.recipe} measures {floor.of(option).value:.1%}, but its lower bound is "
            f"{floor.of(option).low:.1%}; about {needed:,} queries would settle it",
            needed,
        )
    limit = "" if budget is None else f" within {budget}"
    return Choice(
        None,
        f"no recipe of the grid{limit} keeps {floor.value:.1%} {what}; the best, {best.recipe}, "
        f"keeps {reached.value:.1%} ({reached.low:.1%} to {reached.high:.1%})",
    )


def _needed(
    within: Sequence[Option], floor: Floor, floats: NDArray[np.float64], confidence: float
) -> tuple[int, Option] | None:
    """The fewest queries that could settle the matter, and for which option."""
    base = floats if floor.kind == "keep" else np.ones_like(floats)
    counts = []
    for option in within:
        values = option.per_query if floor.kind == "keep" else option.recalls[-1]
        needed = needed_queries(values, base, floor.value, confidence)
        if needed is not None:
            counts.append((needed, option))
    return min(counts, key=lambda pair: pair[0]) if counts else None
