"""Codes of cells: what nested, rabitq and pq share.

A cell of four or eight bits picks one of 16 or 256 centroids over a range of coordinates; a row
decodes to the sum of its cells' centroids, times one factor per row. So a query needs a table of
sums per cell, and one kernel scans every such code. Cells whose ranges overlap add up: that is
how a coordinate gets more bits than a cell has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nestbit import kernels
from nestbit._arrays import Floats

Nibbles = NDArray[np.uint8]

_BLOCK_VALUES = 1 << 20
# The factor of a row whose code has nearly lost its direction would be noise.
_MAX_FACTOR = 16.0


@dataclass(frozen=True)
class QueryTables:
    """Of m queries: ``values`` (m, cells, 16 or 256), and the same ``rounded`` to uint8.

    Σ_c value ≈ scale Σ_c rounded + base, ``scale`` and ``base`` (m,); each cell's rounding error
    is at most scale / 2.
    """

    values: Floats
    rounded: NDArray[np.uint8]
    scale: Floats
    base: Floats

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, queries: NDArray[np.int64]) -> QueryTables:
        """Those of some of the queries, by their numbers."""
        return QueryTables(
            self.values[queries], self.rounded[queries], self.scale[queries], self.base[queries]
        )


@dataclass(frozen=True)
class Cells:
    """The codebooks: cell c covers coordinates first[c] to first[c] + width[c].

    ``centroids`` (16 or 256, sum of widths) holds the cells side by side, as the encoder compares
    them.
    ``gain`` (same width) divides them for decoding: E[ẑ z] / E[z²] of each coordinate, which
    makes the decoded value unbiased.
    """

    first: NDArray[np.int32]
    width: NDArray[np.int32]
    centroids: Floats
    gain: Floats

    def __len__(self) -> int:
        return len(self.first)

    @property
    def bits(self) -> int:
        """Bits of a cell, 4 or 8."""
        return 4 if len(self.centroids) == 16 else 8

    @property
    def n_bytes(self) -> int:
        """Bytes of a row's cells."""
        return -(-len(self) * self.bits // 8)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Where each cell's columns end in ``centroids``."""
        return np.cumsum(self.width, dtype=np.int64)

    @cached_property
    def decoded(self) -> Floats:
        """Centroids as they decode, (16 or 256, sum of widths)."""
        return self.centroids / self.gain

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """Coordinate of each column of ``centroids``."""
        starts = self.ends - self.width
        inside = np.arange(self.ends[-1]) - np.repeat(starts, self.width)
        return inside + np.repeat(self.first.astype(np.int64), self.width)

    @cached_property
    def books(self) -> Floats:
        """`decoded` transposed, (sum of widths, 16 or 256), as queries meet it."""
        return np.ascontiguousarray(self.decoded.T)

    def tables(self, queries: Floats, *, threads: int | None = None) -> QueryTables:
        """Inner products of queries (m, coordinates) with the decoded centroids.

        Of 4-bit cells there are as many tables as a row has nibbles; an odd end is zero.
        """
        found = kernels.cells_tables(queries, self.first, self.width, self.books, threads=threads)
        return QueryTables(*found)

    def encode(self, z: Floats) -> tuple[NDArray[np.uint8], Floats, Floats]:
        """Packed codes of the nearest centroids, then ⟨ẑ, z⟩ and ‖ẑ‖² of the decoded rows ẑ, (n,).

        Cells that overlap earlier ones code what those leave.
        """
        return kernels.cells_encode(z, self.first, self.width, self.centroids, self.decoded)

    def decode(self, codes: NDArray[np.uint8], coordinates: int) -> Floats:
        """Decoded rows (n, coordinates) of packed codes, without the rows' factors."""
        return kernels.cells_decode(codes, self.first, self.width, self.decoded, coordinates)

    def labels(self, z: Floats) -> NDArray[np.uint8]:
        """The centroid (n, cells) that each cell picks."""
        codes, _, _ = self.encode(z)
        return codes if self.bits == 8 else unpack(codes, len(self))

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

    def prefix(self, n_cells: int) -> Cells:
        """The first cells alone."""
        columns = int(self.ends[n_cells - 1])
        return Cells(
            self.first[:n_cells],
            self.width[:n_cells],
            self.centroids[:, :columns],
            self.gain[:columns],
        )


def unpack(data: NDArray[np.uint8], cells: int) -> Nibbles:
    """Nibbles (n, cells) of packed rows."""
    out = np.empty((len(data), 2 * data.shape[1]), np.uint8)
    out[:, ::2] = data & 15
    out[:, 1::2] = data >> 4
    return out[:, :cells]


@dataclass(frozen=True)
class RowFactor:
    """The float16 factor that a row's decoded coordinates ẑ are multiplied with.

    ``direction`` is ‖z‖² / ⟨ẑ, z⟩, which makes ⟨q, ẑ⟩ an unbiased estimate row by row (RaBitQ,
    arXiv:2405.12497); ``length`` is ‖z‖ / ‖ẑ‖ times ``gain``, which is unbiased on the average of
    the rows and varies less where few bits are spent; ``none`` leaves rows without one.

    With ``offset`` a row also keeps ⟨mean, z⟩ as float32, so that a score only estimates the
    product of the query's own deviation from the mean with that of the row.
    """

    kind: Literal["direction", "length", "none"]
    gain: float = 1.0
    offset: bool = False

    def of(self, energy: Floats, along: Floats, length2: Floats) -> Floats:
        """Factors (n,) from ‖z‖² over all coordinates, dropped ones included, ⟨ẑ, z⟩ and ‖ẑ‖²."""
        if self.kind == "direction":
            usable = along * _MAX_FACTOR > energy
            exact: Floats = np.where(usable, energy / np.where(usable, along, 1), 1)
            return exact
        usable = (along > 0) & (length2 * _MAX_FACTOR**2 > energy)
        ratio: Floats = np.sqrt(np.where(usable, energy / np.where(usable, length2, 1), 1))
        return ratio * np.float32(self.gain)

    def trained(self, energy: Floats, along: Floats, length2: Floats) -> RowFactor:
        """With the gain that makes the estimates of these rows unbiased on average."""
        if self.kind != "length":
            return self
        total = float(np.sum(RowFactor("length").of(energy, along, length2) * along))
        return RowFactor("length", float(energy.sum()) / total if total > 0 else 1.0)


def block_rows(dim: int) -> int:
    """How many rows (n, dim) to code at once: a few MB, enough to keep every thread at work."""
    return max(64, _BLOCK_VALUES // dim)
