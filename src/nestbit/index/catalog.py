"""The catalog: one SQLite file that says which rows, segments and codecs the index consists of.

Write-ahead logging, so that readers of any process go on while a change is made; every commit is
synced. Rows get ascending numbers that are never used again and that compaction leaves alone. A
row that is deleted or replaced keeps its entry, marked with the generation that deleted it, until
compaction drops it from its segment: older snapshots still find it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nestbit.errors import FileFormatError, InputError
from nestbit.index.sqlite_errors import named_errors

NAME = "catalog.sqlite"
APPLICATION_ID = 0x6E657374  # "nest"
FORMAT_VERSION = 2
# What a catalog without graphs is written as, so that older versions go on reading it.
_PLAIN_VERSION = 1

# From so many rows on, opening a few partitions beats reading everything several times over.
DEFAULT_PARTITION_ROWS = 200_000

# A reader waits only while a crashed writer's log is recovered or a last one removed.
_BUSY_SECONDS = 30.0

# Connections that came along in a fork, kept so that nothing closes them.
_OF_PARENTS: list[Any] = []

_SCHEMA = """
CREATE TABLE state (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE codecs (
    codec INTEGER PRIMARY KEY, file TEXT NOT NULL, header_crc32 INTEGER NOT NULL
);
CREATE TABLE segments (
    file TEXT PRIMARY KEY, codec INTEGER NOT NULL, first_row INTEGER NOT NULL,
    last_row INTEGER NOT NULL, n INTEGER NOT NULL, nbytes INTEGER NOT NULL,
    header_crc32 INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE rows (
    row INTEGER PRIMARY KEY, id NOT NULL, deleted INTEGER,
    document TEXT, metadata TEXT, crc32 INTEGER
);
CREATE UNIQUE INDEX live_ids ON rows (id) WHERE deleted IS NULL;
CREATE INDEX dead_rows ON rows (deleted) WHERE deleted IS NOT NULL;
"""
_GRAPHS = """
CREATE TABLE graphs (
    segment TEXT PRIMARY KEY, file TEXT NOT NULL, nbytes INTEGER NOT NULL,
    header_crc32 INTEGER NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class State:
    """The index in numbers and options.

    ``generation`` counts changes. ``horizon`` is the newest generation whose deletions have been
    dropped from the catalog: a snapshot older than it is out of date. Compaction partitions
    segments from ``partition_rows`` rows on; None, never of its own accord. ``profile`` and
    ``memory_mb`` decide on graphs (see `nestbit.index.profiles`).
    """

    generation: int
    horizon: int
    next_row: int
    live: int
    id_kind: str | None
    spec: str
    metric: str
    dim: int | None
    model: str | None
    seed: int
    fit_rows: int | None
    fields: tuple[str, ...]
    # Of indexes made before there were partitions the catalog does not tell.
    partition_rows: int | None = DEFAULT_PARTITION_ROWS
    # Nor, of those made before there were graphs, this.
    profile: str = "memory"
    memory_mb: float | None = None


@dataclass(frozen=True)
class SegmentEntry:
    """What the catalog knows of a segment; rows ``first_row`` to ``last_row``, both included."""

    file: str
    codec: int
    first_row: int
    last_row: int
    n: int
    nbytes: int
    header_crc32: int


@dataclass(frozen=True)
class GraphEntry:
    """What the catalog knows of the graph of a segment, whose file it names."""

    segment: str
    file: str
    nbytes: int
    header_crc32: int


@dataclass(frozen=True)
class CodecEntry:
    """What the catalog knows of a codec's file."""

    file: str
    header_crc32: int


class Change:
    """A transaction under way: the connection, the new generation, and the state to be stored."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.state = read_state(connection)
        self.generation = self.state.generation + 1
        self._updates: dict[str, Any] = {"generation": self.generation}

    def set(self, **values: Any) -> None:
        """Set fields of the state."""
        self._updates |= values

    def add_segment(self, entry: SegmentEntry) -> None:
        """Make a segment part of the index."""
        self.connection.execute(
            "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(vars(entry).values())
        )

    def add_graph(self, entry: GraphEntry) -> None:
        """Make a graph that of its segment; from the first one on the format is the newer one."""
        if not _has_graphs(self.connection):
            self.connection.execute(_GRAPHS)
            self.connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        values = tuple(vars(entry).values())
        self.connection.execute("INSERT OR REPLACE INTO graphs VALUES (?, ?, ?, ?)", values)

    def drop_graphs(self, segments: Sequence[str]) -> None:
        """Forget the graphs of segments, by the names of their files."""
        if _has_graphs(self.connection):
            query = "DELETE FROM graphs WHERE segment = ?"
            self.connection.executemany(query, [(name,) for name in segments])

    def add_codec(self, number: int, entry: CodecEntry) -> None:
        """Make a codec the one in use."""
        values = (number, *vars(entry).values())
        self.connection.execute("INSERT INTO codecs VALUES (?, ?, ?)", values)

    def finish(self) -> None:
        """Store the state and the checksum of the small tables."""
        self.connection.executemany(
            "INSERT OR REPLACE INTO state VALUES (?, ?)", self._updates.items()
        )
        self.connection.execute(
            "INSERT OR REPLACE INTO state VALUES ('seal', ?)", (_checksum(self.connection),)
        )


class Catalog:
    """Connections to one catalog: a pool for readers, one for the writer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pool: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        self._pool_lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._writer_lock = threading.RLock()
        self._frozen: tuple[int, int] | None = None

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the catalog until the block ends."""
        with named_errors(self.path):
            connection = self._borrow()
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
                self._check_frozen()
            except BaseException:
                connection.close()
                raise
            with self._pool_lock:
                self._pool.append(connection)

    @contextmanager
    def write(self) -> Iterator[Change]:
        """A transaction, committed and synced when the block ends, undone on any exception."""
        with self._writer_lock, named_errors(self.path):
            connection = self._writing()
            connection.execute("BEGIN IMMEDIATE")
            try:
                change = Change(connection)
                yield change
                change.finish()
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close every connection; the last one of all processes folds the log into the file."""
        with self._pool_lock:
            self._forget_parent()
            pool, self._pool = self._pool, []
        with named_errors(self.path):
            for connection in pool:
                connection.close()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _writing(self) -> sqlite3.Connection:
        if self._writer is None:
            uri = f"file:{quote(str(self.path))}?mode=rw"
            self._writer = _connect(uri)
            self._writer.execute("PRAGMA synchronous = FULL")
            self._writer.execute("PRAGMA cache_size = -65536")
        return self._writer

    def _borrow(self) -> sqlite3.Connection:
        with self._pool_lock:
            self._forget_parent()
            if self._pool:
                return self._pool.pop()
        return self._reader()

    def _forget_parent(self) -> None:
        # SQLite's connections must not be used, nor closed, across a fork.
        if self._pid != os.getpid():
            _OF_PARENTS.append((self._pool, self._writer))
            self._pool, self._writer, self._pid = [], None, os.getpid()

    def _reader(self) -> sqlite3.Connection:
        if not self.path.is_file():
            raise FileFormatError(f"{self.path} is missing: {self.path.parent} is not an index")
        uri = f"file:{quote(str(self.path))}"
        connection = _connect(f"{uri}?mode=ro")
        try:
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
        except sqlite3.OperationalError as error:
            connection.close()
            # In a directory that cannot be written, SQLite cannot make the log's shared memory.
            # Without a log the file is complete, and nobody here could change it.
            denied = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CANTOPEN
            if not denied or os.access(self.path.parent, os.W_OK):
                raise
            if self._log_size():
                raise InputError(
                    f"{self.path.parent} was not closed by its last writer and cannot be written; "
                    "open it once where it can be written, or copy it there"
                ) from error
            self._frozen = self._fingerprint()
            return _connect(f"{uri}?mode=ro&immutable=1")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_frozen(self) -> None:
        if self._frozen is not None and (self._log_size() or self._fingerprint() != self._frozen):
            with self._pool_lock:
                pool, self._pool, self._frozen = self._pool, [], None
            for connection in pool:
                connection.close()
            raise InputError(
                f"{self.path} was changed while it was read from a directory that this process "
                "cannot write; try again"
            )

    def _log_size(self) -> int:
        log = self.path.with_name(self.path.name + "-wal")
        return log.stat().st_size if log.exists() else 0

    def _fingerprint(self) -> tuple[int, int]:
        stat = self.path.stat()
        return stat.st_mtime_ns, stat.st_size


def create_catalog(path: Path, state: State, codec: CodecEntry | None) -> None:
    """Make a new catalog with the given options, and a codec if there is one, and close it."""
    with named_errors(path):
        connection = _connect(f"file:{quote(str(path))}?mode=rwc")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_PLAIN_VERSION}")
            connection.executescript(_SCHEMA)
            for i, field in enumerate(state.fields):
                connection.execute(f"CREATE INDEX field_{i} ON rows ({field_sql(field)})")
            values = vars(state) | {"fields": json.dumps(state.fields)}
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO state VALUES (?, ?)", values.items())
            change = Change(connection)
            if codec is not None:
                change.add_codec(1, codec)
            change.finish()
            connection.execute("COMMIT")
        finally:
            connection.close()


def check_catalog(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `FileFormatError` unless the file is a catalog of this version whose seal is right."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise FileFormatError(f"{path} is a SQLite file, but not the catalog of an index")
    if version not in (_PLAIN_VERSION, FORMAT_VERSION):
        raise FileFormatError(
            f"{path} has format version {version}, this nestbit reads {_PLAIN_VERSION} to "
            f"{FORMAT_VERSION}; update nestbit"
        )
    row = connection.execute("SELECT value FROM state WHERE key = 'seal'").fetchone()
    if row is None or row[0] != _checksum(connection):
        raise FileFormatError(f"{path} is altered (checksum mismatch); restore it from a copy")


def read_state(connection: sqlite3.Connection) -> State:
    """The state as the connection sees it."""
    values = dict(connection.execute("SELECT key, value FROM state"))
    values.pop("seal", None)
    values["fields"] = tuple(json.loads(values["fields"]))
    return State(**values)


def read_segments(connection: sqlite3.Connection) -> list[SegmentEntry]:
    """All segments by their rows."""
    rows = connection.execute("SELECT * FROM segments ORDER BY first_row")
    return [SegmentEntry(*row) for row in rows]


def read_graphs(connection: sqlite3.Connection) -> dict[str, GraphEntry]:
    """The graphs by the files of their segments."""
    if not _has_graphs(connection):
        return {}
    return {row[0]: GraphEntry(*row) for row in connection.execute("SELECT * FROM graphs")}


def read_codecs(connection: sqlite3.Connection) -> dict[int, CodecEntry]:
    """The codecs by number; the newest is the one in use."""
    rows = connection.execute("SELECT * FROM codecs ORDER BY codec")
    return {number: CodecEntry(*entry) for number, *entry in rows}


def read_generation(connection: sqlite3.Connection) -> int:
    """Number of the last change."""
    row = connection.execute("SELECT value FROM state WHERE key = 'generation'").fetchone()
    return -1 if row is None else int(row[0])


def field_sql(field: str) -> str:
    """The SQL expression of a metadata field, the same in filters and indexes; dots descend."""
    parts = field.split(".") if isinstance(field, str) else [""]
    if not all(parts) or any('"' in part or "\x00" in part for part in parts):
        raise InputError(
            f"{field!r} is no name of a metadata field; use names without quotes, joined by dots"
        )
    path = "$" + "".join(f'."{part}"' for part in parts)
    return "json_extract(metadata, '{}')".format(path.replace("'", "''"))


def _connect(uri: str) -> sqlite3.Connection:
    # The pool hands a connection to one thread at a time, which SQLite allows.
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS
    )


def _checksum(connection: sqlite3.Connection) -> int:
    tables = [
        connection.execute("SELECT * FROM state WHERE key <> 'seal' ORDER BY key").fetchall(),
        connection.execute("SELECT * FROM codecs ORDER BY codec").fetchall(),
        connection.execute("SELECT * FROM segments ORDER BY file").fetchall(),
    ]
    if _has_graphs(connection):
        tables.append(connection.execute("SELECT * FROM graphs ORDER BY segment").fetchall())
    return zlib.crc32(repr(tables).encode())


def _has_graphs(connection: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_schema WHERE name = 'graphs'"
    return connection.execute(query).fetchone() is not None
