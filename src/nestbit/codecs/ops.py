"""The fitted row maps of a level: unit length, truncation, and one affine map.

An op takes rows (n, d_in) to rows (n, d_out). The two row-wise ops act on queries as they do
on documents; an affine op instead folds into the query (see `Affine.fold`), so that scores
remain estimates of the inner product in the space the op started from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nestbit._arrays import Floats


def unit_rows(x: Floats) -> Floats:
    """Rows scaled to Euclidean length 1; an all-zero row stays zero."""
    square: Floats = np.einsum("ij,ij->i", x, x)[:, None]
    one = len(square) == 1  # a single query is not worth arrays of booleans
    if 1e-30 < square[0, 0] < 1e30 if one else np.all((square > 1e-30) & (square < 1e30)):
        return np.divide(x, np.sqrt(square), dtype=np.float32)
    # Scaling by the largest entry first keeps the squares of tiny or huge values in range.
    peak = np.abs(x).max(axis=1, keepdims=True)
    scaled = x / np.where(peak > 0, peak, 1)
    length = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    return np.divide(scaled, np.where(length > 0, length, 1), dtype=np.float32)


def row_lengths(x: Floats) -> Floats:
    """Euclidean length of each row, shape (n,), accumulated in float64."""
    squares: Floats = np.einsum("ij,ij->i", x, x, dtype=np.float64)
    return np.sqrt(squares).astype(np.float32)


class Op(Protocol):
    """One fitted step of a level's row map."""

    def rows(self, x: Floats) -> Floats:
        """Map rows (n, d_in) to (n, d_out)."""

    def back(self, z: Floats) -> Floats:
        """Best float reconstruction (n, d_in) of mapped rows (n, d_out)."""


@dataclass(frozen=True)
class UnitLength:
    """Scale every row to length 1."""

    def rows(self, x: Floats) -> Floats:
        """Unit rows; an all-zero row stays zero."""
        return unit_rows(x)

    def back(self, z: Floats) -> Floats:
        """The unit rows themselves: their former length is not kept."""
        return z


@dataclass(frozen=True)
class Truncation:
    """Keep the first ``d`` dimensions and restore each row's length."""

    d: int
    d_in: int

    def rows(self, x: Floats) -> Floats:
        """The prefix, scaled back to the length of the whole row (unit rows stay unit)."""
        prefix = unit_rows(x[:, : self.d])
        return prefix * row_lengths(x)[:, None]

    def back(self, z: Floats) -> Floats:
        """The prefix followed by zeros."""
        out = np.zeros((len(z), self.d_in), np.float32)
        out[:, : self.d] = z
        return out


@dataclass(frozen=True)
class Affine:
    """z = x A - s, reconstructed as x = o + z Aᵀ; None stands for identity or zero.

    ``matrix`` A is (d_in, d_out), ``shift`` s is (d_out,), ``origin`` o is (d_in,).
    A centre μ alone has s = o = μ; a basis V applied after it has A = V, s = μV, o = μ.
    """

    matrix: Floats | None
    shift: Floats | None
    origin: Floats | None

    def rows(self, x: Floats) -> Floats:
        """Map rows (n, d_in) to (n, d_out)."""
        z = x if self.matrix is None else x @ self.matrix
        return z if self.shift is None else z - self.shift

    def back(self, z: Floats) -> Floats:
        """Best linear reconstruction, (n, d_in)."""
        x = z if self.matrix is None else z @ self.matrix.T
        return x if self.origin is None else x + self.origin

    def fold(self, queries: Floats) -> tuple[Floats, Floats]:
        """Weights w (m, d_out) and bias (m,) with q·back(z) = bias + w·z."""
        weights = queries if self.matrix is None else queries @ self.matrix
        if self.origin is None:
            return weights, np.zeros(len(queries), np.float32)
        return weights, queries @ self.origin

    def then(self, other: Affine) -> Affine:
        """The single affine map that equals this one followed by ``other``."""
        if self.matrix is None or other.matrix is None:
            matrix = other.matrix if self.matrix is None else self.matrix
        else:
            matrix = self.matrix @ other.matrix
        shift, origin = other.shift, self.origin
        if self.shift is not None:
            carried = self.shift if other.matrix is None else self.shift @ other.matrix
            shift = carried if shift is None else shift + carried
        if other.origin is not None:
            returned = other.origin if self.matrix is None else other.origin @ self.matrix.T
            origin = returned if origin is None else origin + returned
        return Affine(matrix, shift, origin)


def fold_ops(ops: list[Op]) -> tuple[Op, ...]:
    """Join neighbouring affine ops into one mean and one matrix."""
    folded: list[Op] = []
    for op in ops:
        if isinstance(op, Affine) and folded and isinstance(folded[-1], Affine):
            folded[-1] = folded[-1].then(op)
        else:
            folded.append(op)
    return tuple(folded)
