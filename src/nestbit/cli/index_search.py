"""``nestbit search`` on an index: queries from a file of vectors, or one text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nestbit.errors import InputError
from nestbit.index import Index
from nestbit.io.vectors import open_vectors
from nestbit.models import load_model
from nestbit.search import Hits, Plan

Where = Mapping[str, Any] | None


@dataclass(frozen=True)
class Options:
    """How an index is searched; see `Index.search`."""

    k: int
    plan: Plan | None
    where: Where
    n_probe: int | None
    target_recall: float | None
    threads: int | None

    def search(self, index: Index, queries: ArrayLike, *, documents: bool = False) -> Hits:
        """Hits of queries (m, dim)."""
        return index.search(
            queries,
            self.k,
            where=self.where,
            plan=self.plan,
            n_probe=self.n_probe,
            target_recall=self.target_recall,
            documents=documents,
            threads=self.threads,
        )


def parse_where(text: str | None) -> Where:
    """A filter from the command line, in JSON."""
    if text is None:
        return None
    try:
        where = json.loads(text)
    except ValueError as error:
        raise InputError(f"--where is not JSON: {error}, as in '{{\"year\": 2020}}'") from error
    if not isinstance(where, dict):
        raise InputError(f"--where is an object of fields and conditions, got {text}")
    return where


def search_text(index: Index, query: str, options: Options) -> Hits:
    """Search for one text by the index's own embedding model."""
    if index.model is None:
        raise InputError(
            f"{query!r} is no file, and {index.path} has no embedding model to search for a text"
        )
    embedding = load_model(index.model).encode_queries([query])
    return options.search(index, embedding, documents=True)


def search_vectors(
    index: Index,
    source: Path,
    column: str | None,
    options: Options,
    batch: int,
    limit: int | None,
) -> tuple[int, Iterator[tuple[list[Any], Hits]]]:
    """The number of queries in a file, and their names and hits, batch by batch."""
    vectors = open_vectors(source, column)
    if index.dim is not None and vectors.dim != index.dim:
        raise InputError(
            f"{source} has {vectors.dim} dimensions, {index.path} has {index.dim}; "
            "use queries of the same model"
        )

    def answers() -> Iterator[tuple[list[Any], Hits]]:
        for chunk in vectors.chunks_with_ids(min(batch, limit or batch)):
            rows = chunk.rows if limit is None else chunk.rows[: limit - chunk.start]
            names = range(chunk.start, chunk.start + len(rows)) if chunk.ids is None else chunk.ids
            yield list(names[: len(rows)]), options.search(index, rows)
            if limit is not None and chunk.start + len(rows) >= limit:
                return

    return vectors.n, answers()


def print_texts(hits: Hits, characters: int = 160) -> None:
    """A table of one query's hits with the beginning of each document."""
    table = Table(header_style="bold")
    table.add_column("score", justify="right")
    table.add_column("id", overflow="fold")
    table.add_column("document")
    assert hits.documents is not None
    columns = (hits.scores[0].tolist(), hits.ids[0].tolist(), hits.documents[0].tolist())
    for score, id_, document in zip(*columns, strict=True):
        text = " ".join((document or "").split())
        shown = text[:characters] + ("…" if len(text) > characters else "")
        table.add_row(f"{score:.4f}", Text(str(id_)), Text(shown))
    Console().print(table)
