"""Fitting the nested coder: a basis, bits by reverse water-filling, cells trained jointly.

Several bases and exponents are compared on held-out rows; what recalls best is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs.allocation import Ranges, even_cells, water_filling
from nestbit.codecs.cell_coder import Basis
from nestbit.codecs.cells import Cells, row_factors
from nestbit.codecs.training import train_cells
from nestbit.codecs.transforms import principal_axes, random_rotation

_TRIAL_ROWS = 6000
_TRIAL_QUERIES = 250
_TRIAL_ITERATIONS = 5
_TRAIN_ROWS = 25_000
_TRAIN_ITERATIONS = 15
_K = 10
_EXPONENTS = (1.0, 0.7, 0.4)
_ENOUGH_QUERIES = 32
_HANDICAP = 0.04


@dataclass(frozen=True)
class Trial:
    """A candidate and how it did: ``recall`` of the float top 10 at 10 and at 100."""

    basis: str
    exponent: float | None
    recall: float
    recall_100: float
    handicap: float = 0.0

    @property
    def worth(self) -> float:
        """What is maximised: recall at 10, some of the recall at 100, less the handicap."""
        return self.recall + 0.25 * self.recall_100 - self.handicap


@dataclass(frozen=True)
class Spectrum:
    """A basis and the variance of the rows along each of its coordinates.

    The basis wins only if it is better by its ``handicap``: held-out rows are not queries, and
    a weighting learned from them may suit them alone.
    """

    basis: Basis
    variances: Floats
    handicap: float = 0.0


def spectra(x: Floats, queries: Floats | None, rng: np.random.Generator) -> list[Spectrum]:
    """The bases to compare: PCA, PCA weighted for the queries, a random rotation.

    Without sample queries only their mean is guessed: on anisotropic models a query shares the
    rows' mean direction, so that errors along it weigh most.
    """
    mean, axes, variances = principal_axes(x)
    dim = x.shape[1]
    found = [Spectrum(Basis("pca", mean, axes, np.ascontiguousarray(axes.T)), variances)]
    if queries is not None and len(queries) >= _ENOUGH_QUERIES:
        second = (queries.T @ queries).astype(np.float64) / len(queries)
        found.append(_weighted("query-weighted pca", x, mean, second, 0))
    else:
        second = np.outer(mean, mean).astype(np.float64)
        second += np.eye(dim) * float(variances.sum()) / dim
        found.append(_weighted("mean-weighted pca", x, mean, second, _HANDICAP))
    rotation = random_rotation(dim, rng)
    even = np.full(dim, variances.mean(), np.float32)
    basis = Basis("rotation", mean, rotation, np.ascontiguousarray(rotation.T))
    found.append(Spectrum(basis, even))
    return found


def _weighted(
    name: str, x: Floats, mean: Floats, second: NDArray[np.float64], handicap: float
) -> Spectrum:
    """Axes of Σq^½ Σx Σq^½, in which equal errors move the queries' scores equally.

    ``second`` (dim, dim) is Σq, the queries' second moment.
    """
    # Directions that it leaves out are asked about as well: the identity stands in for them.
    second = second + np.eye(len(second)) * np.trace(second) / len(second)
    values, vectors = np.linalg.eigh(second)
    root = (vectors * np.sqrt(values)) @ vectors.T
    inverse = (vectors / np.sqrt(values)) @ vectors.T
    centred = (x - mean) @ root.astype(np.float32)
    spread, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(x))
    spread, axes = spread[::-1], axes[:, ::-1]
    forward, back = (root @ axes).astype(np.float32), (axes.T @ inverse).astype(np.float32)
    basis = Basis(name, mean, forward, back)
    return Spectrum(basis, np.maximum(spread, 0).astype(np.float32), handicap)


def candidates(spectrum: Spectrum, n_cells: int) -> list[tuple[float | None, Ranges]]:
    """Allocations to try on a basis, with their exponents (None for even cells)."""
    variances = spectrum.variances
    if spectrum.basis.name == "rotation":
        return [(None, even_cells(len(variances), n_cells))]
    return [(e, water_filling(variances, n_cells, e)) for e in _EXPONENTS]


def fit_nested(
    x: Floats, n_cells: int, queries: Floats | None, rng: np.random.Generator
) -> tuple[Basis, Cells, tuple[Trial, ...]]:
    """Compare the candidates on held-out rows, train the best one on all rows given."""
    shuffled = rng.permutation(len(x))
    held = shuffled[: min(_TRIAL_QUERIES, len(x) // 5)]
    rest = np.sort(shuffled[len(held) :])
    trial_rows = x[rest[rng.permutation(len(rest))[:_TRIAL_ROWS]]]
    asked = x[held] if queries is None else queries[:_TRIAL_QUERIES]
    options = []
    for spectrum in spectra(x[rest], queries, rng):
        for exponent, ranges in candidates(spectrum, n_cells):
            trial = _try(spectrum, exponent, ranges, trial_rows, asked, rng)
            options.append((trial, spectrum.basis, ranges))
    _, basis, ranges = max(options, key=lambda option: option[0].worth)
    train = x[np.sort(rng.permutation(len(x))[:_TRAIN_ROWS])]
    cells = train_cells(basis.rows(train), ranges, rng, iterations=_TRAIN_ITERATIONS)
    # Coordinates without a cell need not be computed, where the basis is orthonormal.
    used = basis.forward.shape[1]
    if basis.name in ("pca", "rotation"):
        used = int((cells.first + cells.width).max())
    kept = Basis(basis.name, basis.mean, basis.forward[:, :used].copy(), basis.back[:used].copy())
    return kept, cells, tuple(trial for trial, _, _ in options)


def _try(
    spectrum: Spectrum,
    exponent: float | None,
    ranges: Ranges,
    rows: Floats,
    asked: Floats,
    rng: np.random.Generator,
) -> Trial:
    basis = spectrum.basis
    z = basis.rows(rows)
    cells = train_cells(z, ranges, rng, iterations=_TRIAL_ITERATIONS)
    decoded = cells.sums(cells.nearest(z), z.shape[1])
    energy = np.einsum("ij,ij->i", z, z)
    along = np.einsum("ij,ij->i", decoded, z)
    decoded *= row_factors(energy, along).astype(np.float32)[:, None]
    estimates = (asked @ basis.back.T) @ decoded.T
    exact = asked @ (rows - basis.mean).T
    k = min(_K, len(rows) - 1)
    wide = min(10 * k, len(rows) - 1)
    truth = np.argpartition(-exact, k, axis=1)[:, :k]
    threshold = -np.partition(-estimates, k, axis=1)[:, k - 1 : k]
    looser = -np.partition(-estimates, wide, axis=1)[:, wide - 1 : wide]
    found = np.take_along_axis(estimates, truth, 1)
    return Trial(
        basis.name,
        exponent,
        float((found >= threshold).mean()),
        float((found >= looser).mean()),
        spectrum.handicap,
    )
