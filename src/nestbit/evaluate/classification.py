"""Classification on compressed rows: a linear probe, and the nearest neighbours' vote."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestbit._arrays import Floats, check_k
from nestbit._extras import require
from nestbit.codecs import Codec
from nestbit.errors import InputError
from nestbit.evaluate.comparison import Comparison, compressed, labelled
from nestbit.evaluate.exact import exact_search
from nestbit.search import Plan, search


def linear_probe(
    train: ArrayLike,
    train_labels: Sequence[object],
    test: ArrayLike,
    test_labels: Sequence[object],
    codec: Codec,
    *,
    level: int = -1,
    iterations: int = 300,
) -> Comparison:
    """Accuracy of logistic regression on rows (n, dim), float against compressed.

    Compressed means that both the probe's training rows and the rows it judges were stored
    compressed. Dimensions are scaled to unit deviation on the training rows of each side. Raises
    `InputError` for labels that do not match. Needs the extra ``eval``.
    """
    rows, named = labelled(train, train_labels, "train")
    asked, true = labelled(test, test_labels, "test")
    _check_classes(named)
    floats = _probe(codec.prepare(rows), named, codec.prepare(asked), true, iterations)
    coded = [compressed(codec, x, level=level) for x in (rows, asked)]
    return Comparison("linear probe", floats, _probe(coded[0], named, coded[1], true, iterations))


def knn_classification(
    train: ArrayLike,
    train_labels: Sequence[object],
    test: ArrayLike,
    test_labels: Sequence[object],
    codec: Codec,
    *,
    k: int = 5,
    plan: Plan | None = None,
) -> Comparison:
    """Accuracy of the vote of the ``k`` nearest training rows, float against compressed.

    The training rows are searched in their codes by ``plan``, the test rows stay float, as in a
    service. Ties of the vote go to the nearer neighbour's class. Raises `InputError` for labels
    that do not match.
    """
    rows, named = labelled(train, train_labels, "train")
    asked, true = labelled(test, test_labels, "test")
    _check_classes(named)
    k = check_k(k, len(rows))
    floats = exact_search(rows, asked, k, metric=codec.metric).ids
    coded = search(codec, codec.encode(rows), asked, k, plan).ids
    return Comparison(f"{k}-NN", _vote(floats, named, true), _vote(coded, named, true))


def _check_classes(labels: list[str]) -> None:
    if len(set(labels)) < 2:
        raise InputError("classification needs two classes or more, all labels are the same")


def _probe(
    rows: Floats, labels: list[str], asked: Floats, true: list[str], iterations: int
) -> float:
    linear = require("sklearn.linear_model", extra="eval", purpose="a linear probe")
    middle, spread = rows.mean(axis=0), rows.std(axis=0)
    spread[spread == 0] = 1
    solver = linear.LogisticRegression(max_iter=iterations, tol=1e-3)
    exceptions = require("sklearn.exceptions", extra="eval", purpose="a linear probe")
    with warnings.catch_warnings():
        # Cut off at the same iteration, it is still the same probe on both sides.
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        solver.fit((rows - middle) / spread, labels)
    return float(solver.score((asked - middle) / spread, true))


def _vote(ids: NDArray[np.int64], labels: list[str], true: list[str]) -> float:
    right = 0
    for row, label in zip(ids, true, strict=True):
        votes: dict[str, int] = {}
        for i in row[row >= 0]:
            votes[labels[i]] = votes.get(labels[i], 0) + 1
        # max returns the first of equals, and the dict keeps the order of the neighbours.
        right += max(votes, key=lambda name: votes[name]) == label
    return right / len(true)
