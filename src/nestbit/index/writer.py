"""Changes to an index. Each is one transaction of the catalog, after its files are synced.

A change is acknowledged when its transaction has committed. Files of a change that was cut short
are named by no catalog; the next writer removes them.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import Floats, as_embeddings
from nestbit.codecs import DEFAULT_SAMPLE, Codec, Codes
from nestbit.errors import InputError
from nestbit.index.catalog import (
    Catalog,
    Change,
    GraphEntry,
    SegmentEntry,
    State,
    read_codecs,
    read_graphs,
    read_segments,
)
from nestbit.index.codec_file import codec_path, save_codec
from nestbit.index.id_column import IdColumn
from nestbit.index.lock import WriterLock
from nestbit.index.lookup import embeddings_of
from nestbit.index.numbering import Rows
from nestbit.index.records import Id, as_ids, attachments
from nestbit.index.segment import DIRECTORY
from nestbit.index.segment_writer import SegmentWriter
from nestbit.index.snapshot import FLOAT_CODEC, Snapshot
from nestbit.kernels import default_threads

# A codec is fitted when this many rows, and this many for each dimension, have come.
_FIT_ROWS = 2000
_FIT_ROWS_PER_DIM = 4
# Embeddings are encoded in blocks of about this many values.
_BLOCK_VALUES = 1 << 22
_BURY = "UPDATE rows SET deleted = ? WHERE id = ? AND deleted IS NULL"


class Writer:
    """The one handle that changes an index; raises `LockedError` where there is another."""

    def __init__(self, directory: Path, catalog: Catalog) -> None:
        self._directory, self._catalog = directory, catalog
        self._lock = WriterLock(directory)
        try:
            self._sweep()
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Let the next writer in."""
        self._lock.release()

    def check_process(self) -> None:
        """Raise `InputError` in a process forked from the one that holds the lock."""
        if os.getpid() != self._lock.pid:
            raise InputError(
                f"this handle of {self._directory} writes in process {self._lock.pid}; "
                "open another one after the fork"
            )

    def put(
        self,
        snapshot: Snapshot,
        ids: Iterable[Any],
        embeddings: ArrayLike,
        documents: Sequence[str | None] | None,
        metadata: Sequence[Mapping[str, Any] | None] | None,
        *,
        replace: bool,
    ) -> None:
        """Add rows, in place of those that have their ids where ``replace`` is set."""
        x = _rows(embeddings, snapshot.state.dim)
        listed, kind = as_ids(ids, snapshot.state.id_kind)
        if len(listed) != len(x):
            raise InputError(f"{len(x)} embeddings came with {len(listed)} ids")
        attached = attachments(len(x), documents, metadata)
        if not len(x):
            return
        made: list[Path] = []
        with self._undone(made), self._catalog.write() as change:
            live = change.state.live + len(x)
            if replace:
                live -= _bury(change, listed)
            first = change.state.next_row
            rows = np.arange(first, first + len(x))
            entries = zip(rows.tolist(), listed, attached, strict=True)
            _insert(change, listed, ((row, i, *more) for row, i, more in entries))
            number, codec = self._codec(change, snapshot, x, made)
            named = IdColumn.of(self._directory, listed, kind)
            segment = SegmentWriter(self._directory, codec, number, rows, named)
            made.append(segment.path)
            change.add_segment(segment.write(_encoded(codec, x)))
            change.set(next_row=first + len(x), live=live, id_kind=kind, dim=x.shape[1])

    def delete(self, snapshot: Snapshot, ids: Iterable[Any]) -> int:
        """Delete rows by id and return how many there were."""
        listed, _ = as_ids(ids, snapshot.state.id_kind)
        if not listed:
            return 0
        with self._catalog.write() as change:
            deleted = _bury(change, listed)
            change.set(live=change.state.live - deleted)
        return deleted

    def replace_segments(
        self,
        old: Sequence[SegmentEntry],
        new: SegmentEntry | None,
        dropped: Rows,
        graph: GraphEntry | None,
    ) -> None:
        """Put one segment in the place of several; ``dropped`` rows are in none any more.

        ``graph`` is that of the new segment, or of an old one, if no segment is replaced.
        """
        gone = json.dumps(dropped.tolist())
        listed = "row IN (SELECT value FROM json_each(?))"
        folder = self._directory / DIRECTORY
        made = [folder / entry.file for entry in (new, graph) if entry is not None]
        with self._undone(made), self._catalog.write() as change:
            run = change.connection.execute
            graphs = read_graphs(change.connection)
            files = [(entry.file,) for entry in old]
            query = "DELETE FROM segments WHERE file = ?"
            if change.connection.executemany(query, files).rowcount != len(old):
                raise RuntimeError("a segment was merged twice")
            change.drop_graphs([entry.file for entry in old])
            if new is not None:
                change.add_segment(new)
            if graph is not None:
                change.add_graph(graph)
            (latest,) = run(f"SELECT max(deleted) FROM rows WHERE {listed}", (gone,)).fetchone()
            run(f"DELETE FROM rows WHERE {listed}", (gone,))
            change.set(horizon=max(change.state.horizon, latest or 0))
        gone_files = [entry.file for entry in old]
        gone_files += [g.file for g in graphs.values() if g.segment in gone_files]
        if graph is not None and graph.segment in graphs:
            gone_files.append(graphs[graph.segment].file)
        for name in gone_files:
            # A reader that has it open keeps it until it lets go.
            (folder / name).unlink(missing_ok=True)

    def drop_graph(self, segment: SegmentEntry) -> None:
        """Forget the graph of a segment."""
        with self._catalog.write() as change:
            graph = read_graphs(change.connection).get(segment.file)
            change.drop_graphs([segment.file])
        if graph is not None:
            (self._directory / DIRECTORY / graph.file).unlink(missing_ok=True)

    def set_profile(self, profile: str, memory_mb: float | None) -> None:
        """Keep what compactions are to decide on graphs by."""
        with self._catalog.write() as change:
            change.set(profile=profile, memory_mb=memory_mb)

    def fit(self, snapshot: Snapshot) -> None:
        """Fit the codec on the rows that wait, however few they are."""
        if not snapshot.state.live:
            raise InputError("the index has no rows to fit its codec on; add some first")
        made: list[Path] = []
        with self._undone(made), self._catalog.write() as change:
            codec = _recipe(change.state, snapshot.state.dim)
            if not codec.fitted:
                codec.fit(self._sample(snapshot, None, change.state.seed))
            self._install(change, codec, made)

    def _codec(
        self, change: Change, snapshot: Snapshot, x: NDArray[Any], made: list[Path]
    ) -> tuple[int, Codec]:
        """The codec for new rows and its number; fitted now if enough rows have come."""
        if snapshot.codec is not None:
            return max(snapshot.codecs), snapshot.codec
        state, dim = change.state, x.shape[1]
        codec = _recipe(state, dim)
        if not codec.fitted:
            needed = state.fit_rows
            if needed is None:
                needed = max(_FIT_ROWS, _FIT_ROWS_PER_DIM * dim)
            if state.live + len(x) < needed:
                return FLOAT_CODEC, Codec("float32", metric=state.metric, dim=dim)
            codec.fit(self._sample(snapshot, x, state.seed))
        return self._install(change, codec, made), codec

    def _install(self, change: Change, codec: Codec, made: list[Path]) -> int:
        number = max(read_codecs(change.connection), default=FLOAT_CODEC) + 1
        made.append(codec_path(self._directory, number))
        change.add_codec(number, save_codec(codec, made[-1]))
        return number

    def _sample(self, snapshot: Snapshot, x: NDArray[Any] | None, seed: int) -> Floats:
        """Rows to learn from: those that wait as float32, and random ones of the new rows."""
        waiting = [s.row_numbers(np.arange(len(s))) for s in snapshot.segments]
        rows = np.setdiff1d(np.concatenate([np.empty(0, np.int64), *waiting]), snapshot.dead)
        rng = np.random.default_rng(seed)
        if len(rows) > DEFAULT_SAMPLE:
            rows = np.sort(rng.choice(rows, DEFAULT_SAMPLE, replace=False))
        if x is None:
            return embeddings_of(snapshot, rows)
        count = min(len(x), DEFAULT_SAMPLE)
        chosen = np.sort(rng.choice(len(x), count, replace=False))
        fresh = as_embeddings(x[chosen])
        return np.concatenate([embeddings_of(snapshot, rows), fresh]) if len(rows) else fresh

    def _sweep(self) -> None:
        """Remove the files of changes that were never acknowledged."""
        found = [*(self._directory / DIRECTORY).iterdir(), *self._directory.glob("*codec-*")]
        with self._catalog.read() as connection:
            named = _named_files(connection)
        self._discard([path for path in found if path.name not in named])

    @contextmanager
    def _undone(self, made: Sequence[Path]) -> Iterator[None]:
        """Remove the files that a change has made, if an exception ends it."""
        try:
            yield
        except BaseException:
            with suppress(Exception):  # else the next writer does it
                self._discard(made)
            raise

    def _discard(self, paths: Sequence[Path]) -> None:
        """Remove those of the files that the catalog does not name."""
        if not paths:
            return
        # A commit whose sync failed is told as undone, yet its log would still be replayed after
        # a crash. Another commit takes its place in the log: only then what it named can go.
        with self._catalog.write() as change:
            named = _named_files(change.connection)
        for path in paths:
            if path.name not in named:
                path.unlink(missing_ok=True)


def _named_files(connection: sqlite3.Connection) -> set[str]:
    segments = {entry.file for entry in read_segments(connection)}
    segments |= {entry.file for entry in read_graphs(connection).values()}
    return segments | {entry.file for entry in read_codecs(connection).values()}


def _recipe(state: State, dim: int | None) -> Codec:
    return Codec(state.spec, metric=state.metric, dim=dim, model=state.model, seed=state.seed)


def _bury(change: Change, ids: Sequence[Id]) -> int:
    """Mark live rows as deleted by this change; returns how many there were."""
    entries = ((change.generation, i) for i in ids)
    return change.connection.executemany(_BURY, entries).rowcount


def _insert(change: Change, ids: Sequence[Id], entries: Iterable[tuple[Any, ...]]) -> None:
    query = "INSERT INTO rows (row, id, document, metadata, crc32) VALUES (?, ?, ?, ?, ?)"
    try:
        change.connection.executemany(query, entries)
    except sqlite3.IntegrityError as error:
        there = (
            "SELECT id FROM rows WHERE deleted IS NULL AND row < ? "
            "AND id IN (SELECT value FROM json_each(?)) LIMIT 1"
        )
        first = change.state.next_row
        (found,) = change.connection.execute(there, (first, json.dumps(ids))).fetchone()
        raise InputError(
            f"the id {found!r} is in the index already; use upsert to replace its row"
        ) from error


def _rows(embeddings: ArrayLike, dim: int | None) -> NDArray[Any]:
    """Embeddings as an array of the right shape; values are checked block by block."""
    x = np.asanyarray(embeddings)
    if x.ndim != 2 or x.dtype.kind not in "fiu" or 0 in x.shape:
        return as_embeddings(x, dim=dim)  # which says what is wrong, or lets no rows pass
    as_embeddings(x[:1], dim=dim)
    return x


def _encoded(codec: Codec, x: NDArray[Any]) -> Iterator[Codes]:
    """Codes of rows (n, dim), block by block and in order, encoded by all processors."""
    step = max(1, _BLOCK_VALUES // x.shape[1])
    threads = min(default_threads(), -(-len(x) // step))
    pending: deque[Future[Codes]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="nestbit-encode") as pool:
        try:
            for start in range(0, len(x), step):
                name = "embeddings" if start == 0 else f"embeddings[{start}:]"
                pending.append(pool.submit(_encode, codec, x[start : start + step], name))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _encode(codec: Codec, rows: NDArray[Any], name: str) -> Codes:
    return codec.encode(as_embeddings(rows, name=name, dim=codec.dim))
