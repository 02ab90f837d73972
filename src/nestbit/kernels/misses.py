"""How many of a query's best rows are expected to be missed by not reading on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nestbit import _native
from nestbit.errors import InputError

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_NONE: Doubles = np.empty(0)


@dataclass(frozen=True)
class Prior:
    """What a fit knew of fine scores over coarse ones, for m queries.

    ``slope`` of the line, ``deviation`` (m,) around it, and ``tail``: the shares of rows farther
    above it than ``tail_at`` deviations, ascending. It weighs as much as ``pairs`` scores do.
    """

    slope: float
    deviation: Floats
    tail_at: tuple[float, ...]
    tail: tuple[float, ...]
    pairs: float

    @cached_property
    def tail_grid(self) -> tuple[Doubles, Doubles]:
        """``tail_at``, and the logarithms of the shares, none of them below 1e-12."""
        return np.array(self.tail_at, np.float64), np.log(np.maximum(self.tail, 1e-12))

    def of(self, queries: Ids) -> Prior:
        """The prior of some of its queries, by their numbers."""
        return Prior(self.slope, self.deviation[queries], self.tail_at, self.tail, self.pairs)


def expected_misses(
    coarse: Floats,
    fine: Floats,
    queries: Ids,
    count: int,
    n: int,
    rank: float,
    outliers: float,
    prior: Prior | None,
) -> Doubles:
    """Rows (q,) beyond the first ``count`` of n that are expected to beat the score at ``rank``.

    ``coarse`` (m, c) are scores of candidates, best first, ``fine`` (m, c) of those read, the
    first ``count`` >= 1; ``queries`` (q,) are the numbers of those asked about. ``rank``, from 0
    to count - 1, counts the fine scores read, best first, and may lie between two. A share of
    ``outliers`` of the rows has twice the deviation from the regression of fine on coarse scores,
    which is drawn to the ``prior``. Raises `InputError` for another dtype or shape.
    """
    slope, pairs, deviations, grid = 0.0, 0.0, None, (_NONE, _NONE)
    if prior is not None:
        slope, pairs, deviations = prior.slope, prior.pairs, prior.deviation
        grid = prior.tail_grid
    try:
        return _native.expected_misses(
            coarse, fine, queries, count, n, rank, outliers,
            slope, pairs, deviations, *grid,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise InputError(
            f"scores must be float32 (m, c), of which {count} are read, and queries int64 (q,): "
            f"{str(error).splitlines()[0]}"
        ) from None
