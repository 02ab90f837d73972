"""Rows of JSONL, CSV and Parquet files as texts with a title and a name."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from nestbit._extras import require
from nestbit.errors import FileFormatError, InputError

_TEXT_NAMES = (
    "text",
    "content",
    "body",
    "document",
    "passage",
    "abstract",
    "article",
    "description",
    "summary",
    "comment",
    "review",
    "sentence",
)
_TITLE_NAMES = ("title", "headline", "subject", "question", "name")
_ID_NAMES = ("name", "_id", "id", "url", "key")
_PEEKED_LINES = 100
_PARQUET_BATCH = 1024


@dataclass(frozen=True)
class Row:
    """One text with the name it is shown by and its title, empty when it has none."""

    name: str
    title: str
    text: str


@dataclass(frozen=True)
class Columns:
    """The columns that hold text, title and name."""

    text: str
    title: str | None
    name: str | None

    @property
    def used(self) -> list[str]:
        """The columns to read, each once."""
        return list(dict.fromkeys(c for c in (self.text, self.title, self.name) if c))


Record = dict[str, str]
Records = Callable[[Columns], Iterator[tuple[int, Record]]]


def columns_of(file: Path, columns: list[str], text_column: str | None) -> Columns:
    """Choose the columns of ``file``: the text column as named, else by a usual name, else alone.

    Raises `InputError` listing the columns when the one named is not there, or none can be told.
    """
    if not columns:
        raise InputError(f"{file} has no column of text")
    listing = ", ".join(columns)
    if text_column is not None:
        if text_column not in columns:
            raise InputError(f"{file} has no column {text_column!r} of text; it has: {listing}")
        text = text_column
    else:
        by_name = {column.casefold(): column for column in reversed(columns)}
        guess = next((by_name[name] for name in _TEXT_NAMES if name in by_name), None)
        if guess is None and len(columns) == 1:
            guess = columns[0]
        if guess is None:
            raise InputError(
                f"cannot tell which column of {file} is the text; name one with --text-column: "
                + listing
            )
        text = guess
    others = {column.casefold(): column for column in reversed(columns) if column != text}
    title = next((others[name] for name in _TITLE_NAMES if name in others), None)
    name = next((others[n] for n in _ID_NAMES if n in others and others[n] != title), None)
    return Columns(text, title, name)


def read_jsonl(file: Path) -> tuple[list[str], Records]:
    """Columns of string values in the first 100 lines, and a reader of all rows."""
    columns: dict[str, None] = {}
    for _, record in islice(_json_lines(file), _PEEKED_LINES):
        columns |= {key: None for key, value in record.items() if isinstance(value, str)}

    def records(wanted: Columns) -> Iterator[tuple[int, Record]]:
        for number, record in _json_lines(file):
            yield number, _strings(record, wanted)

    return list(columns), records


def read_csv(file: Path) -> tuple[list[str], Records]:
    """Columns of the header line, and a reader of all rows."""
    delimiter = _delimiter(file)
    header = next((row for _, row in _csv_rows(file, delimiter)), [])
    if len(set(header)) < len(header):
        raise FileFormatError(f"{file} repeats a column in its first line: {', '.join(header)}")

    def records(wanted: Columns) -> Iterator[tuple[int, Record]]:
        for number, row in islice(_csv_rows(file, delimiter), 1, None):
            if row and len(row) != len(header):
                raise FileFormatError(
                    f"{file}, line {number}: {len(row)} fields, the first line has {len(header)}"
                )
            yield number - 1, _strings(dict(zip(header, row, strict=False)), wanted)

    return header, records


def read_parquet(file: Path) -> tuple[list[str], Records]:
    """Columns of strings, and a reader of all rows."""
    parquet = require("pyarrow.parquet", extra="parquet", purpose="reading Parquet")
    arrow = require("pyarrow", extra="parquet", purpose="reading Parquet")
    try:
        opened = parquet.ParquetFile(file)
    except arrow.ArrowException as error:
        raise FileFormatError(f"{file} is not a Parquet file: {error}") from error
    types = arrow.types
    columns = [
        field.name
        for field in opened.schema_arrow
        if types.is_string(field.type) or types.is_large_string(field.type)
    ]

    def records(wanted: Columns) -> Iterator[tuple[int, Record]]:
        number = 0
        try:
            for batch in opened.iter_batches(_PARQUET_BATCH, columns=wanted.used):
                for record in batch.to_pylist():
                    number += 1
                    yield number, _strings(record, wanted)
        except (arrow.ArrowException, OSError) as error:
            raise FileFormatError(f"{file} is damaged after row {number}: {error}") from error

    return columns, records


TABLE_READERS: dict[str, Callable[[Path], tuple[list[str], Records]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}


def _json_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open("rb") as lines:  # binary files end lines at b"\n" alone
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig"))
            except ValueError as error:  # also UnicodeDecodeError
                raise FileFormatError(f"{file}, line {number}: not JSON: {error}") from error
            if not isinstance(record, dict):
                raise FileFormatError(
                    f"{file}, line {number}: expected an object, got {type(record).__name__}"
                )
            yield number, record


def _delimiter(file: Path) -> str:
    if file.suffix.lower() == ".tsv":
        return "\t"
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        first = lines.readline()
    return max(",;\t|", key=first.count)


def _csv_rows(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(sys.maxsize)
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        rows: Iterable[list[str]] = csv.reader(lines, delimiter=delimiter)
        try:
            yield from enumerate(rows, start=1)
        except csv.Error as error:
            raise FileFormatError(f"{file} is not a CSV file: {error}") from error


def _strings(record: dict[str, Any], wanted: Columns) -> Record:
    found = {column: record.get(column) for column in wanted.used}
    return {column: value for column, value in found.items() if isinstance(value, str)}
