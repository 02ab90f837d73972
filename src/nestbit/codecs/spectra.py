"""Spaces and axes that a nested fit compares: what weighs an error, and where the rows vary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs.cell_coder import Basis
from nestbit.codecs.transforms import principal_axes, random_rotation

_ENOUGH_QUERIES = 32
# By how much a guessed weighting must win: rows, and less the mean, are not queries.
_ROW_HANDICAP = 0.05
_MEAN_HANDICAP = 0.03
# Share of the identity in a weighting: directions that the sample leaves out are asked about too.
_RIDGE = 0.01

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """Axes (dim, dim) of centred rows in a space, and the variance along each.

    The space is that of the rows times ``root`` (dim, dim), in which equal errors move the
    queries' scores about equally, or with None of the rows themselves. The candidate wins only
    if it is better by its ``handicap``: held-out rows are not queries, and a weighting learned
    from them may suit them alone.
    """

    name: str
    mean: Floats
    axes: Floats
    variances: Floats
    root: Floats | None = None
    inverse: Floats | None = None
    handicap: float = 0.0

    @property
    def even(self) -> bool:
        """Whether all coordinates are to get the same bits."""
        return self.name == "rotation"

    def rows(self, x: Floats) -> Floats:
        """Centred rows (n, dim) in the space."""
        centred: Floats = x - self.mean
        return centred if self.root is None else np.matmul(centred, self.root)

    def queries(self, q: Floats) -> Floats:
        """Queries (m, dim) as the space's products take them."""
        return q if self.inverse is None else q @ self.inverse

    def basis(self, axes: Floats) -> Basis:
        """The maps from rows to coordinates along axes (dim, r) of the space, and back."""
        forward, back = axes, axes.T
        if self.root is not None and self.inverse is not None:
            forward, back = self.root @ axes, axes.T @ self.inverse
        return Basis(
            self.name, self.mean, np.ascontiguousarray(forward), np.ascontiguousarray(back)
        )


def spectra(
    x: Floats, queries: Floats | None, rng: np.random.Generator, only: str | None = None
) -> list[Spectrum]:
    """The spectra to compare, or one of them: PCA, weighted PCA, a random rotation of even bits.

    The weighting is Σq^½ with Σq the second moment of at least 32 sample queries. Without them
    two guesses compete: Σ^¼ with Σ the rows' own second moment, halfway between all directions
    alike and queries like rows, and μμᵀ with a multiple of the identity, as on anisotropic
    models a query shares the rows' mean direction, so that errors along it weigh most.
    """
    mean, axes, variances = principal_axes(x)
    dim = x.shape[1]
    found: dict[str, Callable[[], Spectrum]] = {
        "pca": lambda: Spectrum("pca", mean, axes, variances)
    }
    if queries is not None and len(queries) >= _ENOUGH_QUERIES:
        asked = queries
        found["query-weighted pca"] = lambda: _weighted(
            "query-weighted pca", x, mean, _second_moment(asked), 0.5, 1.0, 0
        )
    else:
        guess = np.outer(mean, mean).astype(np.float64)
        guess += np.eye(dim) * float(variances.sum()) / dim
        found["row-weighted pca"] = lambda: _weighted(
            "row-weighted pca", x, mean, _second_moment(x), 0.25, _RIDGE, _ROW_HANDICAP
        )
        found["mean-weighted pca"] = lambda: _weighted(
            "mean-weighted pca", x, mean, guess, 0.5, 1.0, _MEAN_HANDICAP
        )
    rotation = random_rotation(dim, rng)
    even = np.full(dim, variances.mean(), np.float32)
    found["rotation"] = lambda: Spectrum("rotation", mean, rotation, even)
    return [make() for name, make in found.items() if only in (None, name)]


def _second_moment(x: Floats) -> Matrix:
    moment: Matrix = (x.T @ x).astype(np.float64) / len(x)
    return moment


def _weighted(
    name: str, x: Floats, mean: Floats, second: Matrix, power: float, ridge: float, handicap: float
) -> Spectrum:
    """Principal axes of the rows times Σ^power, Σ = ``second`` (dim, dim) and a ridge."""
    second = second + np.eye(len(second)) * (ridge * np.trace(second) / len(second) + 1e-30)
    values, vectors = np.linalg.eigh(second)
    values = np.maximum(values, values[-1] * 1e-9)
    root = ((vectors * values**power) @ vectors.T).astype(np.float32)
    inverse = ((vectors * values**-power) @ vectors.T).astype(np.float32)
    moved = (x - mean) @ root
    spread, axes = np.linalg.eigh((moved.T @ moved).astype(np.float64) / len(x))
    variances = np.maximum(spread[::-1], 0).astype(np.float32)
    axes = np.ascontiguousarray(axes[:, ::-1], np.float32)
    return Spectrum(name, mean, axes, variances, root, inverse, handicap)
