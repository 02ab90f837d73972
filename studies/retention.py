"""Retention of int8, binary, and binary with rescoring, on every model and collection."""

from __future__ import annotations

import numpy as np

from _common import NAMES, Dataset, K, kept, nb, parts, percent, plt, run, save

VARIANTS = {
    "int8": ("int8", lambda codec: nb.Plan.default(codec)),
    "binary": ("binary", lambda codec: nb.Plan.hamming(codec, oversample=1)),
    "binary, rescored ×4": ("binary", lambda codec: nb.Plan.hamming(codec, oversample=4)),
    "center | binary, rescored ×4": (
        "center | binary",
        lambda codec: nb.Plan.hamming(codec, oversample=4),
    ),
    "binary + int8, ×4": ("binary + int8", lambda codec: nb.Plan.hamming(codec, oversample=4)),
    "nested(1)": ("nested(1)", lambda codec: nb.Plan.default(codec)),
}


def study(all_data: list[Dataset]) -> None:
    shares = {
        name: [_kept(data, spec, plan) for data in all_data]
        for name, (spec, plan) in VARIANTS.items()
    }
    head = ["kept of float's nDCG@10 (%)", *(NAMES.get(d.name, d.name) for d in all_data), "mean"]
    rows = [[name, *map(percent, s), percent(float(np.mean(s)))] for name, s in shares.items()]
    figure, (axis,) = parts(1)
    width = 0.8 / len(shares)
    for i, (name, values) in enumerate(shares.items()):
        axis.bar(np.arange(len(values)) + i * width, values, width, label=name)
    axis.set_xticks(np.arange(len(all_data)) + 0.4)
    axis.set_xticklabels(
        [NAMES.get(d.name, d.name) for d in all_data], rotation=30, ha="right", fontsize=8
    )
    axis.set_ylabel("kept of float's measure")
    axis.legend(frameon=False, fontsize=7, ncols=2, loc="lower left")
    figure.set_size_inches(9, 5)
    save(
        "retention",
        "What int8, binary and rescored binary keep",
        [
            "The claim: over MTEB's retrieval tasks binary with rescoring keeps 96.45% for the "
            "best model, int8 97%, and binary falls to 74.77% for the worst (Binary and Scalar "
            "Embedding Quantization, 2024). There, rescoring means a float query on the same "
            "bits, four candidates for each hit.",
            "Here: int8 keeps 99.9% on average, more than claimed: values are rounded to the "
            "nearest step between the least and greatest of the rows themselves, and the query "
            "stays float. Rescored binary comes near the claim on MiniLM and LSA (93.5% to "
            "98.3%), not on wordllama's 256 dimensions (85% and 89%).",
            "Two models break it. Plain binary keeps 17.6% on e5, far below the 74.77% that was "
            "the worst reported: its rows share one direction, so that most signs are equal in "
            "all rows. Rescoring the same bits cannot mend that, centring does (76.6%). On "
            "image features, which are never negative, a sign only tells zero from not zero, "
            "and there the float query makes the Hamming order worse: 95.5% before rescoring, "
            "85.1% after.",
            "What differs: our models have 256 to 1,280 dimensions, our collections are two of "
            "BEIR's smallest and one of pictures, and the e5 model has 4-bit weights.",
        ],
        {"Retention": [head, *rows]},
        figure,
    )
    plt.close(figure)


def _kept(data: Dataset, spec: str, plan) -> float:
    codec = nb.fit(data.corpus, spec)
    return kept(data, nb.search(codec, codec.encode(data.corpus), data.queries, K, plan(codec)))


if __name__ == "__main__":
    run(study, __doc__)
