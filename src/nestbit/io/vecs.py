"""The .fvecs and .bvecs files of the ANN benchmarks (http://corpus-texmex.irisa.fr).

Each row is a little-endian int32 with the number of dimensions, then the values: float32 in
.fvecs, uint8 in .bvecs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestbit.errors import FileFormatError, InputError
from nestbit.io.source import Array, StridedSource, VectorSource

# A first length beyond this is taken for the start of some other kind of file.
_MAX_DIM = 1 << 20


class VecsFile(StridedSource):
    """Rows that each repeat the number of dimensions."""

    def __init__(self, path: Path, n: int, dim: int, value: np.dtype[np.generic]) -> None:
        super().__init__(path, n, dim, value.name)
        self.row_dtype, self.offset = value, 0
        self.stride = 4 + dim * value.itemsize

    def _values(self, raw: NDArray[np.uint8], first: int | NDArray[np.int64]) -> Array:
        dims = np.ascontiguousarray(raw[:, :4]).view("<i4")[:, 0]
        if (dims != self.dim).any():
            row = int(np.flatnonzero(dims != self.dim)[0])
            number = first + row if isinstance(first, int) else int(first[row])
            raise InputError(
                f"{self.path} has rows of different lengths: row {number} (from 0) says "
                f"{dims[row]} dimensions, the first row {self.dim}"
            )
        return np.ascontiguousarray(raw[:, 4:]).view(self.row_dtype)


class FvecsFile(VecsFile):
    """Rows of float32."""

    format = "fvecs"


class BvecsFile(VecsFile):
    """Rows of uint8."""

    format = "bvecs"


def open_fvecs(path: Path, column: str | None) -> VectorSource:
    """Open an .fvecs file."""
    return FvecsFile(path, *_shape(path, column, 4), np.dtype("<f4"))


def open_bvecs(path: Path, column: str | None) -> VectorSource:
    """Open a .bvecs file."""
    return BvecsFile(path, *_shape(path, column, 1), np.dtype("u1"))


def _shape(path: Path, column: str | None, itemsize: int) -> tuple[int, int]:
    if column is not None:
        raise InputError(f"{path} holds one unnamed array; drop the column {column!r}")
    with path.open("rb") as file:
        dim = int.from_bytes(file.read(4), "little", signed=True)
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path} is empty")
    if size < 4 or not 1 <= dim <= _MAX_DIM:
        raise FileFormatError(
            f"{path} is not a {path.suffix} file: its first row has {dim} dimensions"
        )
    n, rest = divmod(size, 4 + dim * itemsize)
    if rest:
        raise FileFormatError(
            f"{path} is truncated or has rows of different lengths: after {n} rows of {dim} "
            f"dimensions, as in the first, {rest} bytes are left"
        )
    return n, dim
