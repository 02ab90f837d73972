"""Codes: what a codec makes of embeddings, level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nestbit.errors import InputError

Layout = Literal["bits", "cells", "bytes", "floats"]
Factor = NDArray[np.float32] | NDArray[np.float16]


@dataclass(frozen=True)
class LevelCodes:
    """One level's packed rows.

    ``data`` is (n, width): packed bits in `numpy.packbits` order, cells of 4 bits two to a byte
    (the even one low) or of 8 bits, int8/uint8, or float16/float32 (bfloat16 as uint16).
    ``factors`` are arrays of shape (n,): ``norm2`` float32, the squared length for l2; ``offset``
    float32, the product of the centred row with the mean; ``scale`` float16. Where they are
    ``proved`` to be finite, and what they add up to, scans do not look at them again.
    """

    layout: Layout
    data: NDArray[Any]
    factors: Mapping[str, Factor] = field(default_factory=dict)
    proved: bool = False

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, rows: slice) -> LevelCodes:
        factors = {name: factor[rows] for name, factor in self.factors.items()}
        return LevelCodes(self.layout, self.data[rows], factors)

    @property
    def nbytes(self) -> int:
        """Bytes of the packed rows and their factors."""
        return self.data.nbytes + sum(factor.nbytes for factor in self.factors.values())


def concatenate(parts: Sequence[LevelCodes]) -> LevelCodes:
    """The rows of several codes of the same level, one after another."""
    if len(parts) == 1:
        return parts[0]
    factors = {name: np.concatenate([p.factors[name] for p in parts]) for name in parts[0].factors}
    return LevelCodes(parts[0].layout, np.concatenate([p.data for p in parts]), factors)


@dataclass(frozen=True)
class Codes:
    """The codes of n rows in every level, coarse to fine.

    ``zero_rows`` are the sorted row numbers of all-zero embeddings. Their codes say nothing
    (a sign bit cannot be zero), so a search scores them as the zero vector exactly.
    ``clipped`` is, per level, the share of values outside the calibrated range.
    """

    levels: tuple[LevelCodes, ...]
    zero_rows: NDArray[np.int64]
    clipped: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len({len(level) for level in self.levels}) != 1:
            lengths = [len(level) for level in self.levels]
            raise InputError(f"the levels of one code must have equally many rows, got {lengths}")

    def __len__(self) -> int:
        return len(self.levels[0])

    def __getitem__(self, rows: slice) -> Codes:
        """Rows start:stop as views; the clipped shares stay those of the whole."""
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise InputError(f"codes are sliced by contiguous rows, as in codes[a:b]; got {rows!r}")
        start, stop, _ = rows.indices(len(self))
        first, last = np.searchsorted(self.zero_rows, (start, max(start, stop)))
        return Codes(
            tuple(level[start:stop] for level in self.levels),
            self.zero_rows[first:last] - start,
            self.clipped,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all levels."""
        return sum(level.nbytes for level in self.levels)
