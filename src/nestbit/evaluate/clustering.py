"""Clustering: does k-means find the same classes in compressed rows?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nestbit._arrays import Floats
from nestbit._extras import require
from nestbit.codecs import Codec
from nestbit.errors import InputError
from nestbit.evaluate.comparison import Comparison, compressed, labelled


def clustering(
    embeddings: ArrayLike,
    labels: Sequence[object],
    codec: Codec,
    *,
    level: int = -1,
    repeats: int = 3,
    seed: int = 0,
) -> Comparison:
    """V-measure of k-means on ``embeddings`` (n, dim), float against compressed.

    k is the number of distinct ``labels`` (n,); the V-measure is the harmonic mean of homogeneity
    and completeness (Rosenberg and Hirschberg, EMNLP 2007), averaged over ``repeats`` starts
    that both sides share. Raises `InputError` for labels that do not match or fewer than two
    classes. Needs the extra ``eval``.
    """
    rows, named = labelled(embeddings, labels)
    classes = len(set(named))
    if classes < 2:
        raise InputError("clustering needs two classes or more, all labels are the same")
    if repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    seeds = [seed + i for i in range(repeats)]
    floats = _v_measure(codec.prepare(rows), named, classes, seeds)
    coded = _v_measure(compressed(codec, rows, level=level), named, classes, seeds)
    return Comparison("V-measure", floats, coded)


def _v_measure(rows: Floats, labels: list[str], classes: int, seeds: list[int]) -> float:
    cluster = require("sklearn.cluster", extra="eval", purpose="k-means")
    metrics = require("sklearn.metrics", extra="eval", purpose="the V-measure")
    found = (
        cluster.KMeans(classes, n_init=1, random_state=seed).fit_predict(rows) for seed in seeds
    )
    return float(np.mean([metrics.v_measure_score(labels, clusters) for clusters in found]))
