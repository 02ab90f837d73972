"""Training the centroids of cells: k-means per cell, all cells of one width at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs.allocation import Ranges
from nestbit.codecs.cells import CENTROIDS, Cells
from nestbit.codecs.transforms import random_rotation

# A coordinate that a wide cell hardly codes is not blown up beyond this.
_MIN_GAIN = 0.15
# Bits of a cell over 1, 2, 3 and 4 coordinates, where its training starts from.
_START_BITS = {1: (4,), 2: (2, 2), 3: (2, 1, 1), 4: (1, 1, 1, 1)}


def train_cells(z: Floats, ranges: Ranges, rng: np.random.Generator, *, iterations: int) -> Cells:
    """Cells over the given ranges of coordinates, fitted to rows (n, coordinates).

    The start is the product of each coordinate's quantiles (Lloyd-Max in the limit), so the
    joint centroids are never worse than coding the coordinates one by one. Overlapping cells
    are trained on what the earlier ones leave.
    """
    first, width = ranges
    ends = np.cumsum(width, dtype=np.int64)
    centroids = np.zeros((CENTROIDS, int(ends[-1])), np.float32)
    cells = Cells(first, width, centroids, np.ones(int(ends[-1]), np.float32))
    left = z.copy()
    for layer in cells.layers:
        for group, columns in cells.by_width(layer):
            parts = left[:, cells.columns[columns]].reshape(len(z), len(group), -1)
            books = _kmeans(parts.transpose(1, 0, 2), rng, iterations)
            centroids[:, columns] = books.transpose(2, 0, 1).reshape(CENTROIDS, -1)
        if len(cells.layers) > 1:
            trained = Cells(first, width, centroids, cells.gain)
            left = z - trained.sums(trained.nearest(z), z.shape[1])
    return _unbiased(Cells(first, width, centroids, cells.gain), z)


def _unbiased(cells: Cells, z: Floats) -> Cells:
    decoded = cells.sums(cells.nearest(z), z.shape[1])
    power = np.einsum("ij,ij->j", z, z)
    gain = np.einsum("ij,ij->j", decoded, z) / np.where(power > 0, power, 1)
    gain = np.where(power > 0, np.clip(gain, _MIN_GAIN, None), 1).astype(np.float32)
    return Cells(cells.first, cells.width, cells.centroids, gain[cells.columns])


def _kmeans(parts: Floats, rng: np.random.Generator, iterations: int) -> Floats:
    """Books (cells, width, 16) for parts (cells, n, width)."""
    parts = np.ascontiguousarray(parts)
    books = np.stack([_start(part, rng) for part in parts])
    n_cells, _, width = parts.shape
    offsets = (CENTROIDS * np.arange(n_cells))[:, None]
    for _ in range(iterations):
        fit = parts @ books
        fit -= np.einsum("cwj,cwj->cj", books, books)[:, None, :] / 2
        labels = (fit.argmax(axis=2) + offsets).ravel()
        counts = np.bincount(labels, minlength=CENTROIDS * n_cells)
        for k in range(width):
            totals = np.bincount(
                labels, weights=parts[:, :, k].ravel(), minlength=CENTROIDS * n_cells
            )
            means = (totals / np.maximum(counts, 1)).reshape(n_cells, CENTROIDS)
            # An empty centroid stays where it was.
            books[:, k] = np.where(counts.reshape(n_cells, CENTROIDS) > 0, means, books[:, k])
    return books


def _start(part: Floats, rng: np.random.Generator) -> Floats:
    """The first book (width, 16) of one cell: quantiles per coordinate, or signs of directions."""
    width = part.shape[1]
    if width in _START_BITS:
        grids = [
            np.quantile(part[:, k], (np.arange(1 << bits) + 0.5) / (1 << bits))
            for k, bits in enumerate(_START_BITS[width])
        ]
        return np.stack([g.ravel() for g in np.meshgrid(*grids, indexing="ij")]).astype(np.float32)
    directions = random_rotation(width, rng)[:, :4]
    signs = 2.0 * ((np.arange(CENTROIDS) >> np.arange(4)[:, None]) & 1) - 1
    # The mean of |x| of a Gaussian of unit variance is √(2/π).
    book: NDArray[np.float64] = part.std(axis=0)[:, None] * (directions @ signs) * 0.7979
    return book.astype(np.float32)
