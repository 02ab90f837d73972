"""Measures over a full matrix of distances, as a post on binary embeddings used them, and mended.

`reorder_score`, `kendall_tau_score` and `normalized_difference_score` compare the distances (n, n)
between all rows in float with those between all codes. Each has two forms. ``published`` is the
arithmetic of "Binary Embeddings" (2024-03-28) as far as its description tells. It compares
``argsort`` outputs place by place. Place i of an argsort tells *which row* is i-th nearest, and the
number of a row is a mere name, so two such lists are as good as unrelated as soon as a few
neighbours change places. ``corrected`` compares ranks, and leaves out a row's distance to itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._extras import require
from nestbit.errors import InputError

Form = Literal["published", "corrected"]
Matrix = NDArray[np.float64]


def reorder_score(
    distances: ArrayLike, compressed: ArrayLike, *, form: Form = "corrected"
) -> float:
    """One minus the mean displacement of a row's neighbours, over the largest there can be.

    With ranks r and s of the c other rows, 1 - Σ|r - s| / floor(c²/2), averaged over rows
    (Spearman's footrule; Diaconis and Graham, JRSS B 39(2), 1977): 1 for equal orders, 0 for
    reversed ones, about 1/3 for unrelated ones. ``published`` takes argsorts for ranks. Raises
    `InputError` for matrices that do not fit. Needs the extra ``eval``.
    """
    stats = require("scipy.stats", extra="eval", purpose="ranking distances")
    scores = []
    for a, b in _rows(distances, compressed, form):
        r, s = _published(a, b) if form == "published" else (stats.rankdata(a), stats.rankdata(b))
        scores.append(1 - np.abs(r - s).sum() / (len(r) ** 2 // 2))
    return float(np.mean(scores))


def kendall_tau_score(
    distances: ArrayLike, compressed: ArrayLike, *, form: Form = "corrected"
) -> float:
    """Kendall's tau-b of each row's distances, averaged over rows.

    ``published`` correlates two argsorts, which is no rank correlation and near zero for any two
    matrices that differ. Rows whose distances are all equal have no order and are left out; if
    all are, the score is NaN. Raises `InputError` for matrices that do not fit. Needs the extra
    ``eval``.
    """
    stats = require("scipy.stats", extra="eval", purpose="correlating distances")
    scores = []
    for a, b in _rows(distances, compressed, form):
        if form == "published":
            a, b = _published(a, b)
        if np.ptp(a) and np.ptp(b):
            scores.append(stats.kendalltau(a, b).statistic)
    return float(np.mean(scores)) if scores else float("nan")


def normalized_difference_score(
    distances: ArrayLike, compressed: ArrayLike, *, form: Form = "corrected"
) -> float:
    """The mean absolute difference of the distances, each matrix scaled to 0..1; 0 is best.

    ``published`` scales by the smallest and largest entry of the whole matrix. Its diagonal of
    zeros fixes the lower end, so that a constant offset between the two distances counts as a
    difference. ``corrected`` leaves the diagonal out. Raises `InputError` for matrices that do
    not fit.
    """
    pairs = list(_rows(distances, compressed, form))
    a, b = (_to_unit(np.stack(side)) for side in zip(*pairs, strict=True))
    return float(np.abs(a - b).mean())


def _rows(
    distances: ArrayLike, compressed: ArrayLike, form: str
) -> Iterator[tuple[Matrix, Matrix]]:
    """Rows of both matrices, without their diagonals in the corrected form."""
    if form not in ("published", "corrected"):
        raise InputError(f"unknown form {form!r}; known: published, corrected")
    d, e = (np.asarray(x, dtype=np.float64) for x in (distances, compressed))
    if d.shape != e.shape or d.ndim != 2 or d.shape[0] != d.shape[1] or len(d) < 3:
        raise InputError(
            "both must be square matrices of the distances between the same three rows or more, "
            f"got shapes {d.shape} and {e.shape}"
        )
    if not (np.isfinite(d).all() and np.isfinite(e).all()):
        raise InputError("the distances hold NaN or infinity")
    for i, (a, b) in enumerate(zip(d, e, strict=True)):
        yield (a, b) if form == "published" else (np.delete(a, i), np.delete(b, i))


def _published(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    x, y = (np.argsort(row, kind="stable").astype(np.float64) for row in (a, b))
    return x, y


def _to_unit(x: Matrix) -> Matrix:
    low, high = x.min(), x.max()
    return (x - low) / (high - low) if high > low else np.zeros_like(x)
