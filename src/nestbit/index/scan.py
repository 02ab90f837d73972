"""A search of many segments: those with a graph are walked, the others go through a plan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nestbit._arrays import Floats
from nestbit.codecs import Codec
from nestbit.index.found import best_of_all, report_of, with_zero_rows
from nestbit.index.numbering import Rows
from nestbit.index.partitions import Probing
from nestbit.index.parts import Part
from nestbit.index.profiles import DEFAULT_TARGET
from nestbit.index.snapshot import Snapshot
from nestbit.index.stages import Group
from nestbit.index.walk import fine_level, finished, walk_part, walk_width
from nestbit.kernels.graph_walk import Walked
from nestbit.search import Plan, Stage, StageReport


def search_segments(
    snapshot: Snapshot,
    queries: Floats,
    k: int,
    parts: Sequence[Part],
    plan: Plan | None,
    threads: int | None,
    probing: Probing,
    reports: list[StageReport] | None = None,
) -> tuple[Rows, Floats]:
    """Places and scores (m, min(k, rows found)) of the best rows.

    ``parts`` tell the rows that may be found. A plan that is None follows from ``probing``. Where
    ``reports`` are wanted, what each stage did is appended.
    """
    walks = plan is None and probing.n_probe is None
    target = probing.target_recall or DEFAULT_TARGET
    found: list[tuple[Rows, Floats]] = []
    scanned = []
    for part in parts:
        if part.found and len(queries):
            width = walk_width(part, probing.beam, k, target) if walks else None
            walked = None
            if width is not None:
                walked = _walked(part, queries, k, width, threads, reports)
            if walked is None:
                scanned.append(part)
            else:
                found.append(walked)
    for number in sorted({part.segment.entry.codec for part in scanned}) if scanned else ():
        some = [part for part in scanned if part.segment.entry.codec == number]
        codec = snapshot.codecs[number]
        # The plan is meant for the codec in use; rows that wait as float32 are scanned exactly.
        stages = plan if plan is not None and codec is snapshot.codec else None
        found.append(Group.of(codec, some, queries, k, threads, probing, reports).run(stages))
    # A group's rows are the best k in their order already.
    return found[0] if len(found) == 1 else best_of_all(found, len(queries), k)


def scan_parts(
    codec: Codec,
    parts: Sequence[Part],
    queries: Floats,
    k: int,
    plan: Plan | None,
    threads: int | None = None,
    probing: Probing | None = None,
) -> tuple[Rows, Floats]:
    """Places and scores of the best rows of segments of one codec, without walks over graphs."""
    return Group.of(codec, parts, queries, k, threads, probing or Probing(), None).run(plan)


def _walked(
    part: Part,
    queries: Floats,
    k: int,
    beam: int,
    threads: int | None,
    reports: list[StageReport] | None,
) -> tuple[Rows, Floats] | None:
    """The best rows of a part with a graph, by a walk of a given width.

    None where a walk met fewer rows that pass a filter than are wanted: a scan finds them all.
    """
    codec = part.segment.codec
    if reports is None:
        found = walk_part(part, queries, k, beam, threads)
    else:
        began = time.perf_counter()
        found = walk_part(part, queries, k, beam, threads)
        reports += _reports(part, codec, beam, found, time.perf_counter() - began)
    last = found.ids[:, -1]
    # One number is compared without an array of booleans.
    lacks = last[0] < 0 if len(last) == 1 else (last < 0).any()
    if lacks:
        return None
    if not len(part.zeros):
        return found.ids, found.scores
    return with_zero_rows(codec, [part], codec.prepare(queries), k, found.ids, found.scores)


def _reports(
    part: Part, codec: Codec, beam: int, walked: Walked, seconds: float
) -> list[StageReport]:
    """A walk in words and numbers, and what its rows' finest level was read for."""
    segment, last = part.segment, len(codec.levels) - 1
    fine = fine_level(codec)
    assert segment.graph is not None
    told = f"{segment.graph.profile}, beam {beam}; {segment.graph.why}"
    read, kept = int(walked.scored.sum()), int(walked.expanded.sum())
    coarse = report_of(codec, segment, Stage(0), read, kept, seconds, None)
    done = [replace(coarse, graph=told)]
    rows = walked.ids.size
    if fine is not None:
        done.append(report_of(codec, segment, Stage(fine), kept, rows, 0.0, walked.expanded))
    if anew := finished(codec, walked.ids.shape[1], beam):
        counts = np.full(len(walked.ids), anew)
        total = int(counts.sum())
        done[-1] = replace(done[-1], rows_kept=total)
        done.append(report_of(codec, segment, Stage(last), total, rows, 0.0, counts))
    return done
