"""Opening a file of float vectors by its suffix."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from nestbit.errors import InputError
from nestbit.io.jsonl import open_jsonl
from nestbit.io.npy import open_npy, open_npz
from nestbit.io.parquet import open_parquet
from nestbit.io.source import VectorSource
from nestbit.io.tensors import open_safetensors
from nestbit.io.vecs import open_bvecs, open_fvecs

Opener = Callable[[Path, str | None], VectorSource]

READERS: dict[str, Opener] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".safetensors": open_safetensors,
    ".fvecs": open_fvecs,
    ".bvecs": open_bvecs,
    ".parquet": open_parquet,
    ".jsonl": open_jsonl,
}


def open_vectors(path: str | os.PathLike[str], column: str | None = None) -> VectorSource:
    """Open a file of n vectors for reading in chunks; its suffix tells the format.

    ``column`` names the array, tensor, column or key, and may be left out where only one fits.
    Raises `InputError` for an unknown suffix and for content that is no (n, dim) array of real
    numbers, `FileFormatError` for a damaged or foreign file, and `OSError` for one that cannot
    be opened.
    """
    path = Path(path)
    opener = READERS.get(path.suffix.lower())
    if opener is None:
        raise InputError(
            f"{path} has the unknown suffix {path.suffix!r}; known: {', '.join(READERS)}"
        )
    return opener(path, column)
