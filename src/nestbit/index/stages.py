"""The stages of a plan over the segments of one codec at once.

Every stage runs over all segments before the next one begins: the coarse candidates of all are
merged first, so that many small segments do not multiply the rows that finer levels read.
Places count the rows of all segments, one segment after the other. In partitioned segments a scan
may open the partitions nearest to each query alone (`nestbit.index.probe`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nestbit._arrays import Floats
from nestbit.codecs import Codec, CodesScorer, LevelCodes
from nestbit.codecs.codes import concatenate
from nestbit.index.found import best_of_all, report_of, with_zero_rows
from nestbit.index.numbering import Rows
from nestbit.index.partitions import Probing
from nestbit.index.parts import Part
from nestbit.index.probe import Prober, counted, most_reads, rescoring_target
from nestbit.kernels.floats import top_k
from nestbit.search import Plan, Reads, Stage, StageReport
from nestbit.search.adaptive import rescore_to_target
from nestbit.search.arrays import error_prior, part_of

# Rows gathered from finer levels for one step of rescoring fill about this much.
_GATHER_BYTES = 32 << 20
# Scores of one step, over all its queries.
_STEP_SCORES = 1 << 22
# So few rows, or so small a share, are read at their finest level instead of scanned.
_FEW_ROWS = 4096
_FEW_SHARE = 0.01


@dataclass(frozen=True)
class Group:
    """A search among the segments of one codec, for prepared queries (m, dim)."""

    codec: Codec
    parts: Sequence[Part]
    q: Floats
    k: int
    threads: int | None
    target_recall: float | None
    most_reads: int
    probers: Sequence[Prober | None]
    reports: list[StageReport] | None

    @classmethod
    def of(
        cls,
        codec: Codec,
        parts: Sequence[Part],
        queries: Floats,
        k: int,
        threads: int | None,
        probing: Probing,
        reports: list[StageReport] | None,
    ) -> Group:
        """A search of ``queries`` (m, dim), with the partitions that each of them opens."""
        q = codec.prepare(queries)
        probers: list[Prober | None] = [
            Prober(part, part.segment.partitions, q, codec.metric, k, probing, threads)
            if part.segment.n_partitions and part.live and not probing.everything
            else None
            for part in parts
        ]
        target, live = probing.target_recall, sum(part.live for part in parts)
        most = most_reads(probers, live)
        if target is not None and any(probers):
            target = rescoring_target(target, most < live)
        return cls(codec, parts, q, k, threads, target, most, probers, reports)

    @property
    def live(self) -> int:
        """Rows that the stages may find."""
        return sum(part.live for part in self.parts)

    def run(self, plan: Plan | None) -> tuple[Rows, Floats]:
        """The best rows by a plan, or by the finest level alone where few may be found."""
        if plan is None:
            plan = Plan.default(self.codec, target_recall=self.target_recall)
        n = sum(len(part.segment) for part in self.parts)
        places = np.empty((len(self.q), 0), np.int64)
        scores = np.empty((len(self.q), 0), np.float32)
        if self.live and self.live < n and self.live <= max(_FEW_ROWS, _FEW_SHARE * n):
            places, scores = self.exact()
        elif self.live:
            places, scores = self.stages(plan)
        return with_zero_rows(self.codec, self.parts, self.q, self.k, places, scores)

    def stages(self, plan: Plan) -> tuple[Rows, Floats]:
        """The stages of a plan, each over all segments."""
        m, places, scores = len(self.q), np.empty((0, 0), np.int64), np.empty((0, 0), np.float32)
        stages = list(enumerate(plan.stages))
        if plan.stages[0].target_recall is not None:
            places, scores = self.to_target(plan)
            stages = stages[2:]
        for i, stage in stages:
            began = time.perf_counter()
            scorer, keep, read = self.scorer(stage), self.keep(plan, i), None
            if i == 0:
                everyone = np.arange(m)
                places, scores = self.scan(scorer, everyone, keep)
                rows_read = self.scanned(everyone)
            else:
                rows_read = places.size
                read = np.full(m, places.shape[1])
                places = np.sort(places, axis=1)
                scores = self.rescore(scorer, places, ascending=True)
                places, scores = top_k(places, scores, keep)
            seconds = time.perf_counter() - began
            self.report(stage, rows_read, m * keep, seconds, read, scan=i == 0)
        return places, scores

    def to_target(self, plan: Plan) -> tuple[Rows, Floats]:
        """The first two stages, where the first has a target recall."""
        coarse, fine = plan.stages[:2]
        assert coarse.target_recall is not None
        scanner, rescorer = self.scorer(coarse), self.scorer(fine)
        began, scanning, scanned = time.perf_counter(), 0.0, 0
        m, keep = len(self.q), self.keep(plan, 1)

        def scan(queries: Rows, count: int) -> tuple[Rows, Floats]:
            nonlocal scanning, scanned
            start = time.perf_counter()
            found = self.scan(part_of(scanner, queries, m), queries, count)
            scanned += self.scanned(queries)
            scanning += time.perf_counter() - start
            return found

        def rescore(queries: Rows, places: Rows) -> Floats:
            return self.rescore(part_of(rescorer, queries, m), places)

        prior = error_prior(self.codec, self.q, coarse, fine)
        n = self.most_opened(keep)
        found = rescore_to_target(
            scan, rescore, m, n, keep, coarse.target_recall, prior, most=self.most_reads
        )
        total = int(found.read.sum())
        self.report(coarse, scanned, total, scanning, None, scan=True)
        seconds = time.perf_counter() - began - scanning
        self.report(fine, total, m * keep, seconds, found.read)
        return found.ids, found.scores

    def exact(self) -> tuple[Rows, Floats]:
        """The best k of all rows that may be found, by their finest level alone."""
        began = time.perf_counter()
        stage, m, keep = Stage(len(self.codec.levels) - 1), len(self.q), min(self.k, self.live)
        scorer = self.scorer(stage)
        survivors = np.concatenate([part.live_places() + part.offset for part in self.parts])
        places, scores = np.empty((m, 0), np.int64), np.empty((m, 0), np.float32)
        step = max(1, min(_GATHER_BYTES // self.codec.n_bytes, _STEP_SCORES // max(1, m)))
        for start in range(0, len(survivors), step):
            some = survivors[start : start + step]
            each = np.broadcast_to(np.arange(len(some)), (m, len(some)))
            found = self.score(scorer, some, each)
            places = np.concatenate([places, np.broadcast_to(some, found.shape)], axis=1)
            places, scores = top_k(places, np.concatenate([scores, found], axis=1), keep)
        self.report(stage, m * len(survivors), m * keep, time.perf_counter() - began, None)
        return places, scores

    def scorer(self, stage: Stage) -> CodesScorer:
        """The queries prepared for a stage."""
        if stage.query == "binary":
            binary = self.codec.levels[stage.level].binary_scorer(self.q)
            return CodesScorer(((stage.level, binary),))
        return self.codec.scorer(self.q, level=stage.level, dims=stage.dims)

    def keep(self, plan: Plan, i: int) -> int:
        """Rows that a stage leaves to the next, or to the caller."""
        if i == len(plan.stages) - 1:
            return min(self.live, self.k)
        return plan.stages[i].keep(self.k, self.live)

    def scan(self, scorer: CodesScorer, queries: Rows, keep: int) -> tuple[Rows, Floats]:
        """The best rows of all segments together for some queries, whose scorer is given."""
        level, first = scorer.parts[0]
        merged = []
        for part, prober in zip(self.parts, self.probers, strict=True):
            if part.live:
                codes, count = part.segment.level(level), min(keep, part.live)
                if prober is None:
                    found = first.scan(codes, count, mask=part.mask, threads=self.threads)
                else:
                    prober.extend(queries, count)
                    found = prober.scan(first, codes, queries, count, self.threads)
                merged.append((found[0] + part.offset if part.offset else found[0], found[1]))
        return best_of_all(merged, len(queries), keep)

    def scanned(self, queries: Rows) -> int:
        """Rows that a scan for some queries reads, of those that may be found."""
        return sum(
            len(queries) * part.live if prober is None else int(prober.rows[queries].sum())
            for part, prober in zip(self.parts, self.probers, strict=True)
        )

    def most_opened(self, at_least: int) -> int:
        """The most rows that a query has in what it opens, and no fewer than ``at_least``.

        A query that opened fewer and is asked for so many candidates opens more.
        """
        rows, flat = np.zeros(len(self.q), np.int64), 0
        for part, prober in zip(self.parts, self.probers, strict=True):
            if prober is None:
                flat += part.live
            else:
                rows += prober.rows
        return max(at_least, flat + int(rows.max()))

    def rescore(self, scorer: CodesScorer, places: Rows, *, ascending: bool = False) -> Floats:
        """Scores of places (m, c); the rows of several queries are read together."""
        if len(places) == 1:  # a query names no place twice
            each = np.arange(places.size)[None]
            if ascending:
                return self.score(scorer, places[0], each)
            order = places[0].argsort()
            each[0, order] = np.arange(places.size)
            return self.score(scorer, places[0, order], each)
        scores = np.empty(places.shape, np.float32)
        width = sum(self.codec.levels[level].n_bytes for level, _ in scorer.parts)
        step = max(1, _GATHER_BYTES // max(1, width * places.shape[1]))
        for start in range(0, len(places), step):
            some = np.arange(start, min(start + step, len(places)))
            rows, local = np.unique(places[some], return_inverse=True)
            local = local.reshape(len(some), -1)
            scores[some] = self.score(part_of(scorer, some, len(places)), rows, local)
        return scores

    def score(self, scorer: CodesScorer, rows: Rows, local: Rows) -> Floats:
        """Scores (m, c) of the places that ``local`` (m, c) picks from the sorted ``rows``."""
        codes = self.gather([level for level, _ in scorer.parts], rows)
        return scorer.rescore_parts(codes, local, threads=self.threads)

    def gather(self, levels: Sequence[int], places: Rows) -> list[LevelCodes]:
        """Rows of levels at sorted, distinct places, in memory."""
        if len(self.parts) == 1:
            offset = self.parts[0].offset
            return self.parts[0].segment.take(levels, places - offset if offset else places)
        ends = [part.offset for part in self.parts] + [np.iinfo(np.int64).max]
        bounds = np.searchsorted(places, ends)
        taken = [
            part.segment.take(levels, places[first:last] - part.offset)
            for part, first, last in zip(self.parts, bounds[:-1], bounds[1:], strict=True)
            if last > first
        ]
        return [concatenate(level) for level in zip(*taken, strict=True)]

    def report(
        self,
        stage: Stage,
        rows_read: int,
        rows_kept: int,
        seconds: float,
        read: Rows | None,
        *,
        scan: bool = False,
    ) -> None:
        """Say what a stage did, if that is wanted; ``read`` (m,) are candidates of each query."""
        if self.reports is None:
            return
        segment = self.parts[0].segment
        done = report_of(self.codec, segment, stage, rows_read, rows_kept, seconds, read)
        if scan and any(self.probers):
            done = replace(done, partitions=Reads.of(counted(self.probers, len(self.q))))
        self.reports.append(done)
