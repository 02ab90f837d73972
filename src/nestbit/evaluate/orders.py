"""How well a compressed score keeps the order of candidates; needs no judgements."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._extras import require
from nestbit.errors import InputError
from nestbit.evaluate.measures import as_ids

Values = NDArray[np.float64]


def overlap_per_query(found_ids: ArrayLike, true_ids: ArrayLike) -> Values:
    """The average overlap of two rankings (m, k) of distinct ids, best first, for each query.

    The mean over depths d = 1..k of |first d of one ∩ first d of the other| / d, so that a
    difference near the top counts more (Fagin, Kumar and Sivakumar, SIAM J. Discrete Math.
    17(1), 2003). Negative ids mean "nothing found" and match nothing. Raises `InputError` for
    arrays of different shapes and for ids repeated within a query.
    """
    found, true = as_ids(found_ids, "found_ids"), as_ids(true_ids, "true_ids")
    if found.shape != true.shape or found.shape[1] == 0:
        raise InputError(
            f"two rankings of equal length are compared, got shapes {found.shape} and {true.shape}"
        )
    for ids, name in ((found, "found_ids"), (true, "true_ids")):
        in_order = np.sort(ids, axis=1)
        repeated = ((np.diff(in_order, axis=1) == 0) & (in_order[:, 1:] >= 0)).any(axis=1)
        if repeated.any():
            raise InputError(f"{name} of query {int(np.argmax(repeated))} are repeated")
    depths = np.arange(1, true.shape[1] + 1)
    result = np.empty(len(true))
    for i, (a, b) in enumerate(zip(found, true, strict=True)):
        same = (a[:, None] == b) & (a[:, None] >= 0)
        # A pair at places (p, q) is in the first d of both from d = max(p, q) on.
        met = np.maximum(*np.nonzero(same))
        result[i] = (np.cumsum(np.bincount(met, minlength=len(depths))) / depths).mean()
    return result


def kendall_tau(scores: ArrayLike, true_scores: ArrayLike) -> Values:
    """Kendall's tau-b between two scores (m, c) of the same c candidates, for each query.

    tau-b forgives no tie on one side only (Kendall, Biometrika 33(3), 1945). It is NaN where one
    side ties all candidates. Raises `InputError` for arrays that do not match. Needs the extra
    ``eval``.
    """
    return _correlate("kendalltau", scores, true_scores)


def spearman_rho(scores: ArrayLike, true_scores: ArrayLike) -> Values:
    """Spearman's rank correlation of two scores (m, c) of the same candidates, for each query.

    Tied candidates share their mean rank. It is NaN where one side ties all candidates. Raises
    `InputError` for arrays that do not match. Needs the extra ``eval``.
    """
    return _correlate("spearmanr", scores, true_scores)


def _correlate(name: str, scores: ArrayLike, true_scores: ArrayLike) -> Values:
    stats = require("scipy.stats", extra="eval", purpose="correlating orders of candidates")
    ours, true = (np.asarray(x, dtype=np.float64) for x in (scores, true_scores))
    if ours.shape != true.shape or ours.ndim != 2 or ours.shape[1] < 2:
        raise InputError(
            "scores and true_scores must both have shape (queries, candidates) with two "
            f"candidates or more, got {ours.shape} and {true.shape}"
        )
    if not (np.isfinite(ours).all() and np.isfinite(true).all()):
        raise InputError("scores hold NaN or infinity, which have no place in an order")
    result = np.full(len(ours), np.nan)
    for i, (a, b) in enumerate(zip(ours, true, strict=True)):
        if np.ptp(a) and np.ptp(b):
            result[i] = getattr(stats, name)(a, b).statistic
    return result
