"""Does the advice hold? Promises made from half of the queries, measured on all and on the rest.

    python bench/advice.py DATA_DIR [--only minilm/scifact] [--cache FOLDER] [--out bench/results]

For every model and collection the default grid is swept once with all queries; codecs are fitted
without them, so advice from any half follows from the same hits. For every floor and budget, a
random half of the queries is advised on. The promise is held against what the recipe keeps on all
queries, and the interval for other queries against the other half. The recipes picked from every
second query are also built anew by `nb.fit` and measured. Goes on from the cache where an earlier
run stopped. Writes advice.json and advice.md, in which collections that ``--only`` leaves out stay
as they were; asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

import nestbit as nb
from _datasets import Dataset, datasets
from _report import environment, markdown, show, write
from nestbit.advise import Advice, Budget, Option, Prices
from nestbit.advise.choice import Floor, choose
from nestbit.advise.intervals import Bootstrap, Interval
from nestbit.advise.options import Scale, with_intervals
from nestbit.evaluate import exact_search, recall_per_query

K = 10
HALVES = 25
KEEPS = (0.90, 0.95, 0.97, 0.99)
RECALLS = (0.80, 0.90, 0.95, 0.98)
# Budgets of memory: bits per dimension, and the bytes of a factor.
BUDGET_BITS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Wish:
    """What is asked of the advice: a floor, or a budget alone."""

    name: str
    floor: Floor | None = None
    budget: Budget | None = None


@dataclass(frozen=True)
class Promise:
    """One promise from half of the queries, and what was measured."""

    dataset: str
    wish: str
    half: int
    recipe: str
    promised: float
    low: float
    high: float
    whole: float
    others: float
    others_low: float
    others_high: float
    built: float | None = None

    @property
    def held(self) -> bool:
        return self.low <= self.whole <= self.high

    @property
    def held_by_others(self) -> bool:
        return self.others_low <= self.others <= self.others_high


def wishes(dim: int, judged: bool) -> list[Wish]:
    found = [Wish(f"recall {value:g}", Floor("recall", value)) for value in RECALLS]
    if judged:
        found += [Wish(f"nDCG kept {value:g}", Floor("keep", value)) for value in KEEPS]
    for bits in BUDGET_BITS:
        size = int(dim * bits / 8) + 2
        found.append(Wish(f"{size} bytes", budget=Budget(bytes_per_vector=size)))
    return found


def promises(data: Dataset, cache: Path | None) -> tuple[list[Promise], int]:
    """All promises for a dataset, and how often a promise was refused."""
    print(f"{data.name}: sweeping", flush=True)
    advice = nb.advise(data.corpus, data.queries, threads=1, recall=0.5, k=K, cache=cache)
    floats = data.ndcg(data.truth)
    options = _judged(data, advice, cache)
    build = _Builder(data, cache)
    asked = wishes(advice.dim, floats is not None)
    made, refused = [], 0
    for half in range(HALVES):
        chosen = _half(len(data.queries), half)
        scale = _scale(chosen, floats, half)
        seen = with_intervals([_of(option, chosen) for option in options], scale)
        for wish in asked:
            found = choose(seen, wish.floor, wish.budget, Prices(), scale.floats, 0.95).option
            if found is None:
                refused += 1
                continue
            option = next(one for one in options if one.recipe == found.recipe)
            one = _promise(data, wish, half, found, option, floats, chosen)
            if half == 0:
                built = build(option, _by_recall(wish, floats))
                one = replace(one, built=built)
            made.append(one)
    return made, refused


def _by_recall(wish: Wish, floats: np.ndarray | None) -> bool:
    return floats is None or (wish.floor is not None and wish.floor.kind == "recall")


def _half(m: int, half: int) -> np.ndarray:
    """Numbers of half of the queries: every second one, or random ones."""
    if half == 0:
        return np.arange(0, m, 2)
    return np.sort(np.random.default_rng(half).permutation(m)[: m // 2])


def _of(option: Option, chosen: np.ndarray) -> Option:
    return replace(option, per_query=option.per_query[chosen], recalls=option.recalls[:, chosen])


def _scale(chosen: np.ndarray, floats: np.ndarray | None, seed: int) -> Scale:
    return Scale(
        k=K,
        resident="coarse",
        prices=Prices(),
        bootstrap=Bootstrap(len(chosen), seed=seed),
        sizes=(),
        rows=None,
        judged=floats is not None,
        floats=np.ones(len(chosen)) if floats is None else floats[chosen],
    )


def _promise(
    data: Dataset,
    wish: Wish,
    half: int,
    found: Option,
    option: Option,
    floats: np.ndarray | None,
    chosen: np.ndarray,
) -> Promise:
    by_recall = _by_recall(wish, floats)
    interval: Interval | None = found.recall if by_recall else found.keep
    assert interval is not None
    values = option.recalls[-1] if by_recall else option.per_query
    base = np.ones_like(values) if by_recall or floats is None else floats
    rest = np.setdiff1d(np.arange(len(values)), chosen)
    others = interval.of_others(len(chosen), len(rest))
    return Promise(
        data.name, wish.name, half, str(option.recipe),
        interval.value, interval.low, interval.high,
        float(values.mean() / base.mean()),
        float(values[rest].mean() / base[rest].mean()), others.low, others.high,
    )  # fmt: skip


def _judged(data: Dataset, advice: Advice, cache: Path | None) -> list[Option]:
    """The options with nDCG of every query, where there are judgements."""
    options = []
    for option in advice.options:
        key = f"{data.name} {option.recipe} {option.ids.tobytes().hex()}"
        values = _cached(cache, f"ndcg {key}", lambda o=option: _ndcg(data, o))
        options.append(replace(option, per_query=values) if values.size else option)
    return options


def _ndcg(data: Dataset, option: Option) -> np.ndarray:
    values = data.ndcg(nb.Hits(option.ids, _descending(option.ids)))
    return np.empty(0) if values is None else values


def _descending(ids: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.arange(ids.shape[1], 0, -1, dtype=np.float32), ids.shape)


class _Builder:
    """Builds recipes as a user would and measures them with all queries."""

    def __init__(self, data: Dataset, cache: Path | None) -> None:
        self._data, self._cache = data, cache
        self._built: dict[str, np.ndarray] = {}
        self._codecs: dict[str, tuple[nb.Codec, nb.Codes]] = {}

    def __call__(self, option: Option, by_recall: bool) -> float:
        data, name = self._data, str(option.recipe)
        if name not in self._built:
            key = f"{data.name} {len(data.corpus)} {len(data.queries)} {name} {_version()}"
            self._built[name] = _cached(self._cache, f"built {key}", lambda: self._measure(option))
        recalls, ndcg, floats = self._built[name]
        return float(recalls.mean() if by_recall else ndcg.mean() / floats.mean())

    def _measure(self, option: Option) -> np.ndarray:
        data, spec = self._data, option.recipe.spec
        if spec not in self._codecs or option.recipe.target_recall is not None:
            print(f"{data.name}: building {spec}", flush=True)
            # Standard errors, half of the time of a fit, are read by target recalls alone.
            errors = option.recipe.target_recall is not None
            fitted = nb.Codec(spec).fit(data.corpus, errors=errors)
            self._codecs[spec] = fitted, fitted.encode(data.corpus)
        codec, codes = self._codecs[spec]
        plan = option.recipe.plan(codec)
        ids = nb.search(codec, codes, data.queries, K, plan, threads=1).ids
        recalls = recall_per_query(ids, exact_search(data.corpus, data.queries, K).ids)
        floats = data.ndcg(data.truth)
        if floats is None:
            return np.stack([recalls, recalls, np.ones_like(recalls)])
        ndcg = data.ndcg(nb.Hits(ids, _descending(ids)))
        assert ndcg is not None
        return np.stack([recalls, ndcg, floats])


def _version() -> str:
    """What a built codec depends on besides its data: the sources that fit it."""
    folder = Path(nb.__file__).parent / "codecs"
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _cached(cache: Path | None, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    if cache is None:
        return make()
    path = cache / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npy")
        np.save(part, make())
        part.replace(path)
    return np.load(path)


@dataclass
class Report:
    """All promises, and for every collection how many were refused, and where it was measured."""

    environments: dict[str, dict[str, str | int | None]]
    refusals: dict[str, int]
    promises: list[Promise]


def _earlier(path: Path, anew: set[str]) -> Report:
    """The report of earlier runs, without the collections that are measured ``anew``."""
    if not path.exists():
        return Report({}, {}, [])
    known = json.loads(path.read_text(encoding="utf-8"))
    return Report(
        {name: one for name, one in known["environments"].items() if name not in anew},
        {name: one for name, one in known["refusals"].items() if name not in anew},
        [Promise(**one) for one in known["promises"] if one["dataset"] not in anew],
    )


def _tables(made: list[Promise], refused: dict[str, int]) -> dict[str, list[list[str]]]:
    names = list(dict.fromkeys(one.dataset for one in made))
    groups = [(name, [one for one in made if one.dataset == name]) for name in names]
    coverage = [
        [
            name,
            f"{len(group):,}",
            f"{refused[name] if name in refused else sum(refused.values()):,}",
            f"{100 * np.mean([one.held for one in group]):.1f}",
            f"{100 * np.mean([one.held_by_others for one in group]):.1f}",
            f"{100 * np.mean([one.whole >= one.low for one in group]):.1f}",
            f"{100 * np.mean([one.high - one.low for one in group]):.1f}",
            f"{100 * np.mean([one.promised - one.whole for one in group]):+.2f}",
        ]
        for name, group in [*groups, ("all", made)]
    ]
    built = [
        [
            one.dataset, one.wish, one.recipe,
            f"{one.promised:.3f} ({one.low:.3f} to {one.high:.3f})",
            f"{one.built:.3f}", "yes" if one.low <= one.built <= one.high else "NO",
            f"{one.others:.3f}", "yes" if one.held_by_others else "NO",
        ]
        for one in made if one.built is not None
    ]  # fmt: skip
    return {
        f"Promises from {HALVES} halves of the queries": [
            ["data", "promises", "refusals", "all queries inside (%)", "other half inside (%)",
             "above the lower bound (%)", "mean width (points)", "mean excess (points)"],
            *coverage,
        ],
        "Recipes from every second query, then built anew on all rows": [
            ["data", "asked for", "recipe", "promised", "built", "inside", "other queries",
             "inside"],
            *built,
        ],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    found = datasets(options.data, options.only, unjudged=True)
    report = _earlier(options.out / "advice.json", {data.name for data in found})
    for data in found:
        made, refused = promises(data, options.cache)
        report.promises += made
        report.refusals[data.name] = refused
        report.environments[data.name] = environment()
    report.promises.sort(key=lambda one: one.dataset)
    tables = _tables(report.promises, report.refusals)
    console = Console(width=200)
    for title, table in tables.items():
        show(console, title, table)
    options.out.mkdir(parents=True, exist_ok=True)
    write(options.out / "advice.json", json.dumps(asdict(report), indent=1) + "\n")
    sections = [f"## {title}\n\n{markdown(table)}" for title, table in tables.items()]
    write(options.out / "advice.md", "\n".join(sections))


if __name__ == "__main__":
    main()
