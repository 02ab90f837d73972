"""The sweep: every spec of a grid fitted once, searched by every plan, on nested parts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestbit._arrays import Floats
from nestbit.advise.cache import Cache, Measured, SpecResult, content_key
from nestbit.advise.levels import LevelStore
from nestbit.advise.recipes import Recipe, recipes_of
from nestbit.advise.truth import Part, nested_truth, part_sizes
from nestbit.codecs import Codec, Codes
from nestbit.evaluate import recall_per_query
from nestbit.kernels.floats import top_k
from nestbit.search import Hits, Plan, Stage, search

Progress = Callable[[int, int, str], None]

# Only a collection this large has a first part that tells specs apart and time to be saved.
_PRUNED_ROWS = 16_000
_TIMED_QUERIES = 15
_WARM_UP = 3


@dataclass(frozen=True)
class Setting:
    """What a sweep depends on besides the data; part of the cache's key."""

    k: int = 10
    metric: str = "cosine"
    sample: int = 20_000
    seed: int = 0


@dataclass(frozen=True)
class Sweep:
    """The float truth on each nested part of the shuffled rows, and each spec's result.

    ``order`` (n,) are the row numbers of the user's array in the shuffled order that all ids
    here count in. ``float_milliseconds`` is one exhaustive float32 query.
    """

    parts: tuple[Part, ...]
    results: tuple[SpecResult, ...]
    order: NDArray[np.int64]
    float_milliseconds: float


def sweep(
    rows: Floats,
    queries: Floats,
    specs: Sequence[str],
    setting: Setting,
    *,
    threads: int = 1,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Measure ``specs`` on ``rows`` (n, dim) with ``queries`` (m, dim).

    Rows are shuffled, so that their first n/8, n/4 and n/2 are random samples of all of them.
    After the first part, a spec is dropped if another takes no more memory and no more bytes in
    all and finds significantly more. ``threads`` specs are measured at once. Results in the
    folder ``cache`` that were made of the same data and setting are taken from there.
    """
    order = np.random.default_rng(setting.seed).permutation(len(rows))
    shuffled = rows[order]
    sizes = part_sizes(len(rows), setting.k)
    key = content_key(rows, queries, **vars(setting))
    worker = _Worker(shuffled, queries, setting, sizes, Cache(cache, key), progress, specs)
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        try:
            first = list(pool.map(worker.begin, specs))
            chosen = worker.survivors(first)
            results = list(pool.map(worker.finish, chosen))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Sweep(worker.truth, tuple(results), order, worker.float_milliseconds())


class _Worker:
    """The state of one sweep; its methods are called from several threads."""

    def __init__(
        self,
        rows: Floats,
        queries: Floats,
        setting: Setting,
        sizes: tuple[int, ...],
        cache: Cache,
        progress: Progress | None,
        specs: Sequence[str],
    ) -> None:
        self.rows, self.queries, self.setting = rows, queries, setting
        self.cache, self.progress = cache, progress
        self.store = LevelStore(rows, setting.metric, setting.sample, setting.seed, cache)
        # Two steps for each spec, and one for the float truth.
        self._done, self._total = 0, 2 * len(specs) + 1
        self._telling, self._timing = threading.Lock(), threading.Lock()
        self.truth = nested_truth(rows, queries, setting.k, setting.metric, sizes)
        self._tell("exact float search")

    def begin(self, spec: str) -> SpecResult:
        """Fit a spec and search the first part, unless an earlier run has its result."""
        result = self.cache.load(spec)
        if result is None:
            part = self.truth[0]
            parts = [self.store.codec(p) for p in self.store.parts(spec)]
            level_bytes = tuple(level.n_bytes for codec in parts for level in codec.levels)
            if len(self.truth) == 1 or len(self.rows) < _PRUNED_ROWS:
                result = SpecResult(spec, level_bytes, ())
            else:
                measured = tuple(
                    Measured(recipe, hits.ids, hits.scores, self._recall(hits, part)[None], 0.0)
                    for recipe, hits in self._search(spec, part.rows).items()
                )
                result = SpecResult(spec, level_bytes, measured)
        self._tell(spec)
        return result

    def survivors(self, first: Sequence[SpecResult]) -> list[SpecResult]:
        """The results, those of dominated specs marked as dropped."""
        marked = []
        for one in first:
            better = next((two for two in first if two is not one and _dominates(two, one)), None)
            reason = None if better is None else f"dominated by {better.spec}"
            marked.append(one if better is None else replace(one, dropped=reason))
        return marked

    def finish(self, result: SpecResult) -> SpecResult:
        """Search all parts and time the plans of a spec that is neither dropped nor known."""
        known = result.recipes and result.recipes[0].milliseconds > 0
        if result.dropped is not None:
            self.cache.store(result)
        elif not known:
            by_part = [self._search(result.spec, part.rows) for part in self.truth]
            recipes = []
            for recipe, hits in by_part[-1].items():
                recalls = [
                    self._recall(found[recipe], part)
                    for found, part in zip(by_part, self.truth, strict=True)
                ]
                spent = self._milliseconds(recipe)
                recipes.append(Measured(recipe, hits.ids, hits.scores, np.stack(recalls), spent))
            result = replace(result, recipes=tuple(recipes))
            self.cache.store(result)
        self._tell(result.spec)
        return result

    def float_milliseconds(self) -> float:
        """The best time of one exhaustive float32 query by BLAS.

        The best, since BLAS waits for its threads by spinning and takes far longer on a busy
        machine: no recipe shall look faster than float for that.
        """
        k, rows = self.setting.k, self.rows

        def exhaustive(query: Floats) -> None:
            scores = rows @ query[0]
            best = np.argpartition(scores, len(scores) - k)[-k:]
            best[np.argsort(-scores[best])]

        return min(self._spans(exhaustive))

    def _search(self, spec: str, size: int) -> dict[Recipe, Hits]:
        """Hits of every recipe among the first rows."""
        k, queries = self.setting.k, self.queries
        recipes = recipes_of(spec)
        parts = self.store.parts(spec)
        found: dict[Recipe, Hits] = {}
        if len(parts) == 2:
            fixed = [recipe for recipe in recipes if recipe.target_recall is None]
            coded = [self.store.codes(part, size) for part in parts]
            codecs = [self.store.codec(part) for part in parts]
            found = _by_oversample(codecs, coded, queries, k, fixed)
        codec, codes = self.store.whole(spec, size)
        for recipe in recipes:
            if recipe not in found:
                plan = recipe.plan(codec)
                found[recipe] = search(codec, codes, queries, k, plan, threads=1)
        return found

    def _recall(self, hits: Hits, part: Part) -> NDArray[np.float64]:
        return recall_per_query(hits.ids, part.ids)

    def _milliseconds(self, recipe: Recipe) -> float:
        codec, codes = self.store.whole(recipe.spec, len(self.rows))
        plan = recipe.plan(codec)
        k = self.setting.k
        with self._timing:  # two that were timed at once would slow each other
            spans = self._spans(lambda query: search(codec, codes, query, k, plan, threads=1))
        return float(np.median(spans))

    def _spans(self, run: Callable[[Floats], object]) -> list[float]:
        """Milliseconds of single queries, the first few left out."""
        spans = []
        for i in range(_WARM_UP + _TIMED_QUERIES):
            place = i % len(self.queries)
            query = self.queries[place : place + 1]
            began = time.perf_counter()
            run(query)
            spans.append(1e3 * (time.perf_counter() - began))
        return spans[_WARM_UP:]

    def _tell(self, what: str) -> None:
        if self.progress is not None:
            with self._telling:
                self._done += 1
                self.progress(self._done, self._total, what)


def _by_oversample(
    codecs: list[Codec],
    codes: list[Codes],
    queries: Floats,
    k: int,
    recipes: Sequence[Recipe],
) -> dict[Recipe, Hits]:
    """What plans of two levels find, from one scan and one rescoring.

    A scan that keeps more rows keeps the same first ones, so every plan's candidates are a prefix
    of those of the widest.
    """
    coarse, fine = codecs
    n = len(codes[0])
    keeps = {r: Stage(0, oversample=r.oversample).keep(k, n) for r in recipes}
    found = search(coarse, codes[0], queries, max(keeps.values()), Plan((Stage(0),)), threads=1)
    scorer = fine.levels[0].scorer(fine.prepare(queries))
    scores = scorer.rescore(codes[1].levels[0], found.ids, threads=1)
    return {r: Hits(*top_k(found.ids[:, :w], scores[:, :w], k)) for r, w in keeps.items()}


def _dominates(one: SpecResult, other: SpecResult) -> bool:
    """Whether ``one`` is no larger anywhere and finds significantly more in the first part."""
    if not (one.recipes and other.recipes) or one.dropped is not None:
        return False
    smaller = one.level_bytes[0] <= other.level_bytes[0]
    if not smaller or sum(one.level_bytes) > sum(other.level_bytes):
        return False
    best, rival = (max(r.recipes, key=lambda x: x.recalls[0].mean()) for r in (one, other))
    gain = best.recalls[0] - rival.recalls[0]
    return bool(gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(len(gain)) > 0)
