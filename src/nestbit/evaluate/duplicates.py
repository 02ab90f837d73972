"""Near-duplicate mining: which pairs of rows lie closer than a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import Floats, as_embeddings
from nestbit.codecs import Codec
from nestbit.codecs.ops import unit_rows
from nestbit.errors import InputError
from nestbit.evaluate.comparison import compressed

_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Mined:
    """How the pairs mined from codes agree with those mined in float at one threshold.

    ``precision``, ``recall`` and ``f1`` are NaN where no pair is found, or none is there.
    """

    threshold: float
    true_pairs: int
    found_pairs: int
    common_pairs: int

    @property
    def precision(self) -> float:
        """Common pairs over found pairs."""
        return self.common_pairs / self.found_pairs if self.found_pairs else float("nan")

    @property
    def recall(self) -> float:
        """Common pairs over true pairs."""
        return self.common_pairs / self.true_pairs if self.true_pairs else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.found_pairs + self.true_pairs
        return 2 * self.common_pairs / total if total else float("nan")


def near_duplicates(
    embeddings: ArrayLike, codec: Codec, *, threshold: float = 0.9, level: int = -1
) -> Mined:
    """Pairs of ``embeddings`` (n, dim) of a cosine of ``threshold`` or more, float and compressed.

    The float pairs are the truth. Compressed rows are compared with each other at the same
    threshold, so a codec that shrinks or stretches cosines loses pairs here even where it ranks
    well. Takes n² products. Raises `InputError` for a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold must be above 0 and at most 1, got {threshold}")
    rows = as_embeddings(embeddings)
    true = _pairs(unit_rows(rows), threshold)
    found = _pairs(unit_rows(compressed(codec, rows, level=level)), threshold)
    common = len(np.intersect1d(true, found, assume_unique=True))
    return Mined(threshold, len(true), len(found), common)


def _pairs(unit: Floats, threshold: float) -> NDArray[np.int64]:
    """Pairs i < j, as i · n + j."""
    n = len(unit)
    step = max(1, _BLOCK_VALUES // max(1, n))
    keys = [np.empty(0, np.int64)]
    # Equal rows reach 1 only up to rounding.
    limit = min(threshold, 1 - 1e-6)
    for start in range(0, n, step):
        products = unit[start : start + step] @ unit[start:].T
        i, j = np.nonzero(products >= limit)
        keys.append((i[j > i] + start) * n + j[j > i] + start)
    return np.concatenate(keys)
