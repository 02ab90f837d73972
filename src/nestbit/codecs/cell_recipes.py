"""The recipes of the cells layout: nested, rabitq and pq."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs import cell_coder
from nestbit.codecs.allocation import even_cells
from nestbit.codecs.cell_coder import Basis, CellCoder
from nestbit.codecs.cells import CENTROIDS, Cells, pack
from nestbit.codecs.coder import Coder
from nestbit.codecs.nested import fit_nested
from nestbit.codecs.training import train_cells
from nestbit.codecs.transforms import random_rotation
from nestbit.errors import InputError, SpecError

_TRAIN_ROWS = 25_000


class _CellRecipe(Coder):
    layout = "cells"
    scaled: ClassVar[bool]

    def codes(self, cells: Cells, z: Floats) -> tuple[NDArray[np.uint8], Floats]:
        """The nearest centroid of each cell."""
        return cells.encode(z)

    def restore(
        self, dim: int, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]
    ) -> CellCoder:
        """The coder of the stored codebooks."""
        return cell_coder.restore(self, dim, arrays, header)


@dataclass(frozen=True)
class Nested(_CellRecipe):
    """``bits`` per dimension on average (0.25 to 4), spent where the spectrum has energy.

    A basis (PCA, query-weighted PCA when queries are given, or a random rotation), bits by
    reverse water-filling, cells of four bits trained jointly and ordered by value, and one
    factor per row. Fitting compares the bases and exponents on held-out rows.
    """

    bits: float
    kind = "nested"
    scaled = True

    def __post_init__(self) -> None:
        if not 0.25 <= self.bits <= 4:
            raise SpecError(f"nested({self.bits:g}) needs between 0.25 and 4 bits per dimension")

    def fit(self, z: Floats, queries: Floats | None, rng: np.random.Generator) -> CellCoder:
        """Raises `InputError` for fewer than 64 rows."""
        if len(z) < 4 * CENTROIDS:
            raise InputError(
                f"nested({self.bits:g}) needs at least {4 * CENTROIDS} rows to fit, got {len(z)}"
            )
        n_cells = max(1, round(z.shape[1] * self.bits / 4))
        basis, cells, trials = fit_nested(z, n_cells, queries, rng)
        notes = {"trials": [asdict(trial) for trial in trials]}
        return CellCoder(self, basis, cells, notes)


# Half-widths of the grid to try, in standard deviations of the row's coordinates.
_REACHES = (3.0, 1.6, 1.9, 2.2, 2.5, 2.8, 3.4, 3.9)


@dataclass(frozen=True)
class RaBitQ(_CellRecipe):
    """Random rotation, ``bits`` (1 to 8) per dimension on a uniform grid, one factor per row.

    The estimator of RaBitQ (arXiv:2405.12497, 2409.09913): each row takes the grid point
    nearest in direction, and ‖z‖² / ⟨ẑ, z⟩ makes the inner product unbiased. Bit planes are
    cells of four dimensions, the highest plane of each four first.
    """

    bits: int = 1
    kind = "rabitq"
    scaled = True

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise SpecError(f"rabitq({self.bits}) needs between 1 and 8 bits per dimension")

    def codes(self, cells: Cells, z: Floats) -> tuple[NDArray[np.uint8], Floats]:
        """Bit planes of the grid point nearest in direction to each row, over several steps."""
        bits = self.bits
        n, r = z.shape
        top = (1 << bits) - 1
        spread = np.sqrt(np.einsum("ij,ij->i", z, z) / r)[:, None]
        spread = np.where(spread > 0, spread, 1)
        best = np.full(n, -np.inf, np.float32)
        chosen = np.zeros((n, r), np.uint8)
        for reach in _REACHES[: 1 if bits == 1 else None]:
            step = spread * np.float32(2 * reach / (top + 1))
            code = np.clip(np.floor(z / step + (top + 1) / 2), 0, top).astype(np.uint8)
            point = code - np.float32(top / 2)
            along = np.einsum("ij,ij->i", point, z) / np.sqrt(np.einsum("ij,ij->i", point, point))
            better = along > best
            best[better] = along[better]
            chosen[better] = code[better]
        fours = chosen.reshape(n, r // 4, 4)
        places = np.array([1, 2, 4, 8], np.uint8)
        planes = [((fours >> p) & 1) @ places for p in reversed(range(bits))]
        codes = pack(np.stack(planes, axis=2).reshape(n, -1).astype(np.uint8))
        return codes, np.einsum("ij,ij->i", cells.decode(codes, r), z)

    def fit(self, z: Floats, queries: Floats | None, rng: np.random.Generator) -> CellCoder:
        """Learn the mean; draw the rotation."""
        dim = z.shape[1]
        mean = z.mean(axis=0, dtype=np.float64).astype(np.float32)
        padded = -(-dim // 4) * 4
        forward = np.zeros((dim, padded), np.float32)
        forward[:, :dim] = random_rotation(dim, rng)
        basis = Basis("rotation", mean, forward, np.ascontiguousarray(forward.T))
        first = np.repeat(np.arange(0, padded, 4, dtype=np.int32), self.bits)
        width = np.full(len(first), 4, np.int32)
        corner = ((np.arange(CENTROIDS)[:, None] >> np.arange(4)) & 1) - 0.5
        weights = 2.0 ** np.arange(self.bits)[::-1]
        centroids = np.concatenate([corner * w for w in weights] * (padded // 4), axis=1)
        cells = Cells(
            first, width, centroids.astype(np.float32), np.ones(centroids.shape[1], np.float32)
        )
        return CellCoder(self, basis, cells, {})


@dataclass(frozen=True)
class Pq(_CellRecipe):
    """Product quantization: ``m`` runs of dimensions, 16 centroids each (Jégou et al. 2011).

    After ``pca(d)`` or ``rotate`` it is the usual variant for unbalanced dimensions.
    """

    m: int
    nbits: int = 4
    kind = "pq"
    scaled = False

    def __post_init__(self) -> None:
        if self.nbits != 4:
            raise SpecError(f"pq(m, nbits={self.nbits}): cells hold 4 bits; use more of them")

    def fit(self, z: Floats, queries: Floats | None, rng: np.random.Generator) -> CellCoder:
        """Raises `SpecError` for m beyond the width, `InputError` for fewer than 64 rows."""
        dim = z.shape[1]
        if not 1 <= self.m <= dim:
            raise SpecError(f"pq({self.m}) needs between 1 and {dim} runs, the width before it")
        if len(z) < 4 * CENTROIDS:
            raise InputError(f"pq needs at least {4 * CENTROIDS} rows to fit, got {len(z)}")
        rows = z[np.sort(rng.permutation(len(z))[:_TRAIN_ROWS])]
        same = np.eye(dim, dtype=np.float32)
        basis = Basis("none", np.zeros(dim, np.float32), same, same)
        trained = train_cells(rows, even_cells(dim, self.m), rng, iterations=25)
        # Plain PQ decodes to the centroids themselves.
        plain = Cells(trained.first, trained.width, trained.centroids, np.ones_like(trained.gain))
        return CellCoder(self, basis, plain, {})
