"""A tensor of shape (n, dim) in a .safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._safetensors import NUMPY_OF, read_header
from nestbit.errors import InputError
from nestbit.io.source import Array, StridedSource, VectorSource, choose
from nestbit.kernels.floats import widen

FLOATS = ("F16", "BF16", "F32", "F64")
_REAL = (*FLOATS, "I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64")


class SafetensorsFile(StridedSource):
    """One tensor of the file; bfloat16 is widened to float32."""

    format = "safetensors"

    def __init__(
        self, path: Path, name: str, dtype: str, shape: tuple[int, ...], offset: int
    ) -> None:
        n, dim = shape
        super().__init__(path, n, dim, dtype, name=name)
        self.row_dtype, self.offset = np.dtype(NUMPY_OF[dtype]), offset
        self.stride = dim * self.row_dtype.itemsize

    def _values(self, raw: NDArray[np.uint8], first: int | NDArray[np.int64]) -> Array:
        values: NDArray[Any] = raw.view(self.row_dtype)
        return widen(values) if self.dtype == "BF16" else values


def open_safetensors(path: Path, column: str | None) -> VectorSource:
    """Open the tensor ``column``, or the only one of floats in two dimensions."""
    header = read_header(path)
    if "header_crc32" in header.metadata:
        raise InputError(
            f"{path} is a file that nestbit made, not vectors; see what it is with: nestbit info"
        )
    tensors = header.tensors
    usable = [
        k for k, tensor in tensors.items() if len(tensor.shape) == 2 and tensor.dtype in FLOATS
    ]
    name = choose(path, "tensor", column, usable, list(tensors))
    tensor = tensors[name]
    if len(tensor.shape) != 2:
        raise InputError(
            f"{path}: tensor {name!r} must have shape (n, dim), it has shape {tensor.shape}"
        )
    if tensor.dtype not in _REAL:
        raise InputError(
            f"{path}: tensor {name!r} must hold real numbers, it holds {tensor.dtype}; "
            f"known: {', '.join(_REAL)}"
        )
    return SafetensorsFile(path, name, tensor.dtype, tensor.shape, tensor.start)
