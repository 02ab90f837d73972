"""The safetensors container: header parsing with checks, layout, mapping and whole files.

The file is an 8-byte little-endian header length, a JSON header, and the tensors' bytes without
holes. Headers are parsed here, not by the safetensors package, so that arrays can be mapped or
streamed and so that every fault is a `FileFormatError` naming the file.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nestbit._atomic import atomic_file
from nestbit._seal import read_checksums, seal, with_checksums
from nestbit.errors import FileFormatError, InputError

Array = NDArray[Any]

# NumPy has no bfloat16: its bits are held as uint16.
NUMPY_OF = {
    "BOOL": "?",
    "U8": "<u1",
    "I8": "<i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "BF16": "<u2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}
_DTYPE_OF = {np.dtype(code): name for name, code in NUMPY_OF.items() if name != "BF16"}

# The safetensors package refuses longer headers, so a longer one is no safetensors file.
_MAX_HEADER = 100_000_000
ALIGNMENT = 64
PADDING = "_pad."


@dataclass(frozen=True)
class Tensor:
    """Where one tensor lies: ``start`` counts bytes from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int


@dataclass(frozen=True)
class Header:
    """A parsed and checked header: the tensors by name in file order, and string metadata."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    raw: bytes


def read_header(path: str | os.PathLike[str]) -> Header:
    """Parse the header of a safetensors file.

    Raises `FileFormatError` for a file that is truncated, altered or not safetensors at all, and
    `OSError` for one that cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or not 2 <= length <= _MAX_HEADER:
            raise FileFormatError(
                f"{path} is not a safetensors file: no header length at its start"
            )
        if length > size - 8:
            raise FileFormatError(
                f"{path} is truncated or not a safetensors file: its header should be {length} "
                f"bytes and {size - 8} follow; copy the file again"
            )
        raw = file.read(length)
    try:
        if not raw.startswith(b"{"):
            raise ValueError("it does not start with '{'")
        entries = json.loads(raw.decode(), object_pairs_hook=_unique)
        metadata = _metadata(entries.pop("__metadata__", {}))
        tensors = {name: _tensor(name, entry, 8 + length) for name, entry in entries.items()}
    except (ValueError, RecursionError) as error:  # covers JSON and UTF-8 errors
        raise FileFormatError(
            f"{path} has a header that is altered or not safetensors: {error}"
        ) from error
    tensors = dict(sorted(tensors.items(), key=lambda item: (item[1].start, item[1].nbytes)))
    _check_layout(path, tensors, 8 + length, size)
    return Header(path, tensors, metadata, raw)


def write_header(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, length: int | None = None
) -> bytes:
    """Length prefix and header, filled with spaces to ``length`` or to a multiple of 64 bytes.

    The ``start`` of each tensor counts from the end of the header here.
    """
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    for name, tensor in tensors.items():
        span = [tensor.start, tensor.start + tensor.nbytes]
        entries[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": span}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    if length is None:
        length = aligned(8 + len(text))
    if 8 + len(text) > length:
        raise ValueError(f"header of {8 + len(text)} bytes in {length} bytes reserved for it")
    return (length - 8).to_bytes(8, "little") + text.ljust(length - 8)


def aligned(position: int) -> int:
    """The next multiple of the alignment."""
    return -(-position // ALIGNMENT) * ALIGNMENT


def dtype_name(array: Array) -> str:
    """The safetensors name of an array's dtype; raises `InputError` for one it cannot hold."""
    name = _DTYPE_OF.get(array.dtype.newbyteorder("<"))
    if name is None:
        raise InputError(f"a file of arrays cannot hold the dtype {array.dtype}")
    return name


def with_padding(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Lay tensors one after the other on 64-byte boundaries, filled by padding tensors.

    The format allows no holes, so what lies between is a tensor too, named ``_pad.<i>``.
    """
    placed: dict[str, Tensor] = {}
    end = 0
    for name, tensor in arrays.items():
        if gap := aligned(end) - end:
            placed[f"{PADDING}{len(placed)}"] = Tensor("U8", (gap,), end, gap)
        placed[name] = Tensor(tensor.dtype, tensor.shape, aligned(end), tensor.nbytes)
        end = aligned(end) + tensor.nbytes
    return placed


def map_array(header: Header, name: str) -> Array:
    """Memory-map one tensor read-only; raises `FileFormatError` for a dtype NumPy lacks."""
    tensor = header.tensors[name]
    dtype = np.dtype(_numpy_code(header, name))
    if tensor.nbytes == 0:
        return np.empty(tensor.shape, dtype)
    with header.path.open("rb") as file:
        base = tensor.start // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        try:
            mapped = mmap.mmap(
                file.fileno(),
                tensor.start - base + tensor.nbytes,
                access=mmap.ACCESS_READ,
                offset=base,
            )
        except ValueError as error:  # the file was cut since its header was read
            raise FileFormatError(f"{header.path} was truncated while it was read") from error
    return np.frombuffer(
        mapped, dtype, count=prod(tensor.shape), offset=tensor.start - base
    ).reshape(tensor.shape)


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write arrays and string metadata as one file, atomically and with checksums.

    Raises `InputError` for a dtype that the format cannot hold, and for a name it keeps to itself.
    """
    for name in arrays:
        if name == "__metadata__" or name.startswith(PADDING):
            raise InputError(f"an array cannot be named {name!r}: the file format uses that name")
    tensors = with_padding(
        {name: Tensor(dtype_name(a), a.shape, 0, a.nbytes) for name, a in arrays.items()}
    )
    checksums = {name: crc32_of(array) for name, array in arrays.items()}
    header = seal(write_header(tensors, with_checksums(metadata, checksums)))
    with atomic_file(path) as file:
        file.write(header)
        for name, tensor in tensors.items():
            padding = name.startswith(PADDING)
            file.write(bytes(tensor.nbytes) if padding else byte_view(arrays[name]))


def read_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Read what `write_arrays` wrote: arrays in memory, and the metadata.

    Raises `FileFormatError` for a truncated, altered or foreign file.
    """
    header = read_header(path)
    checksums = read_checksums(header.path, header.raw, header.metadata)
    arrays = {name: read_array(header, name, checksums) for name in array_names(header)}
    return arrays, header.metadata


def array_names(header: Header) -> list[str]:
    """The tensors of a nestbit file in file order, padding left out."""
    return [name for name in header.tensors if not name.startswith(PADDING)]


def read_array(header: Header, name: str, checksums: Mapping[str, int]) -> Array:
    """Read one tensor into memory; raises `FileFormatError` unless its checksum is right."""
    array = np.array(map_array(header, name))
    check_crc32(header, name, crc32_of(array), checksums)
    return array


def check_crc32(header: Header, name: str, found: int, checksums: Mapping[str, int]) -> None:
    """Raise `FileFormatError` where ``found`` is not the checksum of the array ``name``."""
    if checksums.get(name) != found:
        raise FileFormatError(
            f"{header.path}: array {name!r} is altered (checksum mismatch); "
            "copy or make the file again"
        )


def crc32_of(array: Array) -> int:
    """CRC-32 of an array's bytes in little-endian C order."""
    return zlib.crc32(byte_view(array))


def byte_view(array: Array) -> memoryview:
    """An array's bytes in little-endian C order, copied only where they must be."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def copy_range(file: BinaryIO, start: int, nbytes: int) -> Iterator[bytes]:
    """The bytes of a range of a file, in blocks of at most a mebibyte."""
    file.seek(start)
    while nbytes > 0:
        block = file.read(min(nbytes, 1 << 20))
        if not block:
            raise FileFormatError(f"{file.name} was truncated while it was read")
        nbytes -= len(block)
        yield block


def _numpy_code(header: Header, name: str) -> str:
    dtype = header.tensors[name].dtype
    if dtype not in NUMPY_OF:
        raise FileFormatError(f"{header.path}: tensor {name!r} has the dtype {dtype}, unknown here")
    return NUMPY_OF[dtype]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a name occurs twice")
    return entries


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("__metadata__ is not a map of strings")
    return value


def _tensor(name: str, entry: Any, data_start: int) -> Tensor:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} lacks dtype, shape or data_offsets")
    dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (_are_counts(shape) and _are_counts(span) and len(span) == 2):
        raise ValueError(f"tensor {name!r} has a shape or offsets that are not counts")
    begin, end = span
    if not isinstance(dtype, str) or begin > end:
        raise ValueError(f"tensor {name!r} has no dtype, or ends before it begins")
    # A dtype unknown here may be one that a newer safetensors knows: only its use is an error.
    if dtype in NUMPY_OF and prod(shape) * np.dtype(NUMPY_OF[dtype]).itemsize != end - begin:
        raise ValueError(f"tensor {name!r} of shape {tuple(shape)} does not fill its offsets")
    return Tensor(dtype, tuple(shape), data_start + begin, end - begin)


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 63 for v in values)


def _check_layout(path: Path, tensors: Mapping[str, Tensor], start: int, size: int) -> None:
    end = start
    for name, tensor in tensors.items():
        if tensor.start != end:
            raise FileFormatError(f"{path} is altered: tensor {name!r} overlaps or leaves a hole")
        end += tensor.nbytes
    if end != size:
        state = "truncated" if end > size else "followed by foreign bytes"
        raise FileFormatError(
            f"{path} is {state}: its header tells of {end} bytes, it has {size}; copy it again"
        )
