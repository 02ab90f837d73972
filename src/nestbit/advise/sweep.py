"""The sweep: every spec of a grid fitted once, searched by every plan, on parts of the rows."""

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
from nestbit.advise.truth import Block, Part, part_sizes, truth_of_parts
from nestbit.codecs import Codec, Codes
from nestbit.evaluate import recall_per_query
from nestbit.kernels.floats import top_k
from nestbit.search import Hits, Plan, Stage, search

Progress = Callable[[int, int, str], None]

# Only a collection this large has a first part that tells specs apart and time to be saved.
_PRUNED_ROWS = 16_000
OVER_BUDGET = "over the budget"
_TIMED_QUERIES = 15
_WARM_UP = 3


@dataclass(frozen=True)
class Setting:
    """What a sweep depends on besides the data; part of the cache's key.

    With ``growth`` recall is measured on parts of the rows as well, to be extrapolated from.
    """

    k: int = 10
    metric: str = "cosine"
    sample: int = 20_000
    seed: int = 0
    growth: bool = False


@dataclass(frozen=True)
class Sweep:
    """The float truth on each part of the shuffled rows, and each spec's result.

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
    allows: Callable[[tuple[int, ...]], bool] | None = None,
    threads: int = 1,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Measure ``specs`` on ``rows`` (n, dim) with ``queries`` (m, dim).

    Rows are shuffled, so that blocks of them are random samples. After the first block, an
    eighth of many rows, a spec is dropped if another takes no more memory and no more bytes in
    all and finds significantly more. Specs whose bytes ``allows`` refuses are not even fitted,
    unless it refuses all: then the smallest is measured. ``threads`` specs are measured at once.
    Results in the folder ``cache`` that were made of the same data and setting are taken from
    there. Codecs are fitted on the rows in the order given, as a user will fit them.
    """
    order = np.random.default_rng(setting.seed).permutation(len(rows))
    shuffled = rows[order]
    sizes = part_sizes(len(rows), setting.k)
    pruned = len(rows) >= _PRUNED_ROWS
    if not setting.growth:
        sizes = (*sizes[: 1 if pruned else 0], len(rows)) if len(sizes) > 1 else sizes
    key = content_key(rows, queries, **vars(setting))
    cached = Cache(cache, key)
    store = LevelStore(rows, order, setting.metric, setting.sample, setting.seed, cached)
    worker = _Worker(shuffled, queries, setting, sizes, store, cached, progress, specs)
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        try:
            small = specs if allows is None else worker.within(allows, specs)
            first = list(pool.map(lambda spec: worker.begin(spec, spec in small), specs))
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
        store: LevelStore,
        cache: Cache,
        progress: Progress | None,
        specs: Sequence[str],
    ) -> None:
        self.rows, self.queries, self.setting = rows, queries, setting
        self.store, self.cache, self.progress = store, cache, progress
        # Two steps for each spec, and one for the float truth.
        self._done, self._total = 0, 2 * len(specs) + 1
        self._telling, self._timing = threading.Lock(), threading.Lock()
        self.truth = truth_of_parts(rows, queries, setting.k, setting.metric, sizes)
        self._tell("exact float search")

    def within(
        self, allows: Callable[[tuple[int, ...]], bool], specs: Sequence[str]
    ) -> Sequence[str]:
        """The specs whose bytes are allowed, or else the one that takes least memory."""
        sizes = {spec: self.store.bytes(spec) for spec in specs}
        small = [spec for spec in specs if allows(sizes[spec])]
        return small or [min(specs, key=lambda spec: sizes[spec])]

    def begin(self, spec: str, wanted: bool) -> SpecResult:
        """Fit a spec and search the first block, unless an earlier run has its result."""
        result = self.cache.load(spec)
        if not wanted:
            result = SpecResult(spec, self.store.bytes(spec), (), OVER_BUDGET)
        elif result is None:
            block = self.truth[0].blocks[0]
            parts = [self.store.codec(p) for p in self.store.parts(spec)]
            level_bytes = tuple(level.n_bytes for codec in parts for level in codec.levels)
            if len(self.truth) == 1 or len(self.rows) < _PRUNED_ROWS:
                result = SpecResult(spec, level_bytes, ())
            else:
                measured = tuple(
                    Measured(recipe, hits.ids, hits.scores, self._recall(hits, block)[None], 0.0)
                    for recipe, hits in self._search(spec, block).items()
                )
                result = SpecResult(spec, level_bytes, measured)
        self._tell(spec)
        return result

    def survivors(self, first: Sequence[SpecResult]) -> list[SpecResult]:
        """The results, those of dominated specs marked as dropped."""
        marked = []
        for one in first:
            better = next((two for two in first if two is not one and _dominates(two, one)), None)
            if better is not None:
                one = replace(one, dropped=f"dominated by {better.spec}")
            marked.append(one)
        return marked

    def finish(self, result: SpecResult) -> SpecResult:
        """Search all parts and time the plans of a spec that is neither dropped nor known."""
        known = result.recipes and result.recipes[0].milliseconds > 0
        if result.dropped is not None:
            if result.recipes:
                self.cache.store(result)
        elif not known:
            recalls: dict[Recipe, list[NDArray[np.float64]]] = {}
            found: dict[Recipe, Hits] = {}
            for part in self.truth:
                in_blocks: dict[Recipe, list[NDArray[np.float64]]] = {}
                for block in part.blocks:
                    found = self._search(result.spec, block)
                    for recipe, hits in found.items():
                        in_blocks.setdefault(recipe, []).append(self._recall(hits, block))
                for recipe, values in in_blocks.items():
                    recalls.setdefault(recipe, []).append(np.mean(values, axis=0))
            recipes = [
                Measured(
                    recipe,
                    hits.ids,
                    hits.scores,
                    np.stack(recalls[recipe]),
                    self._milliseconds(recipe),
                )
                for recipe, hits in found.items()  # of the last part, which is all rows
            ]
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

    def _search(self, spec: str, block: Block) -> dict[Recipe, Hits]:
        """Hits of every recipe among the rows of a block, numbered from its start."""
        k, queries = self.setting.k, self.queries
        recipes = recipes_of(spec)
        parts = self.store.parts(spec)
        found: dict[Recipe, Hits] = {}
        if len(parts) == 2:
            fixed = [recipe for recipe in recipes if recipe.target_recall is None]
            coded = [self.store.codes(part, block.start, block.stop) for part in parts]
            codecs = [self.store.codec(part) for part in parts]
            found = _by_oversample(codecs, coded, queries, k, fixed)
        codec, codes = self.store.whole(spec, block.start, block.stop)
        for recipe in recipes:
            if recipe not in found:
                plan = recipe.plan(codec)
                found[recipe] = search(codec, codes, queries, k, plan, threads=1)
        return found

    def _recall(self, hits: Hits, block: Block) -> NDArray[np.float64]:
        return recall_per_query(hits.ids, block.ids - block.start)

    def _milliseconds(self, recipe: Recipe) -> float:
        codec, codes = self.store.whole(recipe.spec, 0, len(self.rows))
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
