"""Pairs of rows: do compressed scores tell equal from different, and grade likeness?"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import Floats, as_embeddings
from nestbit._extras import require
from nestbit.codecs import Codec
from nestbit.errors import InputError
from nestbit.evaluate.comparison import Comparison, compressed
from nestbit.evaluate.orders import spearman_rho

Sides = Literal["both", "one"]


def pair_classification(
    first: ArrayLike,
    second: ArrayLike,
    same: ArrayLike,
    codec: Codec,
    *,
    sides: Sides = "both",
    level: int = -1,
) -> Comparison:
    """Average precision of the cosine for telling pairs that belong together.

    Row i of ``first`` and of ``second``, both (n, dim), are a pair, ``same`` (n,) whether it is a
    true one. ``sides="one"`` leaves ``first`` float, as a query is. Raises `InputError` for
    arrays that do not match, or where all pairs are true or none is. Needs the extra ``eval``.
    """
    true = np.asarray(same)
    if true.dtype != np.bool_:
        if true.dtype.kind not in "iu" or not np.isin(true, (0, 1)).all():
            raise InputError("same must be booleans, or 0 and 1")
        true = true.astype(np.bool_)
    floats, coded = pair_scores(first, second, codec, sides=sides, level=level)
    if true.shape != floats.shape:
        raise InputError(
            f"same must be of shape {floats.shape}, one for each pair, got {true.shape}"
        )
    if true.all() or not true.any():
        raise InputError("pair classification needs true pairs and false ones")
    metrics = require("sklearn.metrics", extra="eval", purpose="average precision")
    ap = [float(metrics.average_precision_score(true, scores)) for scores in (floats, coded)]
    return Comparison("average precision", *ap)


def semantic_similarity(
    first: ArrayLike,
    second: ArrayLike,
    grades: ArrayLike,
    codec: Codec,
    *,
    sides: Sides = "both",
    level: int = -1,
) -> Comparison:
    """Spearman's rho of the pairs' cosines with human ``grades`` (n,), as in the STS tasks.

    ``first``, ``second`` and ``sides`` as in `pair_classification`. Raises `InputError` for
    arrays that do not match, NaN among the grades, or grades that are all equal. Needs the extra
    ``eval``.
    """
    floats, coded = pair_scores(first, second, codec, sides=sides, level=level)
    gold = np.asarray(grades, dtype=np.float64)
    if gold.shape != floats.shape:
        raise InputError(f"grades must be of shape {floats.shape}, got {gold.shape}")
    if not np.isfinite(gold).all() or np.ptp(gold) == 0:
        raise InputError("grades must be finite and not all equal")
    rho = spearman_rho(np.stack([floats, coded]), np.stack([gold, gold]))
    return Comparison("Spearman", float(rho[0]), float(rho[1]))


def pair_scores(
    first: ArrayLike, second: ArrayLike, codec: Codec, *, sides: Sides = "both", level: int = -1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosines (n,) of the pairs in float, and with one side or both compressed."""
    if sides not in ("both", "one"):
        raise InputError(f"unknown sides {sides!r}; known: both, one")
    a, b = as_embeddings(first, name="first"), as_embeddings(second, name="second")
    if a.shape != b.shape or len(a) < 2:
        raise InputError(
            f"first and second must be two or more pairs of rows, got shapes {a.shape}, {b.shape}"
        )
    coded = a if sides == "one" else compressed(codec, a, level=level)
    return _cosines(a, b), _cosines(coded, compressed(codec, b, level=level))


def _cosines(a: Floats, b: Floats) -> NDArray[np.float64]:
    dots = np.einsum("ij,ij->i", a, b, dtype=np.float64)
    lengths = np.sqrt(
        np.einsum("ij,ij->i", a, a, dtype=np.float64)
        * np.einsum("ij,ij->i", b, b, dtype=np.float64)
    )
    return np.where(lengths > 0, dots / np.where(lengths > 0, lengths, 1), 0.0)
