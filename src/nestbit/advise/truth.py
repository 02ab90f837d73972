"""The float ground truth on parts of the corpus, computed in one pass over the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.evaluate import exact_search
from nestbit.kernels.floats import top_k

_HALVINGS = 3
_ROWS_PER_HIT = 20
# Disjoint blocks of one size that are searched: their mean strays half as much as one block.
_BLOCKS = 4


@dataclass(frozen=True)
class Block:
    """The rows from ``start`` to ``stop``, and the float top k (m, k) of every query among them."""

    start: int
    stop: int
    ids: NDArray[np.int64]
    scores: Floats


@dataclass(frozen=True)
class Part:
    """Disjoint blocks of ``rows`` rows each."""

    rows: int
    blocks: tuple[Block, ...]


def part_sizes(n: int, k: int) -> tuple[int, ...]:
    """n/8, n/4, n/2 and n rows, those left out that hold too few for a top k."""
    smallest = n >> _HALVINGS
    sizes = [smallest << doublings for doublings in range(_HALVINGS)]
    return (*(size for size in sizes if size >= _ROWS_PER_HIT * k), n)


def truth_of_parts(
    rows: Floats, queries: Floats, k: int, metric: str, sizes: tuple[int, ...]
) -> tuple[Part, ...]:
    """The float top k among disjoint blocks of ``sizes`` rows each.

    Every size but the last, which is that of all rows, is half of the next one: a block's best
    are those of its two halves.
    """
    halves = [
        _search(rows, queries, k, metric, start, start + sizes[0])
        for start in range(0, len(rows) - sizes[0] + 1, sizes[0])
    ]
    parts = [Part(sizes[0], tuple(halves[:_BLOCKS]))]
    for size in sizes[1:-1]:
        pairs = zip(halves[::2], halves[1::2], strict=False)
        halves = [_union([one, other], k) for one, other in pairs]
        parts.append(Part(size, tuple(halves[:_BLOCKS])))
    if len(sizes) > 1:
        covered = halves[-1].stop
        if covered < len(rows):
            halves.append(_search(rows, queries, k, metric, covered, len(rows)))
        parts.append(Part(len(rows), (_union(halves, k),)))
    return tuple(parts)


def _search(rows: Floats, queries: Floats, k: int, metric: str, start: int, stop: int) -> Block:
    found = exact_search(rows[start:stop], queries, min(k, stop - start), metric=metric)
    return Block(start, stop, found.ids + start, found.scores)


def _union(blocks: list[Block], k: int) -> Block:
    """One block of adjoining ones."""
    ids = np.concatenate([block.ids for block in blocks], axis=1)
    scores = np.concatenate([block.scores for block in blocks], axis=1)
    return Block(blocks[0].start, blocks[-1].stop, *top_k(ids, scores, k))
