"""Levels one after another: a residual level codes what the level before it left.

Its rows are x minus the reconstruction so far; its score is the coarser level's score plus the
query's inner product with what it decodes to. So no bit is stored twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nestbit._arrays import Floats
from nestbit.codecs.codes import Codes, LevelCodes
from nestbit.codecs.level import Level
from nestbit.codecs.scorers import Ids, Scorer
from nestbit.codecs.spec import Spec
from nestbit.codecs.transforms import Context
from nestbit.kernels.allowed import Mask


@dataclass(frozen=True)
class CodesScorer:
    """Scores rows of codes by one level, and by those before it whose residual it codes.

    ``parts`` are levels and their scorers; the first gives scores of the metric, the others
    inner products, which count ``gain`` times.
    """

    parts: tuple[tuple[int, Scorer], ...]
    gain: float = 1.0

    def scan(
        self,
        codes: Codes,
        k: int,
        *,
        mask: Mask | None = None,
        threads: int | None = None,
    ) -> tuple[Ids, Floats]:
        """Best k of all rows by the first part, which a residual level must not be scanned by."""
        level, scorer = self.parts[0]
        return scorer.scan(codes.levels[level], k, mask=mask, threads=threads)

    def rescore(self, codes: Codes, ids: Ids, *, threads: int | None = None) -> Floats:
        """Scores (m, c) of the rows ``ids`` (m, c), summed over the parts."""
        levels = [codes.levels[level] for level, _ in self.parts]
        return self.rescore_parts(levels, ids, threads=threads)

    def rescore_parts(
        self, levels: Sequence[LevelCodes], ids: Ids, *, threads: int | None = None
    ) -> Floats:
        """The same of the levels of the parts, in their order."""
        (_, first), *others = self.parts
        scores = first.rescore(levels[0], ids, threads=threads)
        # A residual level's score is added to that of the level it completes.
        for (_, scorer), level in zip(others, levels[1:], strict=True):
            added = scorer.rescore(level, ids, threads=threads)
            scores = scores + np.float32(self.gain) * added
        return scores

    def of(self, queries: Ids) -> CodesScorer:
        """The scorer of some of its queries, by their numbers."""
        return CodesScorer(tuple((i, s.of(queries)) for i, s in self.parts), self.gain)


def first_part(levels: Sequence[Level], level: int) -> int:
    """The level that begins the chain which ``level`` completes; itself unless residual."""
    while levels[level].residual:
        level -= 1
    return level


def scorer(
    levels: Sequence[Level], level: int, queries: Floats, *, dims: int | None = None
) -> CodesScorer:
    """Prepare queries (m, dim) for a level, limited to the first ``dims`` of its own code."""
    first = first_part(levels, level)
    parts = tuple(
        (i, levels[i].scorer(queries, dims=dims if i == level else None))
        for i in range(first, level + 1)
    )
    return CodesScorer(parts, 2.0 if levels[first].metric == "l2" else 1.0)


def encode(levels: Sequence[Level], x: Floats) -> list[tuple[LevelCodes, int]]:
    """Codes of prepared rows (n, dim) in every level, and how many values were clipped."""
    coded: list[tuple[LevelCodes, int]] = []
    decoded = np.zeros_like(x[:0])
    for i, level in enumerate(levels):
        coded.append(level.encode(x - decoded if level.residual else x))
        if i + 1 < len(levels) and levels[i + 1].residual:
            own = level.decode(coded[i][0])
            decoded = decoded + own if level.residual else own
    return coded


def decode(levels: Sequence[Level], codes: Sequence[LevelCodes], level: int) -> Floats:
    """Reconstruction (n, dim) of the rows from a level and those whose residual it codes."""
    rows = levels[level].decode(codes[level])
    for i in range(first_part(levels, level), level):
        rows = rows + levels[i].decode(codes[i])
    return rows


def fit(
    recipe: Spec,
    rows: Floats,
    queries: Floats | None,
    metric: str,
    seed: int,
    *,
    like: Sequence[Level] | None = None,
) -> tuple[Level, ...]:
    """Fit the levels on prepared rows (n, dim), a residual one on what the others leave.

    ``like`` are levels of the same recipe fitted on other rows: their choices are taken over.
    """
    # Every level draws from its own stream: adding a level leaves the others as they are.
    seeds = np.random.SeedSequence(seed).spawn(len(recipe.levels))
    levels: list[Level] = []
    decoded = np.zeros_like(rows[:0])
    for i, (spec, stream) in enumerate(zip(recipe.levels, seeds, strict=True)):
        x = rows - decoded if spec.residual else rows
        coder = None if like is None else like[i].coder
        context = Context(np.random.default_rng(stream), queries, coder)
        level = Level.fit(spec, x, metric, context)
        levels.append(level)
        if i + 1 < len(recipe.levels) and recipe.levels[i + 1].residual:
            own = level.decode(level.encode(x)[0])
            decoded = decoded + own if spec.residual else own
    return tuple(levels)
