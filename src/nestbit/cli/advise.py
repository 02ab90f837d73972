"""``nestbit advise``: which compression to take for a file of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from nestbit._atomic import check_output
from nestbit.advise import Advice, Budget, Option, Prices, in_words
from nestbit.advise import advise as advise_on
from nestbit.advise.output import WRITERS, conditions
from nestbit.cli.judged import read_judgements, read_vectors, texts_of
from nestbit.codecs import METRICS
from nestbit.errors import InputError
from nestbit.io.vectors import READERS


def advise(
    embeddings: Annotated[
        Path, typer.Argument(metavar="EMBEDDINGS", help=f"Vectors: {', '.join(READERS)}.")
    ],
    queries: Annotated[
        Path | None,
        typer.Option(help="Query vectors; without them, rows are held out and asked."),
    ] = None,
    collection: Annotated[
        Path | None, typer.Option(help="A BEIR or MTEB folder that judges the queries.")
    ] = None,
    qrels: Annotated[Path | None, typer.Option(help="Judgements in the form of TREC.")] = None,
    split: Annotated[str, typer.Option(help="The collection's split of judgements.")] = "test",
    ids: Annotated[
        Path | None, typer.Option(help="The rows' ids, one a line, if their file has none.")
    ] = None,
    query_ids: Annotated[Path | None, typer.Option(help="The queries' ids, one a line.")] = None,
    keep: Annotated[
        float | None, typer.Option(help="The share of float's nDCG to keep; 0.99 by default.")
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(help="The recall of the float top k to reach; 0.95 without judgements."),
    ] = None,
    bytes_per_vector: Annotated[
        float | None, typer.Option("--bytes", help="Bytes of memory per vector at most.")
    ] = None,
    gb: Annotated[
        float | None, typer.Option(help="GB (2^30 bytes) of memory at most, for --rows rows.")
    ] = None,
    dollars: Annotated[
        float | None, typer.Option(help="Dollars per month at most, for --rows rows.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(help="The rows there will be; recall is foretold for them.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Hits per query.")] = 10,
    metric: Annotated[
        str, typer.Option(help=f"What scores mean: {', '.join(METRICS)}.")
    ] = "cosine",
    spec: Annotated[
        list[str] | None, typer.Option(help="A spec to try instead of the usual grid.")
    ] = None,
    all_in_memory: Annotated[
        bool, typer.Option(help="Keep finer levels in memory too, not on disk.")
    ] = False,
    ram_price: Annotated[float, typer.Option(help="$ per GB and month of memory.")] = Prices.ram,
    disk_price: Annotated[float, typer.Option(help="$ per GB and month of disk.")] = Prices.disk,
    held_out: Annotated[int, typer.Option(help="Rows held out as queries.")] = 500,
    sample: Annotated[int, typer.Option(help="Random rows that codecs learn from.")] = 20_000,
    threads: Annotated[
        int | None, typer.Option(help="Specs measured at once; by default one per processor.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="A folder to go on from after an interruption.")
    ] = None,
    out: Annotated[
        list[Path] | None, typer.Option(help=f"Where to write: {', '.join(WRITERS)}; repeatable.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="The array, tensor, column or key of the vectors.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
) -> None:
    """Measure many ways to compress EMBEDDINGS and recommend the cheapest that keeps enough."""
    for path in out or ():
        if path.suffix.lower() not in WRITERS:
            raise InputError(f"{path} has no suffix of a report; known: {', '.join(WRITERS)}")
        check_output(path)
    budget = None
    if any(limit is not None for limit in (bytes_per_vector, gb, dollars)):
        budget = Budget(bytes_per_vector, gb, dollars, rows)
    judged = read_judgements(collection, qrels, split)
    corpus = read_vectors(embeddings, column, ids)
    if queries is None and query_ids is not None:
        raise InputError("--query-ids name the rows of --queries, which is not given")
    asked = None if queries is None else read_vectors(queries, column, query_ids)
    console = Console()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("looking at the rows", total=None)
        found = advise_on(
            corpus.rows,
            None if asked is None else asked.rows,
            None if judged is None else judged.qrels,
            keep=keep,
            recall=recall,
            budget=budget,
            rows=rows,
            k=k,
            metric=metric,
            specs=spec or None,
            resident="all" if all_in_memory else "coarse",
            prices=Prices(ram_price, disk_price),
            query_ids=None if asked is None else asked.ids,
            doc_ids=corpus.ids,
            texts=None if judged is None else texts_of(corpus.ids, judged.texts),
            query_texts=(
                None if judged is None or asked is None else texts_of(asked.ids, judged.queries)
            ),
            held_out=held_out,
            sample=sample,
            threads=threads,
            cache=cache,
            progress=lambda done, total, what: bar.update(
                task, completed=done, total=total, description=what
            ),
            seed=seed,
        )
    _show(console, found)
    for path in out or ():
        found.save(path)
        console.print(Text(f"Report: {path}", "bold"), soft_wrap=True)
    if found.choice.option is None:
        raise typer.Exit(1)


def _show(console: Console, found: Advice) -> None:
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    judged = found.float_ndcg is not None
    names = ["recipe", "RAM", "disk", f"recall@{found.k}", *(["kept %"] if judged else [])]
    for i, name in enumerate([*names, "ms", "$/1M"]):
        left = i == 0
        table.add_column(name, justify="left" if left else "right", no_wrap=not left, min_width=3)
    fronts = {id(option) for by in ("bytes", "ms") for option in found.front(by)}
    chosen = found.choice.option
    for option in found.options:
        if id(option) in fronts or option is chosen:
            style = "green" if option is chosen else ""
            table.add_row(*(Text(cell, style) for cell in _cells(option)))
    console.print(Text("What none beats in memory or in time:", "dim"))
    console.print(table)
    for line in (*conditions(found), *in_words(found.diagnosis)):
        console.print(Text(f"· {line}", "dim"))
    console.print()
    console.print(Text(found.sentence, "bold"))
    if chosen is not None:
        console.print()
        console.print(Text(found.recipe.code), soft_wrap=True)
    console.print()


def _cells(option: Option) -> list[str]:
    cells = [str(option.recipe), f"{option.footprint.ram:,}", f"{option.footprint.disk:,}"]
    cells.append(f"{option.recall.value:.3f}")
    if option.keep is not None:
        low, high = 100 * option.keep.low, 100 * option.keep.high
        cells.append(f"{100 * option.keep.value:.1f} ({low:.1f} to {high:.1f})")
    return [*cells, f"{option.milliseconds:.2f}", f"{option.dollars_per_million:.3g}"]
