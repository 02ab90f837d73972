"""A safetensors file whose arrays grow side by side, as rows arrive chunk by chunk.

Its header comes first in the file and is known last: room is reserved for it, and it is written
when everything else is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import BinaryIO
from zlib import crc32

import numpy as np

from nestbit._safetensors import NUMPY_OF, Tensor, aligned, with_padding, write_header
from nestbit._seal import seal, with_checksums


@dataclass
class _Column:
    """An array that grows as chunks arrive; without a shape its length is known at the end."""

    dtype: str
    shape: tuple[int, ...] | None
    start: int = 0
    nbytes: int = 0
    crc32: int = 0

    def tensor(self) -> Tensor:
        """The array as the header tells of it: whole, even while rows are still to come."""
        itemsize = np.dtype(NUMPY_OF[self.dtype]).itemsize
        shape = self.shape if self.shape is not None else (self.nbytes // itemsize,)
        return Tensor(self.dtype, shape, 0, prod(shape) * itemsize)


class ColumnFile:
    """Arrays written piece by piece into ``file``, with checksums of each and of the header.

    Declare every array, lay the file out, write, and finish. An array without a shape is as long
    as what is written to it; `place` must be called before anything is written behind one.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._columns: dict[str, _Column] = {}
        self._reserved = 0

    def __bool__(self) -> bool:
        return bool(self._columns)

    def declare(self, name: str, dtype: str, shape: tuple[int, ...] | None) -> None:
        """Add an array, which lies behind those declared before."""
        self._columns[name] = _Column(dtype, shape)

    def lay_out(self, metadata: Mapping[str, str], growth: int) -> None:
        """Give every array its place; the header may become ``growth`` bytes longer until the end.

        ``metadata`` is as it will be then, but for what is not known yet.
        """
        self._reserved = aligned(len(self._header(metadata, None)) + growth)
        self.place()

    def place(self) -> None:
        """Place the arrays anew behind those whose length has become known."""
        for name, tensor in self._tensors().items():
            if name in self._columns:
                self._columns[name].start = self._reserved + tensor.start

    def nbytes(self, name: str) -> int:
        """Bytes written to an array so far."""
        return self._columns[name].nbytes

    def write(self, name: str, data: memoryview) -> None:
        """Append bytes to an array."""
        column = self._columns[name]
        self._file.seek(column.start + column.nbytes)
        self._file.write(data)
        column.crc32 = crc32(data, column.crc32)
        column.nbytes += len(data)

    def finish(self, metadata: Mapping[str, str]) -> bytes:
        """Write and return the header, once every array is whole."""
        # The padding before an empty last array is the end of the file.
        self._file.truncate(max(c.start + c.nbytes for c in self._columns.values()))
        header = seal(self._header(metadata, self._reserved))
        self._file.seek(0)
        self._file.write(header)
        return header

    def _tensors(self) -> dict[str, Tensor]:
        return with_padding({name: column.tensor() for name, column in self._columns.items()})

    def _header(self, metadata: Mapping[str, str], length: int | None) -> bytes:
        checksums = {name: column.crc32 for name, column in self._columns.items()}
        return write_header(self._tensors(), with_checksums(metadata, checksums), length=length)
