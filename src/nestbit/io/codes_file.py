"""The compressed file: a codec, the codes of n rows and their ids in one safetensors file.

Arrays begin on 64-byte boundaries, in this order: ``level<i>.data`` and ``level<i>.<factor>`` of
each level, ``codec.<name>`` (the codec's state), ``ids.int`` (n,) or ``ids.ends`` (n,) with
``ids.text``, and ``zero_rows``. Metadata: ``format`` ("nestbit.codes"), ``format_version``,
``header`` (JSON: n, kind of ids, factors and clipped share of each level, the codec's own
header), and the checksums that `nestbit._seal` describes.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._safetensors import (
    Array,
    Header,
    array_names,
    check_crc32,
    copy_range,
    map_array,
    read_array,
    read_header,
)
from nestbit._seal import read_checksums
from nestbit.codecs import Codec, Codes, LevelCodes, check_codes
from nestbit.errors import FileFormatError, NestbitError
from nestbit.io.codes_writer import FORMAT, FORMAT_VERSION, CodesWriter, write_codes
from nestbit.io.ids import Ids, StringIds

# How the per-row factors are stored.
_FACTORS = {"norm2": "F32", "offset": "F32", "scale": "F16"}

__all__ = ["FORMAT", "FORMAT_VERSION", "CodesWriter", "read_codes", "verify", "write_codes"]


def read_codes(path: str | os.PathLike[str]) -> tuple[Codec, Codes, Ids | None]:
    """Open a compressed file: its codec, its codes and ids, both memory-mapped.

    Codec and header are proved against their checksums, codes and ids are not (see `verify`).
    Raises `FileFormatError` for a file that is truncated, altered, foreign or of a newer version.
    """
    header, checksums = _open(path)
    try:
        return _read(header, checksums)
    except NestbitError:
        raise
    # Only a file made on purpose has a header that is whole and yet makes no sense.
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path} has a header of another build: {error!r}") from error


def verify(
    path: str | os.PathLike[str], progress: Callable[[int], object] = lambda n_bytes: None
) -> None:
    """Read the whole file against its checksums; raises `FileFormatError` as `read_codes` does.

    ``progress`` is called with the number of bytes of each block that was read.
    """
    read_codes(path)
    header, checksums = _open(path)
    with header.path.open("rb") as file:
        for name in array_names(header):
            crc32 = 0
            for block in copy_range(file, header.tensors[name].start, header.tensors[name].nbytes):
                crc32 = zlib.crc32(block, crc32)
                progress(len(block))
            check_crc32(header, name, crc32, checksums)


def _open(path: str | os.PathLike[str]) -> tuple[Header, dict[str, int]]:
    """The header and the arrays' checksums of a file of this format and version, proved whole."""
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] != b"{":
        raise FileFormatError(f"{path} is not a compressed file; make one with: nestbit compress")
    header = read_header(path)
    metadata = header.metadata
    if metadata.get("format") != FORMAT:
        found = "a codec without codes" if "nestbit.codec" in metadata else "a file of tensors"
        raise FileFormatError(
            f"{path} is {found}, not a compressed file; make one with: nestbit compress"
        )
    version = metadata.get("format_version", "")
    if version != str(FORMAT_VERSION):
        raise FileFormatError(
            f"{path} has format version {version!r}, this nestbit reads {FORMAT_VERSION}; "
            "update nestbit, or make the file again"
        )
    return header, read_checksums(path, header.raw, metadata)


def _read(header: Header, checksums: Mapping[str, int]) -> tuple[Codec, Codes, Ids | None]:
    content = json.loads(header.metadata["header"])
    n = content["n"]
    arrays = {
        name.removeprefix("codec."): read_array(header, name, checksums)
        for name in array_names(header)
        if name.startswith("codec.")
    }
    try:
        codec = Codec.from_state(arrays, content["codec"])
    except NestbitError as error:
        raise FileFormatError(f"{header.path}: {error}") from error
    levels = []
    for i, factors in enumerate(content["factors"]):
        coder = codec.levels[i].coder
        dtype = "BF16" if coder.kind == "bfloat16" else None
        data = _mapped(header, f"level{i}.data", (n, coder.width), dtype)
        by_name = {
            name: _mapped(header, f"level{i}.{name}", (n,), _FACTORS[name]) for name in factors
        }
        levels.append(LevelCodes(coder.layout, data, by_name))
    codes = Codes(tuple(levels), _zero_rows(header, checksums, n), tuple(content["clipped"]))
    try:
        check_codes(codec, codes)
    except NestbitError as error:
        raise FileFormatError(f"{header.path}: {error}") from error
    return codec, codes, _ids(header, content["ids"], n)


def _mapped(header: Header, name: str, shape: tuple[int, ...], dtype: str | None) -> Array:
    tensor = header.tensors.get(name)
    if tensor is None:
        raise FileFormatError(f"{header.path} lacks the array {name!r}")
    if tensor.shape != shape or (dtype is not None and tensor.dtype != dtype):
        raise FileFormatError(
            f"{header.path}: array {name!r} is {tensor.dtype} of shape {tensor.shape}, "
            f"its header tells of {dtype or 'codes'} of shape {shape}"
        )
    return map_array(header, name)


def _zero_rows(header: Header, checksums: Mapping[str, int], n: int) -> NDArray[np.int64]:
    rows: NDArray[np.int64] = read_array(header, "zero_rows", checksums)
    inside = rows.ndim == 1 and rows.dtype == np.int64 and ((rows >= 0) & (rows < n)).all()
    if not inside or (np.diff(rows) <= 0).any():
        raise FileFormatError(f"{header.path}: the array 'zero_rows' holds no sorted row numbers")
    return rows


def _ids(header: Header, kind: Any, n: int) -> Ids | None:
    if kind is None:
        return None
    if kind == "int":
        return _mapped(header, "ids.int", (n,), "I64")
    if kind != "str":
        raise FileFormatError(f"{header.path} has ids of the unknown kind {kind!r}")
    text = header.tensors["ids.text"]
    ends = _mapped(header, "ids.ends", (n,), "I64")
    return StringIds(ends, _mapped(header, "ids.text", (text.nbytes,), "U8"), f"{header.path}")
