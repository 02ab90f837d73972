"""The protocol every embedding model satisfies, and the two steps its adapters share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from nestbit._arrays import Floats
from nestbit.errors import InputError


@runtime_checkable
class EmbeddingModel(Protocol):
    """Turns texts into float32 embeddings of shape (n, dim).

    ``name`` identifies the weights and the truncation, because codecs and journals record it:
    two sets of weights must not share a name.
    """

    @property
    def name(self) -> str:
        """Name of the weights, with ``@d`` appended when the output is truncated to d."""

    @property
    def dim(self) -> int:
        """Dimensions of one embedding."""

    def encode_documents(self, texts: Sequence[str]) -> Floats:
        """Embed the texts to be stored, shape (n, dim)."""

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Embed the texts to search with, shape (n, dim)."""


def normalized(x: Floats) -> Floats:
    """Return ``x`` (n, dim) with rows of length one; an all-zero row stays zero."""
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return np.asarray(x / lengths, dtype=np.float32)


def truncated_dim(truncate_dim: int | None, full: int, model: str) -> int:
    """Return the output dimensions asked for, or raise `InputError` outside 1..full."""
    if truncate_dim is None:
        return full
    if isinstance(truncate_dim, bool) or not isinstance(truncate_dim, int):
        raise InputError(f"truncate_dim must be a whole number, got {truncate_dim!r}")
    if not 1 <= truncate_dim <= full:
        raise InputError(
            f"truncate_dim must be between 1 and the {full} dimensions of {model}, "
            f"got {truncate_dim}"
        )
    return truncate_dim
