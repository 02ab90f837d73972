"""Ids of rows that searches have asked the catalog for again and again."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from nestbit.index.catalog import Catalog
from nestbit.index.records import Id

# Rows of a block: reading one takes less than half a millisecond.
_BITS = 10
_SIZE = 1 << _BITS
# Ids of one block that are asked for one by one take half as long as reading the block.
_ENOUGH = 32
# Rows whose ids are held: 32 MiB of integers; of strings as many bytes where they have 60 or so.
_MOST = {"int": 1 << 22, "str": 1 << 18}
# Stands for a row that the catalog has not. An id that is this number is looked up each time.
_ABSENT = -(1 << 63)

_QUERY = "SELECT row, id FROM rows WHERE row BETWEEN ? AND ?"


class KnownIds:
    """Ids of blocks of adjacent row numbers, held for all snapshots that follow on another.

    The id of a row number never changes, and a number is never used again: so what was read once
    is right for every snapshot that has the row. A block is read when enough of its rows have been
    asked for, one a search, and only where all its rows are of changes already made. Memory is
    bounded: 8 bytes a row for 2²² rows with integers for ids, and 2¹⁸ rows with strings.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, Sequence[Id | None]] = {}
        self._asked: dict[int, int] = {}

    def of(self, rows: Iterable[int]) -> list[Id] | None:
        """Ids of row numbers in their order; None unless all are known."""
        blocks = self._blocks
        try:
            found = [blocks[row >> _BITS][row & (_SIZE - 1)] for row in rows]
        except KeyError:
            return None
        return None if _ABSENT in found or None in found else found  # type: ignore[return-value]

    def asked(self, rows: Iterable[int], catalog: Catalog, last_row: int, kind: str | None) -> None:
        """Count rows that were looked up, and read a block of them if it is due."""
        due = None
        for row in rows:
            block = row >> _BITS
            if block not in self._blocks:
                count = self._asked.get(block, 0) + 1
                self._asked[block] = count
                if count >= _ENOUGH and (block + 1) << _BITS <= last_row + 1:
                    due = block
        if due is not None and kind is not None and (len(self._blocks) + 1) << _BITS <= _MOST[kind]:
            self._blocks[due] = _read(catalog, due << _BITS, kind)
            self._asked.pop(due, None)

    def keep(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Forget blocks without a row number in any of the ranges, both ends included."""
        kept: set[int] = set()
        known = self._blocks.keys() | self._asked.keys()
        for first, last in ranges:
            kept |= {block for block in known if first >> _BITS <= block <= last >> _BITS}
        for block in known - kept:
            self._blocks.pop(block, None)
            self._asked.pop(block, None)


def _read(catalog: Catalog, first: int, kind: str) -> Sequence[Id | None]:
    found = catalog.select(_QUERY, (first, first + _SIZE - 1))
    if kind == "int":
        numbers = array("q", [_ABSENT]) * _SIZE
        for row, id_ in found:
            numbers[row - first] = id_
        return numbers
    texts: list[Id | None] = [None] * _SIZE
    for row, id_ in found:
        texts[row - first] = id_
    return texts
