"""``nestbit search``: the best rows of a compressed file or an index for each query."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nestbit import search as search_codes
from nestbit._atomic import atomic_file, check_output
from nestbit.cli.index_search import (
    Options,
    parse_where,
    print_texts,
    search_text,
    search_vectors,
)
from nestbit.codecs import Codec, Codes
from nestbit.errors import InputError
from nestbit.index import open_index
from nestbit.io.codes_file import read_codes
from nestbit.io.ids import Ids
from nestbit.io.source import VectorSource
from nestbit.io.vectors import READERS, open_vectors
from nestbit.search import Hits, Plan
from nestbit.search.plan import COARSE_OVERSAMPLE

PLANS: dict[str, Callable[[Codec, float], Plan]] = {
    "default": lambda codec, oversample: Plan.default(codec, oversample=oversample),
    "hamming": lambda codec, oversample: Plan.hamming(codec, oversample=oversample),
    "funnel": lambda codec, oversample: Plan.funnel(codec, oversample=oversample),
}
# Queries are searched together in batches of this many, which a scan shares its reading among.
_BATCH = 1024


def search(
    codes: Annotated[
        Path,
        typer.Argument(metavar="CODES", help="A file from nestbit compress, or an index."),
    ],
    queries: Annotated[
        str,
        typer.Argument(
            metavar="QUERIES",
            help=f"Query vectors ({', '.join(READERS)}); of an index with a model, also a text.",
        ),
    ],
    k: Annotated[int, typer.Option("-k", help="Hits per query.")] = 10,
    plan: Annotated[str, typer.Option(help=f"How to search: {', '.join(PLANS)}.")] = "default",
    oversample: Annotated[
        float, typer.Option(help="Candidates per hit that a coarse stage keeps.")
    ] = COARSE_OVERSAMPLE,
    target_recall: Annotated[
        float | None,
        typer.Option(help="Read as much as finds this share of the finest level's best rows."),
    ] = None,
    n_probe: Annotated[
        int | None, typer.Option(help="Partitions of an index that each query opens.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the hits of all queries: .jsonl or .npz.")
    ] = None,
    show: Annotated[int, typer.Option(help="Queries answered on the screen, without --out.")] = 5,
    column: Annotated[
        str | None, typer.Option(help="The array, tensor, column or key of the queries.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="A filter on an index's metadata, in JSON.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads; by default one per processor.")
    ] = None,
) -> None:
    """Search a compressed file or an index with a file of query vectors, or with a text."""
    if plan not in PLANS:
        raise InputError(f"unknown plan {plan!r}; known: {', '.join(PLANS)}")
    if target_recall is not None and plan != "default":
        raise InputError(f"--target-recall decides on the plan; leave out --plan {plan}")
    if out is not None:
        if out.suffix not in WRITERS:
            raise InputError(f"{out} has no suffix for hits; known: {', '.join(WRITERS)}")
        check_output(out)
    if show < 1:
        raise InputError(f"--show must be at least 1, got {show}")
    limit = None if out else show
    if codes.is_dir():
        with open_index(codes, read_only=True) as index:
            stages = None
            if index.codec is not None and target_recall is None:
                stages = PLANS[plan](index.codec, oversample)
            options = Options(k, stages, parse_where(where), n_probe, target_recall, threads)
            if not Path(queries).exists():
                hits = search_text(index, queries, options)
                if out is None:
                    print_texts(hits)
                    return
                n, answers = 1, iter([([queries], hits)])
            else:
                n, answers = search_vectors(index, Path(queries), column, options, _BATCH, limit)
            _put(answers, None, n, k, out, show, "ids")
        return
    if where is not None:
        raise InputError(f"{codes} is no index; only an index has metadata for --where")
    if n_probe is not None:
        raise InputError(f"{codes} is no index; only an index has partitions for --n-probe")
    codec, stored, ids = read_codes(codes)
    source = open_vectors(Path(queries), column)
    if source.dim != codec.dim:
        raise InputError(
            f"{queries} has {source.dim} dimensions, {codes} has {codec.dim}; "
            "use queries of the same model"
        )
    stages = PLANS[plan](codec, oversample)
    if target_recall is not None:
        stages = Plan.default(codec, target_recall=target_recall)
    answers = _answers(codec, stored, source, k, stages, threads, limit)
    _put(answers, ids, source.n, k, out, show, "rows")


Answers = Iterator[tuple[list[Any], Hits]]


def _put(
    answers: Answers, ids: Ids | None, n: int, k: int, out: Path | None, show: int, key: str
) -> None:
    """Show the hits, or write them to a file."""
    if out is None:
        _print(answers, ids, n, show)
        return
    with atomic_file(out) as file:
        WRITERS[out.suffix](file, answers, ids, key)
    Console().print(Text(f"{n:,} queries, {k} hits each: {out}"), soft_wrap=True, highlight=False)


def _answers(
    codec: Codec,
    codes: Codes,
    source: VectorSource,
    k: int,
    plan: Plan,
    threads: int | None,
    limit: int | None,
) -> Answers:
    """(names of queries, their hits) by batches; a query without an id is named by its row."""
    for chunk in source.chunks_with_ids(min(_BATCH, limit or _BATCH)):
        count = len(chunk.rows) if limit is None else min(limit - chunk.start, len(chunk.rows))
        names = range(chunk.start, chunk.start + count) if chunk.ids is None else chunk.ids[:count]
        hits = search_codes(codec, codes, chunk.rows[:count], k, plan, threads=threads)
        yield list(names), hits
        if limit is not None and chunk.start + count >= limit:
            return


def _write_jsonl(file: BinaryIO, answers: Answers, ids: Ids | None, key: str) -> None:
    """One line a query: its name, the ids of its hits, their scores."""
    for names, hits in answers:
        for name, rows, scores in zip(names, hits.ids.tolist(), hits.scores.tolist(), strict=True):
            record = {"query": name, "ids": _named(rows, ids), "scores": scores}
            file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


def _write_npz(file: BinaryIO, answers: Answers, ids: Ids | None, key: str) -> None:
    """Arrays ``queries`` (m,), ``scores`` and ``key`` (m, k), and ``ids`` (m, k) if known.

    ``key`` tells what the hits are: rows of a file, or ids of an index.
    """
    names, batches = [], []
    for batch_names, hits in answers:
        names += batch_names
        batches.append(hits)
    rows = np.concatenate([hits.ids for hits in batches])
    arrays = {"queries": np.array(names)}
    arrays["scores"] = np.concatenate([hits.scores for hits in batches])
    # No file holds Python's strings.
    arrays[key] = rows.astype(str) if rows.dtype == object else rows
    if ids is not None:
        arrays["ids"] = np.array([_named(row, ids) for row in rows.tolist()])
    np.savez(file, allow_pickle=False, **arrays)


WRITERS: dict[str, Callable[[BinaryIO, Answers, Ids | None, str], None]] = {
    ".jsonl": _write_jsonl,
    ".npz": _write_npz,
}


def _named(rows: list[int], ids: Ids | None) -> list[Any]:
    if ids is None:
        return rows
    if isinstance(ids, np.ndarray):
        return ids[rows].tolist()  # type: ignore[no-any-return]  # integers
    return [ids[row] for row in rows]


def _print(answers: Answers, ids: Ids | None, n: int, show: int) -> None:
    table = Table(header_style="bold")
    table.add_column("query", overflow="fold")
    table.add_column("rank", justify="right")
    table.add_column("id", overflow="fold")
    table.add_column("score", justify="right")
    for names, hits in answers:
        for name, rows, scores in zip(names, hits.ids.tolist(), hits.scores.tolist(), strict=True):
            for rank, (hit, score) in enumerate(zip(_named(rows, ids), scores, strict=True), 1):
                first = Text(str(name) if rank == 1 else "")
                table.add_row(
                    first, str(rank), Text(str(hit)), f"{score:.4f}", end_section=rank == len(rows)
                )
    console = Console()
    console.print(table)
    if n > show:
        console.print(f"the first {show} of {n:,} queries; --out FILE writes the hits of all")
