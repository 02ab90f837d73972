"""``nestbit info``: what a file is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import DownloadColumn, Progress

from nestbit._safetensors import read_header
from nestbit.cli.wording import print_facts, share, size
from nestbit.codecs import Codec
from nestbit.errors import InputError
from nestbit.io.codes_file import FORMAT, read_codes
from nestbit.io.codes_file import verify as verify_codes
from nestbit.io.vectors import open_vectors

Facts = list[tuple[str, str]]


def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A compressed file, or vectors.")],
    column: Annotated[
        str | None, typer.Option(help="The array, tensor, column or key of vectors.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read a compressed file against its checksums.")
    ] = False,
) -> None:
    """Tell what a file is: rows, dimensions, spec, bytes per row, metric, model."""
    kind = _kind(file)
    if kind == "vectors":
        facts = _vectors(file, column)
    elif column is not None:
        raise InputError(f"{file} is a compressed file or a codec; --column is for vectors")
    else:
        facts = _codes(file) if kind == "codes" else _codec(file)
    if verify:
        if kind != "codes":
            raise InputError(f"{file} is no compressed file; only these carry checksums to verify")
        _verify(file)
        facts.append(("checksums", "all right"))
    print_facts([*facts, ("file", f"{file}, {size(file.stat().st_size)}")])


def _kind(path: Path) -> str:
    """``codes``, ``codec`` or ``vectors``, by what the file begins with: outputs have any name."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":
        metadata = read_header(path).metadata
        if metadata.get("format") == FORMAT:
            return "codes"
        if "nestbit.codec" in metadata:
            return "codec"
    return "vectors"


def _codes(path: Path) -> Facts:
    codec, codes, ids = read_codes(path)
    kind = "none" if ids is None else "integers" if isinstance(ids, np.ndarray) else "strings"
    return [
        ("what", "compressed vectors"),
        ("rows", f"{len(codes):,}"),
        *_codec_facts(codec),
        ("clipped values", ", ".join(map(share, codes.clipped)) + " by level"),
        ("all-zero rows", f"{len(codes.zero_rows):,}"),
        ("ids", kind),
    ]


def _codec(path: Path) -> Facts:
    return [("what", "a fitted codec"), *_codec_facts(Codec.load(path))]


def _codec_facts(codec: Codec) -> Facts:
    levels = [
        f"{level.coder.kind}, {level.coder.dim} dimensions, {level.n_bytes} bytes"
        for level in codec.levels
    ]
    return [
        ("dimensions", f"{codec.dim}"),
        ("spec", codec.spec),
        *((f"level {i}", level) for i, level in enumerate(levels)),
        ("bytes per row", f"{codec.n_bytes:,} ({4 * codec.dim / codec.n_bytes:.1f} times smaller)"),
        ("metric", codec.metric),
        ("model", codec.model or "not given"),
    ]


def _vectors(path: Path, column: str | None) -> Facts:
    source = open_vectors(path, column)
    facts = [
        ("what", f"vectors ({source.format})"),
        ("rows", f"{source.n:,}"),
        ("dimensions", f"{source.dim}"),
        ("values", source.dtype),
        ("bytes per row", f"{4 * source.dim:,} as float32"),
        ("ids", {None: "none", "int": "integers", "str": "strings"}[source.ids_kind]),
    ]
    return facts if source.name is None else [*facts, ("column", source.name)]


def _verify(path: Path) -> None:
    console = Console(stderr=True)
    with Progress(
        *Progress.get_default_columns(),
        DownloadColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("verifying", total=path.stat().st_size)
        verify_codes(path, lambda n_bytes: progress.advance(task, n_bytes))
