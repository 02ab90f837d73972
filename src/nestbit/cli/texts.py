"""Texts to be embedded and stored: JSON lines, or plain text with one text a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nestbit.errors import FileFormatError, InputError
from nestbit.io.jsonl import ID_KEYS

SUFFIXES = (".jsonl", ".txt")


@dataclass
class Texts:
    """Some texts of a file, their ids, and what else was said of each."""

    ids: list[int | str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    metadata: list[dict[str, Any] | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)


def read_texts(path: Path, key: str, first_id: int, count: int) -> Iterator[Texts]:
    """Texts of a file, ``count`` at a time; blank lines are skipped.

    Of JSON lines, ``key`` is the text, ``id`` or ``_id`` the id, and the other keys are metadata.
    Texts without an id get numbers from ``first_id`` on. Raises `InputError` for a text that is
    missing or empty, `FileFormatError` for a line that is not JSON.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} is no file of texts; known suffixes: {', '.join(SUFFIXES)}")
    some = Texts()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise FileFormatError(f"{path}: line {number} is not UTF-8: {error}") from error
            if path.suffix == ".txt":
                some.ids.append(first_id)
                some.texts.append(text.strip())
                some.metadata.append(None)
            else:
                _add_record(some, f"{path}: line {number}", text, key, first_id)
            first_id += 1
            if len(some) == count:
                yield some
                some = Texts()
    if some:
        yield some


def _add_record(some: Texts, where: str, line: str, key: str, number: int) -> None:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise FileFormatError(f"{where} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise FileFormatError(f"{where} is not an object with keys")
    text = record.pop(key, None)
    if not isinstance(text, str) or not text.strip():
        known = ", ".join(record) or "none"
        raise InputError(f"{where} has no text under {key!r}; its other keys: {known}")
    named = next((record.pop(k) for k in ID_KEYS if k in record), number)
    some.ids.append(named)
    some.texts.append(text)
    some.metadata.append(record or None)
