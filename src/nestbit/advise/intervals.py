"""Paired bootstrap intervals of what is kept, and how many queries a promise needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# Below this many queries an interval of the bootstrap is itself too uncertain to promise by.
FEWEST_QUERIES = 50


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its confidence interval."""

    value: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


class Bootstrap:
    """Resamples of m queries, the same for every recipe, so that intervals are comparable.

    Queries are drawn with replacement ``draws`` times (Efron and Tibshirani, 1993, chapter 13);
    a query brings its float and its compressed value together, which is what pairs them.
    """

    def __init__(
        self, m: int, *, confidence: float = 0.95, draws: int = 2000, seed: int = 0
    ) -> None:
        self.m, self.confidence = m, confidence
        self._rng_seed, self._draws = seed, draws

    def weights(self, m: int) -> NDArray[np.float32]:
        """How often each of ``m`` queries is drawn, (draws, m)."""
        rng = np.random.default_rng(self._rng_seed)
        return rng.multinomial(m, np.full(m, 1 / m), size=self._draws).astype(np.float32)

    def ratio(self, kept: Values, floats: Values, unseen: float) -> Interval:
        """The interval of mean(kept) / mean(floats), each (m,).

        The lower bound reckons with one more query that lost ``unseen``: where no query lost
        anything, resampling alone would claim to be certain that none ever does.
        """
        value = _ratio(kept.mean(), floats.mean())
        base = floats.mean()
        worse = np.append(kept, max(0.0, base - unseen)), np.append(floats, base)
        tail = 100 * (1 - self.confidence) / 2
        low = float(np.percentile(self._ratios(*worse), tail))
        high = float(np.percentile(self._ratios(kept, floats), 100 - tail))
        return Interval(value, min(low, value), max(high, value))

    def mean(self, kept: Values, unseen: float) -> Interval:
        """The interval of mean(kept), a share of 1 in every query."""
        return self.ratio(kept, np.ones_like(kept), unseen)

    def _ratios(self, kept: Values, floats: Values) -> Values:
        weights = self.weights(len(kept))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = (weights @ kept) / (weights @ floats)
        return np.nan_to_num(ratios.astype(np.float64), nan=0.0, posinf=1.0)


def needed_queries(kept: Values, floats: Values, floor: float, confidence: float) -> int | None:
    """Queries for which the lower bound of mean(kept) / mean(floats) would meet ``floor``.

    By the normal approximation, m = (z s / (r - floor))², with s the deviation of a query's
    kept - r · float over the mean float, if the ratio r stays as it is. None where r does not
    exceed the floor: then no number of queries would do.
    """
    base = float(floats.mean())
    ratio = _ratio(kept.mean(), base)
    if ratio <= floor:
        return None
    z = NormalDist().inv_cdf(1 - (1 - confidence) / 2)
    spread = float(np.std(kept - ratio * floats, ddof=1)) / base if len(kept) > 1 else 1.0
    return max(FEWEST_QUERIES, math.ceil((z * spread / (ratio - floor)) ** 2))


def _ratio(kept: float, floats: float) -> float:
    return float(kept / floats) if floats > 0 else 0.0
