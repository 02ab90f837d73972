"""Commands that change and describe an index: build, add, delete, compact, stats, check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

import nestbit
from nestbit._atomic import check_new_directory
from nestbit.cli.texts import SUFFIXES, read_texts
from nestbit.cli.wording import print_facts, size
from nestbit.codecs import DEFAULT_SAMPLE, METRICS, Codec
from nestbit.errors import InputError
from nestbit.index import Index, Stats
from nestbit.index.profiles import check_profile
from nestbit.io.vectors import READERS, open_vectors
from nestbit.models import EmbeddingModel, load_model

# Float rows added in one step, and texts embedded in one.
_STEP_BYTES = 128 << 20
_STEP_TEXTS = 2048

_Directory = Annotated[Path, typer.Argument(metavar="INDEX", help="The directory of the index.")]
_Source = Annotated[
    Path,
    typer.Argument(
        metavar="IN",
        help=f"Vectors ({', '.join(READERS)}), or with a model texts ({', '.join(SUFFIXES)}).",
    ),
]
_Column = Annotated[
    str | None, typer.Option(help="The array, tensor, column or key of the vectors or texts.")
]


_PROFILE = "What to keep besides codes: memory (nothing), balanced, speed (graphs), or auto."
_MEMORY = "Megabytes that auto may spend on a graph and coarse codes."


def build(
    directory: _Directory,
    source: _Source,
    codec: Annotated[
        str, typer.Option(help="The codec's spec, levels coarse to fine.")
    ] = "nested(1) + int8",
    metric: Annotated[
        str, typer.Option(help=f"What scores mean: {', '.join(METRICS)}.")
    ] = "cosine",
    model: Annotated[
        str | None,
        typer.Option(help="Embed texts by it: wordllama, sentence-transformers:NAME, onnx:DIR."),
    ] = None,
    column: _Column = None,
    field: Annotated[
        list[str] | None, typer.Option(help="A metadata field that filters often use; repeatable.")
    ] = None,
    profile: Annotated[str, typer.Option(help=_PROFILE)] = "memory",
    memory_mb: Annotated[float | None, typer.Option(help=_MEMORY)] = None,
    sample: Annotated[int, typer.Option(help="Random rows that the codec learns from.")] = (
        DEFAULT_SAMPLE
    ),
    seed: Annotated[int, typer.Option(help="Seed of the sample and of random stages.")] = 0,
) -> None:
    """Make an index of a file of vectors or texts.

    Stopped by Ctrl-C, it leaves a valid index of the rows that were added until then.
    """
    if seed < 0:
        raise InputError(f"--seed must be at least 0, got {seed}")
    check_profile(profile, memory_mb)
    options: dict[str, Any] = {
        "fields": field or [],
        "profile": profile,
        "memory_mb": memory_mb,
    }
    check_new_directory(directory)  # told before the long work, not after
    embedder = None if model is None else load_model(model)
    if model is None:
        # The whole file is there to sample from: the codec is fitted before the first row.
        recipe = Codec(codec, metric=metric, seed=seed)
        vectors = open_vectors(source, column)
        with _progress("reading a sample", None):
            recipe.fit(vectors.sample(sample, seed), sample=sample)
        index = nestbit.create(directory, recipe, **options)
    else:
        index = nestbit.create(directory, codec, metric=metric, model=model, seed=seed, **options)
    with index:
        _fill(index, embedder, source, column, first_id=0, upsert=False)
        with _progress("compacting", None):
            if index.codec is None:
                index.fit()
            index.compact()
        _print_stats(index)


def add(
    directory: _Directory,
    source: _Source,
    column: _Column = None,
    first_id: Annotated[
        int | None, typer.Option(help="Number rows without ids from here on.")
    ] = None,
    upsert: Annotated[
        bool, typer.Option("--upsert", help="Replace rows whose ids are there already.")
    ] = False,
) -> None:
    """Add a file of vectors, or of texts by the index's model."""
    with nestbit.open(directory) as index:
        before = len(index)
        embedder = None if index.model is None else load_model(index.model)
        _fill(index, embedder, source, column, first_id, upsert)
        print_facts([("rows", f"{len(index):,}, {len(index) - before:,} of them new")])


def delete(
    directory: _Directory,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of the rows.")],
) -> None:
    """Delete rows by their ids."""
    with nestbit.open(directory) as index:
        deleted = index.delete(_typed(index, ids))
        print_facts([("deleted", f"{deleted:,} of {len(ids):,}"), ("rows", f"{len(index):,}")])


def compact(
    directory: _Directory,
    partitions: Annotated[
        str,
        typer.Option(help="Groups of similar rows to order the index by: a number, 0, or auto."),
    ] = "auto",
    profile: Annotated[str | None, typer.Option(help=f"{_PROFILE} By default as it was.")] = None,
    memory_mb: Annotated[float | None, typer.Option(help=_MEMORY)] = None,
) -> None:
    """Merge the segments of an index into one and drop deleted rows."""
    if partitions != "auto" and not partitions.isdecimal():
        raise InputError(f"--partitions is a number, 0 for none, or auto, got {partitions!r}")
    with nestbit.open(directory) as index:
        before = index.stats()
        with _progress("compacting", None):
            index.compact(
                partitions="auto" if partitions == "auto" else int(partitions),
                profile=profile,  # type: ignore[arg-type]  # told apart by the index
                memory_mb=memory_mb,
            )
        after = index.stats()
        print_facts(
            [
                ("segments", f"{after.segments:,}, before {before.segments:,}"),
                ("bytes", f"{size(after.segment_bytes)}, before {size(before.segment_bytes)}"),
                ("dropped rows", f"{before.deleted - after.deleted:,}"),
                ("partitions", f"{after.partitions:,}"),
                ("graph", _graph(after)),
            ]
        )  # fmt: skip


def stats(directory: _Directory) -> None:
    """Tell what an index holds and how large it is."""
    with nestbit.open(directory) as index:
        _print_stats(index)


def check(directory: _Directory) -> None:
    """Read an index against its checksums."""
    with nestbit.open(directory) as index:
        total = index.stats().segment_bytes
        with _progress("checking", total, DownloadColumn()) as (bar, task):
            index.check(lambda n_bytes: bar.advance(task, n_bytes))
        print_facts([("rows", f"{len(index):,}"), ("checksums", "all right")])


def _fill(
    index: Index,
    model: EmbeddingModel | None,
    source: Path,
    column: str | None,
    first_id: int | None,
    upsert: bool,
) -> None:
    put = index.upsert if upsert else index.add
    try:
        if model is not None:
            first = len(index) if first_id is None else first_id
            with _progress("embedding", None) as (bar, task):
                for some in read_texts(source, column or "text", first, _STEP_TEXTS):
                    put(some.ids, model.encode_documents(some.texts), some.texts, some.metadata)
                    bar.advance(task, len(some))
            return
        vectors = open_vectors(source, column)
        if vectors.ids_kind is None and first_id is None:
            raise InputError(f"{source} has no ids; number its rows with --first-id")
        with _progress("adding", vectors.n) as (bar, task):
            for chunk in vectors.chunks_with_ids(vectors.rows_in(_STEP_BYTES)):
                start = chunk.start + (first_id or 0)
                put(chunk.ids or range(start, start + len(chunk.rows)), chunk.rows)
                bar.advance(task, len(chunk.rows))
    except KeyboardInterrupt:
        index.refresh()  # a step may have ended unseen
        Console(stderr=True).print(f"stopped; the index holds {len(index):,} rows")
        raise


def _typed(index: Index, ids: list[str]) -> list[int] | list[str]:
    """Ids as the index has them: numbers where its ids are numbers."""
    if index.id_kind != "int":
        return ids
    try:
        return [int(i) for i in ids]
    except ValueError as error:
        raise InputError(f"the ids of {index.path} are integers: {error}") from error


def _print_stats(index: Index) -> None:
    stats, codec = index.stats(), index.codec
    facts = [
        ("rows", f"{stats.rows:,} of {index.dim} dimensions"),
        ("deleted", f"{stats.deleted:,} that compaction will drop"),
        ("codec", f"{index.spec}, metric {index.metric}"),
    ]
    if stats.float_rows:
        facts.append(("waiting", f"{stats.float_rows:,} rows as float32 until compaction"))
    if codec is not None:
        smaller = 4 * codec.dim / codec.n_bytes
        facts.append(("bytes per row", f"{codec.n_bytes:,} ({smaller:.1f} times smaller)"))
        for i, n_bytes in enumerate(stats.level_bytes):
            facts.append((f"level {i}", f"{codec.levels[i].coder.kind}, {size(n_bytes)}"))
    facts += [
        ("model", index.model or "not given"),
        ("segments", f"{stats.segments:,}, {size(stats.segment_bytes)}"),
        ("partitions", f"{stats.partitions:,}"),
        ("graph", _graph(stats)),
        ("catalog", size(stats.catalog_bytes)),
        ("changes", f"{stats.generation:,}"),
    ]
    print_facts(facts)


def _graph(stats: Stats) -> str:
    if not stats.graphs:
        return f"none (profile {stats.profile})"
    return f"{size(stats.graph_bytes)}; {'; '.join(stats.graphs)}"


@contextmanager
def _progress(
    what: str, total: int | None, count: MofNCompleteColumn | DownloadColumn | None = None
) -> Iterator[tuple[Progress, TaskID]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), count or MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        yield progress, progress.add_task(what, total=total)
