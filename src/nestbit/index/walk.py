"""Walks over the graph of a segment: its codes, and queries prepared for them, as the kernel's."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs import Codec, LevelCodes
from nestbit.codecs.cell_coder import CellScorer
from nestbit.codecs.scorers import FloatScorer, Metric
from nestbit.index.graph_file import SegmentGraph
from nestbit.index.numbering import Rows
from nestbit.index.parts import Part
from nestbit.index.segment import Segment
from nestbit.kernels.graph_records import RecordLayout
from nestbit.kernels.graph_walk import (
    CodeGraph,
    Factors,
    FineRows,
    RecordGraph,
    Walked,
    integer_weights,
)

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
    """A graph with its segment's codes; ``refined`` where the finest level scores what is found."""

    graph: CodeGraph | RecordGraph
    refined: bool

    def walk(
        self,
        codec: Codec,
        queries: Floats,
        k: int,
        beam: int,
        *,
        passing: float = 1.0,
        mask: NDArray[np.uint8] | None = None,
        threads: int | None = None,
    ) -> Walked:
        """The best k rows for prepared queries (m, dim), of those in a ``mask`` of a share."""
        coarse = codec.scorer(queries, level=0).parts[0][1]
        assert isinstance(coarse, CellScorer)
        gain, weights, scales = np.float32(coarse.metric.gain), None, None
        bases, bias = gain * coarse.tables.base, coarse.metric.query_bias(coarse.bias)
        if self.refined:
            fine = codec.scorer(queries, level=len(codec.levels) - 1).parts[0][1]
            assert isinstance(fine, FloatScorer)
            weights, scales = integer_weights(fine.weights)
            scales = gain * scales
            # Rows scored by the one level are compared with rows scored by the other.
            bases = bases + bias
            bias = fine.metric.query_bias(fine.bias)
            bases = bases - bias
        room = None if mask is None else math.ceil(_ROOM * beam / passing)
        found = self.graph.walk(
            coarse.tables.rounded,
            gain * coarse.tables.scale,
            bases,
            k,
            beam=beam,
            room=room,
            weights=weights,
            fine_scales=scales,
            mask=mask,
            threads=threads,
        )
        return Walked(found.ids, found.scores + bias[:, None], found.scored, found.expanded)


def walker_of(segment: Segment) -> Walker:
    """The walker of a segment that has a graph, made at its first use."""
    graph = segment.graph
    assert graph is not None
    with _LOCK:
        if graph.walker is None:
            graph.walker = _walker(segment, graph)
        walker: Walker = graph.walker
        return walker


def _walker(segment: Segment, graph: SegmentGraph) -> Walker:
    codec = segment.codec
    coarse, fine = segment.level(0), fine_rows(segment)
    if graph.profile != "speed":
        return over_codes(codec, coarse, fine, graph.body, graph.entries)
    factors = row_factors(codec, coarse)
    layout = record_layout(graph.degree, coarse, factors)
    made = RecordGraph(
        graph.body,
        layout,
        graph.entries,
        coarse.data[graph.entries],
        cell_bits(codec),
        entry_factors=factors.of(graph.entries),
        fine=fine,
    )
    return Walker(made, fine is not None)


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
    return Walker(made, fine is not None)


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


def record_layout(degree: int, coarse: LevelCodes, factors: Factors) -> RecordLayout:
    """The layout of records with the codes of a level."""
    scaled, biased = factors.scale is not None, factors.bias is not None
    return RecordLayout(degree, coarse.data.shape[1], scaled, biased)


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
    return graph.measured.beam(k, target_recall)


def walk_part(
    part: Part, codec: Codec, queries: Floats, k: int, beam: int, threads: int | None
) -> tuple[Rows, Floats, Walked]:
    """Places among all rows, and scores, (m, min(k, live)) of the best rows a walk finds."""
    k = min(k, part.live)
    found = walker_of(part.segment).walk(
        codec,
        queries,
        k,
        max(beam, k),
        passing=part.live / len(part.segment),
        mask=part.mask,
        threads=threads,
    )
    places = np.where(found.ids < 0, found.ids, found.ids + part.offset)
    return places, found.scores, found
