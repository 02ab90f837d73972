"""Rows, queries and judgements as the commands `advise` and `eval` take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nestbit._arrays import Floats
from nestbit.errors import FileFormatError, InputError
from nestbit.evaluate import read_beir, read_mteb, read_trec_qrels
from nestbit.evaluate.runs import Qrels
from nestbit.io.vectors import open_vectors


@dataclass(frozen=True)
class Vectors:
    """All rows of a file, and their ids where it, or a file beside it, has any."""

    rows: Floats
    ids: list[str] | None


@dataclass(frozen=True)
class Judgements:
    """Qrels, and texts by id where a collection has them."""

    qrels: Qrels
    texts: dict[str, str]
    queries: dict[str, str]


def read_vectors(path: Path, column: str | None, ids: Path | None) -> Vectors:
    """Read a whole file of vectors; ``ids`` is a text file of one id a line."""
    source = open_vectors(path, column)
    chunks = list(source.chunks_with_ids())
    rows = np.concatenate([chunk.rows for chunk in chunks])
    found: list[str] | None = None
    if ids is not None:
        found = _id_lines(ids)
        if len(found) != len(rows):
            raise InputError(f"{ids} has {len(found)} ids, {path} {len(rows)} rows")
    elif chunks[0].ids is not None:
        found = [str(one) for chunk in chunks for one in chunk.ids or ()]
    return Vectors(rows, found)


def read_judgements(collection: Path | None, qrels: Path | None, split: str) -> Judgements | None:
    """Judgements of a BEIR or MTEB folder, or of a TREC file; None where neither is given."""
    if collection is not None and qrels is not None:
        raise InputError("give --collection or --qrels, not both")
    if qrels is not None:
        return Judgements(read_trec_qrels(qrels), {}, {})
    if collection is None:
        return None
    beir = (collection / "corpus.jsonl").exists()
    found = read_beir(collection, split) if beir else read_mteb(collection, split)
    return Judgements(
        found.qrels,
        dict(zip(found.doc_ids, found.texts, strict=True)),
        dict(zip(found.query_ids, found.queries, strict=True)),
    )


def texts_of(ids: Sequence[str] | None, texts: dict[str, str]) -> list[str] | None:
    """The texts of ids, empty for ids without one; None where there are no texts."""
    if ids is None or not texts:
        return None
    return [texts.get(one, "") for one in ids]


def _id_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is not UTF-8: {error}") from error
