"""Judged test collections in the form of BEIR (Thakur et al., NeurIPS 2021)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestbit.errors import FileFormatError, InputError


@dataclass(frozen=True)
class Collection:
    """Documents, the judged queries of one split, and their judgements.

    ``texts[i]`` is the title and text of document ``doc_ids[i]``, ``queries[i]`` the text of
    query ``query_ids[i]``, both in the order of their files; ``qrels`` is
    {query id: {document id: grade}}.
    """

    doc_ids: list[str]
    texts: list[str]
    query_ids: list[str]
    queries: list[str]
    qrels: dict[str, dict[str, int]]


def read_beir(folder: str | Path, split: str = "test") -> Collection:
    """Read ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv`` from ``folder``.

    Queries without a judgement in the split are left out. Lines end at "\\n" alone, since texts
    may hold other Unicode line breaks. Raises `InputError` for a missing file (naming the
    splits there are) and `FileFormatError`, with file and line, for anything malformed, for
    repeated ids, and for judged queries that have no text.
    """
    folder = Path(folder)
    qrels = _read_qrels(existing(folder / "qrels" / f"{split}.tsv"))
    documents: dict[str, str] = {}
    for record, where in _records(existing(folder / "corpus.jsonl")):
        title = _string(record, "title", where) if "title" in record else ""
        _add(documents, record, f"{title} {_string(record, 'text', where)}".strip(), where)
    queries: dict[str, str] = {}
    for record, where in _records(existing(folder / "queries.jsonl")):
        _add(queries, record, _string(record, "text", where), where)
    unknown = [query for query in qrels if query not in queries]
    if unknown:
        raise FileFormatError(
            f"{folder / 'queries.jsonl'} lacks {len(unknown)} of the {len(qrels)} queries judged "
            f"in split {split!r} (the first: {unknown[0]!r})"
        )
    judged = {query: text for query, text in queries.items() if query in qrels}
    return Collection(
        doc_ids=list(documents),
        texts=list(documents.values()),
        query_ids=list(judged),
        queries=list(judged.values()),
        qrels=qrels,
    )


def existing(path: Path) -> Path:
    """Return ``path``, or raise `InputError` that names the splits there are."""
    if path.is_file():
        return path
    message = f"there is no file {path}"
    if path.suffix == ".tsv":
        splits = sorted(p.stem for p in path.parent.glob("*.tsv"))
        message += f"; the splits there are: {', '.join(splits) or 'none'}"
    raise InputError(message)


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each line that is not blank, and where it stands."""
    with path.open("rb") as file:  # binary files split lines at b"\n" alone
        for number, raw in enumerate(file, start=1):
            where = f"{path}, line {number}"
            try:
                line = raw.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise FileFormatError(f"{where}: not UTF-8: {error}") from error
            if line.strip():
                yield line, where


def _records(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    for line, where in lines(path):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise FileFormatError(f"{where}: not JSON: {error}") from error
        if not isinstance(record, dict):
            raise FileFormatError(f"{where}: expected an object, got {type(record).__name__}")
        yield record, where


def _string(record: dict[str, Any], key: str, where: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise FileFormatError(f"{where}: {key!r} must be a string, got {value!r}")
    return value


def _add(texts: dict[str, str], record: dict[str, Any], text: str, where: str) -> None:
    key = _string(record, "_id", where)
    if key in texts:
        raise FileFormatError(f"{where}: the id {key!r} appears twice")
    texts[key] = text


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    header = True
    for line, where in lines(path):
        fields = line.split("\t")
        if header:
            header = False
            if fields[:3] == ["query-id", "corpus-id", "score"]:
                continue
        try:
            query, document, grade = fields
            value = int(grade)
        except ValueError as error:
            raise FileFormatError(
                f"{where}: expected query id, document id and a whole grade between tabs, "
                f"got {line!r}"
            ) from error
        judged = qrels.setdefault(query, {})
        if document in judged:
            raise FileFormatError(f"{where}: {document!r} is judged twice for query {query!r}")
        judged[document] = value
    if not qrels:
        raise FileFormatError(f"{path} holds no judgements")
    return qrels
