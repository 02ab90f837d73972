"""Bootstrap intervals of what is kept that hold for all recipes at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# Below this many queries an interval of the bootstrap is itself too uncertain to promise by.
FEWEST_QUERIES = 50
# Queries with a loss that none of those asked showed.
_UNSEEN = 2


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its confidence interval."""

    value: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def of_others(self, asked: int, others: int) -> Interval:
        """The interval for the mean over ``others`` new queries, this one being from ``asked``.

        Their mean strays by chance too: variances add up, σ²/asked + σ²/others, and the bounds
        move away by √(1 + asked / others). A share of float may exceed 1, so none is cut there.
        """
        wider = math.sqrt(1 + asked / others)
        low, high = (self.value + wider * (end - self.value) for end in (self.low, self.high))
        return Interval(self.value, low, high)


@dataclass(frozen=True)
class Together:
    """Intervals that all hold at once, and the ``confidence`` that each has by itself."""

    intervals: tuple[Interval, ...]
    confidence: float


class Bootstrap:
    """Resamples of m queries, the same for every recipe, so that intervals are comparable.

    Queries are drawn with replacement ``draws`` times (Efron and Tibshirani, 1993, chapter 13);
    a query brings its float and its compressed value together, which is what pairs them.
    """

    def __init__(
        self, m: int, *, confidence: float = 0.95, draws: int = 4000, seed: int = 0
    ) -> None:
        self.m, self.confidence = m, confidence
        self._seed, self._draws = seed, draws

    def weights(self, m: int) -> NDArray[np.float32]:
        """How often each of ``m`` queries is drawn, (draws, m)."""
        rng = np.random.default_rng(self._seed)
        return rng.multinomial(m, np.full(m, 1 / m), size=self._draws).astype(np.float32)

    def ratios(self, kept: Sequence[Values], floats: Values, unseen: float) -> Together:
        """The intervals of mean(kept) / mean(floats) for several ``kept``, each (m,).

        All hold at once with the given confidence, whichever is picked afterwards and for
        whatever reason: the bounds are the percentiles, the same for all ratios, outside which
        few enough draws have any (Mandel and Betensky, Computational Statistics and Data
        Analysis 52, 2008). Ratios that move together, as those of recipes do, cost little.

        A lower bound is the lesser of two. That of studentized draws corrects for skewness
        (Efron and Tibshirani, chapter 12.5), that of percentiles holds where hardly a query
        lost anything. Both reckon with two more queries that lost ``unseen``: the exact bound of
        a rare loss lies about z²/2 losses above a normal one, and resampling alone would take
        what no query lost for certain never to be lost. An upper bound reckons with two more that
        gained as much, unless ``floats`` are all the most there can be.
        """
        values = np.stack([np.asarray(one, np.float64) for one in kept])
        base = float(floats.mean())
        lost = np.full((len(values), _UNSEEN), max(0.0, base - unseen))
        worse = np.hstack([values, lost]), np.append(floats, np.full(_UNSEEN, base))
        tail = (1 - self.confidence) / 2
        draws, studentized = self._draws_of(*worse, unseen)
        lows, low_share = _outermost(draws.ratios, tail)
        steps, _ = _outermost(-studentized, tail)
        lows = np.maximum(0, np.minimum(lows, draws.all + steps * draws.deviation))
        if (floats >= 1).all():
            highs, high_share = _outermost(-self._draws_of(values, floats, 0)[0].ratios, tail)
        else:
            gained = 2 * base - lost
            draws, studentized = self._draws_of(np.hstack([values, gained]), worse[1], unseen)
            highs, high_share = _outermost(-draws.ratios, tail)
            steps, _ = _outermost(studentized, tail)
            highs = np.minimum(highs, steps * draws.deviation - draws.all)
        means = [_ratio(float(one.mean()), base) for one in values]
        intervals = tuple(
            Interval(value, min(float(low), value), max(float(-high), value))
            for value, low, high in zip(means, lows, highs, strict=True)
        )
        return Together(intervals, 1 - low_share - high_share)

    def means(self, kept: Sequence[Values], unseen: float) -> Together:
        """The intervals of mean(kept), shares of 1 in every query."""
        return self.ratios(kept, np.ones(self.m), unseen)

    def _draws_of(self, kept: Values, floats: Values, unseen: float) -> tuple[_Draws, Values]:
        """Ratios of all queries and of every draw, and the latter studentized (draws, recipes).

        The deviation of a ratio r is that of the mean of kept - r · float, over the mean float.
        One loss of ``unseen`` is added to it, so that it is never 0.
        """
        m = len(floats)
        weights, every = self.weights(m), np.ones((1, m), np.float32)
        columns = [
            np.column_stack([one, one * one, one * floats]).astype(np.float32) for one in kept
        ]
        whole, drawn = (
            np.array([w @ one for one in columns], np.float64).transpose(2, 1, 0) / m
            for w in (every, weights)
        )
        base, bases = (
            np.array([w @ floats, w @ floats**2], np.float64)[:, :, None] / m
            for w in (every, weights)
        )
        ratios, deviation = _studentize(whole, base, m, unseen)
        found, deviations = _studentize(drawn, bases, m, unseen)
        with np.errstate(divide="ignore", invalid="ignore"):
            studentized = np.nan_to_num((found - ratios) / deviations)
        return _Draws(ratios[0], deviation[0], found), studentized


@dataclass(frozen=True)
class _Draws:
    """The ratios of all queries (recipes,) with their deviations, and of draws of them."""

    all: Values
    deviation: Values
    ratios: Values


def _studentize(sums: Values, bases: Values, m: int, unseen: float) -> tuple[Values, Values]:
    """Ratios (draws, recipes) and their deviations, from means of k, k² and kf, and f and f²."""
    kept, squares, products = sums
    floats, float_squares = bases
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num(kept / floats, nan=0.0, posinf=1.0)
        energy = squares - 2 * ratios * products + ratios**2 * float_squares
        variance = (np.maximum(energy, 0) + unseen**2 / m) / m
        return ratios, np.nan_to_num(np.sqrt(variance) / floats, posinf=0.0)


def _outermost(draws: Values, tail: float) -> tuple[Values, float]:
    """Lower bounds (recipes,), with one below any in ``tail`` of the draws, and each one's tail."""
    ordered = np.sort(draws, axis=0)
    ranks = np.min(
        [
            np.searchsorted(column, values, side="right")
            for column, values in zip(ordered.T, draws.T, strict=True)
        ],
        axis=0,
    )
    # A draw is below a bound at place t of the order where no more than t draws are as low.
    outside = np.searchsorted(np.sort(ranks), np.arange(1, len(draws) + 1), side="right")
    place = int(np.searchsorted(outside, tail * len(draws), side="right"))
    place = min(place, len(draws) - 1)
    return ordered[place], place / len(draws)


def needed_queries(kept: Values, floats: Values, floor: float, confidence: float) -> int | None:
    """Queries for which the lower bound of mean(kept) / mean(floats) would meet ``floor``.

    By the normal approximation, m = (z s / (r - floor))², with s the deviation of a query's
    kept - r · float over the mean float, if the ratio r stays as it is. None where r does not
    exceed the floor: then no number of queries would do.
    """
    base = float(floats.mean())
    ratio = _ratio(float(kept.mean()), base)
    if ratio <= floor:
        return None
    z = NormalDist().inv_cdf(1 - (1 - confidence) / 2)
    spread = float(np.std(kept - ratio * floats, ddof=1)) / base if len(kept) > 1 else 1.0
    return max(FEWEST_QUERIES, math.ceil((z * spread / (ratio - floor)) ** 2))


def _ratio(kept: float, floats: float) -> float:
    return float(kept / floats) if floats > 0 else 0.0
