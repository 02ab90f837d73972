"""Search over codes held in arrays (in memory or memory-mapped)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import Floats, as_embeddings, check_k
from nestbit.codecs import Codec, Codes, LevelCodes, check_codes
from nestbit.codecs.coder import FittedCoder
from nestbit.errors import InputError
from nestbit.kernels.allowed import bitmap
from nestbit.kernels.floats import pad, top_k
from nestbit.search.hits import Hits, StageReport
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
) -> Hits:
    """The best ``k`` of the n coded rows for each of ``queries`` (m, dim).

    Scores estimate the metric of the codec: cosine, inner product, or minus the squared
    distance. Ties go to the smaller row number. ``plan`` defaults to `Plan.default`;
    ``threads`` to all cores this process may use. ``mask``, booleans (n,), tells the rows that
    may be found; where they are fewer than k, the columns that are left have id -1 and score
    -inf. Raises `InputError` for codes of another codec, k beyond n, or queries or a mask that
    do not fit, `NotFittedError` for an unfitted codec.
    """
    q = codec.prepare(as_embeddings(queries, name="queries", dim=codec.dim))
    check_codes(codec, codes)
    k = check_k(k, len(codes))
    plan = Plan.default(codec) if plan is None else plan
    plan.check(codec)
    allowed = None if mask is None else _check_mask(mask, len(codes))
    if len(q) == 0:
        return Hits(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
    reports: list[StageReport] = []
    ids, scores = _run(codec, codes, q, k, plan, allowed, threads, reports)
    return Hits(ids, scores, tuple(reports) if explain else ())


def _run(
    codec: Codec,
    codes: Codes,
    q: Floats,
    k: int,
    plan: Plan,
    allowed: NDArray[np.bool_] | None,
    threads: int | None,
    reports: list[StageReport],
) -> tuple[Ids, Floats]:
    # All-zero rows stay out of the stages: their score is known and joins at the end. No stage
    # keeps more rows than are live, so that all its candidates are rows.
    zeros = codes.zero_rows if allowed is None else codes.zero_rows[allowed[codes.zero_rows]]
    if allowed is not None or len(zeros):
        allowed = np.ones(len(codes), np.bool_) if allowed is None else allowed.copy()
        allowed[codes.zero_rows] = False
    live = len(codes) if allowed is None else int(np.count_nonzero(allowed))
    ids, scores = np.empty((len(q), 0), np.int64), np.empty((len(q), 0), np.float32)
    last = len(plan.stages) - 1
    for i, stage in enumerate(plan.stages if live else ()):
        began = time.perf_counter()
        keep = min(live, k) if i == last else stage.keep(k, live)
        level = codec.levels[stage.level]
        part = codes.levels[stage.level]
        if stage.query == "binary":
            scorer = level.binary_scorer(q)
        else:
            scorer = level.scorer(q, dims=stage.dims)
        if i == 0:
            rows_read = live * len(q)
            bits = None if allowed is None else bitmap(allowed)
            ids, scores = scorer.scan(part, keep, mask=bits, threads=threads)
        else:
            rows_read = ids.size
            # In row order the candidates are read front to back.
            ids = np.sort(ids, axis=1)
            ids, scores = top_k(ids, scorer.rescore(part, ids, threads=threads), keep)
        seconds = time.perf_counter() - began
        reports.append(_report(stage, part, level.coder, rows_read, keep * len(q), seconds))
    ids, scores = (
        _with_zero_rows(codec, zeros, q, k, ids, scores) if len(zeros) else _ordered(ids, scores)
    )
    return pad(ids, scores, k)


def _check_mask(mask: Any, n: int) -> NDArray[np.bool_]:
    allowed = np.asarray(mask)
    if allowed.dtype != np.bool_ or allowed.shape != (n,):
        raise InputError(
            f"mask must hold a boolean for each of {n} rows, "
            f"got {allowed.dtype} of shape {allowed.shape}"
        )
    return allowed


def _ordered(ids: Ids, scores: Floats) -> tuple[Ids, Floats]:
    """Hits sorted by their final scores: constants added after a scan can merge close scores."""
    return top_k(ids, scores, max(1, ids.shape[1]))


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
    stage: Stage,
    part: LevelCodes,
    coder: FittedCoder,
    rows_read: int,
    rows_kept: int,
    seconds: float,
) -> StageReport:
    dims = coder.prefixes if stage.dims is None else stage.dims
    elements = -(-dims // coder.prefix_unit)
    row_bytes = elements * part.data.itemsize
    row_bytes += sum(factor.itemsize for factor in part.factors.values())
    return StageReport(
        level=stage.level,
        layout=part.layout,
        query=stage.query,
        dims=dims,
        rows_read=rows_read,
        bytes_read=rows_read * row_bytes,
        rows_kept=rows_kept,
        seconds=seconds,
    )
