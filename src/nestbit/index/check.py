"""Verification of an index: every byte of its segments, and the catalog against them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import numpy as np

from nestbit.errors import FileFormatError
from nestbit.index.catalog import Catalog, check_catalog
from nestbit.index.codec_file import load_codec
from nestbit.index.id_column import IdColumn
from nestbit.index.records import attachment_crc32
from nestbit.index.segment import Segment
from nestbit.index.snapshot import Snapshot

_IDS_AT_ONCE = 1 << 14


def check_index(catalog: Catalog, snapshot: Snapshot, progress: Callable[[int], object]) -> None:
    """Raise `FileFormatError` naming every fault that is found.

    ``progress`` is called with the bytes of each block of a segment that was read.
    """
    faults: list[str] = []
    with catalog.read() as connection:
        try:
            check_catalog(connection, catalog.path)
            faults += _pages(connection)
            faults += _attachments(connection)
            faults += _rows(connection, snapshot)
        except FileFormatError as error:
            faults.append(str(error))
        except sqlite3.DatabaseError as error:
            faults.append(f"{catalog.path} is altered: {error}")
    for segment in snapshot.segments:
        try:
            segment.verify(progress)
        except (FileFormatError, OSError) as error:
            faults.append(str(error))
    for entry in snapshot.files.values():
        try:
            load_codec(snapshot.directory, entry)
        except (FileFormatError, OSError) as error:
            faults.append(str(error))
    if faults:
        raise FileFormatError("; ".join(faults))


def _pages(connection: sqlite3.Connection) -> list[str]:
    found = [text for (text,) in connection.execute("PRAGMA integrity_check")]
    return [] if found == ["ok"] else [f"the catalog is altered: {text}" for text in found[:10]]


def _attachments(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT id, document, metadata, crc32 FROM rows"
    faults = []
    for id_, document, metadata, crc32 in connection.execute(query):
        has_none = document is None and metadata is None
        if crc32 != (None if has_none else attachment_crc32(document, metadata)):
            faults.append(f"the catalog is altered: document or metadata of id {id_!r}")
    return faults[:10]


def _ids(connection: sqlite3.Connection, segment: Segment, ids: IdColumn) -> list[str]:
    """A segment must call its rows as the catalog does."""
    query = "SELECT row, id FROM rows WHERE row BETWEEN ? AND ? ORDER BY row"
    found = connection.execute(query, (segment.entry.first_row, segment.entry.last_row))
    done = 0
    while entries := found.fetchmany(_IDS_AT_ONCE):
        here = ids.at(np.arange(done, done + len(entries))).tolist()
        for (row, id_), other in zip(entries, here, strict=True):
            if id_ != other:
                return [f"{segment.path} has the id {other!r} for row {row}, the catalog {id_!r}"]
        done += len(entries)
    return []


def _rows(connection: sqlite3.Connection, snapshot: Snapshot) -> list[str]:
    """Segments must hold exactly the rows that have an entry."""
    faults = []
    query = "SELECT count(*) FROM rows WHERE row BETWEEN ? AND ?"
    total = 0
    for segment in snapshot.segments:
        entry = segment.entry
        (n,) = connection.execute(query, (entry.first_row, entry.last_row)).fetchone()
        total += n
        if n != len(segment):
            faults.append(f"{segment.path} has {len(segment)} rows, the catalog {n} of them")
        elif segment.ids is not None:
            faults += _ids(connection, segment, segment.ids)
    (every,) = connection.execute(
        "SELECT count(*) FROM rows WHERE row <= ?", (snapshot.last_row,)
    ).fetchone()
    (live,) = connection.execute("SELECT count(*) FROM rows WHERE deleted IS NULL").fetchone()
    (counted,) = connection.execute("SELECT value FROM state WHERE key = 'live'").fetchone()
    if every != total:
        faults.append(f"the catalog has {every} rows, the segments {total}")
    if live != counted:
        faults.append(f"the catalog counts {counted} live rows and has {live}")
    return faults
