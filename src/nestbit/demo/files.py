"""A user's own corpus: a folder of text files, or one text, JSONL, CSV or Parquet file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from nestbit.demo.corpus import (
    DOCUMENT_WORDS,
    MAX_CHARACTERS,
    Corpus,
    Deduplicator,
    Entry,
    contains,
    first_sentence,
    sample,
    shorten,
    usable_document,
    usable_query,
)
from nestbit.demo.tables import TABLE_READERS, Row, columns_of
from nestbit.errors import InputError

TEXT_SUFFIXES = (".txt", ".md", ".markdown", ".rst", ".adoc", ".org", ".tex", ".text")
KNOWN_SUFFIXES = (*TEXT_SUFFIXES, *TABLE_READERS)

_PARAGRAPH_CHARACTERS = 200  # shorter paragraphs are joined with the next one


def file_corpus(path: Path, limit: int, *, seed: int = 0, text_column: str | None = None) -> Corpus:
    """Read ``path`` into at most ``limit`` entries, a random sample drawn from ``seed``.

    Text files are cut into paragraphs, tables give one entry per row. A row's title is its
    query; without one, the first sentence becomes the query and the rest the document. Texts of
    one sentence have no query, but are searched among. Raises `InputError` for a path that is
    not there, that holds no readable text, or a table whose text column cannot be told;
    `FileFormatError` for a malformed file.
    """
    files = _files(path)
    counts = _Counts()
    entries, total = sample(_entries(path, files, text_column, counts), limit, seed)
    if not entries:
        raise InputError(
            f"{path} holds no text of {DOCUMENT_WORDS} or more words; nothing to embed"
        )
    what = f"{total:,} texts of {path}"
    if total > limit:
        what = f"{limit:,} of the {total:,} texts of {path} (seed {seed})"
    titles, sentences = counts.titles, counts.sentences
    made = []
    if titles:
        made.append("a title must find its text")
    if sentences:
        made.append("a text's first sentence must find the rest of it")
    return Corpus(entries=entries, source=what, queries_from=" and ".join(made))


class _Counts:
    """How many queries were titles, and how many first sentences."""

    def __init__(self) -> None:
        self.titles = 0
        self.sentences = 0


def _files(path: Path) -> list[Path]:
    if path.is_file():
        if path.suffix.lower() not in KNOWN_SUFFIXES:
            raise InputError(
                f"{path} has the unknown ending {path.suffix!r}; known are: "
                + " ".join(KNOWN_SUFFIXES)
            )
        return [path]
    if not path.is_dir():
        raise InputError(f"there is no file or folder {path}")
    found: list[Path] = []
    others = 0
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        known = [n for n in names if Path(n).suffix.lower() in KNOWN_SUFFIXES]
        others += len(names) - len(known)
        found.extend(Path(folder, name) for name in known)
    if not found:
        raise InputError(
            f"the folder {path} holds no file ending in {' '.join(KNOWN_SUFFIXES)} "
            f"({others} other files)"
        )
    return sorted(found)


def _entries(
    path: Path, files: list[Path], text_column: str | None, counts: _Counts
) -> Iterator[Entry]:
    keep = Deduplicator()
    for file in files:
        label = file.name if file == path else file.relative_to(path).as_posix()
        suffix = file.suffix.lower()
        if suffix in TABLE_READERS:
            rows = _table(file, label, suffix, text_column)
        else:
            rows = _paragraphs(file, label)
        for row in _readable(file, rows):
            entry = keep.admit(*_known_item(row))
            if entry is None:
                continue
            if entry.query:
                from_title = entry.query == " ".join(row.title.split())
                counts.titles += from_title
                counts.sentences += not from_title
            yield entry


def _readable(file: Path, rows: Iterator[Row]) -> Iterator[Row]:
    try:
        yield from rows
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error


def _known_item(row: Row) -> tuple[Entry, str]:
    """Turn a row into an entry whose query does not stand in its document."""
    title, text = " ".join(row.title.split()), row.text.strip()
    if title and text.startswith(title):
        text = text[len(title) :].strip()
    if usable_query(title) and usable_document(text) and not contains(text, title):
        return Entry(row.name, title, shorten(text)), text
    query, rest = first_sentence(text)
    query = " ".join(query.split())
    if usable_query(query) and usable_document(rest) and not contains(rest, query):
        return Entry(row.name, query, shorten(rest)), rest
    return Entry(row.name, "", shorten(row.text.strip())), row.text


def _table(file: Path, label: str, suffix: str, text_column: str | None) -> Iterator[Row]:
    columns, records = TABLE_READERS[suffix](file)
    chosen = columns_of(file, columns, text_column)
    for number, record in records(chosen):
        text = record.get(chosen.text)
        if text is None or not usable_document(text):
            continue
        name = record.get(chosen.name) if chosen.name else None
        title = record.get(chosen.title) if chosen.title else None
        yield Row(name or f"{label}, row {number}", title or "", text)


def _paragraphs(file: Path, label: str) -> Iterator[Row]:
    data = file.read_bytes()
    if b"\0" in data[:8192]:
        raise InputError(f"{file} is binary, not text; move it out of the corpus")
    text = data.decode("utf-8-sig", errors="replace")
    number, held = 0, ""
    for paragraph in [*re.split(r"\n\s*\n", text), None]:
        if paragraph is not None:
            held = f"{held}\n\n{paragraph.strip()}".strip()
            if len(held) < _PARAGRAPH_CHARACTERS:
                continue
        while held:
            piece = shorten(held, MAX_CHARACTERS)
            held = held[len(piece) :].strip()
            if usable_document(piece):
                number += 1
                yield Row(f"{label}, paragraph {number}", "", piece)
