"""The codecs of an index, each in a file of its own beside the catalog."""

from __future__ import annotations

import zlib
from pathlib import Path

from nestbit._safetensors import read_header
from nestbit.codecs import Codec
from nestbit.errors import FileFormatError
from nestbit.index.catalog import CodecEntry


def codec_path(directory: Path, number: int) -> Path:
    """Where the codec of a number is written."""
    return directory / f"codec-{number}.safetensors"


def save_codec(codec: Codec, path: Path) -> CodecEntry:
    """Write a codec and return what the catalog must know of it."""
    codec.save(path)
    return CodecEntry(path.name, _fingerprint(path))


def load_codec(directory: Path, entry: CodecEntry) -> Codec:
    """Read a codec; raises `FileFormatError` unless it is whole and the one that was saved."""
    path = directory / entry.file
    try:
        codec = Codec.load(path)
    except FileFormatError as error:
        raise FileFormatError(f"{path} cannot be used: {error}") from error
    if _fingerprint(path) != entry.header_crc32:
        raise FileFormatError(
            f"{path} is not the file that the catalog tells of: it belongs to another index; "
            "restore both from one copy"
        )
    return codec


def _fingerprint(path: Path) -> int:
    # The header holds the checksums of all arrays.
    return zlib.crc32(read_header(path).raw)
