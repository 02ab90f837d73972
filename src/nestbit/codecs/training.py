"""Training of cells: k-means of all cells at once, and a rotation trained together with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs.allocation import Ranges
from nestbit.codecs.cells import Cells

# A coordinate that a wide cell hardly codes is not blown up beyond this.
_MIN_GAIN = 0.15
# Quantiles of the first centroids need no more rows.
_START_ROWS = 4000
_ORTHONORMAL = 1e-3


def train_cells(z: Floats, ranges: Ranges, bits: int, *, iterations: int) -> Cells:
    """Cells of ``bits`` over ranges of coordinates, fitted to rows (n, coordinates) by k-means.

    The start is a product of the coordinates' quantiles (Lloyd-Max in the limit), so the joint
    centroids are never worse than coding the coordinates one by one. Overlapping cells are
    trained on what the earlier ones leave.
    """
    first, width = ranges
    columns = int(width.sum())
    centroids = np.zeros((1 << bits, columns), np.float32)
    cells = Cells(first, width, centroids, np.ones(columns, np.float32))
    left = z
    for layer in cells.layers:
        for cell in layer:
            part = left[:_START_ROWS, first[cell] : first[cell] + width[cell]]
            centroids[:, cells.ends[cell] - width[cell] : cells.ends[cell]] = _start(part, bits)
        left = _improve_layer(cells, layer, left, iterations)
    return cells


def improve(cells: Cells, z: Floats, iterations: int) -> Cells:
    """The cells after further iterations of k-means on rows (n, coordinates)."""
    better = Cells(cells.first, cells.width, cells.centroids.copy(), cells.gain)
    for layer in better.layers:
        z = _improve_layer(better, layer, z, iterations)
    return better


def rotate(cells: Cells, y: Floats, axes: Floats, rounds: int) -> tuple[Floats, Cells]:
    """Axes (dim, r) turned towards what the cells decode to, and cells trained anew, in turns.

    Given the codes, the orthonormal axes of least error are the polar factor of yᵀẑ (Procrustes;
    the non-parametric form of Ge et al., Optimized Product Quantization, 2013). ``y`` (n, dim)
    are centred rows; axes may be fewer than dimensions.
    """
    z = y @ axes
    for _ in range(rounds):
        axes = _polar(y.T @ cells.decode(cells.encode(z)[0], axes.shape[1]))
        z = y @ axes
        cells = improve(cells, z, 2)
    return axes, cells


def unbiased(cells: Cells, z: Floats, strength: float = 1.0) -> Cells:
    """Cells that decode each coordinate divided by its gain E[ẑ z] / E[z²], to a power."""
    plain = Cells(cells.first, cells.width, cells.centroids, np.ones_like(cells.gain))
    decoded = plain.decode(plain.encode(z)[0], z.shape[1])
    power = np.einsum("ij,ij->j", z, z)
    gain = np.einsum("ij,ij->j", decoded, z) / np.where(power > 0, power, 1)
    gain = np.where(power > 0, np.clip(gain, _MIN_GAIN, None), 1) ** strength
    return Cells(cells.first, cells.width, cells.centroids, gain.astype(np.float32)[cells.columns])


def _improve_layer(cells: Cells, layer: NDArray[np.int64], left: Floats, iterations: int) -> Floats:
    """Train the layer's centroids in place; return what the layer leaves to later ones."""
    columns = np.concatenate([np.arange(e - w, e) for e, w in _ends(cells, layer)])
    whole = len(layer) == len(cells)
    by_column = np.ascontiguousarray(left[:, cells.columns[columns]].T)
    books = cells.centroids[:, columns]
    part = Cells(cells.first[layer], cells.width[layer], books, cells.gain[columns])
    for _ in range(iterations):
        books = _means(part.labels(left), by_column, part)
        part = Cells(part.first, part.width, books, part.gain)
    cells.centroids[:, columns] = books
    if whole:
        return left
    return left - Cells(part.first, part.width, books, np.ones_like(part.gain)).decode(
        part.encode(left)[0], left.shape[1]
    )


def _ends(cells: Cells, layer: NDArray[np.int64]) -> list[tuple[int, int]]:
    return [(int(cells.ends[cell]), int(cells.width[cell])) for cell in layer]


def _means(labels: NDArray[np.uint8], by_column: Floats, cells: Cells) -> Floats:
    """Books (K, columns) of the means of the rows that picked each centroid."""
    size = len(cells.centroids)
    books = cells.centroids.copy()
    column = 0
    for cell, width in enumerate(cells.width):
        picked = labels[:, cell].astype(np.intp)
        counts = np.bincount(picked, minlength=size)
        some = counts > 0  # an empty centroid stays where it was
        for _ in range(width):
            total = np.bincount(picked, weights=by_column[column], minlength=size)
            books[some, column] = total[some] / counts[some]
            column += 1
    return books


def _start(part: Floats, bits: int) -> Floats:
    """The first book (2^bits, width) of one cell: a grid of quantiles.

    Bit after bit goes to the coordinate whose remaining error, variance / 4^bits, is largest.
    """
    given = np.zeros(part.shape[1], np.int64)
    variances = part.var(axis=0) + 1e-12
    for _ in range(bits):
        given[(variances / 4.0**given).argmax()] += 1
    book = np.tile(part.mean(axis=0), (1 << bits, 1))
    used = np.flatnonzero(given)
    grids = [
        np.quantile(part[:, k], (np.arange(1 << given[k]) + 0.5) / (1 << given[k])) for k in used
    ]
    for k, grid in zip(used, np.meshgrid(*grids, indexing="ij"), strict=True):
        book[:, k] = grid.ravel()
    return book.astype(np.float32)


def _polar(matrix: Floats) -> Floats:
    """The nearest matrix of orthonormal columns, M (MᵀM)^-½."""
    m = matrix.astype(np.float64)
    values, vectors = np.linalg.eigh(m.T @ m)
    values = np.maximum(values, values[-1] * 1e-12 + 1e-300)
    near: Floats = (m @ ((vectors / np.sqrt(values)) @ vectors.T)).astype(np.float32)
    if np.abs(near.T @ near - np.eye(near.shape[1])).max() > _ORTHONORMAL:
        # Directions that no row moves along came out short: QR makes them whole.
        near, _ = np.linalg.qr(near)
    return np.ascontiguousarray(near)
