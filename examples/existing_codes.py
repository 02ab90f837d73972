"""Search codes that were made elsewhere, as they are.

    python examples/existing_codes.py EMBEDDINGS.npy QUERIES.npy

The packed bits stand for an index made by sentence-transformers, faiss, pgvector or Milvus:
all of them store the sign bits in the order of `numpy.packbits`.
"""

import sys

import numpy as np

import nestbit as nb
from nestbit.evaluate import exact_search, recall_at_k

embeddings, queries = (np.load(path).astype(np.float32) for path in sys.argv[1:3])

packed = nb.quantize_embeddings(embeddings, "ubinary")  # or from sentence_transformers
print(f"{len(packed)} rows of {packed.shape[1]} bytes")

codec = nb.Codec("binary", dim=embeddings.shape[1])
codes = codec.codes_from(packed)
truth = exact_search(embeddings, queries, k=10).ids
for name, plan in {
    "Hamming distance": nb.Plan.hamming(codec, oversample=1),
    "Hamming, the best 100 rescored with the float query": nb.Plan.hamming(codec, oversample=10),
    "float query against all bits": nb.Plan.default(codec),
}.items():
    hits = nb.search(codec, codes, queries, k=10, plan=plan)
    print(f"{recall_at_k(hits.ids, truth):.3f} of the float top 10: {name}")
