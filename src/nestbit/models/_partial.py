"""Rows appended to a file that survive a crash, and become a .npy by one atomic rename."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nestbit._arrays import Floats
from nestbit._atomic import atomic_file, sync_directory
from nestbit.errors import FileFormatError, InputError

FORMAT = 1
_HEADER_BYTES = 128
_CHECK_BYTES = 1 << 22


class TextHash:
    """Running SHA-256 of a sequence of texts, each prefixed by its length in bytes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, text: object, row: int) -> None:
        """Add one text; raises `InputError` naming ``row`` for what is no Unicode text."""
        if not isinstance(text, str):
            raise InputError(f"text {row} is {type(text).__name__}, not str; convert or drop it")
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"text {row} holds a lone surrogate at character {error.start}; "
                "decode its source with errors='replace'"
            ) from error
        self._hash.update(len(data).to_bytes(8, "little"))
        self._hash.update(data)

    def hexdigest(self) -> str:
        """Return the digest of the texts so far."""
        return self._hash.hexdigest()


@dataclass(frozen=True)
class Journal:
    """What the rows on disk were made from: only rows it counts are trusted."""

    format: int
    model: str
    kind: str
    dim: int
    rows: int
    texts_sha256: str
    rows_crc32: int
    complete: bool

    @classmethod
    def read(cls, path: Path) -> Journal | None:
        """Read the journal at ``path``, None if there is none; raises `FileFormatError`."""
        try:
            found: Any = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise FileFormatError(f"{path} is not a journal of nestbit; delete it") from error
        types = {field.name: field.type for field in fields(cls)}
        if not isinstance(found, dict) or set(found) != set(types):
            raise FileFormatError(f"{path} is not a journal of nestbit; delete it")
        for name, kind in types.items():
            if type(found[name]).__name__ != kind:
                raise FileFormatError(f"{path}: {name} is {found[name]!r}; delete it")
        if found["format"] != FORMAT:
            raise FileFormatError(
                f"{path} has format {found['format']}, this nestbit reads {FORMAT}; delete it"
            )
        return cls(**found)

    def write(self, path: Path) -> None:
        """Replace the journal at ``path`` durably."""
        with atomic_file(path) as file:
            file.write(json.dumps(asdict(self), indent=1).encode())


class PartialRows:
    """The file ``PATH.partial``: a .npy whose header gets its row count when it is finished.

    Held under an exclusive lock, so that two runs cannot append to one file.
    """

    def __init__(self, path: Path, dim: int) -> None:
        self.path = path
        self._dim = dim
        self.rows = 0
        self.crc32 = 0
        self._file = _open_locked(path)

    @property
    def fresh(self) -> bool:
        """True if the file was empty or absent: no run has begun to fill it."""
        return os.fstat(self._file.fileno()).st_size == 0

    def keep(self, rows: int, crc32: int) -> None:
        """Trust the first ``rows`` rows if their checksum agrees, and drop what follows them."""
        end = _HEADER_BYTES + rows * self._dim * 4
        size = os.fstat(self._file.fileno()).st_size
        if size < end:
            raise FileFormatError(
                f"{self.path} is truncated: {size} bytes, its journal promises {end}; delete it"
            )
        self._file.seek(_HEADER_BYTES)
        found, left = 0, end - _HEADER_BYTES
        while left:
            data = self._file.read(min(left, _CHECK_BYTES))
            found, left = zlib.crc32(data, found), left - len(data)
        if found != crc32:
            raise FileFormatError(f"{self.path} was altered (its checksum differs); delete it")
        self._file.truncate(end)
        self.rows, self.crc32 = rows, crc32

    def clear(self) -> None:
        """Forget every row."""
        self._file.truncate(0)
        self._file.seek(0)
        self._file.write(_npy_header(0, self._dim))
        self._sync()
        self.rows = self.crc32 = 0

    def first(self) -> Floats:
        """Return row 0, shape (dim,)."""
        self._file.seek(_HEADER_BYTES)
        return np.frombuffer(self._file.read(self._dim * 4), dtype="<f4")

    def append(self, x: Floats) -> None:
        """Append rows (n, dim); they are durable when this returns."""
        data = np.ascontiguousarray(x, dtype="<f4").tobytes()
        self._file.seek(0, os.SEEK_END)
        self._file.write(data)
        self._sync()
        self.rows += len(x)
        self.crc32 = zlib.crc32(data, self.crc32)

    def finish(self, target: Path) -> None:
        """Write the row count and rename the file to ``target``."""
        self._file.seek(0)
        self._file.write(_npy_header(self.rows, self._dim))
        self._sync()
        os.replace(self.path, target)
        sync_directory(target.parent)

    def discard(self) -> None:
        """Remove the file; used when it was only opened for its lock."""
        self.path.unlink()

    def close(self) -> None:
        """Release the file and its lock; the rows stay."""
        self._file.close()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def _open_locked(path: Path) -> BinaryIO:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from error
        file = os.fdopen(descriptor, "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise InputError(f"another process is embedding into {path}; wait for it") from error
        # Another run may have renamed the file between our open and our lock.
        if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
            return file
        file.close()


def _npy_header(rows: int, dim: int) -> bytes:
    """Return a .npy 1.0 header of fixed size: the row count is only known at the end."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}"
    body = text.ljust(_HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode("latin1")
