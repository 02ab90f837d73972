"""What walks and scans find: rows of several of them together, all-zero rows among them, told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nestbit._arrays import Floats
from nestbit.codecs import Codec
from nestbit.index.numbering import Rows
from nestbit.index.parts import Part
from nestbit.index.segment import Segment
from nestbit.kernels.floats import top_k
from nestbit.search import Reads, Stage, StageReport
from nestbit.search.arrays import stage_report


def best_of_all(found: Sequence[tuple[Rows, Floats]], m: int, k: int) -> tuple[Rows, Floats]:
    """The best k of what was found for m queries in several sets of rows, or in one."""
    if len(found) == 1:
        return top_k(*found[0], k)
    places = [np.empty((m, 0), np.int64), *(places for places, _ in found)]
    scores = [np.empty((m, 0), np.float32), *(scores for _, scores in found)]
    return top_k(np.concatenate(places, axis=1), np.concatenate(scores, axis=1), k)


def with_zero_rows(
    codec: Codec, parts: Sequence[Part], q: Floats, k: int, places: Rows, scores: Floats
) -> tuple[Rows, Floats]:
    """All-zero rows join what was found for prepared queries (m, dim).

    They have no direction, and their score is known without a code.
    """
    if not any(len(part.zeros) for part in parts):
        return places, scores
    zeros = np.concatenate([part.zeros + part.offset for part in parts])[:k]
    exact = np.zeros(len(q), np.float32)
    if codec.metric == "l2":
        exact = -np.einsum("ij,ij->i", q, q)
    shape = (len(q), len(zeros))
    places = np.concatenate([places, np.broadcast_to(zeros, shape)], axis=1)
    scores = np.concatenate([scores, np.broadcast_to(exact[:, None], shape)], axis=1)
    return top_k(places, scores, k)


def report_of(
    codec: Codec,
    segment: Segment,
    stage: Stage,
    rows_read: int,
    rows_kept: int,
    seconds: float,
    read: Rows | None,
) -> StageReport:
    """What a stage did in segments like this one; ``read`` (m,) are candidates of each query."""
    reads = None if read is None else Reads.of(read)
    codes = [segment.level(i) for i in range(len(codec.levels))]
    return stage_report(codec, codes, stage, rows_read, rows_kept, seconds, reads)
