"""NumPy's own files: .npy in C or Fortran order, and the arrays of an .npz archive."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from nestbit.errors import FileFormatError, InputError
from nestbit.io.source import Block, StridedSource, VectorSource, choose


@dataclass(frozen=True)
class NpyHeader:
    """Shape, order and dtype of an array, and the byte at which its values begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=object))


def read_npy_header(file: IO[bytes], where: str) -> NpyHeader:
    """Parse the header at the start of ``file``; ``where`` names it in messages.

    Raises `FileFormatError` for anything that is not an .npy header, and `InputError` for an
    array of Python objects, which would have to be unpickled.
    """
    try:
        version = npy_format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version[0]}.{version[1]} is not one for plain numbers")
        if version == (1, 0):
            shape, fortran, dtype = npy_format.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = npy_format.read_array_header_2_0(file)
        if any(length < 0 for length in shape):
            raise ValueError(f"shape {shape} is negative")
    # The header is parsed as a Python literal, which can fail in ways of its own.
    except (ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise FileFormatError(f"{where} is not a whole .npy file: {error}") from error
    if dtype.hasobject:
        raise InputError(
            f"{where} holds pickled Python objects, which are never unpickled; "
            "save the rows as one float array of shape (n, dim)"
        )
    return NpyHeader(shape, fortran, dtype, file.tell())


class NpyFile(StridedSource):
    """An .npy array of shape (n, dim) in C order."""

    def __init__(self, path: Path, header: NpyHeader, name: str | None = None) -> None:
        n, dim = _two_dimensional(path if name is None else f"{path}: {name!r}", header)
        super().__init__(path, n, dim, header.dtype.name, name=name)
        self.format = "npy" if name is None else "npz"
        self.row_dtype, self.offset = header.dtype, header.offset
        self.stride = dim * header.dtype.itemsize


class FortranNpyFile(VectorSource):
    """An .npy array of shape (n, dim) in Fortran order: one dimension after the other."""

    def __init__(self, path: Path, header: NpyHeader, name: str | None = None) -> None:
        n, dim = _two_dimensional(path if name is None else f"{path}: {name!r}", header)
        super().__init__(path, n, dim, header.dtype.name, name=name)
        self.format = "npy" if name is None else "npz"
        self._header = header

    def _blocks(self, rows: int) -> Iterator[Block]:
        dtype, offset = self._header.dtype, self._header.offset
        with self.path.open("rb", buffering=0) as file:
            for start in range(0, self.n, rows):
                count = min(rows, self.n - start)
                columns = np.empty((self.dim, count), dtype)
                for i in range(self.dim):
                    at = offset + (i * self.n + start) * dtype.itemsize
                    raw = os.pread(file.fileno(), count * dtype.itemsize, at)
                    if len(raw) < count * dtype.itemsize:
                        raise FileFormatError(f"{self.path} was truncated while it was read")
                    columns[i] = np.frombuffer(raw, dtype)
                yield Block(columns.T)


class NpzMember(VectorSource):
    """An array of a compressed archive, in C order, decompressed as it is read."""

    format = "npz"

    def __init__(self, path: Path, member: str, header: NpyHeader, name: str) -> None:
        n, dim = _two_dimensional(f"{path}: {name!r}", header)
        super().__init__(path, n, dim, header.dtype.name, name=name)
        self._member, self._header = member, header

    def _blocks(self, rows: int) -> Iterator[Block]:
        dtype = self._header.dtype
        with zipfile.ZipFile(self.path) as archive, archive.open(self._member) as file:
            self._read(file, self._header.offset)
            for start in range(0, self.n, rows):
                count = min(rows, self.n - start)
                raw = self._read(file, count * self.dim * dtype.itemsize)
                yield Block(raw.view(dtype).reshape(count, self.dim))

    def _read(self, file: IO[bytes], n_bytes: int) -> NDArray[np.uint8]:
        raw = np.empty(n_bytes, np.uint8)
        view = raw.data
        while len(view):
            try:
                block = file.read(min(len(view), 1 << 20))
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
                raise FileFormatError(f"{self.path} is damaged: {error}; copy it again") from error
            if not block:
                raise FileFormatError(f"{self.path}: array {self.name!r} is shorter than it says")
            view[: len(block)] = block
            view = view[len(block) :]
        return raw


def open_npy(path: Path, column: str | None) -> VectorSource:
    """Open an .npy file."""
    if column is not None:
        raise InputError(f"{path} holds one unnamed array; drop the column {column!r}")
    with path.open("rb") as file:
        header = read_npy_header(file, str(path))
        size = os.fstat(file.fileno()).st_size
    if header.offset + header.nbytes != size:
        state = "truncated" if header.offset + header.nbytes > size else "followed by other bytes"
        raise FileFormatError(
            f"{path} is {state}: its header tells of {header.offset + header.nbytes} bytes, "
            f"it has {size}; copy or save it again"
        )
    return FortranNpyFile(path, header) if header.fortran else NpyFile(path, header)


def open_npz(path: Path, column: str | None) -> VectorSource:
    """Open an array of an .npz archive; one that is not compressed is read in place."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            headers = {}
            for name, info in members.items():
                if info.filename.endswith(".npy"):
                    with archive.open(info) as file:
                        headers[name] = _header_or_none(file, f"{path}: {name!r}", name == column)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise FileFormatError(f"{path} is not a whole .npz archive: {error}") from error
    usable = [name for name, header in headers.items() if header and len(header.shape) == 2]
    name = choose(path, "array", column, usable, list(headers))
    info, header = members[name], headers[name]
    assert header is not None
    if header.offset + header.nbytes != info.file_size:
        raise FileFormatError(
            f"{path}: array {name!r} has {info.file_size} bytes, its header tells of "
            f"{header.offset + header.nbytes}; save the archive again"
        )
    if info.compress_type != zipfile.ZIP_STORED:
        if header.fortran:
            raise InputError(
                f"{path}: array {name!r} is compressed in Fortran order and cannot be read row by "
                "row; save it with numpy.ascontiguousarray, or uncompressed (numpy.savez)"
            )
        return NpzMember(path, info.filename, header, name)
    start = _stored_at(path, info)
    placed = NpyHeader(header.shape, header.fortran, header.dtype, start + header.offset)
    return (FortranNpyFile if header.fortran else NpyFile)(path, placed, name)


def _header_or_none(file: IO[bytes], where: str, asked: bool) -> NpyHeader | None:
    """The header of an archive's array; None for an array of objects that nobody asked for."""
    try:
        return read_npy_header(file, where)
    except InputError:
        if asked:
            raise
        return None


def _stored_at(path: Path, info: zipfile.ZipInfo) -> int:
    """The byte at which a stored member begins: its local header has lengths of its own."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(30)
    if len(local) < 30 or info.flag_bits & 1:
        raise FileFormatError(f"{path}: member {info.filename!r} is encrypted or cut off")
    lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    return info.header_offset + 30 + lengths


def _two_dimensional(where: Path | str, header: NpyHeader) -> tuple[int, int]:
    if len(header.shape) != 2:
        hint = "; save x[None, :] for a single vector" if len(header.shape) == 1 else ""
        raise InputError(f"{where} must have shape (n, dim), it has shape {header.shape}{hint}")
    if header.dtype.kind not in "fiu" or header.dtype.itemsize > 8:
        raise InputError(f"{where} must hold real numbers, it holds {header.dtype}")
    return header.shape
