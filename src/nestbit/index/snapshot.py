"""A snapshot: one generation of an index, as a set of open segments."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit.codecs import Codec
from nestbit.errors import FileFormatError
from nestbit.index.catalog import (
    Catalog,
    CodecEntry,
    SegmentEntry,
    State,
    check_catalog,
    read_codecs,
    read_generation,
    read_graphs,
    read_segments,
    read_state,
)
from nestbit.index.codec_file import load_codec
from nestbit.index.numbering import Rows
from nestbit.index.parts import Part, all_but
from nestbit.index.segment import DIRECTORY, Segment

# Segments in the float32 of their rows, from before the codec was fitted, have this codec.
FLOAT_CODEC = 0
# A file named by the catalog may vanish in a compaction before it is opened; then the catalog has
# a newer state. So many compactions cannot end within one opening.
_ATTEMPTS = 20
# A filter's rows are kept for its next use, a bit for each row of the index.
_FILTERS_KEPT = 16


@dataclass(frozen=True)
class Snapshot:
    """Segments in the order of their rows, their codecs, and the sorted numbers of dead rows."""

    directory: Path
    state: State
    files: Mapping[int, CodecEntry]
    codecs: Mapping[int, Codec]
    segments: tuple[Segment, ...]
    dead: Rows
    _kept: dict[str, tuple[Part, ...]] = field(default_factory=dict)
    _kept_lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def generation(self) -> int:
        """Number of the change that made this snapshot."""
        return self.state.generation

    @property
    def last_row(self) -> int:
        """Rows beyond this one are of later changes."""
        return self.state.next_row - 1

    @property
    def codec(self) -> Codec | None:
        """The codec in use; None until it is fitted."""
        number = max(self.codecs, default=FLOAT_CODEC)
        return None if number == FLOAT_CODEC else self.codecs[number]

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All rows that are alive."""
        return all_but(self.segments, self.dead)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Place of each segment's first row among all rows, and their number at the end."""
        return np.cumsum([0, *map(len, self.segments)])

    def row_numbers(self, places: Rows) -> Rows:
        """Row numbers of places among all rows."""
        if len(self.segments) == 1:
            return self.segments[0].row_numbers(places)
        rows = np.empty(places.shape, np.int64)
        owner = np.searchsorted(self.offsets, places, side="right") - 1
        for s in np.unique(owner):
            mine = owner == s
            rows[mine] = self.segments[s].row_numbers(places[mine] - self.offsets[s])
        return rows

    def ids_of(self, rows: Rows) -> NDArray[Any] | None:
        """Ids of row numbers; None where a segment that has some of them keeps no ids."""
        if len(self.segments) == 1:
            return self.segments[0].ids_of(rows)
        kind = np.int64 if self.state.id_kind == "int" else object
        ids = np.empty(rows.shape, kind)
        owner = np.searchsorted([s.entry.last_row for s in self.segments], rows)
        for s in np.unique(owner):
            mine = owner == s
            found = self.segments[s].ids_of(rows[mine])
            if found is None:
                return None
            ids[mine] = found
        return ids

    def kept(self, key: str, make: Callable[[], tuple[Part, ...]]) -> tuple[Part, ...]:
        """What ``make`` gives, kept for the next use of a filter in place of the oldest."""
        with self._kept_lock:
            parts = self._kept.get(key)
        if parts is None:
            parts = make()
            with self._kept_lock:
                self._kept[key] = parts
                while len(self._kept) > _FILTERS_KEPT:
                    self._kept.pop(next(iter(self._kept)))
        return parts


def load_snapshot(
    directory: Path, catalog: Catalog, pinned: bool, previous: Snapshot | None = None
) -> Snapshot:
    """The newest snapshot; what ``previous`` has open and unchanged is taken from it.

    Raises `FileFormatError` for a missing, truncated, altered or foreign file.
    """
    for _ in range(_ATTEMPTS):
        with catalog.read() as connection:
            if previous is not None and previous.generation == read_generation(connection):
                return previous
            check_catalog(connection, catalog.path)
            state = read_state(connection)
            entries, files = read_segments(connection), read_codecs(connection)
            graphs = read_graphs(connection)
            dead = _dead_rows(connection, entries, previous)
        try:
            codecs = _codecs(directory, files, state, previous)
            before = () if previous is None else previous.segments
            open_ones = {(s.entry, s.graph_entry): s for s in before}
            segments = tuple(
                open_ones.get((entry, graphs.get(entry.file)))
                or Segment(directory, entry, codecs[entry.codec], pinned, graphs.get(entry.file))
                for entry in entries
            )
        except FileNotFoundError as error:
            with catalog.read() as connection:
                if read_generation(connection) != state.generation:
                    continue
            raise FileFormatError(
                f"{error.filename} is missing; restore the index from a copy"
            ) from error
        except KeyError as error:
            raise FileFormatError(f"{catalog.path} lacks the codec {error}") from error
        return Snapshot(directory, state, files, codecs, segments, dead)
    raise FileFormatError(f"{directory / DIRECTORY} loses files faster than they can be opened")


def _dead_rows(
    connection: sqlite3.Connection, entries: Sequence[SegmentEntry], previous: Snapshot | None
) -> Rows:
    known, since = np.empty(0, np.int64), -1
    # Without a compaction in between, all rows that were dead are dead.
    if previous is not None and {s.entry for s in previous.segments} <= set(entries):
        known, since = previous.dead, previous.generation
    query = "SELECT row FROM rows WHERE deleted IS NOT NULL AND deleted > ?"
    found = np.fromiter((row for (row,) in connection.execute(query, (since,))), np.int64)
    return np.sort(np.concatenate([known, found]))


def _codecs(
    directory: Path, files: Mapping[int, CodecEntry], state: State, previous: Snapshot | None
) -> dict[int, Codec]:
    codecs = {} if previous is None else dict(previous.codecs)
    if state.dim is not None and FLOAT_CODEC not in codecs:
        codecs[FLOAT_CODEC] = Codec("float32", metric=state.metric, dim=state.dim)
    for number, entry in files.items():
        if number not in codecs:
            codecs[number] = load_codec(directory, entry)
    return codecs
