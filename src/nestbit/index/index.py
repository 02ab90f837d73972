"""The index: a directory of segments and a catalog, as one object."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from nestbit._arrays import as_embeddings, check_k
from nestbit.codecs import Codec
from nestbit.errors import InputError
from nestbit.index import compaction, lookup
from nestbit.index.catalog import NAME, Catalog
from nestbit.index.check import check_index
from nestbit.index.compaction import Count, Job
from nestbit.index.lookup import StaleSnapshotError
from nestbit.index.numbering import Rows
from nestbit.index.partitions import Probing
from nestbit.index.profiles import Profile, check_profile, choose
from nestbit.index.query import Query
from nestbit.index.records import Record, Stats, as_ids
from nestbit.index.snapshot import FLOAT_CODEC, Snapshot, load_snapshot
from nestbit.index.writer import Writer
from nestbit.search import Hits, Plan

Pin = Literal["none", "coarse"]
T = TypeVar("T")

# Merges up to this many rows are done at once by the change that makes them due; it takes less
# time than that change. Larger ones run in a thread.
_MERGE_INLINE = 65_536
# How often a reader may be overtaken by compactions in one call.
_ATTEMPTS = 20
_MAX_ROWS = 1 << 62


class Index:
    """An open index; use `nestbit.create` and `nestbit.open`.

    A handle sees the snapshot of the moment it was opened, or of its last `refresh` or change.
    Any number of threads may share it. The first change takes the writer's lock and keeps it
    until `close`. A snapshot moves on to the newest where the catalog no longer has what it is
    asked for, documents, metadata or a filter, of rows that compaction dropped.
    """

    def __init__(self, path: Path, *, read_only: bool = False, pin: Pin = "none") -> None:
        if pin not in ("none", "coarse"):
            raise InputError(f"pin is 'none' or 'coarse', got {pin!r}")
        self.path = path
        self._read_only, self._pinned = read_only, pin == "coarse"
        self._catalog = Catalog(path / NAME)
        self._lock = threading.RLock()
        self._writer: Writer | None = None
        self._merging: Future[None] | None = None
        self._closed = False
        try:
            self._snapshot = load_snapshot(path, self._catalog, self._pinned)
        except BaseException:
            self._catalog.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._snapshot.state.live

    def __repr__(self) -> str:
        state = self._snapshot.state
        return (
            f"Index({str(self.path)!r}, {state.spec!r}, metric={state.metric!r}, rows={len(self)})"
        )

    @property
    def spec(self) -> str:
        """The codec's spec."""
        return self._snapshot.state.spec

    @property
    def metric(self) -> str:
        """What scores mean: cosine, dot or l2."""
        return self._snapshot.state.metric

    @property
    def dim(self) -> int | None:
        """Dimensions of the embeddings; None before the first rows of an index without any."""
        return self._snapshot.state.dim

    @property
    def model(self) -> str | None:
        """Name of the embedding model, where one was given."""
        return self._snapshot.state.model

    @property
    def id_kind(self) -> str | None:
        """Type of the ids, ``int`` or ``str``; None before the first rows."""
        return self._snapshot.state.id_kind

    @property
    def codec(self) -> Codec | None:
        """The fitted codec; None while rows wait as float32 for enough to learn from."""
        return self._snapshot.codec

    @property
    def generation(self) -> int:
        """Number of the change whose state this handle sees."""
        return self._snapshot.generation

    def add(
        self,
        ids: Iterable[Any],
        embeddings: ArrayLike,
        documents: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Add rows: ``embeddings`` (n, dim), with ids that are strings or 64-bit integers.

        All rows are in the index, on disk, when this returns; none where it raises. An array that
        is mapped from a file is read block by block. Raises `InputError` for rows that do not fit
        and ids that are there already, `LockedError` where another handle writes.
        """
        self._put(ids, embeddings, documents, metadata, replace=False)

    def upsert(
        self,
        ids: Iterable[Any],
        embeddings: ArrayLike,
        documents: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """As `add`, but a row whose id is there already takes the place of the old one."""
        self._put(ids, embeddings, documents, metadata, replace=True)

    def delete(self, ids: Iterable[Any]) -> int:
        """Delete rows by id; ids that are not there are passed over. Returns the number deleted."""
        with self._lock:
            deleted = self._writing().delete(self._snapshot, ids)
            self._reload()
            return deleted

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        plan: Plan | None = None,
        n_probe: int | None = None,
        beam: int | None = None,
        target_recall: float | None = None,
        documents: bool = False,
        threads: int | None = None,
        explain: bool = False,
    ) -> Hits:
        """The best ``k`` rows for each of ``queries`` (m, dim): ids and scores (m, k).

        There are fewer than k columns where fewer rows are in the index or pass the filter
        ``where`` (see `nestbit.index.filters`). Where few rows pass, they are compared by their
        finest level instead of the ``plan``. ``documents`` adds documents and metadata.

        A segment with a graph is walked, for ``target_recall`` 0.95 if nothing is told. Of others
        all rows are scanned, unless ``n_probe`` tells how many partitions each query opens in a
        partitioned segment, or ``target_recall`` the share of the best rows by the finest level
        that is to be found in the mean over queries: it decides on walks, partitions and
        candidates alike. ``beam`` is the width of walks, in rows; with a ``plan`` or ``n_probe``
        there are none. Raises `InputError` for queries, filters, plans and options that do not fit.
        """
        k = check_k(k, _MAX_ROWS)
        probing = Probing(n_probe, target_recall, beam)
        if plan is not None and (target_recall is not None or beam is not None):
            other = "beam" if target_recall is None else "target_recall"
            raise InputError(f"a plan tells what is rescored, and so does {other}; give one")
        q = as_embeddings(queries, name="queries")
        query = Query(q, k, where, plan, probing, documents, threads, explain)
        return self._at_snapshot(lambda snapshot: query.answer(self._catalog, snapshot))

    def get(self, ids: Iterable[Any], *, embeddings: bool = False) -> list[Record | None]:
        """The records of ids in their order, None for one that is not there."""
        asked = list(ids) if not isinstance(ids, str | bytes) else ids

        def run(snapshot: Snapshot) -> list[Record | None]:
            listed, _ = as_ids(asked, snapshot.state.id_kind)
            by_id = lookup.rows_of(self._catalog, snapshot, listed)
            rows = np.array([by_id[i] for i in listed if i in by_id], np.int64)
            found = {record.id: record for record in self._records(snapshot, rows, embeddings)}
            return [found.get(i) for i in listed]

        return self._at_snapshot(run)

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """Number of rows, or of those that pass the filter ``where``."""
        if where is None:
            return len(self)
        return self._at_snapshot(
            lambda s: sum(part.found for part in lookup.passing(self._catalog, s, where))
        )

    def iterate(self, *, embeddings: bool = False, batch: int = 1000) -> Iterator[Record]:
        """All records in the order they were added, read ``batch`` at a time."""
        if batch < 1:
            raise InputError(f"a batch must have at least 1 row, got {batch}")
        after = -1
        while True:

            def run(snapshot: Snapshot, after: int = after) -> tuple[Rows, list[Record]]:
                rows = lookup.next_rows(self._catalog, snapshot, after, batch)
                return rows, self._records(snapshot, rows, embeddings)

            rows, records = self._at_snapshot(run)
            if not records:
                return
            yield from records
            after = int(rows[-1])

    def refresh(self) -> bool:
        """Move on to the newest state of the index; whether there was a newer one."""
        before = self._snapshot
        self._reload()
        return self._snapshot is not before

    def compact(
        self,
        *,
        partitions: Count = "auto",
        profile: Profile | None = None,
        memory_mb: float | None = None,
        queries: ArrayLike | None = None,
        wait: bool = True,
    ) -> None:
        """Merge all segments into one, encode rows that wait, and drop deleted ones.

        ``partitions`` is the number of groups of similar rows that the segment is ordered by, of
        which a search may open a few; 0 for none. By default they are 4 √n, from so many rows on
        as `create` was told, and in an index that has partitions already. ``profile`` decides
        whether it gets a graph (see `nestbit.index.profiles`); it and ``memory_mb`` are kept for
        later compactions. How many partitions to open for a target recall, and how widely to
        walk, is measured with ``queries`` (m, dim), or with rows of the index.

        Readers go on meanwhile, and so do other threads that write. Without ``wait`` the work is
        done in a thread, and its errors are raised by the next `compact` or `close`. Raises
        `InputError` for partitions, profiles or queries that do not fit.
        """
        asked = None if queries is None else as_embeddings(queries, name="queries", dim=self.dim)
        if profile is not None or memory_mb is not None:
            self._set_profile(profile, memory_mb)
        while True:
            self._finish_merging()
            with self._lock:
                self._writing()
                if self._merging is None:  # no other thread has begun one meanwhile
                    job = compaction.everything(self._snapshot, partitions, asked)
                    self._start_merging(job, inline=False)
                    break
        if wait:
            self._finish_merging()

    def fit(self) -> None:
        """Fit the codec now, on the rows that wait as float32, however few; then encode them.

        Without it the codec is fitted by the change that brings enough rows. Nothing happens where
        it is fitted. Raises `InputError` where there are no rows, or too few for the spec.
        """
        with self._lock:
            writer = self._writing()
            if self._snapshot.codec is None:
                writer.fit(self._snapshot)
                self._reload()
        self.compact()

    def stats(self) -> Stats:
        """The index in numbers."""
        snapshot = self._snapshot
        number = max(snapshot.codecs, default=FLOAT_CODEC)
        coded = [s.bytes_by_level() for s in snapshot.segments if s.entry.codec == number]
        waiting = [s for s in snapshot.segments if s.entry.codec == FLOAT_CODEC]
        graphs = [s.graph for s in snapshot.segments if s.graph is not None]
        files = [self.path / f"{NAME}{end}" for end in ("", "-wal", "-shm")]
        return Stats(
            rows=len(self),
            deleted=len(snapshot.dead),
            float_rows=sum(map(len, waiting)),
            segments=len(snapshot.segments),
            generation=snapshot.generation,
            level_bytes=tuple(map(sum, zip(*coded, strict=True))),
            segment_bytes=sum(s.entry.nbytes for s in snapshot.segments),
            catalog_bytes=sum(f.stat().st_size for f in files if f.exists()),
            pinned_bytes=sum(s.pinned_bytes for s in snapshot.segments)
            + sum(graph.pinned_bytes for graph in graphs),
            partitions=sum(s.n_partitions for s in snapshot.segments),
            profile=snapshot.state.profile,
            graph_bytes=sum(graph.entry.nbytes for graph in graphs),
            graphs=tuple(f"{graph.profile}: {graph.why}" for graph in graphs),
        )

    def check(self, progress: Callable[[int], object] = lambda n_bytes: None) -> None:
        """Read every byte against its checksum, and the catalog against the segments.

        ``progress`` is called with the number of bytes of each block that was read. Raises
        `FileFormatError` that names every fault.
        """
        self._reload()
        self._at_snapshot(lambda s: check_index(self._catalog, s, progress))

    def close(self) -> None:
        """Finish a compaction that runs, and let the next writer in."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._finish_merging()
        finally:
            self._catalog.close()
            if self._writer is not None:
                self._writer.close()

    def _put(
        self,
        ids: Iterable[Any],
        embeddings: ArrayLike,
        documents: Sequence[str | None] | None,
        metadata: Sequence[Mapping[str, Any] | None] | None,
        *,
        replace: bool,
    ) -> None:
        with self._lock:
            writer = self._writing()
            writer.put(self._snapshot, ids, embeddings, documents, metadata, replace=replace)
            self._reload()
            # An error of the last merge is for `compact` or `close` to raise: the rows are added.
            if self._merging is None or (self._merging.done() and not self._merging.exception()):
                self._start_merging(compaction.due_job(self._snapshot), inline=True)

    def _set_profile(self, profile: Profile | None, memory_mb: float | None) -> None:
        with self._lock:
            writer, state = self._writing(), self._snapshot.state
            wanted: str = profile or state.profile
            memory_mb = state.memory_mb if memory_mb is None else memory_mb
            check_profile(wanted, memory_mb)
            if self._snapshot.codec is not None:
                choose(self._snapshot.codec, 0, wanted, memory_mb)
            if (wanted, memory_mb) != (state.profile, state.memory_mb):
                writer.set_profile(wanted, memory_mb)
                self._reload()

    def _records(self, snapshot: Snapshot, rows: Rows, embeddings: bool) -> list[Record]:
        records = lookup.records_of(self._catalog, snapshot, rows)
        if not embeddings:
            return records
        vectors = lookup.embeddings_of(snapshot, rows)
        return [replace(r, embedding=x) for r, x in zip(records, vectors, strict=True)]

    def _at_snapshot(self, run: Callable[[Snapshot], T]) -> T:
        self._check_open()
        for _ in range(_ATTEMPTS):
            try:
                return run(self._snapshot)
            except StaleSnapshotError:
                self._reload()
        raise InputError(f"{self.path} is compacted faster than it can be read")

    def _reload(self) -> None:
        self._check_open()
        with self._lock:
            self._snapshot = load_snapshot(self.path, self._catalog, self._pinned, self._snapshot)

    def _writing(self) -> Writer:
        self._check_open()
        if self._read_only:
            raise InputError(f"{self.path} was opened to be read only")
        if self._writer is None:
            self._writer = Writer(self.path, self._catalog)
            self._reload()  # others may have written until now
        self._writer.check_process()
        return self._writer

    def _start_merging(self, job: Job | None, *, inline: bool) -> None:
        if job is None:
            return
        if inline and job.rows <= _MERGE_INLINE:
            self._merge(self._snapshot, job)
            return
        future: Future[None] = Future()
        snapshot = self._snapshot

        def work() -> None:
            try:
                self._merge(snapshot, job)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(None)

        self._merging = future
        threading.Thread(target=work, name="nestbit-compact").start()

    def _merge(self, snapshot: Snapshot, job: Job) -> None:
        done = compaction.carry_out(self.path, snapshot, job)
        with self._lock:
            assert self._writer is not None
            self._writer.replace_segments(done.old, done.new, done.dropped, done.graph)
            if done.graphless is not None:
                self._writer.drop_graph(done.graphless)
            self._snapshot = load_snapshot(self.path, self._catalog, self._pinned, self._snapshot)

    def _finish_merging(self) -> None:
        """Wait for the merge that runs, without the lock, which it needs to end."""
        merging = self._merging
        if merging is None:
            return
        try:
            merging.result()
        finally:
            with self._lock:
                if self._merging is merging:
                    self._merging = None

    def _check_open(self) -> None:
        if self._closed:
            raise InputError(f"{self.path} is closed; open it again")


def open_index(
    path: str | os.PathLike[str], *, read_only: bool = False, pin: Pin = "none"
) -> Index:
    """Open an index; no lock is taken before its first change.

    ``pin="coarse"`` keeps the coarsest level in memory of its own from the first search on,
    instead of mapped. Raises `FileFormatError` for a directory that is no index, and for missing,
    truncated, altered or newer files.
    """
    return Index(Path(os.path.realpath(path)), read_only=read_only, pin=pin)
