"""What a codec makes of embeddings before they walk, in one call of the native module."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestbit import _native
from nestbit.errors import InputError
from nestbit.kernels import Floats, _matrix, _threads
from nestbit.kernels.graph_walk import CodeGraph, Walked, in_parts
from nestbit.kernels.walk_queries import CellBooks, FloatQueries, round_queries, walk_floats

__all__ = ["Bytes", "Coordinates", "QueryMap", "walk_rows"]


class Coordinates(NamedTuple):
    """Coordinates over cells of a query without ``mean`` (dim,), if that is taken off.

    ``rows`` (r, dim) are what it is multiplied with, or the signs (rounds, r) of a rotation, see
    `nestbit.kernels.rotation.hadamard`.
    """

    mean: Floats
    rows: Floats
    rotated: bool
    centred: bool


class Bytes(NamedTuple):
    """A level of bytes, whose codes stand for ``offset`` + ``step`` · code, (dim,) each."""

    offset: Floats
    step: Floats


class QueryMap:
    """Embeddings (m, dim) become queries over ``cells``, and over a finer level of ``bytes``.

    ``unit`` scales them to length 1 first, all-zero ones excepted; ``squared`` makes scores minus
    squared distances, else they are inner products. Each query is mapped by itself: what comes
    with it makes no difference.
    """

    def __init__(
        self,
        cells: CellBooks,
        coordinates: Coordinates,
        fine: Bytes | None = None,
        *,
        unit: bool = False,
        squared: bool = False,
    ) -> None:
        """Raises `InputError` for another dtype or shape."""
        mean, rows, rotated, centred = coordinates
        offset, step = (None, None) if fine is None else map(np.ascontiguousarray, fine)
        try:
            self.native = _native.QueryMap(
                unit,
                squared,
                centred,
                np.ascontiguousarray(mean),
                np.ascontiguousarray(rows),
                rotated,
                np.ascontiguousarray(cells.first),
                np.ascontiguousarray(cells.width),
                np.ascontiguousarray(cells.books),
                offset,
                step,
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"these arrays make no map of queries: {error}") from None
        self.cells = cells
        self._gain = 2.0 if squared else 1.0

    def floats(self, queries: Any, *, threads: int | None = None) -> FloatQueries:
        """What queries (m, dim) float32 become; raises `InputError` for another dtype or shape."""
        rows = np.ascontiguousarray(_matrix(queries, "queries", np.float32))
        try:
            found = self.native.floats(rows, _threads(threads))
        except ValueError as error:
            raise InputError(str(error)) from None
        coordinates, bias, weights, fine_bias = found
        return FloatQueries(coordinates, bias, self._gain, weights, fine_bias)


def walk_rows(
    graph: CodeGraph,
    mapping: QueryMap,
    queries: NDArray[np.float32],
    k: int,
    *,
    beam: int,
    room: int | None = None,
    starts: int = 4,
    mask: Any = None,
    offset: int = 0,
    threads: int | None = None,
    finish: int = 0,
) -> Walked:
    """What `nestbit.kernels.walk_queries.walk_floats` finds for what a map makes of queries.

    With ``finish`` so many rows, k to ``beam``, are kept of each query, and ordered anew by the
    level of `CodeGraph.finish_by`. Raises `InputError` as it does.
    """
    among = beam if mask is None else 4 * beam if room is None else room
    m = len(queries)
    # One query is one thread's work.
    count = 1 if threads is None and m == 1 else _threads(threads)

    def walk(some: slice | None) -> Walked:
        rows = queries if some is None else queries[some]
        ids, scores, counts = graph.native.search_rows(
            mapping.native, rows, k, beam, among, starts, count, mask, offset, "", finish
        )
        return Walked(ids, scores, counts[:, 0], counts[:, 1])

    try:
        return in_parts(m, walk)
    except IndexError as error:
        raise InputError(str(error)) from None
    except (TypeError, ValueError) as error:
        # What the native module refused is told, or made contiguous.
        floats = mapping.floats(queries)
        if finish:
            round_queries(mapping.cells, floats)
            raise InputError(str(error).splitlines()[0]) from None
        return walk_floats(
            graph, mapping.cells, floats, k, beam=beam, room=room, starts=starts, mask=mask,
            offset=offset, threads=threads,
        )  # fmt: skip
