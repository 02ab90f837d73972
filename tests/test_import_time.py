"""Importing nestbit stays light: it loads no optional package."""

import subprocess
import sys

HEAVY = [
    "faiss",
    "ir_measures",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "rich",
    "scipy",
    "sentence_transformers",
    "sklearn",
    "tokenizers",
    "torch",
    "tqdm",
    "transformers",
    "typer",
    "usearch",
    "wordllama",
]


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_nestbit_loads_no_optional_package():
    loaded = loaded_by("import nestbit")
    assert {"nestbit", "numpy"} <= loaded
    assert loaded & set(HEAVY) == set()


def test_import_nestbit_evaluate_loads_no_optional_package():
    loaded = loaded_by("import nestbit.evaluate")
    assert "nestbit" in loaded
    assert loaded & set(HEAVY) == set()
