"""Fitted codecs and results of a sweep on disk, in files named by what they depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit._safetensors import read_arrays, write_arrays
from nestbit.advise.recipes import Recipe
from nestbit.codecs import Codec
from nestbit.errors import FileFormatError, InputError

# Goes up when what is stored, or what it means, changes.
_VERSION = 4
_KEY = "nestbit.sweep"


@dataclass(frozen=True)
class Measured:
    """How one recipe did.

    ``ids`` and ``scores`` (m, k) are its hits among all rows. ``recalls`` (parts, m) is the share
    of the float top k found, the mean over disjoint blocks of each size.
    """

    recipe: Recipe
    ids: NDArray[np.int64]
    scores: Floats
    recalls: NDArray[np.float64]
    milliseconds: float


@dataclass(frozen=True)
class SpecResult:
    """All recipes of one spec, the bytes of its levels, and whether it was left early."""

    spec: str
    level_bytes: tuple[int, ...]
    recipes: tuple[Measured, ...]
    dropped: str | None = None


def content_key(*arrays: Floats, **settings: object) -> str:
    """A digest of arrays and settings: equal content gives an equal name."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps({"version": _VERSION, **settings}, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class Cache:
    """A folder of results; without a folder, nothing is kept.

    Raises `InputError` where the folder's name is taken by a file.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder, self._key = folder, key
        if folder is not None:
            if folder.exists() and not folder.is_dir():
                raise InputError(f"the cache {folder} is a file; name a folder")
            folder.mkdir(parents=True, exist_ok=True)

    def load(self, spec: str) -> SpecResult | None:
        """The result of an earlier run, or None; raises `FileFormatError` for a damaged one."""
        path = self._path(spec)
        if path is None or not path.exists():
            return None
        arrays, metadata = read_arrays(path)
        try:
            header = json.loads(metadata[_KEY])
            recipes = tuple(
                Measured(
                    Recipe(header["spec"], one["oversample"], one["target_recall"]),
                    arrays[f"{i}.ids"],
                    arrays[f"{i}.scores"],
                    arrays[f"{i}.recalls"],
                    one["milliseconds"],
                )
                for i, one in enumerate(header["recipes"])
            )
            # Whether a spec is dominated depends on the grid, which may differ this time.
            return SpecResult(header["spec"], tuple(header["level_bytes"]), recipes)
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{path} is no result of a sweep: {error!r}; remove it"
            ) from error

    def store(self, result: SpecResult) -> None:
        """Keep a result, by atomic rename."""
        path = self._path(result.spec)
        if path is None:
            return
        arrays: dict[str, NDArray[Any]] = {}
        for i, one in enumerate(result.recipes):
            arrays |= {f"{i}.ids": one.ids, f"{i}.scores": one.scores, f"{i}.recalls": one.recalls}
        header = {
            "spec": result.spec,
            "level_bytes": result.level_bytes,
            "recipes": [
                {
                    "oversample": one.recipe.oversample,
                    "target_recall": one.recipe.target_recall,
                    "milliseconds": one.milliseconds,
                }
                for one in result.recipes
            ],
        }
        write_arrays(path, arrays, {_KEY: json.dumps(header)})

    def load_codec(self, spec: str) -> Codec | None:
        """A codec fitted by an earlier run, or None; raises `FileFormatError` if damaged."""
        path = self._path(spec, "codec")
        return Codec.load(path) if path is not None and path.exists() else None

    def store_codec(self, codec: Codec) -> None:
        """Keep a fitted codec: fitting takes most of a sweep's time."""
        path = self._path(codec.spec, "codec")
        if path is not None:
            codec.save(path)

    def _path(self, spec: str, kind: str = "result") -> Path | None:
        if self._folder is None:
            return None
        name = hashlib.blake2b(f"{self._key} {spec}".encode(), digest_size=16).hexdigest()
        return self._folder / f"{kind}-{name}.safetensors"
