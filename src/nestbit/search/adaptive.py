"""Rescoring as many candidates per query as a target recall needs.

Candidates come in the order of their coarse scores. After each chunk, fine scores are regressed
on coarse ones over the rows read so far; as rows were chosen by coarse score alone, the line
and its deviation hold for those not yet read too. Their expected number above the present top k
is Σ Φ((predicted fine score - threshold) / deviation), and reading stops where that is at most
the misses that the target allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs import TAIL_AT
from nestbit.kernels.floats import top_k

Ids = NDArray[np.int64]
Doubles = NDArray[np.float64]
# scan(queries, count) gives the best rows and their coarse scores; rescore(queries, ids) fine ones.
Scan = Callable[[Ids, int], tuple[Ids, Floats]]
Rescore = Callable[[Ids, Ids], Floats]

_GROWTH = 1.3
# A kernel keeps about a thousand rows at no cost, so a scan asks for that many at once.
_FIRST_SCAN = 1000
_RESCAN_GROWTH = 8
# Scores of all candidates of a block of queries stay within this many values.
_BLOCK_VALUES = 1 << 22
# The codec's calibration weighs as much as this many pairs of coarse and fine scores.
_PRIOR_PAIRS = 30.0
# Share of rows with twice the deviation (Tukey's contaminated normal): errors of codes have such
# tails on most models, and few pairs do not show them.
_OUTLIERS = 0.002
# Ranks at which the expected misses are summed.
_POINTS = 24


@dataclass(frozen=True)
class Prior:
    """What a fit knew of fine scores over coarse ones, for m queries.

    ``slope`` of the line, ``deviation`` (m,) around it, and ``tail``: the shares of rows farther
    above it than `TAIL_AT` deviations.
    """

    slope: float
    deviation: Floats
    tail: tuple[float, ...]

    def of(self, queries: Ids) -> Prior:
        """The prior of some of its queries, by their numbers."""
        return Prior(self.slope, self.deviation[queries], self.tail)


@dataclass(frozen=True)
class Found:
    """The best ids and fine scores (m, k), candidates ``read`` (m,), and rows scanned in all."""

    ids: Ids
    scores: Floats
    read: NDArray[np.int64]
    scanned: int


def rescore_to_target(
    scan: Scan, rescore: Rescore, m: int, n: int, k: int, target: float, prior: Prior | None
) -> Found:
    """The best ``k`` of ``n`` rows for each of ``m`` queries by their fine scores.

    ``target`` is the expected share of the fine level's own top k that is found. A query that
    needs more candidates than a scan gave is scanned again for eight times as many.
    """
    ids, scores = np.empty((m, k), np.int64), np.empty((m, k), np.float32)
    read = np.zeros(m, np.int64)
    scanned = 0
    waiting, width = np.arange(m), min(n, max(_FIRST_SCAN, 8 * k))
    done: dict[int, Floats] = {}
    while len(waiting):
        step = max(1, _BLOCK_VALUES // width)
        left: list[Ids] = []
        for start in range(0, len(waiting), step):
            block = waiting[start : start + step]
            scanned += n * len(block)
            reader = _Reader(*scan(block, width), n, k, target)
            part = None if prior is None else prior.of(block)
            reader.resume([done.pop(query, None) for query in block.tolist()])
            reader.read(partial(_rescore_block, rescore, block), part)
            full = reader.finished
            ids[block[full]], scores[block[full]] = reader.best(full)
            read[block[full]] = reader.count[full]
            for row in np.flatnonzero(~full):
                done[int(block[row])] = reader.fine[row, : reader.count[row]]
            left.append(block[~full])
        waiting = np.concatenate(left)
        width = min(n, _RESCAN_GROWTH * width)
    return Found(ids, scores, read, scanned)


def _rescore_block(rescore: Rescore, block: Ids, rows: Ids, ids: Ids) -> Floats:
    return rescore(block[rows], ids)


class _Reader:
    """The candidates of a block of queries, and how far each has been read."""

    def __init__(self, ids: Ids, coarse: Floats, n: int, k: int, target: float) -> None:
        self.ids, self.coarse, self.n, self.k = ids, coarse, n, k
        self.allowed = (1 - target) * k
        self.fine = np.full(coarse.shape, -np.inf, np.float32)
        self.count = np.zeros(len(ids), np.int64)
        self.finished = np.zeros(len(ids), bool)

    def resume(self, before: list[Floats | None]) -> None:
        """Take over the fine scores of an earlier, shorter scan: its rows come first here too."""
        for row, known in enumerate(before):
            if known is not None:
                self.fine[row, : len(known)] = known
                self.count[row] = len(known)

    def read(self, rescore: Rescore, prior: Prior | None) -> None:
        """Read every query's candidates until it is finished or has none left."""
        width = self.ids.shape[1]
        active = np.arange(len(self.ids))
        # All queries of a block stand at the same count: a rescan begins where all had run out.
        low = int(self.count[0]) if len(active) else 0
        while len(active) and low < width:
            first = self.k + max(10, self.k // 5)
            high = min(width, first if low < first else round(_GROWTH * low))
            self.fine[active, low:high] = rescore(active, self.ids[active, low:high])
            self.count[active] = low = high
            part = None if prior is None else prior.of(active)
            missed = self._missed(active, high, part) if high < self.n else np.zeros(len(active))
            stop = missed <= self.allowed
            self.finished[active[stop]] = True
            active = active[~stop]

    def best(self, rows: NDArray[np.bool_]) -> tuple[Ids, Floats]:
        """The top k ids and scores of some queries."""
        last = int(self.count[rows].max(initial=self.k))
        return top_k(self.ids[rows, :last], self.fine[rows, :last], self.k)

    def _missed(self, active: Ids, count: int, prior: Prior | None) -> Doubles:
        """Expected number (m,) of rows beyond ``count`` that belong among the best.

        A missed row pushes out the lowest of the rows found, so with a misses allowed the
        threshold is the (k - a)-th best score.
        """
        fine, coarse = self.fine[active, :count], self.coarse[active]
        threshold = self._threshold(fine)
        line = _fit_line(coarse[:, :count], fine, coarse[:, :100].var(axis=1), prior)
        scores, rows = _beyond(coarse, count, self.n)
        away = scores - line.x[:, None]
        # The variance of a prediction from a fitted line grows with the distance from its data.
        variance = line.variance[:, None] * (
            1 + 1 / count + away * away / np.maximum(line.square, _TINY)[:, None]
        )
        predicted = line.y[:, None] + line.slope[:, None] * away
        z = (predicted - threshold[:, None]) / np.sqrt(np.maximum(variance, _TINY))
        shares = (1 - _OUTLIERS) * normal_share(z) + _OUTLIERS * normal_share(z / 2)
        if prior is not None:
            shares = np.maximum(shares, _tail_share(-z, prior.tail))
        expected: Doubles = (rows * shares).sum(axis=1)
        return expected

    def _threshold(self, fine: Floats) -> Floats:
        """The (k - a)-th best score of each query, between its neighbours where that is odd."""
        rank = max(1.0, self.k - self.allowed) - 1
        below, above = int(rank), min(int(rank) + 1, self.k - 1)
        parts = -np.partition(-fine, sorted({below, above}), axis=1)
        share = np.float32(rank - below)
        threshold: Floats = (1 - share) * parts[:, below] + share * parts[:, above]
        return threshold


_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class _Line:
    """Fine over coarse scores: through (x, y), each (m,), with its variance and Σ(x - x̄)²."""

    x: Doubles
    y: Doubles
    slope: Doubles
    variance: Doubles
    square: Doubles


def _fit_line(coarse: Floats, fine: Floats, unit: Floats, prior: Prior | None) -> _Line:
    """Regression of (m, c) pairs, drawn to the prior; ``unit`` (m,) is one pair's Σ(x - x̄)²."""
    x, y = coarse.mean(axis=1, dtype=np.float64), fine.mean(axis=1, dtype=np.float64)
    dx, dy = coarse - x[:, None], fine - y[:, None]
    square, product = (dx * dx).sum(axis=1), (dx * dy).sum(axis=1)
    if prior is not None:
        square = square + _PRIOR_PAIRS * unit
        product = product + _PRIOR_PAIRS * unit * prior.slope
    slope = product / np.maximum(square, _TINY)
    residual = dy - slope[:, None] * dx
    energy, pairs = (residual * residual).sum(axis=1), coarse.shape[1] - 2.0
    variance = energy / max(pairs, 1.0)
    if prior is not None:
        known = _PRIOR_PAIRS * np.square(prior.deviation, dtype=np.float64)
        variance = (energy + known) / (pairs + _PRIOR_PAIRS)
    return _Line(x, y, slope, variance, square)


def _beyond(coarse: Floats, count: int, n: int) -> tuple[Doubles, Doubles]:
    """Coarse scores (m, p) at ranks that stand for those from ``count`` to ``n``, and weights.

    Ranks beyond the scanned ones continue with the fall per doubling of rank that the last half
    of them had; a distribution that ends like a normal's falls faster, so this errs upwards.
    """
    width = coarse.shape[1]
    edges = np.unique(np.geomspace(count, n, _POINTS + 1).round().astype(np.int64))
    middle = np.sqrt(edges[:-1] * (edges[1:] - 1.0)).astype(np.int64)
    scores = coarse[:, np.minimum(middle, width - 1)].astype(np.float64)
    outside = middle >= width
    if outside.any():
        fall = coarse[:, max(0, width // 2 - 1)] - coarse[:, width - 1]
        scores[:, outside] -= fall[:, None] * np.log2((middle[outside] + 1) / width)
    return scores, np.diff(edges).astype(np.float64)


def _tail_share(away: Doubles, tail: tuple[float, ...]) -> Doubles:
    """Share of rows more than ``away`` deviations above the line, as measured: 0 below the grid.

    Where near-duplicates make the tail heavier than a normal's, the normal would stop too early.
    """
    logs = np.log(np.maximum(tail, 1e-12))
    shares = np.exp(np.interp(away, TAIL_AT, logs) - 3 * np.maximum(away - TAIL_AT[-1], 0))
    return np.where(away < TAIL_AT[0], 0.0, shares)


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
