"""Compaction: several neighbouring segments become one, without the rows that were deleted.

The new file is written beside the old ones, while readers and the writer go on; one transaction
of the catalog then puts it in their place. Row numbers stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestbit.codecs import Codec, Codes
from nestbit.index.catalog import SegmentEntry
from nestbit.index.segment import Rows, Segment, SegmentWriter
from nestbit.index.snapshot import FLOAT_CODEC, Snapshot

# A merge of its own accord takes so many neighbours of similar size; sizes differ by this factor
# from one class to the next, so that a row is rewritten once per class.
FAN_OUT = 8
_SMALLEST_CLASS = 1024
# Embeddings in the float32 of waiting rows are encoded in blocks of about this many values.
_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Merge:
    """What a compaction did: the segments it read, the one it wrote, the rows it left out."""

    old: tuple[SegmentEntry, ...]
    new: SegmentEntry | None
    dropped: Rows


def whole(snapshot: Snapshot) -> tuple[Segment, ...]:
    """All segments, unless they are one already that holds only live rows of the codec in use."""
    segments = snapshot.segments
    current = max(snapshot.codecs, default=FLOAT_CODEC)
    if len(segments) == 1 and not len(snapshot.dead) and segments[0].entry.codec == current:
        return ()
    return segments


def due(snapshot: Snapshot) -> tuple[Segment, ...]:
    """Neighbours to merge now: those that wait as float32 though the codec is fitted, else the
    newest ones, if there are enough of similar size.
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
        if len(segments) - first >= FAN_OUT:
            start = min(start, first)
    return segments[start:]


def merge(directory: Path, snapshot: Snapshot, segments: Sequence[Segment]) -> Merge:
    """Write one segment with the live rows of several neighbours, in the codec in use."""
    number = max(snapshot.codecs)
    codec = snapshot.codecs[number]
    live: list[Rows] = []
    dropped: list[Rows] = [np.empty(0, np.int64)]
    for segment in segments:
        every = np.arange(len(segment))
        dead = segment.places(snapshot.dead)
        live.append(np.setdiff1d(every, dead, assume_unique=True))
        dropped.append(segment.row_numbers(dead))
    old = tuple(segment.entry for segment in segments)
    pairs = list(zip(segments, live, strict=True))
    rows = np.concatenate([segment.row_numbers(places) for segment, places in pairs])
    new = None
    if len(rows):
        blocks = _blocks(codec, pairs)
        new = SegmentWriter(directory, codec, number, rows).write(blocks)
    return Merge(old, new, np.concatenate(dropped))


def _blocks(codec: Codec, pairs: Sequence[tuple[Segment, Rows]]) -> Iterator[Codes]:
    step = max(1, _BLOCK_VALUES // codec.dim)
    for segment, places in pairs:
        for start in range(0, len(places), step):
            codes = segment.codes_at(places[start : start + step])
            if segment.codec is not codec:
                codes = codec.encode(segment.codec.decode(codes))
            yield codes


def _size_class(n: int) -> int:
    size = 0
    while n >= _SMALLEST_CLASS * FAN_OUT**size:
        size += 1
    return size
