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
from nestbit.search import Plan

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
    margins = np.full((len(DEPTHS), len(LOSSES)), np.inf, np.float32)
    made = Partitions(mean, basis, centroids, offsets, np.array(DEPTHS), LOSSES, margins)
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
    """Fill in the margins; ``own`` are the rows that the queries are, not to be counted."""
    depth = min(DEPTHS[-1], len(source) - 1)
    if not len(queries) or depth < 1:
        return
    by_number = np.argsort(source.numbers)
    needed = []
    for start in range(0, len(queries), _SEARCH_QUERIES):
        some = slice(start, start + _SEARCH_QUERIES)
        rows = _best_rows(source, queries[some], depth, None if own is None else own[some])
        positions = by_number[np.searchsorted(source.numbers, rows, sorter=by_number)]
        scores = made.scores(queries[some], metric)
        reached = np.take_along_axis(scores, labels[positions], axis=1)
        needed.append(scores.max(axis=1)[:, None] - reached)
    margins = np.concatenate(needed)
    for i, k in enumerate(DEPTHS):
        if k <= depth:
            pairs = margins[:, :k].ravel()
            known = LOSSES * len(pairs) >= _FEWEST_MISSED
            made.margins[i, known] = np.quantile(pairs, 1 - LOSSES[known], method="higher")


def _best_rows(source: Source, queries: Floats, depth: int, own: Rows | None) -> Rows:
    """Numbers (m, depth) of the best rows by their finest level."""
    snapshot = source.snapshot
    parts = [part for part in snapshot.parts if part.segment in source.segments]
    codec = snapshot.codec
    plan = None if codec is None else Plan.default(codec, oversample=_OVERSAMPLE)
    extra = 0 if own is None else 1
    places, _ = search_segments(snapshot, queries, depth + extra, parts, plan, None, Probing())
    rows = snapshot.row_numbers(places)
    if own is None:
        return rows
    others = rows != own[:, None]
    others[others.all(axis=1), -1] = False  # a query that does not find itself loses its last row
    best: Rows = rows[others].reshape(len(queries), depth)
    return best
