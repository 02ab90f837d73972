"""Calibrating the standard errors of fitted levels on held-out rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nestbit._arrays import Floats
from nestbit.codecs import chain
from nestbit.codecs.codes import Codes
from nestbit.codecs.errors_model import ErrorModel, measure
from nestbit.codecs.level import Level
from nestbit.codecs.ops import row_lengths
from nestbit.codecs.spec import Spec
from nestbit.errors import InputError

_FEWEST_ROWS = 200
_QUERIES = 200
_ROWS = 4000
_ENOUGH_QUERIES = 32
# With fewer rows than this per dimension, what was learned (a basis, the range of each
# dimension) visibly fits its own sample better than other rows.
_ROWS_PER_DIM = 100


def with_errors(
    recipe: Spec,
    levels: tuple[Level, ...],
    rows: Floats,
    queries: Floats | None,
    metric: str,
    seed: int,
) -> tuple[Level, ...]:
    """The levels with an error model each, measured on at most 4,000 of ``rows`` (n, dim).

    Where the rows are few for the dimensions, a second codec fitted without the held-out rows
    is measured in place of the first. Below 200 rows the levels come back as they are.
    """
    rng = np.random.default_rng([seed, len(recipe.levels)])
    live = np.flatnonzero(rows.any(axis=1))
    if len(live) < _FEWEST_ROWS:
        return levels
    shuffled = rng.permutation(live)
    measured = levels
    held = shuffled[: _ROWS + _QUERIES]
    if recipe.learns and len(live) < _ROWS_PER_DIM * rows.shape[1]:
        held = shuffled[: len(live) // 4]
        rest = np.sort(shuffled[len(held) :])
        try:
            measured = chain.fit(recipe, rows[rest], queries, metric, seed, like=levels)
        except InputError:  # three quarters of the rows are too few for this recipe
            return levels
    if queries is not None and len(queries) >= _ENOUGH_QUERIES:
        asked, x = queries[:_QUERIES], rows[held]
    else:
        few = min(_QUERIES, len(held) // 4)
        asked, x = rows[held[:few]], rows[held[few:]]
    models = _models(measured, x, asked, metric, rng)
    return tuple(replace(level, errors=model) for level, model in zip(levels, models, strict=True))


def _models(
    levels: tuple[Level, ...], x: Floats, asked: Floats, metric: str, rng: np.random.Generator
) -> list[ErrorModel]:
    coded = tuple(part for part, _ in chain.encode(levels, x))
    codes = Codes(coded, np.empty(0, np.int64))
    ids = np.broadcast_to(np.arange(len(x)), (len(asked), len(x)))
    gain = 1.0
    exact = asked @ x.T
    if metric == "l2":
        gain = 2.0
        exact = 2 * exact - row_lengths(x) ** 2 - (row_lengths(asked) ** 2)[:, None]
    models = []
    for i in range(len(levels)):
        scorer = chain.scorer(levels, i, asked)
        estimates = scorer.rescore(codes, ids)
        lost = x - chain.decode(levels, coded, i)
        models.append(measure(lost, asked, estimates, exact, gain, rng))
    return models
