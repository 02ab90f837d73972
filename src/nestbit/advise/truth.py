"""The float ground truth on nested parts of the corpus, computed in one pass over the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.evaluate import exact_search
from nestbit.kernels.floats import top_k

_HALVINGS = 3
_ROWS_PER_HIT = 20


@dataclass(frozen=True)
class Part:
    """The first ``rows`` rows, and the float top k (m, k) of every query among them."""

    rows: int
    ids: NDArray[np.int64]
    scores: Floats


def part_sizes(n: int, k: int) -> tuple[int, ...]:
    """n/8, n/4, n/2 and n rows, those left out that hold too few for a top k."""
    sizes = [n >> shift for shift in range(_HALVINGS, 0, -1)]
    return (*(size for size in sizes if size >= _ROWS_PER_HIT * k), n)


def nested_truth(
    rows: Floats, queries: Floats, k: int, metric: str, sizes: tuple[int, ...]
) -> tuple[Part, ...]:
    """The float top k among the first ``sizes`` rows each; the sizes ascend and end with all."""
    parts: list[Part] = []
    ids = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    start = 0
    for size in sizes:
        more = exact_search(rows[start:size], queries, min(k, size - start), metric=metric)
        ids, scores = top_k(
            np.concatenate([ids, more.ids + start], axis=1),
            np.concatenate([scores, more.scores], axis=1),
            k,
        )
        parts.append(Part(size, ids, scores))
        start = size
    return tuple(parts)
