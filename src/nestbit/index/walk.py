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
from nestbit.codecs.level import Level
from nestbit.codecs.scorers import Metric
from nestbit.index.graph_file import SegmentGraph
from nestbit.index.parts import Part
from nestbit.index.segment import Segment
from nestbit.kernels.graph_walk import (
    CodeGraph,
    Factors,
    FineRows,
    Walked,
)
from nestbit.kernels.walk_queries import CellBooks, FloatQueries, walk_floats

# A filter that lets fewer through is scanned: a walk would pass too many rows that do not count.
FEWEST_PASSING = 0.1
# Rows that a walk under a filter may hold, over those it would need if they passed evenly.
_ROOM = 2.0
_LOCK = threading.Lock()


def walkable(codec: Codec) -> str | None:
    """Why no graph can be walked over a codec's codes; None where one can."""
    first, last = codec.levels[0].coder, codec.levels[-1].coder
    if first.layout != "cells":
        return f"{codec.spec} begins with {first.kind}, not with cells as nested, rabitq or pq"
    if len(codec.levels) > 1 and (last.layout != "bytes" or codec.levels[-1].residual):
        return f"{codec.spec} ends with {last.kind}, not with int8 or uint8 of the rows themselves"
    return None


@dataclass(frozen=True)
class Walker:
    """A graph with its segment's codes, and the levels that score them.

    The finest level scores what is found; it is None for codes of one level.
    """

    graph: CodeGraph
    coarse: Level
    fine: Level | None
    books: CellBooks

    @classmethod
    def of(cls, graph: CodeGraph, codec: Codec) -> Walker:
        """The walker of a graph over codes of a codec."""
        levels = codec.levels
        coder = levels[0].coder
        assert isinstance(coder, CellCoder)
        cells = coder.cells
        books = CellBooks(cells.first, cells.width, cells.books)
        return cls(graph, levels[0], levels[-1] if len(levels) > 1 else None, books)

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
        """The best k rows for prepared queries (m, dim), of those in a ``mask`` of a share.

        Ids count from ``offset`` on.
        """
        metric = self.coarse.query_metric(queries)
        coordinates, bias = self.coarse.weights(queries)
        weights = fine_bias = None
        if self.fine is not None:
            weights, fine_bias = self.fine.weights(queries)
            fine_bias = metric.query_bias(fine_bias)
        asked = FloatQueries(coordinates, metric.query_bias(bias), metric.gain, weights, fine_bias)
        room = None if mask is None else math.ceil(_ROOM * beam / passing)
        return walk_floats(
            self.graph,
            self.books,
            asked,
            k,
            beam=beam,
            room=room,
            mask=mask,
            offset=offset,
            threads=threads,
        )


def walker_of(segment: Segment) -> Walker:
    """The walker of a segment that has a graph, made at its first use."""
    graph = segment.graph
    assert graph is not None
    if graph.walker is not None:
        ready: Walker = graph.walker
        return ready
    with _LOCK:
        if graph.walker is None:
            graph.walker = _walker(segment, graph)
        walker: Walker = graph.walker
        return walker


def _walker(segment: Segment, graph: SegmentGraph) -> Walker:
    coarse, fine = segment.level(0), fine_rows(segment)
    return over_codes(segment.codec, coarse, fine, graph.neighbours, graph.entries)


def over_codes(
    codec: Codec,
    coarse: LevelCodes,
    fine: FineRows | None,
    neighbours: NDArray[np.uint32],
    entries: NDArray[np.uint32],
) -> Walker:
    """The walker over neighbours and every row's own code."""
    factors = row_factors(codec, coarse)
    made = CodeGraph(neighbours, entries, coarse.data, cell_bits(codec), factors=factors, fine=fine)
    return Walker.of(made, codec)


def fine_rows(segment: Segment) -> FineRows | None:
    """The finest level of a segment as walks read it; None for codes of one level."""
    last = len(segment.codec.levels) - 1
    if not last:
        return None
    codes = segment.level(last)
    segment.at_random(last)
    return FineRows(codes.data, _metric(segment.codec).row_bias(codes, None))


def row_factors(codec: Codec, codes: LevelCodes) -> Factors:
    """What the rows of a level multiply and add in their scores."""
    return Factors(codes.factors.get("scale"), _metric(codec).row_bias(codes, None))


def cell_bits(codec: Codec) -> int:
    """Bits of the cells of the coarsest level."""
    return 8 // codec.levels[0].coder.prefix_unit


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
    """The best min(k, live) rows for prepared queries (m, dim), by their places in all segments."""
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
