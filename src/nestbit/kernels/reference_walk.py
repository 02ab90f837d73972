"""The walk over a graph in plain Python: what the native one must equal, row by row."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit.kernels.graph_walk import Factors, FineRows, integer_weights
from nestbit.kernels.reference import _cells, cells_tables
from nestbit.kernels.walk_queries import CellBooks, FloatQueries, Rounded

# How many rows are chosen before one is expanded, and how many have their neighbours' numbers read
# before one has their codes scored.
AHEAD = 2
MET_AHEAD = 2


def round_queries(cells: CellBooks, queries: FloatQueries) -> Rounded:
    """What queries in float become; see `nestbit.kernels.walk_queries`."""
    _, tables, scale, base = cells_tables(queries.coordinates, *cells)
    gain = np.float32(queries.gain)
    scales, bases = gain * scale, gain * base
    if queries.weights is None or queries.fine_bias is None:
        return Rounded(tables, scales, bases, None, None, queries.bias)
    weights, steps = integer_weights(queries.weights)
    bases = (bases + queries.bias) - queries.fine_bias
    return Rounded(tables, scales, bases, weights, gain * steps, queries.fine_bias)


def walk(
    neighbours: NDArray[np.uint32],
    entries: NDArray[np.uint32],
    codes: NDArray[np.uint8],
    tables: NDArray[np.uint8],
    scale: float,
    base: float,
    k: int,
    *,
    beam: int,
    room: int,
    starts: int,
    factors: Factors | None = None,
    fine: FineRows | None = None,
    weights: NDArray[np.int16] | None = None,
    fine_scale: float = 1.0,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[list[int], list[np.float32], int, int]:
    """Return ids and scores of one query with ``tables`` (cells, 16 or 256), and both counts.

    Each row is scored once, by the visit that meets it.
    """
    terms = factors or Factors()
    score = _scores(codes, tables, scale, base, terms)
    may = np.ones(len(codes), np.bool_) if allowed is None else allowed
    held: list[tuple[np.float32, int]] = []  # minus score, row: sorted as a walk prefers them
    expanded: set[int] = set()
    best: list[tuple[np.float32, int]] = []
    scored = len(entries)
    order = sorted(range(len(entries)), key=lambda i: (-score[entries[i]], i))
    met: set[int] = set()

    def counting() -> int:
        return sum(may[row] for _, row in held)

    def full() -> bool:
        return len(held) == room or counting() == beam

    def hold(rows: list[int]) -> None:
        held.extend((-score[row], row) for row in rows)
        held.sort()
        while (
            len(held) > room or counting() > beam or (counting() == beam and not may[held[-1][1]])
        ):
            held.pop()

    def good(rows: list[int]) -> list[int]:
        return [row for row in rows if not full() or (-score[row], row) < held[-1]]

    first = [int(entries[i]) for i in order[:starts]]
    first = [row for i, row in enumerate(first) if row not in first[:i]]
    met.update(first)
    hold(first)
    chosen: deque[int] = deque()
    waiting: deque[tuple[int, list[int]]] = deque()
    done = 0
    while True:
        while len(chosen) < AHEAD:
            left = [row for _, row in held if row not in expanded]
            if not left:
                break
            expanded.add(left[0])
            chosen.append(left[0])
        if not chosen and not waiting:
            break
        if chosen:
            row = chosen.popleft()
            around = neighbours[row].tolist()
            around = around[: around.index(row)] if row in around else around
            around = list(dict.fromkeys(r for r in around if r not in met))
            met.update(around)
            waiting.append((row, around))
            if len(waiting) < MET_AHEAD:
                continue
        row, around = waiting.popleft()
        done += 1
        scored += len(around)
        hold(good(around))
        if fine is not None and may[row]:
            assert weights is not None
            best.append((-_fine_score(fine, row, weights, fine_scale), row))
    found = sorted(best) if fine is not None else [key for key in held if may[key[1]]]
    return [row for _, row in found[:k]], [-s for s, _ in found[:k]], scored, done


def _scores(
    codes: NDArray[np.uint8],
    tables: NDArray[np.uint8],
    scale: float,
    base: float,
    factors: Factors,
) -> NDArray[np.float32]:
    """Scores (n,) as `nestbit.kernels.reference.cells_scan` rounds them."""
    cells = _cells(codes, tables.shape[1])
    sums = tables[np.arange(cells.shape[1]), cells].sum(axis=1, dtype=np.int64)
    scores = sums.astype(np.float32) * np.float32(scale) + np.float32(base)
    if factors.scale is not None:
        scores = scores * factors.scale.astype(np.float32)
    if factors.bias is not None:
        scores = scores + factors.bias
    total: NDArray[np.float32] = scores + np.float32(0)
    return total


def _fine_score(fine: FineRows, row: int, weights: NDArray[Any], scale: float) -> np.float32:
    dot = int(fine.rows[row].astype(np.int64) @ weights.astype(np.int64))
    score = np.float32(dot) * np.float32(scale)
    if fine.bias is not None:
        score = score + fine.bias[row]
    return np.float32(score + np.float32(0))
