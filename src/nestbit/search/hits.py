"""What a search returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StageReport:
    """What one stage of a search did, over all queries together.

    ``dims`` is the prefix that was read, in dimensions, or in cells for the cells layout.
    """

    level: int
    layout: str
    query: str
    dims: int
    rows_read: int
    bytes_read: int
    rows_kept: int
    seconds: float


@dataclass(frozen=True)
class Hits:
    """The best k rows per query, best first: ``ids`` int64 and ``scores`` float32, both (m, k).

    Where fewer than k rows may be found, the columns that are left have id -1 and score -inf.
    ``stages`` describes the work when the search was asked to explain it, else it is empty.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    stages: tuple[StageReport, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)
