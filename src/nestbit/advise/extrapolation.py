"""Recall at the size a collection will grow to, from nested parts of the one there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit.advise.intervals import Bootstrap, Interval
from nestbit.errors import InputError

Values = NDArray[np.float64]

_FEWEST_PARTS = 3


@dataclass(frozen=True)
class Extrapolation:
    """Recall predicted for ``rows`` rows, and how well the method foretold the largest part.

    ``recalls`` were measured on nested parts of ``sizes`` rows. ``held_back`` is the prediction
    for the largest of them from the smaller ones alone.
    """

    rows: int
    recall: Interval
    sizes: tuple[int, ...]
    recalls: tuple[float, ...]
    held_back: Interval

    @property
    def error(self) -> float:
        """What was predicted for the largest part less what was measured there."""
        return self.held_back.value - self.recalls[-1]


def extrapolate(
    sizes: Sequence[int],
    recalls: ArrayLike,
    rows: int,
    *,
    k: int = 10,
    confidence: float = 0.95,
    seed: int = 0,
) -> Extrapolation:
    """Predict the recall at ``rows`` rows from ``recalls`` (parts, m) of m queries.

    The logit of the mean recall is taken as a line in log(rows): where recall is near one, its
    loss is then a power of the number of rows. ``sizes`` (parts,) ascend. The interval comes from
    resampling the queries, the same ones in every part. Where the largest part, predicted from
    the others, comes out more wrong than chance among the queries explains, the interval is
    widened by the excess for every such step beyond. Raises
    `InputError` for fewer than 3 parts, or arrays that do not match.
    """
    values = np.asarray(recalls, dtype=np.float64)
    x = np.log2(np.asarray(sizes, dtype=np.float64))
    if values.ndim != 2 or len(values) != len(x) or values.shape[1] == 0:
        raise InputError(
            f"recalls must have shape (parts, queries) with {len(x)} parts, got {values.shape}"
        )
    if len(x) < _FEWEST_PARTS or (np.diff(x) <= 0).any():
        raise InputError(
            f"extrapolation needs {_FEWEST_PARTS} parts of ascending sizes or more, "
            f"got {list(sizes)}; give more rows"
        )
    if rows < 1:
        raise InputError(f"rows must be at least 1, got {rows}")
    m = values.shape[1]
    weights = Bootstrap(m, seed=seed).weights(m)
    draws = _logit(weights @ values.T / m, m * k)
    means = _logit(values.mean(axis=1)[None], m * k)
    tail = 100 * (1 - confidence) / 2
    ends = [tail, 100 - tail]
    known, missing = x[:-1], float(x[-1])
    back = _line(known, means[:, :-1], missing)[0]
    back_draws = _line(known, draws[:, :-1], missing)
    back_ends = np.percentile(back_draws, ends)
    # What chance among the queries explains of the error is in the interval already.
    chance = float(np.std(back_draws - draws[:, -1]))
    wrong = max(0.0, abs(back - means[0, -1]) - chance)
    target = float(np.log2(rows))
    slack = wrong * max(0.0, target - missing) / (missing - float(known[-1]))
    ahead = _line(x, means, target)[0]
    low, high = np.percentile(_line(x, draws, target), ends)
    return Extrapolation(
        rows=int(rows),
        recall=_interval(ahead, low - slack, high + slack),
        sizes=tuple(int(size) for size in sizes),
        recalls=tuple(float(r) for r in values.mean(axis=1)),
        held_back=_interval(back, *back_ends),
    )


def _interval(value: float, low: float, high: float) -> Interval:
    return Interval(
        *(float(1 / (1 + np.exp(-z))) for z in (value, min(low, value), max(high, value)))
    )


def _logit(shares: Values, trials: int) -> Values:
    """Logits of shares of so many trials, none and all of them kept finite."""
    p = (shares * trials + 0.5) / (trials + 1)
    return np.asarray(np.log(p / (1 - p)), dtype=np.float64)


def _line(x: Values, y: Values, at: float) -> Values:
    """Least-squares lines through each row of ``y`` (draws, parts), at one place (draws,)."""
    centred = x - x.mean()
    slope = y @ centred / (centred @ centred)
    return np.asarray(y.mean(axis=1) + slope * (at - x.mean()), dtype=np.float64)
