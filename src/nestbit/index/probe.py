"""The partitions of one segment that each query of a search opens, and the scan of these alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs import LevelCodes
from nestbit.codecs.scorers import Scorer
from nestbit.index.numbering import Rows
from nestbit.index.partitions import Partitions, Probing
from nestbit.index.parts import Part
from nestbit.kernels import thread_count

# Scores of partitions are made for blocks of queries within this many values.
_BLOCK_VALUES = 1 << 22


class Prober:
    """The partitions that prepared queries (m, dim) open in a part of a search for k rows.

    Partitions without a row that may be found do not count. Every query opens at least as many as
    hold the rows it is to be given, so that probing never shortens a result.
    """

    def __init__(
        self,
        part: Part,
        partitions: Partitions,
        queries: Floats,
        metric: str,
        k: int,
        probing: Probing,
    ) -> None:
        self.part, self.partitions = part, partitions
        self._queries, self._metric = queries, metric
        self._sizes = part.partition_sizes
        self._probes = min(len(partitions), probing.n_probe or len(partitions))
        self._margin = np.inf
        if probing.target_recall is not None:
            # Of the best k rows that pass a filter, the last is as far as k / share of all rows.
            among = k * len(part.segment) / part.live
            self._margin = partitions.margin(among, allowed_loss(probing.target_recall))
        filled = np.flatnonzero(self._sizes)
        self.opened: list[NDArray[np.intp]] = [filled] * len(queries)
        self.rows: Rows = np.full(len(queries), part.live)
        if self._margin == np.inf and self._probes >= len(filled):
            return
        step = max(1, _BLOCK_VALUES // len(partitions))
        for start in range(0, len(queries), step):
            self._open(np.arange(start, min(start + step, len(queries))))

    def extend(self, queries: Rows, at_least: int) -> None:
        """Open more partitions, the nearest first, for queries whose own hold too few rows."""
        for query in queries[self.rows[queries] < min(at_least, self.part.live)]:
            order = np.argsort(-self._scores(query[None])[0], kind="stable")
            count = int(np.searchsorted(np.cumsum(self._sizes[order]), at_least)) + 1
            self._set(query, np.sort(order[:count]))

    def scan(
        self, scorer: Scorer, codes: LevelCodes, queries: Rows, k: int, threads: int | None
    ) -> tuple[Rows, Floats]:
        """Best k rows, places and scores (len(queries), k), of what each of the queries opens.

        ``scorer`` is that of these queries alone, and k at most the rows that `extend` was told.
        """
        part, threads = self.part, thread_count(threads)
        if (self.rows[queries] == part.live).all():
            return scorer.scan(codes, k, mask=part.mask, threads=threads)
        places = np.empty((len(queries), k), np.int64)
        scores = np.empty((len(queries), k), np.float32)
        each = max(1, threads // len(queries))

        def run(i: int) -> None:
            opened = self.opened[queries[i]]
            offsets = self.partitions.offsets
            ranges = np.stack([offsets[opened], offsets[opened + 1]], axis=1)
            one = scorer if len(queries) == 1 else scorer.of(np.array([i]))
            found = one.scan(codes, k, mask=part.mask, ranges=ranges, threads=each)
            places[i], scores[i] = found[0][0], found[1][0]

        workers = min(threads, len(queries))
        if workers == 1:
            for i in range(len(queries)):
                run(i)
        else:
            with ThreadPoolExecutor(workers, thread_name_prefix="nestbit-probe") as pool:
                list(pool.map(run, range(len(queries))))
        return places, scores

    def _open(self, queries: Rows) -> None:
        scores = self._scores(queries)
        p = scores.shape[1]
        worst = scores.max(axis=1) - np.float32(self._margin)
        if self._probes < p:
            worst = np.partition(scores, p - self._probes, axis=1)[:, p - self._probes]
        chosen = (scores >= worst[:, None]) & (self._sizes > 0)
        for query, some in zip(queries, chosen, strict=True):
            self._set(query, np.flatnonzero(some))

    def _set(self, query: np.int64, opened: NDArray[np.intp]) -> None:
        self.opened[query] = opened
        self.rows[query] = self._sizes[opened].sum()

    def _scores(self, queries: Rows) -> Floats:
        scores = self.partitions.scores(self._queries[queries], self._metric)
        scores[:, self._sizes == 0] = -np.inf
        return scores


def allowed_loss(target_recall: float) -> float:
    """Share of the best rows that probing may miss: half of the whole, rescoring has the other."""
    return (1 - target_recall) / 2


def counted(probers: Sequence[Prober | None], m: int) -> Rows:
    """Partitions that each of m queries has opened in all segments."""
    opened = [[len(some) for some in prober.opened] for prober in probers if prober is not None]
    total: Rows = np.sum([np.zeros(m, np.int64), *map(np.array, opened)], axis=0)
    return total
