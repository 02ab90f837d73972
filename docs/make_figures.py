"""Draw the figures of the docs from real embeddings: python docs/make_figures.py DATA_DIR.

Needs matplotlib. DATA_DIR is the folder that bench/quality.py takes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt

import nestbit as nb
from nestbit.codecs.cell_coder import CellCoder
from nestbit.codecs.explain import coordinate_bits
from nestbit.codecs.transforms import principal_axes
from nestbit.evaluate import exact_search, recall_at_k

FIGURES = Path(__file__).parent / "figures"
MODELS = {
    "minilm/scifact": "MiniLM, SciFact",
    "me5-small-q4/nfcorpus": "e5-small, NFCorpus",
    "wordllama-l2-256/scifact": "wordllama, SciFact",
    "lsa-1024/scifact": "LSA, SciFact",
}
BITS = (0.25, 0.5, 1, 2, 4)


def load(data: Path, name: str, part: str) -> np.ndarray:
    """Unit rows of one of the files."""
    model, collection = name.split("/")
    x = np.load(data / "embeddings" / model / f"{collection}_{part}.npy").astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def spectrum(data: Path) -> None:
    """Variance per principal axis above, bits per coordinate of nested(1) below."""
    figure, axes = plt.subplots(2, len(MODELS), figsize=(12, 4.6), sharex="col")
    for (name, title), (above, below) in zip(MODELS.items(), axes.T, strict=True):
        rows = load(data, name, "corpus")
        variances = principal_axes(rows)[2]
        above.semilogy(np.maximum(variances / variances.sum(), 1e-7))
        above.set_title(title)
        for bits in (0.5, 1, 2):
            coder = nb.fit(rows, f"nested({bits})").levels[0].coder
            assert isinstance(coder, CellCoder)
            below.step(np.arange(coder.dim), coordinate_bits(coder)[: coder.dim], label=f"{bits}")
        below.set_xlabel("coordinate")
    axes[0, 0].set_ylabel("share of variance")
    axes[1, 0].set_ylabel("bits")
    axes[1, -1].legend(title="nested(…)", frameon=False)
    save(figure, "spectrum.svg")


def recall(data: Path) -> None:
    """Recall of the float top 10 by bytes a row."""
    figure, axes = plt.subplots(1, len(MODELS), figsize=(12, 3.4), sharey=True)
    for (name, title), axis in zip(MODELS.items(), axes, strict=True):
        rows, queries = load(data, name, "corpus"), load(data, name, "queries")
        dim = rows.shape[1]
        truth = exact_search(rows, queries, 10).ids
        lines = {
            "nested": [f"nested({b})" for b in BITS],
            "rabitq": [f"rabitq({b})" for b in (1, 2, 4)],
            "pq": [f"pq({round(dim * b / 4)})" for b in BITS],
            "binary": ["binary"],
            "int8": ["int8"],
        }
        for label, specs in lines.items():
            points = []
            for spec in specs:
                codec = nb.fit(rows, spec)
                ids = nb.search(codec, codec.encode(rows), queries, k=10).ids
                points.append((codec.n_bytes, recall_at_k(ids, truth)))
            axis.plot(*zip(*points, strict=True), marker="o", markersize=4, label=label)
        axis.set_xscale("log", base=2)
        axis.set_title(title)
        axis.set_xlabel("bytes a row")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("recall of the float top 10")
    axes[-1].legend(frameon=False)
    save(figure, "recall.svg")


def save(figure: plt.Figure, name: str) -> None:
    """Write the same bytes for the same picture."""
    figure.tight_layout()
    figure.savefig(FIGURES / name, metadata={"Date": None})


if __name__ == "__main__":
    FIGURES.mkdir(exist_ok=True)
    mpl.rcParams["svg.hashsalt"] = "nestbit"
    spectrum(Path(sys.argv[1]))
    recall(Path(sys.argv[1]))
