"""The float ground truth that a compressed search is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import as_embeddings, check_k
from nestbit.codecs import METRICS
from nestbit.errors import InputError
from nestbit.kernels.floats import top_k
from nestbit.search import Hits

# A block of rows and its scores each hold at most about this many float64 values.
_BLOCK_VALUES = 1 << 22
_QUERIES_AT_ONCE = 512
# BLAS sums in an order that depends on the block, so equal rows differ in the last bits of
# float64. Rounding to this grid (of vectors scaled to a largest entry near 1) removes that.
_GRID = 2.0**40


def exact_search(
    embeddings: ArrayLike, queries: ArrayLike, k: int = 10, *, metric: str = "cosine"
) -> Hits:
    """The exact best ``k`` rows of ``embeddings`` (n, dim) for each of ``queries`` (m, dim).

    Scores are the cosine (0 where a row or query is zero), the inner product ("dot"), or minus
    the squared distance ("l2"). They are summed in float64 and rounded to about 12 digits, so
    that equal rows tie wherever they stand; ties go to the smaller row number. By "l2", rows
    closer to the query than a millionth of their length tie with it. Raises `InputError` for
    arrays that do not fit, k beyond n or an unknown metric.
    """
    if metric not in METRICS:
        raise InputError(f"unknown metric {metric!r}; known: {', '.join(METRICS)}")
    rows = as_embeddings(embeddings)
    asked = as_embeddings(queries, name="queries")
    if asked.shape[1] != rows.shape[1]:
        raise InputError(
            f"queries have {asked.shape[1]} dimensions, the embeddings {rows.shape[1]}; "
            "use the embeddings of the same model"
        )
    k = check_k(k, len(rows))
    prepared = _Prepared.of(asked, metric)
    ids = np.empty((len(asked), 0), np.int64)
    scores = np.empty((len(asked), 0), np.float32)
    if len(asked) == 0:
        return Hits(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
    widest = max(rows.shape[1], min(len(asked), _QUERIES_AT_ONCE))
    step = max(1, _BLOCK_VALUES // widest)
    for start in range(0, len(rows), step):
        block = _Prepared.of(rows[start : start + step], metric)
        numbers = np.arange(start, start + len(block.vectors))
        parts = [
            _best_of_block(prepared[a : a + _QUERIES_AT_ONCE], block, numbers, k, metric)
            for a in range(0, len(asked), _QUERIES_AT_ONCE)
        ]
        new_ids = np.concatenate([part_ids for part_ids, _ in parts])
        new_scores = np.concatenate([part_scores for _, part_scores in parts])
        ids, scores = top_k(
            np.concatenate([ids, new_ids], axis=1), np.concatenate([scores, new_scores], axis=1), k
        )
    return Hits(ids, scores)


@dataclass(frozen=True)
class _Prepared:
    """Rows as ``scale`` times ``vectors``, and their squared lengths.

    The scale is a power of two, so that scaling is exact; for the cosine it is 1.
    """

    vectors: NDArray[np.float64]
    scale: NDArray[np.float64]
    length2: NDArray[np.float64]

    @classmethod
    def of(cls, x: NDArray[np.float32], metric: str) -> _Prepared:
        wide = x.astype(np.float64)
        scale = np.ldexp(1.0, np.frexp(np.abs(wide).max(axis=1, initial=0))[1])
        wide /= scale[:, None]
        length2 = np.einsum("ij,ij->i", wide, wide)
        if metric == "cosine":
            wide /= np.sqrt(np.where(length2 == 0, 1, length2))[:, None]
            return cls(wide, np.ones(len(x)), np.ones(len(x)))
        return cls(wide, scale, _round(length2) * scale**2)

    def __getitem__(self, part: slice) -> _Prepared:
        return _Prepared(self.vectors[part], self.scale[part], self.length2[part])


def _best_of_block(
    queries: _Prepared, block: _Prepared, numbers: NDArray[np.int64], k: int, metric: str
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    products = _round(queries.vectors @ block.vectors.T)
    products *= queries.scale[:, None]
    products *= block.scale
    if metric == "l2":
        products *= 2
        products -= queries.length2[:, None]
        products -= block.length2
        np.minimum(products, 0, out=products)
    ids = np.broadcast_to(numbers, products.shape)
    return top_k(ids, products.astype(np.float32), k)


def _round(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x *= _GRID
    np.rint(x, out=x)
    x /= _GRID
    x += 0.0  # -0.0 and 0.0 are one score
    return x
