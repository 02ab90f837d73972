"""Embedding models behind one protocol, and `embed`, which survives a crash on a long corpus."""

from nestbit.models._base import EmbeddingModel
from nestbit.models.embedding import embed
from nestbit.models.onnx import OnnxModel
from nestbit.models.registry import load_model
from nestbit.models.sentence_transformer import SentenceTransformerModel
from nestbit.models.wordllama import WordLlamaModel

__all__ = [
    "EmbeddingModel",
    "OnnxModel",
    "SentenceTransformerModel",
    "WordLlamaModel",
    "embed",
    "load_model",
]
