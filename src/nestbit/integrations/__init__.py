"""Functions that stand in for those of other libraries, same names and same results."""

from nestbit.integrations.sentence_transformers import quantize_embeddings

__all__ = ["quantize_embeddings"]
