"""Measured recipes as a user weighs them: what each takes, keeps and costs; the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nestbit.advise.budget import Footprint, Prices
from nestbit.advise.cache import Measured, SpecResult
from nestbit.advise.extrapolation import Extrapolation, extrapolate
from nestbit.advise.intervals import Bootstrap, Interval
from nestbit.advise.recipes import Recipe, Resident, footprint_of

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Option:
    """One recipe with its measurements.

    ``recall`` is that of the float top k. ``keep`` is nDCG@k divided by float's and ``ndcg`` the
    figure itself, None without judgements. ``grown`` is the recall at the size the user will
    reach, None where that is not asked or cannot be told. ``per_query`` (m,) is nDCG@k, or recall
    without judgements; ``ids`` (m, k) are the hits in the user's row numbers.
    """

    recipe: Recipe
    footprint: Footprint
    dollars_per_million: float
    milliseconds: float
    recall: Interval
    keep: Interval | None = None
    ndcg: float | None = None
    grown: Extrapolation | None = None
    per_query: Values = field(default_factory=lambda: np.empty(0), repr=False)
    recalls: Values = field(default_factory=lambda: np.empty(0), repr=False)
    ids: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 0), np.int64), repr=False)

    @property
    def quality(self) -> Interval:
        """What is kept of nDCG@k where queries are judged, else recall."""
        return self.recall if self.keep is None else self.keep


@dataclass(frozen=True)
class Scale:
    """How options are measured and priced.

    ``judge`` gives nDCG@k of each query for hits in the user's row numbers, None without
    judgements; ``floats`` (m,) are the float values it is compared with.
    """

    k: int
    resident: Resident
    prices: Prices
    bootstrap: Bootstrap
    sizes: tuple[int, ...]
    rows: int | None
    judge: Callable[[NDArray[np.int64], NDArray[np.float32]], Values] | None
    floats: Values


def options_of(
    results: Iterable[SpecResult], order: NDArray[np.int64], scale: Scale
) -> tuple[Option, ...]:
    """An option for every recipe that was measured to the end, by what it costs and takes."""
    options = [
        _option(result, one, order, scale)
        for result in results
        if result.dropped is None
        for one in result.recipes
    ]
    return tuple(sorted(options, key=cost_order))


def cost_order(option: Option) -> tuple[float, ...]:
    """Cheaper first; of equal cost the smaller, then fixed plans from fast to safe, then targets.

    Milliseconds come last: they differ from run to run.
    """
    recipe = option.recipe
    plan = (recipe.target_recall or 0.0, recipe.oversample)
    return (option.dollars_per_million, option.footprint.total, *plan, option.milliseconds)


def front(options: Sequence[Option], cost: Callable[[Option], float]) -> tuple[Option, ...]:
    """The options that no other beats in both cost and quality, by rising cost."""
    best: list[Option] = []
    for option in sorted(options, key=lambda o: (cost(o), -o.quality.value)):
        if not best or option.quality.value > best[-1].quality.value:
            best.append(option)
    return tuple(best)


def _option(result: SpecResult, one: Measured, order: NDArray[np.int64], scale: Scale) -> Option:
    footprint = footprint_of(result.level_bytes, scale.resident)
    recalls = one.recalls[-1]
    unseen = 1 / scale.k
    ids = np.where(one.ids >= 0, order[one.ids], -1)
    keep, ndcg, per_query = None, None, recalls
    if scale.judge is not None:
        per_query = scale.judge(ids, one.scores)
        keep = scale.bootstrap.ratio(per_query, scale.floats, unseen * float(scale.floats.mean()))
        ndcg = float(per_query.mean())
    grown = None
    if scale.rows is not None and len(scale.sizes) >= 3:
        grown = extrapolate(
            scale.sizes,
            one.recalls,
            scale.rows,
            k=scale.k,
            confidence=scale.bootstrap.confidence,
        )
    return Option(
        recipe=one.recipe,
        footprint=footprint,
        dollars_per_million=footprint.dollars(1_000_000, scale.prices),
        milliseconds=one.milliseconds,
        recall=scale.bootstrap.mean(recalls, unseen),
        keep=keep,
        ndcg=ndcg,
        grown=grown,
        per_query=per_query,
        recalls=recalls,
        ids=ids,
    )
