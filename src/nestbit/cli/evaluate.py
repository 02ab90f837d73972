"""``nestbit eval``: what a compressed file keeps of the float search."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nestbit import search as search_codes
from nestbit._arrays import Floats
from nestbit._atomic import atomic_file, check_output
from nestbit.cli.judged import Vectors, read_judgements, read_vectors
from nestbit.cli.search import PLANS
from nestbit.errors import InputError
from nestbit.evaluate import (
    evaluate_run,
    exact_search,
    kendall_tau,
    make_run,
    overlap_per_query,
    recall_per_query,
    spearman_rho,
)
from nestbit.evaluate.runs import Qrels
from nestbit.io.codes_file import read_codes
from nestbit.io.vectors import READERS
from nestbit.search import Hits
from nestbit.search.plan import COARSE_OVERSAMPLE

JUDGED = ("nDCG@{k}", "RR@{k}", "AP@{k}", "R@{k}", "P@{k}")


def evaluate(
    codes: Annotated[Path, typer.Argument(metavar="CODES", help="A file from nestbit compress.")],
    embeddings: Annotated[
        Path, typer.Argument(metavar="EMBEDDINGS", help="The float vectors it was made from.")
    ],
    queries: Annotated[
        Path, typer.Argument(metavar="QUERIES", help=f"Query vectors: {', '.join(READERS)}.")
    ],
    collection: Annotated[
        Path | None, typer.Option(help="A BEIR or MTEB folder that judges the queries.")
    ] = None,
    qrels: Annotated[Path | None, typer.Option(help="Judgements in the form of TREC.")] = None,
    split: Annotated[str, typer.Option(help="The collection's split of judgements.")] = "test",
    ids: Annotated[
        Path | None, typer.Option(help="The rows' ids, one a line, if their file has none.")
    ] = None,
    query_ids: Annotated[Path | None, typer.Option(help="The queries' ids, one a line.")] = None,
    k: Annotated[int, typer.Option("-k", help="Hits per query.")] = 10,
    plan: Annotated[str, typer.Option(help=f"How to search: {', '.join(PLANS)}.")] = "default",
    oversample: Annotated[
        float, typer.Option(help="Candidates per hit that a coarse stage keeps.")
    ] = COARSE_OVERSAMPLE,
    out: Annotated[Path | None, typer.Option(help="Write the figures: .json or .md.")] = None,
    column: Annotated[
        str | None, typer.Option(help="The array, tensor, column or key of the vectors.")
    ] = None,
) -> None:
    """Compare the search of a compressed file with that of the float vectors."""
    if plan not in PLANS:
        raise InputError(f"unknown plan {plan!r}; known: {', '.join(PLANS)}")
    if out is not None:
        if out.suffix not in WRITERS:
            raise InputError(f"{out} has no suffix for figures; known: {', '.join(WRITERS)}")
        check_output(out)
    judged = read_judgements(collection, qrels, split)
    codec, stored, _ = read_codes(codes)
    corpus, asked = read_vectors(embeddings, column, ids), read_vectors(queries, column, query_ids)
    if corpus.rows.shape != (len(stored), codec.dim):
        raise InputError(
            f"{embeddings} holds vectors of shape {corpus.rows.shape}, {codes} codes of "
            f"{(len(stored), codec.dim)}; give the vectors that were compressed"
        )
    truth = exact_search(corpus.rows, asked.rows, k, metric=codec.metric)
    found = search_codes(codec, stored, asked.rows, k, PLANS[plan](codec, oversample))
    result: dict[str, Any] = {
        "codec": codec.spec,
        "plan": plan,
        "oversample": oversample,
        "rows": len(stored),
        "queries": len(asked.rows),
        "k": k,
        "bytes_per_vector": codec.n_bytes,
        "times_smaller": 4 * codec.dim / codec.n_bytes,
        "recall": float(recall_per_query(found.ids, truth.ids).mean()),
        "overlap": float(overlap_per_query(found.ids, truth.ids).mean()),
    }
    if k > 1:
        exact = _exact_scores(codec.prepare(corpus.rows), codec.prepare(asked.rows), found.ids)
        if codec.metric == "l2":
            exact = -_distances(corpus.rows, asked.rows, found.ids)
        result["kendall_tau"] = float(np.nanmean(kendall_tau(found.scores, exact)))
        result["spearman_rho"] = float(np.nanmean(spearman_rho(found.scores, exact)))
    if judged is not None:
        result["judged"] = _judged(judged.qrels, corpus, asked, truth, found, k)
    _show(result)
    if out is not None:
        with atomic_file(out) as file:
            file.write(WRITERS[out.suffix](result).encode())


def _exact_scores(rows: Floats, queries: Floats, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Inner products (m, k) of each query with the rows found for it."""
    pairs = zip(queries.astype(np.float64), ids, strict=True)
    return np.stack([rows[found] @ query for query, found in pairs])


def _distances(rows: Floats, queries: Floats, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Squared distances (m, k) of each query to the rows found for it."""
    pairs = zip(queries.astype(np.float64), ids, strict=True)
    return np.stack([np.square(rows[found] - query).sum(axis=1) for query, found in pairs])


def _judged(
    qrels: Qrels, corpus: Vectors, asked: Vectors, truth: Hits, found: Hits, k: int
) -> dict[str, dict[str, float]]:
    """Each measure's mean in float and compressed, and what is kept of it."""
    if corpus.ids is None or asked.ids is None:
        raise InputError("judgements need ids: give --ids and --query-ids")
    names = [measure.format(k=k) for measure in JUDGED]
    wanted = {query: qrels[query] for query in asked.ids if query in qrels}
    floats, coded = (
        evaluate_run(wanted, make_run(asked.ids, corpus.ids, hits.ids, hits.scores), names).means
        for hits in (truth, found)
    )
    return {
        name: {
            "float": floats[name],
            "compressed": coded[name],
            "kept": coded[name] / floats[name] if floats[name] else 0.0,
        }
        for name in names
    }


def _show(result: dict[str, Any]) -> None:
    console = Console()
    for title, head, rows in _tables(result):
        table = Table(title=title, header_style="bold", box=SIMPLE_HEAD, title_justify="left")
        for i, name in enumerate(head):
            table.add_column(name, justify="left" if i == 0 else "right")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)


def _tables(result: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    plain = ("recall", "overlap", "kendall_tau", "spearman_rho")
    yield (
        f"{result['codec']}, plan {result['plan']}: {result['bytes_per_vector']:,} bytes a vector, "
        f"{result['times_smaller']:.3g} times smaller",
        [f"against float's top {result['k']}", ""],
        [[name.replace("_", " "), f"{result[name]:.4f}"] for name in plain if name in result],
    )
    if "judged" in result:
        yield (
            f"Judged, {result['queries']:,} queries",
            ["measure", "float", "compressed", "kept"],
            [
                [name, f"{one['float']:.4f}", f"{one['compressed']:.4f}", f"{one['kept']:.1%}"]
                for name, one in result["judged"].items()
            ],
        )


def _to_json(result: dict[str, Any]) -> str:
    return json.dumps(result, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _to_markdown(result: dict[str, Any]) -> str:
    lines = []
    for title, head, rows in _tables(result):
        lines += [f"## {title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        lines.append("")
    return "\n".join(lines)


WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {".json": _to_json, ".md": _to_markdown}
