"""JSON lines: one object a line, a key of which holds the vector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.errors import FileFormatError, InputError
from nestbit.io.source import Block, IdsKind, VectorSource, choose, listing

ID_KEYS = ("id", "_id")
# No vector's line is this long: a longer one belongs to some other kind of file.
_MAX_LINE = 64 << 20
_INT64 = range(-(1 << 63), 1 << 63)


class JsonlFile(VectorSource):
    """Lines are split at newlines only (texts may hold other separators); blank ones are skipped.

    The key ``id`` or ``_id`` gives the ids: integers of 64 bits or strings, as in the first line.
    """

    format = "jsonl"

    def __init__(
        self, path: Path, n: int, dim: int, key: str, id_key: str | None, ids_kind: IdsKind | None
    ) -> None:
        super().__init__(path, n, dim, "float64", name=key, ids_kind=ids_kind)
        self._key, self._id_key = key, id_key

    def _blocks(self, rows: int) -> Iterator[Block]:
        values, ids = np.empty((min(rows, self.n), self.dim)), list[Any]()
        count = 0
        for row, (number, line) in enumerate(_lines(self.path)):
            record = _parse(self.path, number, line)
            values[count] = self._vector(record, row, number)
            if self._id_key is not None:
                ids.append(self._id(record, row, number))
            count += 1
            if count == len(values):
                yield Block(values, ids if self._id_key else None)
                values, ids, count = np.empty((min(rows, self.n), self.dim)), [], 0
        if count:
            yield Block(values[:count], ids if self._id_key else None)

    def take(self, indices: NDArray[np.int64]) -> Floats:
        """The rows (len(indices), dim) of sorted row numbers; other lines are not parsed."""
        taken = np.empty((len(indices), self.dim), np.float32)
        wanted = iter(enumerate(indices.tolist()))
        position, index = next(wanted, (0, -1))
        for row, (number, line) in enumerate(_lines(self.path)):
            while row == index:
                vector = self._vector(_parse(self.path, number, line), row, number)
                taken[position] = self._checked(vector[None], row)
                position, index = next(wanted, (0, -1))
        return taken

    def _vector(self, record: dict[str, Any], row: int, number: int) -> NDArray[np.float64]:
        where = f"{self.path}: row {row} (from 0, line {number})"
        if self._key not in record:
            raise InputError(f"{where} has no key {self._key!r}; it has: {listing(list(record))}")
        value = record[self._key]
        if not _is_vector(value):
            raise InputError(f"{where}: {self._key!r} is not a list of numbers")
        if len(value) != self.dim:
            raise InputError(f"{where} has {len(value)} dimensions, the first row {self.dim}")
        try:
            return np.array(value, dtype=np.float64)
        except OverflowError:
            raise InputError(f"{where} holds an integer beyond any float") from None

    def _id(self, record: dict[str, Any], row: int, number: int) -> int | str:
        value: int | str | None = record.get(self._id_key or "")
        if value is None or _kind_of_id(value) != self.ids_kind:
            raise InputError(
                f"{self.path}: row {row} (from 0, line {number}) has the {self._id_key} {value!r}, "
                f"in the first row it is of type {self.ids_kind}; give all rows ids of one type"
            )
        return value


def open_jsonl(path: Path, column: str | None) -> VectorSource:
    """Open JSON lines by the key ``column``, or the only one whose first value is a vector."""
    n, first, line_number = 0, b"", 0
    for number, line in _lines(path):
        if n == 0:
            first, line_number = line, number
            _parse(path, number, line)  # a foreign file is told before all of it is counted
        n += 1
    if n == 0:
        raise InputError(f"{path} is empty")
    record = _parse(path, line_number, first)
    vectors = [key for key, value in record.items() if _is_vector(value)]
    key = choose(path, "key", column, vectors, list(record))
    if key not in vectors:
        raise InputError(f"{path}: {key!r} of the first row is not a list of numbers")
    kinds = {id_key: _kind_of_id(record.get(id_key)) for id_key in ID_KEYS}
    id_key = next((k for k, kind in kinds.items() if kind and k != key), None)
    return JsonlFile(path, n, len(record[key]), key, id_key, kinds[id_key] if id_key else None)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line) of the lines that are not blank."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_MAX_LINE):
            number += 1
            if len(line) == _MAX_LINE and not line.endswith(b"\n"):
                raise FileFormatError(f"{path} is not JSON lines: line {number} does not end")
            if not line.isspace():
                yield number, line


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: line {number} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise FileFormatError(f"{path}: line {number} is not a JSON object")
    return record


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and {*map(type, value)} <= {int, float}


def _kind_of_id(value: Any) -> IdsKind | None:
    if isinstance(value, str):
        return "str"
    return "int" if type(value) is int and value in _INT64 else None
