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
from nestbit.kernels.floats import top_k
from nestbit.kernels.misses import Prior, expected_misses

Ids = NDArray[np.int64]
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
PRIOR_PAIRS = 30.0
# Share of rows with twice the deviation (Tukey's contaminated normal): errors of codes have such
# tails on most models, and few pairs do not show them.
_OUTLIERS = 0.002


@dataclass(frozen=True)
class Found:
    """The best ids and fine scores (m, k), candidates ``read`` (m,), and rows scanned in all."""

    ids: Ids
    scores: Floats
    read: NDArray[np.int64]
    scanned: int


def rescore_to_target(
    scan: Scan,
    rescore: Rescore,
    m: int,
    n: int,
    k: int,
    target: float,
    prior: Prior | None,
    *,
    most: int | None = None,
) -> Found:
    """The best ``k`` of ``n`` rows for each of ``m`` queries by their fine scores.

    ``target`` is the expected share of the fine level's own top k that is found. A query that
    needs more candidates than a scan gave is scanned again for eight times as many. None reads
    more than ``most``, or than a first scan gives where that is more, whatever it misses by that.
    """
    ids, scores = np.empty((m, k), np.int64), np.empty((m, k), np.float32)
    read = np.zeros(m, np.int64)
    scanned = 0
    waiting, width = np.arange(m), min(n, max(_FIRST_SCAN, 8 * k))
    limit = n if most is None else min(n, max(width, most))
    done: dict[int, Floats] = {}
    while len(waiting):
        step = max(1, _BLOCK_VALUES // width)
        left: list[Ids] = []
        for start in range(0, len(waiting), step):
            block = waiting[start : start + step]
            scanned += n * len(block)
            reader = _Reader(*scan(block, width), n, k, target, limit)
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
        width = min(limit, _RESCAN_GROWTH * width)
    return Found(ids, scores, read, scanned)


def _rescore_block(rescore: Rescore, block: Ids, rows: Ids, ids: Ids) -> Floats:
    return rescore(block[rows], ids)


class _Reader:
    """The candidates of a block of queries, and how far each has been read."""

    def __init__(self, ids: Ids, coarse: Floats, n: int, k: int, target: float, limit: int) -> None:
        self.ids, self.coarse, self.n, self.k, self.limit = ids, coarse, n, k, limit
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
            rows = slice(None) if len(active) == len(self.ids) else active
            self.fine[rows, low:high] = rescore(active, self.ids[rows, low:high])
            self.count[rows] = low = high
            stop = self._missed(active, high, prior) <= self.allowed
            self.finished[active[stop]] = True
            active = active[~stop]

    def best(self, rows: NDArray[np.bool_]) -> tuple[Ids, Floats]:
        """The top k ids and scores of some queries."""
        last = int(self.count[rows].max(initial=self.k))
        return top_k(self.ids[rows, :last], self.fine[rows, :last], self.k)

    def _missed(self, active: Ids, count: int, prior: Prior | None) -> NDArray[np.float64]:
        """Expected number (len(active),) of rows beyond ``count`` that belong among the best.

        None is counted once no more may be read.

        A missed row pushes out the lowest of the rows found, so with a misses allowed the
        threshold is the (k - a)-th best score.
        """
        if count == self.limit:
            return np.zeros(len(active))
        rank = max(1.0, self.k - self.allowed) - 1
        return expected_misses(
            self.coarse, self.fine, active, count, self.n, rank, _OUTLIERS, prior
        )
