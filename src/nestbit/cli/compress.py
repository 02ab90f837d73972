"""``nestbit compress``: a file of vectors made small."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nestbit._atomic import check_output
from nestbit.cli.wording import print_facts, share, size
from nestbit.codecs import DEFAULT_SAMPLE, METRICS, Codec
from nestbit.errors import InputError
from nestbit.io.encode import DEFAULT_BUFFER, encode_file
from nestbit.io.vectors import READERS, open_vectors
from nestbit.kernels import default_threads


def compress(
    source: Annotated[Path, typer.Argument(metavar="IN", help=f"Vectors: {', '.join(READERS)}.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The compressed file to write.")],
    codec: Annotated[
        str, typer.Option(help="The codec's spec, levels coarse to fine, as in 'pca(256) | int8'.")
    ] = "binary + int8",
    metric: Annotated[
        str, typer.Option(help=f"What scores mean: {', '.join(METRICS)}.")
    ] = "cosine",
    column: Annotated[
        str | None, typer.Option(help="The array, tensor, column or key, if there are several.")
    ] = None,
    sample: Annotated[int, typer.Option(help="Random rows that the codec learns from.")] = (
        DEFAULT_SAMPLE
    ),
    model: Annotated[
        str | None, typer.Option(help="The embedding model's name, kept with the codec.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Chunks encoded at once; by default one per processor.")
    ] = None,
    chunk_mb: Annotated[
        int,
        typer.Option(help="Megabytes of float rows held at once; encoding needs a few times it."),
    ] = DEFAULT_BUFFER >> 20,
    seed: Annotated[int, typer.Option(help="Seed of the sample and of random stages.")] = 0,
) -> None:
    """Compress a file of vectors, of any size, into one searchable file."""
    began = time.perf_counter()
    if chunk_mb < 1:
        raise InputError(f"--chunk-mb must be at least 1, got {chunk_mb}")
    if seed < 0:
        raise InputError(f"--seed must be at least 0, got {seed}")
    check_output(output)
    fitted = Codec(codec, metric=metric, model=model, seed=seed)  # a bad spec is told at once
    vectors = open_vectors(source, column)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("reading a sample", total=None)
        fitted.fit(vectors.sample(sample, seed), sample=sample)
        progress.update(task, description="compressing", total=vectors.n)
        clipped = encode_file(
            fitted,
            vectors,
            output,
            threads=default_threads() if threads is None else threads,
            buffer=chunk_mb << 20,
            progress=lambda rows: progress.advance(task, rows),
        )
    seconds = time.perf_counter() - began
    floats = 4 * vectors.dim
    print_facts(
        [
            ("rows", f"{vectors.n:,} of {vectors.dim} dimensions"),
            ("codec", f"{fitted.spec}, metric {metric}"),
            ("bytes per vector", f"{fitted.n_bytes:,} instead of {floats:,} as float32"),
            ("times smaller", f"{floats / fitted.n_bytes:.1f}"),
            ("clipped values", ", ".join(map(share, clipped)) + " by level"),
            ("file", f"{output}, {size(output.stat().st_size)}"),
            ("time", f"{seconds:.1f} s, {vectors.n / seconds:,.0f} rows a second"),
        ]
    )
