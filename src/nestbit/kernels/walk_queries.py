"""Walks for queries in float: these are rounded, and walk, in one call of the native module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestbit import _native
from nestbit.errors import InputError
from nestbit.kernels import Floats, _factors, _float_weights, _matrix, _threads, cells_tables, isa
from nestbit.kernels.graph_walk import CodeGraph, Walked, in_parts

__all__ = ["CellBooks", "FloatQueries", "Rounded", "round_queries", "walk_floats"]

_Arguments = tuple[
    Floats,
    NDArray[np.int32],
    NDArray[np.int32],
    Floats,
    Floats,
    float,
    Floats | None,
    Floats | None,
]


class CellBooks(NamedTuple):
    """Cells and what their centroids decode to, as `nestbit.kernels.cells_tables` takes them."""

    first: NDArray[np.int32]
    width: NDArray[np.int32]
    books: Floats


class FloatQueries(NamedTuple):
    """Queries whose scores are ``gain`` times an inner product, plus a bias (m,) of each level.

    ``coordinates`` (m, r) are over cells, ``weights`` (m, dim) over a finer level's values, all
    float32; without a finer level its weights and bias are None.
    """

    coordinates: Floats
    bias: Floats
    gain: float = 1.0
    weights: Floats | None = None
    fine_bias: Floats | None = None

    def at(self, some: slice) -> FloatQueries:
        """Some of them."""
        weights = None if self.weights is None else self.weights[some]
        fine_bias = None if self.fine_bias is None else self.fine_bias[some]
        return FloatQueries(self.coordinates[some], self.bias[some], self.gain, weights, fine_bias)


@dataclass(frozen=True)
class Rounded:
    """Queries as walks take them, see `CodeGraph.walk`, and ``bias`` (m,) that all scores lack."""

    tables: NDArray[np.uint8]
    scales: Floats
    bases: Floats
    weights: NDArray[np.int16] | None
    fine_scales: Floats | None
    bias: Floats


def round_queries(
    cells: CellBooks, queries: FloatQueries, *, threads: int | None = None
) -> Rounded:
    """Round queries to the tables and weights that codes are scored with.

    scales and bases are ``gain`` times those of `cells_tables`. With a finer level ``bias`` is
    added to the bases, and ``fine_bias`` taken off, which leaves that for all scores: so rows
    scored by the one level compare with rows scored by the other. Its weights are those of
    `integer_weights`. Raises `InputError` for another dtype or shape, a cell outside the
    coordinates, or what is not finite or beyond float32.
    """
    try:
        found = _native.round_queries(*_arguments(cells, queries), _count(queries, threads))
    except (TypeError, ValueError):
        # The native module has checked all: what it refused is told, or made contiguous.
        checked = _checked(cells, queries)
        try:
            found = _native.round_queries(*checked, _count(queries, threads))
        except ValueError as error:
            raise InputError(str(error)) from None
    return Rounded(*found)


def walk_floats(
    graph: CodeGraph,
    cells: CellBooks,
    queries: FloatQueries,
    k: int,
    *,
    beam: int,
    room: int | None = None,
    starts: int = 4,
    mask: Any = None,
    offset: int = 0,
    threads: int | None = None,
) -> Walked:
    """What a walk finds for queries as `round_queries` rounds them; see `CodeGraph.walk`.

    Scores have the queries' bias, and ids count from ``offset`` on. Raises `InputError` as these
    two do.
    """
    count = _count(queries, threads)
    among = beam if mask is None else 4 * beam if room is None else room

    def walk(some: slice | None) -> Walked:
        part = queries if some is None else queries.at(some)
        ids, scores, counts = graph.native.search(
            *_arguments(cells, part), k, beam, among, starts, count, mask, offset
        )
        return Walked(ids, scores, counts[:, 0], counts[:, 1])

    try:
        return in_parts(len(queries.coordinates), walk)
    except (TypeError, ValueError):
        rounded = round_queries(cells, queries, threads=threads)
        found = graph.walk(
            rounded.tables, rounded.scales, rounded.bases, k, beam=beam, room=room, starts=starts,
            weights=rounded.weights, fine_scales=rounded.fine_scales, mask=mask, threads=threads,
        )  # fmt: skip
        ids = np.where(found.ids < 0, found.ids, found.ids + offset)
        return Walked(ids, found.scores + rounded.bias[:, None], found.scored, found.expanded)
    except IndexError as error:
        raise InputError(str(error)) from None


def _arguments(cells: CellBooks, queries: FloatQueries) -> _Arguments:
    coordinates, bias, gain, weights, fine_bias = queries
    first, width, books = cells
    return coordinates, first, width, books, bias, gain, weights, fine_bias


def _count(queries: FloatQueries, threads: int | None) -> int:
    # One query is one thread's work.
    return 1 if threads is None and len(queries.coordinates) == 1 else _threads(threads)


def _checked(cells: CellBooks, queries: FloatQueries) -> _Arguments:
    """The arguments made contiguous; raises `InputError` for what cannot be."""
    isa()
    z = _matrix(queries.coordinates, "queries", np.float32)
    m = len(z)
    cells_tables(z, *cells)
    first, width = np.ascontiguousarray(cells.first), np.ascontiguousarray(cells.width)
    books = np.ascontiguousarray(cells.books)
    bias, fine_bias = _factors(queries.bias, "bias", m), _factors(queries.fine_bias, "fine_bias", m)
    weights = queries.weights
    if bias is None or (weights is None) != (fine_bias is None):
        raise InputError("queries need a bias, and one for the finer level if they have weights")
    if weights is not None:
        weights = _float_weights(weights)
        if len(weights) != m:
            raise InputError(f"weights must have {m} rows, got shape {weights.shape}")
    return z, first, width, books, bias, queries.gain, weights, fine_bias
