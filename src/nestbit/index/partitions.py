"""The partitions of a segment (an inverted file): which of them a query should open.

Rows lie in the order of their partitions, so that a partition is a range of places. A partition is
the rows nearest to one centroid in a reduced basis (Jégou et al., "Product quantization for nearest
neighbor search", 2011). Queries rank partitions by the distance to their centroids, or for the
inner product by that product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs.scorers import integer_weights
from nestbit.errors import InputError
from nestbit.index.clustering import Centroids, Rounded
from nestbit.kernels.allowed import Mask
from nestbit.search.plan import check_target

PREFIX = "partition."
# Shares of the best rows that may be missed, and numbers of best rows, that margins are kept for.
LOSSES = np.geomspace(0.5, 0.0005, 61)
DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
# Arrays that segments written by earlier versions lack.
_LATER = ("counts", "reads")


@dataclass(frozen=True)
class Probing:
    """How many partitions each query opens: ``n_probe``, or as many as a target recall needs.

    Neither opens all. Graphs are walked by a ``beam`` of rows, or as wide a one as the target
    recall needs. Raises `InputError` for two of these at once, and for values out of range.
    """

    n_probe: int | None = None
    target_recall: float | None = None
    beam: int | None = None

    def __post_init__(self) -> None:
        n_probe, target, beam = self.n_probe, self.target_recall, self.beam
        if (n_probe is not None) + (target is not None) + (beam is not None) > 1:
            given = [name for name, value in vars(self).items() if value is not None]
            raise InputError(f"{' and '.join(given)} all tell how much is read; give one")
        if self.beam is not None:
            whole = isinstance(self.beam, int | np.integer) and not isinstance(self.beam, bool)
            if not whole or self.beam < 1:
                raise InputError(f"beam must be a whole number from 1, got {self.beam!r}")
        if self.n_probe is not None:
            whole = isinstance(self.n_probe, int | np.integer)
            if not whole or isinstance(self.n_probe, bool) or self.n_probe < 1:
                raise InputError(f"n_probe must be a whole number from 1, got {self.n_probe!r}")
        if self.target_recall is not None:
            check_target(self.target_recall)

    @property
    def everything(self) -> bool:
        """Whether all partitions are opened."""
        return self.n_probe is None and self.target_recall is None


def reduced(rows: Floats, mean: Floats, basis: Floats) -> Floats:
    """Rows (n, dim) in a basis (dim, r) of fewer dimensions."""
    z: Floats = np.matmul(rows - mean, basis, dtype=np.float32)
    return z


@dataclass(frozen=True)
class Partitions:
    """Centroids (p, r), ``offsets`` (p + 1,) of the partitions' rows, and what was measured.

    Rows are seen through ``mean`` (dim,) and ``basis`` (dim, r). Of the best ``depths[i]`` rows,
    all but the share ``losses[j]`` lie in partitions that score at most ``margins[i, j]`` below the
    best one and are among the ``counts[i, j]`` best; and as many are among the ``reads[i, j]`` best
    by their coarse scores. Each (depths, losses), infinite where too few queries were measured.
    """

    mean: Floats
    basis: Floats
    centroids: Floats
    offsets: NDArray[np.int64]
    depths: NDArray[np.int64]
    losses: NDArray[np.float64]
    margins: Floats
    counts: Floats
    reads: Floats

    def __len__(self) -> int:
        return len(self.centroids)

    def best(
        self,
        queries: Floats,
        metric: str,
        k: int,
        *,
        mask: Mask | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], Floats]:
        """Numbers and scores (m, k) of the partitions nearest to prepared queries (m, dim).

        The nearest come first; those whose bit in ``mask`` is 0 are left out.
        """
        if metric == "dot":
            lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries))
            unit = queries / np.where(lengths > 0, lengths, 1)[:, None]
            z: Floats = np.matmul(unit, self.basis, dtype=np.float32)
        else:
            z = reduced(queries, self.mean, self.basis)
        rounded = Rounded(*integer_weights(z))
        near = metric != "dot"
        return self._rounded.best(rounded, k, nearness=near, mask=mask, threads=threads)

    def bounds(self, k: float, loss: float) -> tuple[float, float]:
        """Open partitions that score so much below the best one, and at most so many of them.

        So ``loss`` of the best k rows is missed. Infinite beyond what was measured.
        """
        return self._measured(self.margins, k, loss), self._measured(self.counts, k, loss)

    def most_reads(self, k: float, loss: float) -> float:
        """Candidates by coarse score among which all but ``loss`` of the best k rows are.

        Infinite beyond what was measured.
        """
        return self._measured(self.reads, k, loss)

    def _measured(self, table: Floats, k: float, loss: float) -> float:
        i = int(np.searchsorted(self.depths, k))
        j = int(np.count_nonzero(self.losses > loss))
        if i == len(self.depths) or j == len(self.losses):
            return np.inf
        return float(table[i, j])

    @cached_property
    def _rounded(self) -> Centroids:
        return Centroids.of(self.centroids)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays, as a segment stores them."""
        return {PREFIX + field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def names(cls) -> list[str]:
        """Names of the arrays in a segment."""
        return [PREFIX + field.name for field in fields(cls)]

    @classmethod
    def needed(cls) -> list[str]:
        """Names of the arrays that a segment of any version has."""
        return [PREFIX + field.name for field in fields(cls) if field.name not in _LATER]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], n: int, dim: int) -> Partitions:
        """What `arrays` gave, of a segment of n rows; raises `ValueError` if it does not fit."""
        given = {name.removeprefix(PREFIX): array for name, array in arrays.items()}
        for name in _LATER:
            given.setdefault(name, np.full_like(given["margins"], np.inf))
        made = cls(**given)
        p, r = made.centroids.shape
        shapes = {
            "mean": (dim,),
            "basis": (dim, r),
            "offsets": (p + 1,),
            "depths": (len(made.depths),),
            "losses": (len(made.losses),),
            "margins": (len(made.depths), len(made.losses)),
            "counts": (len(made.depths), len(made.losses)),
            "reads": (len(made.depths), len(made.losses)),
        }
        found = {name: getattr(made, name).shape for name in shapes}
        if found != shapes:
            raise ValueError(f"partitions have arrays of shapes {found}")
        ascending = made.offsets[0] == 0 and made.offsets[-1] == n
        if not ascending or (np.diff(made.offsets) < 0).any():
            raise ValueError(f"offsets of partitions do not cover {n} rows")
        return made
