"""What every vector file looks like to the rest of nestbit: rows in chunks, checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats, first_non_finite
from nestbit.errors import FileFormatError, InputError

Array = NDArray[Any]
IdsKind = Literal["int", "str"]

# A chunk's float32 rows fill at most this much unless the caller names a number of rows.
CHUNK_BYTES = 32 << 20


class Block(NamedTuple):
    """Consecutive rows as the file holds them, and their ids where it has any."""

    rows: Array
    ids: Sequence[int] | Sequence[str] | None = None


class Chunk(NamedTuple):
    """Consecutive rows from row ``start`` on: checked float32 (rows, dim), and their ids."""

    start: int
    rows: Floats
    ids: Sequence[int] | Sequence[str] | None


class VectorSource(ABC):
    """A file of n vectors of ``dim`` dimensions, read in chunks and never as a whole.

    ``dtype`` is how the file stores a value, ``name`` the array, tensor, column or key read, and
    ``ids_kind`` tells whether rows carry ids, and of which type.
    """

    format: str

    def __init__(
        self,
        path: Path,
        n: int,
        dim: int,
        dtype: str,
        *,
        name: str | None = None,
        ids_kind: IdsKind | None = None,
    ) -> None:
        if n == 0 or dim == 0:
            what = "rows" if n == 0 else "dimensions"
            raise InputError(f"{path} has no {what}: its vectors have shape ({n}, {dim})")
        self.path, self.n, self.dim, self.dtype = path, n, dim, dtype
        self.name, self.ids_kind = name, ids_kind

    @abstractmethod
    def _blocks(self, rows: int) -> Iterator[Block]:
        """All rows in file order, in blocks of at most ``rows``, each of any real dtype."""

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, Floats]]:
        """Yield (number of the first row, float32 array of at most ``rows`` × dim).

        Raises `InputError` for a value that is not finite, with its row's number from 0, and
        `FileFormatError` for a damaged file.
        """
        for chunk in self.chunks_with_ids(rows):
            yield chunk.start, chunk.rows

    def chunks_with_ids(self, rows: int | None = None) -> Iterator[Chunk]:
        """As `chunks`, with the ids of the rows where the file has any."""
        if rows is None:
            rows = self.rows_in(CHUNK_BYTES)
        elif rows < 1:
            raise InputError(f"a chunk must have at least 1 row, got {rows}")
        start = 0
        for block in self._blocks(rows):
            yield Chunk(start, self._checked(block.rows, start), block.ids)
            start += len(block.rows)
        if start != self.n:
            raise FileFormatError(
                f"{self.path} was changed while it was read: {start} rows instead of {self.n}"
            )

    def rows_in(self, n_bytes: int) -> int:
        """How many float32 rows fill ``n_bytes``, at least one."""
        return max(1, n_bytes // (4 * self.dim))

    def take(self, indices: NDArray[np.int64]) -> Floats:
        """The rows (len(indices), dim) of sorted row numbers, by one pass over the file."""
        taken = np.empty((len(indices), self.dim), np.float32)
        done = 0
        for start, rows in self.chunks():
            upto = int(np.searchsorted(indices, start + len(rows)))
            taken[done:upto] = rows[indices[done:upto] - start]
            done = upto
            if done == len(indices):
                break
        return taken

    def sample(self, rows: int, seed: int = 0) -> Floats:
        """At most ``rows`` random rows in file order; all of them where the file has no more."""
        if rows < 1:
            raise InputError(f"the sample must have at least 1 row, got {rows}")
        if rows >= self.n:
            return self.take(np.arange(self.n))
        chosen = np.random.default_rng(seed).choice(self.n, rows, replace=False)
        return self.take(np.sort(chosen))

    def _checked(self, rows: Array, first: int | NDArray[np.int64]) -> Floats:
        """Rows as finite float32; ``first`` is the number of the first row, or all numbers."""
        # float64 values beyond float32 become infinite, and signalling NaNs may warn.
        with np.errstate(over="ignore", invalid="ignore"):
            floats = np.ascontiguousarray(rows, dtype=np.float32)
        if (found := first_non_finite(floats)) is not None:
            row, column = found
            number = first + row if isinstance(first, int) else int(first[row])
            raise InputError(
                f"{self.path} holds {rows[row, column]} at row {number} (from 0), "
                f"dimension {column}, not a finite float32; drop or repair that row"
            )
        return floats


class StridedSource(VectorSource):
    """Rows at equal distances in a plain file, so that any row is read without the others.

    Row i holds ``dim`` values of ``row_dtype`` from byte ``offset + i * stride`` on.
    """

    row_dtype: np.dtype[Any]
    offset: int
    stride: int

    def _blocks(self, rows: int) -> Iterator[Block]:
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            for start in range(0, self.n, rows):
                count = min(rows, self.n - start)
                # readinto, not a memory map: mapped pages would count as resident.
                raw = np.empty((count, self.stride), np.uint8)
                self._read_into(file, raw)
                yield Block(self._values(raw, start))

    def take(self, indices: NDArray[np.int64]) -> Floats:
        """The rows (len(indices), dim) of sorted row numbers, read one by one."""
        taken = np.empty((len(indices), self.dim), np.float32)
        step = self.rows_in(CHUNK_BYTES)
        with self.path.open("rb", buffering=0) as file:
            for start in range(0, len(indices), step):
                part = indices[start : start + step]
                raw = np.empty((len(part), self.stride), np.uint8)
                for row, index in zip(raw, part.tolist(), strict=True):
                    file.seek(self.offset + index * self.stride)
                    self._read_into(file, row)
                values = self._values(raw, part)
                taken[start : start + len(part)] = self._checked(values, part)
        return taken

    def _values(self, raw: NDArray[np.uint8], first: int | NDArray[np.int64]) -> Array:
        """The values (rows, dim) in raw rows (rows, stride)."""
        return raw.view(self.row_dtype)

    def _read_into(self, file: FileIO, raw: NDArray[np.uint8]) -> None:
        view = raw.reshape(-1).data
        while len(view):
            got = file.readinto(view)
            if not got:
                raise self._cut()
            view = view[got:]

    def _cut(self) -> FileFormatError:
        return FileFormatError(f"{self.path} was truncated while it was read")


def choose(
    path: Path, kind: str, asked: str | None, usable: Sequence[str], present: Sequence[str]
) -> str:
    """The array, tensor, column or key to read: the one asked for, or the only usable one.

    Raises `InputError` that lists what there is.
    """
    if asked is not None:
        if asked not in present:
            raise InputError(f"{path} has no {kind} {asked!r}; it has: {listing(present)}")
        return asked
    if not usable:
        raise InputError(f"{path} has no {kind} of vectors; it has: {listing(present)}")
    if len(usable) > 1:
        raise InputError(
            f"{path} has more than one {kind} of vectors: {listing(usable)}; "
            "name one (--column on the command line)"
        )
    return usable[0]


def listing(names: Sequence[str]) -> str:
    """Names for a message, the first dozen of them."""
    shown = ", ".join(names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "") if names else "none"
