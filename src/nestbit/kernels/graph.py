"""The steps that make a graph over int8 rows, run natively.

Rows are int8 (n, dim) in -127..127 and ``squares`` uint32 (n,) the sums of their squares. Distances
are squared and exact, so every step gives the same result on every instruction set and for any
number of threads. A candidate is one uint64: the distance in the high half, the row in the low.
`NO_CANDIDATE` marks an unused slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit import _native
from nestbit.errors import InputError
from nestbit.kernels import thread_count

Candidates = NDArray[np.uint64]
Numbers = NDArray[np.uint32]
Rows = NDArray[np.int8]

NO_CANDIDATE = np.uint64(2**64 - 1)
MOST_CANDIDATES = 256

__all__ = [
    "MOST_CANDIDATES",
    "NO_CANDIDATE",
    "Leaves",
    "add_leaves",
    "add_reverse",
    "choose_neighbours",
    "connect",
    "row_squares",
]


def row_squares(rows: Rows) -> Numbers:
    """Return the squared length (n,) of int8 rows (n, dim), uint32."""
    wide = rows.astype(np.int32)
    squares: Numbers = np.einsum("ij,ij->i", wide, wide).astype(np.uint32)
    return squares


@dataclass(frozen=True)
class Leaves:
    """Leaf l holds the rows ``numbers[offsets[l]:offsets[l + 1]]``, each once."""

    numbers: Numbers
    offsets: NDArray[np.int64]


def add_leaves(
    rows: Rows,
    squares: Numbers,
    members: Leaves,
    targets: Leaves,
    candidates: Candidates,
    slots: slice,
    *,
    keep: int,
    start: int = 0,
    threads: int | None = None,
) -> None:
    """Merge the ``keep`` nearest targets of a leaf into the lists of its members.

    A row's list is ``candidates[row - start, slots]``, changed in place: the nearest known, each
    once, in order; members without one are passed over. ``members`` and ``targets`` have as many
    leaves. Raises `InputError` for arrays that do not fit together.
    """
    first, last, _ = slots.indices(candidates.shape[1])
    _native_call(
        _native.graph_leaves,
        rows,
        squares,
        members.numbers,
        members.offsets,
        targets.numbers,
        targets.offsets,
        keep,
        candidates,
        start,
        first,
        last,
        threads=threads,
    )


def choose_neighbours(
    rows: Rows,
    squares: Numbers,
    candidates: Candidates,
    neighbours: Numbers,
    *,
    start: int = 0,
    alpha: float,
    threads: int | None = None,
) -> None:
    """Write diverse neighbours (c, degree) of rows from ``start`` on, the own number if too few.

    A candidate c of row r is hidden by a chosen, nearer p as much as d(r, c) / d(p, c), and passed
    over from alpha on (RobustPrune; Subramanya et al., "DiskANN", 2019). Slots left over go to
    those least hidden. The ``candidates`` (c, slots) come in any order. Raises `InputError` for
    arrays that do not fit together, or an alpha below 1.
    """
    _native_call(
        _native.graph_neighbours,
        rows,
        squares,
        candidates,
        start,
        alpha,
        neighbours,
        threads=threads,
    )


def add_reverse(
    rows: Rows,
    squares: Numbers,
    neighbours: Numbers,
    *,
    alpha: float,
    most: int,
    sources: Numbers | None = None,
    threads: int | None = None,
) -> None:
    """Choose again from the neighbours (n, degree) of each row and the rows it is a neighbour of.

    Of all these the nearest ``most`` are candidates, and the rule is that of `choose_neighbours`.
    Of ``sources`` that are given, only the neighbours choose again, from these besides their own.
    ``neighbours`` are changed in place. Raises `InputError` for arrays that do not fit together, or
    an alpha below 1.
    """
    if sources is not None and not len(sources):
        return
    some = np.empty(0, np.uint32) if sources is None else sources
    _native_call(
        _native.graph_reverse, rows, squares, neighbours, alpha, most, some, threads=threads
    )


def connect(rows: Rows, squares: Numbers, neighbours: Numbers, entries: Numbers) -> int:
    """Replace edges until every row can be reached from the entries; return how many.

    ``neighbours`` (n, degree) are changed in place. Raises `InputError` for numbers of no row.
    """
    count: int = _native_call(_native.graph_connect, rows, squares, neighbours, entries)
    return count


def _native_call(function: Any, *arguments: Any, **options: Any) -> Any:
    if "threads" in options:
        options["threads"] = thread_count(options["threads"])
    try:
        return function(*arguments, **options)
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from error
