"""A segment: the codes of some rows in one immutable safetensors file.

Arrays begin on 64-byte boundaries: ``level<i>.data`` and ``level<i>.<factor>`` of each level,
``rows`` (n,) int64 where the row numbers have gaps, and ``zero_rows``. A partitioned segment also
has ``order`` and ``ranks`` (n,) uint32 (see `Numbering`) and ``partition.<name>`` (see
`Partitions`). Metadata: ``format`` ("nestbit.segment"), ``format_version`` (2 where partitioned),
``header`` (JSON: n, first row, number of the codec, factors of each level), and the checksums that
`nestbit._seal` describes.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._atomic import atomic_file
from nestbit._columns import ColumnFile
from nestbit._safetensors import (
    NUMPY_OF,
    array_names,
    byte_view,
    check_crc32,
    copy_range,
    crc32_of,
    dtype_name,
    read_header,
)
from nestbit._seal import read_checksums
from nestbit.codecs import Codec, Codes, LevelCodes, check_codes
from nestbit.errors import FileFormatError, NestbitError
from nestbit.index.catalog import SegmentEntry
from nestbit.index.numbering import Numbering, Rows
from nestbit.index.partitions import Partitions

DIRECTORY = "segments"
FORMAT = "nestbit.segment"
FORMAT_VERSION = 2
# What a segment without partitions is written as, so that older versions go on reading it.
_FLAT_VERSION = 1

_NUMBERING = ("rows", "order", "ranks")

# Rows that lie closer than this are read together: a page is read from disk in any case.
_GAP_BYTES = 4096


class Segment:
    """An open segment: its header is proved, its arrays are mapped when they are asked for.

    Rows are found by their place in the segment, 0 to n - 1. ``pinned`` keeps the coarsest level
    in memory of its own from its first use on. Raises `FileFormatError` for a file that is
    truncated, altered, foreign or of a newer version, and `FileNotFoundError`.
    """

    def __init__(self, directory: Path, entry: SegmentEntry, codec: Codec, pinned: bool) -> None:
        self.entry, self.codec = entry, codec
        self.path = directory / DIRECTORY / entry.file
        self._pinned = pinned
        self._lock = threading.Lock()
        self._levels: dict[int, LevelCodes] = {}
        self._map: mmap.mmap | None = None
        # One descriptor from here on: the file may be removed while a snapshot still reads it.
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self._header = read_header(self.path)
        self._checksums = read_checksums(self.path, self._header.raw, self._header.metadata)
        self._check_header()
        self._partitions: Partitions | None = None
        self.numbering = Numbering(
            self.path,
            entry.first_row,
            entry.last_row,
            *(self._mapped(name) if name in self._header.tensors else None for name in _NUMBERING),
        )
        self.zero_rows: Rows = np.array(self._mapped("zero_rows"))

    def __len__(self) -> int:
        return self.entry.n

    def level(self, i: int) -> LevelCodes:
        """All rows of a level, mapped, or in memory where the level is pinned."""
        with self._lock:
            if i not in self._levels:
                part = self._level(i)
                if self._pinned and i == 0:
                    part = self._in_memory(part)
                self._levels[i] = part
            return self._levels[i]

    def take(self, i: int, places: Rows) -> LevelCodes:
        """The rows of a level at sorted ``places``, read from the file in one go.

        The disk is told of all of them before the first is waited for; nothing stays mapped.
        """
        if self.pinned_bytes and i == 0:
            whole = self._levels[0]
            factors = {name: factor[places] for name, factor in whole.factors.items()}
            return LevelCodes(whole.layout, whole.data[places], factors)
        whole = self._level(i)
        data = self._read_rows(f"level{i}.data", places)
        return LevelCodes(
            whole.layout,
            data,
            {name: self._read_rows(f"level{i}.{name}", places) for name in whole.factors},
        )

    def codes_at(self, places: Rows) -> Codes:
        """All levels of the rows at sorted ``places``, in memory."""
        levels = tuple(self.take(i, places) for i in range(len(self.codec.levels)))
        return Codes(levels, np.flatnonzero(np.isin(places, self.zero_rows)))

    def places(self, rows: Rows) -> Rows:
        """Places of those of the sorted row numbers that lie in this segment, in their order."""
        return self.numbering.places(rows)

    def row_numbers(self, places: Rows) -> Rows:
        """Row numbers of the rows at ``places``."""
        return self.numbering.numbers(places)

    @property
    def n_partitions(self) -> int:
        """Partitions in whose order the rows lie; 0 where they lie by their numbers."""
        offsets = self._header.tensors.get("partition.offsets")
        return 0 if offsets is None else offsets.shape[0] - 1

    @property
    def partitions(self) -> Partitions:
        """The partitions of a segment that has any, read and proved at their first use."""
        with self._lock:
            if self._partitions is None:
                self._partitions = self._read_partitions()
            return self._partitions

    def bytes_by_level(self) -> list[int]:
        """Bytes on disk of each level."""
        return [
            sum(
                t.nbytes
                for name, t in self._header.tensors.items()
                if name.startswith(f"level{i}.")
            )
            for i in range(len(self.codec.levels))
        ]

    @property
    def pinned_bytes(self) -> int:
        """Bytes of the coarsest level that are held in memory."""
        return self._levels[0].nbytes if self._pinned and 0 in self._levels else 0

    def verify(self, progress: Callable[[int], object]) -> None:
        """Read the file against its checksums; raises `FileFormatError`."""
        with self.path.open("rb") as file:
            for name in array_names(self._header):
                tensor, crc32 = self._header.tensors[name], 0
                for block in copy_range(file, tensor.start, tensor.nbytes):
                    crc32 = zlib.crc32(block, crc32)
                    progress(len(block))
                check_crc32(self._header, name, crc32, self._checksums)

    def _check_header(self) -> None:
        metadata, entry = self._header.metadata, self.entry
        if metadata.get("format") != FORMAT:
            raise FileFormatError(f"{self.path} is not a segment of an index")
        if metadata.get("format_version") not in (str(FORMAT_VERSION), str(_FLAT_VERSION)):
            raise FileFormatError(
                f"{self.path} has format version {metadata.get('format_version')!r}, this nestbit "
                f"reads {_FLAT_VERSION} to {FORMAT_VERSION}; update nestbit"
            )
        if zlib.crc32(self._header.raw) != entry.header_crc32:
            raise FileFormatError(
                f"{self.path} is not the file that the catalog tells of: it belongs to another "
                "index or another state of this one; restore both from one copy"
            )
        try:
            self._factors: list[list[str]] = json.loads(metadata["header"])["factors"]
            empty = [self._level(i, rows=0) for i in range(len(self.codec.levels))]
            check_codes(self.codec, Codes(tuple(empty), np.empty(0, np.int64)))
            arrays = [f"level{i}.{name}" for i, f in enumerate(self._factors) for name in f]
            arrays += [f"level{i}.data" for i in range(len(self._factors))]
            if metadata["format_version"] != str(_FLAT_VERSION):
                arrays += ["order", "ranks"]
                _ = [self._header.tensors[name] for name in Partitions.names()]
            if any(self._header.tensors[name].shape[:1] != (entry.n,) for name in arrays):
                raise ValueError(f"an array has not the {entry.n} rows of the catalog")
        except (KeyError, IndexError, TypeError, ValueError, NestbitError) as error:
            raise FileFormatError(f"{self.path} does not fit the codec: {error!r}") from error

    def _level(self, i: int, rows: int | None = None) -> LevelCodes:
        names = self._factors[i]
        factors = {name: self._mapped(f"level{i}.{name}")[:rows] for name in names}
        layout = self.codec.levels[i].coder.layout
        return LevelCodes(layout, self._mapped(f"level{i}.data")[:rows], factors)

    def _read_partitions(self) -> Partitions:
        names = Partitions.names()
        arrays = {name: self._read(name) for name in names}
        for name, array in arrays.items():
            check_crc32(self._header, name, crc32_of(array), self._checksums)
        try:
            return Partitions.of(arrays, len(self), self.codec.dim)
        except (TypeError, ValueError) as error:
            raise FileFormatError(f"{self.path} has no sound partitions: {error}") from error

    def _in_memory(self, mapped: LevelCodes) -> LevelCodes:
        """The coarsest level read from the file: pages of its map would count twice."""
        data = self._read("level0.data")
        return LevelCodes(
            mapped.layout, data, {name: self._read(f"level0.{name}") for name in mapped.factors}
        )

    def _read(self, name: str) -> NDArray[Any]:
        tensor = self._header.tensors[name]
        array = np.empty(tensor.shape, NUMPY_OF[tensor.dtype])
        self._pread(tensor.start, array.reshape(-1).view(np.uint8).data)
        return array

    def _mapped(self, name: str) -> NDArray[Any]:
        tensor = self._header.tensors[name]
        dtype = np.dtype(NUMPY_OF[tensor.dtype])
        if not tensor.nbytes:
            return np.empty(tensor.shape, dtype)
        if self._map is None:
            self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        array = np.frombuffer(self._map, dtype, count=prod(tensor.shape), offset=tensor.start)
        return array.reshape(tensor.shape)

    def _read_rows(self, name: str, places: Rows) -> NDArray[Any]:
        tensor = self._header.tensors[name]
        dtype = np.dtype(NUMPY_OF[tensor.dtype])
        width = prod(tensor.shape[1:]) * dtype.itemsize
        raw = np.empty((len(places), width), np.uint8)
        if len(places):
            # Neighbours form runs, and a run is one read; the places between them are skipped.
            cuts = np.flatnonzero(np.diff(places) * width > _GAP_BYTES) + 1
            first = places[np.concatenate([[0], cuts])]
            last = places[np.concatenate([cuts - 1, [-1]])]
            ends = np.concatenate([cuts, [len(places)]])
            runs = list(zip(first.tolist(), last.tolist(), ends.tolist(), strict=True))
            if len(runs) > 1 and hasattr(os, "posix_fadvise"):
                for low, high, _ in runs:
                    os.posix_fadvise(
                        self._descriptor,
                        tensor.start + low * width,
                        (high + 1 - low) * width,
                        os.POSIX_FADV_WILLNEED,
                    )
            begin = 0
            for low, high, end in runs:
                whole = high + 1 - low == end - begin
                block = raw[begin:end] if whole else np.empty((high + 1 - low, width), np.uint8)
                self._pread(tensor.start + low * width, block.reshape(-1).data)
                if not whole:
                    raw[begin:end] = block[places[begin:end] - low]
                begin = end
        return raw.reshape(-1).view(dtype).reshape(len(places), *tensor.shape[1:])

    def _pread(self, start: int, into: memoryview) -> None:
        done = 0
        while done < len(into):
            got = os.preadv(self._descriptor, [into[done:]], start + done)
            if not got:
                raise FileFormatError(f"{self.path} was truncated while it was read")
            done += got


class SegmentWriter:
    """Writes a segment of ``n`` rows block by block; the file appears whole and synced.

    ``rows`` (n,) are the ascending row numbers. With ``partitions`` the i-th of them comes at
    place ``order[i]``. `write` returns what the catalog must know.
    """

    def __init__(
        self,
        directory: Path,
        codec: Codec,
        number: int,
        rows: Rows,
        partitions: Partitions | None = None,
        order: NDArray[np.uint32] | None = None,
    ) -> None:
        self._directory, self._codec, self._number, self._rows = directory, codec, number, rows
        self._extra: dict[str, NDArray[Any]] = {}
        if self._gaps:
            self._extra["rows"] = rows
        if partitions is not None and order is not None:
            ranks = np.empty_like(order)
            ranks[order] = np.arange(len(order), dtype=np.uint32)
            self._extra |= {"order": order, "ranks": ranks, **partitions.arrays()}
        self._version = _FLAT_VERSION if partitions is None else FORMAT_VERSION
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
