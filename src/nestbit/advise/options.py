"""Measured recipes as a user weighs them: what each takes, keeps and costs; the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nestbit.advise.budget import Footprint, Prices
from nestbit.advise.cache import Measured, SpecResult
from nestbit.advise.extrapolation import FEWEST_PARTS, Extrapolation, extrapolate
from nestbit.advise.intervals import Bootstrap, Interval
from nestbit.advise.recipes import Recipe, Resident, footprint_of

Values = NDArray[np.float64]
# nDCG@k of each query for hits (ids, scores) in the user's row numbers.
Judge = Callable[[NDArray[np.int64], NDArray[np.float32]], Values]


@dataclass(frozen=True)
class Option:
    """One recipe with its measurements.

    ``recall`` is that of the float top k. ``keep`` is nDCG@k divided by float's and ``ndcg`` the
    figure itself, None without judgements. Their intervals hold for all options at once.
    ``grown`` is the recall at the size the user will reach, None where that is not asked or
    cannot be told. ``per_query`` (m,) is nDCG@k, or recall without judgements; ``recalls``
    (parts, m) is recall on parts of the rows, the last of which is all of them; ``ids`` (m, k)
    are the hits in the user's row numbers.
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
    recalls: Values = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    ids: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 0), np.int64), repr=False)

    @property
    def quality(self) -> Interval:
        """What is kept of nDCG@k where queries are judged, else recall."""
        return self.recall if self.keep is None else self.keep


@dataclass(frozen=True)
class Scale:
    """How options are measured and priced.

    ``floats`` (m,) are the float values that those of each query are compared with, nDCG@k if
    they are ``judged``. ``sizes`` are those of the parts that recall was measured on.
    """

    k: int
    resident: Resident
    prices: Prices
    bootstrap: Bootstrap
    sizes: tuple[int, ...]
    rows: int | None
    judged: bool
    floats: Values


def options_of(
    results: Iterable[SpecResult], order: NDArray[np.int64], scale: Scale, judge: Judge | None
) -> tuple[Option, ...]:
    """An option for every recipe that was measured to the end, by what it costs and takes.

    ``order`` (n,) leads to the user's row numbers.
    """
    options = [
        _option(result, one, order, scale, judge)
        for result in results
        if result.dropped is None
        for one in result.recipes
    ]
    return with_intervals(sorted(options, key=cost_order), scale)


def with_intervals(options: Sequence[Option], scale: Scale) -> tuple[Option, ...]:
    """The options with intervals from their values per query, which hold for all at once."""
    unseen = 1 / scale.k
    recalls = scale.bootstrap.means([option.recalls[-1] for option in options], unseen)
    kept: Sequence[Interval | None] = [None] * len(options)
    if scale.judged:
        values = [option.per_query for option in options]
        # An unseen change is as large as those seen: a swap of ranks moves nDCG by leaps.
        changes = np.abs(np.stack(values) - scale.floats)
        seen = changes[changes > 0]
        unseen = float(seen.mean()) if seen.size else unseen * float(scale.floats.mean())
        kept = scale.bootstrap.ratios(values, scale.floats, unseen).intervals
    return tuple(
        replace(
            option,
            recall=recall,
            keep=keep,
            ndcg=None if keep is None else float(option.per_query.mean()),
            grown=_grown(option.recalls, recalls.confidence, scale),
        )
        for option, recall, keep in zip(options, recalls.intervals, kept, strict=True)
    )


def _grown(recalls: Values, by_chance: float, scale: Scale) -> Extrapolation | None:
    if scale.rows is None or len(scale.sizes) < FEWEST_PARTS:
        return None
    confidence = scale.bootstrap.confidence
    return extrapolate(
        scale.sizes,
        recalls,
        scale.rows,
        k=scale.k,
        confidence=confidence,
        by_chance=max(by_chance, confidence),
    )


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


def _option(
    result: SpecResult,
    one: Measured,
    order: NDArray[np.int64],
    scale: Scale,
    judge: Judge | None,
) -> Option:
    """An option whose intervals are still to come."""
    footprint = footprint_of(result.level_bytes, scale.resident)
    ids = np.where(one.ids >= 0, order[one.ids], -1)
    value = float(one.recalls[-1].mean())
    return Option(
        recipe=one.recipe,
        footprint=footprint,
        dollars_per_million=footprint.dollars(1_000_000, scale.prices),
        milliseconds=one.milliseconds,
        recall=Interval(value, value, value),
        per_query=one.recalls[-1] if judge is None else judge(ids, one.scores),
        recalls=one.recalls,
        ids=ids,
    )
