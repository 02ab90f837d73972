"""Truncation curves: the first dimensions, random ones, and principal axes."""

from __future__ import annotations

import numpy as np

from _common import NAMES, Dataset, kept, nb, parts, percent, plt, run, save
from nestbit.evaluate import exact_search

SHARES = (1, 2, 4, 8, 16, 32)


def study(all_data: list[Dataset]) -> None:
    figure, axes = parts(len(all_data))
    rows = []
    for data, axis in zip(all_data, axes, strict=True):
        dim = data.corpus.shape[1]
        widths = [dim // share for share in SHARES]
        order = np.random.default_rng(0).permutation(dim)
        curves = {
            "first dimensions": [_columns(data, np.arange(d)) for d in widths],
            "random dimensions": [_columns(data, order[:d]) for d in widths],
            "principal axes": [_spec(data, d) for d in widths],
        }
        for name, line in curves.items():
            axis.plot(widths, line, marker="o", markersize=3, label=name)
            rows.append([NAMES.get(data.name, data.name), name, *map(percent, line)])
        axis.set_xscale("log", base=2)
        axis.set_title(NAMES.get(data.name, data.name), fontsize=8)
        axis.set_xlabel("dimensions")
    axes[0].set_ylabel("kept of float's measure")
    axes[-1].legend(frameon=False, fontsize=7)
    save(
        "matryoshka",
        "Truncation",
        [
            "The claim: Matryoshka-trained models keep 98% and more of their quality at a "
            "twelfth of their dimensions (Matryoshka Representation Learning, arXiv:2205.13147, "
            "and the posts that followed).",
            "Here: only wordllama is Matryoshka-trained among our models, and it keeps 90 to "
            "91% at half of its 256 dimensions, 72 to 77% at a quarter. It is a small static "
            "model, whose 256 dimensions are themselves a prefix of a larger one. Its first "
            "dimensions are better than random ones down to a quarter, by 1 to 9 points, and "
            "those of e5 by 2 to 7; those of MiniLM and EfficientNet hardly are.",
            "Principal axes, which need no training of the model, beat the first dimensions "
            "wherever the model is not Matryoshka-trained, by far at a quarter and less: MiniLM "
            "keeps 92 to 94% there, EfficientNet 97%. The exception is LSA, whose dimensions "
            "fall by energy already: energy is no guide there, and even random dimensions keep "
            "more than the first ones, probably since the rare words that decide a query lie in "
            "the small ones.",
            "What differs: small models, nDCG@10 of two small collections, R@1 for pictures. "
            "Principal axes are learned on the collection itself.",
        ],
        {"Kept of float's measure (%)": [
            ["data", "which", *(f"1/{share}" if share > 1 else "all" for share in SHARES)], *rows
        ]},
        figure,
    )  # fmt: skip
    plt.close(figure)


def _columns(data: Dataset, columns: np.ndarray) -> float:
    hits = exact_search(data.corpus[:, columns], data.queries[:, columns], 100)
    return kept(data, hits)


def _spec(data: Dataset, d: int) -> float:
    codec = nb.fit(data.corpus, f"pca({d}) | float32")
    codes = codec.encode(data.corpus)
    return kept(data, nb.search(codec, codes, data.queries, min(100, len(codes)), None))


if __name__ == "__main__":
    run(study, __doc__)
