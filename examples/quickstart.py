"""Search the docstrings of Python's standard library in 1/3.6 of the memory.

pip install 'nestbit[offline]'
python examples/quickstart.py "split a path into its parts"
"""

import importlib
import inspect
import sys

import nestbit as nb
from nestbit.models import load_model

MODULES = "argparse collections csv datetime email functools glob json logging os os.path pathlib \
random re shutil socket statistics string subprocess tempfile textwrap threading urllib.parse"


def docstrings() -> dict[str, str]:
    """Full name and docstring of every documented function and class in MODULES."""
    found = {}
    for module in MODULES.split():
        for name, member in inspect.getmembers(importlib.import_module(module), callable):
            if not name.startswith("_") and (doc := inspect.getdoc(member)):
                found[f"{module}.{name}"] = doc
    return found


docs = docstrings()
names = list(docs)
model = load_model("wordllama")  # its weights come with the package: nothing is downloaded
embeddings = model.encode_documents([f"{name}: {doc}" for name, doc in docs.items()])

codec = nb.fit(embeddings, "binary + int8")
codes = codec.encode(embeddings)
print(f"{len(codes)} docstrings: {embeddings.nbytes:,} bytes as floats, {codes.nbytes:,} as codes")

question = sys.argv[1] if len(sys.argv) > 1 else "split a path into its parts"
hits = nb.search(codec, codes, model.encode_queries([question]), k=5)
for row, score in zip(hits.ids[0], hits.scores[0], strict=True):
    print(f"{score:.3f}  {names[row]:<32} {docs[names[row]].splitlines()[0]}")
