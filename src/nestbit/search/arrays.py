"""Search over codes held in arrays (in memory or memory-mapped)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import Floats, as_embeddings, check_k
from nestbit.codecs import (
    TAIL_AT,
    Codec,
    Codes,
    CodesScorer,
    LevelCodes,
    check_codes,
    first_part,
)
from nestbit.codecs.coder import FittedCoder
from nestbit.errors import InputError
from nestbit.kernels.allowed import Mask, bitmap
from nestbit.kernels.floats import pad, top_k
from nestbit.kernels.misses import Prior
from nestbit.search.adaptive import PRIOR_PAIRS, rescore_to_target
from nestbit.search.hits import Hits, Reads, StageReport
from nestbit.search.plan import Plan, Stage

Ids = NDArray[np.int64]


def search(
    codec: Codec,
    codes: Codes,
    queries: ArrayLike,
    k: int = 10,
    plan: Plan | None = None,
    *,
    mask: NDArray[np.bool_] | None = None,
    threads: int | None = None,
    explain: bool = False,
    errors: bool = False,
) -> Hits:
    """The best ``k`` of the n coded rows for each of ``queries`` (m, dim).

    Scores estimate the metric of the codec: cosine, inner product, or minus the squared
    distance. Ties go to the smaller row number. ``plan`` defaults to `Plan.default`;
    ``threads`` to all cores this process may use. ``mask``, booleans (n,), tells the rows that
    may be found; where they are fewer than k, the columns that are left have id -1 and score
    -inf. With ``errors`` the hits carry the standard
    errors of their scores (see `Codec.standard_errors`). Raises `InputError` for codes of
    another codec, k beyond n, queries or a mask that do not fit, or errors that were not measured;
    `NotFittedError` for an unfitted codec.
    """
    q = codec.prepare(as_embeddings(queries, name="queries", dim=codec.dim))
    check_codes(codec, codes)
    k = check_k(k, len(codes))
    plan = Plan.default(codec) if plan is None else plan
    plan.check(codec)
    if errors and (plan.stages[-1].query == "binary" or plan.stages[-1].dims is not None):
        raise InputError("standard errors are those of whole codes and float queries")
    allowed = None if mask is None else _check_mask(mask, len(codes))
    reports: list[StageReport] | None = [] if explain else None
    if len(q) == 0:
        ids, scores = np.empty((0, k), np.int64), np.empty((0, k), np.float32)
    else:
        ids, scores = _run(_Search.of(codec, codes, q, k, allowed, threads), plan, reports)
    deviations = None
    if errors:
        known = codec.standard_errors(queries, level=plan.stages[-1].level)
        # An all-zero row is scored exactly, and so is a column without a row.
        exact = np.isin(ids, codes.zero_rows) | (ids < 0)
        deviations = np.where(exact, np.float32(0), known[:, None])
    return Hits(ids, scores, tuple(reports or ()), deviations)


@dataclass(frozen=True)
class _Search:
    """What is searched for: the best k of the codes for prepared queries (m, dim)."""

    codec: Codec
    codes: Codes
    q: Floats
    k: int
    threads: int | None
    # All-zero rows stay out of the stages: their score is known and joins at the end. No stage
    # keeps more rows than are live, so that all its candidates are rows.
    zeros: Ids
    live: int
    bits: Mask | None
    prepared: dict[tuple[int, str, int | None], CodesScorer] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        codec: Codec,
        codes: Codes,
        q: Floats,
        k: int,
        allowed: NDArray[np.bool_] | None,
        threads: int | None,
    ) -> _Search:
        """A search among all rows, or among those that ``allowed`` (n,) tells."""
        zeros = codes.zero_rows if allowed is None else codes.zero_rows[allowed[codes.zero_rows]]
        if allowed is not None or len(zeros):
            allowed = np.ones(len(codes), np.bool_) if allowed is None else allowed.copy()
            allowed[codes.zero_rows] = False
        live = len(codes) if allowed is None else int(np.count_nonzero(allowed))
        bits = None if allowed is None else bitmap(allowed)
        return cls(codec, codes, q, k, threads, zeros, live, bits)

    def scorer(self, stage: Stage) -> CodesScorer:
        """The queries prepared for a stage, once for all stages that read alike."""
        key = stage.level, stage.query, stage.dims
        if key not in self.prepared:
            self.prepared[key] = self._prepare(stage)
        return self.prepared[key]

    def _prepare(self, stage: Stage) -> CodesScorer:
        if stage.query == "binary":
            level = self.codec.levels[stage.level]
            return CodesScorer(((stage.level, level.binary_scorer(self.q)),))
        return self.codec.scorer(self.q, level=stage.level, dims=stage.dims)

    def keep(self, plan: Plan, i: int) -> int:
        """Rows that a stage leaves to the next, or to the caller."""
        if i == len(plan.stages) - 1:
            return min(self.live, self.k)
        return plan.stages[i].keep(self.k, self.live)


def _run(search: _Search, plan: Plan, reports: list[StageReport] | None) -> tuple[Ids, Floats]:
    m, codes = len(search.q), search.codes
    ids, scores = np.empty((m, 0), np.int64), np.empty((m, 0), np.float32)
    stages = list(enumerate(plan.stages)) if search.live else []
    if stages and plan.stages[0].target_recall is not None:
        ids, scores = _to_target(search, plan, reports)
        stages = stages[2:]
    for i, stage in stages:
        began = time.perf_counter()
        scorer, keep = search.scorer(stage), search.keep(plan, i)
        reads = None
        if i == 0:
            rows_read = search.live * m
            ids, scores = scorer.scan(codes, keep, mask=search.bits, threads=search.threads)
            if len(stages) == 1:
                # Constants added after a scan can merge close scores.
                ids, scores = top_k(ids, scores, keep)
        else:
            rows_read = ids.size
            reads = Reads(ids.shape[1], ids.shape[1], ids.shape[1])
            # In row order the candidates are read front to back.
            ids = np.sort(ids, axis=1)
            ids, scores = top_k(ids, scorer.rescore(codes, ids, threads=search.threads), keep)
        seconds = time.perf_counter() - began
        if reports is not None:
            reports.append(_report(search, stage, rows_read, keep * m, seconds, reads))
    if len(search.zeros):
        ids, scores = _with_zero_rows(search.codec, search.zeros, search.q, search.k, ids, scores)
    return pad(ids, scores, search.k)


def _check_mask(mask: Any, n: int) -> NDArray[np.bool_]:
    allowed = np.asarray(mask)
    if allowed.dtype != np.bool_ or allowed.shape != (n,):
        raise InputError(
            f"mask must hold a boolean for each of {n} rows, "
            f"got {allowed.dtype} of shape {allowed.shape}"
        )
    return allowed


def _to_target(
    search: _Search, plan: Plan, reports: list[StageReport] | None
) -> tuple[Ids, Floats]:
    """The first two stages, where the first has a target recall."""
    began = time.perf_counter()
    coarse, fine = plan.stages[:2]
    assert coarse.target_recall is not None
    codes, m, keep = search.codes, len(search.q), search.keep(plan, 1)
    scanner, rescorer = search.scorer(coarse), search.scorer(fine)
    scanning = 0.0

    def scan(queries: Ids, count: int) -> tuple[Ids, Floats]:
        nonlocal scanning
        start = time.perf_counter()
        some = part_of(scanner, queries, m)
        found = some.scan(codes, count, mask=search.bits, threads=search.threads)
        scanning += time.perf_counter() - start
        return found

    def rescore(queries: Ids, ids: Ids) -> Floats:
        return part_of(rescorer, queries, m).rescore(codes, ids, threads=search.threads)

    found = rescore_to_target(
        scan,
        rescore,
        m,
        search.live,
        keep,
        coarse.target_recall,
        error_prior(search.codec, search.q, coarse, fine),
    )
    if reports is None:
        return found.ids, found.scores
    reads = Reads.of(found.read)
    total = int(found.read.sum())
    seconds = time.perf_counter() - began
    reports.append(_report(search, coarse, found.scanned, total, scanning, None))
    reports.append(_report(search, fine, total, keep * m, seconds - scanning, reads))
    return found.ids, found.scores


def part_of(scorer: CodesScorer, queries: Ids, m: int) -> CodesScorer:
    """The scorer of some of its m queries, by ascending numbers; itself for all of them."""
    return scorer if len(queries) == m else scorer.of(queries)


def error_prior(codec: Codec, q: Floats, coarse: Stage, fine: Stage) -> Prior | None:
    """What the fit measured, if it measured these scores: whole codes, another, finer level."""
    model = codec.levels[coarse.level].errors
    whole = coarse.query == "float" and coarse.dims is None and fine.level != coarse.level
    if model is None or not whole:
        return None
    lengths = np.sqrt(np.einsum("ij,ij->i", q, q))
    deviation = np.float32(model.spread) * lengths
    return Prior(model.slope, deviation, TAIL_AT, model.tail, PRIOR_PAIRS)


def _with_zero_rows(
    codec: Codec, zero_rows: Ids, q: Floats, k: int, ids: Ids, scores: Floats
) -> tuple[Ids, Floats]:
    zeros = np.broadcast_to(zero_rows[:k], (len(q), min(k, len(zero_rows))))
    exact = np.zeros(len(q), np.float32)
    if codec.metric == "l2":
        exact = -np.einsum("ij,ij->i", q, q)
    exact = np.broadcast_to(exact[:, None], zeros.shape)
    return top_k(np.concatenate([ids, zeros], 1), np.concatenate([scores, exact], 1), k)


def _report(
    search: _Search,
    stage: Stage,
    rows_read: int,
    rows_kept: int,
    seconds: float,
    reads: Reads | None,
) -> StageReport:
    codec, codes = search.codec, search.codes.levels
    return stage_report(codec, codes, stage, rows_read, rows_kept, seconds, reads)


def stage_report(
    codec: Codec,
    codes: Sequence[LevelCodes],
    stage: Stage,
    rows_read: int,
    rows_kept: int,
    seconds: float,
    reads: Reads | None,
) -> StageReport:
    """What a stage read of the codes of each level, and kept, over all queries."""
    levels = codec.levels
    dims = levels[stage.level].coder.prefixes if stage.dims is None else stage.dims
    row_bytes = _row_bytes(codes[stage.level], levels[stage.level].coder, dims)
    # A residual is read together with the levels that it completes.
    for i in range(first_part(levels, stage.level), stage.level):
        row_bytes += _row_bytes(codes[i], levels[i].coder, levels[i].coder.prefixes)
    return StageReport(
        level=stage.level,
        layout=codes[stage.level].layout,
        query=stage.query,
        dims=dims,
        rows_read=rows_read,
        bytes_read=rows_read * row_bytes,
        rows_kept=rows_kept,
        seconds=seconds,
        reads=reads,
    )


def _row_bytes(part: LevelCodes, coder: FittedCoder, dims: int) -> int:
    elements = -(-dims // coder.prefix_unit)
    return elements * part.data.itemsize + sum(f.itemsize for f in part.factors.values())
