"""The one boundary where arrays from outside are checked and converted."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit.errors import InputError

Floats = NDArray[np.float32]
_FLOAT32 = np.dtype(np.float32)

# Rows are checked in blocks of about this many values, so that checking a large
# array needs no temporary of the array's own size.
_BLOCK_VALUES = 1 << 22
# So few are proved finite by a product, which takes less time to call.
_FEW_VALUES = 1 << 14


def as_embeddings(x: Any, *, name: str = "embeddings", dim: int | None = None) -> Floats:
    """Return ``x`` as a C-contiguous float32 array of shape (n, dim) with finite values.

    Accepts anything NumPy reads as a two-dimensional array of real numbers; float32 input
    that is already contiguous is not copied. Raises `InputError` for another shape or dtype,
    for ``dim`` differing from the one asked for, and for NaN or infinity (with the row number).
    """
    array = np.asarray(x)
    if array.ndim != 2:
        hint = "; pass x[None, :] for a single row" if array.ndim == 1 else ""
        raise InputError(f"{name} must have shape (n, dim), got shape {array.shape}{hint}")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.shape[1] == 0:
        raise InputError(f"{name} have no dimensions: shape {array.shape}")
    if dim is not None:
        check_dim(array, dim, name=name)
    if array.dtype == _FLOAT32:
        floats = np.ascontiguousarray(array)
    else:
        with np.errstate(over="ignore"):  # values beyond float32 become inf, reported below
            floats = np.ascontiguousarray(array, dtype=np.float32)
    _refuse_non_finite(floats, name)
    return floats


def check_dim(x: NDArray[Any], dim: int, *, name: str = "embeddings") -> None:
    """Raise `InputError` unless the rows of ``x`` (n, dim) have ``dim`` dimensions."""
    if x.shape[1] != dim:
        raise InputError(
            f"{name} have {x.shape[1]} dimensions, the codec was fitted for {dim}; "
            "use the embeddings of the same model"
        )


def check_k(k: Any, n: int) -> int:
    """Return ``k`` as an int in 1..n, or raise `InputError`."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise InputError(f"k must be a whole number, got {k!r}")
    if n == 0:
        raise InputError("there are no rows to search: the codes are empty")
    if not 1 <= k <= n:
        raise InputError(f"k must be between 1 and the number of rows ({n}), got {k}")
    return int(k)


def first_non_finite(x: NDArray[Any]) -> tuple[int, int] | None:
    """Row and column of the first NaN or infinity in ``x`` (n, dim), None if there is none."""
    step = max(1, _BLOCK_VALUES // x.shape[1])
    for start in range(0, len(x), step):
        block = x[start : start + step]
        # A sum is finite only if every term is, except for overflow: then look closely.
        with np.errstate(over="ignore", invalid="ignore"):
            total = block.sum()
        if np.isfinite(total):
            continue
        bad = ~np.isfinite(block)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            return start + int(row), int(column)
    return None


def _refuse_non_finite(x: Floats, name: str) -> None:
    # Squares sum to a finite number only if every value is finite.
    if x.size <= _FEW_VALUES and isfinite(np.vdot(x, x)):
        return
    if (found := first_non_finite(x)) is not None:
        row, column = found
        raise InputError(
            f"{name} hold {x[row, column]} at row {row}, dimension {column}; "
            "drop or repair that row"
        )
