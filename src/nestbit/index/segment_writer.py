"""Writing a segment, the format of which `nestbit.index.segment` describes."""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._atomic import atomic_file
from nestbit._columns import ColumnFile
from nestbit._safetensors import byte_view, dtype_name
from nestbit.codecs import Codec, Codes
from nestbit.index.catalog import SegmentEntry
from nestbit.index.id_column import IdColumn
from nestbit.index.numbering import Rows
from nestbit.index.partitions import Partitions
from nestbit.index.segment import DIRECTORY, FLAT_VERSION, FORMAT, FORMAT_VERSION


class SegmentWriter:
    """Writes a segment of ``n`` rows block by block; the file appears whole and synced.

    ``rows`` (n,) are the ascending row numbers, ``ids`` the rows' in that order. With
    ``partitions`` the i-th of them comes at place ``order[i]``. `write` returns what the catalog
    must know.
    """

    def __init__(
        self,
        directory: Path,
        codec: Codec,
        number: int,
        rows: Rows,
        ids: IdColumn | None,
        partitions: Partitions | None = None,
        order: NDArray[np.uint32] | None = None,
    ) -> None:
        self._directory, self._codec, self._number, self._rows = directory, codec, number, rows
        self._extra: dict[str, NDArray[Any]] = {}
        if self._gaps:
            self._extra["rows"] = rows
        if ids is not None:
            self._extra |= ids.arrays()
        if partitions is not None and order is not None:
            ranks = np.empty_like(order)
            ranks[order] = np.arange(len(order), dtype=np.uint32)
            self._extra |= {"order": order, "ranks": ranks, **partitions.arrays()}
        self._version = FLAT_VERSION if partitions is None else FORMAT_VERSION
        self._name = f"{rows[0]:012d}-{secrets.token_hex(4)}.safetensors"
        self.path = directory / DIRECTORY / self._name

    def write(self, blocks: Iterable[Codes]) -> SegmentEntry:
        """Write all rows, in order."""
        zero_rows: list[Rows] = [np.empty(0, np.int64)]
        done, first, last = 0, int(self._rows[0]), int(self._rows[-1])
        with atomic_file(self.path) as file:
            columns = ColumnFile(file)
            for codes in blocks:
                if not columns:
                    self._lay_out(columns, codes)
                for i, level in enumerate(codes.levels):
                    columns.write(f"level{i}.data", byte_view(level.data))
                    for name in sorted(level.factors):
                        columns.write(f"level{i}.{name}", byte_view(level.factors[name]))
                zero_rows.append(codes.zero_rows + done)
                done += len(codes)
            if done != len(self._rows):
                raise ValueError(f"{len(self._rows)} rows were announced, {done} came")
            for name, array in self._extra.items():
                columns.write(name, byte_view(array))
            columns.write("zero_rows", byte_view(np.concatenate(zero_rows)))
            header = columns.finish(self._metadata)
            nbytes = os.fstat(file.fileno()).st_size
        return SegmentEntry(
            self._name, self._number, first, last, done, nbytes, zlib.crc32(header[8:])
        )

    @property
    def _gaps(self) -> bool:
        return int(self._rows[-1]) - int(self._rows[0]) + 1 != len(self._rows)

    def _lay_out(self, columns: ColumnFile, codes: Codes) -> None:
        n = len(self._rows)
        factors = [sorted(level.factors) for level in codes.levels]
        for i, (level, fitted) in enumerate(zip(codes.levels, self._codec.levels, strict=True)):
            dtype = "BF16" if fitted.coder.kind == "bfloat16" else dtype_name(level.data)
            columns.declare(f"level{i}.data", dtype, (n, level.data.shape[1]))
            for name in factors[i]:
                columns.declare(f"level{i}.{name}", dtype_name(level.factors[name]), (n,))
        for name, array in self._extra.items():
            columns.declare(name, dtype_name(array), array.shape)
        columns.declare("zero_rows", "I64", None)
        header = {
            "n": n,
            "first_row": int(self._rows[0]),
            "codec": self._number,
            "factors": factors,
        }
        self._metadata = {
            "format": FORMAT,
            "format_version": str(self._version),
            "header": json.dumps(header),
        }
        # The length of zero_rows is still to grow, and the offsets behind it.
        columns.lay_out(self._metadata, 128)
