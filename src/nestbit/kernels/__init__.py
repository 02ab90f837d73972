"""The scans, rescorings and encoders every search is made of, checked here and run natively.

Rows are ``(n, width)`` arrays, possibly views with a row stride (``codes[:, :width]``). Packed
bits are in `numpy.packbits` order. Cells have four bits: byte j of a row holds cell 2j in its low
half and cell 2j + 1 in its high half; wide cells have eight, a byte each, and tables of 256 values.
Results are best first; ties go to the smaller id. Every function releases the GIL and uses
``threads`` threads, by default the CPUs this process may use or the environment variable
``NESTBIT_THREADS``.

A scan finds any of the n rows, or only some: those whose bit in ``mask`` is 1, uint8
(ceil(n / 8),) as ``numpy.packbits(allowed, bitorder="little")`` makes it, and of these only the
rows in one of ``ranges`` [start, stop), int64 (p, 2), sorted and apart. With ``visits``, uint8
(p, ceil(m / 8)), query q finds those of range i alone where bit q % 8 of visits[i, q // 8] is 1;
a range is read once for all its queries. Where fewer than k rows may be found, the columns that are
left have id -1 and score -inf (distance 2**31 - 1). The scores are those of a scan of all rows.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit import _native
from nestbit._arrays import check_k
from nestbit.errors import InputError
from nestbit.kernels.allowed import check_allowed, check_visits

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

__all__ = [
    "MAX_DIM",
    "available_isas",
    "bits_rescore",
    "bits_scan",
    "bytes_encode",
    "bytes_rescore",
    "bytes_scan",
    "cells_decode",
    "cells_encode",
    "cells_rescore",
    "cells_scan",
    "cells_tables",
    "default_threads",
    "floats_rescore",
    "hamming_scan",
    "isa",
    "thread_count",
]

# 255 * 127 * 65536 < 2**31: no int32 sum of a scan can overflow, nor can that of 65536 cells.
MAX_DIM = 65536
_MAX_ROWS = 2**32 - 1


def hamming_scan(
    rows: Any,
    queries: Any,
    k: int,
    *,
    mask: Any = None,
    ranges: Any = None,
    visits: Any = None,
    threads: int | None = None,
) -> tuple[Ids, NDArray[np.int32]]:
    """Return ids and Hamming distances, both (m, k), of the k nearest rows of each query.

    ``rows`` (n, width) and ``queries`` (m, width) are packed bits, uint8. Raises `InputError`
    for another dtype or shape, rows beyond 65,536 bits, k outside 1..n, or ranges out of order.
    """
    rows = _matrix(rows, "rows", np.uint8)
    queries = _matrix(queries, "queries", np.uint8, columns=rows.shape[1])
    _check_size(rows, 8 * rows.shape[1])
    k = check_k(k, len(rows))
    mask, ranges = check_allowed(mask, ranges, len(rows))
    visits = check_visits(visits, ranges, len(queries))
    return _native.hamming_scan(rows, queries, k, _threads(threads), mask, ranges, visits)


def bits_scan(
    rows: Any,
    weights: Any,
    k: int,
    *,
    scales: Any = None,
    row_bias: Any = None,
    mask: Any = None,
    ranges: Any = None,
    visits: Any = None,
    threads: int | None = None,
) -> tuple[Ids, Floats]:
    """Return ids and scores, both (m, k), of the k rows whose ones weigh most.

    score = scale_q * sum_d weight_qd * bit_rd + row_bias_r, the sum exact, the rest float32.
    ``rows`` (n, ceil(dim / 8)) are packed bits, ``weights`` (m, dim) int8 in -127..127,
    ``scales`` (m,) and ``row_bias`` (n,) float32, by default 1 and 0. Raises `InputError` for
    another dtype or shape, a weight of -128, dim beyond 65,536, k outside 1..n, or ranges out
    of order.
    """
    rows = _matrix(rows, "rows", np.uint8)
    weights = _weights(weights)
    _check_width(rows, weights.shape[1])
    _check_size(rows, weights.shape[1])
    k = check_k(k, len(rows))
    mask, ranges = check_allowed(mask, ranges, len(rows))
    visits = check_visits(visits, ranges, len(weights))
    scales = _factors(scales, "scales", len(weights))
    row_bias = _factors(row_bias, "row_bias", len(rows), ranges=ranges)
    return _native.bits_scan(
        rows, weights, k, scales, row_bias, _threads(threads), mask, ranges, visits
    )


def bytes_scan(
    rows: Any,
    weights: Any,
    k: int,
    *,
    scales: Any = None,
    row_bias: Any = None,
    mask: Any = None,
    ranges: Any = None,
    visits: Any = None,
    threads: int | None = None,
) -> tuple[Ids, Floats]:
    """Return ids and scores, both (m, k), of the k rows with the largest dot product.

    score = scale_q * sum_d weight_qd * row_rd + row_bias_r, the sum exact, the rest float32.
    ``rows`` (n, dim) are int8 or uint8, ``weights`` (m, dim) int8 in -127..127, ``scales``
    (m,) and ``row_bias`` (n,) float32, by default 1 and 0. Raises `InputError` for another
    dtype or shape, a weight of -128, dim beyond 65,536, k outside 1..n, or ranges out of
    order.
    """
    rows = _matrix(rows, "rows", np.int8, np.uint8)
    weights = _weights(weights, columns=rows.shape[1])
    _check_size(rows, rows.shape[1])
    k = check_k(k, len(rows))
    mask, ranges = check_allowed(mask, ranges, len(rows))
    visits = check_visits(visits, ranges, len(weights))
    scales = _factors(scales, "scales", len(weights))
    row_bias = _factors(row_bias, "row_bias", len(rows), ranges=ranges)
    return _native.bytes_scan(
        rows, weights, k, scales, row_bias, _threads(threads), mask, ranges, visits
    )


def cells_scan(
    rows: Any,
    tables: Any,
    k: int,
    *,
    scales: Any = None,
    bases: Any = None,
    row_scale: Any = None,
    row_bias: Any = None,
    mask: Any = None,
    ranges: Any = None,
    visits: Any = None,
    threads: int | None = None,
    finite: bool = False,
) -> tuple[Ids, Floats]:
    """Return ids and scores, both (m, k), of the k rows whose cells look up the largest sums.

    score = row_scale_r * (scale_q * sum_c table_qc[cell_rc] + base_q) + row_bias_r, the sum
    exact, the rest float32, rounded after every operation. ``rows`` (n, width) and ``tables``
    (m, 2 * width, 16), or of wide cells (m, width, 256), are uint8; ``scales`` and ``bases``
    (m,) and ``row_bias`` (n,) float32, by default 1, 0 and 0; ``row_scale`` (n,) float16 or
    float32, by default 1. The factors of the rows that may be found have to be finite;
    ``finite`` tells that they are, which saves the look. Raises `InputError` for another dtype or
    shape, more than 65,536 cells, k outside 1..n, or ranges out of order.
    """
    rows = _matrix(rows, "rows", np.uint8)
    tables = _tables(tables, np.uint8, rows.shape[1])
    _check_size(rows, tables.shape[1])
    k = check_k(k, len(rows))
    mask, ranges = check_allowed(mask, ranges, len(rows))
    visits = check_visits(visits, ranges, len(tables))
    scales = _factors(scales, "scales", len(tables))
    bases = _factors(bases, "bases", len(tables))
    n, known = len(rows), np.empty((0, 2), np.int64) if finite else ranges
    row_scale = _factors(row_scale, "row_scale", n, np.float16, np.float32, ranges=known)
    row_bias = _factors(row_bias, "row_bias", n, ranges=known)
    return _native.cells_scan(
        rows, tables, k, scales, bases, row_scale, row_bias, _threads(threads), mask, ranges, visits
    )


def bytes_encode(
    z: Any, offset: Any, inverse: Any, dtype: type, *, threads: int | None = None
) -> tuple[NDArray[Any], int]:
    """Return codes (n, dim) of rows ``z`` (n, dim) in 256 steps, and how many were clipped.

    The codes are rint((z - offset) * inverse) in float32, ties to even, clipped to what
    ``dtype``, int8 or uint8, holds. ``offset`` and ``inverse`` (dim,) are float32. Raises
    `InputError` for another dtype or shape.
    """
    z = _matrix(z, "z", np.float32)
    offset = _factors(offset, "offset", z.shape[1])
    inverse = _factors(inverse, "inverse", z.shape[1])
    if offset is None or inverse is None or np.dtype(dtype) not in (np.int8, np.uint8):
        raise InputError(f"bytes need an offset, an inverse and int8 or uint8, got {dtype}")
    signed = np.dtype(dtype) == np.int8
    codes, clipped = _native.bytes_encode(z, offset, inverse, signed, _threads(threads))
    return codes.view(dtype), clipped


def cells_encode(
    z: Any,
    first: Any,
    width: Any,
    centroids: Any,
    decoded: Any,
    *,
    threads: int | None = None,
) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """Return codes of rows ``z`` (n, r), and (n,) each ⟨ẑ, z⟩ and ‖ẑ‖² of the decoded rows ẑ.

    Cell c covers the coordinates first[c] to first[c] + width[c], int32 arrays (cells,).
    ``centroids`` (16 or 256, sum of widths) float32 hold the cells side by side, ``decoded``
    what each decodes to. One cell after another picks the first centroid of largest
    z·c - |c|²/2 and leaves z - c to later cells that overlap it. The codes are (n, cells) bytes
    for 256 centroids; for 16 there are two cells to a byte. All float32, every score and sum a
    chain of fused multiply-adds over the coordinates in order, a score from -|c|²/2 on. Raises
    `InputError` for another dtype or shape, or a cell outside the coordinates.
    """
    z = _matrix(z, "z", np.float32)
    first, width = _ranges(first, width, z.shape[1])
    centroids = _books(centroids, "centroids", width)
    decoded = _books(decoded, "decoded", width)
    if decoded.shape != centroids.shape:
        raise InputError(f"decoded must have shape {centroids.shape}, got {decoded.shape}")
    codes, sums = _native.cells_encode(z, first, width, centroids, decoded, _threads(threads))
    return codes, sums[0], sums[1]


def cells_decode(
    codes: Any, first: Any, width: Any, decoded: Any, r: int, *, threads: int | None = None
) -> Floats:
    """Return the rows (n, r) that ``codes`` of `cells_encode` decode to, cell after cell.

    Raises `InputError` for another dtype or shape, or a cell outside the r coordinates.
    """
    first, width = _ranges(first, width, r)
    decoded = _books(decoded, "decoded", width)
    n_bytes = -(-len(width) // 2) if len(decoded) == 16 else len(width)
    codes = _matrix(codes, "codes", np.uint8, columns=n_bytes)
    return _native.cells_decode(codes, first, width, decoded, r, _threads(threads))


def cells_tables(
    z: Any, first: Any, width: Any, books: Any, *, threads: int | None = None
) -> tuple[Floats, NDArray[np.uint8], Floats, Floats]:
    """Return the tables of queries ``z`` (m, r) over cells, in float and rounded to 8 bits.

    ``books`` (sum of widths, 16 or 256) float32 are what the centroids of cells as in
    `cells_encode` decode to, transposed. The tables (m, cells, 16 or 256) are the inner products
    of the queries with them, each a chain of fused multiply-adds over the coordinates in order.
    Then, for `cells_scan`, come the nearest whole numbers of (table - least) / scale, uint8; the
    scale (m,), the largest range of a cell's table / 255; and the base (m,), the sum of the
    cells' least values. Of 16 centroids there is an even number of tables, an odd one out zero.
    Raises `InputError` for another dtype or shape, a cell outside the coordinates, or tables
    beyond float32.
    """
    z = _matrix(z, "z", np.float32)
    books = np.ascontiguousarray(_matrix(books, "books", np.float32))
    # One query is one thread's work.
    count = 1 if threads is None and len(z) == 1 else _threads(threads)
    try:
        tables, rounded, scale, base = _native.cells_tables(z, first, width, books, count)
    except (TypeError, ValueError):
        # The native module has checked all; what it refused is told here.
        isa()
        first, width = _ranges(first, width, z.shape[1])
        _books(books.T, "books, transposed,", width)
        raise
    if not (_native.all_finite(scale) and _native.all_finite(base)):
        query = int(np.argmin(np.isfinite(scale) & np.isfinite(base)))
        raise InputError(f"the products with query {query} are not finite or beyond float32")
    return tables, rounded, scale, base


def bits_rescore(rows: Any, ids: Any, weights: Any, *, threads: int | None = None) -> Floats:
    """Return (m, c) sums of the float32 weights (m, dim) of the ones of the rows ids picks.

    ``rows`` (n, ceil(dim / 8)) are packed bits, ``ids`` (m, c) int64. Raises `InputError` for
    another dtype or shape, or an id outside 0..n-1.
    """
    rows = _matrix(rows, "rows", np.uint8)
    weights = _float_weights(weights)
    _check_width(rows, weights.shape[1])
    return _native.bits_rescore(
        rows, _ids(ids, len(weights), len(rows)), weights, _threads(threads)
    )


def bytes_rescore(rows: Any, ids: Any, weights: Any, *, threads: int | None = None) -> Floats:
    """Return (m, c) dot products of the float32 weights (m, dim) with the rows ids picks.

    ``rows`` (n, dim) are int8 or uint8, ``ids`` (m, c) int64. Raises `InputError` for another
    dtype or shape, or an id outside 0..n-1.
    """
    rows = _matrix(rows, "rows", np.int8, np.uint8)
    weights = _float_weights(weights, columns=rows.shape[1])
    return _native.rescore(rows, _ids(ids, len(weights), len(rows)), weights, _threads(threads))


def cells_rescore(rows: Any, ids: Any, tables: Any, *, threads: int | None = None) -> Floats:
    """Return (m, c) sums of the tables' values at the cells of the rows ids picks.

    ``rows`` (n, width) are uint8, ``tables`` (m, 2 * width, 16), or of wide cells
    (m, width, 256), float32, ``ids`` (m, c) int64. Raises `InputError` for another dtype or
    shape, or an id outside 0..n-1.
    """
    rows = _matrix(rows, "rows", np.uint8)
    tables = _tables(tables, np.float32, rows.shape[1])
    if not _native.all_finite(tables.reshape(-1)):
        query = int(np.argwhere(~np.isfinite(tables))[0, 0])
        raise InputError(f"tables hold NaN or infinity for query {query}")
    return _native.cells_rescore(rows, _ids(ids, len(tables), len(rows)), tables, _threads(threads))


def floats_rescore(rows: Any, ids: Any, weights: Any, *, threads: int | None = None) -> Floats:
    """Return (m, c) dot products of the float32 weights (m, dim) with the rows ids picks.

    ``rows`` (n, dim) are float16, float32, or bfloat16 as uint16; ``ids`` (m, c) int64. Raises
    `InputError` for another dtype or shape, or an id outside 0..n-1.
    """
    rows = _matrix(rows, "rows", np.float16, np.float32, np.uint16)
    weights = _float_weights(weights, columns=rows.shape[1])
    return _native.rescore(rows, _ids(ids, len(weights), len(rows)), weights, _threads(threads))


def isa() -> str:
    """Return the name of the instruction set in use (``NESTBIT_ISA`` forces one)."""
    try:
        return _native.isa()
    except ValueError as error:
        raise InputError(str(error)) from None


def available_isas() -> tuple[str, ...]:
    """Return the names of the instruction sets this machine can run, plainest first."""
    return tuple(_native.available_isas())


def default_threads() -> int:
    """Return the number of threads used when none is asked for; raises `InputError`."""
    text = os.environ.get("NESTBIT_THREADS", "")
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise InputError(f"NESTBIT_THREADS must be a whole number from 1 up, got {text!r}")
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(threads: int | None) -> int:
    """Return ``threads``, or their default where it is None; raises `InputError`."""
    return _threads(threads)


def _threads(threads: int | None) -> int:
    isa()  # refuses a bad NESTBIT_ISA before any kernel does
    if threads is None:
        return default_threads()
    whole = isinstance(threads, int | np.integer) and not isinstance(threads, bool)
    if not whole or threads < 1:
        raise InputError(f"threads must be a whole number from 1 up, got {threads!r}")
    return int(threads)


def _matrix(x: Any, name: str, *dtypes: type, columns: int | None = None) -> NDArray[Any]:
    """Return a two-dimensional view or, where the last axis is strided, a copy."""
    array = np.asarray(x)
    if array.ndim != 2 or array.dtype not in [np.dtype(dtype) for dtype in dtypes]:
        known = " or ".join(np.dtype(dtype).name for dtype in dtypes)
        raise InputError(
            f"{name} must be a two-dimensional {known} array, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if array.shape[1] == 0:
        raise InputError(f"{name} have no columns: shape {array.shape}")
    if columns is not None and array.shape[1] != columns:
        raise InputError(f"{name} must have {columns} columns, got shape {array.shape}")
    contiguous = array.strides[1] == array.itemsize or array.shape[1] == 1
    whole_strides = array.strides[0] % array.itemsize == 0
    return array if contiguous and whole_strides else np.ascontiguousarray(array)


def _weights(x: Any, *, columns: int | None = None) -> NDArray[np.int8]:
    weights = _matrix(x, "weights", np.int8, columns=columns)
    if weights.size and weights.min() == -128:
        row = int(np.argwhere(weights == -128)[0, 0])
        raise InputError(f"weights must be in -127..127, found -128 in row {row}; clip to -127")
    return weights


def _float_weights(x: Any, *, columns: int | None = None) -> Floats:
    weights = np.ascontiguousarray(_matrix(x, "weights", np.float32, columns=columns))
    if not _native.all_finite(weights.reshape(-1)):
        row = int(np.argwhere(~np.isfinite(weights))[0, 0])
        raise InputError(f"weights hold NaN or infinity in row {row}")
    return weights


def _tables(x: Any, dtype: type, width: int) -> NDArray[Any]:
    tables = np.asarray(x)
    shapes = (2 * width, 16), (width, 256)
    if tables.dtype != dtype or tables.ndim != 3 or tables.shape[1:] not in shapes:
        raise InputError(
            f"tables must be a {np.dtype(dtype).name} array of shape (m, {2 * width}, 16), or "
            f"(m, {width}, 256) of wide cells, for rows of {width} bytes, "
            f"got {tables.dtype} of shape {tables.shape}"
        )
    return np.ascontiguousarray(tables)


def _ranges(first: Any, width: Any, r: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    first, width = np.ascontiguousarray(first), np.ascontiguousarray(width)
    int32 = first.dtype == width.dtype == np.int32
    if not int32 or first.ndim != 1 or first.shape != width.shape or len(first) == 0:
        raise InputError(
            f"first and width must be int32 arrays of one shape (cells,), got {first.dtype} of "
            f"shape {first.shape} and {width.dtype} of shape {width.shape}"
        )
    outside = (first < 0) | (width < 1) | (first.astype(np.int64) + width > r)
    if outside.any():
        cell = int(np.argmax(outside))
        raise InputError(
            f"cell {cell} of {width[cell]} coordinates from {first[cell]} on is not inside {r}"
        )
    return first, width


def _books(x: Any, name: str, width: NDArray[np.int32]) -> Floats:
    columns = int(width.sum(dtype=np.int64))
    books = np.ascontiguousarray(_matrix(x, name, np.float32, columns=columns))
    if len(books) not in (16, 256):
        raise InputError(f"{name} must have 16 or 256 rows, got shape {books.shape}")
    return books


def _factors(
    x: Any, name: str, n: int, *dtypes: type, ranges: Ids | None = None
) -> NDArray[Any] | None:
    """Check factors (n,); only those in the ranges for finite values, so that a scan of few rows
    reads few factors.
    """
    if x is None:
        return None
    array = np.asarray(x)
    allowed = [np.dtype(dtype) for dtype in dtypes or (np.float32,)]
    if array.dtype not in allowed or array.shape != (n,):
        known = " or ".join(dtype.name for dtype in allowed)
        raise InputError(
            f"{name} must be a {known} array of shape ({n},), "
            f"got {array.dtype} of shape {array.shape}"
        )
    array = np.ascontiguousarray(array)
    if not _native.all_finite(array, ranges):
        raise InputError(f"{name} hold NaN or infinity at {int(np.argmin(np.isfinite(array)))}")
    return array


def _ids(x: Any, m: int, n: int) -> Ids:
    ids = np.asarray(x)
    if ids.dtype != np.int64 or ids.ndim != 2 or len(ids) != m:
        raise InputError(
            f"ids must be an int64 array of shape ({m}, c), got {ids.dtype} of shape {ids.shape}"
        )
    # Unsigned, a negative id is beyond all rows.
    if ids.size and not ids.view(np.uint64).max() < n:
        bad = ids[(ids < 0) | (ids >= n)][0]
        raise InputError(f"ids must be between 0 and {n - 1}, got {bad}")
    return np.ascontiguousarray(ids)


def _check_width(rows: NDArray[Any], dim: int) -> None:
    if rows.shape[1] != (dim + 7) // 8:
        raise InputError(
            f"rows must be {(dim + 7) // 8} bytes wide for {dim} dimensions, got {rows.shape[1]}"
        )


def _check_size(rows: NDArray[Any], dim: int) -> None:
    if dim > MAX_DIM:
        raise InputError(f"a scan takes at most {MAX_DIM} dimensions, got {dim}")
    if len(rows) > _MAX_ROWS:
        raise InputError(f"a scan takes at most {_MAX_ROWS} rows, got {len(rows)}; scan in parts")
