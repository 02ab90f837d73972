"""What goes into an index beside the embeddings, checked, and what comes out."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.errors import InputError

Id = int | str
# What is stored of a row: document, metadata as JSON, and the checksum of both.
Attachment = tuple[str | None, str | None, int | None]


@dataclass(frozen=True)
class Record:
    """A row of an index; ``embedding`` (dim,) is its reconstruction, where asked for."""

    id: Id
    document: str | None
    metadata: dict[str, Any] | None
    embedding: Floats | None = None


@dataclass(frozen=True)
class Stats:
    """An index in numbers.

    ``deleted`` rows still take their place in segments until compaction. ``level_bytes`` are the
    segments' bytes by level, coarse to fine, of the codec in use, ``float_rows`` the rows that
    wait as float32 for the codec to be fitted or to be encoded by compaction. ``pinned_bytes``
    are held in memory. ``partitions`` are those of all partitioned segments, ``graphs`` the
    profiles of all graphs, and why they are there.
    """

    rows: int
    deleted: int
    float_rows: int
    segments: int
    generation: int
    level_bytes: tuple[int, ...]
    segment_bytes: int
    catalog_bytes: int
    pinned_bytes: int
    partitions: int
    profile: str
    graph_bytes: int
    graphs: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes on disk."""
        return self.segment_bytes + self.graph_bytes + self.catalog_bytes


def as_ids(ids: Iterable[Any], kind: str | None) -> tuple[list[Id], str]:
    """Ids as a list of one type, and its name: ``int`` or ``str``.

    Raises `InputError` for other types, for a mixture, for types other than the index's ``kind``,
    integers beyond 64 bits, and an id that occurs twice.
    """
    if isinstance(ids, str | bytes):
        raise InputError(f"ids must be a sequence, got {ids!r}; pass [id] for a single row")
    listed = ids.tolist() if isinstance(ids, np.ndarray) else [_plain(i) for i in ids]
    types = set(map(type, listed))
    if unknown := types - {int, str}:
        bad = next(i for i in listed if type(i) in unknown)
        raise InputError(f"ids are strings or integers, got {bad!r}")
    if len(types) > 1:
        raise InputError("ids are strings or integers, not both; convert the integers to strings")
    found = "str" if str in types else "int" if types else kind or "int"
    if kind is not None and listed and found != kind:
        names = {"int": "integers", "str": "strings"}
        raise InputError(f"the ids of this index are {names[kind]}, got {names[found]}")
    if found == "int" and listed and not -(1 << 63) <= min(listed) <= max(listed) < 1 << 63:
        raise InputError("integer ids must fit 64 bits; use strings for larger ones")
    if found == "str":
        for i in listed:
            _check_text(i, "id")
    if len(set(listed)) < len(listed):
        seen: set[Id] = set()
        twice = next(i for i in listed if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise InputError(f"the id {twice!r} occurs twice in one call")
    return listed, found


def attachments(
    n: int,
    documents: Sequence[str | None] | None,
    metadata: Sequence[Mapping[str, Any] | None] | None,
) -> Iterator[Attachment]:
    """What to store of each of n rows, lazily; raises `InputError` with the row's number."""
    for name, values in (("documents", documents), ("metadata", metadata)):
        if values is None:
            continue
        if isinstance(values, str | Mapping) or not hasattr(values, "__len__"):
            raise InputError(f"{name} must be a list with one entry per row, got {type(values)}")
        if len(values) != n:
            raise InputError(f"{n} embeddings came with {len(values)} {name}")
    return _attachments(n, documents, metadata)


def _attachments(
    n: int,
    documents: Sequence[str | None] | None,
    metadata: Sequence[Mapping[str, Any] | None] | None,
) -> Iterator[Attachment]:
    for i in range(n):
        document = None if documents is None else documents[i]
        if document is not None:
            if not isinstance(document, str):
                raise InputError(f"documents must be strings, got {document!r} for row {i}")
            _check_text(document, f"document of row {i}")
        fields = None if metadata is None else metadata[i]
        text = None if fields is None else _as_json(fields, i)
        crc32 = None if document is None and text is None else attachment_crc32(document, text)
        yield document, text, crc32


def attachment_crc32(document: str | None, metadata: str | None) -> int:
    """Checksum of a row's document and metadata."""
    # NUL cannot stand in JSON, so that no text can pass from one to the other unseen.
    return zlib.crc32(f"{metadata or ''}\x00{document or ''}".encode())


def _as_json(fields: Any, row: int) -> str:
    if not isinstance(fields, Mapping) or not all(isinstance(key, str) for key in fields):
        raise InputError(f"metadata must be dicts with string keys, got {fields!r} for row {row}")
    try:
        text = json.dumps(dict(fields), ensure_ascii=False, allow_nan=False, default=_number)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the metadata of row {row} has no JSON form: {error}") from error
    _check_text(text, f"metadata of row {row}")
    return text


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} of type {type(value).__name__}")


def _plain(value: Any) -> Any:
    if isinstance(value, np.integer | np.str_):
        return value.item()
    return value


def _check_text(text: str, what: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the {what}, {text[:40]!r}, has no UTF-8 form") from error


def id_array(ids: Sequence[Id], kind: str | None) -> NDArray[Any]:
    """Ids as an array: int64, or Python strings in an object array."""
    if kind == "str":
        array = np.empty(len(ids), object)
        array[:] = ids
        return array
    return np.array(ids, np.int64)
