"""The published error bound of RaBitQ, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import Floats, as_embeddings
from nestbit.codecs.cell_coder import CellCoder
from nestbit.codecs.codec import Codec, check_codes
from nestbit.codecs.codes import Codes, LevelCodes
from nestbit.errors import InputError


def rabitq_bound(
    codec: Codec,
    codes: Codes,
    queries: ArrayLike,
    ids: NDArray[np.int64],
    *,
    epsilon: float = 1.9,
) -> Floats:
    """Bounds (m, k) on the errors of the scores of rows ``ids`` (m, k) by a ``rabitq`` level 0.

    With o the centred row's direction and ō its code's, the inner product with a unit query
    errs by at most √((1 - ⟨ō,o⟩²) / ⟨ō,o⟩²) ε / √(D - 1), with high probability over the
    rotation (RaBitQ, arXiv:2405.12497, theorem 3.2; ε = 1.9 there). Times the row's length that
    is ‖q - μ‖ √(‖ẑ‖² - ‖z‖²) ε / √(D - 1), since the factor of a row makes ẑ - z orthogonal to
    z, and only the product with the query's deviation from the mean μ is estimated.
    ‖z‖² follows from the row's stored or unit length. Raises `InputError` for another coder or
    metric ``dot``, whose rows' lengths are not stored.
    """
    check_codes(codec, codes)
    level, part = codec.levels[0], codes.levels[0]
    coder = level.coder
    if not isinstance(coder, CellCoder) or coder.kind != "rabitq" or level.ops:
        raise InputError(f"the bound is that of a plain rabitq level, got {codec.spec!r}")
    if codec.metric == "dot":
        raise InputError("the bound needs the rows' lengths: use metric 'cosine' or 'l2'")
    q = codec.prepare(as_embeddings(queries, name="queries", dim=codec.dim))
    rows, places = np.unique(ids, return_inverse=True)
    factors = {name: factor[rows] for name, factor in part.factors.items()}
    mean = coder.basis.mean.astype(np.float64)
    decoded = level.decode(LevelCodes(part.layout, part.data[rows], factors)) - mean
    square = factors["norm2"].astype(np.float64) if "norm2" in factors else np.ones(len(rows))
    centred = square - mean @ mean - 2 * decoded @ mean
    lost = np.maximum(np.einsum("ij,ij->i", decoded, decoded) - centred, 0)
    gain = 2.0 if codec.metric == "l2" else 1.0
    own = q - coder.basis.mean
    lengths = np.sqrt(np.einsum("ij,ij->i", own, own))
    reach = gain * epsilon / np.sqrt(max(1, codec.dim - 1))
    bound: Floats = (reach * lengths[:, None] * np.sqrt(lost)[places.reshape(ids.shape)]).astype(
        np.float32
    )
    return bound
