"""Random rotations by signs and fast Hadamard transforms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.kernels.rotation import hadamard


@dataclass(frozen=True)
class HadamardBasis:
    """Coordinates of cells: z = (x - mean) rotated, after zeros up to as many as there are signs.

    ``signs`` (rounds, r) int8 are 1 and -1. Rounds of them and of Hadamard transforms, see
    `nestbit.kernels.rotation.hadamard`, stand for a random orthogonal matrix: r log r operations
    a row, and a byte per sign to keep (Ailon and Chazelle, The fast Johnson-Lindenstrauss
    transform, 2009).
    """

    mean: Floats
    signs: NDArray[np.int8]
    name = "rotation"

    @classmethod
    def draw(cls, mean: Floats, coordinates: int, rng: np.random.Generator) -> HadamardBasis:
        """A random rotation of at least len(mean) coordinates."""
        rounds = 6 if coordinates & (coordinates - 1) else 3
        signs = rng.choice(np.array([-1, 1], np.int8), (rounds, coordinates))
        return cls(mean, signs)

    @property
    def dim(self) -> int:
        """Dimensions of the rows."""
        return len(self.mean)

    @property
    def coordinates(self) -> int:
        """Coordinates, at least as many."""
        return int(self.signs.shape[1])

    @cached_property
    def _factors(self) -> Floats:
        return self.signs.astype(np.float32)

    def centred(self, x: Floats, out: Floats) -> Floats:
        """Coordinates (n, r) of centred rows (n, dim); ``out`` need not be used."""
        return hadamard(x, self._factors)

    def queries(self, q: Floats) -> Floats:
        """What the coordinates of rows are multiplied with for queries (m, dim)."""
        return hadamard(q, self._factors)

    def rows(self, z: Floats) -> Floats:
        """Rows (n, dim) of coordinates (n, r), without the mean."""
        return hadamard(z, self._factors, inverse=True)[:, : self.dim]

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for saving."""
        return {"mean": self.mean, "signs": self.signs}

    def fits(self, dim: int) -> bool:
        """Whether arrays that were read are a rotation of rows (n, dim)."""
        return (
            self.mean.shape == (dim,)
            and self.signs.dtype == np.int8
            and self.signs.ndim == 2
            and len(self.signs) > 0
            and self.coordinates >= dim
            and bool((np.abs(self.signs) == 1).all())
        )
