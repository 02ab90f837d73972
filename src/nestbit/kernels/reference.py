"""The kernels in plain NumPy: what the native ones must return, bit for bit for the scans."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Bytes = NDArray[Any]


def hamming_scan(
    rows: Bytes, queries: Bytes, k: int, *, threads: int | None = None
) -> tuple[Ids, NDArray[np.int32]]:
    """Return the k rows of least Hamming distance to each query; see `nestbit.kernels`."""
    del threads
    row_bits = np.unpackbits(rows, axis=1)
    query_bits = np.unpackbits(queries, axis=1)
    distances = np.array([(row_bits != bits).sum(axis=1) for bits in query_bits], dtype=np.int32)
    distances = distances.reshape(len(queries), len(rows))
    ids = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return ids.astype(np.int64), np.take_along_axis(distances, ids, axis=1)


def bits_scan(
    rows: Bytes,
    weights: NDArray[np.int8],
    k: int,
    *,
    scales: Floats | None = None,
    row_bias: Floats | None = None,
    threads: int | None = None,
) -> tuple[Ids, Floats]:
    """Return the k rows whose ones have the largest weighted sum; see `nestbit.kernels`."""
    del threads
    bits = np.unpackbits(rows, axis=1, count=weights.shape[1])
    return _best(weights.astype(np.int64) @ bits.T.astype(np.int64), k, scales, row_bias)


def bytes_scan(
    rows: Bytes,
    weights: NDArray[np.int8],
    k: int,
    *,
    scales: Floats | None = None,
    row_bias: Floats | None = None,
    threads: int | None = None,
) -> tuple[Ids, Floats]:
    """Return the k rows of largest dot product with each query; see `nestbit.kernels`."""
    del threads
    return _best(weights.astype(np.int64) @ rows.T.astype(np.int64), k, scales, row_bias)


def cells_scan(
    rows: Bytes,
    tables: NDArray[np.uint8],
    k: int,
    *,
    scales: Floats | None = None,
    bases: Floats | None = None,
    row_scale: NDArray[Any] | None = None,
    row_bias: Floats | None = None,
    threads: int | None = None,
) -> tuple[Ids, Floats]:
    """Return the k rows whose cells look up the largest sums; see `nestbit.kernels`."""
    del threads
    cells = _cells(rows, tables)
    columns = np.arange(cells.shape[1])
    sums = [table[columns, cells].sum(axis=1, dtype=np.int64) for table in tables]
    dots = np.array(sums, dtype=np.int64).reshape(len(tables), len(rows))
    return _best(dots, k, scales, row_bias, bases=bases, row_scale=row_scale)


def bits_rescore(rows: Bytes, ids: Ids, weights: Floats, *, threads: int | None = None) -> Floats:
    """Return the weighted sums of the ones of the chosen rows; see `nestbit.kernels`."""
    del threads
    return _rescore(np.unpackbits(rows, axis=1, count=weights.shape[1]), ids, weights)


def bytes_rescore(rows: Bytes, ids: Ids, weights: Floats, *, threads: int | None = None) -> Floats:
    """Return the dot products with the chosen rows; see `nestbit.kernels`."""
    del threads
    return _rescore(rows, ids, weights)


def cells_rescore(rows: Bytes, ids: Ids, tables: Floats, *, threads: int | None = None) -> Floats:
    """Return the sums of the tables at the cells of the chosen rows; see `nestbit.kernels`."""
    del threads
    cells = _cells(rows, tables)
    columns = np.arange(cells.shape[1])
    sums = [
        table[columns, cells[chosen]].sum(axis=1, dtype=np.float64)
        for table, chosen in zip(tables, ids, strict=True)
    ]
    return np.array(sums, dtype=np.float32).reshape(ids.shape)


def floats_rescore(rows: Bytes, ids: Ids, weights: Floats, *, threads: int | None = None) -> Floats:
    """Return the dot products with the chosen rows; see `nestbit.kernels`."""
    del threads
    if rows.dtype == np.uint16:  # bfloat16 is the upper half of a float32
        rows = (rows.astype(np.uint32) << 16).view(np.float32)
    return _rescore(rows, ids, weights)


def _cells(rows: Bytes, tables: NDArray[Any]) -> Bytes:
    """Return the cells of rows (n, width): bytes, or the low and the high half of each."""
    if tables.shape[2] == 256:
        return rows
    return np.stack([rows & 15, rows >> 4], axis=2).reshape(len(rows), -1)


def _best(
    dots: NDArray[np.int64],
    k: int,
    scales: Floats | None,
    row_bias: Floats | None,
    *,
    bases: Floats | None = None,
    row_scale: NDArray[Any] | None = None,
) -> tuple[Ids, Floats]:
    with np.errstate(over="ignore"):
        scores = dots.astype(np.int32).astype(np.float32)
        if scales is not None:
            scores = scores * scales[:, None]
        if bases is not None:
            scores = scores + bases[:, None]
        if row_scale is not None:
            scores = scores * row_scale.astype(np.float32)
        if row_bias is not None:
            scores = scores + row_bias
    scores = scores + np.float32(0)  # -0 becomes 0
    # A stable sort keeps equal scores in the order of their ids.
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return ids.astype(np.int64), np.take_along_axis(scores, ids, axis=1)


def _rescore(rows: NDArray[Any], ids: Ids, weights: Floats) -> Floats:
    chosen = rows[ids].astype(np.float64)
    sums: NDArray[np.float64] = np.einsum("mcd,md->mc", chosen, weights.astype(np.float64))
    return sums.astype(np.float32)
