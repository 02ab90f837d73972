"""Judged collections as Parquet, in the form that MTEB's retrieval datasets have on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nestbit._extras import require
from nestbit.errors import FileFormatError, InputError
from nestbit.evaluate.collections import Collection

_QRELS_FOLDERS = ("qrels", "default", "data")
_IDS = ("_id", "id")


def read_mteb(folder: str | Path, split: str = "test") -> Collection:
    """Read ``corpus/*.parquet``, ``queries/*.parquet`` and the qrels of ``split``.

    The qrels lie in ``qrels/``, ``default/`` or ``data/``, in files whose names begin with the
    split, with the columns query-id, corpus-id and score. Corpus and queries have the columns
    ``_id`` (or ``id``), ``text``, and the corpus perhaps ``title``. Queries without a judgement
    are left out. Raises `InputError` for missing files and `FileFormatError`, naming the file,
    for missing columns, repeated ids, and judged queries that have no text. Needs the extra
    ``parquet``.
    """
    folder = Path(folder)
    qrels: dict[str, dict[str, int]] = {}
    for record, where in _records(_qrels_files(folder, split), ("query-id", "corpus-id", "score")):
        query, document = str(record["query-id"]), str(record["corpus-id"])
        judged = qrels.setdefault(query, {})
        if document in judged:
            raise FileFormatError(f"{where}: {document!r} is judged twice for query {query!r}")
        grade = float(record["score"])
        if not grade.is_integer():
            raise FileFormatError(f"{where}: the grade {grade} of {query!r} is not whole")
        judged[document] = int(grade)
    documents = _texts(_files(folder, "corpus"), title=True)
    queries = _texts(_files(folder, "queries"), title=False)
    unknown = [query for query in qrels if query not in queries]
    if unknown:
        raise FileFormatError(
            f"{folder / 'queries'} lacks {len(unknown)} of the {len(qrels)} queries judged in "
            f"split {split!r} (the first: {unknown[0]!r})"
        )
    judged_texts = {query: text for query, text in queries.items() if query in qrels}
    return Collection(
        doc_ids=list(documents),
        texts=list(documents.values()),
        query_ids=list(judged_texts),
        queries=list(judged_texts.values()),
        qrels=qrels,
    )


def _files(folder: Path, part: str) -> list[Path]:
    files = sorted((folder / part).glob("*.parquet"))
    if not files:
        raise InputError(f"there is no Parquet file in {folder / part}")
    return files


def _qrels_files(folder: Path, split: str) -> list[Path]:
    splits = set()
    for name in _QRELS_FOLDERS:
        files = sorted((folder / name).glob("*.parquet"))
        chosen = [f for f in files if f.stem == split or f.stem.startswith(f"{split}-")]
        if chosen:
            return chosen
        splits |= {f.stem.split("-")[0] for f in files}
    raise InputError(
        f"{folder} has no qrels of split {split!r} in {', '.join(_QRELS_FOLDERS)}; "
        f"the splits there are: {', '.join(sorted(splits)) or 'none'}"
    )


def _texts(files: list[Path], *, title: bool) -> dict[str, str]:
    texts: dict[str, str] = {}
    for record, where in _records(files, ("text",), optional=(*_IDS, "title")):
        key = next((str(record[name]) for name in _IDS if name in record), None)
        if key is None:
            raise FileFormatError(f"{where} has no column of ids: {' or '.join(_IDS)}")
        if key in texts:
            raise FileFormatError(f"{where}: the id {key!r} appears twice")
        head = str(record.get("title") or "") if title else ""
        texts[key] = f"{head} {record['text'] or ''}".strip()
    return texts


def _records(
    files: list[Path], columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterator[tuple[dict[str, Any], str]]:
    arrow = require("pyarrow", extra="parquet", purpose="reading Parquet")
    parquet = require("pyarrow.parquet", extra="parquet", purpose="reading Parquet")
    found = 0
    for file in files:
        try:
            opened = parquet.ParquetFile(file)
            present = opened.schema_arrow.names
            missing = [name for name in columns if name not in present]
            if missing:
                raise FileFormatError(
                    f"{file} lacks the column {missing[0]!r}; it has: {', '.join(present)}"
                )
            wanted = [*columns, *(name for name in optional if name in present)]
            for batch in opened.iter_batches(columns=wanted):
                for record in batch.to_pylist():
                    found += 1
                    yield record, str(file)
        except (arrow.ArrowException, OSError) as error:
            raise FileFormatError(f"{file} is not a Parquet file: {error}") from error
    if not found:
        raise FileFormatError(f"{files[0].parent} holds no rows")
