"""What a search returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reads:
    """What a stage read per query, rows or partitions: mean, median and largest number."""

    mean: float
    median: float
    most: int

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> Reads:
        """Those of the numbers (m,) of m queries, at least one."""
        return cls(float(counts.mean()), float(np.median(counts)), int(counts.max()))


@dataclass(frozen=True)
class StageReport:
    """What one stage of a search did, over all queries together.

    ``dims`` is the prefix that was read, in dimensions, or in cells for the cells layout.
    ``reads`` tells how many candidates each query had rescored; None for a scan. ``partitions``
    tells how many each query opened; None where all rows were scanned. ``graph`` tells of a walk
    over a graph: its profile, how wide it was, and why there is one.
    """

    level: int
    layout: str
    query: str
    dims: int
    rows_read: int
    bytes_read: int
    rows_kept: int
    seconds: float
    reads: Reads | None = None
    partitions: Reads | None = None
    graph: str | None = None


@dataclass(frozen=True)
class Hits:
    """The best k rows per query, best first: ``ids`` and ``scores`` (float32), both (m, k).

    ``ids`` are int64, or strings in an object array where the rows of an index have such.
    Where fewer than k rows may be found, the columns that are left have id -1 and score -inf.
    ``stages`` describes the work when the search was asked to explain it, else it is empty.
    ``errors`` (m, k) are standard errors of the scores, where the search was asked for them.
    ``documents`` and ``metadata`` (m, k) are object arrays where an index was asked for them.
    """

    ids: NDArray[Any]
    scores: NDArray[np.float32]
    stages: tuple[StageReport, ...] = ()
    errors: NDArray[np.float32] | None = None
    documents: NDArray[np.object_] | None = None
    metadata: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.ids)
