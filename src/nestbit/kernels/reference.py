"""The kernels in plain NumPy: what the native ones must return, bit for bit for the scans."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Bytes = NDArray[Any]


def hamming_scan(
    rows: Bytes,
    queries: Bytes,
    k: int,
    *,
    mask: Bytes | None = None,
    ranges: Ids | None = None,
    threads: int | None = None,
) -> tuple[Ids, NDArray[np.int32]]:
    """Return the k rows of least Hamming distance to each query; see `nestbit.kernels`."""
    del threads
    row_bits = np.unpackbits(rows, axis=1)
    query_bits = np.unpackbits(queries, axis=1)
    distances = np.array([(row_bits != bits).sum(axis=1) for bits in query_bits], dtype=np.int32)
    distances = distances.reshape(len(queries), len(rows))
    none = np.iinfo(np.int32).max
    ids = np.argsort(distances, axis=1, kind="stable")
    return _first(ids, distances, k, _allowed(len(rows), mask, ranges), none)


def bits_scan(
    rows: Bytes,
    weights: NDArray[np.int8],
    k: int,
    *,
    scales: Floats | None = None,
    row_bias: Floats | None = None,
    mask: Bytes | None = None,
    ranges: Ids | None = None,
    threads: int | None = None,
) -> tuple[Ids, Floats]:
    """Return the k rows whose ones have the largest weighted sum; see `nestbit.kernels`."""
    del threads
    bits = np.unpackbits(rows, axis=1, count=weights.shape[1])
    dots = weights.astype(np.int64) @ bits.T.astype(np.int64)
    return _best(dots, k, scales, row_bias, _allowed(len(rows), mask, ranges))


def bytes_scan(
    rows: Bytes,
    weights: NDArray[np.int8],
    k: int,
    *,
    scales: Floats | None = None,
    row_bias: Floats | None = None,
    mask: Bytes | None = None,
    ranges: Ids | None = None,
    threads: int | None = None,
) -> tuple[Ids, Floats]:
    """Return the k rows of largest dot product with each query; see `nestbit.kernels`."""
    del threads
    dots = weights.astype(np.int64) @ rows.T.astype(np.int64)
    return _best(dots, k, scales, row_bias, _allowed(len(rows), mask, ranges))


def cells_scan(
    rows: Bytes,
    tables: NDArray[np.uint8],
    k: int,
    *,
    scales: Floats | None = None,
    bases: Floats | None = None,
    row_scale: NDArray[Any] | None = None,
    row_bias: Floats | None = None,
    mask: Bytes | None = None,
    ranges: Ids | None = None,
    threads: int | None = None,
) -> tuple[Ids, Floats]:
    """Return the k rows whose cells look up the largest sums; see `nestbit.kernels`."""
    del threads
    cells = _cells(rows, tables.shape[2])
    columns = np.arange(cells.shape[1])
    sums = [table[columns, cells].sum(axis=1, dtype=np.int64) for table in tables]
    dots = np.array(sums, dtype=np.int64).reshape(len(tables), len(rows))
    allowed = _allowed(len(rows), mask, ranges)
    return _best(dots, k, scales, row_bias, allowed, bases=bases, row_scale=row_scale)


def bytes_encode(
    z: Floats, offset: Floats, inverse: Floats, dtype: type, *, threads: int | None = None
) -> tuple[Bytes, int]:
    """Return the rounded and clipped bytes, and how many were clipped; see `nestbit.kernels`."""
    del threads
    levels = np.rint((z - offset) * inverse)
    clipped = np.clip(levels, np.iinfo(dtype).min, np.iinfo(dtype).max)
    return clipped.astype(dtype), int((levels != clipped).sum())


def cells_encode(
    z: Floats,
    first: NDArray[np.int32],
    width: NDArray[np.int32],
    centroids: Floats,
    decoded: Floats,
    *,
    threads: int | None = None,
) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """Return codes of the rows, and ⟨ẑ, z⟩ and ‖ẑ‖² of each; see `nestbit.kernels`."""
    del threads
    left, sums = z.copy(), np.zeros_like(z)
    chosen = np.zeros((len(z), len(first)), np.uint8)
    end = 0
    for cell, (start, size) in enumerate(zip(first, width, strict=True)):
        book, values = centroids[:, end : end + size], decoded[:, end : end + size]
        end += size
        squares = np.zeros(len(book))
        for column in book.T.astype(np.float64):
            squares += column * column
        scores = np.tile((-squares / 2).astype(np.float32), (len(z), 1))
        for k in range(size):
            scores = _fma(left[:, start + k, None], book[None, :, k], scores)
        chosen[:, cell] = scores.argmax(axis=1)
        left[:, start : start + size] -= book[chosen[:, cell]]
        sums[:, start : start + size] += values[chosen[:, cell]]
    along, length2 = np.zeros(len(z), np.float32), np.zeros(len(z), np.float32)
    for k in range(z.shape[1]):
        along = _fma(sums[:, k], z[:, k], along)
        length2 = _fma(sums[:, k], sums[:, k], length2)
    if len(centroids) == 256:
        return chosen, along, length2
    padded = np.pad(chosen, [(0, 0), (0, chosen.shape[1] % 2)])
    return np.ascontiguousarray(padded[:, ::2] | (padded[:, 1::2] << 4)), along, length2


def cells_decode(
    codes: Bytes,
    first: NDArray[np.int32],
    width: NDArray[np.int32],
    decoded: Floats,
    r: int,
    *,
    threads: int | None = None,
) -> Floats:
    """Return the sums of the decoded centroids of the codes; see `nestbit.kernels`."""
    del threads
    chosen = _cells(codes, len(decoded))
    rows = np.zeros((len(codes), r), np.float32)
    end = 0
    for cell, (start, size) in enumerate(zip(first, width, strict=True)):
        rows[:, start : start + size] += decoded[chosen[:, cell], end : end + size]
        end += size
    return rows


def cells_tables(
    z: Floats,
    first: NDArray[np.int32],
    width: NDArray[np.int32],
    books: Floats,
    *,
    threads: int | None = None,
) -> tuple[Floats, Bytes, Floats, Floats]:
    """Return the tables of the queries, float and rounded; see `nestbit.kernels`."""
    del threads
    k = books.shape[1]
    count = len(first) + len(first) % 2 if k == 16 else len(first)
    tables = np.zeros((len(z), count, k), np.float32)
    column = 0
    for cell, (start, size) in enumerate(zip(first, width, strict=True)):
        for coordinate in range(start, start + size):
            table = tables[:, cell]
            tables[:, cell] = _fma(z[:, coordinate, None], books[None, column], table)
            column += 1
    low = tables.min(axis=2, keepdims=True)
    scale = (tables - low).max(axis=(1, 2), initial=0) / np.float32(255)
    steps = (tables - low) / np.where(scale > 0, scale, np.float32(1))[:, None, None]
    # A running sum adds the cells in order.
    base = np.cumsum(low[:, :, 0], axis=1, dtype=np.float64)[:, -1]
    rounded = np.rint(np.minimum(steps, 255)).astype(np.uint8)
    return tables, rounded, scale, base.astype(np.float32)


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
    cells = _cells(rows, tables.shape[2])
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


def _fma(x: Floats, y: Floats, z: Floats) -> Floats:
    """Return x * y + z, rounded once.

    The product is exact in float64. A sum rounded to odd, which keeps that it was inexact, has
    bits enough to be rounded to float32 as the exact sum would be (Boldo and Melquiond 2008).
    """
    product = x.astype(np.float64) * y.astype(np.float64)
    addend = z.astype(np.float64)
    total = product + addend
    part = total - product
    error = (product - (total - part)) + (addend - part)
    even = (total.view(np.int64) & 1) == 0
    towards = np.where(error > 0, np.inf, -np.inf)
    return np.where((error != 0) & even, np.nextafter(total, towards), total).astype(np.float32)


def _cells(rows: Bytes, centroids: int) -> Bytes:
    """Return the cells of rows (n, width): bytes, or the low and the high half of each."""
    if centroids == 256:
        return rows
    halves = np.stack([rows & 15, rows >> 4], axis=2)
    return halves.reshape(len(rows), 2 * rows.shape[1])


def _allowed(n: int, mask: Bytes | None, ranges: Ids | None) -> NDArray[np.bool_]:
    allowed = np.ones(n, np.bool_)
    if mask is not None:
        allowed &= np.unpackbits(mask, count=n, bitorder="little") == 1
    if ranges is not None:
        inside = np.zeros(n, np.bool_)
        for start, stop in ranges:
            inside[start:stop] = True
        allowed &= inside
    return allowed


def _first(
    ids: Ids, values: NDArray[Any], k: int, allowed: NDArray[np.bool_], none: float
) -> tuple[Ids, NDArray[Any]]:
    """Return the first k allowed ids of each row and their values, padded with -1 and ``none``."""
    found = np.full((len(ids), k), -1, np.int64)
    best = np.full((len(ids), k), none, values.dtype)
    for q, row in enumerate(ids):
        kept = row[allowed[row]][:k]
        found[q, : len(kept)], best[q, : len(kept)] = kept, values[q, kept]
    return found, best


def _best(
    dots: NDArray[np.int64],
    k: int,
    scales: Floats | None,
    row_bias: Floats | None,
    allowed: NDArray[np.bool_],
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
    return _first(np.argsort(-scores, axis=1, kind="stable"), scores, k, allowed, -np.inf)


def _rescore(rows: NDArray[Any], ids: Ids, weights: Floats) -> Floats:
    chosen = rows[ids].astype(np.float64)
    sums: NDArray[np.float64] = np.einsum("mcd,md->mc", chosen, weights.astype(np.float64))
    return sums.astype(np.float32)


# Half-widths of RaBitQ's grid to try, in standard deviations of the row's coordinates.
_REACHES = (3.0, 1.6, 1.9, 2.2, 2.5, 2.8, 3.4, 3.9)


def top_k(ids: Ids, scores: Floats, k: int) -> tuple[Ids, Floats]:
    """Return per row the k best by score, then smaller id; see `nestbit.kernels.floats`."""
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)


def hadamard(
    x: Floats, signs: Floats, *, inverse: bool = False, threads: int | None = None
) -> Floats:
    """Return the rows rotated; see `nestbit.kernels.rotation`."""
    del threads
    rounds, r = signs.shape
    window = 1 << (r.bit_length() - 1)
    scale = np.float32(1) / np.sqrt(np.float32(window))
    rows = np.pad(x, ((0, 0), (0, r - x.shape[1])))
    for k in reversed(range(rounds)) if inverse else range(rounds):
        part = slice(r - window, r) if k % 2 else slice(0, window)
        mixed = window < r and k % 2
        if not inverse:
            rows = rows * signs[k]
        elif mixed:
            rows = _halves(rows)
        rows[:, part] = _walsh(rows[:, part]) * scale
        if inverse:
            rows = rows * signs[k]
        elif mixed:
            rows = _halves(rows)
    return rows


def rabitq_encode(
    z: Floats, bits: int, *, threads: int | None = None
) -> tuple[Bytes, Floats, Floats]:
    """Return codes of the rows, and ⟨ẑ, z⟩ and ‖ẑ‖² of each; see `nestbit.kernels.rotation`."""
    del threads
    n, r = z.shape
    points = np.float32(1 << bits)
    spread = np.sqrt(_lanes_sum(z * z) / np.float32(r))
    spread = np.where(spread > 0, spread, np.float32(1))
    chosen, found = np.zeros((n, r), np.uint8), np.zeros((3, n), np.float32)
    for t, reach in enumerate(_REACHES[: 1 if bits == 1 else None]):
        inverse = points / (np.float32(2) * np.float32(reach) * spread)
        at = np.clip(z * inverse[:, None] + points / 2, 0, points - np.float32(0.5))
        code = at.astype(np.uint8)
        point = code - (points - 1) / 2
        along, length2 = _lanes_sum(point * z), _lanes_sum(point * point)
        cosine = along / np.sqrt(length2)
        better = (cosine > found[0]) | (t == 0)
        chosen[better] = code[better]
        found[:, better] = np.stack([cosine, along, length2])[:, better]
    places = np.array([1, 2, 4, 8], np.uint8)
    fours = chosen.reshape(n, r // 4, 4)
    planes = [((fours >> p) & 1) @ places for p in reversed(range(bits))]
    cells = np.stack(planes, axis=2).reshape(n, -1).astype(np.uint8)
    cells = np.pad(cells, [(0, 0), (0, cells.shape[1] % 2)])
    return cells[:, ::2] | (cells[:, 1::2] << 4), found[1], found[2]


def _walsh(x: Floats) -> Floats:
    """The transform of the columns, step by step as the kernels do it."""
    n = x.shape[1]
    h = 1
    while h < n:
        pairs = x.reshape(len(x), -1, 2, h)
        a, b = pairs[:, :, 0], pairs[:, :, 1]
        x = np.stack([a + b, a - b], axis=2).reshape(len(x), n)
        h *= 2
    return x


def _halves(x: Floats) -> Floats:
    half = x.shape[1] // 2
    a, b = x[:, :half], x[:, x.shape[1] - half :]
    middle = x[:, half : x.shape[1] - half]
    root = np.float32(np.sqrt(0.5))
    return np.concatenate([(a + b) * root, middle, (a - b) * root], axis=1)


def _lanes_sum(x: Floats) -> Floats:
    """Sums (n,) of rows as 16 running sums add them up, and these by halves."""
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % 16))).reshape(len(x), -1, 16)
    lanes = np.zeros((len(x), 16), np.float32)
    for k in range(padded.shape[1]):
        lanes = lanes + padded[:, k]
    for h in (8, 4, 2, 1):
        lanes = lanes[:, :h] + lanes[:, h : 2 * h]
    return lanes[:, 0]
