"""Making partitions of the rows that a compaction merges.

The rows are what the finest level decodes to. Centroids are learned from a sample of them, every
row joins the nearest, and queries that were not in the sample measure how many partitions hold
their best rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nestbit._arrays import Floats
from nestbit.codecs import Codec
from nestbit.index.clustering import (
    Labels,
    Rounded,
    k_means,
    nearest,
    principal_basis,
    turned,
)
from nestbit.index.numbering import Rows
from nestbit.index.partitions import DEPTHS, LOSSES, Partitions, Probing, reduced
from nestbit.index.scan import search_segments
from nestbit.index.segment import Segment
from nestbit.index.snapshot import Snapshot
from nestbit.search import Plan, Stage

# Fewer principal directions cost recall: on ten million rows of 384 dimensions, partitions made in
# 96 of them had to be opened twice as often as those made in all.
_DIMENSIONS = 384
# Rows that the basis, and for each centroid its position, are learned from; and the most in all.
_BASIS_ROWS = 20_000
_ROWS_PER_PARTITION = 64
_MOST_ROWS = 1 << 19
_ROUNDS = 10
# Rows that serve as queries, at most this share of all.
_QUERIES = 1000
_QUERY_SHARE = 0.1
# A share that fewer best rows than this stand for was not measured.
_FEWEST_MISSED = 4
# Candidates per best row when the best rows of a query are looked up.
_OVERSAMPLE = 3.0
_SEARCH_QUERIES = 100


@dataclass(frozen=True)
class Source:
    """The rows to be partitioned: places in segments of a snapshot, and their row numbers (n,).

    ``decode`` gives rows by their position, sorted, among the n.
    """

    snapshot: Snapshot
    segments: Sequence[Segment]
    numbers: Rows
    decode: Callable[[Rows], Floats]
    step: int

    def __len__(self) -> int:
        return len(self.numbers)

    def blocks(self, positions: Rows) -> Iterator[Floats]:
        """Rows at sorted positions, block by block."""
        for start in range(0, len(positions), self.step):
            yield self.decode(positions[start : start + self.step])


def auto_count(n: int) -> int:
    """Partitions for n rows: 4 √n, as that many centroids are read for each query."""
    return max(1, round(4 * math.sqrt(n)))


def make_partitions(
    source: Source, codec: Codec, count: int, queries: Floats | None
) -> tuple[Partitions, Labels]:
    """``count`` partitions, at most n, for the metric of a codec, and the one (n,) of each row.

    ``queries`` (m, dim) are measured with in place of rows of the index.
    """
    n, rng = len(source), np.random.default_rng(codec.seed)
    held = min(_QUERIES, int(_QUERY_SHARE * n)) if queries is None else 0
    wanted = max(_BASIS_ROWS, _ROWS_PER_PARTITION * count)
    chosen = rng.choice(n, min(n, held + max(count, min(wanted, _MOST_ROWS))), replace=False)
    own, sample = np.sort(chosen[:held]), np.sort(chosen[held:])
    if len(sample) < count:
        sample = np.arange(n)
    some = sample
    if len(sample) > _BASIS_ROWS:
        some = np.sort(rng.choice(sample, _BASIS_ROWS, replace=False))
    basis_rows = np.concatenate(list(source.blocks(some)))
    mean, basis = principal_basis(basis_rows, min(_DIMENSIONS, basis_rows.shape[1]))
    basis = turned(basis, rng)
    z = Rounded.of(reduced(x, mean, basis) for x in source.blocks(sample))
    centroids = k_means(z, count, _ROUNDS, rng)
    blocks = (reduced(x, mean, basis) for x in source.blocks(np.arange(n)))
    labels = np.concatenate([nearest(Rounded.of(iter([block])), centroids) for block in blocks])
    offsets = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=count))])
    measures = np.full((3, len(DEPTHS), len(LOSSES)), np.inf, np.float32)
    made = Partitions(mean, basis, centroids, offsets, np.array(DEPTHS), LOSSES, *measures)
    if queries is not None:
        _measure(source, made, labels, codec.prepare(queries), None, codec.metric)
    elif held:
        measured = codec.prepare(source.decode(own))
        _measure(source, made, labels, measured, source.numbers[own], codec.metric)
    return made, labels


def _measure(
    source: Source,
    made: Partitions,
    labels: Labels,
    queries: Floats,
    own: Rows | None,
    metric: str,
) -> None:
    """Fill in what a search reads; ``own`` are the rows that the queries are, not to be counted."""
    depth = min(DEPTHS[-1], len(source) - 1)
    if not len(queries) or depth < 1:
        return
    by_number = np.argsort(source.numbers)
    p = len(made)
    found: list[tuple[Floats, Rows, Rows]] = []
    for start in range(0, len(queries), _SEARCH_QUERIES):
        some = slice(start, start + _SEARCH_QUERIES)
        rows, reads = _best_rows(source, queries[some], depth, None if own is None else own[some])
        positions = by_number[np.searchsorted(source.numbers, rows, sorter=by_number)]
        numbers, scores = made.best(queries[some], metric, p)
        ranks = np.empty_like(numbers)
        np.put_along_axis(ranks, numbers, np.arange(p)[None], axis=1)
        ranks = np.take_along_axis(ranks, labels[positions].astype(np.int64), axis=1)
        below = scores[:, :1] - np.take_along_axis(scores, ranks, axis=1)
        found.append((below, ranks, reads))
    margins, ranks, reads = (np.concatenate(each) for each in zip(*found, strict=True))
    for i, k in enumerate(DEPTHS):
        if k <= depth:
            known = np.flatnonzero(LOSSES * margins[:, :k].size >= _FEWEST_MISSED)
            missed = (LOSSES[known] * margins[:, :k].size).astype(np.int64)
            bounds = _bounds(margins[:, :k].ravel(), ranks[:, :k].ravel(), missed)
            made.margins[i, known], made.counts[i, known] = bounds
            most = 1 + np.sort(reads[:, :k], axis=None)[::-1][missed]
            made.reads[i, known] = np.where(most <= len(source), most, np.inf)


def _bounds(margins: Floats, ranks: Rows, missed: Rows) -> tuple[Floats, Rows]:
    """Margins and numbers of partitions that together leave out ``missed`` of the pairs.

    The numbers alone leave out half as many. Few queries need far more partitions than others; what
    they miss is mostly the same by both bounds, so the numbers cost the others hardly anything.
    """
    counts = 1 + np.sort(ranks)[::-1][missed // 2]
    order = np.argsort(-margins, kind="stable")
    falling, of = margins[order], ranks[order]
    found = []
    for count, most in zip(counts, missed, strict=True):
        # The largest margins left out are those of rows in the partitions that are opened.
        within = np.flatnonzero(of[: most + 1] < count)
        left = most - int(np.count_nonzero(ranks >= count))
        found.append(falling[within[left]])
    return np.array(found, np.float32), counts


def _best_rows(source: Source, queries: Floats, depth: int, own: Rows | None) -> tuple[Rows, Rows]:
    """Numbers (m, depth) of the best rows by their finest level, and their ranks by the coarsest.

    A row that is not among the candidates has the rank n.
    """
    snapshot = source.snapshot
    parts = [part for part in snapshot.parts if part.segment in source.segments]
    codec, m = snapshot.codec, len(queries)
    plan = None if codec is None else Plan.default(codec, oversample=_OVERSAMPLE)

    def found(plan: Plan | None, k: int) -> Rows:
        places, _ = search_segments(snapshot, queries, k, parts, plan, None, Probing())
        return snapshot.row_numbers(places)

    n, keep = len(source), depth if own is None else depth + 1
    rows = found(plan, keep)
    if own is not None:
        others = rows != own[:, None]
        others[others.all(axis=1), -1] = False  # one that does not find itself loses its last row
        rows = rows[others].reshape(m, depth)
    candidates = found(Plan((Stage(0),)), min(n, math.ceil(_OVERSAMPLE * keep)))
    ranks = np.full(rows.shape, n)
    for rank, row, candidate in zip(ranks, rows, candidates, strict=True):
        order = np.argsort(candidate)
        at = order[np.minimum(np.searchsorted(candidate, row, sorter=order), len(order) - 1)]
        known = candidate[at] == row
        rank[known] = at[known]
    return rows, ranks
