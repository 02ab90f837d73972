"""Embedding models by string: ``wordllama``, ``sentence-transformers:NAME``, ``onnx:DIR``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nestbit.errors import InputError
from nestbit.models._base import EmbeddingModel
from nestbit.models.onnx import OnnxModel
from nestbit.models.sentence_transformer import SentenceTransformerModel
from nestbit.models.wordllama import WordLlamaModel

# Kind to (adapter, what stands after the colon; None where nothing does).
_KINDS: dict[str, tuple[Callable[..., EmbeddingModel], str | None]] = {
    "wordllama": (WordLlamaModel, None),
    "sentence-transformers": (SentenceTransformerModel, "NAME"),
    "onnx": (OnnxModel, "DIR"),
}


def load_model(model: str, **options: Any) -> EmbeddingModel:
    """Load ``"wordllama"``, ``"sentence-transformers:NAME"`` or ``"onnx:DIR"``.

    ``options`` (such as ``truncate_dim``) go to the adapter. Raises `InputError` for an unknown
    kind, listing the known ones, and for a missing or superfluous name after the colon.
    """
    kind, colon, target = model.partition(":")
    if kind not in _KINDS:
        known = ", ".join(k if arg is None else f"{k}:{arg}" for k, (_, arg) in _KINDS.items())
        raise InputError(f"unknown embedding model {model!r}; known are: {known}")
    adapter, argument = _KINDS[kind]
    if argument is None:
        if colon:
            raise InputError(f"the model {kind!r} takes nothing after a colon, got {model!r}")
        return adapter(**options)
    if not target:
        raise InputError(f"the model {kind!r} needs its {argument}: {kind}:{argument}")
    return adapter(target, **options)
