"""Embed a corpus in batches, resumably."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from nestbit._arrays import Floats, as_embeddings
from nestbit.errors import FileFormatError, InputError
from nestbit.models._base import EmbeddingModel
from nestbit.models._partial import FORMAT, Journal, PartialRows, TextHash
from nestbit.models._progress import progress_report

Kind = Literal["documents", "queries"]

# A model under the journal's name that embeds the first text differently (another prompt,
# other weights) is refused below this cosine; batching and threads stay far above it.
_SAME_MODEL_COSINE = 0.99


def embed(
    model: EmbeddingModel,
    texts: Iterable[str],
    *,
    path: str | Path | None = None,
    kind: Kind = "documents",
    batch_size: int = 256,
    progress: bool | None = None,
    restart: bool = False,
) -> Floats:
    """Embed ``texts`` in batches; returns float32 of shape (n, dim).

    With ``path``, a .npy file, each batch is on disk before the next one starts: the rows in
    ``PATH.partial``, and in ``PATH.journal`` the model's name and a running hash of the texts. A
    run that was killed continues where it stopped, at the cost of at most one batch and the first
    text embedded again. The file appears by atomic rename and is returned memory-mapped; the
    journal stays beside it, so that the same call on a finished file only hashes the texts.

    ``texts`` may be a generator, read once; ``restart=True`` discards what is on disk.
    ``progress`` None draws a bar on a terminal and writes a line every 30 seconds elsewhere.

    Raises `InputError` when the texts or the model differ from those the rows on disk were made
    from, for a text that is no string and for a row that is not finite; `FileFormatError` for a
    truncated or altered file.
    """
    if kind not in ("documents", "queries"):
        raise InputError(f"kind must be 'documents' or 'queries', got {kind!r}")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    if isinstance(texts, str):
        raise InputError("texts must be a sequence of strings, got one string; pass [text]")
    total = len(texts) if isinstance(texts, Sized) else None
    if path is None:
        return _embed_in_memory(model, texts, kind, batch_size, progress, total)
    return _embed_to_file(model, texts, Path(path), kind, batch_size, progress, total, restart)


def _embed_in_memory(
    model: EmbeddingModel,
    texts: Iterable[str],
    kind: Kind,
    batch_size: int,
    progress: bool | None,
    total: int | None,
) -> Floats:
    hashed, done = TextHash(), 0
    blocks: list[Floats] = []
    with progress_report(progress, total=total, label=f"embedding {kind}") as report:
        for batch in _batches(iter(texts), batch_size, hashed, 0):
            blocks.append(_encode(model, kind, batch, done))
            done += len(batch)
            report(done)
    if not blocks:
        return np.zeros((0, model.dim), dtype=np.float32)
    return np.concatenate(blocks)


def _embed_to_file(
    model: EmbeddingModel,
    texts: Iterable[str],
    path: Path,
    kind: Kind,
    batch_size: int,
    progress: bool | None,
    total: int | None,
    restart: bool,
) -> Floats:
    if path.suffix != ".npy":
        raise InputError(f"path must end in .npy, got {path}")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} in; create it")
    journal_path = path.with_name(path.name + ".journal")
    start = Journal(FORMAT, model.name, kind, model.dim, 0, TextHash().hexdigest(), 0, False)
    stream, hashed = iter(texts), TextHash()
    rows = PartialRows(path.with_name(path.name + ".partial"), model.dim)
    try:
        journal = None if restart else Journal.read(journal_path)
        finished = journal is not None and journal.complete and rows.fresh and path.is_file()
        if journal is None or (rows.fresh and not finished):
            # The journal first: one that counts rows must never stand beside an emptied file.
            start.write(journal_path)
            rows.clear()
        else:
            _check_same(journal, start, path)
            first = _skip(stream, hashed, journal, path)
            if finished:
                _check_exhausted(stream, path)
                rows.discard()
                return _result(path, journal.rows, model.dim)
            rows.keep(journal.rows, journal.rows_crc32)
            if journal.rows:
                _check_same_embedding(model, kind, first, rows, path)
        label = f"embedding {kind}"
        with progress_report(progress, total=total, label=label, started_at=rows.rows) as report:
            for batch in _batches(stream, batch_size, hashed, rows.rows):
                rows.append(_encode(model, kind, batch, rows.rows))
                _commit(start, rows, hashed, complete=False).write(journal_path)
                report(rows.rows)
        _commit(start, rows, hashed, complete=True).write(journal_path)
        rows.finish(path)
        return _result(path, rows.rows, model.dim)
    finally:
        rows.close()


def _commit(start: Journal, rows: PartialRows, hashed: TextHash, *, complete: bool) -> Journal:
    return replace(
        start,
        rows=rows.rows,
        texts_sha256=hashed.hexdigest(),
        rows_crc32=rows.crc32,
        complete=complete,
    )


def _batches(
    stream: Iterator[str], size: int, hashed: TextHash, first_row: int
) -> Iterator[list[str]]:
    row = first_row
    while batch := list(islice(stream, size)):
        for text in batch:
            hashed.add(text, row)
            row += 1
        yield batch


def _encode(model: EmbeddingModel, kind: Kind, batch: list[str], row: int) -> Floats:
    encode = model.encode_documents if kind == "documents" else model.encode_queries
    x = encode(batch)
    name = f"the embeddings by {model.name} of texts {row} to {row + len(batch) - 1}"
    if np.shape(x) != (len(batch), model.dim):
        raise InputError(
            f"{name} have shape {np.shape(x)}, expected {(len(batch), model.dim)}; "
            "the model breaks its protocol"
        )
    return as_embeddings(x, name=name)


def _check_same(journal: Journal, wanted: Journal, path: Path) -> None:
    for field, label in (("model", "model"), ("dim", "dimensions"), ("kind", "kind of text")):
        was, now = getattr(journal, field), getattr(wanted, field)
        if was != now:
            raise InputError(
                f"{path} was begun with the {label} {was!r}, now it is {now!r}; "
                "choose another path or pass restart=True"
            )


def _skip(stream: Iterator[str], hashed: TextHash, journal: Journal, path: Path) -> str:
    """Read the texts that are embedded already and compare their hash; return the first."""
    first, row = "", 0
    for row, text in enumerate(islice(stream, journal.rows), start=1):
        hashed.add(text, row - 1)
        first = text if row == 1 else first
    if row < journal.rows or hashed.hexdigest() != journal.texts_sha256:
        raise InputError(
            f"the texts differ from the {journal.rows} that {path} was made from "
            f"({row} could be compared); choose another path or pass restart=True"
        )
    return first


def _check_exhausted(stream: Iterator[str], path: Path) -> None:
    if next(stream, None) is not None:
        raise InputError(
            f"{path} is finished, and there are now more texts than it was made from; "
            "choose another path or pass restart=True"
        )


def _check_same_embedding(
    model: EmbeddingModel, kind: Kind, text: str, rows: PartialRows, path: Path
) -> None:
    now, was = _encode(model, kind, [text], 0)[0], rows.first()
    lengths = float(np.linalg.norm(now)), float(np.linalg.norm(was))
    same_length = abs(lengths[0] - lengths[1]) <= (1 - _SAME_MODEL_COSINE) * max(lengths)
    if not same_length or now @ was < _SAME_MODEL_COSINE * lengths[0] * lengths[1]:
        raise InputError(
            f"{model.name} embeds the first text differently than when {path} was begun "
            "(another prompt, normalisation or other weights); pass restart=True"
        )


def _result(path: Path, rows: int, dim: int) -> Floats:
    try:
        x: Floats = np.load(path, mmap_mode="r" if rows else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FileFormatError(f"{path} is truncated or no .npy file: {error}; delete it") from error
    if x.shape != (rows, dim) or x.dtype != np.float32:
        raise FileFormatError(
            f"{path} holds {x.dtype} of shape {x.shape}, its journal promises float32 of shape "
            f"{(rows, dim)}; delete it or pass restart=True"
        )
    return x
