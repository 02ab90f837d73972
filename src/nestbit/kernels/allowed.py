"""Which rows a scan may find: a bitmap over all rows, ranges of rows, or both."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit.errors import InputError

Mask = NDArray[np.uint8]
Ranges = NDArray[np.int64]


def bitmap(allowed: NDArray[np.bool_]) -> Mask:
    """The mask of a scan, uint8 (ceil(n / 8),), of booleans (n,): bit r % 8 of byte r // 8."""
    return np.packbits(allowed, bitorder="little")


def check_allowed(mask: Any, ranges: Any, n: int) -> tuple[Mask | None, Ranges | None]:
    """Return both as contiguous arrays that fit n rows, or raise `InputError`."""
    return (
        None if mask is None else _mask(mask, n),
        None if ranges is None else _ranges(ranges, n),
    )


def check_visits(visits: Any, ranges: Ranges | None, m: int) -> Mask | None:
    """Return which of m queries see each range as a contiguous array, or raise `InputError`."""
    if visits is None:
        return None
    if ranges is None:
        raise InputError("visits tell which queries see each of the ranges; give both")
    checked = np.asarray(visits)
    shape = len(ranges), (m + 7) // 8
    if checked.dtype != np.uint8 or checked.shape != shape:
        raise InputError(
            f"visits must be a uint8 array of shape {shape}, one bit for each of {m} queries and "
            f"a row for each range, got {checked.dtype} of shape {checked.shape}"
        )
    return np.ascontiguousarray(checked)


def row_numbers(n: int, mask: Mask | None, ranges: Ranges | None) -> NDArray[np.int64]:
    """The allowed of n rows, ascending."""
    if ranges is None:
        rows = np.arange(n)
    else:
        sizes = ranges[:, 1] - ranges[:, 0]
        # Each range counts on from where the one before it ended, moved to its own start.
        moved = ranges[:, 0] - (np.cumsum(sizes) - sizes)
        rows = np.arange(sizes.sum()) + np.repeat(moved, sizes)
    if mask is None:
        return rows
    allowed = np.unpackbits(mask, count=n, bitorder="little").view(np.bool_)
    return np.flatnonzero(allowed) if ranges is None else rows[allowed[rows]]


def _mask(x: Any, n: int) -> Mask:
    mask = np.asarray(x)
    if mask.dtype != np.uint8 or mask.shape != ((n + 7) // 8,):
        raise InputError(
            f"mask must be a uint8 array of shape ({(n + 7) // 8},), one bit for each of {n} "
            f'rows as numpy.packbits(allowed, bitorder="little") makes it, '
            f"got {mask.dtype} of shape {mask.shape}"
        )
    return np.ascontiguousarray(mask)


def _ranges(x: Any, n: int) -> Ranges:
    ranges = np.asarray(x)
    if ranges.dtype != np.int64 or ranges.ndim != 2 or ranges.shape[1] != 2:
        raise InputError(
            f"ranges must be an int64 array of shape (p, 2), "
            f"got {ranges.dtype} of shape {ranges.shape}"
        )
    ranges = np.ascontiguousarray(ranges)
    ends = ranges.reshape(-1)
    if ends.size and not (ends[0] >= 0 and ends[-1] <= n and (ends[:-1] <= ends[1:]).all()):
        raise InputError(
            f"ranges must be sorted and apart, 0 <= start <= stop <= {n} in each, "
            f"{_first_fault(ranges, n)}"
        )
    return ranges


def _first_fault(ranges: Ranges, n: int) -> str:
    before = 0
    for i, (start, stop) in enumerate(ranges.tolist()):
        if not before <= start <= stop <= n:
            return f"range {i} is [{start}, {stop}) after row {before}"
        before = stop
    raise AssertionError("no range is at fault")
