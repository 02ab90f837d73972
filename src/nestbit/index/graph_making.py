"""Making the graph of a segment: built over its finest level, measured, written beside it.

Recall is measured with queries that were given, or with rows of the segment before they join the
graph: a walk that could stand on its own query would find its neighbours at once, and one over a
graph from which it was taken would miss the edges that other rows did without because of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestbit._arrays import Floats
from nestbit.codecs import Codec
from nestbit.index.catalog import GraphEntry, SegmentEntry
from nestbit.index.graph_build import Graph, GraphOptions, Late, build_graph
from nestbit.index.graph_file import Measured, write_graph
from nestbit.index.numbering import Rows
from nestbit.index.partitions import Probing
from nestbit.index.parts import Part, all_but
from nestbit.index.profiles import DEFAULT_TARGET, DEGREE, choose
from nestbit.index.scan import scan_parts
from nestbit.index.segment import Segment
from nestbit.index.walk import Walker
from nestbit.search import Plan

DEPTHS = (1, 10, 100)
# Widths of walks that are measured, each about 1.4 times the one before it.
BEAMS = tuple(round(10 * 2 ** (i / 2)) for i in range(16))
# Queries, at most this share of the rows; walks wider than _WIDE, in which the shares that single
# queries find differ little, are measured with about _FEW of them.
_QUERIES = 1000
_QUERY_SHARE = 0.05
_WIDE, _FEW = 100, 400
# Candidates per best row when the best rows of a query are looked up.
_OVERSAMPLE = 10.0
# A wider walk is not tried when this one found so much at every depth.
_ENOUGH = 0.9985
_TIMED = 50


@dataclass(frozen=True)
class Wish:
    """The graph that is wanted: a profile, the memory it may take, and queries (m, dim)."""

    profile: str
    memory_mb: float | None
    queries: Floats | None = None


def make_graph(directory: Path, entry: SegmentEntry, codec: Codec, wish: Wish) -> GraphEntry | None:
    """Build, measure and write the graph of a segment; None where there is to be none.

    Raises `InputError` for a profile that the codec cannot have.
    """
    profile, why = choose(codec, entry.n, wish.profile, wish.memory_mb)
    if profile == "memory":
        return None
    segment = Segment(directory, entry, codec, pinned=False)
    if entry.n - len(segment.zero_rows) < 2:
        return None

    def rows(start: int, stop: int) -> Floats:
        return codec.decode(segment.codes_at(np.arange(start, stop)))

    metric = "ip" if codec.metric == "dot" else codec.metric
    found: list[tuple[Measured, float | None, float]] = []
    late = None
    if wish.queries is None:
        own = _held_out(segment)
        late = Late(own, lambda others: found.append(_measure(segment, others, own)))
    graph = build_graph(
        rows,
        entry.n,
        codec.dim,
        metric=metric,
        options=GraphOptions(DEGREE),
        seed=codec.seed,
        late=late,
    )
    if wish.queries is not None:
        found.append(_measure(segment, graph, np.empty(0, np.int64), wish.queries[:_QUERIES]))
    ((measured, walk_ms, scan_ms),) = found
    if walk_ms is not None:
        why += f"; measured at {DEFAULT_TARGET:g}: {walk_ms:.2f} ms, a scan {scan_ms:.2f} ms"
    if wish.profile == "auto" and (walk_ms is None or walk_ms > scan_ms):
        return None
    return write_graph(segment.path, profile, why, graph.entries, measured, graph.neighbours)


def _held_out(segment: Segment) -> Rows:
    """Rows that serve as queries."""
    n, rng = len(segment), np.random.default_rng(segment.codec.seed)
    usable = np.setdiff1d(np.arange(n), segment.zero_rows)
    count = max(1, min(_QUERIES, int(_QUERY_SHARE * n)))
    return np.sort(rng.choice(usable, min(count, len(usable)), replace=False))


def _measure(
    segment: Segment, graph: Graph, own: Rows, given: Floats | None = None
) -> tuple[Measured, float | None, float]:
    """What walks find; milliseconds of a query by a walk of the default target, and by a scan.

    Queries are ``own`` rows that are not in the graph, or those that are given.
    """
    codec = segment.codec
    queries = codec.decode(segment.codes_at(own)) if given is None else given
    # A row that is a query takes no part in its own search, nor in those of the others.
    (part,) = all_but([segment], np.sort(segment.row_numbers(own)))
    depths = np.array([k for k in DEPTHS if k <= max(1, part.live)])
    plan = Plan.default(codec, oversample=_OVERSAMPLE)
    truth = scan_parts(codec, [part], queries, int(depths[-1]), plan)[0] - part.offset
    walker = Walker.of(segment, graph.neighbours, graph.entries)
    measured = _recalls(walker, part, queries, depths, truth)
    k = int(depths[:2][-1])
    beam, walk_ms = measured.beam(k, DEFAULT_TARGET), None
    if beam is not None:
        walk_ms = _milliseconds(lambda i: walker.walk(queries[i], k, beam, threads=1), len(queries))
    probing = Probing(target_recall=DEFAULT_TARGET)
    scan_ms = _milliseconds(
        lambda i: scan_parts(codec, [part], queries[i], k, None, 1, probing), len(queries)
    )
    return measured, walk_ms, scan_ms


def _milliseconds(search: Callable[[slice], object], queries: int) -> float:
    """Of a search for one query, the median."""
    seconds = []
    for i in range(min(_TIMED, queries)):
        began = time.perf_counter()
        search(slice(i, i + 1))
        seconds.append(time.perf_counter() - began)
    return 1e3 * float(np.median(seconds))


def _recalls(walker: Walker, part: Part, queries: Floats, depths: Rows, truth: Rows) -> Measured:
    """Recall of walks of every width, until one finds enough."""
    recalls, errors, beams = [], [], []
    for beam in BEAMS:
        k = min(beam, int(depths[-1]))
        some = slice(None, None, max(1, len(queries) // _FEW) if beam > _WIDE else 1)
        best, found = truth[some], walker.walk(queries[some], k, beam, mask=part.mask).ids
        shares = [
            np.array([np.isin(a[:d], b[:d]).mean() for a, b in zip(best, found, strict=True)])
            if d <= k
            else np.array([np.nan])
            for d in depths.tolist()
        ]
        beams.append(beam)
        recalls.append([x.mean() for x in shares])
        errors.append([x.std() / np.sqrt(len(x)) for x in shares])
        if np.min(recalls[-1]) >= _ENOUGH:
            break
    table = np.array(recalls, np.float32).T, np.array(errors, np.float32).T
    return Measured(
        depths.astype(np.int64),
        np.array(beams, np.int64),
        np.ascontiguousarray(table[0]),
        np.ascontiguousarray(table[1]),
    )
