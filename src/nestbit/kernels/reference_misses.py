"""`nestbit.kernels.misses` in plain NumPy: what its kernel must return, within rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestbit.kernels.misses import Prior

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_TINY = float(np.finfo(np.float64).tiny)
# Candidates whose coarse scores tell how much one pair of the prior weighs.
_UNIT_OF = 100
# Ranks at which the expected misses are summed.
_POINTS = 24


def expected_misses(
    coarse: Floats,
    fine: Floats,
    queries: Ids,
    count: int,
    n: int,
    rank: float,
    outliers: float,
    prior: Prior | None,
) -> Doubles:
    """See `nestbit.kernels.misses.expected_misses`."""
    read, ranked = fine[queries, :count].astype(np.float64), coarse[queries].astype(np.float64)
    part = None if prior is None else prior.of(queries)
    line = _fit_line(ranked[:, :count], read, ranked[:, :_UNIT_OF].var(axis=1), part)
    scores, rows = _beyond(ranked, count, n)
    away = scores - line.x[:, None]
    # The variance of a prediction from a fitted line grows with the distance from its data.
    variance = line.variance[:, None] * (
        1 + 1 / count + away * away / np.maximum(line.square, _TINY)[:, None]
    )
    predicted = line.y[:, None] + line.slope[:, None] * away
    threshold = _score_at(read, rank)[:, None]
    z = (predicted - threshold) / np.sqrt(np.maximum(variance, _TINY))
    shares = (1 - outliers) * normal_share(z) + outliers * normal_share(z / 2)
    if prior is not None and prior.tail_at:
        shares = np.maximum(shares, _tail_share(-z, prior))
    expected: Doubles = (rows * shares).sum(axis=1)
    return expected


def _score_at(fine: Doubles, rank: float) -> Doubles:
    """The score of each query at a rank, between its neighbours where that is no whole number."""
    below, above = int(rank), min(int(rank) + 1, fine.shape[1] - 1)
    ordered = -np.sort(-fine, axis=1)
    share = rank - below
    score: Doubles = (1 - share) * ordered[:, below] + share * ordered[:, above]
    return score


@dataclass(frozen=True)
class _Line:
    """Fine over coarse scores: through (x, y), each (m,), with its variance and Σ(x - x̄)²."""

    x: Doubles
    y: Doubles
    slope: Doubles
    variance: Doubles
    square: Doubles


def _fit_line(coarse: Doubles, fine: Doubles, unit: Doubles, prior: Prior | None) -> _Line:
    """Regression of (m, c) pairs, drawn to the prior; ``unit`` (m,) is one pair's Σ(x - x̄)²."""
    x, y = coarse.mean(axis=1), fine.mean(axis=1)
    dx, dy = coarse - x[:, None], fine - y[:, None]
    square, product = (dx * dx).sum(axis=1), (dx * dy).sum(axis=1)
    if prior is not None:
        square = square + prior.pairs * unit
        product = product + prior.pairs * unit * prior.slope
    slope = product / np.maximum(square, _TINY)
    residual = dy - slope[:, None] * dx
    energy, pairs = (residual * residual).sum(axis=1), coarse.shape[1] - 2.0
    variance = energy / max(pairs, 1.0)
    if prior is not None:
        known = prior.pairs * np.square(prior.deviation, dtype=np.float64)
        variance = (energy + known) / (pairs + prior.pairs)
    return _Line(x, y, slope, variance, square)


def _beyond(coarse: Doubles, count: int, n: int) -> tuple[Doubles, Doubles]:
    """Coarse scores (m, p) at the ranks that stand for those from ``count`` to ``n``, and weights.

    Ranks beyond the scanned ones continue with the fall per doubling of rank that the last half
    of them had; a distribution that ends like a normal's falls faster, so this errs upwards.
    """
    width = coarse.shape[1]
    middle, weights = ranks_beyond(count, n)
    scores = coarse[:, np.minimum(middle, width - 1)]
    outside = middle >= width
    if outside.any():
        fall = coarse[:, max(0, width // 2 - 1)] - coarse[:, width - 1]
        scores[:, outside] -= fall[:, None] * np.log2((middle[outside] + 1) / width)
    return scores, weights


def ranks_beyond(count: int, n: int) -> tuple[Ids, Doubles]:
    """Ranks (p,) that stand for those from ``count`` to ``n``, and how many each stands for."""
    edges = np.unique(np.geomspace(count, n, _POINTS + 1).round().astype(np.int64))
    middle = np.sqrt(edges[:-1] * (edges[1:] - 1.0)).astype(np.int64)
    return middle, np.diff(edges).astype(np.float64)


def _tail_share(away: Doubles, prior: Prior) -> Doubles:
    """Share of rows more than ``away`` deviations above the line, as measured: 0 below the grid.

    Where near-duplicates make the tail heavier than a normal's, the normal would stop too early.
    """
    at, logs = prior.tail_grid
    shares = np.exp(np.interp(away, at, logs) - 3 * np.maximum(away - at[-1], 0))
    return np.where(away < at[0], 0.0, shares)


def normal_share(z: Doubles) -> Doubles:
    """Φ(z), the share of a standard normal below z.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.17: within 7.5e-8, and in
    proportion to the density, so that far tails stay small.
    """
    t = 1 / (1 + 0.2316419 * np.abs(z))
    series = 0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429
    total = np.zeros_like(t)
    for term in reversed(series):
        total = t * (term + total)
    tail: Doubles = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) * total
    share: Doubles = np.where(z > 0, 1 - tail, tail)
    return share
