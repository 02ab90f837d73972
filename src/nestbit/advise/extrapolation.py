"""Recall at the size a collection will grow to, from parts of the one there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit.advise.intervals import Bootstrap, Interval
from nestbit.errors import InputError

Values = NDArray[np.float64]

FEWEST_PARTS = 3
# How far forecasts stray from the line, as a standard deviation in probits for one doubling of
# the rows; it grows with the root of the doublings. With chance among the queries they stray 0.103
# in bench/results/forecast.md, where 97% of the intervals hold.
_STRAY = 0.09
_DRAWS = 1000
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Extrapolation:
    """Recall predicted for ``rows`` rows, and how well the method foretold the largest part.

    ``recalls`` were measured on parts of ``sizes`` rows. ``held_back`` is the prediction for the
    largest of them from the smaller ones alone.
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
    by_chance: float | None = None,
    seed: int = 0,
) -> Extrapolation:
    """Predict the recall at ``rows`` rows from ``recalls`` (parts, m) of m queries.

    ``sizes`` (parts,) ascend. Where scores end like a normal's, those around the k-th best of n
    rows lie denser in proportion to √ln(n / k), while a code's errors stay as large: so the
    probit of the mean recall is taken as a line in √ln(n / k), through the three largest parts.

    The interval adds two variances: that of resampled queries, the same in every part, and
    that of the line itself, which `bench/forecast.py` measures. Where the largest part, predicted
    from the others, comes out more wrong than both explain, the latter grows to what was seen
    there. ``by_chance`` is a confidence of its own for the former, as for a recipe picked among
    many: the line strays for all of them alike. Raises `InputError` for fewer than 3 parts, or
    arrays that do not match.
    """
    values = np.asarray(recalls, dtype=np.float64)
    n = np.asarray(sizes, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(n) or values.shape[1] == 0:
        raise InputError(
            f"recalls must have shape (parts, queries) with {len(n)} parts, got {values.shape}"
        )
    if len(n) < FEWEST_PARTS or (np.diff(n) <= 0).any() or n[0] <= k:
        raise InputError(
            f"extrapolation needs {FEWEST_PARTS} parts of ascending sizes above k or more, "
            f"got {list(sizes)}; give more rows"
        )
    if rows <= k:
        raise InputError(f"rows must be more than k = {k}, got {rows}")
    m = values.shape[1]
    x = np.sqrt(np.log(n / k))
    weights = Bootstrap(m, draws=_DRAWS, seed=seed).weights(m)
    draws = _probit(weights.astype(np.float64) @ values.T / m, m * k)
    means = _probit(values.mean(axis=1)[None], m * k)

    used = slice(max(0, len(n) - 1 - FEWEST_PARTS), -1)
    back = float(_line(x[used], means[:, used], x[-1])[0])
    back_draws = _line(x[used], draws[:, used], x[-1])
    step = np.log2(n[-1] / n[-2])
    error = abs(back - float(means[0, -1]))
    # What chance among the queries explains of the error is reckoned with already.
    unexplained = max(0.0, error**2 - float(np.var(back_draws - draws[:, -1])))
    stray = max(_STRAY**2, unexplained / step)

    used = slice(-FEWEST_PARTS, None)
    target = float(np.sqrt(np.log(rows / k)))
    ahead = float(_line(x[used], means[:, used], target)[0])
    chance = float(np.var(_line(x[used], draws[:, used], target)))
    z = _NORMAL.inv_cdf(0.5 + confidence / 2)
    away = abs(np.log2(rows / n[-1]))
    z_chance = _NORMAL.inv_cdf(0.5 + (confidence if by_chance is None else by_chance) / 2)
    half = float(np.sqrt(z_chance**2 * chance + z**2 * stray * away))
    return Extrapolation(
        rows=int(rows),
        recall=_interval(ahead, half),
        sizes=tuple(int(size) for size in sizes),
        recalls=tuple(float(r) for r in values.mean(axis=1)),
        held_back=_interval(back, z * float(np.sqrt(np.var(back_draws) + _STRAY**2 * step))),
    )


def _interval(probit: float, half: float) -> Interval:
    return Interval(*(_NORMAL.cdf(z) for z in (probit, probit - half, probit + half)))


def _probit(shares: Values, trials: int) -> Values:
    """Probits of shares of so many trials, none and all of them kept finite."""
    p = (shares * trials + 0.5) / (trials + 1)
    return np.array([[_NORMAL.inv_cdf(one) for one in row] for row in p.tolist()])


def _line(x: Values, y: Values, at: float) -> Values:
    """Least-squares lines through each row of ``y`` (draws, parts), at one place (draws,)."""
    centred = x - x.mean()
    slope = y @ centred / (centred @ centred)
    return np.asarray(y.mean(axis=1) + slope * (at - x.mean()), dtype=np.float64)
