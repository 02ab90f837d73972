"""A segment: the codes of some rows in one immutable safetensors file.

Arrays begin on 64-byte boundaries: ``level<i>.data`` and ``level<i>.<factor>`` of each level,
``rows`` (n,) int64 where the row numbers have gaps, ``zero_rows``, and the rows' ids (see
`IdColumn`), which segments of older versions lack. A partitioned segment also has ``order`` and
``ranks`` (n,) uint32 (see `Numbering`) and ``partition.<name>`` (see `Partitions`). Metadata:
``format`` ("nestbit.segment"), ``format_version`` (2 where partitioned), ``header`` (JSON: n, first
row, number of the codec, factors of each level), and the checksums that `nestbit._seal` describes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit._safetensors import NUMPY_OF
from nestbit.codecs import Codec, Codes, LevelCodes, check_codes
from nestbit.errors import FileFormatError, NestbitError
from nestbit.index.catalog import GraphEntry, SegmentEntry
from nestbit.index.graph_file import SegmentGraph
from nestbit.index.id_column import IdColumn
from nestbit.index.mapped_file import MappedFile
from nestbit.index.numbering import Numbering, Rows
from nestbit.index.partitions import Partitions
from nestbit.kernels.floats import top_k_named
from nestbit.kernels.gather import gather_rows

DIRECTORY = "segments"
FORMAT = "nestbit.segment"
FORMAT_VERSION = 2
# What a segment without partitions is written as, so that older versions go on reading it.
FLAT_VERSION = 1

_NUMBERING = ("rows", "order", "ranks")
# Sums of a few factors below it are finite.
_LARGE_FACTOR = np.float32(1e37)


class _Column(NamedTuple):
    """An array of a level: where it starts in the file, bytes and values of a row."""

    start: int
    width: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def values(self, rows: NDArray[np.uint8]) -> NDArray[Any]:
        """Rows (c, width) of bytes as what they hold."""
        values = rows.view(self.dtype)
        return values if values.shape[1:] == self.shape else values.reshape(-1, *self.shape)


class Segment:
    """An open segment: its header is proved, its arrays are mapped when they are asked for.

    Rows are found by their place in the segment, 0 to n - 1. ``pinned`` keeps the coarsest level
    in memory of its own from its first use on, and the graph, where there is one; a graph for speed
    is kept there with all levels. Raises `FileFormatError` for a file that is truncated, altered,
    foreign or of a newer version, and `FileNotFoundError`.
    """

    def __init__(
        self,
        directory: Path,
        entry: SegmentEntry,
        codec: Codec,
        pinned: bool,
        graph: GraphEntry | None = None,
    ) -> None:
        self.entry, self.codec = entry, codec
        self.path = directory / DIRECTORY / entry.file
        self._pinned = pinned
        self._lock = threading.Lock()
        self._levels: dict[int, LevelCodes] = {}
        self._file = MappedFile(
            self.path, "segment", FORMAT, (FLAT_VERSION, FORMAT_VERSION), entry.header_crc32
        )
        self._header = self._file.header
        self._check_header()
        self.graph_entry = graph
        self.graph = None
        if graph is not None:
            self.graph = SegmentGraph(self.path.with_name(graph.file), graph, entry.n, pinned)
        self._partitions: Partitions | None = None
        self.numbering = Numbering(
            self.path,
            entry.first_row,
            entry.last_row,
            *(
                self._file.mapped(name) if name in self._header.tensors else None
                for name in _NUMBERING
            ),
        )
        self.zero_rows: Rows = np.array(self._file.mapped("zero_rows"))

    def __len__(self) -> int:
        return self.entry.n

    def level(self, i: int) -> LevelCodes:
        """All rows of a level, mapped, or in memory where the level is held."""
        with self._lock:
            if i not in self._levels:
                self._levels[i] = self._in_memory(i) if self.holds(i) else self._level(i)
            return self._levels[i]

    def take(self, levels: Sequence[int], places: Rows) -> list[LevelCodes]:
        """The rows of levels at sorted, distinct ``places``, read from the file in one go.

        The disk is told of all of them before the first is waited for; nothing stays mapped.
        """
        held = {i: self._levels[i] for i in levels if i in self._levels and self.holds(i)}
        read = [i for i in levels if i not in held]
        columns = [column for i in read for column in self._columns[i]]
        ranges = [(column.start, column.width) for column in columns]
        found = gather_rows(self.path, self._file.descriptor, ranges, places, len(self))
        values = iter([c.values(rows) for c, rows in zip(columns, found, strict=True)])
        taken: dict[int, LevelCodes] = {}
        for i, codes in held.items():
            factors = {name: factor[places] for name, factor in codes.factors.items()}
            taken[i] = LevelCodes(codes.layout, codes.data[places], factors)
        for i in read:
            data, factors = next(values), {name: next(values) for name in self._factors[i]}
            taken[i] = LevelCodes(self.codec.levels[i].coder.layout, data, factors)
        return [taken[i] for i in levels]

    def codes_at(self, places: Rows) -> Codes:
        """All levels of the rows at sorted ``places``, in memory."""
        levels = self.take(range(len(self.codec.levels)), places)
        return Codes(tuple(levels), np.flatnonzero(np.isin(places, self.zero_rows)))

    def places(self, rows: Rows) -> Rows:
        """Places of those of the sorted row numbers that lie in this segment, in their order."""
        return self.numbering.places(rows)

    def row_numbers(self, places: Rows) -> Rows:
        """Row numbers of the rows at ``places``."""
        return self.numbering.numbers(places)

    def ids_of(self, rows: Rows) -> NDArray[Any] | None:
        """Ids of row numbers that are here, in any order; None where the segment keeps none."""
        return None if self.ids is None else self.ids.at(self.numbering.positions(rows))

    def best_named(
        self, places: Rows, scores: Floats, k: int
    ) -> tuple[NDArray[np.int64], Floats] | None:
        """Ids and scores of the k best ``places`` (m, c); None where it keeps no ids of integers.

        Of equal scores the smaller row number comes first.
        """
        if self.ids is None or self.ids.numbers is None:
            return None
        try:
            return top_k_named(places, scores, k, self.numbering.ranks, self.ids.numbers)
        except IndexError as error:
            raise FileFormatError(
                f"{self.path}: array 'ranks' is altered ({error}); restore the index from a copy"
            ) from None

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
        """Bytes of levels that are held in memory."""
        with self._lock:
            return sum(codes.nbytes for i, codes in self._levels.items() if self.holds(i))

    def verify(self, progress: Callable[[int], object]) -> None:
        """Read the file, and that of the graph, against checksums; raises `FileFormatError`."""
        self._file.verify(progress)
        if self.graph is not None:
            self.graph.verify(progress)

    def at_random(self, i: int) -> None:
        """Tell the system that rows of a level are read here and there, not in order."""
        self._file.at_random(f"level{i}.data")

    def holds(self, i: int) -> bool:
        """Whether a level, once it is asked for, stays in memory."""
        fast = self.graph is not None and self.graph.profile == "speed"
        return fast or (self._pinned and i == 0)

    def _check_header(self) -> None:
        metadata, entry = self._header.metadata, self.entry
        try:
            self._factors: list[list[str]] = json.loads(metadata["header"])["factors"]
            empty = [self._level(i, rows=0) for i in range(len(self.codec.levels))]
            check_codes(self.codec, Codes(tuple(empty), np.empty(0, np.int64)))
            arrays = [f"level{i}.{name}" for i, f in enumerate(self._factors) for name in f]
            arrays += [f"level{i}.data" for i in range(len(self._factors))]
            if metadata["format_version"] != str(FLAT_VERSION):
                arrays += ["order", "ranks"]
                _ = [self._header.tensors[name] for name in Partitions.needed()]
            self.ids = IdColumn.read(self._file)
            if self.ids is not None and len(self.ids) != entry.n:
                raise ValueError(f"{len(self.ids)} ids for {entry.n} rows")
            if any(self._header.tensors[name].shape[:1] != (entry.n,) for name in arrays):
                raise ValueError(f"an array has not the {entry.n} rows of the catalog")
        except (KeyError, IndexError, TypeError, ValueError, NestbitError) as error:
            raise FileFormatError(f"{self.path} does not fit the codec: {error!r}") from error

    def _level(self, i: int, rows: int | None = None) -> LevelCodes:
        names = self._factors[i]
        factors = {name: self._file.mapped(f"level{i}.{name}")[:rows] for name in names}
        layout = self.codec.levels[i].coder.layout
        return LevelCodes(layout, self._file.mapped(f"level{i}.data")[:rows], factors)

    def _read_partitions(self) -> Partitions:
        names = [name for name in Partitions.names() if name in self._header.tensors]
        arrays = {name: self._file.read(name, check=True) for name in names}
        try:
            return Partitions.of(arrays, len(self), self.codec.dim)
        except (TypeError, ValueError) as error:
            raise FileFormatError(f"{self.path} has no sound partitions: {error}") from error

    def _in_memory(self, i: int) -> LevelCodes:
        """A level read from the file: pages of its map would count twice."""
        factors = {name: self._file.read(f"level{i}.{name}") for name in self._factors[i]}
        # What scores are made of is finite then, too.
        proved = all(bool((np.abs(x) < _LARGE_FACTOR).all()) for x in factors.values())
        data = self._file.read(f"level{i}.data")
        return LevelCodes(self.codec.levels[i].coder.layout, data, factors, proved)

    @cached_property
    def _columns(self) -> list[list[_Column]]:
        """Of each level its data, then its factors."""
        return [
            [self._column(f"level{i}.{name}") for name in ("data", *factors)]
            for i, factors in enumerate(self._factors)
        ]

    def _column(self, name: str) -> _Column:
        tensor = self._header.tensors[name]
        dtype, shape = np.dtype(NUMPY_OF[tensor.dtype]), tuple(tensor.shape[1:])
        return _Column(tensor.start, prod(shape) * dtype.itemsize, dtype, shape)
