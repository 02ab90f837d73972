"""Keep texts in an index on disk, change them, and search them under a filter.

pip install 'nestbit[offline]'
python examples/index.py /tmp/library.nest
"""

import sys

import nestbit as nb
from nestbit.models import load_model

BOOKS = {
    "beagle": ("A naturalist sails around the world and collects animals and fossils", 1839),
    "whale": ("A captain hunts the white whale that took his leg", 1851),
    "moon": ("Three men are shot to the moon from a giant cannon", 1865),
    "submarine": ("A captain travels the oceans of the world in a submarine", 1870),
    "island": ("A boy and a pirate look for treasure buried on an island", 1883),
    "hound": ("A detective is called to a moor where a ghostly hound is feared", 1902),
}

path = sys.argv[1] if len(sys.argv) > 1 else "library.nest"
model = load_model("wordllama")  # its weights come with the package: nothing is downloaded
texts = [text for text, _ in BOOKS.values()]

with nb.create(path, "binary + int8", fields=["year"], model="wordllama") as index:
    index.add(
        list(BOOKS),
        model.encode_documents(texts),
        documents=texts,
        metadata=[{"year": year} for _, year in BOOKS.values()],
    )
    index.fit()  # six rows are few to learn from; without this they would wait as float32
    index.delete(["hound"])
    text = "A boy, a map and a one-legged pirate: treasure on a far island"
    index.upsert(["island"], model.encode_documents([text]), [text], [{"year": 1883}])

with nb.open(path) as index:
    query = model.encode_queries(["a journey by sea"])
    hits = index.search(query, k=2, where={"year": {"gte": 1850}}, documents=True)
    for id_, score, document in zip(hits.ids[0], hits.scores[0], hits.documents[0], strict=True):
        print(f"{score:.3f}  {id_:<10} {document}")
    print(f"{len(index)} rows, {index.count({'year': {'lt': 1850}})} of them before 1850")
