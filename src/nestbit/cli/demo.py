"""``nestbit demo``: real texts compressed, searched and judged in one run."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nestbit.demo.corpus import Corpus
from nestbit.demo.docstrings import docstring_corpus
from nestbit.demo.files import file_corpus
from nestbit.demo.report import write_report
from nestbit.demo.run import DemoResult, run_demo
from nestbit.demo.wording import COLUMNS, cells, headline, how_measured, rounded, standings
from nestbit.errors import InputError
from nestbit.models import load_model

_VERDICT_STYLES = {"ahead": "green", "level": "", "behind": "red", "unknown": ""}


def demo(
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="A folder of text files, or a text, JSONL, CSV or Parquet file; "
            "by default the docstrings of this Python and its packages."
        ),
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="The column of text in a table; guessed if left out.")
    ] = None,
    query: Annotated[
        list[str] | None, typer.Option(help="A question to answer from the compressed rows.")
    ] = None,
    queries: Annotated[int, typer.Option(help="Known-item queries to measure with.")] = 1000,
    limit: Annotated[int, typer.Option(help="Texts taken at most.")] = 20_000,
    out: Annotated[Path, typer.Option(help="Where the HTML report goes.")] = Path(
        "nestbit-demo.html"
    ),
    model: Annotated[
        str, typer.Option(help="wordllama, sentence-transformers:NAME or onnx:DIR.")
    ] = "wordllama",
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
) -> None:
    """Embed a real corpus, compress it in many ways, and show what each keeps."""
    began = time.perf_counter()
    if limit < 1:
        raise InputError(f"--limit must be at least 1, got {limit}")
    if queries < 1:
        raise InputError(f"--queries must be at least 1, got {queries}")
    if not out.resolve().parent.is_dir():
        raise InputError(f"there is no folder {out.parent} to write {out.name} in; create it")
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file for the report, such as {out}/demo.html")
    embedder = load_model(model)
    console = Console()

    def say(message: str) -> None:
        console.print(Text(f"{message} …", "dim"), soft_wrap=True)

    say("collecting texts")
    collected = _collect(corpus, text_column, limit, seed)
    collecting = time.perf_counter() - began
    result = run_demo(
        collected, embedder, n_queries=queries, seed=seed, typed=tuple(query or ()), say=say
    )
    result = replace(result, seconds={"collect": collecting, **result.seconds})
    write_report(out, result)
    _show(console, result)
    console.print(
        Text(f"Report: {out}   (all of this took {time.perf_counter() - began:.0f} s)", "bold"),
        soft_wrap=True,
    )


def _collect(path: Path | None, text_column: str | None, limit: int, seed: int) -> Corpus:
    if path is not None:
        return file_corpus(path, limit, seed=seed, text_column=text_column)
    if text_column is not None:
        raise InputError("--text-column names a column of --corpus, which is not given")
    return docstring_corpus(limit, seed=seed)


def _show(console: Console, result: DemoResult) -> None:
    console.print()
    console.print(Text(f"{result.corpus.source}; {result.model}, {result.dim} dimensions"))
    console.print(_table(result))
    for note in standings(result):
        console.print(Text(note))
    console.print()
    console.print(Text(headline(result), "bold"))
    console.print()
    for note in how_measured(result):
        console.print(Text(f"· {note}", "dim"))
    console.print()
    console.print(Text(f"Answered from the “{result.answers_from}” codes:", "bold"))
    for answer in result.answers:
        console.print(Text(f"\n? {answer.query}", "cyan"))
        for entry, score in answer.found:
            console.print(Text.assemble(f"  {rounded(score)}  ", (entry.name, "bold")))
            console.print(Text(f"        {entry.headline}", "dim"), no_wrap=True)
    console.print()


def _table(result: DemoResult) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for column in COLUMNS:
        first = column == COLUMNS[0]
        table.add_column(column, justify="left" if first else "right", no_wrap=True)
    for row in (result.baseline, *result.rows):
        style = "yellow" if row is result.baseline else _VERDICT_STYLES[row.verdict]
        values = [Text(value) for value in cells(row, result)]
        values[COLUMNS.index("kept %")].stylize(style)
        table.add_row(*values, end_section=row is result.baseline)
    return table
