"""The steps that make a graph, in NumPy: `kernels.graph` equals it on every instruction set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestbit.kernels.graph import NO_CANDIDATE, Candidates, Leaves, Numbers, Rows

Keys = NDArray[np.uint64]


def keys(rows: Rows, row: int, others: Numbers) -> Keys:
    """Sorted distance * 2^32 + number of other rows, without the row itself and repeats."""
    numbers = np.unique(others)
    numbers = numbers[numbers != row].astype(np.uint64)
    apart = rows[numbers.astype(np.intp)].astype(np.int64) - rows[row]
    return np.sort((apart * apart).sum(axis=1).astype(np.uint64) << np.uint64(32) | numbers)


def add_leaves(
    rows: Rows,
    members: Leaves,
    targets: Leaves,
    candidates: Candidates,
    slots: slice,
    keep: int,
    start: int = 0,
) -> None:
    """Merge the nearest ``keep`` targets of each leaf into the lists of members that have one."""
    for leaf in range(len(members.offsets) - 1):
        others = targets.numbers[targets.offsets[leaf] : targets.offsets[leaf + 1]]
        for row in members.numbers[members.offsets[leaf] : members.offsets[leaf + 1]]:
            if not start <= row < start + len(candidates):
                continue
            known = candidates[row - start, slots]
            merged = np.union1d(known, keys(rows, row, others)[:keep])[: len(known)]
            known[:] = NO_CANDIDATE
            known[: len(merged)] = merged


def choose_neighbours(
    rows: Rows, candidates: Candidates, *, degree: int, alpha: float, start: int = 0
) -> Numbers:
    """Diverse neighbours (c, degree) of rows: see `kernels.graph.choose_neighbours`."""
    neighbours = np.empty((len(candidates), degree), np.uint32)
    for i, own in enumerate(candidates):
        neighbours[i] = _list(prune(rows, _used(own), degree, alpha), neighbours[i], start + i)
    return neighbours


def add_reverse(
    rows: Rows, neighbours: Numbers, *, alpha: float, most: int, some: Numbers | None = None
) -> Numbers:
    """Neighbours (n, degree) chosen again: see `kernels.graph.add_reverse`."""
    again = neighbours.copy()
    for row in range(len(rows)):
        sources = np.flatnonzero((neighbours == row).any(axis=1)).astype(np.uint32)
        if some is not None:
            sources = np.intersect1d(sources[sources != row], some)
            if not len(sources):
                continue
        both = keys(rows, row, np.concatenate([neighbours[row], sources]))
        again[row] = _list(prune(rows, both[:most], neighbours.shape[1], alpha), again[row], row)
    return again


def prune(rows: Rows, found: Keys, degree: int, alpha: float) -> Keys:
    """At most ``degree`` of sorted candidates, the diverse ones first."""
    distances = (found >> np.uint64(32)).astype(np.float32)
    points = rows[_rows(found)].astype(np.int64)
    hidden = np.zeros(len(found), np.float32)
    chosen: list[int] = []

    def choose(i: int) -> None:
        chosen.append(i)
        apart = ((points - points[i]) ** 2).sum(axis=1).astype(np.float32)
        by_this = distances / (apart + np.float32(0.5))
        hidden[i + 1 :] = np.maximum(hidden, by_this)[i + 1 :]
        hidden[i] = np.inf

    for i in range(len(found)):
        if len(chosen) < degree and hidden[i] < np.float32(alpha):
            choose(i)
    while len(chosen) < min(degree, len(found)):
        choose(int(hidden.argmin()))
    return found[chosen]


def reachable(neighbours: Numbers, entries: Numbers) -> NDArray[np.bool_]:
    """Which rows (n,) a walk along the neighbours can reach from the entries."""
    reached = np.zeros(len(neighbours), bool)
    front = np.unique(entries)
    while len(front):
        reached[front] = True
        front = np.unique(neighbours[front])
        front = front[~reached[front]]
    return reached


def _list(chosen: Keys, like: Numbers, row: int) -> Numbers:
    line = np.full_like(like, row)
    line[: len(chosen)] = _rows(chosen)
    return line


def _used(own: Keys) -> Keys:
    used: Keys = np.unique(own)
    return used[: np.searchsorted(used, NO_CANDIDATE)]


def _rows(found: Keys) -> NDArray[np.intp]:
    return (found & np.uint64(2**32 - 1)).astype(np.intp)
