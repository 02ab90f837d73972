"""k-means over rows in a reduced basis, in blocks of matrix products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats

Labels = NDArray[np.int32]

# Products of a block of rows and all centroids stay within this many values.
_BLOCK_VALUES = 1 << 22


def principal_basis(x: Floats, r: int) -> tuple[Floats, Floats]:
    """Mean (dim,) of rows (n, dim), and the r directions (dim, r) along which they vary most."""
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean.astype(np.float32)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return mean.astype(np.float32), np.ascontiguousarray(vectors[:, ::-1][:, :r], np.float32)


def k_means(z: Floats, p: int, rounds: int, rng: np.random.Generator) -> Floats:
    """Centroids (p, r) of rows (n, r), n >= p, by Lloyd's algorithm from p random rows.

    A centroid that no row is nearest to is replaced by a random row (Lloyd, "Least squares
    quantization in PCM", 1982).
    """
    centroids = z[rng.choice(len(z), p, replace=False)]
    for _ in range(rounds):
        labels = nearest(z, centroids)
        counts = np.bincount(labels, minlength=p)
        sums = [np.bincount(labels, column, p) for column in z.T]
        centroids = np.stack(sums, axis=1).astype(np.float32)
        centroids /= np.maximum(counts, 1).astype(np.float32)[:, None]
        empty = np.flatnonzero(counts == 0)
        centroids[empty] = z[rng.choice(len(z), len(empty), replace=False)]
    return centroids


def nearest(z: Floats, centroids: Floats) -> Labels:
    """Number (n,) of the centroid nearest to each row, the first of several."""
    half = np.einsum("ij,ij->i", centroids, centroids) / 2
    step = max(1, _BLOCK_VALUES // len(centroids))
    labels = np.empty(len(z), np.int32)
    for start in range(0, len(z), step):
        products = z[start : start + step] @ centroids.T
        products -= half
        labels[start : start + step] = products.argmax(axis=1)
    return labels
