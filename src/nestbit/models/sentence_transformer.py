"""Any sentence-transformers model, with its own prompts for queries and documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nestbit._arrays import Floats
from nestbit._extras import require
from nestbit.errors import InputError
from nestbit.models._base import truncated_dim

_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


class SentenceTransformerModel:
    """A sentence-transformers model, given by name, by path, or as a loaded instance.

    Queries and documents go through the model's own ``encode_query`` and ``encode_document``, so
    its prompts and routes apply; ``query_prompt`` and ``document_prompt`` override them. On
    sentence-transformers 3 and 4, which lack these methods, the prompts named "query" and
    "document" (or "passage", "corpus") are used if the model has them. Rows are as the model
    gives them, of length one only if it ends in a normalising module or ``normalize`` is True
    (applied after the truncation). ``truncate_dim`` may not exceed the model's dimensions.
    ``name`` replaces the name recorded with the embeddings.
    Raises `MissingExtraError` without the package, `InputError` when the model cannot be loaded.
    """

    def __init__(
        self,
        model: Any,
        *,
        name: str | None = None,
        truncate_dim: int | None = None,
        normalize: bool = False,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        batch_size: int = 32,
        device: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        if isinstance(model, (str, Path)):
            label = name or str(model)
            model = _load(str(model), device=device, local_files_only=local_files_only)
        else:
            label = name or ""
        # An instance may already be truncated: that is then its full width.
        full = _dimensions(model)
        label = label or _label(model)
        self._dim = truncated_dim(truncate_dim, full, label)
        own = getattr(model, "truncate_dim", None)
        self._name = f"{label}@{self._dim}" if self._dim < full or own else label
        self._model = model
        self._normalize = normalize
        self._prompts = {"query": query_prompt, "document": document_prompt}
        self._batch_size = batch_size

    @property
    def name(self) -> str:
        """Name or path of the model, with ``@d`` when truncated."""
        return self._name

    @property
    def dim(self) -> int:
        """Dimensions of one embedding."""
        return self._dim

    def encode_documents(self, texts: Sequence[str]) -> Floats:
        """Embed ``texts`` with the document prompt, shape (n, dim)."""
        return self._encode("document", texts)

    def encode_queries(self, texts: Sequence[str]) -> Floats:
        """Embed ``texts`` with the query prompt, shape (n, dim)."""
        return self._encode("query", texts)

    def _encode(self, kind: str, texts: Sequence[str]) -> Floats:
        if len(texts) == 0:
            return np.zeros((0, self._dim), dtype=np.float32)
        options: dict[str, Any] = {
            "batch_size": self._batch_size,
            "show_progress_bar": False,
            "convert_to_numpy": True,
            "normalize_embeddings": self._normalize,
        }
        if self._prompts[kind] is not None:
            options["prompt"] = self._prompts[kind]
        encode = getattr(self._model, f"encode_{kind}", None)
        if encode is None:
            encode = self._model.encode
            if "prompt" not in options:
                options["prompt_name"] = _named_prompt(kind, self._model.prompts)
        # The model's own truncation comes before its normalisation, a slice would come after.
        with _truncation(self._model)(self._dim):
            return np.ascontiguousarray(encode(list(texts), **options), dtype=np.float32)


def _load(name: str, **options: Any) -> Any:
    package = require(
        "sentence_transformers", extra="sentence-transformers", purpose=f"the model {name!r}"
    )
    try:
        return package.SentenceTransformer(name, **options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise InputError(
            f"sentence-transformers cannot load the model {name!r}: "
            f"{reason[0] if reason else type(error).__name__}; give a folder or a hub name"
        ) from error


def _truncation(model: Any) -> Any:
    # Renamed in sentence-transformers 5.
    return getattr(model, "truncate_embeddings", None) or model.truncate_sentence_embeddings


def _named_prompt(kind: str, prompts: Mapping[str, str]) -> str | None:
    candidates = ("query",) if kind == "query" else _DOCUMENT_PROMPTS
    return next((name for name in candidates if name in prompts), None)


def _dimensions(model: Any) -> int:
    ask = getattr(model, "get_embedding_dimension", None)
    if ask is None:
        ask = getattr(model, "get_sentence_embedding_dimension", None)
    if ask is None:
        raise InputError(
            f"a model name, a path or a SentenceTransformer is needed, got {type(model).__name__}"
        )
    known = ask()
    return int(known) if known else int(model.encode(["a"], show_progress_bar=False).shape[1])


def _label(model: Any) -> str:
    card = getattr(model, "model_card_data", None)
    first = next(iter(model), None) if isinstance(model, Iterable) else None
    config = getattr(getattr(first, "auto_model", None), "config", None)
    for owner, key in ((card, "model_id"), (card, "base_model"), (config, "_name_or_path")):
        if found := getattr(owner, key, None):
            return str(found)
    raise InputError("the SentenceTransformer does not tell its name; pass name=")
