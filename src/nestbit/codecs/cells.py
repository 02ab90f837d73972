"""Codes of 4-bit cells: what nested, rabitq and pq share.

A cell is a nibble of the row that picks one of 16 centroids over a range of coordinates; a row
decodes to the sum of its cells' centroids, times one factor per row. So a query needs 16 sums
per cell, and one kernel scans every such code. Cells whose ranges overlap add up: that is how a
coordinate gets more than four bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nestbit import kernels
from nestbit._arrays import Floats

Nibbles = NDArray[np.uint8]

CENTROIDS = 16
_BLOCK_VALUES = 1 << 20
# The factor of a row whose code has nearly lost its direction would be noise.
_MAX_FACTOR = 16.0


@dataclass(frozen=True)
class Cells:
    """The codebooks: cell c covers coordinates first[c] to first[c] + width[c].

    ``centroids`` (16, sum of widths) holds the cells side by side, as the encoder compares them.
    ``gain`` (same width) divides them for decoding: E[ẑ z] / E[z²] of each coordinate, which
    makes the decoded value unbiased.
    """

    first: NDArray[np.int32]
    width: NDArray[np.int32]
    centroids: Floats
    gain: Floats

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Where each cell's columns end in ``centroids``."""
        return np.cumsum(self.width, dtype=np.int64)

    @cached_property
    def decoded(self) -> Floats:
        """Centroids as they decode, (16, sum of widths)."""
        return self.centroids / self.gain

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """Coordinate of each column of ``centroids``."""
        starts = self.ends - self.width
        inside = np.arange(self.ends[-1]) - np.repeat(starts, self.width)
        return inside + np.repeat(self.first.astype(np.int64), self.width)

    def tables(self, queries: Floats) -> Floats:
        """Inner products (m, cells, 16) of the queries' ranges with the decoded centroids."""
        spread = queries[:, self.columns]
        out = np.empty((len(queries), len(self), CENTROIDS), np.float32)
        for cells, columns in self.by_width():
            shape = (len(cells), -1, CENTROIDS)
            books = self.decoded[:, columns].T.reshape(shape)
            parts = spread[:, columns].reshape(len(queries), len(cells), -1)
            out[:, cells] = np.einsum("mcw,cwj->mcj", parts, books, optimize=True)
        return out

    def encode(self, z: Floats) -> tuple[NDArray[np.uint8], Floats]:
        """Packed codes of the nearest centroids, and ⟨ẑ, z⟩ (n,) with the decoded rows ẑ.

        Cells that overlap earlier ones code what those leave.
        """
        codes, along, _ = kernels.cells_encode(
            z, self.first, self.width, self.centroids, self.decoded
        )
        return codes, along

    def decode(self, codes: NDArray[np.uint8], coordinates: int) -> Floats:
        """Decoded rows (n, coordinates) of packed codes, without the rows' factors."""
        return kernels.cells_decode(codes, self.first, self.width, self.decoded, coordinates)

    def nearest(self, z: Floats) -> Nibbles:
        """Nibbles (n, cells) of the nearest centroids, as `encode` packs them."""
        return unpack(self.encode(z)[0], len(self))

    def sums(self, nibbles: Nibbles, coordinates: int) -> Floats:
        """Decoded rows (n, coordinates) of nibbles (n, cells), without the rows' factors."""
        return self.decode(pack(nibbles), coordinates)

    @cached_property
    def layers(self) -> list[NDArray[np.int64]]:
        """Cells in passes: a cell is in the first pass after all earlier ones it overlaps."""
        depth: dict[int, int] = {}
        passes: dict[int, list[int]] = {}
        for cell, (first, width) in enumerate(zip(self.first, self.width, strict=True)):
            covered = range(int(first), int(first + width))
            here = max(depth.get(c, 0) for c in covered)
            passes.setdefault(here, []).append(cell)
            depth |= dict.fromkeys(covered, here + 1)
        return [np.array(passes[i]) for i in sorted(passes)]

    def by_width(
        self, cells: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Groups of cells of equal width, and the columns of each group's cells in order."""
        chosen = np.arange(len(self)) if cells is None else cells
        for width in np.unique(self.width[chosen]):
            group = chosen[self.width[chosen] == width]
            yield group, (self.ends[group, None] - width + np.arange(width)).ravel()

    def prefix(self, n_cells: int) -> Cells:
        """The first cells alone."""
        columns = int(self.ends[n_cells - 1])
        return Cells(
            self.first[:n_cells],
            self.width[:n_cells],
            self.centroids[:, :columns],
            self.gain[:columns],
        )


def pack(nibbles: Nibbles) -> NDArray[np.uint8]:
    """Nibbles (n, cells) two to a byte, the even cell in the low half; an odd end is padded."""
    if nibbles.shape[1] % 2:
        nibbles = np.concatenate([nibbles, np.zeros((len(nibbles), 1), np.uint8)], axis=1)
    return np.ascontiguousarray(nibbles[:, ::2] | (nibbles[:, 1::2] << 4))


def unpack(data: NDArray[np.uint8], cells: int) -> Nibbles:
    """Nibbles (n, cells) of packed rows."""
    out = np.empty((len(data), 2 * data.shape[1]), np.uint8)
    out[:, ::2] = data & 15
    out[:, 1::2] = data >> 4
    return out[:, :cells]


def row_factors(energy: Floats, along: Floats) -> NDArray[np.float16]:
    """‖z‖² / ⟨ẑ, z⟩ per row, which makes ⟨q, ẑ⟩ an unbiased estimate (arXiv:2405.12497).

    ``energy`` (n,) is ‖z‖² over all coordinates, dropped ones included, ``along`` (n,) ⟨ẑ, z⟩.
    """
    usable = along * _MAX_FACTOR > energy
    return np.where(usable, energy / np.where(usable, along, 1), 1).astype(np.float16)


def block_rows(dim: int) -> int:
    """How many rows (n, dim) to code at once: a few MB, enough to keep every thread at work."""
    return max(64, _BLOCK_VALUES // dim)


def quantize_tables(tables: Floats) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """Tables (m, cells, 16) as uint8 with a scale and a base per query.

    Σ_c table ≈ scale * Σ_c uint8 + base; each cell's rounding error is at most scale / 2.
    """
    low = tables.min(axis=2, keepdims=True)
    scale = (tables - low).max(axis=(1, 2)) / np.float32(255)
    safe = np.where(scale > 0, scale, 1)[:, None, None]
    rounded = np.rint((tables - low) / safe).astype(np.uint8)
    return rounded, scale.astype(np.float32), low.sum(axis=(1, 2), dtype=np.float32)
