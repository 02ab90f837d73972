"""What a snapshot reads from the catalog: rows that pass a filter, ids, documents and metadata."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.errors import FileFormatError
from nestbit.index.catalog import Catalog
from nestbit.index.filters import compile_filter
from nestbit.index.numbering import Rows
from nestbit.index.parts import Part, only
from nestbit.index.records import Id, Record, id_array
from nestbit.index.snapshot import Snapshot

T = TypeVar("T")

# What a snapshot sees of the catalog: rows deleted later are there, rows added later are not.
_VISIBLE = "row <= ? AND (deleted IS NULL OR deleted > ?)"

_HORIZON = "SELECT value FROM state WHERE key = 'horizon'"


class StaleSnapshotError(Exception):
    """Rows of the snapshot were dropped from the catalog; a newer one must be loaded."""


def passing(
    catalog: Catalog, snapshot: Snapshot, where: Mapping[str, Any] | None
) -> tuple[Part, ...]:
    """The rows whose metadata pass the filter ``where``; all without a filter."""
    if where is None:
        return snapshot.parts
    condition, parameters = compile_filter(where)
    key = json.dumps([condition, parameters])
    return snapshot.kept(
        key,
        lambda: only(snapshot.segments, _passing_rows(catalog, snapshot, condition, parameters)),
    )


def _passing_rows(
    catalog: Catalog, snapshot: Snapshot, condition: str, parameters: Sequence[Any]
) -> Rows:
    query = f"SELECT row FROM rows WHERE {_VISIBLE} AND {condition}"
    with _reading(catalog, snapshot) as connection:
        found = connection.execute(query, (*_moment(snapshot), *parameters))
        return np.sort(np.fromiter((row for (row,) in found), np.int64))


def ids_of(catalog: Catalog, snapshot: Snapshot, rows: Rows) -> NDArray[Any]:
    """Ids of row numbers (c,), in their order: int64, or Python strings in an object array."""
    ids = snapshot.ids_of(rows)
    if ids is not None:
        return ids
    query = "SELECT row, id FROM rows WHERE row IN (SELECT value FROM json_each(?))"
    unique, inverse = np.unique(rows, return_inverse=True)
    listed = unique.tolist()
    with _reading(catalog, snapshot) as connection:
        by_row = dict(connection.execute(query, (json.dumps(listed),)))
    return id_array(_in_order(by_row, listed, catalog), snapshot.state.id_kind)[inverse]


def records_of(catalog: Catalog, snapshot: Snapshot, rows: Rows) -> list[Record]:
    """Records of row numbers, in their order, without embeddings."""
    query = (
        "SELECT row, id, document, metadata FROM rows WHERE row IN (SELECT value FROM json_each(?))"
    )
    with _reading(catalog, snapshot) as connection:
        found = connection.execute(query, (json.dumps(rows.tolist()),))
        by_row = {row: _record(*rest) for row, *rest in found}
    return _in_order(by_row, rows.tolist(), catalog)


def rows_of(catalog: Catalog, snapshot: Snapshot, ids: Sequence[Id]) -> dict[Id, int]:
    """Row numbers of those of the ids that the snapshot has."""
    wanted = json.dumps(ids)
    listed = "id IN (SELECT value FROM json_each(?))"
    live = f"SELECT id, row FROM rows WHERE deleted IS NULL AND row <= ? AND {listed}"
    # Unary plus keeps SQLite to the index of the few rows that were deleted since.
    dead = f"SELECT id, row FROM rows WHERE deleted > ? AND row <= ? AND +{listed}"
    with _reading(catalog, snapshot) as connection:
        last, generation = _moment(snapshot)
        found = dict(connection.execute(live, (last, wanted)))
        found |= dict(connection.execute(dead, (generation, last, wanted)))
    return found


def next_rows(catalog: Catalog, snapshot: Snapshot, after: int, count: int) -> Rows:
    """The ``count`` row numbers that follow ``after`` in the snapshot."""
    query = f"SELECT row FROM rows WHERE row > ? AND {_VISIBLE} ORDER BY row LIMIT ?"
    with _reading(catalog, snapshot) as connection:
        found = connection.execute(query, (after, *_moment(snapshot), count))
        return np.fromiter((row for (row,) in found), np.int64)


def embeddings_of(snapshot: Snapshot, rows: Rows) -> Floats:
    """Reconstructions (len(rows), dim) of row numbers, by the finest level of each."""
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    dim = snapshot.state.dim or 0
    found = np.empty((len(rows), dim), np.float32)
    for segment in snapshot.segments:
        first, last = np.searchsorted(
            ascending, (segment.entry.first_row, segment.entry.last_row + 1)
        )
        if last > first:
            places = segment.places(ascending[first:last])
            by_place = np.argsort(places)
            codes = segment.codes_at(places[by_place])
            found[order[first:last][by_place]] = segment.codec.decode(codes)
    return found


def _in_order(by_row: Mapping[int, T], rows: Sequence[int], catalog: Catalog) -> list[T]:
    try:
        return [by_row[row] for row in rows]
    except KeyError as error:
        raise FileFormatError(
            f"{catalog.path} lacks row {error} of a segment; restore the index from a copy"
        ) from error


def _record(id_: Id, document: str | None, metadata: str | None) -> Record:
    return Record(id_, document, None if metadata is None else json.loads(metadata))


def _moment(snapshot: Snapshot) -> tuple[int, int]:
    return snapshot.last_row, snapshot.generation


@contextmanager
def _reading(catalog: Catalog, snapshot: Snapshot) -> Iterator[sqlite3.Connection]:
    """A view of the catalog in which every row of the snapshot still has its entry."""
    with catalog.read() as connection:
        row = connection.execute(_HORIZON).fetchone()
        if row is None or row[0] > snapshot.generation:
            raise StaleSnapshotError
        yield connection
