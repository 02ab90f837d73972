"""What does each way of compressing keep of my own embeddings?

python examples/compare_plans.py EMBEDDINGS.npy QUERIES.npy
"""

import sys

import numpy as np

import nestbit as nb
from nestbit.evaluate import exact_search, recall_at_k

SPECS = ["int8", "binary", "rotate | binary", "binary + int8", "rotate | binary + int8"]

embeddings, queries = (np.load(path).astype(np.float32) for path in sys.argv[1:3])
truth = exact_search(embeddings, queries, k=10).ids

print("bytes  recall of the float top 10")
print(f"{4 * embeddings.shape[1]:>5}  1.000  float32")
for spec in SPECS:
    codec = nb.fit(embeddings, spec)
    codes = codec.encode(embeddings)
    for oversample in (3, 10) if "+" in spec else (3,):
        plan = nb.Plan.default(codec, oversample=oversample)
        hits = nb.search(codec, codes, queries, k=10, plan=plan, explain=True)
        read = sum(stage.bytes_read for stage in hits.stages) / len(queries) / len(embeddings)
        print(
            f"{codec.n_bytes:>5}  {recall_at_k(hits.ids, truth):.3f}  {spec}, {len(plan.stages)} "
            f"stages, oversampling {oversample}: {read:.0f} bytes read per row and query"
        )
