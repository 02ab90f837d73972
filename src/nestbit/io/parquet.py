"""A list column of a Parquet file, read row group by row group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nestbit._extras import require
from nestbit.errors import FileFormatError, InputError
from nestbit.io.source import Array, Block, IdsKind, VectorSource, choose

_PURPOSE = "reading Parquet files"


class ParquetFile(VectorSource):
    """A column of lists of numbers; the column ``id`` gives the ids."""

    format = "parquet"

    def __init__(
        self, path: Path, n: int, dim: int, dtype: str, name: str, ids_kind: IdsKind | None
    ) -> None:
        super().__init__(path, n, dim, dtype, name=name, ids_kind=ids_kind)

    def _blocks(self, rows: int) -> Iterator[Block]:
        columns = [self.name] + (["id"] if self.ids_kind else [])
        start = 0
        with _reading(self.path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=columns):
                values = self._values(batch.column(self.name), start)
                yield Block(values, self._ids(batch.column("id"), start) if self.ids_kind else None)
                start += batch.num_rows

    def _values(self, column: Any, start: int) -> Array:
        values = column.flatten()
        if column.null_count or values.null_count:
            _refuse_null(column, values, f"{self.path}: column {self.name!r}", self.dim, start)
        if hasattr(column, "offsets"):
            lengths = np.diff(column.offsets.to_numpy())
            if (lengths != self.dim).any():
                row = int(np.flatnonzero(lengths != self.dim)[0])
                raise InputError(
                    f"{self.path} has rows of different lengths: row {start + row} (from 0) of "
                    f"column {self.name!r} has {lengths[row]} dimensions, the first {self.dim}"
                )
        array: Array = values.to_numpy(zero_copy_only=False).reshape(len(column), self.dim)
        return array

    def _ids(self, column: Any, start: int) -> list[Any]:
        if column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise InputError(f"{self.path}: column 'id' is null at row {start + row} (from 0)")
        ids: list[Any] = column.to_pylist()
        return ids


def open_parquet(path: Path, column: str | None) -> VectorSource:
    """Open the list column ``column``, or the only one that holds lists of floats."""
    pa = require("pyarrow", extra="parquet", purpose=_PURPOSE)
    with _reading(path) as file:
        schema = file.schema_arrow
        lists = {f.name: f.type for f in schema if _is_list(pa, f.type)}
        floats = [k for k, kind in lists.items() if pa.types.is_floating(kind.value_type)]
        name = choose(path, "column", column, floats, schema.names)
        kind = lists.get(name)
        if kind is None or not _is_real(pa, kind.value_type):
            raise InputError(
                f"{path}: column {name!r} must hold lists of numbers, it holds "
                f"{schema.field(name).type}"
            )
        if schema.names.count(name) > 1:
            raise InputError(f"{path} has more than one column {name!r}; rename one of them")
        n = file.metadata.num_rows
        dim = kind.list_size if pa.types.is_fixed_size_list(kind) else _first_length(file, name)
        return ParquetFile(path, n, dim, str(kind.value_type), name, _ids_kind(pa, schema))


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """An open Parquet file; whatever pyarrow finds wrong with it is a `FileFormatError`."""
    pa = require("pyarrow", extra="parquet", purpose=_PURPOSE)
    parquet = require("pyarrow.parquet", extra="parquet", purpose=_PURPOSE)
    path.open("rb").close()  # a file that cannot be opened is told by its own OSError
    try:
        # A read buffer streams the pages; without one a whole row group's column is read at once.
        with parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{path} is not a whole Parquet file: {error}") from error


def _is_list(pa: Any, kind: Any) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_real(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _first_length(file: Any, name: str) -> int:
    for batch in file.iter_batches(batch_size=1, columns=[name]):
        first = batch.column(0)
        return 0 if first.null_count else len(first.flatten())
    return 0


def _ids_kind(pa: Any, schema: Any) -> IdsKind | None:
    """The type of the column ``id``; a column of neither integers nor strings is no id."""
    if schema.names.count("id") != 1:
        return None
    kind = schema.field("id").type
    if pa.types.is_integer(kind):
        return "int"
    return "str" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else None


def _refuse_null(column: Any, values: Any, where: str, dim: int, start: int) -> None:
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise InputError(f"{where} is null at row {start + row} (from 0); drop or repair that row")
    position = values.is_null().to_pylist().index(True)
    if hasattr(column, "offsets"):
        offsets = column.offsets.to_numpy()
        row = int(np.searchsorted(offsets - offsets[0], position, side="right")) - 1
    else:
        row = position // dim
    raise InputError(f"{where} holds a null at row {start + row} (from 0); drop or repair that row")
