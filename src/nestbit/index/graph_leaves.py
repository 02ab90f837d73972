"""Dividing rows into overlapping leaves about random leaders (as PiPNN does).

Every row joins its nearest leaders. Where they are few it is compared with all; where they are
many, only with those near the random pivots that are nearest to it, which are found once for all
divisions: so a division costs no more for a row of ten million than for one of a million.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestbit import kernels
from nestbit.kernels import graph
from nestbit.kernels.graph import Leaves, Numbers
from nestbit.kernels.graph import Rows as Bytes

# Rows whose leaders or groups are sought in one call.
_ASSIGNED_ROWS = 1 << 16
# Leaders per pivot in all; of each row the nearest pivots; of each of these the nearest leaders. Of
# the three leaders nearest to a row, 92% are found among 15,000.
_LEADERS_PER_PIVOT, _PIVOTS, _LEADERS = 8, 3, 512


@dataclass(frozen=True)
class Rows:
    """Rows int8 (n, dim) in a space where near ones are similar, with the sums of their squares."""

    codes: Bytes
    squares: Numbers

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class Division:
    """Leaves of rows, and of each leaf the rows that all its rows are compared with.

    Late rows are members of leaves of their own, and no targets.
    """

    members: Leaves
    late: Leaves
    targets: Leaves


@dataclass(frozen=True)
class Pivots:
    """Numbers (p,) of the pivots, and the rows that each is one of the nearest for."""

    numbers: Numbers
    about: Leaves


class Divider:
    """Divides rows again and again.

    ``leaf`` is about how many rows of a sample a leaf is to have, ``flat`` the most leaders that
    every row is compared with, and ``most`` the most leaders that a division will have. ``late``
    (n,) tells the rows that are to be no targets.
    """

    def __init__(
        self,
        rows: Rows,
        leaf: int,
        flat: int,
        most: int,
        late: NDArray[np.bool_],
        rng: np.random.Generator,
        threads: int | None,
    ) -> None:
        self._rows, self._leaf, self._flat, self._late = rows, leaf, flat, late
        self._rng, self._threads = rng, threads
        self._pivots = self._make_pivots(most) if most > flat else None

    def divide(self, sampled: NDArray[np.bool_], fan: int) -> Division:
        """A division in which rows are in ``fan`` leaves; those in the sample (n,) are targets."""
        n = len(self._rows)
        count = min(n, leaders_of(int(np.count_nonzero(sampled)), fan, self._leaf))
        fan = min(fan, count)
        leaders = np.sort(self._rng.choice(n, count, replace=False)).astype(np.uint32)
        if self._pivots is None or count <= self._flat:
            labels = self._nearest(leaders, slice(None), fan)
        else:
            labels = self._near(self._pivots, leaders, fan)
        return _division(labels, count, sampled, self._late, self._leaf)

    def _nearest(self, targets: Numbers, which: Numbers | slice, fan: int) -> NDArray[np.int32]:
        """Of the targets, the positions (c, fan) of those nearest to some of the rows."""
        codes = self._rows.codes
        others = codes[targets]
        bias = -self._rows.squares[targets].astype(np.float32)
        some = codes[which]
        labels = np.empty((len(some), fan), np.int32)
        for start in range(0, len(some), _ASSIGNED_ROWS):
            block = some[start : start + _ASSIGNED_ROWS]
            labels[start : start + len(block)], _ = kernels.bytes_scan(
                others,
                block,
                fan,
                scales=np.full(len(block), 2, np.float32),
                row_bias=bias,
                threads=self._threads,
            )
        return labels

    def _make_pivots(self, most: int) -> Pivots:
        n, count = len(self._rows), math.ceil(most / _LEADERS_PER_PIVOT)
        numbers = np.sort(self._rng.choice(n, count, replace=False)).astype(np.uint32)
        labels = self._nearest(numbers, slice(None), min(count, _PIVOTS))
        return Pivots(numbers, _grouped(labels, count))

    def _near(self, pivots: Pivots, leaders: Numbers, fan: int) -> NDArray[np.int32]:
        """Positions (n, fan) of near leaders; their number where too few were near the pivots."""
        n, none = len(self._rows), len(leaders)
        each = min(_LEADERS, none)
        about = leaders[np.sort(self._nearest(leaders, pivots.numbers, each), axis=1)]
        offsets = np.arange(0, about.size + 1, each)
        found = np.full((n, fan), graph.NO_CANDIDATE)
        graph.add_leaves(
            self._rows.codes,
            self._rows.squares,
            pivots.about,
            Leaves(about.reshape(-1), offsets),
            found,
            slice(0, fan),
            keep=fan,
            threads=self._threads,
        )
        position = np.full(n, none, np.int32)
        position[leaders] = np.arange(none, dtype=np.int32)
        labels = np.empty((n, fan), np.int32)
        for start in range(0, n, _ASSIGNED_ROWS):
            block = found[start : start + _ASSIGNED_ROWS]
            used = block != graph.NO_CANDIDATE
            rows = np.where(used, block, 0).astype(np.uint32)
            labels[start : start + len(block)] = np.where(used, position[rows], none)
        # A leader is its own nearest, which a row's list of others leaves out.
        labels[leaders, 1:] = labels[leaders, :-1]
        labels[leaders, 0] = np.arange(none)
        return labels


def leaders_of(sampled: int, fan: int, leaf: int) -> int:
    """Leaders for leaves of about ``leaf`` rows of a sample."""
    return math.ceil(sampled * fan / leaf)


def _division(
    labels: NDArray[np.int32],
    count: int,
    sampled: NDArray[np.bool_],
    late: NDArray[np.bool_],
    leaf: int,
) -> Division:
    """Leaves by the leaders (n, fan) of each row, of which ``count`` is none."""
    held = np.zeros(count + 1, np.intp)
    for column in labels.T:
        held += np.bincount(column[sampled], minlength=count + 1)
    # A leader of many rows shares them out, by number, among several leaves.
    parts = np.maximum(1, -(-held // (2 * leaf)))
    parts[-1] = 1
    first = np.cumsum(parts) - parts
    shared = np.empty(labels.shape, np.int32)
    for start in range(0, len(labels), _ASSIGNED_ROWS):
        some = labels[start : start + _ASSIGNED_ROWS]
        rows = np.arange(start, start + len(some))[:, None]
        shared[start : start + len(some)] = first[some] + rows % parts[some]
    every = _grouped(shared, int(first[-1]))
    members, waiting = _those(every, ~late), _those(every, late)
    return Division(members, waiting, _those(members, sampled))


def _those(leaves: Leaves, chosen: NDArray[np.bool_]) -> Leaves:
    """Of leaves the rows that are among some (n,)."""
    inside = chosen[leaves.numbers]
    if inside.all():
        return leaves
    before = np.concatenate([[0], np.cumsum(inside)])
    return Leaves(leaves.numbers[inside], before[leaves.offsets])


def _grouped(labels: NDArray[np.int32], count: int) -> Leaves:
    """Rows by the groups (n, fan) they are in, in order; groups from ``count`` on are left out."""
    # Of 16 bits, NumPy sorts by counting.
    small = labels.astype(np.min_scalar_type(count)).reshape(-1)
    order = np.argsort(small, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(small, minlength=count)[:count])])
    order = order[: offsets[-1]]
    order //= labels.shape[1]
    return Leaves(order.astype(np.uint32), offsets.astype(np.int64))
