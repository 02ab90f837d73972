"""Exhaustive scan of float rows: blocks of products, the top k kept between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit import _native
from nestbit.kernels import floats_rescore
from nestbit.kernels.allowed import check_allowed, row_numbers

# A block of rows as float32 and its scores both stay within a few MB.
_BLOCK_VALUES = 1 << 20
# Widening half-precision rows for BLAS costs more than it gains below this many queries.
_QUERIES_FOR_BLAS = 8


def widen(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of float16, float32 or bfloat16 (as uint16) in float32."""
    if rows.dtype == np.uint16:
        return (rows.astype(np.uint32) << 16).view(np.float32)
    return rows.astype(np.float32, copy=False)


def floats_scan(
    rows: NDArray[Any],
    weights: NDArray[np.float32],
    k: int,
    *,
    row_bias: NDArray[np.float32] | None = None,
    mask: NDArray[np.uint8] | None = None,
    ranges: NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Best k of ``rows · weights + row_bias`` per query, ties by smaller id.

    ``rows`` (n, dim) are float16, float32 or bfloat16 as uint16, ``weights`` (m, dim),
    1 <= k <= n; ``mask`` and ``ranges`` as in `nestbit.kernels`. Returns ids and scores (m, k),
    best first, padded with -1 and -inf where fewer rows may be found. ``threads`` serves the
    native products of a few queries with half-precision rows; BLAS, for all else, chooses its
    own. Raises `InputError` for a mask or ranges that do not fit the rows.
    """
    n, m = len(rows), len(weights)
    mask, ranges = check_allowed(mask, ranges, n)
    some = None if mask is None and ranges is None else row_numbers(n, mask, ranges)
    ids = np.zeros((m, 0), np.int64)
    best = np.zeros((m, 0), np.float32)
    step = max(k, _BLOCK_VALUES // max(rows.shape[1], m), 1)
    total = n if some is None else len(some)
    for start in range(0, total, step):
        stop = min(start + step, total)
        picked = np.arange(start, stop) if some is None else some[start:stop]
        scores = _products(rows, picked, weights, threads)
        if row_bias is not None:
            scores += row_bias[picked]
        numbers = np.broadcast_to(picked, scores.shape)
        ids, best = top_k(
            np.concatenate([ids, numbers], axis=1), np.concatenate([best, scores], axis=1), k
        )
    return pad(ids, best, k)


def _products(
    rows: NDArray[Any],
    picked: NDArray[np.int64],
    weights: NDArray[np.float32],
    threads: int | None,
) -> NDArray[np.float32]:
    """Products (m, c) of the rows ``picked`` (c,), ascending, at least one."""
    if rows.itemsize == 2 and len(weights) < _QUERIES_FOR_BLAS:
        each = np.broadcast_to(picked, (len(weights), len(picked)))
        return floats_rescore(rows, each, weights, threads=threads)
    first, last = int(picked[0]), int(picked[-1]) + 1
    adjacent = last - first == len(picked)
    return weights @ widen(rows[first:last] if adjacent else rows[picked]).T


def pad(
    ids: NDArray[np.int64], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Hits (m, at most k) widened to k columns with id -1 and score -inf."""
    if ids.shape[1] == k:
        return ids, scores
    missing = ((0, 0), (0, k - ids.shape[1]))
    return (
        np.pad(ids, missing, constant_values=-1),
        np.pad(scores, missing, constant_values=-np.inf),
    )


def top_k_named(
    places: NDArray[np.int64],
    scores: NDArray[np.float32],
    k: int,
    ranks: NDArray[np.uint32] | None,
    names: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Per row the min(k, width) best of ``scores`` (m, width), by score, then smaller rank.

    ``places`` (m, width) have ``ranks`` (n,), without which a place is its own rank, and a rank
    has its name among ``names`` (n,). Raises `ValueError` for a place and
    `IndexError` for a rank that has none.
    """
    return _native.best_named(
        np.ascontiguousarray(places), np.ascontiguousarray(scores, np.float32), k, ranks, names
    )


def top_k(
    ids: NDArray[np.int64], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Per row the min(k, width) best of ``scores`` (m, width), by score, then smaller id."""
    return _native.best_of(
        np.ascontiguousarray(ids, np.int64), np.ascontiguousarray(scores, np.float32), k
    )
