"""Stored embeddings 4 to 64 times smaller, searched compressed, with what is kept measured.

import nestbit as nb
codec = nb.fit(embeddings, "binary + int8")
codes = codec.encode(embeddings)
hits = nb.search(codec, codes, queries, k=10)
"""

from importlib.metadata import version

from nestbit import errors as errors
from nestbit.advise import advise
from nestbit.codecs import Codec, Codes, fit
from nestbit.index import Index, create
from nestbit.index import open_index as open
from nestbit.integrations.sentence_transformers import quantize_embeddings
from nestbit.search import Hits, Plan, Stage, search

__version__ = version("nestbit")

__all__ = [
    "Codec",
    "Codes",
    "Hits",
    "Index",
    "Plan",
    "Stage",
    "advise",
    "create",
    "fit",
    "open",
    "quantize_embeddings",
    "search",
]
