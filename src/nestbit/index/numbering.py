"""Which row of the index lies at which place of a segment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit.errors import FileFormatError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Numbering:
    """The numbers of a segment's n rows, ``first`` to ``last``, and where each of them lies.

    ``rows`` (n,) are the numbers, ascending; None where they have no gaps. Rows lie in that order,
    or, in a partitioned segment, the i-th of them at place ``order[i]``; ``ranks`` is the inverse.
    """

    path: Path
    first: int
    last: int
    rows: Rows | None
    order: NDArray[np.uint32] | None
    ranks: NDArray[np.uint32] | None

    def places(self, rows: Rows) -> Rows:
        """Places of those of the sorted row numbers that are here, one for each in their order."""
        begin, end = np.searchsorted(rows, (self.first, self.last + 1))
        rows = rows[begin:end]
        found = self.positions(rows)
        if self.rows is not None:
            found = found[self.rows[found] == rows]  # none is beyond the last row
        return found if self.order is None else self._picked("order", self.order, found)

    def positions(self, rows: Rows) -> Rows:
        """How many rows come before each of some row numbers, in any order, by their numbers."""
        return rows - self.first if self.rows is None else np.searchsorted(self.rows, rows)

    def numbers(self, places: Rows) -> Rows:
        """Row numbers of the rows at ``places``."""
        if self.ranks is not None:
            places = self._picked("ranks", self.ranks, places)
        return places + self.first if self.rows is None else np.asarray(self.rows[places])

    def _picked(self, name: str, permutation: NDArray[Any], at: Rows) -> Rows:
        """Entries of a permutation, which is proved by `check` alone, not when it is opened."""
        entries: Rows = permutation[at].astype(np.int64)
        if entries.size and entries.max() >= len(permutation):
            raise FileFormatError(
                f"{self.path}: array {name!r} is altered (it names row {entries.max()} of "
                f"{len(permutation)}); restore the index from a copy"
            )
        return entries
