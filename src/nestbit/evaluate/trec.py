"""Judgements in the form of TREC."""

from __future__ import annotations

from pathlib import Path

from nestbit.errors import FileFormatError
from nestbit.evaluate.collections import existing, lines


def read_trec_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read qrels of TREC: ``query iteration document grade`` on each line, between blanks.

    Returns {query id: {document id: grade}}; the iteration is not used, as in trec_eval. Raises
    `InputError` for a missing file and `FileFormatError`, with file and line, for a line that
    does not read so, for a document judged twice for a query, and for an empty file.
    """
    qrels: dict[str, dict[str, int]] = {}
    for line, where in lines(existing(Path(path))):
        try:
            query, _, document, grade = line.split()
            value = int(grade)
        except ValueError as error:
            raise FileFormatError(
                f"{where}: expected query, iteration, document and a whole grade, got {line!r}"
            ) from error
        judged = qrels.setdefault(query, {})
        if document in judged:
            raise FileFormatError(f"{where}: {document!r} is judged twice for query {query!r}")
        judged[document] = value
    if not qrels:
        raise FileFormatError(f"{path} holds no judgements")
    return qrels
