"""Walks over the graph of a segment: its codes, and queries prepared for them, as the kernel's."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs import Codec, LevelCodes
from nestbit.codecs.cell_coder import CellCoder
from nestbit.codecs.coders import AffineCoder
from nestbit.codecs.level import Level
from nestbit.codecs.rotations import HadamardBasis
from nestbit.codecs.scorers import Metric
from nestbit.index.parts import Part
from nestbit.index.segment import Segment
from nestbit.kernels.floats import top_k
from nestbit.kernels.graph_walk import CodeGraph, Factors, FineRows, Walked
from nestbit.kernels.query_map import Bytes, Coordinates, QueryMap, walk_rows
from nestbit.kernels.walk_queries import CellBooks, FloatQueries, walk_floats

# A filter that lets fewer through is scanned: a walk would pass too many rows that do not count.
FEWEST_PASSING = 0.1
# Rows that a walk under a filter may hold, over those it would need if they passed evenly.
_ROOM = 2.0
# Levels beyond the one that walks score by order so many rows for each that is wanted, and some.
_FINISHED, _FINISHED_MORE = 2, 16
_LOCK = threading.Lock()


def walkable(codec: Codec) -> str | None:
    """Why no graph can be walked over a codec's codes; None where one can."""
    first = codec.levels[0].coder
    if first.layout != "cells":
        return f"{codec.spec} begins with {first.kind}, not with cells as nested, rabitq or pq"
    return None


def fine_level(codec: Codec) -> int | None:
    """The level that scores the rows a walk visits: the finest one of int8 or uint8, if any."""
    levels = codec.levels
    fit = [i for i, x in enumerate(levels) if i and x.coder.layout == "bytes" and not x.residual]
    return fit[-1] if fit else None


def finished(codec: Codec, k: int, beam: int) -> int:
    """Rows of each query that the finest level scores after a walk; 0 if the walk itself does."""
    fine = fine_level(codec)
    if (fine or 0) == len(codec.levels) - 1:
        return 0
    return beam if fine is None else min(beam, _FINISHED * k + _FINISHED_MORE)


@dataclass(frozen=True)
class Walker:
    """A graph of a segment's rows with their codes.

    ``coarse`` scores the rows that are met, ``fine``, if there is such a level, those visited.
    ``finer`` tells whether a level beyond these scores what is found anew, ``finishes`` whether the
    native walk does that itself, as it can where the level is plain floats in memory. ``mapping``
    makes queries of embeddings; None where row maps come before the coders of ``coarse`` or
    ``fine``.
    """

    segment: Segment
    graph: CodeGraph
    coarse: Level
    fine: Level | None
    books: CellBooks
    mapping: QueryMap | None
    finer: bool
    finishes: bool

    @classmethod
    def of(
        cls, segment: Segment, neighbours: NDArray[np.uint32], entries: NDArray[np.uint32]
    ) -> Walker:
        """The walker of a graph with ``neighbours`` (n, degree) over a segment of n rows."""
        codec, coarse = segment.codec, segment.level(0)
        number = fine_level(codec)
        if segment.holds(len(codec.levels) - 1):
            segment.level(len(codec.levels) - 1)  # is read now, for what walks find is scored by it
        graph = CodeGraph(
            neighbours,
            entries,
            coarse.data,
            8 // codec.levels[0].coder.prefix_unit,
            factors=_row_factors(codec, coarse),
            fine=None if number is None else _fine_rows(segment, number),
        )
        coder = codec.levels[0].coder
        assert isinstance(coder, CellCoder)
        cells = coder.cells
        books = CellBooks(cells.first, cells.width, cells.books)
        fine = None if number is None else codec.levels[number]
        mapping, finer = _mapping(codec, books, fine), bool(finished(codec, 1, 1))
        finishes = finer and mapping is not None and fine is not None and _finish(segment, graph)
        return cls(segment, graph, codec.levels[0], fine, books, mapping, finer, finishes)

    def walk(
        self,
        queries: Floats,
        k: int,
        beam: int,
        *,
        passing: float = 1.0,
        mask: NDArray[np.uint8] | None = None,
        offset: int = 0,
        threads: int | None = None,
    ) -> Walked:
        """The best k rows for queries (m, dim), of those in a ``mask`` of a share ``passing``.

        Ids count from ``offset`` on.
        """
        room = None if mask is None else math.ceil(_ROOM * beam / passing)
        anew = finished(self.segment.codec, k, beam) if self.finer else 0
        if self.mapping is None:
            found = walk_floats(
                self.graph, self.books, self._floats(queries), anew or k,
                beam=beam, room=room, mask=mask, offset=offset, threads=threads,
            )  # fmt: skip
        elif self.finishes:
            return walk_rows(
                self.graph, self.mapping, queries, k,
                beam=beam, room=room, mask=mask, offset=offset, threads=threads, finish=anew,
            )  # fmt: skip
        else:
            found = walk_rows(
                self.graph, self.mapping, queries, anew or k,
                beam=beam, room=room, mask=mask, offset=offset, threads=threads,
            )  # fmt: skip
        return self._finished(queries, found, k, offset, threads) if anew else found

    def _floats(self, queries: Floats) -> FloatQueries:
        queries = self.segment.codec.prepare(queries)
        metric = self.coarse.query_metric(queries)
        coordinates, bias = self.coarse.weights(queries)
        weights = fine_bias = None
        if self.fine is not None:
            weights, fine_bias = self.fine.weights(queries)
            fine_bias = metric.query_bias(fine_bias)
        return FloatQueries(coordinates, metric.query_bias(bias), metric.gain, weights, fine_bias)

    def _finished(
        self, queries: Floats, found: Walked, k: int, offset: int, threads: int | None
    ) -> Walked:
        """The best k of what was found, by the finest level."""
        codec = self.segment.codec
        scorer = codec.scorer(codec.prepare(queries), level=len(codec.levels) - 1)
        levels = [level for level, _ in scorer.parts]
        ids, missing = found.ids, found.ids < 0
        gaps = bool(missing.any())
        places = np.where(missing, 0, ids - offset) if gaps else ids - offset
        if all(map(self.segment.holds, levels)):
            codes = [self.segment.level(i) for i in levels]
        elif len(queries) == 1 and not gaps:  # a query finds no row twice
            ids = np.sort(ids)
            codes = self.segment.take(levels, ids[0] - offset)
            places = np.arange(ids.size)[None]
        else:
            some, local = np.unique(places, return_inverse=True)
            codes, places = self.segment.take(levels, some), local.reshape(ids.shape)
        scores = scorer.rescore_parts(codes, places, threads=threads)
        if gaps:
            scores[missing] = -np.inf
        return Walked(*top_k(ids, scores, k), found.scored, found.expanded)


def walker_of(segment: Segment) -> Walker:
    """The walker of a segment that has a graph, made at its first use."""
    graph = segment.graph
    assert graph is not None
    if graph.walker is not None:
        ready: Walker = graph.walker
        return ready
    with _LOCK:
        if graph.walker is None:
            graph.walker = Walker.of(segment, graph.neighbours, graph.entries)
        walker: Walker = graph.walker
        return walker


def _mapping(codec: Codec, books: CellBooks, fine: Level | None) -> QueryMap | None:
    coarse = codec.levels[0]
    coder = coarse.coder
    assert isinstance(coder, CellCoder)
    if coarse.ops or (fine is not None and fine.ops):
        return None
    basis, bytes_ = coder.basis, None
    if isinstance(basis, HadamardBasis):
        rows, rotated = basis.signs.astype(np.float32), True
    else:
        rows, rotated = basis.back, False
    if fine is not None:
        assert isinstance(fine.coder, AffineCoder)
        assert fine.coder.offset is not None
        assert fine.coder.step is not None
        bytes_ = Bytes(fine.coder.offset, fine.coder.step)
    return QueryMap(
        books,
        Coordinates(basis.mean, rows, rotated, coder.factor.offset),
        bytes_,
        unit=codec.metric == "cosine",
        squared=codec.metric == "l2",
    )


def _finish(segment: Segment, graph: CodeGraph) -> bool:
    """Whether a graph can finish with the last level, which it is then told."""
    last = len(segment.codec.levels) - 1
    level = segment.codec.levels[last]
    if level.ops or level.residual or level.coder.layout != "floats" or not segment.holds(last):
        return False
    codes = segment.level(last)
    graph.finish_by(codes.data, _metric(segment.codec).row_bias(codes, None))
    return True


def _fine_rows(segment: Segment, level: int) -> FineRows:
    codes = segment.level(level)
    segment.at_random(level)
    return FineRows(codes.data, _metric(segment.codec).row_bias(codes, None))


def _row_factors(codec: Codec, codes: LevelCodes) -> Factors:
    """What the rows of a level multiply and add in their scores."""
    return Factors(codes.factors.get("scale"), _metric(codec).row_bias(codes, None))


def _metric(codec: Codec) -> Metric:
    return Metric(np.empty(0, np.float32) if codec.metric == "l2" else None)


def walk_width(part: Part, beam: int | None, k: int, target_recall: float | None) -> int | None:
    """How wide a walk over a part must be; None where it is scanned instead."""
    graph = part.segment.graph
    if graph is None or not part.live or part.live < FEWEST_PASSING * len(part.segment):
        return None
    if beam is not None:
        return max(beam, min(k, part.live))
    assert target_recall is not None
    return graph.beam(k, target_recall)


def walk_part(part: Part, queries: Floats, k: int, beam: int, threads: int | None) -> Walked:
    """The best min(k, live) rows for queries (m, dim), by their places in all segments."""
    k = min(k, part.live)
    return walker_of(part.segment).walk(
        queries,
        k,
        max(beam, k),
        passing=part.live / len(part.segment),
        mask=part.mask,
        offset=part.offset,
        threads=threads,
    )
