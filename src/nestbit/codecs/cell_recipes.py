"""The recipes of the cells layout: nested, rabitq and pq."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs import cell_coder
from nestbit.codecs.allocation import balanced_order, even_cells
from nestbit.codecs.cell_coder import Basis, CellCoder
from nestbit.codecs.cells import Cells, RowFactor
from nestbit.codecs.coder import Coder, FittedCoder
from nestbit.codecs.nested import Trial, fit_nested
from nestbit.codecs.rotations import HadamardBasis
from nestbit.codecs.training import improve, rotate, train_cells
from nestbit.codecs.transforms import principal_axes
from nestbit.errors import InputError, SpecError
from nestbit.kernels.rotation import rabitq_encode

_TRAIN_ROWS = 25_000
_OPQ_ROUNDS = 20
# Rows to train a centroid on, at the least.
_ENOUGH = 4


class _CellRecipe(Coder):
    layout = "cells"

    def codes(self, cells: Cells, z: Floats) -> tuple[NDArray[np.uint8], Floats, Floats]:
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

    A basis (PCA, PCA weighted for the queries, or a random rotation) turned towards the cells,
    bits by reverse water-filling, cells of four or eight bits trained jointly and ordered by
    value, and one factor per row or as many more cells. Fitting compares on held-out rows.
    ``cell`` bits are eight where there are rows enough to train 256 centroids.
    """

    bits: float
    cell: Literal["auto", "4", "8"] = "auto"
    kind = "nested"

    def __post_init__(self) -> None:
        if not 0.25 <= self.bits <= 4:
            raise SpecError(f"nested({self.bits:g}) needs between 0.25 and 4 bits per dimension")

    def fit(self, z: Floats, queries: Floats | None, rng: np.random.Generator) -> CellCoder:
        """Raises `InputError` for fewer than 64 rows, or 1,024 where cells of 8 bits are asked."""
        return self.fit_like(None, z, queries, rng)

    def fit_like(
        self, like: FittedCoder | None, z: Floats, queries: Floats | None, rng: np.random.Generator
    ) -> CellCoder:
        """As `fit`, but without trials where an earlier fit's choices are at hand."""
        bits = 8 if self.cell == "8" or (self.cell == "auto" and len(z) >= _ENOUGH << 8) else 4
        trials = None
        if isinstance(like, CellCoder):
            bits, trials = like.cells.bits, tuple(Trial(**t) for t in like.notes["trials"])
        _check_rows(f"nested({self.bits:g}) with cells of {bits} bits", len(z), bits)
        n_bytes = max(1, round(z.shape[1] * self.bits / 8))
        basis, cells, factor, trials = fit_nested(z, n_bytes, bits, queries, rng, trials)
        notes = {"trials": [asdict(trial) for trial in trials]}
        return CellCoder(self, basis, cells, factor, notes)


@dataclass(frozen=True)
class RaBitQ(_CellRecipe):
    """Random rotation, ``bits`` (1 to 8) per dimension on a uniform grid, two factors per row.

    The estimator of RaBitQ (arXiv:2405.12497, 2409.09913): each row takes the grid point
    nearest in direction, and ‖z‖² / ⟨ẑ, z⟩ makes the inner product unbiased. With the mean μ,
    ⟨q, x⟩ = ⟨q, μ⟩ + ⟨μ, x - μ⟩ + ⟨q - μ, x - μ⟩, of which only the last is estimated. Bit planes
    are cells of four dimensions, the highest plane of each four first.
    """

    bits: int = 1
    kind = "rabitq"

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise SpecError(f"rabitq({self.bits}) needs between 1 and 8 bits per dimension")

    def codes(self, cells: Cells, z: Floats) -> tuple[NDArray[np.uint8], Floats, Floats]:
        """Bit planes of the grid point nearest in direction to each row, over several steps."""
        return rabitq_encode(z, self.bits)

    def fit(self, z: Floats, queries: Floats | None, rng: np.random.Generator) -> CellCoder:
        """Learn the mean; draw the rotation."""
        dim = z.shape[1]
        mean = z.mean(axis=0, dtype=np.float64).astype(np.float32)
        padded = -(-dim // 4) * 4
        basis = HadamardBasis.draw(mean, padded, rng)
        first = np.repeat(np.arange(0, padded, 4, dtype=np.int32), self.bits)
        width = np.full(len(first), 4, np.int32)
        corner = ((np.arange(16)[:, None] >> np.arange(4)) & 1) - 0.5
        weights = 2.0 ** np.arange(self.bits)[::-1]
        centroids = np.concatenate([corner * w for w in weights] * (padded // 4), axis=1)
        cells = Cells(
            first, width, centroids.astype(np.float32), np.ones(centroids.shape[1], np.float32)
        )
        return CellCoder(self, basis, cells, RowFactor("direction", offset=True), {})


@dataclass(frozen=True)
class Pq(_CellRecipe):
    """Product quantization: ``m`` runs of dimensions, 2^nbits centroids each (Jégou et al. 2011).

    With ``rotation=learned`` the dimensions are rotated first, by the principal axes shared out
    evenly among the runs and then in turns with the centroids (OPQ, Ge et al. 2013).
    """

    m: int
    nbits: int = 4
    rotation: Literal["none", "learned"] = "none"
    kind = "pq"

    def __post_init__(self) -> None:
        if self.nbits not in (4, 8):
            raise SpecError(f"pq(m, nbits={self.nbits}): cells hold 4 or 8 bits")

    def fit(self, z: Floats, queries: Floats | None, rng: np.random.Generator) -> CellCoder:
        """Raises `SpecError` for m beyond the width, `InputError` for too few rows."""
        dim = z.shape[1]
        if not 1 <= self.m <= dim:
            raise SpecError(f"pq({self.m}) needs between 1 and {dim} runs, the width before it")
        _check_rows(f"pq(m, {self.nbits})", len(z), self.nbits)
        y = z[np.sort(rng.permutation(len(z))[:_TRAIN_ROWS])]
        ranges = even_cells(dim, self.m)
        axes, name = np.eye(dim, dtype=np.float32), "none"
        if self.rotation == "learned":
            name = "learned rotation"
            _, axes, variances = principal_axes(y)
            axes = np.ascontiguousarray(axes[:, balanced_order(variances, ranges)])
            cells = train_cells(y @ axes, ranges, self.nbits, iterations=4)
            axes, cells = rotate(cells, y, axes, _OPQ_ROUNDS)
            cells = improve(cells, y @ axes, 10)
        else:
            cells = train_cells(y, ranges, self.nbits, iterations=25)
        basis = Basis(name, np.zeros(dim, np.float32), axes, np.ascontiguousarray(axes.T))
        return CellCoder(self, basis, cells, RowFactor("none"), {})


def _check_rows(what: str, n: int, bits: int) -> None:
    if n < _ENOUGH << bits:
        raise InputError(f"{what} needs at least {_ENOUGH << bits} rows to fit, got {n}")
