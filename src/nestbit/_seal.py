"""Checksums in the metadata of nestbit's own safetensors files.

``crc32`` holds the CRC-32 of every array by name, and ``header_crc32`` that of the file's JSON
header (its filling included), computed with zeros in its own place.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping

from nestbit.errors import FileFormatError

_KEY = b'"header_crc32":"'
_OPEN = "00000000"


def with_checksums(metadata: Mapping[str, str], checksums: Mapping[str, int]) -> dict[str, str]:
    """Metadata with the arrays' checksums, and room for the header's own, first of all."""
    by_name = json.dumps({name: f"{value:08x}" for name, value in checksums.items()})
    return {"header_crc32": _OPEN, **metadata, "crc32": by_name}


def seal(header: bytes) -> bytes:
    """Put the checksum of a header (8 bytes of length first) into it."""
    room = _KEY + _OPEN.encode()
    return header.replace(room, _KEY + f"{zlib.crc32(header[8:]):08x}".encode(), 1)


def read_checksums(
    path: str | os.PathLike[str], header: bytes, metadata: Mapping[str, str]
) -> dict[str, int]:
    """Prove the header whole and return the arrays' checksums; raises `FileFormatError`."""
    if "header_crc32" not in metadata or "crc32" not in metadata:
        raise FileFormatError(f"{path} is a safetensors file, but not one that nestbit wrote")
    at = header.find(_KEY) + len(_KEY)
    end = at + len(_OPEN)
    unsealed = header[:at] + _OPEN.encode() + header[end:]
    if f"{zlib.crc32(unsealed):08x}".encode() != header[at:end]:
        raise FileFormatError(
            f"{path} has an altered header (checksum mismatch); copy or make the file again"
        )
    try:
        return {name: int(value, 16) for name, value in json.loads(metadata["crc32"]).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{path} has checksums that do not parse: {error}") from error
