"""Measures that need ids alone: recall of the float top k, and nDCG of a known item."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit.errors import InputError


def recall_at_k(found_ids: ArrayLike, true_ids: ArrayLike) -> float:
    """The mean over queries of `recall_per_query`; raises `InputError` for no queries."""
    recalls = recall_per_query(found_ids, true_ids)
    if len(recalls) == 0:
        raise InputError("there are no queries to average over: true_ids is empty")
    return float(recalls.mean())


def recall_per_query(found_ids: ArrayLike, true_ids: ArrayLike) -> NDArray[np.float64]:
    """The share of ``true_ids`` (m, k) that are among ``found_ids`` (m, w), for each query.

    The order of the ids does not count, and w may exceed k (recall of the top 10 in the best
    100). Negative found ids mean "nothing found". Ties are not forgiven: where several rows
    share the k-th score, only those in ``true_ids`` count, so take these from `exact_search`,
    which breaks ties as a search does, by the smaller row number. Raises `InputError` for
    arrays that do not match, and for true ids that are negative or repeated within a query.
    """
    found, true = as_ids(found_ids, "found_ids"), as_ids(true_ids, "true_ids")
    if len(found) != len(true):
        raise InputError(f"found_ids are for {len(found)} queries, true_ids for {len(true)}")
    if true.shape[1] == 0:
        raise InputError(f"true_ids hold no ids: shape {true.shape}")
    in_order = np.sort(true, axis=1)
    bad = (in_order[:, 0] < 0) | (np.diff(in_order, axis=1) == 0).any(axis=1)
    if bad.any():
        raise InputError(f"true_ids of query {int(np.argmax(bad))} are negative or repeated")
    pairs = zip(true, found, strict=True)
    return np.array([np.isin(t, f).mean() for t, f in pairs], dtype=np.float64)


def known_item_ndcg(ids: ArrayLike, item: ArrayLike, k: int = 10) -> float:
    """The mean nDCG@k where each query has exactly one relevant row, its ``item``.

    ``ids`` (m, w) are ranked best first, ``item`` (m,) the rows sought. One relevant row makes
    the ideal DCG 1, so a query scores 1 / log2(rank + 1) if its item's rank is at most k, else
    0 (Järvelin and Kekäläinen, ACM TOIS 20(4), 2002, with trec_eval's discount). Raises
    `InputError` for arrays that do not match, no queries, k below 1, or fewer than k ids a
    query, on which nDCG@k is not defined.
    """
    ranked, sought = as_ids(ids, "ids"), np.asarray(item)
    if sought.shape != (len(ranked),) or sought.dtype.kind not in "iu":
        raise InputError(
            f"item must be one row number for each of the {len(ranked)} queries, "
            f"got {sought.dtype} of shape {sought.shape}"
        )
    if len(ranked) == 0:
        raise InputError("there are no queries to average over: ids is empty")
    if not 1 <= k <= ranked.shape[1]:
        raise InputError(f"k must be between 1 and the {ranked.shape[1]} ids per query, got {k}")
    hit = ranked[:, :k] == sought[:, None]
    first = hit.argmax(axis=1)  # a repeated item counts once, at its best rank
    return float(np.where(hit.any(axis=1), 1 / np.log2(first + 2), 0).mean())


def as_ids(x: ArrayLike, name: str) -> NDArray[np.int64]:
    """Return whole numbers of shape (queries, k) as int64, or raise `InputError`."""
    array = np.asarray(x)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise InputError(
            f"{name} must be whole numbers of shape (queries, k), "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64, copy=False)
