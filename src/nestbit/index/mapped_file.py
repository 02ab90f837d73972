"""An immutable safetensors file of an index: its header is proved, its arrays are mapped."""

from __future__ import annotations

import mmap
import os
import weakref
import zlib
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._safetensors import (
    NUMPY_OF,
    array_names,
    check_crc32,
    copy_range,
    crc32_of,
    read_header,
)
from nestbit._seal import read_checksums
from nestbit.errors import FileFormatError

_CACHE_LINE = 64


class MappedFile:
    """A file of ``kind`` ("segment") whose format is ``format`` in one of some ``versions``.

    Raises `FileFormatError` for a file that is truncated, altered, foreign or of another version,
    or whose header has not the checksum ``header_crc32``, and `FileNotFoundError`.
    """

    def __init__(
        self, path: Path, kind: str, format: str, versions: tuple[int, ...], header_crc32: int
    ) -> None:
        self.path = path
        self._map: mmap.mmap | None = None
        # One descriptor from here on: the file may be removed while a snapshot still reads it.
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        self.header = read_header(path)
        self._checksums = read_checksums(path, self.header.raw, self.header.metadata)
        if self.header.metadata.get("format") != format:
            raise FileFormatError(f"{path} is not a {kind} of an index")
        version = self.header.metadata.get("format_version")
        if version not in [str(known) for known in versions]:
            raise FileFormatError(
                f"{path} has format version {version!r}, this nestbit reads "
                f"{versions[0]} to {versions[-1]}; update nestbit"
            )
        if zlib.crc32(self.header.raw) != header_crc32:
            raise FileFormatError(
                f"{path} is not the file that the catalog tells of: it belongs to another "
                "index or another state of this one; restore both from one copy"
            )

    def mapped(self, name: str) -> NDArray[Any]:
        """An array as the file has it, read when it is touched."""
        tensor = self.header.tensors[name]
        dtype = np.dtype(NUMPY_OF[tensor.dtype])
        if not tensor.nbytes:
            return np.empty(tensor.shape, dtype)
        if self._map is None:
            self._map = mmap.mmap(self.descriptor, 0, access=mmap.ACCESS_READ)
        array = np.frombuffer(self._map, dtype, count=prod(tensor.shape), offset=tensor.start)
        return array.reshape(tensor.shape)

    def at_random(self, name: str) -> None:
        """Tell the system that rows of an array are read here and there, not in order."""
        tensor = self.header.tensors[name]
        if self._map is not None and tensor.nbytes and hasattr(mmap, "MADV_RANDOM"):
            start = tensor.start // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_RANDOM, start, tensor.start + tensor.nbytes - start)

    def read(self, name: str, *, check: bool = False) -> NDArray[Any]:
        """An array in memory of its own, proved if that is asked for."""
        tensor = self.header.tensors[name]
        array = _aligned(tensor.shape, np.dtype(NUMPY_OF[tensor.dtype]))
        into, done = array.reshape(-1).view(np.uint8).data, 0
        while done < len(into):
            got = os.preadv(self.descriptor, [into[done:]], tensor.start + done)
            if not got:
                raise FileFormatError(f"{self.path} was truncated while it was read")
            done += got
        if check:
            check_crc32(self.header, name, crc32_of(array), self._checksums)
        return array

    def verify(self, progress: Callable[[int], object]) -> None:
        """Read the file against its checksums; raises `FileFormatError`."""
        with self.path.open("rb") as file:
            for name in array_names(self.header):
                tensor, crc32 = self.header.tensors[name], 0
                for block in copy_range(file, tensor.start, tensor.nbytes):
                    crc32 = zlib.crc32(block, crc32)
                    progress(len(block))
                check_crc32(self.header, name, crc32, self._checksums)


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array that begins with a cache line, lest each of its rows reaches into one more.

    For large ones NumPy asks the system for huge pages, which rows read at random are found in
    with fewer steps.
    """
    nbytes = prod(shape) * dtype.itemsize
    memory = np.empty(nbytes + _CACHE_LINE, np.uint8)
    skipped = -memory.ctypes.data % _CACHE_LINE
    return memory[skipped : skipped + nbytes].view(dtype).reshape(shape)
