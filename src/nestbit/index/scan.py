"""The stages of a plan over many segments at once.

Every stage runs over all segments before the next one begins: the coarse candidates of all are
merged first, so that many small segments do not multiply the rows that finer levels read.
Places count the rows of all segments, one segment after the other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from nestbit._arrays import Floats
from nestbit.codecs import Codec, LevelCodes
from nestbit.codecs.codes import concatenate
from nestbit.index.parts import Part
from nestbit.index.segment import Rows
from nestbit.index.snapshot import Snapshot
from nestbit.kernels.floats import top_k
from nestbit.search import Plan, Stage, StageReport
from nestbit.search.arrays import stage_report

# Rows gathered from finer levels for one step of rescoring fill about this much.
_GATHER_BYTES = 32 << 20
# Scores of one step, over all its queries.
_STEP_SCORES = 1 << 22
# So few rows, or so small a share, are read at their finest level instead of scanned.
_FEW_ROWS = 4096
_FEW_SHARE = 0.01


def search_segments(
    snapshot: Snapshot,
    queries: Floats,
    k: int,
    parts: Sequence[Part],
    plan: Plan | None,
    threads: int | None,
) -> tuple[Rows, Floats, list[StageReport]]:
    """Places and scores (m, min(k, rows found)) of the best rows, and what each stage did.

    ``parts`` tell the rows that may be found.
    """
    parts = [part for part in parts if part.found]
    places = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    reports: list[StageReport] = []
    for number in sorted({part.segment.entry.codec for part in parts}):
        group = [part for part in parts if part.segment.entry.codec == number]
        codec = snapshot.codecs[number]
        # The plan is meant for the codec in use; rows that wait as float32 are scanned exactly.
        stages = plan if plan is not None and codec is snapshot.codec else Plan.default(codec)
        found = _search_group(codec, group, codec.prepare(queries), k, stages, threads, reports)
        places = np.concatenate([places, found[0]], axis=1)
        scores = np.concatenate([scores, found[1]], axis=1)
    return *top_k(places, scores, k), reports


def _search_group(
    codec: Codec,
    parts: Sequence[Part],
    q: Floats,
    k: int,
    plan: Plan,
    threads: int | None,
    reports: list[StageReport],
) -> tuple[Rows, Floats]:
    live, n = sum(part.live for part in parts), sum(len(part.segment) for part in parts)
    places, scores = np.empty((len(q), 0), np.int64), np.empty((len(q), 0), np.float32)
    if live and live < n and live <= max(_FEW_ROWS, _FEW_SHARE * n):
        places, scores = _exact(codec, parts, q, min(k, live), threads, reports)
    elif live:
        for i, stage in enumerate(plan.stages):
            last = i == len(plan.stages) - 1
            keep = min(live, k) if last else stage.keep(k, live)
            began = time.perf_counter()
            if i == 0:
                rows_read = len(q) * live
                places, scores = _scan(codec, parts, q, keep, stage, threads)
            else:
                rows_read = places.size
                places = np.sort(places, axis=1)
                rescored = _rescore(codec, parts, q, places, stage, threads)
                places, scores = top_k(places, rescored, keep)
            seconds = time.perf_counter() - began
            reports.append(_report(codec, parts, stage, rows_read, len(q) * keep, seconds))
    zeros = np.concatenate([part.zeros + part.offset for part in parts])[:k]
    if not len(zeros):
        return places, scores
    # An all-zero row has no direction: its score is known without its code.
    exact = -np.einsum("ij,ij->i", q, q) if codec.metric == "l2" else np.zeros(len(q), np.float32)
    places = np.concatenate([places, np.broadcast_to(zeros, (len(q), len(zeros)))], axis=1)
    exact = np.broadcast_to(exact[:, None], (len(q), len(zeros)))
    return top_k(places, np.concatenate([scores, exact], axis=1), k)


def _scan(
    codec: Codec, parts: Sequence[Part], q: Floats, keep: int, stage: Stage, threads: int | None
) -> tuple[Rows, Floats]:
    level = codec.levels[stage.level]
    binary = stage.query == "binary"
    scorer = level.binary_scorer(q) if binary else level.scorer(q, dims=stage.dims)
    places, scores = [], []
    for part in parts:
        if not part.live:
            continue
        found = scorer.scan(
            part.segment.level(stage.level), min(keep, part.live), mask=part.mask, threads=threads
        )
        places.append(found[0] + part.offset)
        scores.append(found[1])
    return top_k(np.concatenate(places, axis=1), np.concatenate(scores, axis=1), keep)


def _rescore(
    codec: Codec,
    parts: Sequence[Part],
    q: Floats,
    places: Rows,
    stage: Stage,
    threads: int | None,
) -> Floats:
    level = codec.levels[stage.level]
    scores = np.empty(places.shape, np.float32)
    step = max(1, _GATHER_BYTES // max(1, level.n_bytes * places.shape[1]))
    for start in range(0, len(q), step):
        some, wanted = slice(start, start + step), places[start : start + step]
        rows = np.unique(wanted)
        binary = stage.query == "binary"
        scorer = level.binary_scorer(q[some]) if binary else level.scorer(q[some], dims=stage.dims)
        codes = _gather(parts, stage.level, rows)
        scores[some] = scorer.rescore(codes, np.searchsorted(rows, wanted), threads=threads)
    return scores


def _exact(
    codec: Codec,
    parts: Sequence[Part],
    q: Floats,
    k: int,
    threads: int | None,
    reports: list[StageReport],
) -> tuple[Rows, Floats]:
    """The best k of all rows that may be found, by their finest level alone."""
    began = time.perf_counter()
    stage = Stage(len(codec.levels) - 1)
    level = codec.levels[stage.level]
    scorer = level.scorer(q)
    survivors = np.concatenate([part.live_places() + part.offset for part in parts])
    places, scores = np.empty((len(q), 0), np.int64), np.empty((len(q), 0), np.float32)
    step = max(1, min(_GATHER_BYTES // level.n_bytes, _STEP_SCORES // max(1, len(q))))
    for start in range(0, len(survivors), step):
        some = survivors[start : start + step]
        each = np.broadcast_to(np.arange(len(some)), (len(q), len(some)))
        found = scorer.rescore(_gather(parts, stage.level, some), each, threads=threads)
        places = np.concatenate([places, np.broadcast_to(some, found.shape)], axis=1)
        places, scores = top_k(places, np.concatenate([scores, found], axis=1), k)
    seconds, rows_read = time.perf_counter() - began, len(q) * len(survivors)
    reports.append(_report(codec, parts, stage, rows_read, len(q) * k, seconds))
    return places, scores


def _gather(parts: Sequence[Part], level: int, places: Rows) -> LevelCodes:
    """Rows of a level at sorted places, in memory."""
    bounds = np.searchsorted(places, [part.offset for part in parts] + [np.iinfo(np.int64).max])
    taken = [
        part.segment.take(level, places[first:last] - part.offset)
        for part, first, last in zip(parts, bounds[:-1], bounds[1:], strict=True)
        if last > first
    ]
    return concatenate(taken)


def _report(
    codec: Codec,
    parts: Sequence[Part],
    stage: Stage,
    rows_read: int,
    rows_kept: int,
    seconds: float,
) -> StageReport:
    part = parts[0].segment.level(stage.level)
    coder = codec.levels[stage.level].coder
    return stage_report(stage, part, coder, rows_read, rows_kept, seconds)
