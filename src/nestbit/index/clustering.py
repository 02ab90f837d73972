"""k-means over rows in a reduced basis, by the scan of bytes.

Rows and centroids are rounded to int8: ranking centroids so finds as many of the true best rows as
floats do, and takes a tenth of the time where a processor multiplies integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs.scorers import integer_weights
from nestbit.kernels import bytes_scan
from nestbit.kernels.allowed import Mask

Labels = NDArray[np.int32]

# Rows are rounded, ranked and summed in blocks of about this many values.
_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Rounded:
    """Rows (n, r) as int8 ``values`` with one ``scale`` (n,) each."""

    values: NDArray[np.int8]
    scale: Floats

    @classmethod
    def of(cls, blocks: Iterator[Floats]) -> Rounded:
        """Rows that come in blocks (b, r)."""
        values, scales = zip(*map(integer_weights, blocks), strict=True)
        return cls(np.concatenate(values), np.concatenate(scales))

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, chosen: NDArray[np.int64]) -> Floats:
        """Some of the rows (c, r) in floats."""
        rows: Floats = self.values[chosen] * self.scale[chosen, None]
        return rows


@dataclass(frozen=True)
class Centroids:
    """Centroids (p, r) as int8 of one ``step``, and half their squared lengths (p,)."""

    values: NDArray[np.int8]
    step: np.float32
    half: Floats

    @classmethod
    def of(cls, centroids: Floats) -> Centroids:
        """Centroids (p, r) in floats, rounded."""
        step = np.float32(np.abs(centroids).max(initial=0) / 127) or np.float32(1)
        values = np.rint(centroids / step).astype(np.int8)
        square = np.einsum("ij,ij->i", values, values, dtype=np.float32)
        return cls(values, step, square * step * step / np.float32(2))

    def best(
        self,
        z: Rounded,
        k: int,
        *,
        nearness: bool = True,
        mask: Mask | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], Floats]:
        """Numbers and scores (m, k) of the best centroids for rows (m, r), the best first.

        A score is z·c - ‖c‖²/2, largest for the nearest centroid, or without ``nearness`` z·c.
        """
        bias = -self.half if nearness else None
        scales = z.scale * self.step
        return bytes_scan(
            self.values, z.values, k, scales=scales, row_bias=bias, mask=mask, threads=threads
        )


def principal_basis(x: Floats, r: int) -> tuple[Floats, Floats]:
    """Mean (dim,) of rows (n, dim), and the r directions (dim, r) along which they vary most."""
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean.astype(np.float32)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return mean.astype(np.float32), np.ascontiguousarray(vectors[:, ::-1][:, :r], np.float32)


def turned(basis: Floats, rng: np.random.Generator) -> Floats:
    """Another basis (dim, r) of the same space, at random.

    No direction of it has much more than its share of the energy, so one step of int8 fits all.
    """
    rotation, _ = np.linalg.qr(rng.normal(size=(basis.shape[1],) * 2))
    return np.ascontiguousarray(basis @ rotation, np.float32)


def k_means(z: Rounded, p: int, rounds: int, rng: np.random.Generator) -> Floats:
    """Centroids (p, r) of rows (n, r), n >= p, by Lloyd's algorithm from p random rows.

    A centroid that no row is nearest to is replaced by a random row (Lloyd, "Least squares
    quantization in PCM", 1982).
    """
    centroids = z.rows(rng.choice(len(z), p, replace=False))
    for _ in range(rounds):
        labels = nearest(z, centroids)
        counts = np.bincount(labels, minlength=p)
        centroids = _sums(z, labels, p) / np.maximum(counts, 1).astype(np.float32)[:, None]
        empty = np.flatnonzero(counts == 0)
        centroids[empty] = z.rows(rng.choice(len(z), len(empty), replace=False))
    return centroids


def nearest(z: Rounded, centroids: Floats) -> Labels:
    """Number (n,) of the centroid nearest to each row, the first of several."""
    rounded = Centroids.of(centroids)
    return rounded.best(z, 1)[0].ravel().astype(np.int32)


def _sums(z: Rounded, labels: Labels, p: int) -> Floats:
    """Sums (p, r) of the rows of each label."""
    sums = np.zeros((p, z.values.shape[1]), np.float32)
    order = np.argsort(labels, kind="stable")
    step = max(1, _BLOCK_VALUES // z.values.shape[1])
    for start in range(0, len(order), step):
        some = order[start : start + step]
        found, first = np.unique(labels[some], return_index=True)
        sums[found] += np.add.reduceat(z.rows(some), first, axis=0)
    return sums
