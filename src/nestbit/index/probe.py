"""The partitions of one segment that each query of a search opens, and the scan of these alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs import LevelCodes
from nestbit.codecs.scorers import Scorer
from nestbit.index.numbering import Rows
from nestbit.index.partitions import Partitions, Probing
from nestbit.index.parts import Part
from nestbit.kernels.allowed import bitmap

# So many of the nearest partitions are ranked first where a margin tells how many to open.
_FIRST_RANKED = 256
# Of what rescoring may miss, the share that may lie beyond the most candidates a query reads: few
# queries seem to need very many, of which hardly any turn out to be hits.
_CAPPED = 0.2
# As queries may be unlike the rows that measured it, they may read as many times the number.
_SPARE = 4
# Ranked partitions of a block of queries stay within this many values.
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
        threads: int | None,
    ) -> None:
        self.part, self.partitions, self.threads = part, partitions, threads
        self._queries, self._metric = queries, metric
        self._sizes = part.partition_sizes
        filled = np.flatnonzero(self._sizes)
        self._filled = len(filled)
        self._mask = None if len(filled) == len(partitions) else bitmap(self._sizes > 0)
        probes = min(len(filled), probing.n_probe or len(filled))
        margin = self.most_reads = np.inf
        if probing.target_recall is not None:
            # Of the best k rows that pass a filter, the last is as far as k / share of all rows.
            among, loss = k * len(part.segment) / part.live, allowed_loss(probing.target_recall)
            margin, most = partitions.bounds(among, loss)
            probes = int(min(probes, most))
            self.most_reads = _SPARE * partitions.most_reads(among, _CAPPED * loss)
        self.opened: list[NDArray[np.int64]] = [filled] * len(queries)
        self.rows: Rows = np.full(len(queries), part.live)
        if margin == np.inf and probes == len(filled):
            return
        step = max(1, _BLOCK_VALUES // len(partitions))
        for start in range(0, len(queries), step):
            self._open(np.arange(start, min(start + step, len(queries))), probes, margin)

    def extend(self, queries: Rows, at_least: int) -> None:
        """Open more partitions, the nearest first, for queries whose own hold too few rows."""
        for query in queries[self.rows[queries] < min(at_least, self.part.live)]:
            order = self._ranked(query[None], self._filled)[0][0]
            count = int(np.searchsorted(np.cumsum(self._sizes[order]), at_least)) + 1
            self._set(query, order[:count])

    def scan(
        self, scorer: Scorer, codes: LevelCodes, queries: Rows, k: int, threads: int | None
    ) -> tuple[Rows, Floats]:
        """Best k rows, places and scores (len(queries), k), of what each of the queries opens.

        ``scorer`` is that of these queries alone, and k at most the rows that `extend` was told.
        A partition's codes are read once for all queries that open it.
        """
        mask = self.part.mask
        if (self.rows[queries] == self.part.live).all():
            return scorer.scan(codes, k, mask=mask, threads=threads)
        if len(queries) == 1:
            ranges = self._ranges(self.opened[queries[0]])
            return scorer.scan(codes, k, mask=mask, ranges=ranges, threads=threads)
        sees = np.zeros((len(self.partitions), len(queries)), np.bool_)
        for i, query in enumerate(queries):
            sees[self.opened[query], i] = True
        opened = np.flatnonzero(sees.any(axis=1))
        ranges, visits = self._ranges(opened), np.packbits(sees[opened], 1, bitorder="little")
        return scorer.scan(codes, k, mask=mask, ranges=ranges, visits=visits, threads=threads)

    def _ranges(self, opened: NDArray[np.int64]) -> NDArray[np.int64]:
        offsets = self.partitions.offsets
        return np.stack([offsets[opened], offsets[opened + 1]], axis=1)

    def _open(self, queries: Rows, probes: int, margin: float) -> None:
        """Open the nearest partitions for some queries: within the margin, at most so many."""
        if margin == np.inf:
            for query, best in zip(queries, self._ranked(queries, probes)[0], strict=True):
                self._set(query, best)
            return
        count = min(_FIRST_RANKED, probes)
        while len(queries):
            numbers, scores = self._ranked(queries, count)
            within = scores >= scores[:, :1] - np.float32(margin)
            known = ~within[:, -1] | (count == probes)
            for i in np.flatnonzero(known):
                self._set(queries[i], numbers[i, within[i]])
            queries, count = queries[~known], min(8 * count, probes)

    def _ranked(self, queries: Rows, count: int) -> tuple[NDArray[np.int64], Floats]:
        some = self._queries if len(queries) == len(self._queries) else self._queries[queries]
        return self.partitions.best(
            some, self._metric, count, mask=self._mask, threads=self.threads
        )

    def _set(self, query: np.int64, opened: NDArray[np.int64]) -> None:
        self.opened[query] = np.sort(opened)
        self.rows[query] = self._sizes[opened].sum()


def most_reads(probers: Sequence[Prober | None], n: int) -> int:
    """The most candidates that a query may read of n rows in several segments."""
    known = [prober for prober in probers if prober is not None and prober.most_reads < np.inf]
    if not known or len(known) < sum(prober is not None for prober in probers):
        return n
    # Rows of other segments stand among the candidates too.
    shares = [prober.most_reads * n / prober.part.live for prober in known]
    return int(min(n, max(shares)))


def allowed_loss(target_recall: float) -> float:
    """Share of the best rows that probing may miss: half of the whole, rescoring has the other."""
    return (1 - target_recall) / 2


def rescoring_target(target_recall: float, capped: bool) -> float:
    """The target of rescoring, less what lies beyond the most candidates that it may read."""
    loss = allowed_loss(target_recall)
    return 1 - ((1 - _CAPPED) * loss if capped else loss)


def counted(probers: Sequence[Prober | None], m: int) -> Rows:
    """Partitions that each of m queries has opened in all segments."""
    opened = [[len(some) for some in prober.opened] for prober in probers if prober is not None]
    total: Rows = np.sum([np.zeros(m, np.int64), *map(np.array, opened)], axis=0)
    return total
