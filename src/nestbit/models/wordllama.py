"""WordLlama: a static token table whose weights ship inside its PyPI package."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit._extras import require
from nestbit.errors import InputError
from nestbit.models._base import normalized, truncated_dim

# A text of any length is averaged in pieces of this many tokens (8 MiB of table rows).
_TOKENS_AT_ONCE = 1 << 13


class WordLlamaModel:
    """The 256-dimensional WordLlama table, bundled with its package: no download, no GPU.

    An embedding is the mean of the table rows of the text's tokens, scaled to length one unless
    ``normalize`` is False. The table is Matryoshka-trained at 64, 128 and 256 dimensions; any
    ``truncate_dim`` up to 256 is accepted. A text without tokens (the empty string) gives an
    all-zero row, where the upstream package gives NaN. Raises `MissingExtraError` without the
    package `wordllama`, `InputError` for a ``truncate_dim`` out of range.
    """

    def __init__(self, *, truncate_dim: int | None = None, normalize: bool = True) -> None:
        inference = _load_bundled()
        table: NDArray[np.float32] = inference.embedding
        self._dim = truncated_dim(truncate_dim, table.shape[1], "wordllama")
        self._table = np.ascontiguousarray(table[:, : self._dim])
        self._tokenizer = inference.tokenizer
        self._tokenizer.no_padding()
        self._normalize = normalize
        suffix = "" if self._dim == table.shape[1] else f"@{self._dim}"
        self._name = f"wordllama-l2-{table.shape[1]}{suffix}"

    @property
    def name(self) -> str:
        """Name of the weights, with ``@d`` when truncated."""
        return self._name

    @property
    def dim(self) -> int:
        """Dimensions of one embedding."""
        return self._dim

    def encode_documents(self, texts: Sequence[str]) -> Floats:
        """Embed ``texts``, shape (n, dim); an empty text gives a zero row."""
        out = np.zeros((len(texts), self._dim), dtype=np.float32)
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        for row, encoding in zip(out, encodings, strict=True):
            ids = np.asarray(encoding.ids, dtype=np.intp)
            if len(ids) == 0:
                continue
            # The tokenizer knows a few special tokens that lie past the end of the table.
            np.minimum(ids, len(self._table) - 1, out=ids)
            for start in range(0, len(ids), _TOKENS_AT_ONCE):
                row += self._table[ids[start : start + _TOKENS_AT_ONCE]].sum(axis=0)
            row /= len(ids)
        return normalized(out) if self._normalize else out

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Embed ``texts`` exactly as documents: the model has no prompts."""
        return self.encode_documents(texts)


def _load_bundled() -> Any:
    # Importing wordllama calls logging.basicConfig(level=INFO); undo it, for a library's
    # import must not turn on the caller's log output.
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        package = require("wordllama", extra="offline", purpose="the bundled offline model")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    if package.__file__ is None:
        raise InputError("the installed package 'wordllama' has no files; reinstall it")
    try:
        return package.WordLlama.load(
            cache_dir=Path(package.__file__).parent, disable_download=True
        )
    except FileNotFoundError as error:
        raise InputError(
            f"the installed package 'wordllama' holds no bundled weights ({error}); "
            "install wordllama 0.4.0.post1 or later"
        ) from error
