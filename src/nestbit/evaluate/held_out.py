"""Queries taken from the corpus itself, where a user has none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import Floats, as_embeddings
from nestbit.errors import InputError


@dataclass(frozen=True)
class HeldOut:
    """``queries`` (m, dim) taken out of a corpus, and the ``rows`` (n - m, dim) that are left.

    ``row_numbers`` and ``query_numbers`` are their places among the embeddings given, ascending.
    """

    rows: Floats
    queries: Floats
    row_numbers: NDArray[np.int64]
    query_numbers: NDArray[np.int64]


def hold_out(embeddings: ArrayLike, m: int = 500, *, seed: int = 0) -> HeldOut:
    """Take ``m`` random rows of ``embeddings`` (n, dim) out of the corpus, to ask them of the rest.

    A row left in would find itself first with any codec, and raise every recall. All-zero rows
    have no direction and are never asked. Documents asked of documents are not what users ask:
    real queries are better wherever there are any. Raises `InputError` for m below 1, or above
    half of the rows that can be asked.
    """
    x = as_embeddings(embeddings)
    able = np.flatnonzero(x.any(axis=1))
    if not 1 <= m <= len(able) // 2:
        raise InputError(
            f"between 1 and {len(able) // 2} queries can be held out of {len(able)} rows that are "
            f"not zero, got {m}"
        )
    asked = np.sort(np.random.default_rng(seed).choice(able, m, replace=False))
    kept = np.setdiff1d(np.arange(len(x)), asked, assume_unique=True)
    return HeldOut(x[kept], x[asked], kept, asked)
