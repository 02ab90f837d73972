"""What the studies share: data, retention, and pages of Markdown with one figure."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "bench"))

import nestbit as nb  # noqa: E402
from _datasets import Dataset, HeldOut, datasets  # noqa: E402
from _report import markdown, write  # noqa: E402
from nestbit.evaluate import recall_at_k  # noqa: E402

K = 10
NAMES = {
    "efficientnet-lite0/emoji": "EfficientNet, emoji (R@1)",
    "lsa-1024/scifact": "LSA, SciFact",
    "me5-small-q4/nfcorpus": "e5-small, NFCorpus",
    "minilm/nfcorpus": "MiniLM, NFCorpus",
    "minilm/scifact": "MiniLM, SciFact",
    "minilm/summaries80k": "MiniLM, 80k summaries",
    "wordllama-l2-256/nfcorpus": "wordllama, NFCorpus",
    "wordllama-l2-256/scifact": "wordllama, SciFact",
}
Table = list[list[str]]

__all__ = [
    "NAMES",
    "Dataset",
    "HeldOut",
    "K",
    "Table",
    "datasets",
    "kept",
    "nb",
    "parts",
    "percent",
    "plt",
    "recall",
    "run",
    "save",
]


def run(study: Callable[[list[Dataset]], None], doc: str | None, *, unjudged: bool = False) -> None:
    """Run a study on the folder of data that the command line names.

    ``unjudged`` adds the embeddings that have no queries: rows are held out and asked.
    """
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--only", action="append", default=[], metavar="MODEL/COLLECTION")
    arguments = parser.parse_args()
    mpl.rcParams["svg.hashsalt"] = "nestbit"
    study(datasets(arguments.data, arguments.only, unjudged=unjudged))


def kept(data: Dataset, hits: nb.Hits) -> float:
    """The dataset's measure divided by float's."""
    floats = data.quality(data.truth)
    return data.quality(hits) / floats


def recall(data: Dataset, hits: nb.Hits) -> float:
    """The share of the float top 10 among the first ten hits."""
    return recall_at_k(hits.ids[:, :K], data.truth.ids[:, :K])


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def parts(count: int) -> tuple[plt.Figure, Sequence[plt.Axes]]:
    """A figure with ``count`` panels beside each other."""
    figure, axes = plt.subplots(
        1, count, figsize=(max(6.0, 3.2 * count), 3.6), sharey=True, squeeze=False
    )
    return figure, axes[0]


def save(
    name: str, title: str, text: Sequence[str], tables: dict[str, Table], figure: plt.Figure
) -> None:
    """Write ``NAME.md`` with its tables, and its figure beside it."""
    folder = HERE / "figures"
    folder.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    lines = [f"# {title}", "", *(f"{paragraph}\n" for paragraph in text)]
    lines += [f"![{title}](figures/{name}.svg)", ""]
    for heading, table in tables.items():
        lines += [f"## {heading}", "", markdown(table)]
    made = " ".join([f"python studies/{name}.py DATA_DIR", *sys.argv[2:]])
    lines += [f"Made by `{made}`."]
    write(HERE / f"{name}.md", "\n".join(lines) + "\n")
    for heading, table in tables.items():
        print(f"\n{heading}\n{markdown(table)}")
