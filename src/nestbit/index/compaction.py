"""Compaction: several neighbouring segments become one, without the rows that were deleted.

The new file is written beside the old ones, while readers and the writer go on; one transaction
of the catalog then puts it in their place. Row numbers stay as they are. Where there are many rows
they are ordered by partitions, so that a search need not read them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.codecs import Codec, Codes, LevelCodes
from nestbit.errors import InputError
from nestbit.index.catalog import GraphEntry, SegmentEntry
from nestbit.index.graph_making import Wish, make_graph
from nestbit.index.id_column import IdColumn, joined
from nestbit.index.numbering import Rows
from nestbit.index.partitioning import Source, auto_count, make_partitions
from nestbit.index.profiles import choose
from nestbit.index.segment import Segment
from nestbit.index.segment_writer import SegmentWriter
from nestbit.index.snapshot import FLOAT_CODEC, Snapshot

# A merge of its own accord takes so many neighbours of similar size; sizes differ by this factor
# from one class to the next, so that a row is rewritten once per class.
FAN_OUT = 8
_SMALLEST_CLASS = 1024
# Embeddings in the float32 of waiting rows are encoded in blocks of about this many values.
_BLOCK_VALUES = 1 << 22
# Codes that are put into another order in memory at once.
_PASS_BYTES = 512 << 20

# How many partitions to make: so many, or as the number of rows suggests.
Count = int | Literal["auto"]


@dataclass(frozen=True)
class Merge:
    """What a compaction did: the segments it read, the one it wrote, the rows it left out."""

    old: tuple[SegmentEntry, ...]
    new: SegmentEntry | None
    dropped: Rows
    # Of the new segment, or of the one there is, which may also lose the graph that it has.
    graph: GraphEntry | None = None
    graphless: SegmentEntry | None = None


@dataclass(frozen=True)
class Job:
    """A compaction to be done: segments to merge into so many partitions, and a graph to make.

    Without segments, the graph is that of the only segment there is.
    """

    segments: tuple[Segment, ...]
    partitions: int
    wish: Wish

    @property
    def rows(self) -> int:
        """Rows that are read."""
        return sum(map(len, self.segments))


def everything(snapshot: Snapshot, partitions: Count, queries: Floats | None) -> Job | None:
    """The job of a whole compaction; None where the index is as it would be."""
    count = partition_count(snapshot, snapshot.segments, partitions)
    segments = whole(snapshot, count)
    if count and queries is not None:
        segments = snapshot.segments  # measured anew
    wish = Wish(snapshot.state.profile, snapshot.state.memory_mb, queries)
    if segments:
        return Job(segments, count, wish)
    for segment in snapshot.segments:  # the only one, if any
        has = "memory" if segment.graph is None else segment.graph.profile
        wanted, _ = choose(segment.codec, len(segment), wish.profile, wish.memory_mb)
        if has != wanted or (queries is not None and has != "memory"):
            return Job((), count, wish)
    return None


def due_job(snapshot: Snapshot) -> Job | None:
    """The job of a merge that is due, if one is. It makes a graph only in the place of one."""
    segments = due(snapshot)
    if not segments:
        return None
    wish = Wish("memory", None)
    if any(segment.graph is not None for segment in segments):
        wish = Wish(snapshot.state.profile, snapshot.state.memory_mb)
    return Job(segments, partition_count(snapshot, segments, "auto"), wish)


def carry_out(directory: Path, snapshot: Snapshot, job: Job) -> Merge:
    """Merge and make the graph; the catalog is left to the caller."""
    if not job.segments:
        (segment,) = snapshot.segments
        graph = make_graph(directory, segment.entry, segment.codec, job.wish)
        gone = segment.entry if graph is None and segment.graph is not None else None
        return Merge((), None, np.empty(0, np.int64), graph, gone)
    done = merge(directory, snapshot, job.segments, job.partitions, job.wish.queries)
    if done.new is None:
        return done
    codec = snapshot.codecs[done.new.codec]
    return replace(done, graph=make_graph(directory, done.new, codec, job.wish))


def whole(snapshot: Snapshot, count: int) -> tuple[Segment, ...]:
    """All segments, unless they are one already that holds only live rows of the codec in use, in
    ``count`` partitions, or none if that is 0.
    """
    segments = snapshot.segments
    current = max(snapshot.codecs, default=FLOAT_CODEC)
    if len(segments) == 1 and not len(snapshot.dead):
        (only,) = segments
        if (only.entry.codec, only.n_partitions) == (current, count):
            return ()
    return segments


def partition_count(snapshot: Snapshot, segments: Sequence[Segment], count: Count) -> int:
    """How many partitions a merge of segments is to make, 0 for none.

    ``auto`` makes them from ``partition_rows`` rows on, and where there are some already. Raises
    `InputError` for a count that does not fit.
    """
    n = sum(map(len, segments)) - sum(len(segment.places(snapshot.dead)) for segment in segments)
    if count == "auto":
        least = snapshot.state.partition_rows
        if snapshot.codec is None or not n:
            return 0
        large = least is not None and n >= least
        partitioned = any(segment.n_partitions for segment in segments)
        return auto_count(n) if large or partitioned else 0
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
        raise InputError(f"partitions is a whole number, 0 for none, or 'auto', got {count!r}")
    if count and snapshot.codec is None:
        raise InputError("rows that wait for their codec cannot be partitioned; call fit() first")
    if count > n:
        raise InputError(f"{n} rows cannot fill {count} partitions")
    return int(count)


def due(snapshot: Snapshot) -> tuple[Segment, ...]:
    """Neighbours to merge now: those that wait as float32 though the codec is fitted, else the
    newest ones, if there are enough of similar size; smaller ones among them come along.
    """
    segments = snapshot.segments
    current = max(snapshot.codecs, default=FLOAT_CODEC)
    if waiting := tuple(s for s in segments if s.entry.codec != current):
        return waiting  # they are the oldest
    start = len(segments)
    classes = [_size_class(len(segment)) for segment in segments]
    for size in sorted(set(classes)):
        first = len(segments)
        while first and classes[first - 1] <= size:
            first -= 1
        if classes[first:].count(size) >= FAN_OUT:
            start = min(start, first)
    return segments[start:]


def merge(
    directory: Path,
    snapshot: Snapshot,
    segments: Sequence[Segment],
    partitions: int = 0,
    queries: Floats | None = None,
) -> Merge:
    """Write one segment with the live rows of several neighbours, in the codec in use.

    Its rows are ordered by ``partitions`` partitions, at most one for each of them, or by their
    numbers where it is 0; ``queries`` (m, dim) measure how many a search must open.
    """
    number = max(snapshot.codecs)
    codec = snapshot.codecs[number]
    live: list[Rows] = []
    dropped: list[Rows] = [np.empty(0, np.int64)]
    for segment in segments:
        every = np.arange(len(segment))
        dead = np.sort(segment.places(snapshot.dead))
        live.append(np.setdiff1d(every, dead, assume_unique=True))
        dropped.append(segment.row_numbers(dead))
    old = tuple(segment.entry for segment in segments)
    rows = _Rows(codec, segments, live)
    numbers = rows.numbers()
    new = None
    if len(numbers):
        by_number = np.argsort(numbers, kind="stable")
        made, order, places = None, None, by_number
        if partitions:
            source = Source(snapshot, segments, numbers, rows.decode, rows.step)
            count = min(partitions, len(numbers))
            made, labels = make_partitions(source, codec, count, queries)
            places = np.argsort(labels, kind="stable")
        # Where each row goes, in the order in which they lie now.
        target = np.empty(len(numbers), np.uint32)
        target[places] = np.arange(len(numbers), dtype=np.uint32)
        if made is not None:
            order = target[by_number]
        ids = _ids(segments, live)
        writer = SegmentWriter(directory, codec, number, numbers[by_number], ids, made, order)
        new = writer.write(rows.moved(target))
    return Merge(old, new, np.concatenate(dropped))


def _ids(segments: Sequence[Segment], live: Sequence[Rows]) -> IdColumn | None:
    """Ids of the live places of neighbouring segments, by row number; None where one lacks them."""
    kept = []
    for segment, places in zip(segments, live, strict=True):
        if segment.ids is None:
            return None
        positions = segment.numbering.positions(np.sort(segment.row_numbers(places)))
        kept.append(segment.ids.kept(positions))
    return joined(kept)


class _Rows:
    """The rows at sorted places of several segments, one segment after the other, as codes."""

    def __init__(self, codec: Codec, segments: Sequence[Segment], places: Sequence[Rows]) -> None:
        self.codec, self.segments, self.places = codec, segments, places
        self.step = max(1, _BLOCK_VALUES // codec.dim)
        self._starts = np.cumsum([0, *map(len, places)])

    def numbers(self) -> Rows:
        """Row numbers (n,)."""
        pairs = zip(self.segments, self.places, strict=True)
        return np.concatenate([segment.row_numbers(places) for segment, places in pairs])

    def decode(self, positions: Rows) -> Floats:
        """Reconstructions (c, dim) of the rows at sorted positions among the n."""
        found = [
            segment.codec.decode(segment.codes_at(places))
            for segment, places in self._at(positions)
        ]
        return np.concatenate(found)

    def moved(self, target: NDArray[np.uint32]) -> Iterator[Codes]:
        """Blocks of codes in which row i comes at place ``target[i]``.

        What fits into memory is collected in one pass over all rows, front to back.
        """
        n = len(target)
        if (target[1:] > target[:-1]).all():
            for start in range(0, n, self.step):
                yield from self._codes(np.arange(start, min(start + self.step, n)))
            return
        size = max(self.step, _PASS_BYTES // self.codec.n_bytes)
        for low in range(0, n, size):
            yield self._collected(target, low, min(low + size, n))

    def _collected(self, target: NDArray[np.uint32], low: int, high: int) -> Codes:
        levels: list[LevelCodes] = []
        zero_rows = [np.empty(0, np.int64)]
        chosen = np.flatnonzero((target >= low) & (target < high))
        for start in range(0, len(chosen), self.step):
            at = start
            for codes in self._codes(chosen[start : start + self.step]):
                into = target[chosen[at : at + len(codes)]].astype(np.int64) - low
                at += len(codes)
                levels = levels or [_empty(level, high - low) for level in codes.levels]
                for whole, part in zip(levels, codes.levels, strict=True):
                    whole.data[into] = part.data
                    for name, factor in part.factors.items():
                        whole.factors[name][into] = factor
                zero_rows.append(into[codes.zero_rows])
        return Codes(tuple(levels), np.sort(np.concatenate(zero_rows)))

    def _codes(self, positions: Rows) -> Iterator[Codes]:
        """Codes of rows at sorted positions, segment by segment."""
        for segment, places in self._at(positions):
            codes = segment.codes_at(places)
            if segment.codec is not self.codec:
                codes = self.codec.encode(segment.codec.decode(codes))
            yield codes

    def _at(self, positions: Rows) -> Iterator[tuple[Segment, Rows]]:
        bounds = np.searchsorted(positions, self._starts)
        for i, segment in enumerate(self.segments):
            if bounds[i + 1] > bounds[i]:
                mine = positions[bounds[i] : bounds[i + 1]] - self._starts[i]
                yield segment, self.places[i][mine]


def _empty(like: LevelCodes, n: int) -> LevelCodes:
    data = np.empty((n, like.data.shape[1]), like.data.dtype)
    factors = {name: np.empty(n, factor.dtype) for name, factor in like.factors.items()}
    return LevelCodes(like.layout, data, factors)


def _size_class(n: int) -> int:
    size = 0
    while n >= _SMALLEST_CLASS * FAN_OUT**size:
        size += 1
    return size
